"""TLS over real sockets: verified or nothing sent, TLS 1.2 or newer, sessions resumed, both sides."""

import asyncio
import ssl
from pathlib import Path

import pytest
import uvloop

from lineclear.base.clock import SystemClock
from lineclear.domain.errors import AttemptClass, ErrorCode, Sent, UpstreamError
from lineclear.net.dns import Resolver
from lineclear.net.egress import EgressGuard
from lineclear.net.limits import PoolLimits, ServerLimits
from lineclear.net.server import HTTPServer, Reply, Request
from lineclear.net.tls import client_context, server_context
from lineclear.net.upstream import Origin, Pool
from lineclear.testing.authority import Authority
from lineclear.testing.raw_http import RawClient, loopback_listener, plain_refusal

HEAD = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\n\r\n"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


class TLSTarget:
    """Answers one request per connection and notes what it saw."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.listener = loopback_listener()
        self.port: int = self.listener.getsockname()[1]
        self.resumed: list[bool] = []
        self.seen = b""

    async def play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = RawClient(reader, writer)
        connected = writer.get_extra_info("ssl_object")
        self.resumed.append(connected.session_reused)
        self.seen += await client.read_exactly(len(HEAD) + 4)
        client.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\npong")
        await client.read_some()
        await client.close()

    async def babble(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speaks without TLS."""
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async def start(self) -> asyncio.Server:
        return await asyncio.start_server(self.play, sock=self.listener, ssl=self.context)


def pool_for(authority: Authority) -> Pool:
    clock = SystemClock()
    return Pool(
        clock=clock,
        resolver=Resolver(clock),
        guard=EgressGuard(),
        limits=PoolLimits(),
        tls=client_context(authority.ca_file),
    )


async def ping(pool: Pool, port: int, host: str = "localhost") -> bytes:
    call = pool.call(Origin("https", host, port, "", True), "c", HEAD, b"ping")
    await call.open(fresh=True)
    data = await call.read()
    assert await call.read() == b""
    call.release()
    return data


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_verified_target_is_called(authority: Authority, host: str) -> None:
    async def scene() -> None:
        found = TLSTarget(server_context(authority.issue()))
        server = await found.start()
        pool = pool_for(authority)
        assert await ping(pool, found.port, host) == b"pong"
        assert pool.idle_count == 1
        pool.close()
        server.close()

    uvloop.run(scene())


def old_tls(authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*map(str, authority.files()))
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSVersion"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSVersion"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


@pytest.mark.parametrize("fault", ["expired", "wrong name", "untrusted", "old version", "no TLS"])
def test_u4_bad_tls_sends_nothing(authority: Authority, fault: str) -> None:
    async def scene() -> None:
        if fault == "old version":
            found = TLSTarget(old_tls(authority))
        elif fault == "expired":
            found = TLSTarget(server_context(authority.issue(days=-1)))
        elif fault == "wrong name":
            found = TLSTarget(server_context(authority.issue("other.example")))
        else:
            found = TLSTarget(server_context(authority.issue(is_trusted=False)))
        if fault == "no TLS":
            server = await asyncio.start_server(found.babble, sock=found.listener)
        else:
            server = await found.start()
        pool = pool_for(authority)
        call = pool.call(Origin("https", "localhost", found.port, "", True), "c", HEAD, b"ping")
        try:
            with pytest.raises(UpstreamError) as raised:
                await call.open()
        finally:
            pool.close()
            server.close()
            await server.wait_closed()
        error = raised.value
        assert (error.code, error.attempt_class) == (ErrorCode.UPSTREAM_UNREACHABLE, AttemptClass.NOT_SENT)
        assert (error.sent, call.sent) == (Sent.NO, Sent.NO)
        # A target that resets the handshake cannot be told from one that resets the connection.
        assert error.phase == ("connect" if fault == "old version" else "tls")
        assert found.seen == b""

    uvloop.run(scene())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_resumed(authority: Authority, version: ssl.TLSVersion) -> None:
    async def scene() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = version
        authority.issue().load_into(context)
        found = TLSTarget(context)
        server = await found.start()
        pool = pool_for(authority)
        for _ in range(3):
            assert await ping(pool, found.port) == b"pong"
        assert found.resumed == [False, True, True]
        pool.close()
        server.close()

    uvloop.run(scene())


def test_our_own_port_speaks_tls_and_reloads_its_certificate(authority: Authority) -> None:
    async def hello(request: Request, reply: Reply) -> None:
        reply.whole(200, b"", await request.read_body(10))

    async def scene() -> None:
        context = server_context(authority.issue())
        server = HTTPServer(
            hello,
            clock=SystemClock(),
            limits=ServerLimits(tls_handshake_s=0.2),
            refuse=plain_refusal,
            ssl=context,
        )
        listener = loopback_listener()
        port = listener.getsockname()[1]
        server.serve(listener)
        pool = pool_for(authority)
        assert await ping(pool, port) == b"ping"
        context.use(authority.issue("other.example"))
        with pytest.raises(UpstreamError):
            await ping(pool, port)
        # Who connects and says nothing, or nonsense, is gone after the handshake's deadline.
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()
        pool.close()
        await server.drain(0.5)
        assert server.connections == 0

    uvloop.run(scene())
