"""Bytes of one connection to its requests: heads are tokenized, judged and measured, bodies gathered.

In: what each read brought. Out: accepted requests to the connection, or the first refusal, held until asked for.
llhttp tokenizes; the checked states are ours. Callbacks never raise: they note the first refusal.
Must not decide anything about a request's meaning, or write.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final, Protocol

import httptools

from lineclear.domain.errors import CallerError, ErrorCode, LineclearError
from lineclear.net.deadlines import Deadlines
from lineclear.net.exchange import Carrier, Request
from lineclear.net.head import HOSTS_MAX, FieldNames, KnownLines, framing_problem, host_problem, target_problem
from lineclear.net.limits import ServerLimits

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


class ReaderOwner(Protocol):
    """What reading needs of the server: its bounds, and what all its connections have learned."""

    limits: ServerLimits
    names: FieldNames
    lines: KnownLines
    hosts: set[bytes]
    monotonic_ns: Callable[[], int]

    def count(self, name: str) -> None:
        """A limit or fault was met."""
        ...


class RequestTaker(Carrier, Protocol):
    """What reading needs of its connection."""

    def accept(self, request: Request) -> bool:
        """A request whose head is good; False = too many are waiting already."""
        ...


class RequestReader:
    """The reading side of one connection; the object that llhttp calls back."""

    __slots__ = (
        "_data",
        "_deadlines",
        "_head_raw",
        "_headers",
        "_is_at_head",
        "_known_names",
        "_parser",
        "_repeats",
        "_server",
        "_taker",
        "_unknown_lines",
        "_url",
        "is_overflowing",
        "misses",
        "receiving",
        "refusal",
        "stage",
    )

    stage: Stage
    receiving: Request | None
    """The request whose body is on its way."""
    refusal: LineclearError | None
    """Why nothing more can be understood; kept by whoever tells it."""
    is_overflowing: bool
    """More requests came at once than may wait."""
    misses: int
    """Heads in a row that `recall` did not know."""

    def __init__(self, server: ReaderOwner, taker: RequestTaker, deadlines: Deadlines) -> None:
        self._server = server
        self._taker = taker
        self._deadlines = deadlines
        self._known_names = server.names.known
        self._parser: Any = httptools.HttpRequestParser(self)
        self.stage = IDLE
        self.receiving = None
        self.refusal = None
        self.is_overflowing = False
        self.misses = 0
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._repeats = 0
        self._data = b""
        self._head_raw = b""
        self._is_at_head = False
        self._unknown_lines: list[bytes] = []

    # ── bytes come

    def recall(self, data: bytes) -> Request | None:
        """The request, if it came in one read and has only known lines; None = it is left to `feed`."""
        server = self._server
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        known = server.lines.recall(lines)
        if known is None:
            self.misses += 1
            self._unknown_lines = lines
            return None
        self.misses = 0
        start, headers = known
        if b"%d" % len(body) != headers.get(b"content-length", b"0") or headers.get(b"host") not in server.hosts:
            return None
        limits = server.limits
        if len(lines) > limits.head_fields_max or len(head) + 4 > limits.head_bytes_max:
            return None
        method, path, query = start
        request = Request(self._taker, method, headers)
        request.started_ns = server.monotonic_ns()
        request.path, request.query = path, query
        request.head_bytes = len(head) + 4
        request.take_whole(body)
        return request

    def feed(self, data: bytes) -> None:
        """Understands what one read brought; what came of it stands in `stage`, `receiving` and `refusal`."""
        self._data = data
        self._is_at_head = self.stage is IDLE
        if self.receiving is not None:
            self.receiving.wire_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._note("a protocol upgrade is not served here")
        except httptools.HttpParserError as error:
            self._note(f"the request is not HTTP/1.1 as RFC 9112 has it: {error}")
        if self.stage is not IDLE and self.refusal is None and not self.is_overflowing:
            self._measure_unfinished(data)

    def _measure_unfinished(self, data: bytes) -> None:
        """The read ended in the middle of a message."""
        limits = self._server.limits
        request = self.receiving
        if request is not None:
            slack = limits.framing_bytes_slack + FRAMING_BYTES_PER_BODY_BYTE * request.received_bytes
            if request.content_length is None and request.wire_bytes > slack:
                self._note("the chunked framing is larger than the body it carries")
        elif self.stage is HEAD:
            if not self._head_raw:
                self._deadlines.expect_read(limits.head_deadline_s)
            self._head_raw += data
            if len(self._url) > limits.target_bytes_max:
                self.note_refusal(_too_long(limits.target_bytes_max))
            elif len(self._head_raw) > limits.head_bytes_max:
                self.note_refusal(_head_too_large(limits))

    # ── the parser speaks

    def on_message_begin(self) -> None:
        self.stage = HEAD
        self._deadlines.read_ns = 0

    def on_url(self, url: bytes) -> None:
        self._url = self._url + url if self._url else url

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = self._known_names.get(name)
        if lower is None:
            lower = self._server.names.learn(name)
        headers = self._headers
        if not lower:
            self._server.count("fields_dropped")
        elif lower in headers:
            self._repeat(lower, value.rstrip(b" \t"))
        else:
            headers[lower] = value.rstrip(b" \t")

    def on_headers_complete(self) -> None:
        headers = self._headers
        url = self._url
        self._headers = {}  # a fresh one also catches trailers, which are dropped
        self._url = b""
        if self.refusal is not None or self.is_overflowing:
            return
        server = self._server
        parser = self._parser
        request = Request(self._taker, parser.get_method(), headers)
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
        if self.refusal is None:
            request.path, _, request.query = url.partition(b"?")
            if self._unknown_lines:
                self._learn(request, url)
            if self._taker.accept(request):
                self.stage = BODY
                self.receiving = request
            else:
                self.is_overflowing = True
        self._unknown_lines = []

    def on_body(self, body: bytes) -> None:
        request = self.receiving
        if request is not None:
            request.pieces.append(body)
            request.received_bytes += len(body)

    def on_message_complete(self) -> None:
        self.stage = HEAD if self.is_overflowing else IDLE
        self._headers = {}
        self._repeats = 0
        self._head_raw = b""
        request = self.receiving
        if request is not None:
            request.is_complete = True
            self.receiving = None
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
            self.note_refusal(_too_long(limits.target_bytes_max))
        elif request.head_bytes > limits.head_bytes_max or (
            len(request.headers) + self._repeats > limits.head_fields_max
        ):
            self.note_refusal(_head_too_large(limits))

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
        if name in (b"host", b"content-length", b"transfer-encoding") and self.stage is HEAD:
            self._note(f"the header {name.decode('ascii')} was sent more than once")
        elif self._repeats <= self._server.limits.head_fields_max:
            self._headers[name] += b", " + value

    def _learn(self, request: Request, url: bytes) -> None:
        """Remembers the lines of a head that the parser and we have accepted."""
        lines = self._unknown_lines
        if request.is_keep_alive and lines[0] == b"%b %b HTTP/1.1" % (request.method, url):
            self._server.lines.learn(lines, (request.method, request.path, request.query), request.headers)

    def _note(self, problem: str) -> None:
        self.note_refusal(CallerError(ErrorCode.INVALID_REQUEST, problem, hint="the connection is closed"))

    # ── ends of reading

    def note_refusal(self, error: LineclearError) -> None:
        """Only the first counts, and none of a side that listens no more."""
        if self.refusal is None and self.stage is not DEAF:
            self.refusal = error

    def turn_deaf(self) -> None:
        """Nothing more is understood. A request whose body was on its way is told the refusal by its own handler."""
        self.stage = DEAF
        error = self.refusal
        if self.receiving is not None and error is not None:
            self.refusal = None
            self.fail_receiving(error)
        self.receiving = None

    def fail_receiving(self, error: Exception) -> None:
        """The rest of the body on its way will not come."""
        request, self.receiving = self.receiving, None
        if request is not None:
            request.fail(error)

    def stop(self) -> None:
        """The connection is closed."""
        self._parser = None
        del self._taker  # with the parser, the cycle of bound callbacks is broken


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
