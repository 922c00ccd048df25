"""Draining over real sockets: nothing that was accepted is lost, what runs is waited for, what stays is cut."""

import asyncio
import socket

import uvloop

from lineclear.base.clock import SystemClock
from lineclear.net.limits import ServerLimits
from lineclear.net.server import HTTPServer, Reply, Request
from lineclear.testing.raw_http import RawClient, connected, loopback_listener, plain_refusal

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
QUICK = ServerLimits(drain_grace_s=0.3, cut_grace_s=0.2)


def server_of(handler: object, limits: ServerLimits = QUICK) -> tuple[HTTPServer, socket.socket, int]:
    assert callable(handler)
    server = HTTPServer(handler, clock=SystemClock(), limits=limits, refuse=plain_refusal)
    listener = loopback_listener()
    return server, listener, listener.getsockname()[1]


async def hello(_: Request, reply: Reply) -> None:
    reply.whole(200, b"", b"hello")


async def raw(sock: socket.socket) -> RawClient:
    return RawClient(*await asyncio.open_connection(sock=sock))


def test_sockets_still_in_the_backlog_are_served() -> None:
    async def scene() -> None:
        server, listener, port = server_of(hello)
        # These wait in the kernel: the server has not had a turn to accept them.
        socks = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
        server.serve(listener)
        draining = asyncio.ensure_future(server.drain(5.0))
        clients = [await raw(sock) for sock in socks]
        await asyncio.sleep(0.05)
        for client in clients:
            client.send(GET)
        for client in clients:
            said = await client.read_all()
            assert said.endswith(b"hello")
            assert b"connection: close" in said
            await client.close()
        assert await draining == 0
        assert server.connections == 0

    uvloop.run(scene())


def test_idle_connections_are_served_in_the_grace_and_closed_after_it() -> None:
    async def scene() -> None:
        server, listener, port = server_of(hello)
        server.serve(listener)
        async with connected(port) as busy, connected(port) as silent:
            for client in (busy, silent):
                client.send(GET)
                await client.read_answer()
            draining = asyncio.ensure_future(server.drain(5.0))
            await asyncio.sleep(0.05)
            busy.send(GET)
            assert b"connection: close" in await busy.read_all()
            started = asyncio.get_running_loop().time()
            assert await silent.read_all() == b""
            assert asyncio.get_running_loop().time() - started > 0.1
            assert await draining == 0

    uvloop.run(scene())


def test_a_half_sent_request_is_served_after_the_grace() -> None:
    async def scene() -> None:
        server, listener, port = server_of(hello)
        server.serve(listener)
        async with connected(port) as client:
            client.send(GET[:10])
            await asyncio.sleep(0.02)
            draining = asyncio.ensure_future(server.drain(5.0))
            await asyncio.sleep(0.5)
            client.send(GET[10:])
            assert (await client.read_all()).endswith(b"hello")
            assert await draining == 0

    uvloop.run(scene())


def test_running_exchanges_are_waited_for_and_pipelined_ones_answered() -> None:
    may_end = asyncio.Event()

    async def handler(_: Request, reply: Reply) -> None:
        reply.begin(200, b"")
        await may_end.wait()
        reply.end(b"done")

    async def scene() -> None:
        server, listener, port = server_of(handler)
        server.serve(listener)
        async with connected(port) as client:
            client.send(GET + GET)
            await asyncio.sleep(0.02)
            draining = asyncio.ensure_future(server.drain(5.0))
            await asyncio.sleep(0.4)
            assert not draining.done()
            assert server.exchanges_open == 1
            may_end.set()
            said = await client.read_all()
            assert said.count(b"done") == 2
            assert said.count(b"connection: close") == 1
            assert await draining == 0

    uvloop.run(scene())


def test_what_outlives_the_deadline_is_cut_and_counted() -> None:
    told: list[str] = []

    async def handler(_: Request, reply: Reply) -> None:
        is_gone = asyncio.Event()
        reply.on_gone = is_gone.set
        reply.begin(200, b"")
        reply.chunk(b"some")
        await is_gone.wait()
        told.append("settled")

    async def scene() -> None:
        server, listener, port = server_of(handler)
        server.serve(listener)
        async with connected(port) as one, connected(port) as two:
            for client in (one, two):
                client.send(GET)
                await client.read_until(b"some\r\n")
            assert await server.drain(0.1) == 2
            assert told == ["settled", "settled"]
            assert await one.read_all() in {b"", b"<reset>"}
            assert server.exchanges_open == 0

    uvloop.run(scene())


def test_a_walk_that_ignores_its_caller_is_cancelled() -> None:
    ended: list[str] = []

    async def handler(_: Request, reply: Reply) -> None:
        reply.begin(200, b"")
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append("cancelled")

    async def scene() -> None:
        server, listener, port = server_of(handler)
        server.serve(listener)
        async with connected(port) as client:
            client.send(GET)
            await client.read_until(b"\r\n\r\n")
            assert await server.drain(0.05) == 1
            assert ended == ["cancelled"]

    uvloop.run(scene())


def test_an_empty_server_drains_at_once_and_its_socket_is_closed() -> None:
    async def scene() -> None:
        server, listener, _ = server_of(hello, ServerLimits())
        server.serve(listener)
        async with asyncio.timeout(1):
            assert await server.drain(60.0) == 0
        assert listener.fileno() == -1

    uvloop.run(scene())


def test_a_held_socket_passes_to_a_successor_without_a_lost_connection() -> None:
    async def scene() -> None:
        first, listener, port = server_of(hello)
        held = listener.dup()
        first.serve(listener)
        second = HTTPServer(hello, clock=SystemClock(), limits=QUICK, refuse=plain_refusal)
        is_over = False
        served = 0

        async def caller() -> None:
            nonlocal served
            while not is_over:
                async with connected(port) as client:
                    client.send(GET)
                    assert (await client.read_answer())[1] == b"hello"
                    served += 1

        callers = [asyncio.ensure_future(caller()) for _ in range(8)]
        await asyncio.sleep(0.1)
        second.serve(held)
        assert await first.drain(5.0) == 0
        before = served
        await asyncio.sleep(0.1)
        is_over = True
        await asyncio.gather(*callers)
        assert served > before > 0
        assert second.exchanges_total > 0
        await second.drain(0.0)

    uvloop.run(scene())


def test_unix_sockets_are_served() -> None:
    async def scene() -> None:
        server = HTTPServer(hello, clock=SystemClock(), limits=QUICK, refuse=plain_refusal)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"\0lineclear-net-test-{id(server)}")
        listener.listen()
        name = listener.getsockname()
        server.serve(listener)
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(name)
        client = await raw(sock)
        client.send(GET)
        assert (await client.read_answer())[1] == b"hello"
        await client.close()
        await server.drain(1.0)

    uvloop.run(scene())
