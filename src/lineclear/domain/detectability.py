"""What a step can find out at this traffic: how many requests until a true regression is rolled back.

In: a regression (base rate, ratio, weight) and the requests a step will see. Out: bad events and requests needed by the
short formula; median, 99th percentile and chance by the distribution in `delay`; a sentence that says "cannot" if so.
Source: release-governance §2.2 (planner formula).
"""

from math import ceil, isinf, log
from typing import Final

import msgspec

from lineclear.domain.delay import Crossing, FloorCrossing, crossing_of, floor_crossing_of, requests_until, undetected
from lineclear.domain.evidence import FACTORS, bets_on_worse, weight_of

CHANCE_MIN: Final = 0.8
"""From this chance on a step detects a regression: the usual power of a planned comparison."""
CHANCE_LOW: Final = 0.2
"""Below this chance it "cannot detect" it; in between it "may miss" it."""


class Regression(msgspec.Struct, frozen=True):
    """A true change to look for, and the guard that looks."""

    base_rate: float
    """Stable's mean badness, above 0. Of a rate never seen in n requests, 3/n is a fair upper guess."""
    ratio: float
    """The candidate's badness over stable's."""
    weight_bp: int
    rho: float
    line_e: float
    """E to reach: m/alpha for a rollback, 20 for a hold."""
    floor: float | None = None
    concentration: float = 1.0
    """E[x**2]/E[x] of the badness: 1 for 0/1 events, about 0.35 for capped cost. The best stake's growth goes with the
    square of the mean over the second moment, so x tells as much as 0/1 events that are 1/concentration as frequent."""

    def __post_init__(self) -> None:
        weight_of(self.weight_bp)
        if not 0 < self.base_rate <= 1:
            raise ValueError(f"a base rate lies above 0 and up to 1, this is {self.base_rate!r}")
        if not 0 < self.ratio * self.base_rate <= 1:
            raise ValueError(f"{self.ratio!r} times a rate of {self.base_rate!r} is no rate")
        if not (0 < self.concentration <= 1 and self.line_e > 1 and self.rho >= 1):
            raise ValueError(f"a guard needs 0 < concentration <= 1, E above 1 and rho >= 1: {self!r}")

    @property
    def weight(self) -> float:
        return weight_of(self.weight_bp)

    @property
    def bad_rate(self) -> float:
        """Bad events per request of both arms, badness in between counted as `concentration` says."""
        pooled = self.base_rate * (self.weight * self.ratio + 1 - self.weight)
        return min(1.0, pooled / self.concentration)

    @property
    def is_tolerated(self) -> bool:
        """The guard's null holds, so nothing shall be found."""
        return self.ratio <= self.rho

    @property
    def is_below_floor(self) -> bool:
        return self.floor is not None and self.ratio * self.base_rate <= self.floor


class Detectability(msgspec.Struct, frozen=True):
    """What a step with so many requests finds of a regression. None = never, by design (see `Regression`)."""

    regression: Regression
    requests: int
    """What the step will see, both arms."""
    bad_needed: int | None = None
    """(ln line + ln 7)/KL(p_r || p_rho), p_r = w*r/(w*r+1-w): the formula to do by hand, a little high."""
    requests_needed: int | None = None
    """bad_needed over the pooled bad rate; if the floor takes longer, its requests by the same formula."""
    requests_median: int | None = None
    requests_p99: int | None = None
    """In 99 of 100 rollouts it is found within so many."""
    chance: float = 0.0
    """P(found within the step)."""

    @property
    def can_detect(self) -> bool:
        return self.chance >= CHANCE_MIN

    def sentence(self, what: str) -> str:
        """For a person before the start; `what` names the bad events, such as "errors"."""
        regression = self.regression
        rates = f"{_percent(regression.base_rate)} to {_percent(regression.base_rate * regression.ratio)}"
        change = f"a {regression.ratio:g}-fold rise of {what} ({rates})"
        if regression.is_tolerated:
            return f"This guard tolerates {change}: up to {regression.rho:g}-fold is allowed."
        if self.requests_median is None or self.requests_p99 is None:
            floor = _percent(regression.floor or 0)
            why = "not above" if regression.is_below_floor else "too close to"
            return f"This guard does not roll back for {change}: that is {why} its floor of {floor}."
        median, p99 = _about(self.requests_median), _about(self.requests_p99)
        if self.can_detect:
            return (
                f"This step detects {change} after about {median} requests, in 99 of 100 cases within {p99}; "
                f"it sees {_about(self.requests)}."
            )
        verb = "may miss" if self.chance >= CHANCE_LOW else "cannot detect"
        return (
            f"This step {verb} {change} at your traffic: that takes about {median} requests, in 99 of 100 cases "
            f"up to {p99}, and the step sees {_about(self.requests)} (chance {_percent(round(self.chance, 2))})."
        )


def detectability(regression: Regression, requests: int) -> Detectability:
    """Plans one guard of one step.

    Raises:
        ValueError: if the floor leaves no bet.
    """
    if regression.is_tolerated or regression.is_below_floor:
        return Detectability(regression, requests)
    bad_needed = _bad_needed(regression.line_e, regression.rho, regression.ratio, regression.weight)
    needed = bad_needed / regression.bad_rate
    crossing, floor_crossing = _crossings(regression, bad_needed)
    if floor_crossing is not None:
        needed = max(needed, floor_crossing.expected)
    if isinf(needed):
        # So close to its floor that no bet on it grows.
        return Detectability(regression, requests, bad_needed=ceil(bad_needed))
    return Detectability(
        regression,
        requests,
        bad_needed=ceil(bad_needed),
        requests_needed=ceil(needed),
        requests_median=requests_until(crossing, floor_crossing, 0.5),
        requests_p99=requests_until(crossing, floor_crossing, 0.01),
        chance=1 - undetected(crossing, floor_crossing, requests),
    )


def requests_to_show_not_worse(base_rate: float, weight_bp: int, rho: float, line_e: float) -> int:
    """Requests of both arms until non-inferiority is shown, both being equally bad; half the runs need a third less.

    The same formula with the roles reversed: (ln line + ln 7)/KL(p_1 || p_rho)/base_rate.

    Raises:
        ValueError: if no number of requests shows it: without a base rate, or with `rho` not above 1.
    """
    if not (0 < base_rate <= 1 and rho > 1):
        raise ValueError(f"no number of requests shows a rate of {base_rate!r} to be less than {rho!r} times itself")
    return ceil(_bad_needed(line_e, rho, 1.0, weight_of(weight_bp)) / base_rate)


def _bad_needed(line_e: float, rho: float, ratio: float, weight: float) -> float:
    """(ln line + ln 7)/KL(p_r || p_rho)."""
    true, edge = (weight * one / (weight * one + 1 - weight) for one in (ratio, rho))
    divergence = true * log(true / edge) + (1 - true) * log((1 - true) / (1 - edge))
    return (log(line_e) + log(len(FACTORS))) / divergence


def _crossings(regression: Regression, bad_needed: float) -> tuple[Crossing, FloorCrossing | None]:
    line = log(regression.line_e)
    crossing = crossing_of(
        bets_on_worse(regression.rho), regression.weight_bp, regression.ratio, regression.bad_rate, line, bad_needed
    )
    if regression.floor is None:
        return crossing, None
    rate = regression.base_rate * regression.ratio
    return crossing, floor_crossing_of(regression.floor, rate, regression.weight, line)


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _about(number: int) -> str:
    """Two digits that count: 9,158 is 9,200."""
    step = 10 ** max(0, len(str(number)) - 2)
    return f"{round(number / step) * step:,}"
