"""How long evidence takes to cross its line if a regression is true: the distribution of the number of requests.

The arm of a bad event is independent of when it comes: the delay is a walk over bad events, mixed over how many of them
t requests bring. Short walks are exact: E grows with the candidate's count, so after n events it has crossed iff that
count reached k(n), and the distribution of counts that did not follows event by event. Long ones, and the floor, take
ln E of the best bet as a Brownian motion of equal mean and variance per request: its first crossing is inverse Gaussian
(median up to a tenth late).
Source: Wald 1947 (sequential likelihood ratios); Folks & Chhikara, JRSS-B 40(3) 1978 (inverse Gaussian distribution).
"""

from collections.abc import Iterator
from math import erfc, exp, inf, lgamma, log, log1p, sqrt
from typing import Final, TypeAlias, assert_never

import msgspec

from lineclear.domain.evidence import Bets, log_factors, mean_of_logs, weight_of
from lineclear.domain.floor import floor_factors

EXACT_BAD_MAX: Final = 1_000
"""Up to so many bad events by the short formula the walk is exact (10 to 100 ms); beyond it Brownian."""
SURVIVAL_MIN: Final = 1e-5
"""Where the exact walk ends: 99 % needs no more."""
TAIL_MIN: Final = 1e-13
"""Counts less probable than this are dropped from the walk."""
REQUESTS_MAX: Final = 10**15
"""Where a search for a number of requests gives up; no traffic reaches it."""


class ExactCrossing(msgspec.Struct, frozen=True):
    survival: tuple[float, ...]
    """P(not crossed after n bad events), from n = 0."""
    bad_rate: float


class BrownianCrossing(msgspec.Struct, frozen=True):
    line: float
    drift: float
    """Mean growth of ln E per request."""
    variance: float

    @property
    def expected(self) -> float:
        """Mean number of requests."""
        return self.line / self.drift if self.drift > 0 else inf


Crossing: TypeAlias = ExactCrossing | BrownianCrossing
FloorCrossing: TypeAlias = BrownianCrossing


def crossing_counts(bets: Bets, weight_bp: int, line: float) -> Iterator[int]:
    """For n = 0, 1, 2, … bad events: the least count of the candidate with ln E >= line; n + 1 if none has.

    It never falls with n, since an event of stable never raises E, and rises by at most 1.
    """
    weight = weight_of(weight_bp)
    factors = tuple(log_factors(bets.rho, ratio, weight) for ratio in bets.ratios)
    bad = count = 0
    while True:
        while count <= bad and mean_of_logs(count * one + (bad - count) * other for one, other in factors) < line:
            count += 1
        yield count
        bad += 1


def survival(bets: Bets, weight_bp: int, share: float, line: float, bad_max: int) -> tuple[float, ...]:
    """P(not crossed after n bad events) for n = 0 … `bad_max`, each the candidate's with probability `share`.

    Shorter if it falls below `SURVIVAL_MIN` before.
    """
    counts = crossing_counts(bets, weight_bp, line)
    next(counts)
    result, lowest, mass = [1.0], 0, [1.0]
    for _ in range(bad_max):
        limit = next(counts)
        stayed = [one * (1 - share) for one in mass]
        mass = [stay + came for stay, came in zip((*stayed, 0.0), (0.0, *(one * share for one in mass)), strict=True)][
            : max(0, limit - lowest)
        ]
        while mass and mass[0] < TAIL_MIN:
            mass.pop(0)
            lowest += 1
        result.append(sum(mass))
        if result[-1] < SURVIVAL_MIN:
            break
    return tuple(result)


def crossing_of(bets: Bets, weight_bp: int, ratio: float, bad_rate: float, line: float, bad_needed: float) -> Crossing:
    """The delay of a guard if the candidate is truly `ratio` times as bad, with `bad_rate` bad events per request."""
    weight = weight_of(weight_bp)
    share = weight * ratio / (weight * ratio + 1 - weight)
    if bad_needed <= EXACT_BAD_MAX:
        return ExactCrossing(survival(bets, weight_bp, share, line, 20 * EXACT_BAD_MAX), bad_rate)
    steps = tuple(log_factors(bets.rho, one, weight) for one in bets.ratios)
    return _brownian(line, tuple(((up, bad_rate * share), (down, bad_rate * (1 - share))) for up, down in steps))


def floor_crossing_of(floor: float, rate: float, weight: float, line: float) -> FloorCrossing:
    """The delay of the floor if the candidate's rate is `rate`.

    Raises:
        ValueError: if the floor leaves no bet.
    """
    return _brownian(
        line,
        tuple(
            ((log(factor), weight * rate), (log1p((1 - factor) * floor / (1 - floor)), weight * (1 - rate)))
            for factor in floor_factors(floor)
        ),
    )


def _brownian(line: float, bets: tuple[tuple[tuple[float, float], ...], ...]) -> BrownianCrossing:
    """The bet that grows fastest, each given as (growth of ln E, probability per request); the mixture costs ln n."""
    drift, variance = max(
        (drift, sum(growth * growth * chance for growth, chance in bet) - drift * drift)
        for bet in bets
        if (drift := sum(growth * chance for growth, chance in bet)) > -inf
    )
    return BrownianCrossing(line + log(len(bets)), drift, variance)


def undetected(crossing: Crossing, floor_crossing: FloorCrossing | None, requests: int) -> float:
    """P(not rolled back within so many requests): at most the sum of the two, and nearly it if one is far longer."""
    return min(1.0, _tail(crossing, requests) + (0.0 if floor_crossing is None else _tail(floor_crossing, requests)))


def requests_until(crossing: Crossing, floor_crossing: FloorCrossing | None, share: float) -> int | None:
    """The least number of requests with `undetected` <= share; None if no traffic is enough."""
    low, high = 0, 1
    while undetected(crossing, floor_crossing, high) > share:
        low, high = high, 2 * high
        if high > REQUESTS_MAX:
            return None
    while high - low > max(1, high // 10_000):
        middle = (low + high) // 2
        if undetected(crossing, floor_crossing, middle) > share:
            low = middle
        else:
            high = middle
    return high


def _tail(crossing: Crossing, requests: int) -> float:
    """P(not crossed within so many requests)."""
    match crossing:
        case ExactCrossing():
            return _exact_tail(crossing, requests)
        case BrownianCrossing():
            return _brownian_tail(crossing, requests)
    assert_never(crossing)


def _exact_tail(crossing: ExactCrossing, requests: int) -> float:
    """Sum over n of P(n bad events in `requests`) * P(not crossed after n)."""
    rate, last = crossing.bad_rate, len(crossing.survival) - 1
    if rate >= 1:
        return crossing.survival[min(requests, last)]
    mean = requests * rate
    reach = 9 * sqrt(mean * (1 - rate)) + 20
    lowest, highest = max(0, int(mean - reach)), min(requests, int(mean + reach))
    if lowest >= last:
        return crossing.survival[last]
    fixed, odds = lgamma(requests + 1) + requests * log1p(-rate), log(rate) - log1p(-rate)
    return sum(
        exp(fixed - lgamma(bad + 1) - lgamma(requests - bad + 1) + bad * odds) * crossing.survival[min(bad, last)]
        for bad in range(lowest, highest + 1)
    )


def _brownian_tail(crossing: BrownianCrossing, requests: int) -> float:
    """1 - F(t), F(t) = Phi((d*t-b)/sqrt(v*t)) + e**(2*d*b/v) * Phi((-d*t-b)/sqrt(v*t))."""
    if crossing.drift <= 0 or requests <= 0:
        return 1.0
    spread = sqrt(crossing.variance * requests)
    grown = crossing.drift * requests
    power = 2 * crossing.drift * crossing.line / crossing.variance
    # Beyond e**600 the normal share is 0 as a float; without the product the delay is longer, never shorter.
    returned = exp(power) * _below((-grown - crossing.line) / spread) if power < 600 else 0.0
    return max(0.0, 1 - _below((grown - crossing.line) / spread) - returned)


def _below(score: float) -> float:
    """The standard normal distribution function."""
    return 0.5 * erfc(-score / sqrt(2))
