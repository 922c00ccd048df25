"""The server over real sockets: order, framing, limits, deadlines, backpressure, hang-ups, faults."""

import asyncio
import logging
import resource
import socket
from collections.abc import Callable

import pytest
import uvloop

from lineclear.domain.errors import CallerError, ClientGone, ErrorCode
from lineclear.net.limits import ServerLimits
from lineclear.net.server import HTTPServer, Reply, Request
from lineclear.testing.raw_http import connected, exchange, serving

GET = b"GET /x?a=1 HTTP/1.1\r\nHost: a\r\n\r\n"


def post(body: bytes, extra: bytes = b"") -> bytes:
    return b"POST /p HTTP/1.1\r\nHost: a\r\n%bContent-Length: %d\r\n\r\n%b" % (extra, len(body), body)


async def echo(request: Request, reply: Reply) -> None:
    body = await request.read_body(1 << 20)
    reply.whole(200, b"x-path: " + request.path + b"\r\n", body)


async def until(claim: Callable[[], bool]) -> None:
    """Waits for something that must come true within ten seconds."""
    async with asyncio.timeout(10):
        while not claim():  # noqa: ASYNC110 -- the claim is about state that has no event
            await asyncio.sleep(0.002)


def test_a_request_arrives_as_it_was_sent() -> None:
    seen: list[Request] = []

    async def handler(request: Request, reply: Reply) -> None:
        seen.append(request)
        await echo(request, reply)

    async def scene() -> None:
        async with serving(handler) as (_, port), connected(port) as client:
            data = b"POST /a%20b?q=1&r HTTP/1.1\r\nHost: a\r\nX-Key: v\r\nContent-Length: 3\r\n\r\nabc"
            client.send(data)
            head, body = await client.read_answer()
        assert head == b"HTTP/1.1 200 OK\r\nx-path: /a%20b\r\ncontent-length: 3\r\n\r\n"
        assert body == b"abc"
        request = seen[0]
        assert (request.method, request.path, request.query) == (b"POST", b"/a%20b", b"q=1&r")
        assert request.headers == {b"host": b"a", b"x-key": b"v", b"content-length": b"3"}
        assert request.content_length == 3
        assert request.head_bytes == len(data) - 3
        assert request.started_ns > 0

    uvloop.run(scene())


def test_a_connection_serves_request_after_request_however_the_bytes_are_cut() -> None:
    async def scene() -> None:
        data = GET + post(b"one") + GET + post(b"") + post(b"two" * 50)
        async with serving(echo) as (server, port):
            for step in (1, 2, 3, 7, 50, len(data)):
                async with connected(port) as client:
                    for place in range(0, len(data), step):
                        client.send(data[place : place + step])
                        await asyncio.sleep(0)
                    bodies = [(await client.read_answer())[1] for _ in range(5)]
                    assert bodies == [b"", b"one", b"", b"", b"two" * 50]
            assert server.exchanges_total == 30
            assert server.exchanges_open == 0

    uvloop.run(scene())


def test_pipelined_answers_keep_their_order_whoever_is_slow() -> None:
    first_may_end = asyncio.Event()
    running: list[bytes] = []

    async def handler(request: Request, reply: Reply) -> None:
        running.append(request.path)
        if request.path == b"/first":
            await first_may_end.wait()
        reply.whole(200, b"", request.path)

    async def scene() -> None:
        async with serving(handler) as (_, port), connected(port) as client:
            client.send(b"".join(b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % name for name in (b"first", b"second")))
            await until(lambda: running == [b"/first"])
            first_may_end.set()
            assert [(await client.read_answer())[1] for _ in range(2)] == [b"/first", b"/second"]

    uvloop.run(scene())


def test_requests_beyond_the_pipeline_are_not_answered() -> None:
    async def scene() -> None:
        async with serving(echo, ServerLimits(pipeline_requests_max=4)) as (server, port):
            said = await exchange(port, GET * 9)
            assert server.counters["pipeline_overflows"] == 1
        assert said.count(b"HTTP/1.1 200 OK") == 4
        assert said.count(b"connection: close") == 1
        assert said.rindex(b"connection: close") > said.rindex(b"HTTP/1.1")

    uvloop.run(scene())


def test_a_bad_request_behind_a_good_one_is_told_after_its_answer() -> None:
    async def scene() -> None:
        async with serving(echo) as (_, port):
            said = await exchange(port, post(b"fine") + b"GET / HTTP/9\r\n\r\n")
        assert said.startswith(b"HTTP/1.1 200 OK")
        assert said.index(b"HTTP/1.1 400") > said.index(b"fine")

    uvloop.run(scene())


def test_chunked_requests_and_answers() -> None:
    async def handler(request: Request, reply: Reply) -> None:
        assert request.content_length is None
        body = await request.read_body(100)
        reply.begin(200, b"content-type: text/event-stream\r\n", body[:2])
        reply.chunk(body[2:])
        reply.chunk(b"")
        reply.end(b"last")
        assert reply.bytes_out == len(said_whole)

    said_whole = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        b"2\r\nab\r\n3\r\ncde\r\n4\r\nlast\r\n0\r\n\r\n"
    )

    async def scene() -> None:
        async with serving(handler) as (_, port), connected(port) as client:
            for _ in range(2):
                client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n")
                client.send(b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
                assert await client.read_exactly(len(said_whole)) == said_whole

    uvloop.run(scene())


def test_expect_asks_for_the_body_only_when_it_is_wanted() -> None:
    async def picky(request: Request, reply: Reply) -> None:
        if request.path == b"/no":
            reply.whole(401, b"", b"who are you")
            return
        reply.whole(200, b"", await request.read_body(100))

    async def scene() -> None:
        async with serving(picky) as (_, port), connected(port) as client:
            client.send(b"POST /yes HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
            assert await client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.send(b"abc")
            assert (await client.read_answer())[1] == b"abc"
            client.send(b"POST /no HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
            said = await client.read_all()
        assert said.startswith(b"HTTP/1.1 401 ")
        assert b"connection: close" in said
        assert b"100 Continue" not in said

    uvloop.run(scene())


@pytest.mark.parametrize("status", [204, 304])
def test_bodiless_answers_have_no_body(status: int) -> None:
    async def handler(_: Request, reply: Reply) -> None:
        reply.whole(status, b"", b"never sent")

    async def scene() -> None:
        async with serving(handler) as (_, port), connected(port) as client:
            client.send(GET + GET)
            for _ in range(2):
                head = await client.read_until(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 %d " % status)
                assert b"content-length" not in head

    uvloop.run(scene())


def test_head_answers_name_the_length_and_send_nothing() -> None:
    async def handler(request: Request, reply: Reply) -> None:
        if request.path == b"/stream":
            reply.begin(200, b"")
            reply.chunk(b"part")
            reply.end(b"rest")
        else:
            reply.whole(200, b"", b"12345")

    async def scene() -> None:
        async with serving(handler) as (_, port), connected(port) as client:
            client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\nHEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n")
            assert b"content-length: 5\r\n" in await client.read_until(b"\r\n\r\n")
            assert (await client.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert (await client.read_all()).endswith(b"\r\n\r\n12345")

    uvloop.run(scene())


def test_http_10_is_answered_by_close_unless_it_asks_to_stay() -> None:
    async def handler(request: Request, reply: Reply) -> None:
        if request.path == b"/stream":
            reply.begin(200, b"")
            reply.chunk(b"ab")
            reply.end(b"cd")
        else:
            reply.whole(200, b"", b"12345")

    async def scene() -> None:
        async with serving(handler) as (_, port):
            said = await exchange(port, b"GET /stream HTTP/1.0\r\n\r\n")
            assert said == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabcd"
            async with connected(port) as client:
                for _ in range(2):
                    client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                    head, body = await client.read_answer()
                    assert b"connection: keep-alive\r\n" in head
                    assert body == b"12345"

    uvloop.run(scene())


def test_reading_a_body_that_came_with_its_head_does_not_suspend() -> None:
    steps: list[int] = []

    async def handler(request: Request, reply: Reply) -> None:
        walk = request.read_body(100)
        try:
            walk.send(None)
        except StopIteration as returned:
            steps.append(len(returned.value))
        reply.whole(200, b"", await request.read_body(100))

    async def scene() -> None:
        async with serving(handler) as (_, port), connected(port) as client:
            client.send(post(b"abc"))
            assert (await client.read_answer())[1] == b"abc"
        assert steps == [3]

    uvloop.run(scene())


# ── limits


@pytest.mark.parametrize("is_cut", [False, True])
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 33_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X%d: a\r\n" % n for n in range(101)) + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 101 + b"\r\n", 431),
    ],
    ids=["target", "head", "fields", "repeats"],
)
def test_c7_large_heads_run_no_handler(data: bytes, status: int, is_cut: bool) -> None:
    async def handler(_: Request, reply: Reply) -> None:
        reply.whole(200, b"", b"ran")

    async def scene() -> None:
        async with serving(handler) as (_, port), connected(port) as client:
            if is_cut:
                client.send(data[:40])
                await asyncio.sleep(0.01)
                client.send(data[40:-4])
                await asyncio.sleep(0.01)
                client.send(data[-4:])
            else:
                client.send(data)
            said = await client.read_all()
        assert said.startswith(b"HTTP/1.1 %d " % status)
        assert said.count(b"HTTP/1.1 ") == 1

    uvloop.run(scene())


def test_c7_a_head_without_end_is_refused_while_it_comes() -> None:
    async def scene() -> None:
        async with serving(echo) as (_, port), connected(port) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
            for _ in range(40):
                client.send(b"a" * 1024)
                await asyncio.sleep(0)
            assert (await client.read_all()).startswith(b"HTTP/1.1 431 ")

    uvloop.run(scene())


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 5000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n4C4B40\r\n"],
    ids=["told", "untold"],
)
def test_c8_a_large_body_is_refused_and_the_refusal_arrives(head: bytes) -> None:
    async def handler(request: Request, reply: Reply) -> None:
        with pytest.raises(CallerError) as raised:
            await request.read_body(100_000)
        assert raised.value.code is ErrorCode.BODY_TOO_LARGE
        assert sum(map(len, request.pieces)) < 600_000
        reply.whole(413, b"", b"too large")

    async def scene() -> None:
        async with serving(handler) as (_, port), connected(port) as client:
            # As a plain client does: everything is written before anything is read.
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + head)
            for _ in range(50):
                client.send(b"x" * 100_000)
                await client.writer.drain()
            said = await client.read_all()
        assert said.startswith(b"HTTP/1.1 413 ")
        assert said.endswith(b"too large")

    uvloop.run(scene())


def test_a_body_that_nobody_reads_is_not_buffered() -> None:
    may_answer = asyncio.Event()
    seen: list[Request] = []

    async def handler(request: Request, reply: Reply) -> None:
        seen.append(request)
        await may_answer.wait()
        reply.whole(200, b"", b"%d" % len(await request.read_body(1 << 26)))

    async def scene() -> None:
        size = 20_000_000
        async with serving(handler) as (_, port), connected(port) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
            sending = asyncio.ensure_future(client.writer.drain())
            client.send(b"x" * size)
            await until(lambda: bool(seen) and seen[0].received_bytes > 65536)
            held = seen[0].received_bytes
            await asyncio.sleep(0.05)
            assert seen[0].received_bytes == held < 600_000
            may_answer.set()
            assert (await client.read_answer())[1] == b"%d" % size
            await sending

    uvloop.run(scene())


def test_c17_connections_beyond_the_cap_are_closed() -> None:
    async def scene() -> None:
        async with serving(echo, ServerLimits(connections_per_peer_max=2)) as (server, port):
            async with connected(port) as one, connected(port) as two, connected(port) as three:
                assert await three.read_all() in {b"", b"<reset>"}
                for client in (one, two):
                    client.send(GET)
                    await client.read_answer()
                assert server.counters["connections_refused"] == 1
                assert server.connections == 2
            await until(lambda: server.connections == 0)
            async with connected(port) as again:
                again.send(GET)
                await again.read_answer()

    uvloop.run(scene())


def test_running_out_of_descriptors_pauses_accepting_and_loses_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        async with serving(echo, ServerLimits(accept_pause_s=0.02)) as (server, port):
            socks = [socket.socket() for _ in range(5)]
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(sock.fileno() for sock in socks) + 1, hard))
            try:
                for sock in socks:
                    sock.connect(("127.0.0.1", port))
                await until(lambda: server.counters.get("accepts_paused", 0) >= 2)
                assert server.connections < 5
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            loop = asyncio.get_running_loop()
            for sock in socks:
                sock.setblocking(False)
                await loop.sock_sendall(sock, GET)
                async with asyncio.timeout(5):
                    assert (await loop.sock_recv(sock, 100)).startswith(b"HTTP/1.1 200 OK")
                sock.close()

    with caplog.at_level(logging.WARNING, logger="lineclear.net"):
        uvloop.run(scene())
    assert "out of file descriptors" in caplog.text


# ── deadlines


def test_c6_slow_heads_get_408() -> None:
    async def scene() -> None:
        async with serving(echo, ServerLimits(head_deadline_s=0.1)) as (server, port), connected(port) as client:
            client.send(b"GET / HTTP/1.1\r\n")
            await asyncio.sleep(0.05)
            client.send(b"Host: a\r\n")  # progress does not help: the head as a whole is late
            said = await client.read_all()
            assert server.counters["head_timeouts"] == 1
        assert said.startswith(b"HTTP/1.1 408 ")

    uvloop.run(scene())


def test_c6_slow_bodies_fail_their_reader() -> None:
    seen: list[ErrorCode] = []

    async def handler(request: Request, reply: Reply) -> None:
        try:
            await request.read_body(100_000)
        except CallerError as error:
            seen.append(error.code)
            raise

    async def scene() -> None:
        limits = ServerLimits(body_grace_s=0.1)
        async with serving(handler, limits) as (server, port), connected(port) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\nx")
            said = await client.read_all()
            assert server.counters["body_timeouts"] == 1
        assert said.startswith(b"HTTP/1.1 408 ")
        assert seen == [ErrorCode.REQUEST_TIMEOUT]

    uvloop.run(scene())


def test_c6_a_body_at_the_agreed_rate_may_take_longer_than_the_grace() -> None:
    async def scene() -> None:
        limits = ServerLimits(body_grace_s=0.1, body_bytes_per_s_min=1000)
        async with serving(echo, limits) as (_, port), connected(port) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
            for _ in range(5):
                client.send(b"x" * 200)
                await asyncio.sleep(0.05)
            assert len((await client.read_answer())[1]) == 1000

    uvloop.run(scene())


def test_c6_no_body_may_last_longer_than_the_absolute_deadline() -> None:
    async def scene() -> None:
        limits = ServerLimits(body_grace_s=0.05, body_deadline_s=0.2)
        async with serving(echo, limits) as (_, port), connected(port) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
            client.send(b"x" * 500_000)
            assert (await client.read_all()).startswith(b"HTTP/1.1 408 ")

    uvloop.run(scene())


def test_idle_connections_are_closed_in_silence() -> None:
    async def scene() -> None:
        async with serving(echo, ServerLimits(idle_s=0.1)) as (server, port):
            assert await exchange(port, b"") == b""
            assert await exchange(port, b"\r\n\r\n") == b""
            said = await exchange(port, GET)
            assert said.count(b"HTTP/1.1 ") == 1
            assert server.counters["idle_closed"] == 3

    uvloop.run(scene())


# ── backpressure and hang-ups


def slow_reader(port: int) -> socket.socket:
    """A caller with a tiny window who reads nothing unless told."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", port))
    return sock


def test_c5_drained_waits_for_a_slow_reader_and_memory_stays_bounded() -> None:
    written = 0
    is_done = asyncio.Event()

    async def handler(_: Request, reply: Reply) -> None:
        nonlocal written
        reply.begin(200, b"")
        for _number in range(400):
            reply.chunk(b"x" * 16_384)
            written += 16_384
            await reply.drained()
        reply.end()
        is_done.set()

    async def scene() -> None:
        async with serving(handler) as (_, port):
            sock = slow_reader(port)
            try:
                sock.sendall(GET)
                await asyncio.sleep(0.1)
                stuck = written
                await asyncio.sleep(0.1)
                # What the kernel holds comes on top of our 64 KiB; both are far below what would be written.
                assert written == stuck < 400 * 16_384
                sock.setblocking(False)
                loop = asyncio.get_running_loop()
                read = 0
                while not is_done.is_set():
                    read += len(await loop.sock_recv(sock, 1 << 20))
                assert read > stuck
            finally:
                sock.close()

    uvloop.run(scene())


def test_c5_a_stalled_write_is_a_caller_gone() -> None:
    told: list[str] = []
    is_done = asyncio.Event()

    async def handler(_: Request, reply: Reply) -> None:
        reply.on_gone = lambda: told.append("gone")
        reply.begin(200, b"")
        try:
            while True:
                reply.chunk(b"x" * 65_536)
                await reply.drained()
        except ClientGone:
            told.append("raised")
            assert reply.gone
            is_done.set()
            raise

    async def scene() -> None:
        async with serving(handler, ServerLimits(write_stall_s=0.2)) as (server, port):
            sock = slow_reader(port)
            try:
                sock.sendall(GET)
                async with asyncio.timeout(10):
                    await is_done.wait()
                assert told == ["gone", "raised"]
                assert server.counters["writes_stalled"] == 1
                await until(lambda: server.connections == 0)
            finally:
                sock.close()

    uvloop.run(scene())


def test_a_hang_up_is_told_once_and_at_once() -> None:
    told: list[str] = []
    has_begun = asyncio.Event()
    is_told = asyncio.Event()

    async def handler(_: Request, reply: Reply) -> None:
        def gone() -> None:
            told.append("gone")
            is_told.set()

        reply.on_gone = gone
        has_begun.set()
        await is_told.wait()
        assert reply.gone
        reply.whole(200, b"", b"into the void")
        with pytest.raises(ClientGone):
            await reply.drained()

    async def scene() -> None:
        async with serving(handler) as (server, port):
            async with connected(port) as client:
                client.send(GET)
                await has_begun.wait()
            async with asyncio.timeout(1):
                await is_told.wait()
            await until(lambda: server.exchanges_open == 0 and server.connections == 0)
            assert told == ["gone"]
            assert server.counters["callers_gone"] == 1

    uvloop.run(scene())


def test_a_hang_up_in_the_body_raises_client_gone() -> None:
    raised = asyncio.Event()

    async def handler(request: Request, _: Reply) -> None:
        with pytest.raises(ClientGone):
            await request.read_body(100)
        raised.set()

    async def scene() -> None:
        async with serving(handler) as (_, port):
            async with connected(port) as client:
                client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
                await asyncio.sleep(0.02)
            async with asyncio.timeout(5):
                await raised.wait()

    uvloop.run(scene())


def test_a_request_whose_caller_left_before_its_turn_is_not_handled() -> None:
    handled: list[bytes] = []
    may_end = asyncio.Event()

    async def handler(request: Request, reply: Reply) -> None:
        handled.append(request.path)
        await may_end.wait()
        reply.whole(200, b"", b"")

    async def scene() -> None:
        async with serving(handler) as (server, port):
            async with connected(port) as client:
                client.send(GET + b"GET /second HTTP/1.1\r\nHost: a\r\n\r\n")
                await until(lambda: handled == [b"/x"])
            await until(lambda: server.connections == 0)
            may_end.set()
            await until(lambda: server.exchanges_open == 0)
            assert handled == [b"/x"]

    uvloop.run(scene())


# ── cuts and faults


def test_an_abort_is_seen_as_a_cut_after_what_was_written() -> None:
    async def handler(_: Request, reply: Reply) -> None:
        reply.begin(200, b"")
        reply.chunk(b"some")
        reply.abort()

    async def scene() -> None:
        async with serving(handler) as (_, port):
            assert (await exchange(port, GET)).endswith(b"\r\n\r\n4\r\nsome\r\n")
            # Without chunks only a reset tells a cut from an end.
            said = await exchange(port, b"GET / HTTP/1.0\r\n\r\n")
            assert said.endswith(b"<reset>")

    uvloop.run(scene())


@pytest.mark.parametrize("kind", ["raises", "silent"])
def test_a_failing_handler_is_answered_once_and_logged_once(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Request, reply: Reply) -> None:
        if request.path == b"/begun":
            reply.begin(200, b"")
            reply.chunk(b"some")
        if kind == "raises":
            raise KeyError("defect")

    async def scene() -> None:
        async with serving(handler) as (server, port):
            said = await exchange(port, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            if kind == "raises":
                assert said.startswith(b"HTTP/1.1 500 ")
                assert b"defect" not in said
            else:
                assert said == b""
            said = await exchange(port, b"GET /begun HTTP/1.1\r\nHost: a\r\n\r\n")
            assert said.endswith(b"4\r\nsome\r\n")
            assert server.counters["handler_faults"] == 2
        assert len(caplog.records) == 2

    with caplog.at_level(logging.ERROR, logger="lineclear.net"):
        uvloop.run(scene())


def test_a_typed_error_of_the_handler_is_rendered_and_the_connection_stays() -> None:
    async def handler(_: Request, __: Reply) -> None:
        raise CallerError(ErrorCode.BODY_TOO_LARGE, "no")

    async def scene() -> None:
        async with serving(handler) as (_, port), connected(port) as client:
            for _ in range(2):
                client.send(GET)
                head, body = await client.read_answer()
                assert head.startswith(b"HTTP/1.1 413 ")
                assert body == b"body_too_large"

    uvloop.run(scene())


def test_a_second_head_is_a_defect_and_never_sent() -> None:
    async def handler(_: Request, reply: Reply) -> None:
        reply.whole(200, b"", b"one")
        with pytest.raises(RuntimeError):
            reply.whole(200, b"", b"two")
        with pytest.raises(RuntimeError):
            reply.chunk(b"three")

    async def scene() -> None:
        async with serving(handler) as (_, port), connected(port) as client:
            client.send(GET + b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            said = await client.read_all()
        assert said.count(b"one") == 2
        assert b"two" not in said
        assert b"three" not in said

    uvloop.run(scene())


def test_answers_of_any_size_arrive_whole() -> None:
    async def handler(request: Request, reply: Reply) -> None:
        reply.whole(200, b"", b"x" * int(request.query))

    async def scene() -> None:
        async with serving(handler) as (_, port), connected(port) as client:
            for size in (0, 1, 65_535, 262_144, 262_145, 5_000_000):
                client.send(b"GET /?%d HTTP/1.1\r\nHost: a\r\n\r\n" % size)
                assert len((await client.read_answer())[1]) == size

    uvloop.run(scene())


def test_small_packets_are_not_held_back() -> None:
    found: list[int] = []

    async def handler(_: Request, reply: Reply) -> None:
        reply.whole(200, b"", b"")

    async def scene() -> None:
        async with serving(handler) as (server, port), connected(port) as client:
            client.send(GET)
            await client.read_answer()
            found.extend(nodelay_of(server))
        assert found == [1]

    uvloop.run(scene())


def nodelay_of(server: HTTPServer) -> list[int]:
    return [
        connection.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        for connection in server._connections
    ]


def test_c17_idle_connections_are_cheap() -> None:
    def resident_bytes() -> int:
        with open("/proc/self/statm") as statm:  # noqa: PTH123 -- /proc is no path of ours
            return int(statm.read().split()[1]) * 4096

    async def scene() -> None:
        async with serving(echo) as (server, port):
            warm = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
            await until(lambda: server.connections == 50)
            before = resident_bytes()
            socks = [socket.create_connection(("127.0.0.1", port)) for _ in range(400)]
            await until(lambda: server.connections == 450)
            per_connection = (resident_bytes() - before) / 400
            for sock in (*warm, *socks):
                sock.close()
            assert per_connection < 20 * 1024
            await until(lambda: server.connections == 0)

    uvloop.run(scene())
