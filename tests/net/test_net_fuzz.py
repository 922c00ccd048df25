"""Bytes that nobody planned: no callback raises, no connection hangs, what is dispatched is what was sent."""

import asyncio
import logging

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lineclear.domain.errors import UpstreamError
from lineclear.net.limits import ServerLimits
from lineclear.net.server import Reply, Request
from lineclear.testing.raw_http import RawClient, connected, exchange, pooling, serving, target

REQUESTS = [
    b"POST /v1/x?y HTTP/1.1\r\nHost: a.example:80\r\nContent-Length: 3\r\n\r\nabc",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: x\r\n\r\n",
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nX_Y: z\r\n\r\n",
]
ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: x\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nabc",
]
SPICE = st.sampled_from(
    [b"\r\n", b"\n", b"\0", b" ", b":", b"\t", b"\xff", b"Host: b\r\n", b"0", b"chunked", b"\r\n\r\n"]
)
QUICK = ServerLimits(head_deadline_s=0.1, body_grace_s=0.1, idle_s=0.1, linger_s=0.1)
FEW = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def damaged(draw: st.DrawFn, samples: list[bytes]) -> bytes:
    """Good messages with a cut, an insertion or an overwritten byte here and there."""
    data = b"".join(draw(st.lists(st.sampled_from(samples), min_size=1, max_size=3)))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["cut", "insert", "overwrite"]))
        piece = draw(SPICE)
        rest = {"cut": b"", "insert": data[place:], "overwrite": data[place + len(piece) :]}[kind]
        data = data[:place] + (b"" if kind == "cut" else piece) + rest
    return data


@FEW
@given(data=damaged(REQUESTS))
def test_damaged_requests_end_in_answers_and_a_closed_connection(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Request, reply: Reply) -> None:
        assert request.path.startswith(b"/")
        reply.whole(200, b"", await request.read_body(1000))

    async def scene() -> None:
        async with serving(handler, QUICK) as (server, port):
            said = await exchange(port, data)
            assert said == b"" or said.startswith(b"HTTP/1.1 ")
            async with connected(port) as client:
                client.send(REQUESTS[0])
                assert (await client.read_answer())[1] == b"abc"
            assert server.exchanges_open == 0

    caplog.clear()
    with caplog.at_level(logging.WARNING):
        uvloop.run(scene())
    assert caplog.records == []


@FEW
@given(data=damaged(ANSWERS))
def test_damaged_answers_end_complete_or_typed(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def script(client: RawClient, _: int) -> None:
        await client.read_until(b"\r\n\r\n")
        client.send(data)
        await client.writer.drain()

    async def scene() -> None:
        async with target(script) as found, pooling() as pool:
            call = pool.call(found.origin(), "c", b"GET / HTTP/1.1\r\nhost: t\r\n\r\n", b"")
            phase = "complete"
            try:
                async with asyncio.timeout(5):
                    await call.open()
                    assert 200 <= call.status <= 999
                    while await call.read():
                        pass
            except UpstreamError as error:
                phase = error.phase
            finally:
                call.release()
            assert phase in {"complete", "head", "body"}

    caplog.clear()
    with caplog.at_level(logging.WARNING):
        uvloop.run(scene())
    assert caplog.records == []


@FEW
@given(cuts=st.lists(st.integers(1, 60), min_size=1, max_size=30), samples=st.permutations(REQUESTS[:3]))
def test_cuts_never_change_what_is_dispatched(cuts: list[int], samples: list[bytes]) -> None:
    seen: list[tuple[bytes, bytes, bytes]] = []

    async def handler(request: Request, reply: Reply) -> None:
        seen.append((request.method, request.path, await request.read_body(1000)))
        reply.whole(200, b"", b"")

    async def scene() -> None:
        data = b"".join(samples)
        async with serving(handler) as (_, port), connected(port) as client:
            place = 0
            for cut in cuts:
                client.send(data[place : place + cut])
                place += cut
                await asyncio.sleep(0)
            client.send(data[place:])
            for _ in samples:
                await client.read_answer()

    uvloop.run(scene())
    known = {
        REQUESTS[0]: (b"POST", b"/v1/x", b"abc"),
        REQUESTS[1]: (b"POST", b"/", b"abc"),
        REQUESTS[2]: (b"GET", b"/", b""),
    }
    assert seen == [known[sample] for sample in samples]
