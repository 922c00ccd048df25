"""The processes behind one hosted model, as this worker sees them: which one the next call goes to.

In: addresses in the order of the replicas, connections in use, how attempts ended. Out: one address. A replica that
cannot be reached or is full rests for a moment, so that its siblings answer. It must not call anything.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Final

from lineclear.base.clock import Clock
from lineclear.domain.errors import AttemptClass, ErrorCode, UpstreamError
from lineclear.net.upstream import Origin
from lineclear.providers.address import Address

UNREACHABLE_REST_MS = 250
"""How long a replica that broke off or could not be reached is passed over. A look at one that is gone costs a refused
connection, so it may be looked at often."""
FRESH_MS = 100
"""A replica that failed longer ago than this may be back, and is worth a try before the model is called ill."""
GONE_PHASES: Final = frozenset({"connect", "reused"})
"""Of failures before which a replica has seen nothing of the request."""
_REFUSALS: Final = frozenset({ErrorCode.UPSTREAM_OVERLOADED})

InFlight = Callable[[Origin, str], int]


class Replicas:
    """Which replica rests until when."""

    __slots__ = ("_clock", "_failed_ns", "_rests_until_ns", "_turn")

    def __init__(self, count: int, clock: Clock) -> None:
        self._clock = clock
        self._failed_ns = [0] * count
        self._rests_until_ns = [0] * count
        self._turn = 0

    def apart(self) -> "Replicas":
        """The same as of now; what either sees from here on, the other does not."""
        return deepcopy(self, {id(self._clock): self._clock})

    def choose(self, addresses: Sequence[Address], in_flight: InFlight) -> Address:
        """The address with the fewest calls in flight among those that do not rest; equals take turns.

        If all rest, the one that failed longest ago: it is the likeliest to be back.
        """
        now_ns = self._clock.monotonic_ns()
        count = len(addresses)
        self._turn = (self._turn + 1) % count
        in_turn = [(self._turn + place) % count for place in range(count)]
        awake = [addresses[place] for place in in_turn if self._rests_until_ns[place] <= now_ns]
        if not awake:
            return addresses[min(in_turn, key=self._failed_ns.__getitem__)]
        return min(awake, key=lambda where: in_flight(where.origin, where.credential_id))

    def takes_blame(self, addresses: Sequence[Address], failed: Address, error: UpstreamError) -> bool:
        """Lets the replica rest if the failure may be its own; True if that says nothing of the model's others.

        Sets `has_sibling` where nothing was done yet, so that another process may be asked at once.
        """
        is_full = error.code in _REFUSALS and error.attempt_class is AttemptClass.REJECTED
        if error.status is not None and not is_full:
            return False
        now_ns = self._clock.monotonic_ns()
        rest_ms = (error.retry_after_ms if is_full else None) or UNREACHABLE_REST_MS
        place = addresses.index(failed)
        self._failed_ns[place] = now_ns
        self._rests_until_ns[place] = now_ns + rest_ms * 1_000_000
        if all(failed_ns > now_ns - FRESH_MS * 1_000_000 for failed_ns in self._failed_ns):
            return False
        error.has_sibling = is_full or error.phase in GONE_PHASES
        return True
