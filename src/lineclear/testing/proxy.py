"""A forward proxy that knows CONNECT and follows a script, over real sockets, as a thread of the test.

In: what to do with each CONNECT. Out: tunnels, and a list of what was asked for.
"""

import asyncio
import base64
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

HEAD_BYTES_MAX = 64 * 1024


@dataclass
class ProxyScript:
    """What the proxy does; may be changed between calls."""

    credential: str = ""
    """`user:password` that it demands; empty = none."""
    status: int = 200
    """Another one is answered instead of a tunnel."""
    answer: bytes = b""
    """Answered as it is instead of everything else, and then the connection is closed."""
    cut_at: str = ""
    """`request`: closes on CONNECT without a word; `tunnel`: closes right after its 200."""
    silent_s: float = 0.0
    """How long it waits before it answers."""
    asked: list[str] = field(default_factory=list)
    """Targets of CONNECT, `host:port`, in order."""
    other: list[bytes] = field(default_factory=list)
    """Request lines that were no CONNECT."""
    leads: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Where a target really is, as a proxy's own name service would say; one that is not here is dialled as it is."""


class ScriptedProxy:
    """Listens on a free port of 127.0.0.1 while the `with` block lasts."""

    def __init__(self, script: ProxyScript | None = None) -> None:
        self.script = script or ProxyScript()
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "ScriptedProxy":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        # Ended and not cancelled: asyncio's own callback does not take a cancelled task well.
        self._over.set()
        for writer in tuple(self._open):
            writer.transport.abort()
        running = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        await asyncio.gather(*running, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self._closing(writer), contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            answer = self._answer(head)
            if self.script.silent_s:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._over.wait(), self.script.silent_s)
            if self.script.cut_at == "request":
                return
            if not answer.startswith(b"HTTP/1.1 200") or self.script.cut_at == "tunnel" or self.script.answer:
                writer.write(answer)
                await writer.drain()
                return
            await self._carry(reader, writer, answer)

    def _answer(self, head: bytes) -> bytes:
        line, *fields = head.decode("latin-1").split("\r\n")
        method, target, _ = line.split(" ")
        if method != "CONNECT":
            self.script.other.append(line.encode())
            return b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n"
        self.script.asked.append(target)
        if self.script.answer:
            return self.script.answer
        expected = "proxy-authorization: Basic " + base64.b64encode(self.script.credential.encode()).decode()
        if self.script.credential and expected not in fields:
            return (
                b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\ncontent-length: 0\r\n\r\n"
            )
        return f"HTTP/1.1 {self.script.status} Said\r\nvia: 1.1 script\r\n\r\n".encode()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
        target = self.script.asked[-1]
        host, _, port = target.rpartition(":")
        host, number = self.script.leads.get(target, (host.strip("[]"), int(port)))
        try:
            far_reader, far_writer = await asyncio.open_connection(host, number)
        except OSError:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")
            return
        writer.write(answer)
        with self._closing(far_writer):
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))

    @contextlib.contextmanager
    def _closing(self, writer: asyncio.StreamWriter) -> Iterator[None]:
        self._open.add(writer)
        try:
            yield
        finally:
            self._open.discard(writer)
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
