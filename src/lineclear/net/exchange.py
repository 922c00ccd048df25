"""One exchange as a handler sees it: the Request that came, and the Reply that it writes.

In: a checked head, body pieces. Out: the body as bytes; head, parts and end of the answer, in order, once.
Must not read sockets or decide when a connection closes; the connection carries both.
"""

import asyncio
from collections.abc import Callable, Coroutine
from enum import IntEnum
from http import HTTPStatus
from typing import Any, Final, Protocol, TypeAlias

from lineclear.domain.errors import CallerError, ClientGone, ErrorCode, LineclearError

STATUS_LINES: dict[int, bytes] = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode("ascii")) for status in HTTPStatus
}
BODILESS = frozenset((204, 304))
ONE_WRITE_BYTES = 256 * 1024
"""Up to here a whole answer is copied into one buffer; above it head and body go as two of one write."""


def status_line(status: int) -> bytes:
    """`HTTP/1.1 404 Not Found` with its line end; an unregistered status gets a neutral phrase."""
    return STATUS_LINES.get(status) or b"HTTP/1.1 %d Unknown\r\n" % status


class Carrier(Protocol):
    """What an exchange needs of the connection that carries it."""

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    is_write_paused: bool

    def keeps(self, request: "Request") -> bool:
        """Whether the connection outlives this answer."""
        ...

    def cut_short(self, *, is_reset_needed: bool) -> None:
        """Ends an answer that is not complete."""
        ...

    async def until_writable(self) -> None:
        """Waits for room in the send buffer."""
        ...

    def interrupt(self, error: Exception) -> None:
        """Whoever waits for room hears of this instead."""
        ...

    def want_body(self, request: "Request") -> None:
        """A handler waits for the body."""
        ...

    def unwant_body(self) -> None:
        """Nobody waits any more."""
        ...


class Request:
    """One request as received: head complete, body perhaps still on its way."""

    __slots__ = (
        "_connection",
        "_error",
        "_limit_bytes",
        "content_length",
        "head_bytes",
        "headers",
        "is_complete",
        "is_continue_awaited",
        "is_http_11",
        "is_keep_alive",
        "method",
        "path",
        "pieces",
        "query",
        "received_bytes",
        "started_ns",
        "waiter",
        "wire_bytes",
    )

    method: bytes
    path: bytes
    """As received, without the query."""
    query: bytes
    headers: dict[bytes, bytes]
    """Lower-case names; repeated fields joined by a comma."""
    content_length: int | None
    """None = chunked, 0 = no body."""
    started_ns: int
    """Monotonic time at which the head was complete."""
    head_bytes: int

    def __init__(self, connection: "Carrier", method: bytes, headers: dict[bytes, bytes]) -> None:
        self._connection = connection
        self.method = method
        self.headers = headers
        self.query = b""
        self.content_length = 0
        self.is_complete = False
        self.is_continue_awaited = False
        self.is_http_11 = True
        self.is_keep_alive = True
        self.received_bytes = 0
        self.wire_bytes = 0
        self.pieces: list[bytes] = []
        self.waiter: asyncio.Future[None] | None = None
        self._limit_bytes = -1
        self._error: Exception | None = None

    def take_whole(self, body: bytes) -> None:
        """The body came with the head, to its end."""
        self.content_length = self.received_bytes = len(body)
        self.pieces = [body]
        self.is_complete = True

    async def read_body(self, limit_bytes: int) -> bytes:
        """The whole body, at most `limit_bytes`; b"" if there is none. Asks for it first where the caller waits.

        Does not suspend if the body came with the head. A second call returns the same bytes.

        Raises:
            CallerError: BODY_TOO_LARGE, REQUEST_TIMEOUT, or INVALID_REQUEST for broken framing.
            ClientGone: the caller hung up.
        """
        if not self.is_complete:
            await self._receive(limit_bytes)
        if self.received_bytes > limit_bytes:
            raise self._too_large(limit_bytes)
        return self.whole_body()

    def whole_body(self) -> bytes:
        """All that has been received of the body: the whole of it once `is_complete`."""
        pieces = self.pieces
        if len(pieces) != 1:
            self.pieces = pieces = [b"".join(pieces)]
        return pieces[0]

    async def _receive(self, limit_bytes: int) -> None:
        if self.content_length is not None and self.content_length > limit_bytes:
            raise self._too_large(limit_bytes)
        if self._error is not None:
            raise self._error
        if self.received_bytes > limit_bytes:
            raise self._too_large(limit_bytes)
        self._limit_bytes = limit_bytes
        self._connection.want_body(self)
        self.waiter = self._connection.loop.create_future()
        try:
            await self.waiter
        finally:
            self.waiter = None
            self._limit_bytes = -1
            self._connection.unwant_body()

    def _too_large(self, limit_bytes: int) -> CallerError:
        return CallerError(
            ErrorCode.BODY_TOO_LARGE,
            f"the request body is larger than the limit of {limit_bytes} bytes",
            hint="send a smaller request",
        )

    def advance(self) -> bool:
        """Tells the reader what arrived; True if nobody asked for the body and enough of it is held."""
        waiter = self.waiter
        if waiter is None:
            return True
        if self.received_bytes > self._limit_bytes:
            self.pieces.clear()  # nobody will get them; a socket can bring megabytes before the reader runs
        elif not self.is_complete:
            return False
        if not waiter.done():
            waiter.set_result(None)
        return False

    def fail(self, error: Exception) -> None:
        """The rest of the body will not come."""
        if self._error is None and not self.is_complete:
            self._error = error
            if self.waiter is not None and not self.waiter.done():
                self.waiter.set_exception(error)


class Framing(IntEnum):
    """How the end of an answer is told."""

    CHUNKED = 0
    BY_CLOSE = 1
    SILENT = 2
    """No body bytes at all: HEAD, 204, 304."""


# Reading an enum member through its class costs ten times a module name on Python 3.11.
CHUNKED: Final = Framing.CHUNKED
BY_CLOSE: Final = Framing.BY_CLOSE
SILENT: Final = Framing.SILENT


class Reply:
    """The answer to one request, written in order, exactly once."""

    __slots__ = ("_connection", "_framing", "_request", "begun", "bytes_out", "ended", "gone", "is_kept", "on_gone")

    begun: bool
    """The head has gone out."""
    gone: bool
    """Nobody is left to be told; what is written now is dropped."""
    on_gone: Callable[[], None] | None
    """Called once, synchronously, when the caller hangs up or stalls before the end."""
    bytes_out: int

    def __init__(self, connection: "Carrier", request: Request) -> None:
        self._connection = connection
        self._request = request
        self._framing = CHUNKED
        self.begun = False
        self.ended = False
        self.gone = False
        self.is_kept = False
        self.on_gone = None
        self.bytes_out = 0

    def whole(self, status: int, head: bytes, body: bytes) -> None:
        """A complete answer in one write. `head` is further lines, each ended by CRLF."""
        if self.gone:
            return
        line = self._start(status)
        self.ended = True
        if self._framing is SILENT:
            length = b"" if status in BODILESS else b"content-length: %d\r\n" % len(body)
            out = b"%b%b%b\r\n" % (line, head, length)
        elif len(body) <= ONE_WRITE_BYTES:
            out = b"%b%bcontent-length: %d\r\n\r\n%b" % (line, head, len(body), body)
        else:
            out = b"%b%bcontent-length: %d\r\n\r\n" % (line, head, len(body))
            self.bytes_out = len(out) + len(body)
            self._connection.transport.writelines((out, body))
            return
        self.bytes_out = len(out)
        self._connection.transport.write(out)

    def begin(self, status: int, head: bytes, data: bytes = b"") -> None:
        """The head of an answer of unknown length, with its first part in the same write; `chunk` and `end` follow."""
        if self.gone:
            return
        line = self._start(status)
        if self._framing is CHUNKED:
            part = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            out = b"%b%btransfer-encoding: chunked\r\n\r\n%b" % (line, head, part)
        else:
            out = b"%b%b\r\n%b" % (line, head, data if self._framing is BY_CLOSE else b"")
        self.bytes_out = len(out)
        self._connection.transport.write(out)

    def chunk(self, data: bytes) -> None:
        """A part of the answer, in one write. Empty data writes nothing."""
        if self.gone or not data or self._framing is SILENT:
            return
        if self.ended or not self.begun:
            self._check_open()
        out = b"%x\r\n%b\r\n" % (len(data), data) if self._framing is CHUNKED else data
        self.bytes_out += len(out)
        self._connection.transport.write(out)

    def end(self, data: bytes = b"") -> None:
        """The last part and the terminator, in one write."""
        if self.gone:
            return
        self._check_open()
        self.ended = True
        if self._framing is SILENT:
            return
        if self._framing is BY_CLOSE:
            out = data
        elif data:
            out = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)
        else:
            out = b"0\r\n\r\n"
        self.bytes_out += len(out)
        if out:
            self._connection.transport.write(out)

    def abort(self) -> None:
        """Breaks the connection so that the caller sees a cut and never a complete answer."""
        if self.gone or self.ended:
            return
        self.ended = True
        self._connection.cut_short(is_reset_needed=self._framing is BY_CLOSE)

    @property
    def is_behind(self) -> bool:
        """The caller takes less than comes: wait with `drained` before the next part."""
        return self._connection.is_write_paused

    async def drained(self) -> None:
        """Waits until the caller has taken enough; returns at once below the high-water mark.

        Raises:
            ClientGone: the caller hung up, or took nothing for `write_stall_s`.
        """
        if self.gone:
            raise ClientGone
        if self._connection.is_write_paused:
            await self._connection.until_writable()

    def interrupt(self, error: Exception) -> None:
        """Whoever waits in `drained` gets this error instead. What is written already still goes out."""
        if not self.gone:
            self._connection.interrupt(error)

    def _start(self, status: int) -> bytes:
        """The status line with the connection header; settles framing and keep-alive."""
        if self.begun:
            raise RuntimeError("the answer has already begun; a second head would be read as its body")
        self.begun = True
        request = self._request
        if request.method == b"HEAD" or status in BODILESS:
            self._framing = SILENT
        elif not request.is_http_11:
            self._framing = BY_CLOSE
        line = STATUS_LINES.get(status) or status_line(status)
        self.is_kept = self._connection.keeps(request)
        if not self.is_kept:
            return line + b"connection: close\r\n"
        if not request.is_http_11:
            return line + b"connection: keep-alive\r\n"
        return line

    def _check_open(self) -> None:
        if not self.begun or self.ended:
            raise RuntimeError("an answer is written as begin, chunk…, end")

    def lose(self) -> None:
        """The caller is gone; tells the walk once."""
        if not self.gone:
            self.gone = True
            callback, self.on_gone = self.on_gone, None
            if callback is not None and not self.ended:
                callback()


Handler: TypeAlias = Callable[[Request, Reply], Coroutine[Any, Any, None]]
Refuse: TypeAlias = Callable[[LineclearError], tuple[int, bytes, bytes]]
