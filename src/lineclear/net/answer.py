"""One connection to a target: request bytes out, one answer in at a time.

In: bytes of a socket. Out: status, headers and body pieces of the current answer, or the reason it failed.
Callbacks never raise: they note the first failure. Must not choose connections or targets; the pool does.
"""

import asyncio
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final, Protocol, TypeAlias, cast

import httptools

from lineclear.domain.errors import ClientGone, ErrorCode, Sent, UpstreamError
from lineclear.net.failures import broken, upstream_failure
from lineclear.net.head import MISSES_MAX, FieldNames, KnownLines
from lineclear.net.limits import NS_PER_S, PoolLimits
from lineclear.net.tls import ResumingContext

FRAMING_BYTES_PER_BODY_BYTE = 8
ONE_WRITE_BYTES = 256 * 1024
"""Up to here head and body are copied into one buffer; above it they go as two of one write."""
INTERIM_MAX = 16
"""How many 1xx heads may come before the answer's own."""
BODILESS = frozenset((204, 304))


class Stage(IntEnum):
    """Where the answer is."""

    UNUSED = 0
    """No request is out: the connection is fresh or idle."""
    HEAD = 1
    BODY = 2
    COMPLETE = 3
    BROKEN = 4


# Reading an enum member through its class costs ten times a module name on Python 3.11.
UNUSED: Final = Stage.UNUSED
HEAD: Final = Stage.HEAD
BODY: Final = Stage.BODY
COMPLETE: Final = Stage.COMPLETE
BROKEN: Final = Stage.BROKEN


Passage: TypeAlias = Callable[[bytes], bool]
"""Takes body bytes as they arrive, in the socket's callback; False = whoever waits has to look."""


class AnswerOwner(Protocol):
    """What a connection needs of its pool."""

    limits: PoolLimits
    names: FieldNames
    lines: KnownLines
    monotonic_ns: Callable[[], int]

    def closed(self, connection: "UpstreamConnection") -> None:
        """The connection is gone."""
        ...

    def count(self, name: str) -> None:
        """A limit or a fault was met."""
        ...


class UpstreamConnection(asyncio.Protocol):
    """The protocol object: one parser, one timer, the state of one answer."""

    __slots__ = (
        "_body_bytes",
        "_fields",
        "_interims",
        "_is_head_only",
        "_is_interim",
        "_is_paused",
        "_is_session_kept",
        "_known_names",
        "_loop",
        "_misses",
        "_parser",
        "_pool",
        "_timer",
        "_timer_at_ns",
        "_unknown_lines",
        "_waiter",
        "_wire_bytes",
        "_wire_has_chunks",
        "deadline_ns",
        "error",
        "headers",
        "idle_since_ns",
        "is_keep_alive",
        "is_length_known",
        "is_reused",
        "lane",
        "opened_ns",
        "passage",
        "phase",
        "pieces",
        "stage",
        "status",
        "transport",
        "unread_bytes",
    )

    transport: asyncio.Transport

    def __init__(self, pool: AnswerOwner, loop: asyncio.AbstractEventLoop, lane: object) -> None:
        self._pool = pool
        self._loop = loop
        self.lane = lane
        self._known_names = pool.names.known
        self._parser: Any = httptools.HttpResponseParser(self)
        self._is_head_only = False
        self.deadline_ns = 0
        self.phase = ""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_ns = 0
        self._is_session_kept = False
        self._unknown_lines: list[bytes] = []
        self._misses = 0
        self.opened_ns = pool.monotonic_ns()
        self.idle_since_ns = 0
        self.is_reused = False
        self._reset_parsed()
        self._reset()

    def _reset(self) -> None:
        """What `send` does not set and the answer before may have left."""
        self.stage = UNUSED
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.pieces: list[bytes] = []
        self.passage: Passage | None = None
        self.is_keep_alive = False
        self._waiter: asyncio.Future[None] | None = None
        if self._wire_bytes:
            self._reset_parsed()

    def _reset_parsed(self) -> None:
        """What only an answer that went through the parser leaves."""
        self.unread_bytes = 0
        self.error: Exception | None = None
        self._body_bytes = 0
        self._wire_bytes = 0
        self._wire_has_chunks = False
        self._fields = 0
        self._interims = 0
        self._is_interim = False
        self.is_length_known = False
        self._is_paused = False

    # ── the call speaks

    def send(self, head: bytes, body: bytes) -> None:
        """Hands the whole request to the transport; the answer is awaited from now on."""
        self.stage = HEAD
        self._is_head_only = head[:5] == b"HEAD "
        if len(body) <= ONE_WRITE_BYTES:
            self.transport.write(head + body)
        else:
            self.transport.writelines((head, body))

    def wait(self) -> "asyncio.Future[None]":
        """Done when something new can be said about the answer; fails with what ended the wait.

        A plain function, because a coroutine for each wait costs more than the wait itself.

        Raises:
            Exception: the answer has already failed: an UpstreamError, or the error given to `abort`.
        """
        if self.error is not None:
            raise self.error
        if self.deadline_ns:
            self._arm()
        waiter = self._waiter = self._loop.create_future()
        return waiter

    def take(self) -> bytes | None:
        """What has arrived and was not taken; b"" at the end of the answer; None if there is nothing yet.

        Raises:
            Exception: what broke the answer, after everything before it was taken.
        """
        pieces = self.pieces
        if pieces:
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            pieces.clear()
            self.unread_bytes = 0
            if self._is_paused:
                self._resume_reading()
            return data
        if self.stage is COMPLETE:
            return b""
        if self.error is not None:
            raise self.error
        return None

    def is_reusable(self) -> bool:
        """Whether the connection is provably idle: answer complete, request fully sent, no surplus byte."""
        return (
            self.stage is COMPLETE
            and self.is_keep_alive
            and self.error is None
            and not self._is_paused
            and not self.transport.is_closing()
            and self.transport.get_write_buffer_size() == 0
        )

    def rest(self, now_ns: int) -> None:
        """Becomes idle."""
        if not self._is_session_kept:
            self._is_session_kept = True
            self._keep_session()
        self._reset()
        self.idle_since_ns = now_ns
        self.is_reused = True

    def abort(self, error: Exception | None) -> None:
        """Closes at once; a pending wait raises `error`."""
        self._break(error if error is not None else ClientGone())
        self.transport.abort()

    def _keep_session(self) -> None:
        connected = self.transport.get_extra_info("ssl_object")
        if connected is not None and isinstance(connected.context, ResumingContext):
            connected.context.keep_session(connected)

    # ── the socket speaks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, because uvloop's stream transports do not derive from asyncio's class.
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        stage = self.stage
        if stage is HEAD:
            if self._misses < MISSES_MAX and not self._wire_bytes and self._recall(data):
                return
        elif stage is not BODY:
            if stage is not BROKEN:
                self._surplus()
            return
        self._wire_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._parse_failed(error)
        self._check_sizes()
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if self.stage is BODY and self.passage is not None:
            if self.pieces and not self._pass_on(self.passage):
                waiter.set_result(None)
        elif self.pieces or self.stage is not HEAD:
            waiter.set_result(None)

    def _pass_on(self, passage: Passage) -> bool:
        """Whether the wait goes on. What the passage raises becomes this answer's failure, as any other."""
        try:
            return passage(self.take() or b"")
        except Exception as error:  # noqa: BLE001 - noted here, raised to whoever reads on
            self.stage = BROKEN
            self.is_keep_alive = False
            self.error = error
            return False

    def _recall(self, data: bytes) -> bool:
        """Takes an answer that came in one read and has only known lines; False = it is left to the parser."""
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        known = self._pool.lines.recall(lines)
        if known is None:
            self._misses += 1
            self._unknown_lines = lines
            return False
        self._misses = 0
        _, headers = known
        if headers.get(b"content-length") != b"%d" % len(body) or self._is_head_only:
            return False
        limits = self._pool.limits
        if (
            len(lines) > limits.head_fields_max
            or len(head) + 4 > limits.head_bytes_max
            or len(body) > limits.body_bytes_max
        ):
            return False
        self.status = 200
        self.headers = headers
        self.pieces.append(body)
        self.is_keep_alive = self.is_length_known = True
        self._complete()
        return True

    def eof_received(self) -> bool | None:
        if self.stage is BODY and not self.is_length_known:
            self._complete()
            self.is_keep_alive = False
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.stage in (HEAD, BODY):
            self._break(self._cut(exc))
        self.is_keep_alive = False
        self._parser = None  # breaks the cycle of bound callbacks
        self._pool.closed(self)

    def _cut(self, exc: Exception | None) -> UpstreamError:
        """The connection ended before the answer did."""
        if self.stage is HEAD and self.is_reused and self._wire_bytes == 0:
            phase = "reused"
        else:
            phase = "head" if self.stage is HEAD else "body"
        if exc is not None and not isinstance(exc, ConnectionError):
            return upstream_failure(exc, sent=Sent.YES, phase=phase)
        message = "the target closed the connection before its answer was complete"
        return broken(ErrorCode.UPSTREAM_TRUNCATED, message, sent=Sent.YES, phase=phase)

    # ── the parser speaks

    def on_message_begin(self) -> None:
        if self.stage is COMPLETE:
            self._surplus()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.stage is not HEAD:
            return  # a trailer, or part of a surplus answer
        self._fields += 1
        lower = self._known_names.get(name)
        if lower is None:
            lower = self._pool.names.learn(name)
        headers = self.headers
        value = value.rstrip(b" \t")
        if lower in headers:
            if self._fields <= self._pool.limits.head_fields_max:
                headers[lower] += b", " + value
        elif lower:
            headers[lower] = value

    def on_headers_complete(self) -> None:
        if self.stage is not HEAD:
            return
        parser = self._parser
        status = parser.get_status_code()
        headers = self.headers
        if status < 200:
            self._interim(status)
            return
        self.is_keep_alive = parser.should_keep_alive()
        encoding = headers.get(b"transfer-encoding")
        self._wire_has_chunks = encoding is not None
        self.is_length_known = encoding is not None or b"content-length" in headers
        if not self.is_keep_alive or encoding is not None or b"connection" in headers:
            self._judge(encoding)
        limits = self._pool.limits
        if self._fields > limits.head_fields_max or self._wire_bytes > limits.head_bytes_max:
            self._judge_head_size()
        if self.stage is HEAD:
            self.status = status
            self.stage = BODY
            if self._unknown_lines:
                self._learn()
            if self._is_head_only or status in BODILESS:
                self._complete_without_body()

    def on_body(self, body: bytes) -> None:
        if self.stage is BODY:
            self.pieces.append(body)
            self.unread_bytes += len(body)
            self._body_bytes += len(body)

    def on_message_complete(self) -> None:
        if self._is_interim:
            self._is_interim = False
            self.headers = {}
        elif self.stage is BODY:
            self.stage = COMPLETE

    # ── judging

    def _learn(self) -> None:
        """Remembers the lines of a plain answer's head that the parser and we have accepted."""
        lines, self._unknown_lines = self._unknown_lines, []
        if self.status == 200 and self.is_keep_alive and lines[0].startswith(b"HTTP/1.1 200"):
            self._pool.lines.learn(lines, (), self.headers)

    def _interim(self, status: int) -> None:
        self._is_interim = True
        self._interims += 1
        if status < 100 or status == 101 or self._interims > INTERIM_MAX:
            self._bad("the target sent an informational answer that nobody asked for")

    def _judge(self, encoding: bytes | None) -> None:
        if self._parser.get_http_version() not in ("1.1", "1.0"):
            self._bad("the target's answer is not HTTP/1.1 or HTTP/1.0")
        elif encoding is not None and encoding.lower() != b"chunked":
            self._bad("the target's answer has an unknown Transfer-Encoding")

    def _judge_head_size(self) -> None:
        limits = self._pool.limits
        head_bytes = sum(len(name) + len(value) + 4 for name, value in self.headers.items())
        if self._fields > limits.head_fields_max or head_bytes > limits.head_bytes_max:
            self._bad("the head of the target's answer is too large")

    def _complete_without_body(self) -> None:
        """HEAD, 204 and 304 end with their head, whatever lengths they name."""
        if self.headers.get(b"content-length", b"0") != b"0" or self._wire_has_chunks:
            self.is_keep_alive = False  # the parser and the target may disagree about what follows
        self._complete()

    def _complete(self) -> None:
        self.stage = COMPLETE
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _check_sizes(self) -> None:
        limits = self._pool.limits
        if self.stage is HEAD:
            if self._wire_bytes > limits.head_bytes_max:
                self._bad("the head of the target's answer is too large")
        elif self._body_bytes > limits.body_bytes_max:
            self._bad("the body of the target's answer is too large")
        elif self.unread_bytes > limits.unread_bytes_max and self.stage is BODY:
            self._pause_reading()
        if self._wire_has_chunks and self._wire_bytes > limits.framing_bytes_slack + (
            FRAMING_BYTES_PER_BODY_BYTE * self._body_bytes
        ):
            self._bad("the chunked framing of the target's answer is larger than the body it carries")

    def _resume_reading(self) -> None:
        self._is_paused = False
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def _pause_reading(self) -> None:
        if not self._is_paused and not self.transport.is_closing():
            self._is_paused = True
            self.transport.pause_reading()

    def _parse_failed(self, error: Exception) -> None:
        if self.stage is COMPLETE:
            self._surplus()
        elif self.stage is not BROKEN:
            self._break(upstream_failure(error, sent=Sent.YES, phase=self._where()))
            self.transport.abort()

    def _bad(self, message: str) -> None:
        if self.stage is not BROKEN:
            self._pool.count("bad_responses")
            self._break(broken(ErrorCode.UPSTREAM_BAD_RESPONSE, message, sent=Sent.YES, phase=self._where()))
            self.transport.abort()

    def _surplus(self) -> None:
        """Bytes that nobody asked for: the answer stands, the connection is not used again."""
        self._pool.count("surplus_bytes")
        self.is_keep_alive = False
        if self.stage is UNUSED:
            self.stage = BROKEN
            self.transport.abort()

    def _where(self) -> str:
        return "head" if self.stage is HEAD else "body"

    def _break(self, error: Exception) -> None:
        if self.stage is not COMPLETE:
            self.stage = BROKEN
        self.is_keep_alive = False
        if self.error is None:
            self.error = error
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if self.status:
            waiter.set_result(None)  # the head stands, and so do the bytes before the break; `take` raises after them
        else:
            waiter.set_exception(error)

    # ── the deadline: one timer, re-armed late

    def watch(self, at_ns: int, phase: str) -> None:
        """Replaces the deadline; 0 takes it away."""
        self.deadline_ns = at_ns
        self.phase = phase
        if at_ns and self._waiter is not None and not self._waiter.done():
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            if self._timer_at_ns <= self.deadline_ns:
                return
            self._timer.cancel()
        wait_ns = self.deadline_ns - self._pool.monotonic_ns()
        self._timer_at_ns = self.deadline_ns
        self._timer = self._loop.call_later(max(0.0, wait_ns / NS_PER_S), self._look_at_deadline)

    def _look_at_deadline(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done() or not self.deadline_ns:
            return
        if self._pool.monotonic_ns() < self.deadline_ns:
            self._arm()
            return
        self._pool.count("timeouts")
        self._break(late(self.phase, Sent.YES))
        self.transport.abort()


def late(phase: str, sent: Sent) -> UpstreamError:
    """The deadline of a phase passed."""
    return broken(
        ErrorCode.UPSTREAM_TIMEOUT, f"the target did not answer in time (waiting: {phase})", sent=sent, phase=phase
    )
