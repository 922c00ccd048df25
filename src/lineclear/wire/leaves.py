"""Every text that stands in a vendor's bytes, whatever its fields are called: for checks that must not miss one.

In: JSON, or one event of a stream. Out: texts with the place where each stands. A field that is said twice is refused,
since readers differ in which of both they take. Must not: judge a text.
"""

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from lineclear.wire.sse import fields


class Leaf(msgspec.Struct, frozen=True, gc=False):
    """One text."""

    path: tuple[str, ...]
    """Names of the fields that lead to it, places in lists left out; `:` and what it is for what is no data."""
    text: str

    @property
    def name(self) -> str:
        """The field that it is."""
        return self.path[-1] if self.path else ""


class SaidTwice(ValueError):
    """A field stands twice in one object, or objects lie too deep to tell."""


def leaves_of_body(body: bytes) -> Iterator[Leaf]:
    """The texts of a JSON text; all of it as one where it is no JSON.

    Raises:
        SaidTwice: as it says.
    """
    try:
        tree = json.loads(body, object_pairs_hook=_object)
    except RecursionError as error:
        raise SaidTwice("its objects lie too deep") from error
    except SaidTwice:
        raise
    except ValueError:
        yield Leaf((), body.decode("utf-8", "replace"))
        return
    yield from _walk(tree)


def leaves_of_frame(raw: bytes) -> Iterator[Leaf]:
    """The texts of one event of a stream: its data's, and every line that is no data, comments included.

    Raises:
        SaidTwice: as `leaves_of_body`.
    """
    for line in raw.splitlines():
        if line and not line.startswith(b"data:"):
            name, _, text = line.partition(b":")
            yield Leaf((":", name.decode("utf-8", "replace")), text.decode("utf-8", "replace"))
    data = fields(raw)[1]
    if data:
        yield from leaves_of_body(data)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise SaidTwice("a field stands twice in one object")
    return made


def _walk(tree: Any) -> Iterator[Leaf]:
    waiting: list[tuple[tuple[str, ...], Any]] = [((), tree)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, str):
            if value:
                yield Leaf(path, value)
        elif isinstance(value, dict):
            waiting.extend(((*path, name), child) for name, child in reversed(value.items()))
        elif isinstance(value, list):
            waiting.extend((path, child) for child in reversed(value))
