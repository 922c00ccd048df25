"""The processes behind one hosted model, as this worker sees them: which one the next call goes to.

In: addresses in the order of the replicas, connections in use, how attempts ended. Out: one address. A replica that
cannot be reached or is full rests for a moment, so that its siblings answer. It must not call anything.
"""

from collections.abc import Callable, Sequence
from typing import Final

from lineclear.base.clock import Clock
from lineclear.domain.errors import AttemptClass, ErrorCode, UpstreamError
from lineclear.net.upstream import Origin
from lineclear.providers.address import Address

UNREACHABLE_REST_MS = 1_000
"""About what a replacement needs to start; the runtime itself names no time when it is gone."""
_GONE_PHASES: Final = frozenset({"connect", "reused"})
_REFUSALS: Final = frozenset({ErrorCode.UPSTREAM_OVERLOADED})

InFlight = Callable[[Origin, str], int]


class Replicas:
    """Which replica rests until when."""

    __slots__ = ("_clock", "_rests_until_ns", "_turn")

    def __init__(self, count: int, clock: Clock) -> None:
        self._clock = clock
        self._rests_until_ns = [0] * count
        self._turn = 0

    def choose(self, addresses: Sequence[Address], in_flight: InFlight) -> Address:
        """The address with the fewest calls in flight among those that do not rest; equals take turns."""
        now_ns = self._clock.monotonic_ns()
        count = len(addresses)
        self._turn = (self._turn + 1) % count
        in_turn = [(self._turn + place) % count for place in range(count)]
        awake = [place for place in in_turn if self._rests_until_ns[place] <= now_ns] or in_turn
        return min(
            (addresses[place] for place in awake), key=lambda where: in_flight(where.origin, where.credential_id)
        )

    def spare(self, addresses: Sequence[Address], failed: Address, error: UpstreamError) -> bool:
        """Lets the replica rest if the failure is its own; True if a sibling may be asked instead, and at once."""
        if error.phase in _GONE_PHASES:
            rest_ms = UNREACHABLE_REST_MS
        elif error.code in _REFUSALS and error.attempt_class is AttemptClass.REJECTED:
            rest_ms = error.retry_after_ms or UNREACHABLE_REST_MS
        else:
            return False
        now_ns = self._clock.monotonic_ns()
        self._rests_until_ns[addresses.index(failed)] = now_ns + rest_ms * 1_000_000
        return any(until_ns <= now_ns for until_ns in self._rests_until_ns)
