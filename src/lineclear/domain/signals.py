"""What the ledger says about a rollout: requests, bad ones and cost by arm, as far as every source has reported.

In: what a rollout froze before its first step. Out: the state that `evidence`, `floor` and `verdict` take. Everything
adds, so that any number of workers, any order of arrival and any crash give the same evidence. No clock, no database.
Source: design decisions 38 to 41; release-governance §2.1.
"""

from enum import StrEnum

import msgspec

from lineclear.domain.evidence import BETS_ON_SPLIT, Arm, ArmCounts, BadnessSums, bets_on_worse
from lineclear.domain.floor import FLOOR_DEFAULT, FloorCounts, FloorSums
from lineclear.domain.reviews import ReviewOutcome
from lineclear.domain.verdict import GuardEvidence

COST_RHO_DEFAULT = 1.1
"""Mean cost may rise by a tenth. Source: release-governance §2.1."""


class Guard(StrEnum):
    """What is watched in the entries of a rollout."""

    ERROR = "error"
    """An attempt failed, even where a fallback rescued it, or the exchange did not end well."""
    SLOW = "slow"
    """It did not end well, or took longer than the frozen time."""
    COST = "cost"
    """The mean of what it cost, cut at the frozen cap."""
    CONTRACT = "contract"
    """The answer was withheld or flagged by a guardrail, refused by the model, or cut for length."""
    REVIEW = "review"
    """What people said of the outputs."""


COUNTED_GUARDS = (Guard.ERROR, Guard.SLOW, Guard.CONTRACT)
"""Those of 0/1 badness."""


class SignalPlan(msgspec.Struct, frozen=True):
    """What a rollout froze before its first step; with another plan the same entries are other evidence."""

    rollout: str
    """Rollout id, the salt of its arms."""
    first_day: int
    """The UTC day it began, in days since 1970: no entry of it is older."""
    slow_us: int | None
    """Longer than this is slow; None = there was nothing to freeze, and the guard `slow` is not watched."""
    cost_cap_nano_usd: int | None
    """C of min(c, C)/C, above 0; None = no prices to freeze, and the guard `cost` is not watched."""
    cost_rho: float = COST_RHO_DEFAULT
    """Sums of logarithms belong to their bets, so this one ratio has to be known when they are summed."""
    review_rho: float | None = None
    """The same for reviews; None = the guard `review` is not watched."""
    review_floor: float = FLOOR_DEFAULT
    """Sums against a floor belong to it."""


class CountedSignal(msgspec.Struct, frozen=True):
    """One guard of 0/1 badness."""

    guard: Guard
    first_bad: ArmCounts
    """The first bad request of each unit, by the weight it met."""
    bad: ArmCounts
    """All bad requests."""
    candidate: FloorCounts
    """Bad and good requests of the candidate's arm."""

    def evidence(self, rho: float, floor: float | None, *, may_roll_back: bool = True) -> GuardEvidence:
        """Where the guard stands; with `floor` None a rate of any size matters."""
        floor_log_e = None if floor is None else self.candidate.log_e(floor)
        return GuardEvidence(self.guard.value, self.first_bad.log_e(bets_on_worse(rho)), floor_log_e, may_roll_back)


class ReviewSignal(msgspec.Struct, frozen=True):
    """What people said of each arm's outputs; the newest review of a request is the one that counts."""

    stable: dict[ReviewOutcome, int]
    """Reviewed requests by what was said."""
    candidate: dict[ReviewOutcome, int]
    worse: BadnessSums
    """The first request of each unit of which more was said than "approved"."""
    material: FloorSums
    """All reviewed requests of the candidate."""

    def count(self, arm: Arm) -> int:
        """Reviewed requests of an arm."""
        return sum((self.candidate if arm is Arm.CANDIDATE else self.stable).values())

    def evidence(self) -> GuardEvidence:
        """Where the guard `review` stands."""
        return GuardEvidence(Guard.REVIEW.value, self.worse.log_e(), self.material.log_e())


class RolloutEvidence(msgspec.Struct, frozen=True):
    """Everything known about a rollout up to the watermark, and whether that is everything."""

    rollout: str
    requests: ArmCounts
    """All assigned requests by weight; those at weight 0 compare nothing and are not among them."""
    first_requests: ArmCounts
    """The first request of each unit: what the split is checked on."""
    counted: tuple[CountedSignal, ...]
    """`error`, `contract`, and `slow` where a time was frozen."""
    cost: BadnessSums | None
    """First request of each unit; None where no cap was frozen."""
    unpriced: ArmCounts
    """Requests without a price: the guard `cost` is blind to them."""
    unmonitored: int
    """Requests that went to stable because no control was seen (decision 41)."""
    other_release: int
    """Requests of apps that say another release than their arm's configured them: of neither arm, so in no count."""
    watermark_us: int | None
    """Every live source's records up to this instant are in it; None = no source has said so yet."""
    missing: tuple[str, ...]
    """Live sources that are silent: what they did since the watermark is unknown, so hold."""
    reviews: ReviewSignal | None = None
    """None where they are not watched."""
    lost: int = 0
    """Requests that were in the ledger when it was looked at before, and are no more: a day of it was removed."""
    is_full: bool = False
    """There are more sticky units than are kept, so the evidence has stopped growing: hold."""

    @property
    def is_complete(self) -> bool:
        """Whether a verdict may rest on it. Missing data is a hold, never a pass."""
        return self.watermark_us is not None and not self.missing and not self.is_full and not self.lost

    def signal(self, guard: Guard) -> CountedSignal | None:
        """One guard of 0/1 badness; None where it is not watched."""
        return next((signal for signal in self.counted if signal.guard is guard), None)

    def cost_evidence(self, *, may_roll_back: bool = True) -> GuardEvidence | None:
        """Where the guard `cost` stands; None where it is not watched. It has no floor."""
        return None if self.cost is None else GuardEvidence(Guard.COST, self.cost.log_e(), None, may_roll_back)

    @property
    def split_log_e(self) -> float:
        """The logarithm of E against "the arms are dealt as the weight says"."""
        return self.first_requests.log_e(BETS_ON_SPLIT)
