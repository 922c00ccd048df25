"""One connection of a caller: tokens in, exchanges out, strictly in order.

In: bytes of a socket. Out: calls of the handler with a Request and a Reply.
llhttp tokenizes; the checked states are ours. Callbacks never raise: they note the first refusal.
Must not decide anything about a request's meaning.
"""

import asyncio
import logging
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final, Protocol, cast

import httptools

from lineclear.domain.errors import CallerError, ClientGone, ErrorCode, LineclearError, PlatformFault
from lineclear.net.exchange import Handler, Refuse, Reply, Request, status_line
from lineclear.net.head import (
    HOSTS_MAX,
    MISSES_MAX,
    FieldNames,
    KnownLines,
    framing_problem,
    host_problem,
    target_problem,
)
from lineclear.net.limits import NS_PER_S, ServerLimits

LOG = logging.getLogger("lineclear.net")

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
FRAMING_BYTES_PER_BODY_BYTE = 8


class Stage(IntEnum):
    """Where the reading side of a connection is."""

    IDLE = 0
    HEAD = 1
    BODY = 2
    DEAF = 3
    """Nothing more is understood; what still comes is counted and dropped."""


# Reading an enum member through its class costs ten times a module name on Python 3.11.
IDLE: Final = Stage.IDLE
HEAD: Final = Stage.HEAD
BODY: Final = Stage.BODY
DEAF: Final = Stage.DEAF


class ConnectionOwner(Protocol):
    """What a connection needs of its server."""

    handler: Handler
    refuse: Refuse
    limits: ServerLimits
    names: FieldNames
    lines: KnownLines
    hosts: set[bytes]
    counters: dict[str, int]
    exchanges_open: int
    exchanges_total: int
    is_draining: bool
    idle_ns: int
    monotonic_ns: Callable[[], int]

    def forget(self, connection: "ServerConnection") -> None:
        """The connection is closed."""
        ...


class ServerConnection(asyncio.Protocol):
    """The protocol object: one task, one timer, one parser per connection."""

    __slots__ = (
        "_body_started_ns",
        "_data",
        "_drain_waiter",
        "_exchange",
        "_head_raw",
        "_headers",
        "_idle_waiter",
        "_is_at_head",
        "_is_overflowing",
        "_is_read_paused",
        "_known_names",
        "_linger_bytes",
        "_linger_until_ns",
        "_misses",
        "_parser",
        "_queue",
        "_read_deadline_ns",
        "_receiving",
        "_refusal",
        "_repeats",
        "_server",
        "_stage",
        "_stalled_bytes",
        "_timer",
        "_timer_at_ns",
        "_unknown_lines",
        "_url",
        "_write_deadline_ns",
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
        self._known_names = server.names.known
        self.loop = loop
        self.peer = peer
        self.task: asyncio.Task[None] | None = None
        self.is_closing = False
        self.is_write_paused = False
        self._parser: Any = httptools.HttpRequestParser(self)
        self._queue: deque[tuple[Request, Reply]] = deque()
        self._exchange: Reply | None = None
        self._receiving: Request | None = None
        self._refusal: LineclearError | None = None
        self._stage = IDLE
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._repeats = 0
        self._data = b""
        self._head_raw = b""
        self._is_at_head = False
        self._unknown_lines: list[bytes] = []
        self._misses = 0
        self._linger_bytes = 0
        self._linger_until_ns = 0
        self._is_overflowing = False
        self._is_read_paused = False
        self._idle_waiter: asyncio.Future[None] | None = None
        self._drain_waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_ns = 0
        self._read_deadline_ns = 0
        self._write_deadline_ns = 0
        self._stalled_bytes = 0
        self._body_started_ns = 0

    # ── the socket speaks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, because uvloop's stream transports do not derive from asyncio's class.
        self.transport = cast("asyncio.Transport", transport)
        limits = self._server.limits
        self.transport.set_write_buffer_limits(high=limits.write_high_bytes, low=limits.write_low_bytes)
        self._expect_read(limits.idle_s)

    def data_received(self, data: bytes) -> None:
        stage = self._stage
        if stage is IDLE:
            if self._exchange is None and self._misses < MISSES_MAX and not self._queue and self._recall(data):
                return
        elif stage is DEAF:
            self._drop(len(data))
            return
        self._data = data
        self._is_at_head = stage is IDLE
        if self._receiving is not None:
            self._receiving.wire_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._note("a protocol upgrade is not served here")
        except httptools.HttpParserError as error:
            self._note(f"the request is not HTTP/1.1 as RFC 9112 has it: {error}")
        if self._stage is not IDLE or self._refusal is not None:
            self._fed(data)

    def _recall(self, data: bytes) -> bool:
        """Takes a request that came in one read and has only known lines; False = it is left to the parser."""
        server = self._server
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        known = server.lines.recall(lines)
        if known is None:
            self._misses += 1
            self._unknown_lines = lines
            return False
        self._misses = 0
        start, headers = known
        if b"%d" % len(body) != headers.get(b"content-length", b"0") or headers.get(b"host") not in server.hosts:
            return False
        limits = server.limits
        if len(lines) > limits.head_fields_max or len(head) + 4 > limits.head_bytes_max:
            return False
        method, path, query = start
        request = Request(self, method, headers)
        request.started_ns = server.monotonic_ns()
        request.path, request.query = path, query
        request.head_bytes = len(head) + 4
        request.take_whole(body)
        self._read_deadline_ns = 0
        self._enqueue(request)
        return True

    def _learn(self, request: Request, url: bytes) -> None:
        """Remembers the lines of a head that the parser and we have accepted."""
        lines = self._unknown_lines
        if request.is_keep_alive and lines[0] == b"%b %b HTTP/1.1" % (request.method, url):
            self._server.lines.learn(lines, (request.method, request.path, request.query), request.headers)

    def _fed(self, data: bytes) -> None:
        """The rare ends of a read: refused, overflowing, or in the middle of a message."""
        if self._refusal is not None or self._is_overflowing:
            self._turn_deaf()
        elif self._receiving is not None:
            self._body_fed(self._receiving)
        elif self._stage is HEAD:
            self._head_fed(data)

    def eof_received(self) -> bool | None:
        # A half-close cannot be told from a hang-up; proxies treat it as the latter, and so do we.
        self._lose()
        return None

    def connection_lost(self, _exc: Exception | None) -> None:
        self.is_closing = True
        self._lose()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._idle_waiter is not None and not self._idle_waiter.done():
            self._idle_waiter.set_result(None)
        self._parser = None  # breaks the cycle of bound callbacks
        self._server.forget(self)

    def pause_writing(self) -> None:
        self.is_write_paused = True
        self._stalled_bytes = self.transport.get_write_buffer_size()
        self._write_deadline_ns = self._arm(self._server.limits.write_stall_s)

    def resume_writing(self) -> None:
        self.is_write_paused = False
        self._write_deadline_ns = 0
        if self._drain_waiter is not None and not self._drain_waiter.done():
            self._drain_waiter.set_result(None)

    # ── the parser speaks

    def on_message_begin(self) -> None:
        self._stage = HEAD
        self._read_deadline_ns = 0

    def on_url(self, url: bytes) -> None:
        self._url = self._url + url if self._url else url

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = self._known_names.get(name)
        if lower is None:
            lower = self._server.names.learn(name)
        headers = self._headers
        if not lower:
            self._count("fields_dropped")
        elif lower in headers:
            self._repeat(lower, value.rstrip(b" \t"))
        else:
            headers[lower] = value.rstrip(b" \t")

    def on_headers_complete(self) -> None:
        headers = self._headers
        url = self._url
        self._headers = {}  # a fresh one also catches trailers, which are dropped
        self._url = b""
        if self._refusal is not None or self._is_overflowing:
            return
        server = self._server
        parser = self._parser
        request = Request(self, parser.get_method(), headers)
        request.started_ns = server.monotonic_ns()
        request.is_keep_alive = parser.should_keep_alive()
        self._measure(request, url)
        problem = "" if headers.get(b"host") in server.hosts else self._judge_host(request, headers)
        if url[:1] != b"/" or b"#" in url:
            problem = problem or target_problem(url)
        if b"transfer-encoding" in headers or b"content-length" in headers:
            problem = problem or self._judge_framing(request, headers)
        if b"upgrade" in headers or b"expect" in headers:
            problem = problem or self._judge_extras(request, headers)
        if problem:
            self._note(problem)
        if self._refusal is None:
            request.path, _, request.query = url.partition(b"?")
            if self._unknown_lines:
                self._learn(request, url)
            self._accept(request)
        self._unknown_lines = []

    def on_body(self, body: bytes) -> None:
        request = self._receiving
        if request is not None:
            request.pieces.append(body)
            request.received_bytes += len(body)

    def on_message_complete(self) -> None:
        self._stage = HEAD if self._is_overflowing else IDLE
        self._headers = {}
        self._repeats = 0
        self._head_raw = b""
        request = self._receiving
        if request is not None:
            request.is_complete = True
            self._receiving = None
            if request.waiter is not None:
                request.advance()

    # ── judging a head

    def _measure(self, request: Request, url: bytes) -> None:
        """Version, size and number of fields. A head within one read is measured on its bytes."""
        limits = self._server.limits
        data = self._data
        line_end = data.find(b"\r\n")
        if self._is_at_head and data[line_end - 9 : line_end] == b" HTTP/1.1":
            request.head_bytes = data.find(b"\r\n\r\n", line_end) + 4
        else:
            request.head_bytes = len(url) + 16 + sum(len(n) + len(v) + 4 for n, v in request.headers.items())
            self._judge_version(request, url)
        self._is_at_head = False
        if len(url) > limits.target_bytes_max:
            self._note_error(_too_long(limits.target_bytes_max))
        elif request.head_bytes > limits.head_bytes_max or (
            len(request.headers) + self._repeats > limits.head_fields_max
        ):
            self._note_error(_head_too_large(limits))

    def _judge_version(self, request: Request, url: bytes) -> None:
        version = self._parser.get_http_version()
        request.is_http_11 = version == "1.1"
        # llhttp also speaks RTSP and ICE and does not say so.
        if version not in ("1.1", "1.0") or self._is_foreign(request.method, url):
            self._note("only HTTP/1.1 and HTTP/1.0 are served here")

    def _is_foreign(self, method: bytes, url: bytes) -> bool:
        raw = self._head_raw + self._data
        return any(b"%b %b %b" % (method, url, name) in raw for name in (b"RTSP/", b"ICE/"))

    def _judge_host(self, request: Request, headers: dict[bytes, bytes]) -> str:
        host = headers.get(b"host")
        problem = host_problem(host, is_required=request.is_http_11)
        if not problem and host is not None and len(self._server.hosts) < HOSTS_MAX:
            self._server.hosts.add(host)
        return problem

    def _judge_framing(self, request: Request, headers: dict[bytes, bytes]) -> str:
        length = headers.get(b"content-length")
        encoding = headers.get(b"transfer-encoding")
        problem = framing_problem(encoding, length, is_http_11=request.is_http_11)
        if not problem:
            request.content_length = None if length is None else int(length)
        return problem

    def _judge_extras(self, request: Request, headers: dict[bytes, bytes]) -> str:
        if self._parser.should_upgrade():
            return "a protocol upgrade is not served here"
        expectation = headers.get(b"expect")
        if expectation is None or not request.is_http_11:
            return ""
        if expectation.lower() != b"100-continue":
            return "the only expectation served is 100-continue"
        request.is_continue_awaited = request.content_length != 0
        return ""

    def _repeat(self, name: bytes, value: bytes) -> None:
        self._repeats += 1
        if name in (b"host", b"content-length", b"transfer-encoding") and self._stage is HEAD:
            self._note(f"the header {name.decode('ascii')} was sent more than once")
        elif self._repeats <= self._server.limits.head_fields_max:
            self._headers[name] += b", " + value

    def _accept(self, request: Request) -> None:
        if len(self._queue) >= self._server.limits.pipeline_requests_max:
            self._count("pipeline_overflows")
            self._is_overflowing = True
            return
        self._stage = BODY
        self._receiving = request
        self._read_deadline_ns = 0
        self._enqueue(request)

    def _enqueue(self, request: Request) -> None:
        self._queue.append((request, Reply(self, request)))
        if self.task is None:
            self.task = self.loop.create_task(self._serve())
        elif self._idle_waiter is not None and not self._idle_waiter.done():
            self._idle_waiter.set_result(None)

    # ── after each feed

    def _head_fed(self, data: bytes) -> None:
        limits = self._server.limits
        if not self._head_raw:
            self._expect_read(limits.head_deadline_s)
        self._head_raw += data
        if len(self._url) > limits.target_bytes_max:
            self._note_error(_too_long(limits.target_bytes_max))
        elif len(self._head_raw) > limits.head_bytes_max:
            self._note_error(_head_too_large(limits))
        if self._refusal is not None:
            self._turn_deaf()

    def _body_fed(self, request: Request) -> None:
        limits = self._server.limits
        slack = limits.framing_bytes_slack + FRAMING_BYTES_PER_BODY_BYTE * request.received_bytes
        if request.content_length is None and request.wire_bytes > slack:
            self._note("the chunked framing is larger than the body it carries")
            self._turn_deaf()
        elif request.advance() and request.received_bytes > limits.body_unread_bytes_max:
            self._pause_reading()

    def _note(self, problem: str) -> None:
        self._note_error(CallerError(ErrorCode.INVALID_REQUEST, problem, hint="the connection is closed"))

    def _note_error(self, error: LineclearError) -> None:
        if self._refusal is None and self._stage is not DEAF:
            self._refusal = error

    def _turn_deaf(self) -> None:
        """The first refusal ends understanding; answers already owed go out before it."""
        error = self._refusal
        self._stage = DEAF
        self._read_deadline_ns = 0
        if error is not None:
            self._count("protocol_errors")
        receiving, self._receiving = self._receiving, None
        if receiving is not None and error is not None:
            self._refusal = None  # the request's own handler will tell
            receiving.fail(error)
        if not self.is_serving:
            self._say_refusal()

    def _say_refusal(self) -> None:
        error, self._refusal = self._refusal, None
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
        if self._stage is not IDLE or self._queue or self.is_closing or self._is_read_paused:
            return False
        if self._server.is_draining:
            return False
        at_ns = self._server.monotonic_ns() + self._server.idle_ns
        if self._timer is None or self._timer_at_ns > at_ns:
            return False
        self._read_deadline_ns = at_ns
        return True

    async def _until_flushed(self) -> None:
        """The next exchange waits until this answer is mostly taken, so that answers cannot pile up."""
        try:
            await self.until_writable()
        except ClientGone:
            self.is_closing = True

    def _handler_failed(self, reply: Reply, error: Exception) -> None:
        if not isinstance(error, LineclearError):
            self._count("handler_faults")
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
            self._count("handler_faults")
            LOG.error("the handler of a request ended without an answer")
            reply.abort()
        elif reply.is_kept:
            self._await_next()
        elif self._stage is IDLE:
            self._close()
        else:
            self._linger()

    def _await_next(self) -> None:
        self._resume_reading()
        if self._queue:
            return
        if self._stage is DEAF:
            self._say_refusal()
        elif self._stage is IDLE:
            limits = self._server.limits
            self._expect_read(limits.drain_grace_s if self._server.is_draining else limits.idle_s)
        elif self._stage is HEAD:
            self._expect_read(self._server.limits.head_deadline_s)

    def keeps(self, request: Request) -> bool:
        """Whether the connection outlives this answer."""
        if not request.is_keep_alive or not request.is_complete or self.is_closing:
            return False
        if self._queue or self._refusal is not None:
            return True  # more is going to be said
        return self._stage is not DEAF and not self._is_overflowing and not self._server.is_draining

    # ── reading a body

    def want_body(self, request: Request) -> None:
        """A handler waits for the body: the caller is asked, the socket is read, the clock runs."""
        if request.is_continue_awaited:
            request.is_continue_awaited = False
            if request.received_bytes == 0:
                self.transport.write(CONTINUE)
        self._resume_reading()
        self._body_started_ns = self._server.monotonic_ns()
        self._read_deadline_ns = self._arm(self._server.limits.body_grace_s)

    def unwant_body(self) -> None:
        """Nobody waits any more."""
        self._read_deadline_ns = 0

    def _resume_reading(self) -> None:
        if self._is_read_paused:
            self._is_read_paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def _pause_reading(self) -> None:
        if not self._is_read_paused and not self.transport.is_closing():
            self._is_read_paused = True
            self.transport.pause_reading()

    # ── deadlines: one timer, re-armed late

    def _arm(self, wait_s: float) -> int:
        """Makes sure that the timer looks at the deadlines by then; returns the deadline."""
        now_ns = self._server.monotonic_ns()
        at_ns = now_ns + int(wait_s * NS_PER_S)
        if self._timer is not None:
            if self._timer_at_ns <= at_ns:
                return at_ns
            self._timer.cancel()
        self._timer_at_ns = at_ns
        self._timer = self.loop.call_later(wait_s, self._look_at_deadlines)
        return at_ns

    def _expect_read(self, wait_s: float) -> None:
        self._read_deadline_ns = self._arm(wait_s)

    def _look_at_deadlines(self) -> None:
        self._timer = None
        now_ns = self._server.monotonic_ns()
        if self._write_deadline_ns and now_ns >= self._write_deadline_ns:
            self._write_late()
        elif self._read_deadline_ns and now_ns >= self._read_deadline_ns:
            self._read_late(now_ns)
        due = [at_ns for at_ns in (self._read_deadline_ns, self._write_deadline_ns) if at_ns]
        if due and self._parser is not None:
            self._arm(max(0.001, (min(due) - now_ns) / NS_PER_S))

    def _write_late(self) -> None:
        unsent_bytes = self.transport.get_write_buffer_size()
        if unsent_bytes < self._stalled_bytes:
            self._stalled_bytes = unsent_bytes
            self._write_deadline_ns = self._arm(self._server.limits.write_stall_s)
            return
        self._count("writes_stalled")
        self._write_deadline_ns = 0
        self.cut()

    def _read_late(self, now_ns: int) -> None:
        self._read_deadline_ns = 0
        stage = self._stage
        if stage is IDLE and not self.is_serving:
            self._count("idle_closed")
            self._close()
        elif stage is HEAD and not self.is_serving:
            self._count("head_timeouts")
            self._note_error(_too_slow("head", self._server.limits.head_deadline_s))
            self._turn_deaf()
        elif stage is BODY and self._receiving is not None:
            self._body_late(self._receiving, now_ns)
        elif stage is DEAF and self.is_closing:
            self.transport.abort()

    def _body_late(self, request: Request, now_ns: int) -> None:
        limits = self._server.limits
        earned_ns = request.received_bytes * NS_PER_S // limits.body_bytes_per_s_min
        allowed_ns = min(max(earned_ns, int(limits.body_grace_s * NS_PER_S)), int(limits.body_deadline_s * NS_PER_S))
        late_ns = now_ns - self._body_started_ns - allowed_ns
        if late_ns < 0:
            self._read_deadline_ns = self._arm(-late_ns / NS_PER_S)
            return
        self._count("body_timeouts")
        request.fail(_too_slow("body", limits.body_grace_s))
        self._receiving = None
        self._stage = DEAF

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

    # ── endings

    @property
    def is_idle(self) -> bool:
        """No exchange is running or waiting, and no byte of a request has come."""
        return self._exchange is None and not self._queue and self._stage is IDLE

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
        if self._receiving is not None:
            self._receiving.fail(gone)
            self._receiving = None
        if self._drain_waiter is not None and not self._drain_waiter.done():
            self._drain_waiter.set_exception(gone)
        if self._exchange is not None:
            if not (self._exchange.ended or self._exchange.gone):
                self._count("callers_gone")
            self._exchange.lose()
        for _, reply in self._queue:
            reply.lose()

    def _close(self) -> None:
        """Sends what is buffered, then closes; a caller who does not read is cut after a while."""
        self.is_closing = True
        self._stage = DEAF
        if not self.is_write_paused:
            self._read_deadline_ns = self._arm(self._server.limits.write_stall_s)
        self.transport.close()

    def _linger(self) -> None:
        """Closes our side and drops what still comes: closing with unread bytes would reset our answer away."""
        self.is_closing = True
        self._stage = DEAF
        self._resume_reading()
        self._linger_until_ns = self._arm(self._server.limits.linger_s_max)
        self._expect_read(self._server.limits.linger_s)
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
            self._read_deadline_ns = min(still_ns, self._linger_until_ns)

    def _count(self, name: str) -> None:
        self._server.counters[name] = self._server.counters.get(name, 0) + 1


def _reset_on_close(transport: asyncio.Transport) -> None:
    """Makes the coming close an RST (SO_LINGER with zero time), where the socket has such a thing."""
    wrapped = transport.get_extra_info("socket")
    if wrapped is None or wrapped.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with socket.socket(fileno=os.dup(wrapped.fileno())) as twin:
        twin.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _too_long(limit_bytes: int) -> CallerError:
    return CallerError(
        ErrorCode.URI_TOO_LONG,
        f"the request target is longer than {limit_bytes} bytes",
        hint="send data in the body, not in the URL",
    )


def _head_too_large(limits: ServerLimits) -> CallerError:
    return CallerError(
        ErrorCode.HEADERS_TOO_LARGE,
        f"the request head is larger than {limits.head_bytes_max} bytes or {limits.head_fields_max} fields",
        hint="send fewer or shorter headers",
    )


def _too_slow(part: str, deadline_s: float) -> CallerError:
    return CallerError(
        ErrorCode.REQUEST_TIMEOUT,
        f"the {part} of the request came too slowly (deadline {deadline_s:g} s)",
        hint="send the request again",
    )
