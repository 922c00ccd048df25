"""Calls through an egress proxy: tunnels for https and http, what goes wrong on the way, and what is judged."""

import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from lineclear.base.clock import SystemClock
from lineclear.base.secret import Secret
from lineclear.domain.errors import AttemptClass, ErrorCode, Sent, UpstreamError
from lineclear.net.dns import Resolver
from lineclear.net.egress import EgressGuard, told_addresses
from lineclear.net.limits import PoolLimits, ServerLimits
from lineclear.net.server import HTTPServer, Reply, Request
from lineclear.net.tls import client_context, server_context
from lineclear.net.upstream import Origin, Pool, Proxy
from lineclear.testing.authority import Authority
from lineclear.testing.proxy import ProxyScript, ScriptedProxy
from lineclear.testing.raw_http import loopback_listener, plain_refusal, serving

HEAD = b"POST /v1/x HTTP/1.1\r\nhost: far.example\r\ncontent-length: 4\r\n\r\n"


@pytest.fixture
def proxy() -> Iterator[ScriptedProxy]:
    with ScriptedProxy() as found:
        yield found


def pool(ca_file: Path | None = None) -> Pool:
    clock = SystemClock()
    return Pool(
        clock=clock, resolver=Resolver(clock), guard=EgressGuard(), limits=PoolLimits(), tls=client_context(ca_file)
    )


def origin(proxy: ScriptedProxy, scheme: str = "http", host: str = "far.example", **more: Any) -> Origin:
    credential = more.pop("credential", None)
    private_network = more.pop("private_network", False)
    way = Proxy("127.0.0.1", more.pop("port", proxy.port), None if credential is None else Secret(credential))
    return Origin(scheme, host, more.pop("target_port", 8443), "", private_network, way)


async def ask(pool: Pool, origin: Origin, *, connect_s: float = 3.0) -> bytes:
    call = pool.call(origin, "c", HEAD, b"ping")
    await call.open(connect_s=connect_s)
    data = await call.read()
    assert await call.read() == b""
    call.release()
    return data


async def echo(request: Request, reply: Reply) -> None:
    reply.whole(200, b"", b"seen " + await request.read_body(100))


@contextlib.asynccontextmanager
async def serving_tls(context: ssl.SSLContext) -> AsyncIterator[int]:
    """The same target with TLS; its port."""
    server = HTTPServer(echo, clock=SystemClock(), limits=ServerLimits(), refuse=plain_refusal, ssl=context)
    listener = loopback_listener()
    port: int = listener.getsockname()[1]
    server.serve(listener)
    try:
        yield port
    finally:
        await server.drain(0.0)


def test_http_and_https_targets_are_reached_by_connect_with_names_that_only_the_proxy_knows(
    proxy: ScriptedProxy, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)

    async def scene() -> None:
        context = server_context(authority.issue("far.example"))
        async with serving(echo) as (_, port), serving_tls(context) as encrypted:
            proxy.script.leads["far.example:8080"] = ("127.0.0.1", port)
            proxy.script.leads["far.example:8443"] = ("127.0.0.1", encrypted)
            found = pool(authority.ca_file)
            for _ in range(2):
                assert await ask(found, origin(proxy, target_port=8080)) == b"seen ping"
                assert await ask(found, origin(proxy, "https")) == b"seen ping"
            # The second calls used the tunnels of the first; another way or another credential has its own.
            assert proxy.script.asked == ["far.example:8080", "far.example:8443"]
            assert await ask(found, origin(proxy, target_port=8080, credential="a:b")) == b"seen ping"
            assert proxy.script.asked[2:] == ["far.example:8080"]
            found.close()

    uvloop.run(scene())


def test_the_target_s_certificate_is_verified_through_the_tunnel(proxy: ScriptedProxy, tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    async def scene() -> None:
        async with serving_tls(server_context(authority.issue("other.example"))) as port:
            proxy.script.leads["far.example:8443"] = ("127.0.0.1", port)
            found = pool(authority.ca_file)
            with pytest.raises(UpstreamError) as raised:
                await ask(found, origin(proxy, "https"))
            assert (raised.value.phase, raised.value.sent) == ("tls", Sent.NO)
            found.close()

    uvloop.run(scene())


def test_a_credential_is_given_where_one_is_asked_for_and_never_shown(proxy: ScriptedProxy) -> None:
    proxy.script.credential = "ann:pass word:x"

    async def scene() -> None:
        async with serving(echo) as (_, port):
            proxy.script.leads["far.example:8080"] = ("127.0.0.1", port)
            found = pool()
            right = origin(proxy, target_port=8080, credential="ann:pass word:x")
            assert "pass word" not in repr(right)
            assert await ask(found, right) == b"seen ping"
            for wrong in (None, "ann:other"):
                with pytest.raises(UpstreamError, match="407") as raised:
                    await ask(found, origin(proxy, target_port=8080, credential=wrong))
                assert raised.value.phase == "proxy"
            found.close()

    uvloop.run(scene())


FAULTS: dict[str, tuple[ProxyScript, str]] = {
    "refuses": (ProxyScript(status=403), "answered 403"),
    "cannot reach": (ProxyScript(leads={"far.example:8443": ("127.0.0.1", 1)}), "answered 502"),
    "cut before": (ProxyScript(cut_at="request"), "closed the connection before"),
    "no HTTP": (ProxyScript(answer=b"SSH-2.0-x\r\n\r\n"), "no answer to CONNECT"),
    "endless": (ProxyScript(answer=b"HTTP/1.1 200 OK\r\nx: " + b"y" * 40_000), "no answer to CONNECT"),
    "cut within": (ProxyScript(answer=b"HTTP/1.1 200 OK\r\nx: "), "closed the connection before"),
    "speaks first": (ProxyScript(answer=b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), "more than its answer"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_proxy_that_does_not_lead_there_is_told_from_the_target_and_nothing_was_sent(
    proxy: ScriptedProxy, fault: str
) -> None:
    proxy.script, words = FAULTS[fault]

    async def scene() -> None:
        found = pool()
        with pytest.raises(UpstreamError, match=words) as raised:
            await ask(found, origin(proxy))
        error = raised.value
        assert (error.code, error.phase) == (ErrorCode.UPSTREAM_UNREACHABLE, "proxy")
        assert (error.sent, error.attempt_class) == (Sent.NO, AttemptClass.NOT_SENT)
        assert found.in_flight(origin(proxy), "c") == 0
        found.close()

    uvloop.run(scene())


def test_a_proxy_that_is_away_slow_or_cuts_the_tunnel(proxy: ScriptedProxy) -> None:
    async def scene() -> None:
        found = pool()
        closed = loopback_listener()
        port = closed.getsockname()[1]
        closed.close()
        with pytest.raises(UpstreamError, match="the egress proxy refused the connection"):
            await ask(found, origin(proxy, port=port))
        proxy.script.silent_s = 30
        with pytest.raises(UpstreamError) as raised:
            await ask(found, origin(proxy), connect_s=0.1)
        assert (raised.value.code, raised.value.phase) == (ErrorCode.UPSTREAM_TIMEOUT, "connect")
        proxy.script.silent_s = 0
        proxy.script.cut_at = "tunnel"
        with pytest.raises(UpstreamError) as raised:
            await ask(found, origin(proxy))
        assert raised.value.phase != "proxy"
        assert found.in_flight(origin(proxy), "c") == 0
        found.close()

    uvloop.run(scene())


@pytest.mark.parametrize("host", ["127.0.0.1", "10.1.2.3", "::1", "0x7f.1", "2130706433", "localhost", "a.LOCALHOST."])
def test_a_target_whose_name_tells_a_private_address_needs_private_network(proxy: ScriptedProxy, host: str) -> None:
    async def scene() -> None:
        found = pool()
        with pytest.raises(UpstreamError) as raised:
            await ask(found, origin(proxy, host=host))
        assert raised.value.phase == "egress"
        assert proxy.script.asked == []
        proxy.script.status = 403
        with pytest.raises(UpstreamError, match="403"):
            await ask(found, origin(proxy, host=host, private_network=True))
        assert len(proxy.script.asked) == 1
        found.close()

    uvloop.run(scene())


@pytest.mark.parametrize("host", ["169.254.169.254", "metadata.google.internal", "0xa9fea9fe", "metadata"])
def test_metadata_services_are_never_asked_for(proxy: ScriptedProxy, host: str) -> None:
    async def scene() -> None:
        found = pool()
        with pytest.raises(UpstreamError) as raised:
            await ask(found, origin(proxy, host=host, private_network=True))
        assert (raised.value.phase, proxy.script.asked) == ("egress", [])
        found.close()

    uvloop.run(scene())


def test_other_names_tell_nothing() -> None:
    assert told_addresses("api.example.com") == ()
    assert told_addresses("8.8.8.8") == ("8.8.8.8",)


def test_variables_of_the_environment_lead_nowhere(proxy: ScriptedProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setitem(os.environ, name, proxy.url)

    async def scene() -> None:
        async with serving(echo) as (_, port):
            found = pool()
            assert await ask(found, Origin("http", "127.0.0.1", port, "", True)) == b"seen ping"
            found.close()

    uvloop.run(scene())
    assert (proxy.script.asked, proxy.script.other) == ([], [])
