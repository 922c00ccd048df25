"""Row C11 and its kin: what is not exactly HTTP/1.1 is refused before any handler runs, and the connection ends."""

import pytest
import uvloop

from lineclear.net.server import Reply, Request
from lineclear.testing.raw_http import connected, exchange, serving

HEAD = b"POST /v1/x HTTP/1.1\r\nHost: a.example\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"

REFUSED_HEADS = {
    "CL.TE": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE.CL": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "double CL": HEAD + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde",
    "double CL, different": HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
    "CL list": HEAD + b"Content-Length: 5, 5\r\n\r\nabcde",
    "CL plus": HEAD + b"Content-Length: +5\r\n\r\nabcde",
    "CL minus": HEAD + b"Content-Length: -5\r\n\r\nabcde",
    "CL underscore": HEAD + b"Content-Length: 5_0\r\n\r\nabcde",
    "CL hex": HEAD + b"Content-Length: 0x5\r\n\r\nabcde",
    "CL empty": HEAD + b"Content-Length: \r\n\r\nabcde",
    "CL overflow": HEAD + b"Content-Length: 99999999999999999999\r\n\r\n",
    "CL of 19 digits": HEAD + b"Content-Length: 1000000000000000000\r\n\r\n",
    "TE identity": HEAD + b"Transfer-Encoding: identity\r\n\r\n",
    "TE gzip, chunked": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "TE xchunked": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "TE twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE list with empty": HEAD + b"Transfer-Encoding: , chunked\r\n\r\n0\r\n\r\n",
    "TE on 1.0": b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bare LF": b"GET / HTTP/1.1\nHost: a\n\n",
    "bare LF in a field": b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
    "bare CR in a field": b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    "NUL in the target": b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "control in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n",
    "space before colon": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "obs-fold": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    "space before the first field": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: a\r\nfoo\r\n\r\n",
    "no name": b"GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "two equal Hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\nX: a\r\n\r\n",
    "empty Host": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "Host with slash": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "Host with question": b"GET / HTTP/1.1\r\nHost: a?b\r\n\r\n",
    "Host with hash": b"GET / HTTP/1.1\r\nHost: a#b\r\n\r\n",
    "Host with at": b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "Host with backslash": b"GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n",
    "Host with two ports": b"GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n",
    "Host with comma": b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "Host beyond ASCII": b"GET / HTTP/1.1\r\nHost: \xe4\r\n\r\n",
    "absolute form": b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "asterisk form": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "authority form": b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "fragment": b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
    "target beyond ASCII": b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    "space in the target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/0.9 named": b"GET / HTTP/0.9\r\nHost: a\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "RTSP/1.0": b"GET / RTSP/1.0\r\nHost: a\r\n\r\n",
    "RTSP/1.1": b"POST / RTSP/1.1\r\nHost: a\r\n\r\n",
    "RTSP's own method": b"DESCRIBE / RTSP/1.0\r\nHost: a\r\n\r\n",
    "ICE": b"SOURCE / ICE/1.0\r\nHost: a\r\n\r\n",
    "unknown method": b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n",
    "lower-case method": b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "tab after the method": b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "h2c upgrade": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    "websocket upgrade": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "unknown expectation": HEAD + b"Expect: a-pony\r\nContent-Length: 1\r\n\r\nx",
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}

CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
REFUSED_BODIES = {
    "chunk size 0x5": CHUNKED + b"0x5\r\nabcde\r\n0\r\n\r\n",
    "chunk size 5_": CHUNKED + b"5_\r\nabcde\r\n0\r\n\r\n",
    "chunk size +5": CHUNKED + b"+5\r\nabcde\r\n0\r\n\r\n",
    "chunk size -5": CHUNKED + b"-5\r\nabcde\r\n0\r\n\r\n",
    "chunk size with a space before": CHUNKED + b" 5\r\nabcde\r\n0\r\n\r\n",
    "chunk size with a space behind": CHUNKED + b"5 \r\nabcde\r\n0\r\n\r\n",
    "chunk size overflow": CHUNKED + b"FFFFFFFFFFFFFFFFF\r\nabcde\r\n0\r\n\r\n",
    "chunk size ended by LF": CHUNKED + b"5\nabcde\r\n0\r\n\r\n",
    "chunk data without its end": CHUNKED + b"5\r\nabcdeXX0\r\n\r\n",
    "chunk extension with LF": CHUNKED + b'5;a="\n"\r\nabcde\r\n0\r\n\r\n',
    "trailer with CL": CHUNKED + b"0\r\nContent-Length: 4\r\n\r\n",
    "trailer folded": CHUNKED + b"0\r\nX: a\r\n b\r\n\r\n",
    "framing larger than the body": CHUNKED + b"1;" + b"x" * 80_000 + b"\r\n",
}


class Recorder:
    """Counts heads that reached the handler, and bodies that were complete."""

    def __init__(self) -> None:
        self.heads = 0
        self.bodies: list[bytes] = []

    async def __call__(self, request: Request, reply: Reply) -> None:
        self.heads += 1
        self.bodies.append(await request.read_body(1 << 20))
        reply.whole(200, b"", b"fine")


@pytest.mark.parametrize("name", REFUSED_HEADS)
def test_a_head_that_is_not_http_is_refused_before_the_handler(name: str) -> None:
    async def scene() -> None:
        recorder = Recorder()
        async with serving(recorder) as (_, port):
            # A second, good request follows in the same bytes: whoever misreads the first would serve it.
            said = await exchange(port, REFUSED_HEADS[name] + GET)
        assert said.startswith(b"HTTP/1.1 400 "), said
        assert said.count(b"HTTP/1.1 ") == 1
        assert b"connection: close\r\n" in said
        assert recorder.heads == 0

    uvloop.run(scene())


@pytest.mark.parametrize("name", REFUSED_BODIES)
def test_a_body_that_is_not_framed_well_reaches_nobody(name: str) -> None:
    async def scene() -> None:
        recorder = Recorder()
        async with serving(recorder) as (_, port):
            said = await exchange(port, REFUSED_BODIES[name] + GET)
        assert said.startswith(b"HTTP/1.1 400 "), said
        assert said.count(b"HTTP/1.1 ") == 1
        assert b"connection: close\r\n" in said
        assert recorder.heads <= 1
        assert recorder.bodies == []

    uvloop.run(scene())


SPLITTABLE = {name: data for name, data in (REFUSED_HEADS | REFUSED_BODIES).items() if len(data) < 200}


@pytest.mark.parametrize("name", ["TE.CL", "RTSP/1.1", "two Hosts", "absolute form", "chunk size +5", "HTTP/2.0"])
def test_a_refusal_does_not_depend_on_how_the_bytes_are_cut(name: str) -> None:
    data = SPLITTABLE[name]

    async def scene() -> None:
        recorder = Recorder()
        async with serving(recorder) as (_, port), connected(port) as client:
            for place in range(len(data)):
                client.send(data[place : place + 1])
                await client.writer.drain()
            said = await client.read_all()
        assert said.startswith(b"HTTP/1.1 400 ")
        assert recorder.bodies == []

    uvloop.run(scene())


def test_names_with_underscores_are_dropped_and_counted() -> None:
    seen: list[dict[bytes, bytes]] = []

    async def handler(request: Request, reply: Reply) -> None:
        seen.append(request.headers)
        reply.whole(200, b"", b"")

    async def scene() -> None:
        async with serving(handler) as (server, port), connected(port) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX_Api_Key: stolen\r\nX-Api-Key: mine\r\n\r\n")
            await client.read_answer()
            assert server.counters["fields_dropped"] == 1
        assert seen == [{b"host": b"a", b"x-api-key": b"mine"}]

    uvloop.run(scene())


def test_values_lose_outer_white_space_and_repeats_are_joined() -> None:
    seen: list[dict[bytes, bytes]] = []

    async def handler(request: Request, reply: Reply) -> None:
        seen.append(request.headers)
        reply.whole(200, b"", b"")

    async def scene() -> None:
        async with serving(handler) as (_, port), connected(port) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: \t one \t\r\nEmpty:\r\nx: two\r\n\r\n")
            await client.read_answer()
        assert seen == [{b"host": b"a", b"x": b"one, two", b"empty": b""}]

    uvloop.run(scene())


def test_trailers_are_dropped() -> None:
    recorder = Recorder()

    async def scene() -> None:
        async with serving(recorder) as (_, port), connected(port) as client:
            client.send(CHUNKED + b"3\r\nabc\r\n0\r\nAuthorization: late\r\nHost: b\r\n\r\n" + GET)
            first, _ = await client.read_answer()
            second, _ = await client.read_answer()
            assert first.startswith(b"HTTP/1.1 200 ")
            assert second.startswith(b"HTTP/1.1 200 ")
        assert recorder.bodies == [b"abc", b""]

    uvloop.run(scene())


@pytest.mark.parametrize(
    "host", [b"a", b"a.example.", b"127.0.0.1:4100", b"[::1]:4100", b"my_host", b"localhost", b"A-b.C"]
)
def test_good_hosts_are_served(host: bytes) -> None:
    async def scene() -> None:
        async with serving(Recorder()) as (_, port), connected(port) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
            head, _ = await client.read_answer()
            assert head.startswith(b"HTTP/1.1 200 ")

    uvloop.run(scene())
