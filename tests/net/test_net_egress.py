"""The egress guard: every special address is refused, in every spelling that a resolver lets through."""

import ipaddress

import pytest
import uvloop

from lineclear.base.clock import SystemClock
from lineclear.domain.errors import AttemptClass, ErrorCode, Sent, UpstreamError
from lineclear.net.dns import Resolver
from lineclear.net.egress import EgressGuard, refusal
from lineclear.net.limits import PoolLimits
from lineclear.net.tls import client_context
from lineclear.net.upstream import Origin, Pool
from lineclear.testing.raw_http import pooling, target

PRIVATE = [
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "::1",
    "100::1",
    "2001:db8::1",
    "fc00::1",
    "fd12:3456::1",
    "fec0::1",
    "3fff::1",
]
NEVER = [
    "0.0.0.0",
    "0.1.2.3",
    "169.254.169.254",
    "169.254.0.1",
    "100.100.100.200",
    "192.0.0.192",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:8.8.8.8",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111", "2001:4860:4860::8888"]


def judge(text: str, *, private_network: bool) -> str:
    return refusal(ipaddress.ip_address(text.partition("%")[0]), private_network=private_network)


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_are_allowed(text: str) -> None:
    assert judge(text, private_network=False) == ""
    assert judge(text, private_network=True) == ""


@pytest.mark.parametrize("text", PRIVATE)
def test_private_addresses_need_the_flag(text: str) -> None:
    assert judge(text, private_network=False) != ""
    assert judge(text, private_network=True) == ""


@pytest.mark.parametrize("text", NEVER)
def test_no_flag_permits_metadata_multicast_or_carriers(text: str) -> None:
    assert judge(text, private_network=False) != ""
    assert judge(text, private_network=True) != ""


def test_one_bad_address_refuses_all() -> None:
    guard = EgressGuard()
    assert guard.check(("8.8.8.8", "1.1.1.1"), private_network=False) == ("8.8.8.8", "1.1.1.1")
    with pytest.raises(UpstreamError) as raised:
        guard.check(("8.8.8.8", "127.0.0.1"), private_network=False)
    assert "127" not in raised.value.message


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "017700000001", "0", "localhost"])
def test_loopback_is_refused_in_every_spelling(host: str) -> None:
    async def scene() -> None:
        async def script(client: object, _: int) -> None: ...

        async with target(script) as found, pooling() as pool:
            call = pool.call(Origin("http", host, found.port, "", False), "c", b"GET / HTTP/1.1\r\n\r\n", b"")
            with pytest.raises(UpstreamError) as raised:
                await call.open()
            error = raised.value
            assert (error.code, error.phase) == (ErrorCode.UPSTREAM_UNREACHABLE, "egress")
            assert (error.sent, error.attempt_class) == (Sent.NO, AttemptClass.NOT_SENT)
            assert found.connections == 0

    uvloop.run(scene())


def test_a_name_that_changes_its_mind_is_judged_on_the_address_that_is_used() -> None:
    """Rebinding: each lookup is judged, and the connection goes to what was judged."""
    answers = [("8.8.8.8",), ("127.0.0.1",)]
    asked: list[str] = []

    def lookup(host: str) -> tuple[str, ...]:
        asked.append(host)
        return answers[min(len(asked), 2) - 1]

    async def scene() -> None:
        clock = SystemClock()
        resolver = Resolver(clock, lookup=lookup)
        pool = Pool(clock=clock, resolver=resolver, guard=EgressGuard(), limits=PoolLimits(), tls=client_context())
        assert await resolver.resolve("rebind.example") == ("8.8.8.8",)
        resolver._answers.clear()  # the record's time is over
        call = pool.call(Origin("http", "rebind.example", 80, "", False), "c", b"GET / HTTP/1.1\r\n\r\n", b"")
        with pytest.raises(UpstreamError) as raised:
            await call.open()
        assert raised.value.phase == "egress"
        assert asked == ["rebind.example", "rebind.example"]

    uvloop.run(scene())
