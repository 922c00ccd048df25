"""What people said of the outputs of a rollout, folded for the guard `review`.

In: rows of reviews whose request is known. Out: `ReviewSignal`. The newest review of a request counts, in whatever
order they come. Must not: decide; read.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from lineclear.domain.evidence import WEIGHT_BP_MAX, Arm, Bets, bets_on_worse
from lineclear.domain.first_events import FirstEvent, FirstEvents
from lineclear.domain.floor import FloorSums
from lineclear.domain.reviews import BADNESS, ReviewOutcome
from lineclear.domain.signals import ReviewSignal
from lineclear.store.ledger_tables import reviews

COLUMNS: Final = (
    reviews.c.number,
    reviews.c.request,
    reviews.c.received_us,
    reviews.c.id,
    reviews.c.outcome,
    reviews.c.arm,
    reviews.c.weight_bp,
    reviews.c.unit_hash,
    reviews.c.started_us,
    reviews.c.other_release,
)


class _Said(msgspec.Struct, frozen=True):
    """The newest review of one request."""

    rank: tuple[int, str]
    outcome: ReviewOutcome
    unit: int
    event: FirstEvent


class ReviewFold:
    """The newest review of each request."""

    def __init__(self, rho: float, floor: float, reviews_max: int) -> None:
        self._bets: Bets = bets_on_worse(rho)
        self._floor = floor
        self._reviews_max = reviews_max
        self._by_request: dict[str, _Said] = {}
        self._signal: ReviewSignal | None = None
        """As of the last row; None while it is to be made anew."""
        self.numbers: dict[int, int] = {}
        """By day: the last that was read."""
        self.is_full = False

    def take(self, row: Sequence[Any]) -> None:
        """One review. Any: a row's values are text, int and bool."""
        _, request, received_us, review_id, said, arm, weight_bp, unit_hash, started_us, other_release = row
        if other_release or not 0 < weight_bp < WEIGHT_BP_MAX:
            return
        known = self._by_request.get(request)
        rank = (received_us, review_id)
        if known is None and len(self._by_request) >= self._reviews_max:
            self.is_full = True
            return
        if known is not None and known.rank >= rank:
            return
        outcome = ReviewOutcome(said)
        # A request that is its own unit gets a number that no hash has.
        unit = int(unit_hash, 16) if unit_hash else (1 << 64) + int(request[4:], 16)
        event = FirstEvent(started_us, Arm(arm), weight_bp, BADNESS[outcome])
        self._by_request[request] = _Said(rank, outcome, unit, event)
        self._signal = None

    def signal(self) -> ReviewSignal:
        """What all of it says."""
        if self._signal is None:
            self._signal = self._summed()
        return self._signal

    def _summed(self) -> ReviewSignal:
        said = self._by_request.values()
        counts = {arm: Counter(one.outcome for one in said if one.event.arm is arm) for arm in Arm}
        first = FirstEvents.gathered((one.unit, one.event) for one in said if one.event.badness)
        return ReviewSignal(
            stable=dict(sorted(counts[Arm.STABLE].items())),
            candidate=dict(sorted(counts[Arm.CANDIDATE].items())),
            worse=first.sums(self._bets),
            material=FloorSums.summed(
                self._floor, (one.event.badness for one in said if one.event.arm is Arm.CANDIDATE)
            ),
        )
