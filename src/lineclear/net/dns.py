"""Names to addresses, without ever blocking the loop.

In: a host name. Out: its addresses in the system's order of preference.
One flight per name, a bounded cache, old answers while a resolver is away. Judging addresses is `egress`'s work.
"""

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from lineclear.base.clock import Clock
from lineclear.domain.errors import ErrorCode, Sent, UpstreamError
from lineclear.net.failures import broken
from lineclear.net.limits import NS_PER_S

Lookup: TypeAlias = Callable[[str], tuple[str, ...]]
"""Blocking; runs on a thread of its own. Raises OSError when there is no answer."""


class ResolverLimits(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """How long answers are good for and how much is asked at once."""

    fresh_s: float = 30.0
    """getaddrinfo hides the record's own lifetime, so this is ours."""
    stale_s: float = 3600.0
    """An answer this old still serves when no newer one comes."""
    stale_wait_s: float = 0.25
    """How long a newer answer is waited for where an old one exists."""
    wait_s: float = 2.0
    failed_s: float = 1.0
    """A failure is remembered so long."""
    names_max: int = 1024
    flights_max: int = 16


class _Answer(msgspec.Struct, frozen=True):
    addresses: tuple[str, ...]
    """Empty for a failure."""
    at_ns: int


class Resolver:
    """A cache over getaddrinfo."""

    def __init__(self, clock: Clock, limits: ResolverLimits | None = None, lookup: Lookup | None = None) -> None:
        self._monotonic_ns = clock.monotonic_ns
        self._limits = limits or ResolverLimits()
        self._lookup = lookup or system_lookup
        self._answers: dict[str, _Answer] = {}
        self._flights: dict[str, asyncio.Future[None]] = {}
        self.counters: dict[str, int] = {}
        """lookups, lookups_failed, stale_served, resolver_busy."""

    async def resolve(self, host: str) -> tuple[str, ...]:
        """At least one address.

        Raises:
            UpstreamError: UPSTREAM_UNREACHABLE, phase `dns`, nothing sent.
        """
        known = self._answers.get(host)
        age_ns = self._monotonic_ns() - known.at_ns if known is not None else 0
        if known is not None and self._is_fresh(known, age_ns):
            return _addresses_of(known)
        is_usable = known is not None and known.addresses != () and age_ns <= self._limits.stale_s * NS_PER_S
        await self._fly(host, self._limits.stale_wait_s if is_usable else self._limits.wait_s)
        newer = self._answers.get(host)
        if newer is not None and newer is not known and newer.addresses:
            return newer.addresses
        if is_usable and known is not None:
            self._count("stale_served")
            return known.addresses
        raise _unresolved()

    def _is_fresh(self, known: _Answer, age_ns: int) -> bool:
        lifetime_s = self._limits.fresh_s if known.addresses else self._limits.failed_s
        return age_ns <= lifetime_s * NS_PER_S

    async def _fly(self, host: str, wait_s: float) -> None:
        """Waits for the flight of this name, and starts one if there is none."""
        loop = asyncio.get_running_loop()
        flight = self._flights.get(host)
        if flight is None:
            if len(self._flights) >= self._limits.flights_max:
                self._count("resolver_busy")
                return
            flight = self._flights[host] = loop.create_future()
            self._count("lookups")
            # A thread of its own, because a pool's threads are waited for at exit, however long a resolver hangs.
            threading.Thread(target=self._ask, args=(loop, host), name=f"dns {host}", daemon=True).start()
        landed = loop.create_future()
        flight.add_done_callback(lambda _: _finish(landed))
        timer = loop.call_later(wait_s, _finish, landed)
        try:
            await landed
        finally:
            timer.cancel()

    def _ask(self, loop: asyncio.AbstractEventLoop, host: str) -> None:
        """On a thread: one blocking lookup, then back to the loop."""
        try:
            addresses = self._lookup(host)
        except (OSError, UnicodeError):
            addresses = ()
        try:
            loop.call_soon_threadsafe(self._land, host, addresses)
        except RuntimeError:
            return  # the loop is closed; nobody waits for the answer any more

    def _land(self, host: str, addresses: tuple[str, ...]) -> None:
        now_ns = self._monotonic_ns()
        old = self._answers.get(host)
        if not addresses:
            self._count("lookups_failed")
        if addresses or old is None or not old.addresses:
            if host not in self._answers and len(self._answers) >= self._limits.names_max:
                del self._answers[next(iter(self._answers))]  # the one that was learned first
            self._answers[host] = _Answer(addresses, now_ns)
        flight = self._flights.pop(host)
        flight.set_result(None)

    def _count(self, name: str) -> None:
        self.counters[name] = self.counters.get(name, 0) + 1


def system_lookup(host: str) -> tuple[str, ...]:
    """The machine's resolver; blocks."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(row[4][0]) for row in found))


def _addresses_of(answer: _Answer) -> tuple[str, ...]:
    if not answer.addresses:
        raise _unresolved()
    return answer.addresses


def _unresolved() -> UpstreamError:
    return broken(ErrorCode.UPSTREAM_UNREACHABLE, "the target's name did not resolve", sent=Sent.NO, phase="dns")


def _finish(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
