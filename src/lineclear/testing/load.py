"""A load client: many keep-alive connections, whole and streamed calls, every failure counted by kind.

In: the data port's URL, calls to make. Out: one `CallResult` per call. It never retries, so that a
failure of the server cannot hide, and it says of each stream whether its end marker came.
"""

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

READ_BYTES_MAX = 64 * 1024
CALL_DEADLINE_S = 60.0
TERMINATORS = (b"data: [DONE]", b"event: message_stop")


@dataclass(frozen=True)
class Call:
    """One request to make."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class CallResult:
    """What came of one call."""

    status: int
    """HTTP status; 0 if no head came."""
    failure: str
    """Empty if the whole answer came with status 200; else connect, cut, timeout, unterminated, or `status N code`."""
    headers: Mapping[str, str]
    body: bytes
    started_ns: int
    first_event_us: int
    """Until the first byte of the body."""
    duration_us: int

    @property
    def request_id(self) -> str:
        return self.headers.get("x-request-id", "")

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class LoadReport:
    """What came of many calls."""

    results: list[CallResult] = field(default_factory=list)
    answered: int = 0
    """How many went well so far."""

    def add(self, result: CallResult) -> None:
        self.results.append(result)
        self.answered += not result.failure

    @property
    def ok(self) -> list[CallResult]:
        return [result for result in self.results if not result.failure]

    @property
    def failures(self) -> Counter[str]:
        """How often each kind of failure came; empty if none."""
        return Counter(result.failure for result in self.results if result.failure)

    def latency_us(self, share: float) -> int:
        """The duration below which `share` (0 to 1) of the good calls stayed; 0 if there were none."""
        return quantile([result.duration_us for result in self.ok], share)


def quantile(values: list[int], share: float) -> int:
    """The value below which `share` (0 to 1) of `values` lies, by nearest rank; 0 of an empty list."""
    if not values:
        return 0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def chat_call(key: str, route: str, text: str, *, stream: bool = False, **more: Any) -> Call:
    """An OpenAI chat completion."""
    tree = {"model": route, "messages": [{"role": "user", "content": text}], **more}
    if stream:
        tree["stream"] = True
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    return Call("/v1/chat/completions", headers, json.dumps(tree).encode())


def messages_call(key: str, route: str, text: str, *, stream: bool = False, **more: Any) -> Call:
    """An Anthropic message."""
    tree = {"model": route, "max_tokens": 256, "messages": [{"role": "user", "content": text}], **more}
    if stream:
        tree["stream"] = True
    headers = {"x-api-key": key, "anthropic-version": "2023-06-01", "content-type": "application/json"}
    return Call("/v1/messages", headers, json.dumps(tree).encode())


def completions_call(key: str, route: str, prompt: Any, *, stream: bool = False, **more: Any) -> Call:
    """An OpenAI text completion of a text, a list of texts, or tokens."""
    tree = {"model": route, "prompt": prompt, **more}
    if stream:
        tree["stream"] = True
    return _openai_call(key, "/v1/completions", tree)


def embeddings_call(key: str, route: str, given: Any, **more: Any) -> Call:
    """OpenAI embeddings of a text, a list of texts, or tokens."""
    return _openai_call(key, "/v1/embeddings", {"model": route, "input": given, **more})


def classify_call(key: str, route: str, given: Any, **more: Any) -> Call:
    """The classes of a text or a list of texts."""
    return _openai_call(key, "/v1/classify", {"model": route, "input": given, **more})


def _openai_call(key: str, path: str, tree: dict[str, Any]) -> Call:
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    return Call(path, headers, json.dumps(tree).encode())


class LoadConnection:
    """One keep-alive connection that makes one call at a time and reconnects when the server closed it."""

    def __init__(self, url: str, deadline_s: float = CALL_DEADLINE_S) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or 80
        self._deadline_s = deadline_s
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def call(self, call: Call) -> CallResult:
        """Make one call and read all of its answer."""
        answer = _Answer(time.monotonic_ns())
        try:
            async with asyncio.timeout(self._deadline_s):
                await self._exchange(call, answer)
        except TimeoutError:
            answer.failure = "timeout"
        except (OSError, asyncio.IncompleteReadError):
            answer.failure = answer.failure or "cut"
        if answer.failure or answer.headers.get("connection", "").lower() == "close":
            await self.close()
        return answer.result()

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):  # the peer had reset it; it is closed all the same
                await self._writer.wait_closed()
        self._reader = self._writer = None

    async def _exchange(self, call: Call, answer: "_Answer") -> None:
        reader, writer = await self._connected(answer)
        lines = [f"POST {call.path} HTTP/1.1", f"host: {self._host}:{self._port}"]
        lines += [f"{name}: {value}" for name, value in call.headers.items()]
        head = "\r\n".join([*lines, f"content-length: {len(call.body)}", "", ""])
        writer.write(head.encode() + call.body)
        text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *fields = text.rstrip("\r\n").split("\r\n")
        answer.status = int(status_line.split(" ")[1])
        for line in fields:
            name, _, value = line.partition(":")
            answer.headers[name.lower()] = value.strip()
        if answer.headers.get("transfer-encoding", "") == "chunked":
            await self._read_chunks(reader, answer)
        else:
            answer.take(await reader.readexactly(int(answer.headers.get("content-length", "0"))))

    async def _connected(self, answer: "_Answer") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._writer is not None and self._reader is not None and not self._reader.at_eof():
            return self._reader, self._writer
        await self.close()
        answer.failure = "connect"
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        answer.failure = ""
        return self._reader, self._writer

    async def _read_chunks(self, reader: asyncio.StreamReader, answer: "_Answer") -> None:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            answer.take((await reader.readexactly(size + 2))[:-2])
        await reader.readuntil(b"\r\n")


class _Answer:
    """An answer while it arrives."""

    def __init__(self, started_ns: int) -> None:
        self.started_ns = started_ns
        self.status = 0
        self.failure = ""
        self.headers: dict[str, str] = {}
        self._body = bytearray()
        self._first_us = 0

    def take(self, data: bytes) -> None:
        if not self._first_us:
            self._first_us = self._elapsed_us()
        self._body += data

    def result(self) -> CallResult:
        body = bytes(self._body)
        return CallResult(
            status=self.status,
            failure=self.failure or self._answer_failure(body),
            headers=self.headers,
            body=body,
            started_ns=self.started_ns,
            first_event_us=self._first_us,
            duration_us=self._elapsed_us(),
        )

    def _answer_failure(self, body: bytes) -> str:
        if self.status != 200:
            return f"status {self.status} {_error_code(body)}".rstrip()
        if self.headers.get("content-type", "").startswith("text/event-stream"):
            tail = body[-256:]
            return "" if any(mark in tail for mark in TERMINATORS) else "unterminated"
        return ""

    def _elapsed_us(self) -> int:
        return (time.monotonic_ns() - self.started_ns) // 1000


def _error_code(body: bytes) -> str:
    """The product's own error code in a body of either dialect; empty if there is none."""
    try:
        tree = json.loads(body)
    except ValueError:
        return ""
    error = tree.get("error") if isinstance(tree, dict) else None
    return str(error.get("code", "")) if isinstance(error, dict) else ""


async def closed_loop(
    url: str,
    next_call: Callable[[int], Call],
    *,
    connections: int,
    count: int | None = None,
    stop: asyncio.Event | None = None,
    deadline_s: float = CALL_DEADLINE_S,
    report: LoadReport | None = None,
) -> LoadReport:
    """Keep `connections` calls in flight until `count` were made or `stop` is set.

    Each connection makes its next call when the last one has ended. A failed connect waits 20 ms, so that a
    dead server is not hammered. A `report` that is handed in can be watched meanwhile.
    """
    report = LoadReport() if report is None else report
    made = 0

    async def one_connection() -> None:
        nonlocal made
        connection = LoadConnection(url, deadline_s)
        try:
            while (count is None or made < count) and not (stop and stop.is_set()):
                made += 1
                result = await connection.call(next_call(made - 1))
                report.add(result)
                if result.failure == "connect":
                    await asyncio.sleep(0.02)
        finally:
            await connection.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(one_connection())
    return report


async def open_loop(
    url: str,
    next_call: Callable[[int], Call],
    *,
    rate_per_s: float,
    count: int,
    deadline_s: float = CALL_DEADLINE_S,
) -> LoadReport:
    """Start `count` calls at a fixed rate, whether or not earlier ones have ended; idle connections are reused."""
    report = LoadReport()
    idle: list[LoadConnection] = []

    async def one_call(number: int) -> None:
        connection = idle.pop() if idle else LoadConnection(url, deadline_s)
        report.add(await connection.call(next_call(number)))
        idle.append(connection)

    started = asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            due = started + number / rate_per_s
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
            group.create_task(one_call(number))
    for connection in idle:
        await connection.close()
    return report
