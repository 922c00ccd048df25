"""A vendor made of scripts, over a real socket: both dialects, deterministic answers, faults on order.

In: HTTP/1.1 requests; scripts per target through `PUT /__script/<model>` or `[[…]]` inside a prompt.
Out: answers, and one JSON line for each dispatch in its own log, written before the answer starts.
It uses none of the product's wire code, so that both cannot be wrong in the same way.
"""

import argparse
import asyncio
import hashlib
import json
import os
import re
import signal
import socket
import struct
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httptools

from lineclear.base.clock import Clock, SystemClock
from lineclear.testing.answers import (
    OPENAI,
    Asked,
    error_body,
    error_frame,
    malformed_frame,
    read_request,
    stream_answer,
    whole_answer,
)
from lineclear.testing.script import Script, parse_script

RECENT_MAX = 16
HUNG_UP_MAX = 10_000
"""Remembered hang-ups; older ones are forgotten."""
_DIRECTIVE = re.compile(rb"\[\[([a-zA-Z0-9=,.%:\- _]+)\]\]")
_JSON = "application/json"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass
class _TargetScript:
    """Scripts of one target: the next ones in order, then the lasting one."""

    next: deque[Script] = field(default_factory=deque)
    always: Script | None = None


@dataclass(frozen=True)
class _Dispatch:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes
    reused: bool
    """It came on a connection that had carried a request before."""


@dataclass(frozen=True)
class Account:
    """Who may call, and what is there to be called."""

    key: str
    """The one key that is accepted; any other, and none, is 401."""
    models: tuple[str, ...]
    """What `GET …/models` lists; empty = there is no such list, 404."""
    is_list_public: bool = False
    """The list is there without a key as well."""


class ScriptedUpstream:
    """The server. `start` binds, `close` ends everything it opened."""

    def __init__(self, log_path: Path | None = None, clock: Clock | None = None) -> None:
        self._clock: Clock = clock or SystemClock()
        self._log_fd = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if log_path else None
        self._scripts: dict[str, _TargetScript] = {}
        self.account: Account | None = None
        """None = every key is good, and the list of models is empty."""
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self.dispatches = 0
        self.connections_made = 0
        self.recent: deque[tuple[dict[str, str], bytes]] = deque(maxlen=RECENT_MAX)
        """Header fields and body of the newest dispatches."""
        self.hung_up: deque[dict[str, Any]] = deque(maxlen=HUNG_UP_MAX)
        """Dispatches whose client left before the answer was complete: `x_request_id`, `t_us`."""

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen.

        Returns:
            The port.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), host, port, backlog=1024)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening, cut what is open, close the log."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.abort()
        if self._log_fd is not None:
            os.close(self._log_fd)
            self._log_fd = None

    def set_script(self, model: str, *, following: Sequence[str] = (), always: str | None = None) -> None:
        """Give a target its scripts: `following` one per dispatch, `always` after them (None = plain answers).

        Raises:
            ValueError: for a directive that is not one.
        """
        scripts = deque(parse_script(text) for text in following)
        self._scripts[model] = _TargetScript(scripts, None if always is None else parse_script(always))

    def script_for(self, model: str, body: bytes) -> Script:
        """The script of one dispatch; a target's own goes before one inside the prompt."""
        target = self._scripts.get(model)
        if target is not None and target.next:
            return target.next.popleft()
        if target is not None and target.always is not None:
            return target.always
        found = _DIRECTIVE.findall(body)
        return parse_script(found[-1].decode()) if found else Script()

    def facts(self) -> dict[str, Any]:
        """Counters and hang-ups, as `GET /__facts` tells them."""
        return {
            "dispatches": self.dispatches,
            "connections_made": self.connections_made,
            "connections_open": len(self._connections),
            "hung_up": list(self.hung_up),
        }

    def record(self, dispatch: _Dispatch, asked: Asked, script: Script) -> None:
        """Append this dispatch to the log; called before the first byte of its answer."""
        self.dispatches += 1
        self.recent.append((dispatch.headers, dispatch.body))
        if self._log_fd is None:
            return
        key = dispatch.headers.get("authorization") or dispatch.headers.get("x-api-key") or ""
        line = {
            "x_request_id": dispatch.headers.get("x-request-id", ""),
            "path": dispatch.path,
            "key_sha256": hashlib.sha256(key.encode()).hexdigest()[:16] if key else "",
            "model": asked.model,
            "stream": asked.stream,
            "status": 0 if script.hang or script.reset_head else script.status,
            "usage": _expected_usage(asked, script),
            "t_us": self._clock.unix_us(),
        }
        os.write(self._log_fd, json.dumps(line).encode() + b"\n")

    def note_hang_up(self, dispatch: _Dispatch) -> None:
        """The client left before it had its answer."""
        self.hung_up.append(
            {"x_request_id": dispatch.headers.get("x-request-id", ""), "t_us": self._clock.unix_us()},
        )

    def joined(self, connection: "_Connection") -> None:
        self.connections_made += 1
        self._connections.add(connection)

    def left(self, connection: "_Connection") -> None:
        self._connections.discard(connection)


def _expected_usage(asked: Asked, script: Script) -> dict[str, int] | None:
    """The usage this dispatch will state if nothing is cut; None where the script states none."""
    positions = (script.cut_after, script.rst_after, script.hang_after, script.error_after, script.end_after)
    unsaid = script.no_usage or script.hang or script.reset_head or script.html or script.close_reused
    if script.status != 200 or unsaid or max(positions) >= 0:
        return None
    if asked.stream and asked.dialect == OPENAI and not asked.include_usage:
        return None
    return {
        "input_tokens": asked.input_tokens,
        "output_tokens": script.tokens if asked.puts_out_tokens else 0,
    }


class _Connection(asyncio.Protocol):
    """One client connection: parses requests, answers one at a time, in order."""

    def __init__(self, upstream: ScriptedUpstream) -> None:
        self._upstream = upstream
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._gone = asyncio.Event()
        self._waiting: deque[tuple[str, str, _Dispatch]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._served = 0
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._gathered: bytearray | None = None
        """What is to go out in one write; None = everything goes out as it is said."""

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio.Transport; the protocol is only ever given a TCP one.
        self._transport = cast("asyncio.Transport", transport)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._upstream.joined(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._gone.set()
        self._writable.set()
        self._upstream.left(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.abort()

    # llhttp's callbacks

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = {}
        self._body = bytearray()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        path = self._url.decode("latin-1")
        dispatch = _Dispatch(path, self._headers, bytes(self._body), reused=self._served > 0)
        self._served += 1
        self._waiting.append((self._parser.get_method().decode(), path, dispatch))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._answer_waiting())

    # answering

    async def _answer_waiting(self) -> None:
        while self._waiting and not self._gone.is_set():
            method, path, dispatch = self._waiting.popleft()
            try:
                if path.startswith("/__"):
                    self._control(method, path, dispatch.body)
                elif method == "GET":
                    self._list_models(dispatch.headers)
                else:
                    await self._model_call(dispatch)
            except ConnectionAbortedError:
                self._upstream.note_hang_up(dispatch)

    def _control(self, method: str, path: str, body: bytes) -> None:
        if method == "PUT" and path.startswith("/__script/"):
            asked = json.loads(body)
            self._upstream.set_script(
                path.removeprefix("/__script/"),
                following=asked.get("following", ()),
                always=asked.get("always"),
            )
            self._whole(204, b"")
        elif method == "PUT" and path == "/__account":
            asked = json.loads(body)
            self._upstream.account = Account(asked["key"], tuple(asked["models"]), asked["is_list_public"])
            self._whole(204, b"")
        elif method == "GET" and path == "/__facts":
            self._whole(200, json.dumps(self._upstream.facts()).encode())
        else:
            self._whole(404, b"{}")

    def _list_models(self, headers: dict[str, str]) -> None:
        account = self._upstream.account
        if account is None:
            self._whole(200, b'{"object":"list","data":[]}')
        elif not account.models:
            self._whole(404, b"{}")
        elif not (account.is_list_public or _has_key(headers, account)):
            self._whole(401, error_body(OPENAI, 401, ""))
        else:
            rows = [{"id": name, "object": "model"} for name in account.models]
            self._whole(200, json.dumps({"object": "list", "data": rows}).encode())

    async def _model_call(self, dispatch: _Dispatch) -> None:
        path = dispatch.path.partition("?")[0]
        asked = read_request(path, dispatch.body)
        dialect = asked.dialect
        account = self._upstream.account
        if account is not None and not _has_key(dispatch.headers, account):
            self._whole(401, error_body(dialect, 401, ""))
            return
        script = self._upstream.script_for(asked.model, dispatch.body)
        if script.close_reused and dispatch.reused:
            self.abort()
            return
        self._upstream.record(dispatch, asked, script)
        await self._sleep(script.delay_ms)
        if script.hang:
            await self._gone.wait()
            raise ConnectionAbortedError
        if script.reset_head:
            self._write(b"HTTP/1.1 200 OK\r\ncontent-")
            self._reset()
            return
        if path.endswith("/count_tokens"):
            self._whole(200, json.dumps({"input_tokens": asked.input_tokens}).encode())
        elif script.status != 200:
            self._refuse(dialect, script)
        elif script.html:
            self._whole(200, b"<html><body>Bad gateway</body></html>", "text/html")
        elif asked.stream:
            self._gathered = bytearray() if script.at_once else None
            await self._stream(asked, script)
            self._send_gathered()
        else:
            await self._whole_call(asked, script)
        if script.close_after:
            self._close()

    def _refuse(self, dialect: str, script: Script) -> None:
        extra = f"retry-after: {script.retry_after}\r\n" if script.retry_after else ""
        if script.retry_after_ms:
            extra += f"retry-after-ms: {script.retry_after_ms}\r\n"
        self._whole(script.status, error_body(dialect, script.status, script.error_type), _JSON, extra)

    async def _whole_call(self, asked: Asked, script: Script) -> None:
        body = whole_answer(asked, script)
        sent = min((n for n in (script.cut_after, script.rst_after, script.hang_after) if n >= 0), default=len(body))
        self._write(_head(200, _JSON, "", f"content-length: {len(body)}"))
        await self._send(body[:sent], script)
        await self._fault_point(sent, script)

    async def _stream(self, asked: Asked, script: Script) -> None:
        answer = stream_answer(asked, script)
        self._write(_head(200, "text/event-stream", "cache-control: no-cache\r\n", "transfer-encoding: chunked"))
        for frame in answer.preamble:
            await self._event(frame, script)
        for position, frame in enumerate(answer.content):
            if await self._fault_point(position, script):
                return
            if position in (script.error_after, script.end_after):
                if position == script.error_after:
                    await self._event(error_frame(asked.dialect), script)
                self._write(b"0\r\n\r\n")
                return
            if position == script.malformed_after:
                await self._event(malformed_frame(asked.dialect), script)
            await self._sleep(script.event_delay_ms)
            await self._event(frame, script)
        if await self._fault_point(len(answer.content), script):
            return
        for frame in answer.closing:
            await self._event(frame, script)
        if not script.no_terminator:
            await self._event(answer.terminator, script)
        self._write(b"0\r\n\r\n")

    async def _fault_point(self, position: int, script: Script) -> bool:
        """Cut, reset or hang here if the script says so; True if the answer ends."""
        if position == script.cut_after:
            self._close()
            return True
        if position == script.rst_after:
            self._reset()
            return True
        if position == script.hang_after:
            await self._gone.wait()
            raise ConnectionAbortedError
        return False

    async def _event(self, frame: bytes, script: Script) -> None:
        await self._send(b"%x\r\n%b\r\n" % (len(frame), frame), script)

    async def _send(self, data: bytes, script: Script) -> None:
        if script.trickle_ms == 0:
            await self._writable.wait()
            self._write(data)
            return
        for at in range(len(data)):
            self._write(data[at : at + 1])
            await self._sleep(script.trickle_ms)

    async def _sleep(self, wait_ms: int) -> None:
        """Wait, or end at once when the client leaves."""
        if wait_ms <= 0:
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(wait_ms / 1000):
                await self._gone.wait()
        except TimeoutError:
            return
        raise ConnectionAbortedError

    def _whole(self, status: int, body: bytes, content_type: str = _JSON, extra: str = "") -> None:
        length = "" if status == 204 else f"content-length: {len(body)}"
        self._write(_head(status, content_type, extra, length) + body)

    def _write(self, data: bytes) -> None:
        if self._gone.is_set() or self._transport is None or self._transport.is_closing():
            raise ConnectionAbortedError
        if self._gathered is not None:
            self._gathered += data
        else:
            self._transport.write(data)

    def _send_gathered(self) -> None:
        if self._gathered is not None:
            gathered, self._gathered = bytes(self._gathered), None
            self._write(gathered)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _reset(self) -> None:
        """Close so that the peer sees a reset and not an end of file."""
        if self._transport is not None:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._transport.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _has_key(headers: dict[str, str], account: Account) -> bool:
    sent = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
    return sent == account.key


def _head(status: int, content_type: str, extra: str, framing: str) -> bytes:
    line = f"HTTP/1.1 {status} Scripted\r\ncontent-type: {content_type}\r\nx-request-id: upstream-{status}\r\n{extra}"
    return (line + (f"{framing}\r\n" if framing else "") + "\r\n").encode("latin-1")


async def _serve(port: int, log_path: Path | None) -> None:
    upstream = ScriptedUpstream(log_path)
    bound = await upstream.start(port=port)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_reader(sys.stdin.fileno(), stop.set)  # whoever started it closes its standard input, or dies
    sys.stdout.write(json.dumps({"port": bound}) + "\n")
    sys.stdout.flush()
    await stop.wait()
    await upstream.close()


def main() -> None:
    """Run until standard input closes: `python -m lineclear.testing.upstream --port 0 --log FILE`."""
    parser = argparse.ArgumentParser(prog="lineclear.testing.upstream", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path, default=None)
    arguments = parser.parse_args()
    asyncio.run(_serve(arguments.port, arguments.log))


if __name__ == "__main__":
    main()
