"""The bytes that the ordinary deltas of one stream share, so that only their text has to be looked at.

In: one event's bytes and what the full reader says of them. Out: the same meaning for events that differ in the
text alone. Must not: call anything a delta that the full reader would read otherwise: the shape is proved by that
reader, and the text has to be one JSON string from the first quote to the next.
"""

import re
from collections.abc import Callable
from typing import Final

import msgspec

from lineclear.domain.exchange import Event, Frame, ReasoningDelta, TextDelta
from lineclear.wire.native_errors import UNREADABLE

PROBE: Final = "~ probe \u00e9 ~"
"""A text that stands nowhere else, put in the place of the real one to prove a shape."""

# Possessive: a long run of escapes leaves nothing behind to go back to.
_TEXT: Final = re.compile(rb'(?:[^"\\\x00-\x1f]++|\\[^\x00-\x1f])*+').match
"""What may stand between a JSON string's quotes; its decoder judges the escapes. Source: RFC 8259, §7."""
_DECODE_TEXT: Final = msgspec.json.Decoder(str).decode
_NOTHING: Final = re.compile(rb"").match


class Padding(msgspec.Struct, frozen=True):
    """What a vendor varies from event to event without meaning anything by it, so that lengths tell nothing."""

    find: re.Pattern[bytes]
    """Finds it in what follows the text."""
    fits: re.Pattern[bytes]
    """Matches any of it, in its place."""
    probe: bytes
    """Some other of it."""


class DeltaShape:
    """`head` text `middle` padding `tail`, of which only text and padding differ between events."""

    __slots__ = ("_block", "_head", "_kind", "_match_padding", "_middle", "_tail")

    def __init__(self, head: bytes, middle: bytes, tail: bytes, delta: TextDelta | ReasoningDelta) -> None:
        self._head = head
        self._middle = middle
        self._tail = tail
        self._match_padding = _NOTHING
        self._kind = type(delta)
        self._block = delta.block

    @staticmethod
    def of(
        raw: bytes,
        delta: TextDelta | ReasoningDelta,
        read: Callable[[bytes], tuple[Event, ...]],
        padding: Padding | None,
    ) -> "DeltaShape | None":
        """The shape of an event that is one delta and nothing else; None if it has none that can be proved.

        Args:
            raw: the event, blank line included.
            delta: what `read` says of it.
            read: the full reader.
            padding: the dialect's padding; None = it has none.
        """
        quoted = b'"%b"' % delta.text.encode()
        at = raw.find(quoted) + 1
        if at == 0 or raw.find(quoted, at) >= 0 or b"\r" in raw or not raw.endswith(b"\n\n"):
            return None
        head, rest = raw[:at], raw[at + len(quoted) - 2 :]
        found = padding.find.search(rest) if padding is not None else None
        if padding is None or found is None:
            shape, probe = DeltaShape(head, rest, b"", delta), b""
        else:
            shape, probe = DeltaShape(head, rest[: found.start()], rest[found.end() :], delta), padding.probe
            shape._match_padding = padding.fits.match
        example = head + PROBE.encode() + shape._middle + probe + shape._tail
        return shape if read(example) == (shape._kind(PROBE, delta.block),) else None

    def take(self, data: bytes, frames: list[Frame]) -> int:
        """Append the frames of this shape that `data` begins with; returns where they end."""
        head, middle, tail, kind, block = self._head, self._middle, self._tail, self._kind, self._block
        end = 0
        while data.startswith(head, end):
            text_start = end + len(head)
            text_end = _TEXT(data, text_start).end()  # type: ignore[union-attr] # it matches the empty text too
            if text_end == text_start or not data.startswith(middle, text_end):
                break
            tail_start = self._match_padding(data, text_end + len(middle)).end()  # type: ignore[union-attr] # as above
            if not data.startswith(tail, tail_start):
                break
            try:
                text = _DECODE_TEXT(data[text_start - 1 : text_end + 1])
            except UNREADABLE:
                break
            start, end = end, tail_start + len(tail)
            frames.append(Frame(data[start:end], (kind(text, block),)))
        return end
