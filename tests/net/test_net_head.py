"""Head lines seen before: what is recalled is what the parser made of the same bytes, framing left out."""

import asyncio

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lineclear.domain.errors import UpstreamError
from lineclear.net.head import LINE_BYTES_REMEMBERED, LINES_MAX, MISSES_MAX, KnownLines, is_one_head
from lineclear.net.limits import ServerLimits
from lineclear.net.server import Reply, Request
from lineclear.testing.raw_http import RawClient, connected, exchange, pooling, serving, target

START = b"POST /v1/x?y=1 HTTP/1.1"
HOST = b"Host: a.example"
FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
QUICK = ServerLimits(head_deadline_s=0.2, body_grace_s=0.2, idle_s=0.2, linger_s=0.05)

LINES = st.sampled_from(
    [
        b"Host: a.example",
        b"Host: b",
        b"X-A: 1",
        b"x-a:2",
        b"X-A:  3 \t",
        b"X_A: 4",
        b" folded",
        b"Accept: */*",
        b"Content-Length: 3",
        b"Content-Length: 03",
        b"Content-Length: 4",
        b"Transfer-Encoding: chunked",
        b"Connection: keep-alive",
        b"Connection: close",
        b"Proxy-Connection: close",
        b"Upgrade: h2c",
        b"Expect: 100-continue",
        b"no colon",
        b"a\x00b: c",
    ]
)
STARTS = st.sampled_from(
    [START, b"GET / HTTP/1.1", b"GET / HTTP/1.0", b"HEAD /v1/x HTTP/1.1", b"X-A: 1", b"GET /#f HTTP/1.1"]
)
BODIES = st.sampled_from(
    [b"", b"abc", b"abcd", b"3\r\nabc\r\n0\r\n\r\n", b"abcGET / HTTP/1.1\r\nHost: a.example\r\n\r\n"]
)
ANSWER_STARTS = st.sampled_from(
    [b"HTTP/1.1 200 OK", b"HTTP/1.1 200 Fine", b"HTTP/1.0 200 OK", b"HTTP/1.1 204 No Content"]
)


@FEW
@given(heads=st.lists(st.tuples(STARTS, st.lists(LINES, max_size=4), BODIES), min_size=1, max_size=4))
def test_the_second_time_a_request_is_what_it_was_the_first_time(
    heads: list[tuple[bytes, list[bytes], bytes]],
) -> None:
    seen: list[tuple[object, ...]] = []

    async def handler(request: Request, reply: Reply) -> None:
        body = await request.read_body(1000)
        facts = (request.method, request.path, request.query, request.headers, request.content_length)
        seen.append((*facts, request.head_bytes, request.is_keep_alive, request.is_http_11, body))
        reply.whole(200, b"x-seen: %d\r\n" % len(body), body)

    async def said(port: int) -> tuple[list[bytes], list[tuple[object, ...]]]:
        answers = []
        for start, lines, body in heads:
            head = b"\r\n".join([start, HOST, *lines])
            answers.append(await exchange_once(port, head + b"\r\n\r\n" + body))
        found, seen[:] = list(seen), []
        return answers, found

    async def scene() -> None:
        async with serving(handler, QUICK) as (_, port):
            first = await said(port)
            assert await said(port) == first
            assert await said(port) == first

    uvloop.run(scene())


async def exchange_once(port: int, data: bytes) -> bytes:
    """As `exchange`, but our end is closed for writing, so that the server need not wait for more."""
    async with connected(port) as client:
        client.send(data)
        try:
            async with asyncio.timeout(0.05):
                return await client.reader.read(65536)
        except TimeoutError:
            return b""


def test_a_known_head_goes_past_the_parser_and_a_new_body_with_it() -> None:
    async def handler(request: Request, reply: Reply) -> None:
        body = await request.read_body(1000)
        assert (request.path, request.query, request.headers[b"x-a"]) == (b"/v1/x", b"y=1", b"1")
        reply.whole(200, b"", body)

    async def scene() -> None:
        async with serving(handler) as (server, port), connected(port) as client:
            for body in (b"abc", b"abc", b"xyz", b"no!"):
                client.send(START + b"\r\nHost: a\r\nX-A: 1\r\nContent-Length: 3\r\n\r\n" + body)
                assert (await client.read_answer())[1] == body
            assert server.lines.recall([START, b"X-A: 1"]) == ((b"POST", b"/v1/x", b"y=1"), {b"x-a": b"1"})
            # A body that comes in two reads is the parser's again.
            client.send(START + b"\r\nHost: a\r\nX-A: 1\r\nContent-Length: 3\r\n\r\na")
            await asyncio.sleep(0.02)
            client.send(b"bc")
            assert (await client.read_answer())[1] == b"abc"

    uvloop.run(scene())


def test_limits_hold_for_known_heads() -> None:
    async def handler(request: Request, reply: Reply) -> None:
        reply.whole(200, b"", b"")

    lines = [b"X-%d: %b" % (number, b"v" * 300) for number in range(120)]

    async def scene() -> None:
        async with serving(handler, ServerLimits(head_fields_max=50, head_bytes_max=9000)) as (_, port):
            for some in (lines[:20], lines[20:40]):
                data = b"\r\n".join([b"GET / HTTP/1.1", HOST, *some]) + b"\r\n\r\n"
                async with connected(port) as client:
                    client.send(data)
                    assert (await client.read_answer())[0].startswith(b"HTTP/1.1 200")
            long = b"\r\n".join([b"GET / HTTP/1.1", HOST, *lines[:40]]) + b"\r\n\r\n"
            assert (await exchange(port, long)).startswith(b"HTTP/1.1 431")

    uvloop.run(scene())


def test_a_connection_whose_heads_are_always_new_asks_no_more() -> None:
    async def handler(request: Request, reply: Reply) -> None:
        reply.whole(200, b"", request.headers[b"x-n"])

    async def scene() -> None:
        async with serving(handler) as (server, port), connected(port) as client:
            for number in range(MISSES_MAX + 5):
                client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-N: %d\r\n\r\n" % number)
                assert (await client.read_answer())[1] == b"%d" % number
            assert server.lines.recall([b"GET / HTTP/1.1", b"X-N: %d" % (MISSES_MAX - 1)]) is not None
            assert server.lines.recall([b"GET / HTTP/1.1", b"X-N: %d" % (MISSES_MAX + 1)]) is None

    uvloop.run(scene())


@FEW
@given(heads=st.lists(st.tuples(ANSWER_STARTS, st.lists(LINES, max_size=4), BODIES), min_size=1, max_size=3))
def test_the_second_time_an_answer_is_what_it_was_the_first_time(
    heads: list[tuple[bytes, list[bytes], bytes]],
) -> None:
    script_of: list[bytes] = []

    async def script(client: RawClient, _: int) -> None:
        await client.read_until(b"\r\n\r\n")
        client.send(script_of[0])
        await client.writer.drain()

    async def scene() -> None:
        async with target(script) as found, pooling() as pool:
            passes = []
            for _ in range(3):
                said: list[tuple[object, ...]] = []
                for start, lines, body in heads:
                    script_of[:] = [b"\r\n".join([start, *lines]) + b"\r\n\r\n" + body]
                    call = pool.call(found.origin(), "c", b"GET / HTTP/1.1\r\nhost: t\r\n\r\n", b"")
                    got = b""
                    try:
                        async with asyncio.timeout(5):
                            await call.open(fresh=True)
                            while data := await call.read():
                                got += data
                        said.append((call.status, call.headers, got))
                    except UpstreamError as error:
                        said.append((error.code, error.phase, got))
                    finally:
                        call.release()
                passes.append(said)
            assert passes[1] == passes[0]
            assert passes[2] == passes[0]

    uvloop.run(scene())


def test_a_field_that_frames_a_message_is_never_learned() -> None:
    known = KnownLines()
    start = b"GET / HTTP/1.1"
    for name, value in (
        (b"transfer-encoding", b"chunked"),
        (b"upgrade", b"h2c"),
        (b"expect", b"100-continue"),
        (b"connection", b"close"),
        (b"proxy-connection", b"close"),
    ):
        known.learn([start, b"%b: %b" % (name, value)], (b"GET",), {name: value})
    assert known.recall([start]) is None
    known.learn([start, b"Connection: keep-alive"], (b"GET",), {b"connection": b"keep-alive"})
    assert known.recall([start]) == ((b"GET",), {})


@pytest.mark.parametrize(
    ("lines", "fields"),
    [
        ([b"A: 1", b" folded"], {b"a": b"1 folded"}),
        ([b"A: 1", b"B_C: 2"], {b"a": b"1"}),
        ([b"A: 1", b"B: 2"], {b"b": b"2", b"a": b"1"}),
        ([b"A: " + b"x" * LINE_BYTES_REMEMBERED], {b"a": b"x" * LINE_BYTES_REMEMBERED}),
    ],
)
def test_what_does_not_match_its_line_is_not_learned(lines: list[bytes], fields: dict[bytes, bytes]) -> None:
    known = KnownLines()
    known.learn([b"GET / HTTP/1.1", *lines], (), fields)
    assert known.recall([b"GET / HTTP/1.1", *lines]) is None


def test_two_lines_of_one_name_are_the_parsers() -> None:
    known = KnownLines()
    for line in (b"A: 1", b"A: 2"):
        known.learn([b"GET / HTTP/1.1", line], (), {b"a": line[3:]})
    assert known.recall([b"GET / HTTP/1.1", b"A: 1"]) == ((), {b"a": b"1"})
    assert known.recall([b"GET / HTTP/1.1", b"A: 1", b"A: 2"]) is None


def test_the_memory_is_bounded() -> None:
    known = KnownLines()
    for number in range(LINES_MAX + 10):
        known.learn([b"GET / HTTP/1.1", b"A: %d" % number], (), {b"a": b"%d" % number})
    assert known.recall([b"GET / HTTP/1.1", b"A: 0"]) is None
    assert known.recall([b"GET / HTTP/1.1", b"A: %d" % (LINES_MAX + 9)]) is not None


@pytest.mark.parametrize(
    ("head", "is_one"),
    [
        (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nhost: a\r\n", False),
        (b"GET / HTTP/1.1\r\n\r\nhost: a\r\n\r\n", False),
        (b"GET / HTTP/1.1\nhost: a\r\n\r\n", False),
        (b"GET / HTTP/1.1\rhost: a\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nhost: a\r\n\n\r\n", False),
        (b"GET / HTTP/1.1\r\nhost: a", False),
        (b"\r\n", False),
        (b"", False),
    ],
)
def test_a_head_is_lines_and_one_empty_line_at_its_end(head: bytes, is_one: bool) -> None:
    assert is_one_head(head) is is_one
