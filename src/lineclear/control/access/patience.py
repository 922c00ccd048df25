"""How long somebody waits who signs in with a password: guessing is slow, and nobody who guesses keeps others out.

In: names and the addresses that they come from. Out: a turn, or a refusal with the time to wait. Wrong passwords count
for a name from one address; from all addresses together only for those from which nobody signed in under that name.
"""

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from lineclear.base.clock import Clock
from lineclear.control.endpoint import AdminCode, Refused

AT_ONCE_MAX = 2
"""Verifications under way: each takes 64 MiB and tens of milliseconds of a core."""
AT_ONCE_EACH_MAX = 1
"""Of one address, while others wait."""
WAITING_MAX = 8
WAITING_EACH_MAX = 2
"""Of one address."""
TURN_WAIT_S = 10.0
FAILURES_FREE = 5
"""Wrong passwords of one name from one address before each further one has to wait."""
FAILURES_FREE_ALL = 50
"""The same from all addresses together."""
WAIT_S_FIRST = 2.0
WAIT_S_MAX = 300.0
FORGET_S = 3600.0
KEPT_MAX = 10_000
"""Names with addresses that are kept in mind, failed and known ones each; the longest ago is forgotten first."""
ANYWHERE = "*"


@dataclass(frozen=True)
class _Failures:
    count: int
    last_ns: int

    def wait_s(self, free: int) -> float:
        beyond = self.count - free
        return 0.0 if beyond < 0 else min(WAIT_S_FIRST * 2.0 ** min(beyond, 16), WAIT_S_MAX)


class Patience:
    """Failures and turns of one server."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Condition()
        self._failures: OrderedDict[tuple[str, str], _Failures] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._running: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()

    def demand(self, name: str, address: str) -> None:
        """Go on only if no wait is on.

        Raises:
            Refused: `rate_limited`.
        """
        place, now_ns = _place(address), self._clock.monotonic_ns()
        with self._lock:
            asked = [((name, place), FAILURES_FREE)]
            if (name, place) not in self._known:
                asked.append(((name, ANYWHERE), FAILURES_FREE_ALL))
            left_s = max(self._left_s(key, free, now_ns) for key, free in asked)
        if left_s > 0:
            raise Refused(AdminCode.RATE_LIMITED, f"too many wrong passwords; try again in {int(left_s) + 1} seconds")

    def failed(self, name: str, address: str) -> None:
        """Remember a wrong password."""
        now_ns = self._clock.monotonic_ns()
        with self._lock:
            for key in ((name, _place(address)), (name, ANYWHERE)):
                before = self._failures.pop(key, _Failures(0, now_ns))
                is_old = (now_ns - before.last_ns) / 1e9 > FORGET_S
                self._failures[key] = _Failures(1 if is_old else before.count + 1, now_ns)
            while len(self._failures) > KEPT_MAX:
                self._failures.popitem(last=False)

    def succeeded(self, name: str, address: str) -> None:
        """Forget what failed from there: it was the same person."""
        key = name, _place(address)
        with self._lock:
            self._failures.pop(key, None)
            self._known.pop(key, None)
            self._known[key] = None
            if len(self._known) > KEPT_MAX:
                self._known.popitem(last=False)

    @contextmanager
    def turn(self, address: str) -> Iterator[None]:
        """One of the places for a verification.

        Raises:
            Refused: `rate_limited` if none comes free in time, or too many wait.
        """
        place = _place(address)
        with self._lock:
            if self._waiting.total() >= WAITING_MAX or self._waiting[place] >= WAITING_EACH_MAX:
                raise _busy()
            self._waiting[place] += 1
            is_mine = self._lock.wait_for(lambda: self._is_free(place), TURN_WAIT_S)
            self._waiting = self._waiting - Counter([place])
            if not is_mine:
                raise _busy()
            self._running[place] += 1
        try:
            yield
        finally:
            with self._lock:
                self._running = self._running - Counter([place])
                self._lock.notify_all()

    def _is_free(self, place: str) -> bool:
        if self._running.total() >= AT_ONCE_MAX:
            return False
        others_wait = self._waiting.total() > self._waiting[place]
        return not others_wait or self._running[place] < AT_ONCE_EACH_MAX

    def _left_s(self, key: tuple[str, str], free: int, now_ns: int) -> float:
        failures = self._failures.get(key)
        return 0.0 if failures is None else failures.wait_s(free) - (now_ns - failures.last_ns) / 1e9


def _place(address: str) -> str:
    """The network that one customer of a provider has: an address, or 64 bits of IPv6."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped is not None else str(IPv6Address(int(parsed) >> 64 << 64))
    return str(parsed)


def _busy() -> Refused:
    return Refused(AdminCode.RATE_LIMITED, "too many people sign in at this moment; try again in a second")
