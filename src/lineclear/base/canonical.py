"""Canonical JSON, so that equal content has an equal digest.

Source: RFC 8785 (JSON Canonicalization Scheme). Our manifests hold no floats outside the range where
Python's shortest repr and ECMAScript's agree; a float there is refused rather than guessed.
"""

import hashlib
import json
from typing import TypeAlias

JSONValue: TypeAlias = "bool | int | str | list[JSONValue] | dict[str, JSONValue] | None"


def canonical_json(value: JSONValue) -> bytes:
    """RFC 8785 bytes of a value made of None, bool, int (|n| < 2**53), str, list and dict.

    Raises:
        TypeError: for a float or any other type; decimals travel as strings here.
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
    raise TypeError(f"{type(value).__name__} has no canonical form here; send decimals as strings")
