"""Top-level edits of a JSON object that leave every other value byte for byte as the caller wrote it.

In: a body that passed `json_guard`. Out: a body. Must not: touch a value that nobody asked to change, or
search bytes for text. Source: design decision 12.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_ENCODER = msgspec.json.Encoder()
_ONLY_RAW = frozenset({msgspec.Raw})


def top_level(body: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    """The object's keys in their order, each with the exact bytes of its value (without surrounding space).

    Raises:
        msgspec.DecodeError: if it is not a JSON object; cannot happen after `json_guard`.
    """
    return _OBJECT.decode(body)


def elements(array: bytes | msgspec.Raw) -> list[msgspec.Raw]:
    """The exact bytes of each element of a JSON array.

    Raises:
        msgspec.DecodeError: if it is not a JSON array.
    """
    return _ARRAY.decode(array)


def join(values: Mapping[str, bytes | msgspec.Raw]) -> bytes:
    """A JSON object of these keys, in order; the values are JSON text and travel byte for byte."""
    if _ONLY_RAW.issuperset(map(type, values.values())):
        return _ENCODER.encode(values)
    return _ENCODER.encode(
        {key: value if type(value) is msgspec.Raw else msgspec.Raw(value) for key, value in values.items()}
    )


def join_elements(values: Iterable[bytes | msgspec.Raw]) -> bytes:
    """A JSON array of these elements, byte for byte."""
    return _ENCODER.encode([value if type(value) is msgspec.Raw else msgspec.Raw(value) for value in values])


def encoded(value: str | int | float | tuple[str, ...]) -> msgspec.Raw:
    """The JSON text of a value that we put into a body."""
    return msgspec.Raw(_ENCODER.encode(value))


def fill(
    values: dict[str, bytes | msgspec.Raw], tree: Mapping[str, Any], defaults: Iterable[tuple[str, msgspec.Raw]]
) -> None:
    """Set those fields that the caller left out or gave as null."""
    if defaults:
        values.update((name, value) for name, value in defaults if tree.get(name) is None)
