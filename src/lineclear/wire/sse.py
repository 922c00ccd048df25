"""Server-sent events: cuts a byte stream into events without changing a byte.

In: bytes as they arrive. Out: the exact bytes of each complete event, and on demand its name and data.
Must not: know any dialect. Source: WHATWG HTML, "Server-sent events", §9.2.5 and §9.2.6.
"""

import re
from typing import NoReturn

from lineclear.domain.errors import AttemptClass, ErrorCode, Sent, UpstreamError
from lineclear.domain.exchange import Event, Frame, Terminated

LINE_BYTES_MAX = 1 << 20
EVENT_BYTES_MAX = 16 << 20

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

    __slots__ = ("_fresh", "_splitter")

    def __init__(self) -> None:
        self._splitter = Splitter()
        self._fresh = True

    def feed(self, data: bytes) -> list[Frame]:
        """The frames completed by these bytes; see `codec.StreamReader`."""
        pieces = self._splitter.feed(data)
        if self._fresh and pieces:
            self._fresh = False
            first = pieces[0]
            if first.startswith(BOM):
                frames = [Frame(first, self._events(first[len(BOM) :]))]
                frames.extend(Frame(raw, self._events(raw)) for raw in pieces[1:])
                return frames
        events = self._events
        return [Frame(raw, events(raw)) for raw in pieces]

    def end(self) -> list[Frame]:
        """The unfinished rest, at most one frame.

        It means nothing, as for every SSE reader, with one exception: a server that left out the blank
        line after its end marker did say that the answer is complete.
        """
        rest = self._splitter.rest()
        if not rest:
            return []
        events = self._events(rest + b"\n\n")
        return [Frame(rest, events if _is_end_marker(events) else ())]

    def _events(self, raw: bytes) -> tuple[Event, ...]:
        raise NotImplementedError


def _is_end_marker(events: tuple[Event, ...]) -> bool:
    return len(events) == 1 and isinstance(events[0], Terminated)
