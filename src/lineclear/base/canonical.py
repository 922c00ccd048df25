"""Canonical JSON, so that equal content has an equal digest.

Source: RFC 8785 (JSON Canonicalization Scheme).
"""

import hashlib
import json
import math
from decimal import Decimal
from typing import TypeAlias

JSONValue: TypeAlias = "bool | int | float | str | list[JSONValue] | dict[str, JSONValue] | None"


def canonical_json(value: JSONValue) -> bytes:
    """RFC 8785 bytes of a value made of None, bool, int (|n| < 2**53), finite float, str, list and dict.

    Raises:
        TypeError: for any other type or number.
    """
    return _encode(value).encode("utf-8")


def digest_hex(value: JSONValue) -> str:
    """SHA-256 of the canonical JSON, 64 lower-case hex digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def _encode(value: JSONValue) -> str:
    if isinstance(value, dict):
        # RFC 8785 §3.2.3: keys sort by UTF-16 code units.
        items = sorted(value.items(), key=lambda item: item[0].encode("utf-16-be"))
        return "{" + ",".join(f"{_encode(key)}:{_encode(item)}" for key, item in items) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_encode(item) for item in value) + "]"
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        if abs(value) >= 2**53:
            raise TypeError(f"{value!r} is outside the exact range of JSON numbers (RFC 8785 §3.2.2.3)")
        return str(value)
    if isinstance(value, float):
        return _number(value)
    raise TypeError(f"{type(value).__name__} has no canonical form")


def _number(value: float) -> str:
    """A float as ECMAScript writes it. Source: ECMA-262, Number::toString; RFC 8785 §3.2.2.3."""
    if not math.isfinite(value):
        raise TypeError(f"{value!r} is no JSON number")
    if value == 0:
        return "0"
    # Python's repr has the same shortest digits; only where it sets point and exponent differs.
    _, digit_values, exponent = Decimal(repr(abs(value))).normalize().as_tuple()
    digits = "".join(map(str, digit_values))
    point = len(digits) + int(exponent)
    if len(digits) <= point <= 21:
        text = digits + "0" * (point - len(digits))
    elif 0 < point <= 21:
        text = f"{digits[:point]}.{digits[point:]}"
    elif -6 < point <= 0:
        text = f"0.{'0' * -point}{digits}"
    else:
        text = f"{digits[0]}{'.' if len(digits) > 1 else ''}{digits[1:]}e{point - 1:+d}"
    return f"-{text}" if value < 0 else text
