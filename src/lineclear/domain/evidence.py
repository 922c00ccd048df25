"""Evidence that one of two randomised arms is worse: a betting e-process, exact at every look.

In: events by (arm, step weight), or a badness from 0 to 1 for each request. Out: ln E. As long as the null holds
(mean badness of the candidate <= rho times stable's, at every time), P(E ever reaches 1/alpha) <= alpha, however
often one looks and whenever one stops. State is whole numbers that add: over workers, orders, restarts, weights.
Source: Waudby-Smith & Ramdas, JRSS-B 86(1) 2024; Lindon & Malek, NeurIPS 2022; Ville 1939.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from math import exp, floor, isfinite, log, log1p
from typing import Final

import msgspec

WEIGHT_BP_MAX: Final = 10_000
"""Weights are basis points of traffic to the candidate, so that a step's weight is a key and never a rounded float."""
FACTORS: Final = (1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
"""How far from the tolerated ratio the bets lie; E is the mean of one bet each. Source: release-governance §2.1."""
UNITS_PER_NAT: Final = 1 << 32
"""Sums of logarithms are whole numbers of 2**-32, so that addition is exact in any order; each is rounded down, which
costs at most 2.4e-4 nats in a million events and can only make E smaller."""


class Arm(StrEnum):
    STABLE = "stable"
    CANDIDATE = "candidate"


class Bets(msgspec.Struct, frozen=True):
    """What is tested, and against which alternatives."""

    rho: float
    """The ratio of the arms' badness at the edge of the null."""
    ratios: tuple[float, ...]
    """The alternatives r, all above rho (null: ratio <= rho), or all below it (null: ratio >= rho), or on both sides
    (null: ratio = rho)."""

    def __post_init__(self) -> None:
        if not (isfinite(self.rho) and self.rho > 0 and all(isfinite(ratio) and ratio > 0 for ratio in self.ratios)):
            raise ValueError(f"a ratio of badness is a positive number: rho {self.rho!r}, ratios {self.ratios!r}")
        if not self.ratios:
            raise ValueError("evidence needs at least one alternative ratio")


def bets_on_worse(rho: float) -> Bets:
    """Evidence against "the candidate is at most `rho` times as bad", for `rho` >= 1: the guards of a rollout."""
    return Bets(rho, tuple(rho * factor for factor in FACTORS))


def bets_on_not_worse(rho: float) -> Bets:
    """Evidence against "the candidate is at least `rho` times as bad": non-inferiority, the roles reversed.

    The factors are 1 - l*(1-w)*x for the candidate and 1 + l*rho*w*x for stable with l = (rho-r)/(rho*(w*r+1-w)),
    which is below 1/(1-w): the same formula with r below rho.
    """
    return Bets(rho, tuple(rho / factor for factor in FACTORS))


BETS_ON_SPLIT: Final = Bets(1.0, (0.5, 0.67, 0.8, 1.25, 1.5, 2.0))
"""Evidence against "the arms are dealt as the weight says", in both directions: the sample ratio mismatch check.

Its events are all requests (badness 1). With sticky units it is the first request of each unit, see `first_events`.
Source: release-governance §2.1.
"""


def bet(ratio: float, rho: float, weight: float) -> float:
    """How much is staked on the alternative `ratio` at candidate share `weight`: (r-rho)/(rho*(w*r+1-w)).

    This lambda makes the factor of a 0/1 event the likelihood ratio of "which arm did this failure come from".
    """
    return (ratio - rho) / (rho * (weight * ratio + 1 - weight))


def gain(arm: Arm, badness: float, rho: float, weight: float) -> float:
    """What a stake of 1 wins: x*(1-w) for the candidate, -rho*w*x for stable.

    Its mean is w*(1-w)*(mu_candidate - rho*mu_stable), so never positive under the null; 1 + bet*gain is a factor of E.
    """
    return badness * (1 - weight) if arm is Arm.CANDIDATE else -rho * weight * badness


def weight_of(weight_bp: int) -> float:
    """The candidate's share of traffic, strictly between 0 and 1.

    Raises:
        ValueError: if one arm got nothing at this weight, so that its events compare with nothing.
    """
    if not 0 < weight_bp < WEIGHT_BP_MAX:
        raise ValueError(f"a weight of {weight_bp!r} basis points compares no two arms; evidence needs 1 to 9999")
    return weight_bp / WEIGHT_BP_MAX


def mean_of_logs(logs: Iterable[float]) -> float:
    """The logarithm of the mean of e**log, without overflow: the mixture over the bets. At least one is needed."""
    terms = tuple(logs)
    highest = max(terms)
    return highest + log(sum(exp(term - highest) for term in terms) / len(terms))


def e_value(log_e: float) -> float:
    """E itself for showing: "evidence 37 : 1"; from 10**300 on it stays there, since a float ends."""
    return exp(min(log_e, 690.0))


class ArmCount(msgspec.Struct, frozen=True, array_like=True):
    """Events of one step weight."""

    stable: int = 0
    candidate: int = 0


class ArmCounts(msgspec.Struct, frozen=True):
    """How many events each arm had at each weight; all that E of 0/1 badness needs, since good events change nothing.

    With `bets_on_worse` the events are bad requests, with `BETS_ON_SPLIT` all of them.
    """

    by_weight_bp: dict[int, ArmCount] = {}

    @classmethod
    def counted(cls, events: Iterable[tuple[Arm, int, int]]) -> "ArmCounts":
        """From (arm, weight in basis points, number of events), in any order and any number of pieces.

        Raises:
            ValueError: for a weight that compares no two arms.
        """
        cells: dict[int, list[int]] = {}
        for arm, weight_bp, number in events:
            weight_of(weight_bp)
            cells.setdefault(weight_bp, [0, 0])[arm is Arm.CANDIDATE] += number
        return cls({weight_bp: ArmCount(*cell) for weight_bp, cell in sorted(cells.items())})

    def merge(self, other: "ArmCounts") -> "ArmCounts":
        """The counts of both."""
        return ArmCounts.counted((*self.events(), *other.events()))

    def events(self) -> Iterable[tuple[Arm, int, int]]:
        """What `counted` takes."""
        for weight_bp, count in self.by_weight_bp.items():
            yield Arm.STABLE, weight_bp, count.stable
            yield Arm.CANDIDATE, weight_bp, count.candidate

    def total(self, arm: Arm) -> int:
        """Events of one arm at all weights."""
        return sum(count.candidate if arm is Arm.CANDIDATE else count.stable for count in self.by_weight_bp.values())

    def log_e(self, bets: Bets) -> float:
        """The logarithm of E; 0 without events.

        E_r = prod over weights of LR_candidate**n_candidate * LR_stable**n_stable, E their mean over r;
        LR_candidate = r*(w*rho+1-w)/(rho*(w*r+1-w)) and LR_stable = (w*rho+1-w)/(w*r+1-w).
        """
        return mean_of_logs(self._log_e_at(bets.rho, ratio) for ratio in bets.ratios)

    def _log_e_at(self, rho: float, ratio: float) -> float:
        total = 0.0
        # In the order of weights, so that equal counts give the same bits whatever the order they came in.
        for weight_bp in sorted(self.by_weight_bp):
            count = self.by_weight_bp[weight_bp]
            on_candidate, on_stable = log_factors(rho, ratio, weight_of(weight_bp))
            total += count.candidate * on_candidate + count.stable * on_stable
        return total


def log_factors(rho: float, ratio: float, weight: float) -> tuple[float, float]:
    """The log likelihood ratio of a bad event of the candidate, and of one of stable."""
    stake = bet(ratio, rho, weight)
    return log1p(stake * gain(Arm.CANDIDATE, 1.0, rho, weight)), log1p(stake * gain(Arm.STABLE, 1.0, rho, weight))


class BadnessSums(msgspec.Struct, frozen=True):
    """The same for badness between 0 and 1, such as capped cost: a sum of ln(1 + bet*gain) per arm and bet.

    Unlike counts it belongs to the bets it was summed for. Sums are whole numbers of 2**-32 nats.
    """

    bets: Bets
    stable: tuple[int, ...]
    candidate: tuple[int, ...]

    @classmethod
    def empty(cls, bets: Bets) -> "BadnessSums":
        nothing = (0,) * len(bets.ratios)
        return cls(bets, nothing, nothing)

    @classmethod
    def summed(cls, bets: Bets, events: Iterable[tuple[Arm, int, float]]) -> "BadnessSums":
        """From (arm, weight in basis points, badness from 0 to 1).

        Raises:
            ValueError: for a badness outside 0 to 1, or a weight that compares no two arms.
        """
        sums: Mapping[Arm, list[int]] = {arm: [0] * len(bets.ratios) for arm in Arm}
        # Equal events are worth the same, and many are equal: rejections, whole failures, differences of pairs.
        for (arm, weight_bp, badness), number in Counter(events).items():
            weight = weight_of(weight_bp)
            if not 0 <= badness <= 1:
                raise ValueError(f"badness lies from 0 to 1, this is {badness!r}")
            if badness == 0:
                continue
            won, column = gain(arm, badness, bets.rho, weight), sums[arm]
            for place, ratio in enumerate(bets.ratios):
                column[place] += number * log_units(bet(ratio, bets.rho, weight) * won)
        return cls(bets, tuple(sums[Arm.STABLE]), tuple(sums[Arm.CANDIDATE]))

    def merge(self, other: "BadnessSums") -> "BadnessSums":
        """The sums of both.

        Raises:
            ValueError: if the two were summed for different bets.
        """
        if self.bets != other.bets:
            raise ValueError(f"sums for rho {self.bets.rho!r} and {other.bets.rho!r} do not add")
        return BadnessSums(self.bets, add(self.stable, other.stable), add(self.candidate, other.candidate))

    def log_e(self) -> float:
        """The logarithm of E; 0 without events."""
        return mean_of_logs(units / UNITS_PER_NAT for units in add(self.stable, self.candidate))


def log_units(won: float) -> int:
    """ln(1 + won) in whole 2**-32 nats, rounded down."""
    return floor(log1p(won) * UNITS_PER_NAT)


def add(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    """Column by column."""
    return tuple(one + other for one, other in zip(left, right, strict=True))
