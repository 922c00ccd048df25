"""Real loopback sockets for tests of `net`: a server under test, raw bytes in and out, a target that says a script.

Everything started here ends with its `async with` block.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

from lineclear.base.clock import SystemClock
from lineclear.domain.errors import ErrorCode, LineclearError
from lineclear.net.dns import Resolver
from lineclear.net.egress import EgressGuard
from lineclear.net.limits import PoolLimits, ServerLimits
from lineclear.net.server import Handler, HTTPServer
from lineclear.net.tls import client_context
from lineclear.net.upstream import Origin, Pool

STATUSES = {
    ErrorCode.INVALID_REQUEST: 400,
    ErrorCode.REQUEST_TIMEOUT: 408,
    ErrorCode.BODY_TOO_LARGE: 413,
    ErrorCode.URI_TOO_LONG: 414,
    ErrorCode.HEADERS_TOO_LARGE: 431,
}
READ_DEADLINE_S = 10.0
"""A read that takes longer fails the test instead of hanging it."""


def plain_refusal(error: LineclearError) -> tuple[int, bytes, bytes]:
    """Status by code, the code as body."""
    return STATUSES.get(error.code, 500), b"content-type: text/plain\r\n", error.code.encode("ascii")


def loopback_listener() -> socket.socket:
    """A listening socket on a free port of 127.0.0.1."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    return listener


@contextlib.asynccontextmanager
async def serving(handler: Handler, limits: ServerLimits | None = None) -> AsyncIterator[tuple[HTTPServer, int]]:
    """A server on a free port; drained without grace at the end."""
    server = HTTPServer(handler, clock=SystemClock(), limits=limits or ServerLimits(), refuse=plain_refusal)
    listener = loopback_listener()
    port: int = listener.getsockname()[1]
    server.serve(listener)
    try:
        yield server, port
    finally:
        await server.drain(0.0)


class RawClient:
    """Bytes out, bytes in; every read has a deadline."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        """Hands bytes to the socket."""
        self.writer.write(data)

    async def read_some(self) -> bytes:
        """What came; b"" at the end."""
        async with asyncio.timeout(READ_DEADLINE_S):
            return await self.reader.read(65536)

    async def read_all(self) -> bytes:
        """Everything up to the end of the connection; a reset ends it too."""
        pieces = []
        async with asyncio.timeout(READ_DEADLINE_S):
            try:
                while piece := await self.reader.read(65536):
                    pieces.append(piece)
            except ConnectionError:
                pieces.append(b"<reset>")
        return b"".join(pieces)

    async def read_until(self, mark: bytes) -> bytes:
        """Bytes up to and including the mark."""
        async with asyncio.timeout(READ_DEADLINE_S):
            return await self.reader.readuntil(mark)

    async def read_exactly(self, count: int) -> bytes:
        """So many bytes."""
        async with asyncio.timeout(READ_DEADLINE_S):
            return await self.reader.readexactly(count)

    async def read_answer(self) -> tuple[bytes, bytes]:
        """One answer with a content-length: (head, body)."""
        head = await self.read_until(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        return head, await self.read_exactly(int(lengths[0].split(b":")[1]) if lengths else 0)

    async def close(self) -> None:
        """Closes and waits for it."""
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[RawClient]:
    """A raw connection to a loopback port."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client = RawClient(reader, writer)
    try:
        yield client
    finally:
        await client.close()


async def exchange(port: int, data: bytes) -> bytes:
    """Sends bytes on a new connection and returns everything that comes back until it ends."""
    async with connected(port) as client:
        client.send(data)
        return await client.read_all()


Script: TypeAlias = Callable[[RawClient, int], Awaitable[None]]
"""What a target does with its n-th connection, counted from 0; the connection closes when it returns."""


class Target:
    """A target that plays a script on each connection."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connections = 0
        self.requests: list[bytes] = []
        """Heads as they came."""

    def origin(self) -> Origin:
        """Where it listens."""
        return Origin("http", "127.0.0.1", self.port, "", True)


@contextlib.asynccontextmanager
async def target(script: Script) -> AsyncIterator[Target]:
    """A scripted target on a free port."""
    listener = loopback_listener()
    found = Target(listener.getsockname()[1])

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = found.connections
        found.connections += 1
        client = RawClient(reader, writer)
        try:
            await script(client, number)
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # the caller left, which ends a script
        finally:
            await client.close()

    server = await asyncio.start_server(play, sock=listener)
    try:
        yield found
    finally:
        server.close()


@contextlib.asynccontextmanager
async def pooling(limits: PoolLimits | None = None) -> AsyncIterator[Pool]:
    """A pool that verifies, guards and resolves as in the product."""
    clock = SystemClock()
    pool = Pool(
        clock=clock,
        resolver=Resolver(clock),
        guard=EgressGuard(),
        limits=limits or PoolLimits(),
        tls=client_context(),
    )
    try:
        yield pool
    finally:
        pool.close()
        await asyncio.sleep(0)
