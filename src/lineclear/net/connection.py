"""One connection of a caller: reads in, exchanges out, strictly in order, each within its deadlines.

In: what a socket brings, and requests from its reader. Out: calls of the handler with a Request and a Reply.
Must not read a request's head or decide anything about its meaning.
"""

import asyncio
import logging
import os
import socket
import struct
from collections import deque
from typing import Protocol, cast

from lineclear.domain.errors import CallerError, ClientGone, ErrorCode, LineclearError, PlatformFault
from lineclear.net.deadlines import Deadlines
from lineclear.net.exchange import Handler, Refuse, Reply, Request, status_line
from lineclear.net.head import MISSES_MAX
from lineclear.net.limits import NS_PER_S
from lineclear.net.request_reader import BODY, DEAF, HEAD, IDLE, ReaderOwner, RequestReader

LOG = logging.getLogger("lineclear.net")

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class ConnectionOwner(ReaderOwner, Protocol):
    """What a connection needs of its server."""

    handler: Handler
    refuse: Refuse
    exchanges_open: int
    exchanges_total: int
    is_draining: bool
    idle_ns: int

    def forget(self, connection: "ServerConnection") -> None:
        """The connection is closed."""
        ...


class ServerConnection(asyncio.Protocol):
    """The protocol object: one task, one timer, one reader per connection."""

    __slots__ = (
        "_body_started_ns",
        "_deadlines",
        "_drain_waiter",
        "_exchange",
        "_idle_waiter",
        "_is_read_paused",
        "_linger_bytes",
        "_linger_until_ns",
        "_queue",
        "_reader",
        "_server",
        "_stalled_bytes",
        "is_closing",
        "is_write_paused",
        "loop",
        "peer",
        "task",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, server: ConnectionOwner, loop: asyncio.AbstractEventLoop, peer: str) -> None:
        self._server = server
        self.loop = loop
        self.peer = peer
        self.task: asyncio.Task[None] | None = None
        self.is_closing = False
        self.is_write_paused = False
        self._deadlines = Deadlines(loop, server.monotonic_ns, late_read=self._read_late, late_write=self._write_late)
        self._reader = RequestReader(server, self, self._deadlines)
        self._queue: deque[tuple[Request, Reply]] = deque()
        self._exchange: Reply | None = None
        self._linger_bytes = 0
        self._linger_until_ns = 0
        self._is_read_paused = False
        self._idle_waiter: asyncio.Future[None] | None = None
        self._drain_waiter: asyncio.Future[None] | None = None
        self._stalled_bytes = 0
        self._body_started_ns = 0

    # ── the socket speaks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, because uvloop's stream transports do not derive from asyncio's class.
        self.transport = cast("asyncio.Transport", transport)
        limits = self._server.limits
        self.transport.set_write_buffer_limits(high=limits.write_high_bytes, low=limits.write_low_bytes)
        self._deadlines.expect_read(limits.idle_s)

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        stage = reader.stage
        if stage is IDLE:
            if self._exchange is None and reader.misses < MISSES_MAX and not self._queue:
                request = reader.recall(data)
                if request is not None:
                    self._enqueue(request)
                    return
        elif stage is DEAF:
            self._drop(len(data))
            return
        reader.feed(data)
        if reader.stage is not IDLE or reader.refusal is not None:
            self._fed(reader)

    def _fed(self, reader: RequestReader) -> None:
        """The rare ends of a read: refused, overflowing, or in the middle of a body."""
        if reader.refusal is not None or reader.is_overflowing:
            self._turn_deaf()
        elif reader.receiving is not None:
            request = reader.receiving
            if request.advance() and request.received_bytes > self._server.limits.body_unread_bytes_max:
                self._pause_reading()

    def eof_received(self) -> bool | None:
        # A half-close cannot be told from a hang-up; proxies treat it as the latter, and so do we.
        self._lose()
        return None

    def connection_lost(self, _exc: Exception | None) -> None:
        self.is_closing = True
        self._lose()
        self._deadlines.stop()
        if self._idle_waiter is not None and not self._idle_waiter.done():
            self._idle_waiter.set_result(None)
        self._reader.stop()
        self._server.forget(self)

    def pause_writing(self) -> None:
        self.is_write_paused = True
        self._stalled_bytes = self.transport.get_write_buffer_size()
        self._deadlines.expect_write(self._server.limits.write_stall_s)

    def resume_writing(self) -> None:
        self.is_write_paused = False
        self._deadlines.write_ns = 0
        if self._drain_waiter is not None and not self._drain_waiter.done():
            self._drain_waiter.set_result(None)

    # ── the reader speaks

    def accept(self, request: Request) -> bool:
        """A request whose head is good; False = too many are waiting already."""
        if len(self._queue) >= self._server.limits.pipeline_requests_max:
            self._server.count("pipeline_overflows")
            return False
        self._enqueue(request)
        return True

    def _enqueue(self, request: Request) -> None:
        self._deadlines.read_ns = 0
        self._queue.append((request, Reply(self, request)))
        if self.task is None:
            self.task = self.loop.create_task(self._serve())
        elif self._idle_waiter is not None and not self._idle_waiter.done():
            self._idle_waiter.set_result(None)

    def _turn_deaf(self) -> None:
        """The first refusal ends understanding; answers already owed go out before it."""
        reader = self._reader
        self._deadlines.read_ns = 0
        if reader.refusal is not None:
            self._server.count("protocol_errors")
        reader.turn_deaf()
        if not self.is_serving:
            self._say_refusal()

    def _say_refusal(self) -> None:
        reader = self._reader
        error, reader.refusal = reader.refusal, None
        if error is not None and not self.is_closing:
            status, head, body = self._server.refuse(error)
            line = status_line(status)
            self.transport.write(
                b"%b%bcontent-length: %d\r\nconnection: close\r\n\r\n%b" % (line, head, len(body), body)
            )
        self._linger()

    # ── exchanges, one after the other

    async def _serve(self) -> None:
        queue = self._queue
        server = self._server
        while True:
            while queue and not self.is_closing:
                request, reply = queue.popleft()
                self._exchange = reply
                server.exchanges_open += 1
                server.exchanges_total += 1
                try:
                    await server.handler(request, reply)
                except ClientGone:
                    reply.abort()
                except asyncio.CancelledError:
                    reply.abort()
                    raise
                except Exception as error:  # noqa: BLE001 -- the process edge: recorded and told, never lost
                    self._handler_failed(reply, error)
                finally:
                    server.exchanges_open -= 1
                    self._exchange = None
                if self.is_write_paused and not reply.gone:
                    await self._until_flushed()
                if not (reply.is_kept and reply.ended and self._stays_idle()):
                    self._exchange_over(reply)
            if self.is_closing:
                return
            self._idle_waiter = self.loop.create_future()
            await self._idle_waiter
            self._idle_waiter = None

    def _stays_idle(self) -> bool:
        """The common end of an exchange, without a detour: nothing waits, nothing is wrong, the next may come."""
        if self._reader.stage is not IDLE or self._queue or self.is_closing or self._is_read_paused:
            return False
        if self._server.is_draining:
            return False
        at_ns = self._server.monotonic_ns() + self._server.idle_ns
        deadlines = self._deadlines
        if deadlines.timer_at_ns > at_ns:
            return False
        deadlines.read_ns = at_ns
        return True

    async def _until_flushed(self) -> None:
        """The next exchange waits until this answer is mostly taken, so that answers cannot pile up."""
        try:
            await self.until_writable()
        except ClientGone:
            self.is_closing = True

    def _handler_failed(self, reply: Reply, error: Exception) -> None:
        if not isinstance(error, LineclearError):
            self._server.count("handler_faults")
            LOG.error("the handler of a request failed", exc_info=error)
            error = PlatformFault(
                ErrorCode.INTERNAL_ERROR,
                "Lineclear failed to handle this request",
                hint="try again; if it happens again, report the request id",
            )
        if reply.begun:
            reply.abort()
        else:
            reply.whole(*self._server.refuse(error))

    def _exchange_over(self, reply: Reply) -> None:
        if self.is_closing or reply.gone:
            return
        if not reply.ended:
            self._server.count("handler_faults")
            LOG.error("the handler of a request ended without an answer")
            reply.abort()
        elif reply.is_kept:
            self._await_next()
        elif self._reader.stage is IDLE:
            self._close()
        else:
            self._linger()

    def _await_next(self) -> None:
        self._resume_reading()
        if self._queue:
            return
        stage = self._reader.stage
        limits = self._server.limits
        if stage is DEAF:
            self._say_refusal()
        elif stage is IDLE:
            self._deadlines.expect_read(limits.drain_grace_s if self._server.is_draining else limits.idle_s)
        elif stage is HEAD:
            self._deadlines.expect_read(limits.head_deadline_s)

    def keeps(self, request: Request) -> bool:
        """Whether the connection outlives this answer."""
        if not request.is_keep_alive or not request.is_complete or self.is_closing:
            return False
        reader = self._reader
        if self._queue or reader.refusal is not None:
            return True  # more is going to be said
        return reader.stage is not DEAF and not reader.is_overflowing and not self._server.is_draining

    # ── reading a body

    def want_body(self, request: Request) -> None:
        """A handler waits for the body: the caller is asked, the socket is read, the clock runs."""
        if request.is_continue_awaited:
            request.is_continue_awaited = False
            if request.received_bytes == 0:
                self.transport.write(CONTINUE)
        self._resume_reading()
        self._body_started_ns = self._server.monotonic_ns()
        self._deadlines.expect_read(self._server.limits.body_grace_s)

    def unwant_body(self) -> None:
        """Nobody waits any more."""
        self._deadlines.read_ns = 0

    def _resume_reading(self) -> None:
        if self._is_read_paused:
            self._is_read_paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def _pause_reading(self) -> None:
        if not self._is_read_paused and not self.transport.is_closing():
            self._is_read_paused = True
            self.transport.pause_reading()

    # ── too late

    def _write_late(self) -> None:
        unsent_bytes = self.transport.get_write_buffer_size()
        if unsent_bytes < self._stalled_bytes:
            self._stalled_bytes = unsent_bytes
            self._deadlines.expect_write(self._server.limits.write_stall_s)
            return
        self._server.count("writes_stalled")
        self._deadlines.write_ns = 0
        self.cut()

    def _read_late(self, now_ns: int) -> None:
        self._deadlines.read_ns = 0
        stage = self._reader.stage
        if stage is IDLE and not self.is_serving:
            self._server.count("idle_closed")
            self._close()
        elif stage is HEAD and not self.is_serving:
            self._server.count("head_timeouts")
            self._reader.note_refusal(_too_slow("head", self._server.limits.head_deadline_s))
            self._turn_deaf()
        elif stage is BODY and self._reader.receiving is not None:
            self._body_late(self._reader.receiving, now_ns)
        elif stage is DEAF and self.is_closing:
            self.transport.abort()

    def _body_late(self, request: Request, now_ns: int) -> None:
        limits = self._server.limits
        earned_ns = request.received_bytes * NS_PER_S // limits.body_bytes_per_s_min
        allowed_ns = min(max(earned_ns, int(limits.body_grace_s * NS_PER_S)), int(limits.body_deadline_s * NS_PER_S))
        late_ns = now_ns - self._body_started_ns - allowed_ns
        if late_ns < 0:
            self._deadlines.expect_read(-late_ns / NS_PER_S)
            return
        self._server.count("body_timeouts")
        self._reader.fail_receiving(_too_slow("body", limits.body_grace_s))
        self._reader.stage = DEAF

    # ── writing

    async def until_writable(self) -> None:
        """Waits for room in the send buffer.

        Raises:
            ClientGone: the caller hung up or stalled.
        """
        self._drain_waiter = self.loop.create_future()
        try:
            await self._drain_waiter
        finally:
            self._drain_waiter = None

    def interrupt(self, error: Exception) -> None:
        """Whoever waits for room in the send buffer hears of this instead."""
        if self._drain_waiter is not None and not self._drain_waiter.done():
            self._drain_waiter.set_exception(error)

    # ── endings

    @property
    def is_idle(self) -> bool:
        """No exchange is running or waiting, and no byte of a request has come."""
        return self._exchange is None and not self._queue and self._reader.stage is IDLE

    @property
    def is_serving(self) -> bool:
        """An exchange is running or waiting."""
        return self._exchange is not None or bool(self._queue)

    def close_if_idle(self) -> None:
        """Closes a connection that nobody uses; used when draining."""
        if self.is_idle:
            self._close()

    def cut(self) -> None:
        """Ends the connection now; the walk hears of it first."""
        self._lose()
        self.transport.abort()

    def cut_short(self, *, is_reset_needed: bool) -> None:
        """Ends an answer that is not complete. What was written still goes out, the terminator never does."""
        if is_reset_needed:
            # An answer that ends by close would look complete after a FIN.
            _reset_on_close(self.transport)
            self.is_closing = True
            self.transport.abort()
        else:
            self._close()

    def _lose(self) -> None:
        self.is_closing = True
        gone = ClientGone()
        self._reader.fail_receiving(gone)
        if self._drain_waiter is not None and not self._drain_waiter.done():
            self._drain_waiter.set_exception(gone)
        if self._exchange is not None:
            if not (self._exchange.ended or self._exchange.gone):
                self._server.count("callers_gone")
            self._exchange.lose()
        for _, reply in self._queue:
            reply.lose()

    def _close(self) -> None:
        """Sends what is buffered, then closes; a caller who does not read is cut after a while."""
        self.is_closing = True
        self._reader.stage = DEAF
        if not self.is_write_paused:
            self._deadlines.expect_read(self._server.limits.write_stall_s)
        self.transport.close()

    def _linger(self) -> None:
        """Closes our side and drops what still comes: closing with unread bytes would reset our answer away."""
        self.is_closing = True
        self._reader.stage = DEAF
        self._resume_reading()
        self._linger_until_ns = self._deadlines.arm(self._server.limits.linger_s_max)
        self._deadlines.expect_read(self._server.limits.linger_s)
        if self._idle_waiter is not None and not self._idle_waiter.done():
            self._idle_waiter.set_result(None)
        if self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()

    def _drop(self, dropped_bytes: int) -> None:
        limits = self._server.limits
        self._linger_bytes += dropped_bytes
        if self._linger_bytes > limits.linger_bytes_max:
            self.cut()
        elif self._linger_until_ns:
            still_ns = self._server.monotonic_ns() + int(limits.linger_s * NS_PER_S)
            self._deadlines.read_ns = min(still_ns, self._linger_until_ns)


def _reset_on_close(transport: asyncio.Transport) -> None:
    """Makes the coming close an RST (SO_LINGER with zero time), where the socket has such a thing."""
    wrapped = transport.get_extra_info("socket")
    if wrapped is None or wrapped.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with socket.socket(fileno=os.dup(wrapped.fileno())) as twin:
        twin.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _too_slow(part: str, deadline_s: float) -> CallerError:
    return CallerError(
        ErrorCode.REQUEST_TIMEOUT,
        f"the {part} of the request came too slowly (deadline {deadline_s:g} s)",
        hint="send the request again",
    )
