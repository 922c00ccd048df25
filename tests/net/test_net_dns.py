"""The resolver: one flight per name, old answers while it is away, never a blocked loop."""

import asyncio
import threading

import pytest
import uvloop

from lineclear.base.clock import SystemClock
from lineclear.domain.errors import ErrorCode, Sent, UpstreamError
from lineclear.net.dns import Resolver, ResolverLimits


class Zone:
    """A lookup that answers what it is told, or hangs until it is released."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.addresses: tuple[str, ...] = ("192.0.2.1",)
        self.released = threading.Event()
        self.released.set()

    def __call__(self, host: str) -> tuple[str, ...]:
        self.asked.append(host)
        self.released.wait(10)
        if not self.addresses:
            raise OSError("no such name")
        return self.addresses


class HandClock(SystemClock):
    """Moves only by hand."""

    def __init__(self) -> None:
        self.at_ns = 1_000_000_000

    def monotonic_ns(self) -> int:
        return self.at_ns

    def pass_s(self, seconds: float) -> None:
        self.at_ns += int(seconds * 1e9)


def test_one_flight_serves_all_who_ask_and_the_answer_is_kept() -> None:
    zone, clock = Zone(), HandClock()

    async def scene() -> None:
        resolver = Resolver(clock, lookup=zone)
        zone.released.clear()
        asking = [asyncio.ensure_future(resolver.resolve("a.example")) for _ in range(20)]
        await asyncio.sleep(0.02)
        zone.released.set()
        assert set(await asyncio.gather(*asking)) == {("192.0.2.1",)}
        clock.pass_s(29)
        await resolver.resolve("a.example")
        assert zone.asked == ["a.example"]
        clock.pass_s(2)
        zone.addresses = ("192.0.2.2",)
        assert await resolver.resolve("a.example") == ("192.0.2.2",)

    uvloop.run(scene())


def test_u3_a_hanging_resolver_costs_a_bounded_wait_and_never_the_loop() -> None:
    zone, clock = Zone(), HandClock()

    async def scene() -> None:
        resolver = Resolver(clock, ResolverLimits(wait_s=0.1), lookup=zone)
        zone.released.clear()
        loop = asyncio.get_running_loop()
        asking = asyncio.ensure_future(resolver.resolve("slow.example"))
        turns = 0
        started_s = loop.time()
        while not asking.done():
            await asyncio.sleep(0.01)
            turns += 1
        assert loop.time() - started_s < 2
        assert turns >= 5
        with pytest.raises(UpstreamError) as raised:
            await asking
        error = raised.value
        assert (error.code, error.phase, error.sent) == (ErrorCode.UPSTREAM_UNREACHABLE, "dns", Sent.NO)
        zone.released.set()

    uvloop.run(scene())


@pytest.mark.parametrize("fault", ["fails", "hangs"])
def test_u3_an_old_answer_serves_for_an_hour(fault: str) -> None:
    zone, clock = Zone(), HandClock()

    async def scene() -> None:
        resolver = Resolver(clock, ResolverLimits(stale_wait_s=0.02, wait_s=0.05), lookup=zone)
        await resolver.resolve("a.example")
        if fault == "fails":
            zone.addresses = ()
        else:
            zone.released.clear()
        clock.pass_s(3599)
        assert await resolver.resolve("a.example") == ("192.0.2.1",)
        assert resolver.counters["stale_served"] == 1
        clock.pass_s(2)
        with pytest.raises(UpstreamError):
            await resolver.resolve("a.example")
        zone.released.set()

    uvloop.run(scene())


def test_a_failure_is_remembered_briefly() -> None:
    zone, clock = Zone(), HandClock()

    async def scene() -> None:
        resolver = Resolver(clock, lookup=zone)
        zone.addresses = ()
        for _ in range(3):
            with pytest.raises(UpstreamError):
                await resolver.resolve("a.example")
        assert zone.asked == ["a.example"]
        clock.pass_s(1.5)
        zone.addresses = ("192.0.2.1",)
        assert await resolver.resolve("a.example") == ("192.0.2.1",)

    uvloop.run(scene())


def test_flights_and_names_are_bounded() -> None:
    zone, clock = Zone(), HandClock()

    async def scene() -> None:
        resolver = Resolver(clock, ResolverLimits(flights_max=2, names_max=2, wait_s=5), lookup=zone)
        zone.released.clear()
        asking = [asyncio.ensure_future(resolver.resolve(name)) for name in ("a", "b")]
        await asyncio.sleep(0.01)
        with pytest.raises(UpstreamError):
            await resolver.resolve("c")
        assert resolver.counters["resolver_busy"] == 1
        zone.released.set()
        await asyncio.gather(*asking)
        await resolver.resolve("c")
        assert len(resolver._answers) == 2

    uvloop.run(scene())


def test_the_system_resolver_knows_this_machine() -> None:
    async def scene() -> None:
        found = await Resolver(SystemClock()).resolve("localhost")
        assert set(found) <= {"127.0.0.1", "::1"}
        assert found
        with pytest.raises(UpstreamError):
            await Resolver(SystemClock()).resolve("a" * 64 + ".invalid")  # no name may be so long

    uvloop.run(scene())
