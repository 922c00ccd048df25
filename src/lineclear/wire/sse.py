"""Server-sent events: cuts a byte stream into events without changing a byte.

In: bytes as they arrive. Out: the exact bytes of each complete event, and on demand its name and data.
Must not: know any dialect. Source: WHATWG HTML, "Server-sent events", §9.2.5 and §9.2.6.
"""

import re
from typing import ClassVar, Final, NoReturn

from lineclear.domain.errors import AttemptClass, ErrorCode, Sent, UpstreamError
from lineclear.domain.exchange import Event, Finished, Frame, Malformed, ReasoningDelta, Terminated, TextDelta
from lineclear.wire.delta_shape import DeltaShape, Padding

LINE_BYTES_MAX = 1 << 20
EVENT_BYTES_MAX = 16 << 20
MISSES_MAX: Final = 4
"""A stream in which so many shapes fitted no other event has none worth looking for."""

BOM = b"\xef\xbb\xbf"
# Atomic groups: `\r\n` is one line end and must not be split again to match as two.
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE_END = re.compile(rb"\r\n|\n|\r")


class Splitter:
    """Cuts at blank lines; line ends may be LF, CRLF or CR, and reads may end anywhere.

    An event that ends in CR is handed out at once. If the read after it begins with LF, that LF (the
    second half of a CRLF) stands at the front of the next piece, so the pieces joined are the stream.
    """

    __slots__ = ("_held", "_held_bytes", "_line_bytes", "_tail")

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._line_bytes = 0
        self._tail = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The events completed by these bytes, blank line included.

        Raises:
            UpstreamError: `upstream_bad_response` past 1 MiB in a line or 16 MiB in an event.
        """
        if self._held:
            # A blank line can straddle the read: three bytes back are enough to see it.
            if not _has_blank_line(self._tail + data):
                self._hold(data)
                return []
            self._held.append(data)
            data = b"".join(self._held)
            self._held.clear()
            self._held_bytes = 0
        elif data.find(b"\n\n") == len(data) - 2 and 2 < len(data) <= LINE_BYTES_MAX and b"\r" not in data:
            # The usual read: exactly one event.
            return [data]
        pieces, start = _pieces(data)
        if start < len(data):
            self._hold(data[start:] if start else data)
        return pieces

    @property
    def is_empty(self) -> bool:
        """Nothing has come since the last complete event."""
        return not self._held

    def rest(self) -> bytes:
        """What has come since the last complete event; empties the splitter."""
        rest = b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        return rest

    def _hold(self, data: bytes) -> None:
        if not self._held:
            self._tail = b""
            self._line_bytes = 0
        self._held.append(data)
        self._held_bytes += len(data)
        self._tail = (self._tail + data)[-3:] if len(data) < 3 else data[-3:]
        if self._held_bytes > EVENT_BYTES_MAX:
            _refuse(f"an event of more than {EVENT_BYTES_MAX} bytes")
        # Lines that end inside this read are checked with the whole event; the open one must not grow on.
        line_start = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        self._line_bytes = len(data) - line_start + (0 if line_start else self._line_bytes)
        if self._line_bytes > LINE_BYTES_MAX:
            _refuse(f"a line of more than {LINE_BYTES_MAX} bytes")


def _has_blank_line(data: bytes) -> bool:
    return b"\n\n" in data or (b"\r" in data and _BLANK_LINE.search(data) is not None)


def _pieces(data: bytes) -> tuple[list[bytes], int]:
    """The complete events in `data`, and where the incomplete rest begins."""
    pieces: list[bytes] = []
    start = 0
    if b"\r" in data:
        for match in _BLANK_LINE.finditer(data):
            pieces.append(data[start : match.end()])
            start = match.end()
    else:
        end = data.find(b"\n\n")
        while end >= 0:
            end += 2
            pieces.append(data[start:end])
            start = end
            end = data.find(b"\n\n", start)
    for piece in pieces:
        if len(piece) > LINE_BYTES_MAX:
            _check_size(piece)
    return pieces, start


def _check_size(event: bytes) -> None:
    if len(event) > EVENT_BYTES_MAX:
        _refuse(f"an event of more than {EVENT_BYTES_MAX} bytes")
    if max(len(line) for line in _LINE_END.split(event)) > LINE_BYTES_MAX:
        _refuse(f"a line of more than {LINE_BYTES_MAX} bytes")


def _refuse(what: str) -> NoReturn:
    raise UpstreamError(
        ErrorCode.UPSTREAM_BAD_RESPONSE,
        f"The model's server sent {what} in its stream.",
        attempt_class=AttemptClass.AMBIGUOUS,
        sent=Sent.YES,
        phase="between_events",
        hint="This is the model provider's defect; try again or use another route.",
    )


def fields(raw: bytes) -> tuple[bytes, bytes | None]:
    """An event's name (empty if it has none) and its data lines joined by LF; data None if it has none.

    `raw` has no byte order mark: that may only stand at the front of a stream, where `FrameReader` drops it.
    """
    name = b""
    data: list[bytes] = []
    for line in _LINE_END.split(raw):
        field, _, value = line.partition(b":")
        if value.startswith(b" "):
            value = value[1:]
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return name, b"\n".join(data) if data else None


def event_frame(name: str, data: bytes) -> bytes:
    """One event with both lines; `data` is one line of JSON, so no field can be forged from inside it."""
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


class FrameReader:
    """Base of the dialects' stream readers: splitting here, meaning in `_events`."""

    __slots__ = ("_fresh", "_has_stopped", "_is_damaged", "_misses", "_shape", "_splitter")

    padding: ClassVar[Padding | None] = None
    """What the dialect's vendors vary between deltas that say the same."""
    stops_unmarked: ClassVar[bool] = False
    """Whether some servers of the dialect end a good stream without its end marker."""

    def __init__(self) -> None:
        self._splitter = Splitter()
        self._fresh = True
        self._has_stopped = False
        self._is_damaged = False
        self._shape: DeltaShape | None = None
        self._misses = 0
        """Shapes tried since one fitted."""

    def feed(self, data: bytes) -> list[Frame]:
        """The frames completed by these bytes; see `codec.StreamReader`."""
        frames: list[Frame] = []
        if self._shape is not None and self._splitter.is_empty and len(data) <= LINE_BYTES_MAX:
            end = self._shape.take(data, frames)
            if end:
                self._misses = 0
            if end == len(data):
                return frames
            data = data[end:]
        for raw in self._splitter.feed(data):
            if self._shape is None or not self._shape.take(raw, frames):
                frames.append(Frame(raw, self._read(raw)))
        return frames

    def end(self, *, may_be_unmarked: bool = False) -> list[Frame]:
        """The unfinished rest, at most one frame; see `codec.StreamReader`.

        It means nothing, as for every SSE reader, with two exceptions: a server that left out the blank line after
        its end marker did say that the answer is complete, and so did one whose dialect `stops_unmarked`, if its
        stop reason came and everything could be read. Source: research/protocols.md §3.3, parser hygiene.
        """
        rest = self._splitter.rest()
        if rest:
            events = self._events(rest + b"\n\n")
            return [Frame(rest, events if _is_end_marker(events) else ())]
        if may_be_unmarked and self.stops_unmarked and self._has_stopped and not self._is_damaged:
            return [Frame(b"", (Terminated(),))]
        return []

    def _read(self, raw: bytes) -> tuple[Event, ...]:
        """What an event means, by the full reader."""
        if self._fresh:
            self._fresh = False
            if raw.startswith(BOM):
                raw = raw[len(BOM) :]
        events = self._events(raw)
        for event in events:
            kind = type(event)
            if kind is Finished:
                self._has_stopped = True
            elif kind is Malformed:
                self._is_damaged = True
        if len(events) == 1 and self._misses < MISSES_MAX:
            delta = events[0]
            if type(delta) is TextDelta or type(delta) is ReasoningDelta:
                shape = DeltaShape.of(raw, delta, self._events, self.padding)
                if shape is not None:
                    self._shape = shape
                    self._misses += 1
        return events

    def _events(self, raw: bytes) -> tuple[Event, ...]:
        raise NotImplementedError


def _is_end_marker(events: tuple[Event, ...]) -> bool:
    return len(events) == 1 and isinstance(events[0], Terminated)
