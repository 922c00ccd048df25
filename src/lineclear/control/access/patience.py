"""How long somebody waits who signs in with a password: guessing is slow, and nobody who guesses keeps others out.

In: names and the addresses that they come from. Out: a turn, or a refusal with the time to wait. Wrong passwords count
for a name from one address; from all addresses together, and from one address under whatever names, only where nobody
signed in under that name from there.
"""

import hashlib
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
FAILURES_FREE_PLACE = 50
"""The same of one address, whatever names it tries."""
PLACE_FORGETS_EACH_S = 60.0
"""One failure of an address is forgotten in so long: many people may sit behind one."""
WAIT_S_FIRST = 2.0
WAIT_S_MAX = 300.0
FORGET_S = 3600.0
KEPT_MAX = 10_000
"""Names with addresses that are kept in mind, failed and known ones each; the longest ago is forgotten first. Each
takes some hundred bytes, however long the name: its digest is kept."""
PLACE_CHARS_MAX = 64
ANYWHERE = "*"
ANYBODY = "*"


@dataclass(frozen=True)
class _Failures:
    count: float
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
        who, place, now_ns = _digest(name), _place(address), self._clock.monotonic_ns()
        with self._lock:
            asked = [((who, place), FAILURES_FREE)]
            if (who, place) not in self._known:
                asked += [((who, ANYWHERE), FAILURES_FREE_ALL), ((ANYBODY, place), FAILURES_FREE_PLACE)]
            left_s = max(self._left_s(key, free, now_ns) for key, free in asked)
        if left_s > 0:
            raise Refused(AdminCode.RATE_LIMITED, f"too many wrong passwords; try again in {int(left_s) + 1} seconds")

    def failed(self, name: str, address: str) -> None:
        """Remember a wrong password."""
        who, place, now_ns = _digest(name), _place(address), self._clock.monotonic_ns()
        with self._lock:
            for key in ((who, place), (who, ANYWHERE), (ANYBODY, place)):
                before = self._failures.pop(key, _Failures(0, now_ns))
                since_s = (now_ns - before.last_ns) / 1e9
                kept = 0 if since_s > FORGET_S else before.count
                if key[0] == ANYBODY:
                    kept = max(kept - since_s / PLACE_FORGETS_EACH_S, 0)
                self._failures[key] = _Failures(kept + 1, now_ns)
            while len(self._failures) > KEPT_MAX:
                self._failures.popitem(last=False)

    def succeeded(self, name: str, address: str) -> None:
        """Forget what failed from there: it was the same person."""
        key = _digest(name), _place(address)
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


def _digest(name: str) -> str:
    return hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _place(address: str) -> str:
    """The network that one customer of a provider has: an address, or 64 bits of IPv6."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address[:PLACE_CHARS_MAX]
    if isinstance(parsed, IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped is not None else str(IPv6Address(int(parsed) >> 64 << 64))
    return str(parsed)


def _busy() -> Refused:
    return Refused(AdminCode.RATE_LIMITED, "too many people sign in at this moment; try again in a second")
