"""Paired evidence: the candidate and stable answered the same inputs (evals, replay). Pass, fail or inconclusive.

In: for each input how bad either answer was, 0 to 1. Out: ln E that the candidate is worse, ln E that it is not by a
margin, and the verdict; each verdict is wrong with probability at most alpha, at every look. Ties say nothing about
"worse" (only discordant pairs count, w = 1/2) but much about "not worse by a margin", so they count there.
Source: release-governance §2.2 (paired); Waudby-Smith & Ramdas, JRSS-B 86(1) 2024 (betting on a bounded mean).
"""

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from math import log, log1p
from typing import Final

import msgspec

from lineclear.domain.evidence import (
    UNITS_PER_NAT,
    Arm,
    BadnessSums,
    add,
    bets_on_worse,
    log_units,
    mean_of_logs,
)

STAKES: Final = (0.03, 0.07, 0.15, 0.3, 0.5, 0.7, 0.9)
"""Shares of the largest stake that can lose no more than everything, 1/(1-margin); E is the mean of one bet each."""
HALF_BP: Final = 5_000
"""Which side of a discordant pair is the bad one is a fair coin under "no difference"."""


class PairVerdict(StrEnum):
    PASS = "pass"  # noqa: S105 - a verdict, no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class PairRule(msgspec.Struct, frozen=True):
    """What the pairs are held to; fixed before the first one."""

    rho: float = 1.25
    """Tolerated odds among the inputs where the answers differ: worse ones for each better one."""
    margin: float = 0.02
    """How much higher the candidate's mean badness may be and still pass: two in a hundred inputs."""
    alpha: float = 0.05

    def __post_init__(self) -> None:
        if not (self.rho >= 1 and 0 < self.margin < 1 and 0 < self.alpha < 1):
            raise ValueError(f"pairs need rho >= 1, 0 < margin < 1 and 0 < alpha < 1: {self!r}")

    def stakes(self) -> tuple[float, ...]:
        """The lambdas of the bets on "not worse by the margin"."""
        return tuple(stake / (1 - self.margin) for stake in STAKES)


class Pairs(msgspec.Struct, frozen=True):
    """What was seen; additive, and the same in any order."""

    rule: PairRule
    pairs: int
    worse: int
    """Inputs where the candidate's answer is the worse one."""
    better: int
    worse_sums: BadnessSums
    """Of the differences: those against the candidate as its own bad events, those for it as stable's."""
    margin_sums: tuple[int, ...]
    """Sums of ln(1 + stake*(margin - difference)), in whole 2**-32 nats."""

    @classmethod
    def compared(cls, rule: PairRule, pairs: Iterable[tuple[float, float]]) -> "Pairs":
        """From (candidate's badness, stable's badness), one for each input; repeats of an input averaged before.

        Raises:
            ValueError: for a badness outside 0 to 1.
        """
        stakes = rule.stakes()
        margin_sums = [0] * len(stakes)
        differences: Counter[float] = Counter()
        for candidate, stable in pairs:
            if not (0 <= candidate <= 1 and 0 <= stable <= 1):
                raise ValueError(f"badness lies from 0 to 1, these are {candidate!r} and {stable!r}")
            differences[candidate - stable] += 1
        for difference, number in differences.items():
            for place, stake in enumerate(stakes):
                margin_sums[place] += number * log_units(stake * (rule.margin - difference))
        return cls(
            rule,
            pairs=differences.total(),
            worse=sum(number for difference, number in differences.items() if difference > 0),
            better=sum(number for difference, number in differences.items() if difference < 0),
            worse_sums=BadnessSums.summed(bets_on_worse(rule.rho), _discordant(differences)),
            margin_sums=tuple(margin_sums),
        )

    def merge(self, other: "Pairs") -> "Pairs":
        """The pairs of both.

        Raises:
            ValueError: if they were held to different rules.
        """
        if self.rule != other.rule:
            raise ValueError(f"pairs of {self.rule!r} and {other.rule!r} do not add")
        return Pairs(
            self.rule,
            self.pairs + other.pairs,
            self.worse + other.worse,
            self.better + other.better,
            self.worse_sums.merge(other.worse_sums),
            add(self.margin_sums, other.margin_sums),
        )

    def log_e_worse(self) -> float:
        """The logarithm of E against "among inputs that differ, at most rho worse ones for each better one".

        A discordant pair multiplies E_r by LR_candidate or LR_stable at w = 1/2; a difference d in between by
        1 + bet*gain(d). With rho = 1 the null is "the candidate's mean is not higher".
        """
        return self.worse_sums.log_e()

    def log_e_within(self) -> float:
        """The logarithm of E against "the candidate's mean badness is higher by at least the margin".

        Factor of a pair with difference d: 1 + l*(margin - d), positive for l < 1/(1-margin), mean at most 1 if the
        mean of d is at least the margin.
        """
        return mean_of_logs(units / UNITS_PER_NAT for units in self.margin_sums)

    def verdict(self) -> PairVerdict:
        """Fail if shown to be worse; else pass if shown to be within the margin; else nothing is shown."""
        line = log(1 / self.rule.alpha)
        if self.log_e_worse() >= line:
            return PairVerdict.FAIL
        return PairVerdict.PASS if self.log_e_within() >= line else PairVerdict.INCONCLUSIVE


def _discordant(differences: Counter[float]) -> Iterable[tuple[Arm, int, float]]:
    for difference in differences.elements():
        if difference:
            yield Arm.CANDIDATE if difference > 0 else Arm.STABLE, HALF_BP, abs(difference)


def pairs_needed(rule: PairRule) -> int:
    """The fewest inputs with which a candidate can pass, all answers being equally good; fewer stay inconclusive."""
    line = log(1 / rule.alpha)
    growths = tuple(log1p(stake * rule.margin) for stake in rule.stakes())
    low, high = 0, 1
    while mean_of_logs(high * growth for growth in growths) < line:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if mean_of_logs(middle * growth for growth in growths) < line:
            low = middle
        else:
            high = middle
    return high
