"""The pool over real sockets: reuse, framing, failures with what was sent, deadlines, aborts, backpressure."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from lineclear.base.clock import SystemClock
from lineclear.domain.errors import AttemptClass, ClientGone, ErrorCode, Sent, UpstreamError
from lineclear.net.limits import PoolLimits
from lineclear.net.upstream import Origin, Pool, UpstreamCall
from lineclear.testing.raw_http import RawClient, Script, loopback_listener, pooling, target

HEAD = b"POST /v1/x HTTP/1.1\r\nhost: t\r\ncontent-length: 4\r\n\r\n"
BODY = b"ping"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nx-a: 1\r\nx-a: 2\r\n\r\npong"
NOW = SystemClock().monotonic_ns


async def take_request(client: RawClient) -> None:
    await client.read_until(b"\r\n\r\n")
    await client.read_exactly(4)


def says(*answers: bytes, is_kept: bool = True) -> Script:
    """Answers each request with the next of the given answers, the last one again and again."""

    async def script(client: RawClient, _: int) -> None:
        number = 0
        while True:
            await take_request(client)
            client.send(answers[min(number, len(answers) - 1)])
            number += 1
            if not is_kept:
                await client.writer.drain()
                return

    return script


async def whole(call: UpstreamCall, pieces: list[bytes] | None = None) -> bytes:
    pieces = [] if pieces is None else pieces
    while data := await call.read():
        pieces.append(data)
    return b"".join(pieces)


async def passed_on(call: UpstreamCall, pieces: list[bytes] | None = None) -> bytes:
    """As `whole`, by the way that a stream takes; it looks up after every second piece."""
    pieces = [] if pieces is None else pieces
    ends: list[bytes] = []

    def passage(data: bytes) -> bool:
        (pieces if data else ends).append(data)
        return len(pieces) % 2 == 0

    while not ends:
        await call.pass_on(passage)
    return b"".join(pieces)


Taking = Callable[[UpstreamCall, list[bytes] | None], Awaitable[bytes]]


async def until(claim: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not claim():  # noqa: ASYNC110 -- the claim is about state that has no event
            await asyncio.sleep(0.002)


def scene_with(
    script: Script, act: Callable[[Pool, Origin], Awaitable[None]], limits: PoolLimits | None = None
) -> None:
    """Runs `act` against a target that plays the script."""

    async def scene() -> None:
        async with target(script) as found, pooling(limits) as pool:
            await act(pool, found.origin())

    uvloop.run(scene())


def test_a_call_tells_nothing_until_it_is_opened_and_then_everything() -> None:
    async def act(pool: Pool, origin: Origin) -> None:
        call = pool.call(origin, "c", HEAD, BODY)
        assert (call.sent, call.reused) == (Sent.NO, False)
        await call.open()
        assert (call.status, call.sent, call.reused) == (200, Sent.YES, False)
        assert call.headers == {b"content-length": b"4", b"x-a": b"1, 2"}
        assert call.rest() in {None, b"pong"}
        call.release()
        call.release()
        assert await call.read() == b""

    scene_with(says(OK), act)


def test_idle_connections_are_reused_last_in_first_out_and_only_by_their_credential() -> None:
    async def scene() -> None:
        async with target(says(OK)) as found, pooling() as pool:
            calls = [pool.call(found.origin(), "c", HEAD, BODY) for _ in range(3)]
            for call in calls:
                await call.open()
                assert await whole(call) == b"pong"
            for call in calls:
                call.release()
            assert (found.connections, pool.idle_count) == (3, 3)
            for credential, reused in (("c", True), ("c", True), ("other", False)):
                again = pool.call(found.origin(), credential, HEAD, BODY)
                await again.open()
                assert again.reused is reused
                assert await whole(again) == b"pong"
                again.release()
            fresh = pool.call(found.origin(), "c", HEAD, BODY)
            await fresh.open(fresh=True)
            assert fresh.reused is False
            assert found.connections == 5

    uvloop.run(scene())


FRAMED = {
    "length": (OK, b"pong", True),
    "chunked": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\npo\r\n2;x\r\nng\r\n0\r\nt: 1\r\n\r\n",
        b"pong",
        True,
    ),
    "1xx before": (b"HTTP/1.1 103 Early\r\nlink: a\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK, b"pong", True),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
    "304 with a length": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", b"", False),
    "close": (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\npong", b"pong", False),
    "1.0": (b"HTTP/1.0 200 OK\r\ncontent-length: 4\r\n\r\npong", b"pong", False),
    "surplus": (OK + b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"pong", False),
    "noise behind": (OK + b"noise", b"pong", False),
    "empty": (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"", True),
}


@pytest.mark.parametrize("take", [whole, passed_on])
@pytest.mark.parametrize("step", [1, 1000])
@pytest.mark.parametrize("name", FRAMED)
def test_answers_end_where_they_end_however_they_are_cut(name: str, step: int, take: Taking) -> None:
    said, body, is_kept = FRAMED[name]

    async def script(client: RawClient, _: int) -> None:
        await take_request(client)
        for place in range(0, len(said), step):
            client.send(said[place : place + step])
            await asyncio.sleep(0)
        await client.read_some()

    async def act(pool: Pool, origin: Origin) -> None:
        call = pool.call(origin, "c", HEAD, BODY)
        await call.open()
        assert b"link" not in call.headers
        assert await take(call, None) == body
        if (not is_kept and "surplus" in name) or "noise" in name:
            await asyncio.sleep(0.02)  # a byte that comes after release closes the idle connection as well
        call.release()
        await asyncio.sleep(0.01)
        assert pool.idle_count == (1 if is_kept else 0)

    scene_with(script, act)


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    async def act(pool: Pool, origin: Origin) -> None:
        call = pool.call(origin, "c", HEAD, BODY)
        await call.open()
        assert not call.is_end_told
        assert await whole(call) == b"until the end"
        assert not call.is_end_told
        call.release()
        assert pool.idle_count == 0

    scene_with(says(b"HTTP/1.1 200 OK\r\n\r\nuntil the end", is_kept=False), act)


def test_head_answers_have_no_body() -> None:
    async def script(client: RawClient, _: int) -> None:
        await client.read_until(b"\r\n\r\n")
        client.send(b"HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\n")
        await client.read_some()

    async def act(pool: Pool, origin: Origin) -> None:
        call = pool.call(origin, "c", b"HEAD / HTTP/1.1\r\nhost: t\r\n\r\n", b"")
        await call.open()
        assert await call.read() == b""
        call.release()
        assert pool.idle_count == 0

    scene_with(script, act)


BAD = {
    "U15 TE and CL": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
    "U15 CL and TE": b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "U15 two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\npong",
    "U15 NUL": b"HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n",
    "U15 bare LF": b"HTTP/1.1 200 OK\ncontent-length: 0\n\n",
    "obs-fold": b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 0\r\n\r\n",
    "unknown TE": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nxx",
    "HTTP/2": b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    "not HTTP": b"SSH-2.0-OpenSSH_9.9\r\n",
    "101": b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
    "status 099": b"HTTP/1.1 099 Odd\r\ncontent-length: 0\r\n\r\n",
    "U24 large head": b"HTTP/1.1 200 OK\r\nx: " + b"a" * 70_000 + b"\r\ncontent-length: 0\r\n\r\n",
    "U24 many fields": b"HTTP/1.1 200 OK\r\n" + b"x: a\r\n" * 101 + b"content-length: 0\r\n\r\n",
    "endless 1xx": b"HTTP/1.1 102 Processing\r\n\r\n" * 50,
}


@pytest.mark.parametrize("step", [7, 200_000])
@pytest.mark.parametrize("name", BAD)
def test_bad_heads_are_a_bad_response(name: str, step: int) -> None:
    async def script(client: RawClient, _: int) -> None:
        await take_request(client)
        for place in range(0, len(BAD[name]), step):
            client.send(BAD[name][place : place + step])
        await client.read_some()

    async def act(pool: Pool, origin: Origin) -> None:
        call = pool.call(origin, "c", HEAD, BODY)
        with pytest.raises(UpstreamError) as raised:
            await call.open()
        call.release()
        error = raised.value
        assert (error.code, error.attempt_class) == (ErrorCode.UPSTREAM_BAD_RESPONSE, AttemptClass.AMBIGUOUS)
        assert (error.sent, error.phase) == (Sent.YES, "head")
        assert pool.idle_count == 0

    scene_with(script, act)


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npong\r\n"
BROKEN_BODIES = {
    "bad chunk size": (CHUNKED + b"0x1\r\n", ErrorCode.UPSTREAM_BAD_RESPONSE),
    "framing larger than the body": (CHUNKED + b"1;" + b"x" * 80_000, ErrorCode.UPSTREAM_BAD_RESPONSE),
    "cut in chunks": (CHUNKED, ErrorCode.UPSTREAM_TRUNCATED),
    "U14 shorter than told": (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npong", ErrorCode.UPSTREAM_TRUNCATED),
    "U22 larger than the cap": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\npong" + b"x" * 8000,
        ErrorCode.UPSTREAM_BAD_RESPONSE,
    ),
}


@pytest.mark.parametrize("take", [whole, passed_on])
@pytest.mark.parametrize("name", BROKEN_BODIES)
def test_a_broken_body_gives_what_came_and_then_the_failure(name: str, take: Taking) -> None:
    said, code = BROKEN_BODIES[name]

    async def act(pool: Pool, origin: Origin) -> None:
        call = pool.call(origin, "c", HEAD, BODY)
        await call.open()
        assert call.is_end_told
        got: list[bytes] = []
        with pytest.raises(UpstreamError) as raised:
            await take(call, got)
        assert b"".join(got).startswith(b"pong")
        assert (raised.value.code, raised.value.sent, raised.value.phase) == (code, Sent.YES, "body")
        with pytest.raises(UpstreamError):
            await call.read()
        call.release()
        assert pool.idle_count == 0

    scene_with(says(said, is_kept=False), act, PoolLimits(body_bytes_max=5000))


def test_u1_a_refused_connection_sent_nothing() -> None:
    async def scene() -> None:
        listener = loopback_listener()
        port = listener.getsockname()[1]
        listener.close()
        async with pooling() as pool:
            call = pool.call(Origin("http", "127.0.0.1", port, "", True), "c", HEAD, BODY)
            with pytest.raises(UpstreamError) as raised:
                await call.open()
            error = raised.value
            assert (error.code, error.attempt_class) == (ErrorCode.UPSTREAM_UNREACHABLE, AttemptClass.NOT_SENT)
            assert (error.sent, call.sent, error.phase) == (Sent.NO, Sent.NO, "connect")
            assert str(port) not in error.message

    uvloop.run(scene())


def full_backlog() -> tuple[socket.socket, list[socket.socket]]:
    """A listener that nobody can connect to any more: its queue is full, further SYNs are dropped."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    waiting = []
    for _ in range(4):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(listener.getsockname())
        waiting.append(sock)
    return listener, waiting


@pytest.mark.parametrize("limit", ["connect", "deadline", "abort"])
def test_u2_a_connect_that_hangs_is_given_up(limit: str) -> None:
    async def scene() -> None:
        listener, waiting = full_backlog()
        async with pooling() as pool:
            call = pool.call(Origin("http", "127.0.0.1", listener.getsockname()[1], "", True), "c", HEAD, BODY)
            if limit == "deadline":
                call.deadline(NOW() + 50_000_000, "total")
            opening = asyncio.ensure_future(call.open(connect_s=0.1))
            if limit == "abort":
                await asyncio.sleep(0.02)
                call.abort(TimeoutError())
            with pytest.raises(TimeoutError if limit == "abort" else UpstreamError) as raised:
                await opening
            if isinstance(raised.value, UpstreamError):
                assert raised.value.code is ErrorCode.UPSTREAM_TIMEOUT
                assert raised.value.attempt_class is AttemptClass.NOT_SENT
                assert raised.value.phase == ("connect" if limit == "connect" else "total")
            await asyncio.sleep(0.01)
            assert call.sent is Sent.NO
        for sock in (listener, *waiting):
            sock.close()

    uvloop.run(scene())


def test_u6_a_reused_connection_that_breaks_unanswered_says_so() -> None:
    async def script(client: RawClient, number: int) -> None:
        await take_request(client)
        client.send(OK)
        if number == 0:
            await take_request(client)  # takes the second request and hangs up on it
        else:
            await client.read_some()

    async def act(pool: Pool, origin: Origin) -> None:
        first = pool.call(origin, "c", HEAD, BODY)
        await first.open()
        await whole(first)
        first.release()
        second = pool.call(origin, "c", HEAD, BODY)
        with pytest.raises(UpstreamError) as raised:
            await second.open()
        assert (raised.value.phase, raised.value.attempt_class) == ("reused", AttemptClass.AMBIGUOUS)
        assert (second.reused, second.sent) == (True, Sent.YES)
        third = pool.call(origin, "c", HEAD, BODY)
        await third.open(fresh=True)
        assert await whole(third) == b"pong"

    scene_with(script, act)


def test_an_idle_connection_that_its_target_closed_is_not_used() -> None:
    async def act(pool: Pool, origin: Origin) -> None:
        first = pool.call(origin, "c", HEAD, BODY)
        await first.open()
        await whole(first)
        first.release()
        await until(lambda: pool.idle_count == 0)
        second = pool.call(origin, "c", HEAD, BODY)
        await second.open()
        assert second.reused is False

    scene_with(says(OK, is_kept=False), act)


def test_bytes_on_an_idle_connection_close_it() -> None:
    async def script(client: RawClient, _: int) -> None:
        await take_request(client)
        client.send(OK)
        await asyncio.sleep(0.05)
        client.send(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
        await client.read_some()

    async def act(pool: Pool, origin: Origin) -> None:
        call = pool.call(origin, "c", HEAD, BODY)
        await call.open()
        await whole(call)
        call.release()
        assert pool.idle_count == 1
        await until(lambda: pool.idle_count == 0)
        assert pool.counters["surplus_bytes"] == 1

    scene_with(script, act)


def test_u7_a_break_inside_the_head_is_ambiguous() -> None:
    async def act(pool: Pool, origin: Origin) -> None:
        call = pool.call(origin, "c", HEAD, BODY)
        with pytest.raises(UpstreamError) as raised:
            await call.open()
        assert (raised.value.code, raised.value.phase) == (ErrorCode.UPSTREAM_TRUNCATED, "head")
        assert raised.value.attempt_class is AttemptClass.AMBIGUOUS

    scene_with(says(b"HTTP/1.1 200 OK\r\nx-half: ", is_kept=False), act)


def test_u5_deadlines_move_and_name_their_phase() -> None:
    async def script(client: RawClient, _: int) -> None:
        await take_request(client)
        client.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npong")
        await client.read_some()

    async def act(pool: Pool, origin: Origin) -> None:
        call = pool.call(origin, "c", HEAD, BODY)
        call.deadline(NOW() + 10_000_000_000, "first_event")
        await call.open()
        assert await call.read() == b"pong"
        reading = asyncio.ensure_future(call.read())
        await asyncio.sleep(0.02)
        started_ns = NOW()
        call.deadline(started_ns + 100_000_000, "between_events")  # earlier than the timer that is armed
        with pytest.raises(UpstreamError) as raised:
            await reading
        assert 0.09e9 < NOW() - started_ns < 5e9
        assert (raised.value.code, raised.value.phase) == (ErrorCode.UPSTREAM_TIMEOUT, "between_events")
        assert (raised.value.sent, raised.value.attempt_class) == (Sent.YES, AttemptClass.AMBIGUOUS)
        call.release()
        assert pool.idle_count == 0

    scene_with(script, act)


def test_a_deadline_of_an_earlier_call_does_not_touch_a_later_one() -> None:
    async def script(client: RawClient, _: int) -> None:
        await take_request(client)
        client.send(OK)
        await take_request(client)
        await asyncio.sleep(0.2)
        client.send(OK)
        await client.read_some()

    async def act(pool: Pool, origin: Origin) -> None:
        first = pool.call(origin, "c", HEAD, BODY)
        first.deadline(NOW() + 100_000_000, "head")
        await first.open()
        await whole(first)
        first.release()
        second = pool.call(origin, "c", HEAD, BODY)
        await second.open()
        assert second.reused
        assert await whole(second) == b"pong"

    scene_with(script, act)


@pytest.mark.parametrize("error", [TimeoutError(), None], ids=["named", "unnamed"])
@pytest.mark.parametrize("moment", ["head", "body"])
def test_an_abort_ends_the_wait_and_the_connection_at_once(moment: str, error: Exception | None) -> None:
    hung_up = asyncio.Event()

    async def script(client: RawClient, _: int) -> None:
        await take_request(client)
        if moment == "body":
            client.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npong")
        try:
            await client.read_some()
        finally:
            hung_up.set()

    async def act(pool: Pool, origin: Origin) -> None:
        call = pool.call(origin, "c", HEAD, BODY)
        if moment == "head":
            pending: asyncio.Future[None] | asyncio.Future[bytes] = asyncio.ensure_future(call.open())
        else:
            await call.open()
            assert await call.read() == b"pong"
            pending = asyncio.ensure_future(call.read())
        await asyncio.sleep(0.02)
        call.abort(error)
        with pytest.raises(ClientGone if error is None else TimeoutError):
            await pending
        async with asyncio.timeout(0.1):
            await hung_up.wait()
        with pytest.raises(ClientGone if error is None else TimeoutError):
            await call.read()
        call.release()
        assert pool.idle_count == 0

    scene_with(script, act)


def test_an_aborted_call_does_not_open() -> None:
    async def act(pool: Pool, origin: Origin) -> None:
        call = pool.call(origin, "c", HEAD, BODY)
        call.abort()
        with pytest.raises(ClientGone):
            await call.open()
        assert call.sent is Sent.NO

    scene_with(says(OK), act)


def test_a_half_read_answer_is_not_reused() -> None:
    async def act(pool: Pool, origin: Origin) -> None:
        call = pool.call(origin, "c", HEAD, BODY)
        await call.open()
        call.release()
        assert pool.idle_count == 0

    scene_with(says(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npong"), act)


def test_an_answer_before_the_request_was_sent_is_not_reused() -> None:
    async def script(client: RawClient, _: int) -> None:
        await client.read_until(b"\r\n\r\n")
        client.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        await client.writer.drain()
        await asyncio.sleep(0.2)

    async def act(pool: Pool, origin: Origin) -> None:
        size = 30_000_000
        head = b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: %d\r\n\r\n" % size
        call = pool.call(origin, "c", head, b"x" * size)
        await call.open()
        assert call.status == 413
        assert await call.read() == b""
        call.release()
        assert pool.idle_count == 0

    scene_with(script, act)


@pytest.mark.parametrize("wait_s", [0.0, 0.02])
def test_what_a_passage_raises_reaches_whoever_waits(wait_s: float) -> None:
    async def script(client: RawClient, _: int) -> None:
        await take_request(client)
        client.send(CHUNKED[:-9])
        await asyncio.sleep(wait_s)
        client.send(CHUNKED[-9:])
        await client.read_some()

    def passage(_: bytes) -> bool:
        raise KeyError("defect")

    async def pass_all(call: UpstreamCall) -> None:
        while True:
            await call.pass_on(passage)

    async def act(pool: Pool, origin: Origin) -> None:
        call = pool.call(origin, "c", HEAD, BODY)
        await call.open()
        with pytest.raises(KeyError):
            await pass_all(call)
        call.release()
        assert pool.idle_count == 0

    scene_with(script, act)


def test_a_reader_that_is_behind_holds_the_target_back() -> None:
    sent = 0

    async def script(client: RawClient, _: int) -> None:
        nonlocal sent
        await take_request(client)
        client.send(b"HTTP/1.1 200 OK\r\ncontent-length: 40000000\r\n\r\n")
        for _number in range(400):
            client.send(b"x" * 100_000)
            await client.writer.drain()
            sent += 100_000
        await client.read_some()

    async def act(pool: Pool, origin: Origin) -> None:
        call = pool.call(origin, "c", HEAD, BODY)
        await call.open()
        await asyncio.sleep(0.2)
        stuck = sent
        await asyncio.sleep(0.1)
        assert sent == stuck < 40_000_000
        first = await call.read()
        assert len(first) < 1_000_000
        assert len(first) + len(await whole(call)) == 40_000_000
        call.release()
        assert pool.idle_count == 1

    scene_with(script, act)


def test_idle_connections_are_closed_after_a_while() -> None:
    async def act(pool: Pool, origin: Origin) -> None:
        call = pool.call(origin, "c", HEAD, BODY)
        await call.open()
        await whole(call)
        call.release()
        assert pool.idle_count == 1
        await until(lambda: pool.idle_count == 0)
        await until(lambda: not pool._connections)  # the loop tells of a closed connection one turn later
        held = pool.call(origin, "c", HEAD, BODY)  # its lane was forgotten meanwhile and is made again
        await held.open()
        assert await whole(held) == b"pong"

    scene_with(says(OK), act, PoolLimits(idle_s=0.05, sweep_s=0.05))


def test_caps_on_lanes_and_idle_connections() -> None:
    async def act(pool: Pool, origin: Origin) -> None:
        calls = [pool.call(origin, "c", HEAD, BODY) for _ in range(3)]
        for call in calls[:2]:
            await call.open()
        with pytest.raises(UpstreamError) as raised:
            await calls[2].open()
        assert (raised.value.code, raised.value.sent) == (ErrorCode.UPSTREAM_OVERLOADED, Sent.NO)
        for call in calls[:2]:
            await whole(call)
            call.release()
        assert pool.idle_count == 1
        await calls[2].open()
        assert calls[2].reused

    scene_with(says(OK), act, PoolLimits(connections_per_lane_max=2, idle_per_lane_max=1))


def test_an_old_connection_is_not_used_again() -> None:
    async def act(pool: Pool, origin: Origin) -> None:
        call = pool.call(origin, "c", HEAD, BODY)
        await call.open()
        await whole(call)
        call.release()
        assert pool.idle_count == 0

    scene_with(says(OK), act, PoolLimits(age_s_max=0.0))


def test_unix_targets(tmp_path: Path) -> None:
    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = RawClient(reader, writer)
        await take_request(client)
        client.send(OK)
        await client.close()

    async def scene() -> None:
        path = str(tmp_path / "t.sock")
        server = await asyncio.start_unix_server(play, path)
        async with pooling() as pool:
            call = pool.call(Origin("unix", "", 0, path, True), "c", HEAD, BODY)
            await call.open()
            assert await whole(call) == b"pong"
            call.release()
            missing = pool.call(Origin("unix", "", 0, path + ".no", True), "c", HEAD, BODY)
            with pytest.raises(UpstreamError) as raised:
                await missing.open()
            assert (raised.value.code, raised.value.sent) == (ErrorCode.UPSTREAM_UNREACHABLE, Sent.NO)
        server.close()

    uvloop.run(scene())


def test_redirects_are_answers_and_nothing_more() -> None:
    async def scene() -> None:
        said = b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n"
        async with target(says(said)) as found, pooling() as pool:
            call = pool.call(found.origin(), "c", HEAD, BODY)
            await call.open()
            assert (call.status, await call.read()) == (302, b"")
            assert (found.connections, pool.counters["connects"]) == (1, 1)

    uvloop.run(scene())


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nhost: t\r\n",
        b"GET / HTTP/1.1\r\nhost: t\r\n\r\nGET /second HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\nhost: t\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: t\rx: y\r\n\r\n",
        b"",
    ],
)
def test_a_head_that_is_not_one_head_is_never_sent(head: bytes) -> None:
    async def scene() -> None:
        async with pooling() as pool:
            with pytest.raises(ValueError, match="request head"):
                pool.call(Origin("http", "127.0.0.1", 1, "", True), "c", head, b"")

    uvloop.run(scene())


def test_a_closed_pool_ends_running_calls() -> None:
    async def script(client: RawClient, _: int) -> None:
        await take_request(client)
        await client.read_some()

    async def act(pool: Pool, origin: Origin) -> None:
        call = pool.call(origin, "c", HEAD, BODY)
        opening = asyncio.ensure_future(call.open())
        await until(lambda: call.sent is Sent.YES)
        pool.close()
        with pytest.raises(ClientGone):
            await opening

    scene_with(script, act)
