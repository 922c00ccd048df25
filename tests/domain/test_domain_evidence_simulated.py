"""Whole rollouts by dice: harmless ones are spared as promised, bad ones are found as fast as the design's table says.

Only bad events are drawn (which arm, and how many requests lie before), since good ones change nothing. The long form
has 2,000 runs for each figure and 15 % tolerance on the table's medians; the short one has fewer, and its tolerance is
wider by three standard errors of a median, 1.25 * 0.7 / sqrt(runs).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import count, islice, repeat
from math import exp, inf, log, log1p
from operator import add
from random import Random
from statistics import median

import pytest

from lineclear.domain.delay import crossing_counts
from lineclear.domain.detectability import requests_to_show_not_worse
from lineclear.domain.evidence import (
    Arm,
    ArmCounts,
    BadnessSums,
    Bets,
    bet,
    bets_on_not_worse,
    bets_on_worse,
    log_factors,
    mean_of_logs,
)
from lineclear.domain.first_events import FirstEvent, FirstEvents
from lineclear.domain.verdict import GuardEvidence, Promise, Verdict, decide
from lineclear.testing.binomial import probability_of_at_least

RHO = 1.25
ROLL_BACK, HOLD = 400.0, 20.0
LOWEST_LINE = log(HOLD)
"""Below it nobody asks how high the evidence was."""
RAMP_BP = (100, 500, 1_000, 2_500, 5_000, 9_800)
"""With the holdback, whose weight is the candidate's too."""
BAD_PER_STEP = 150


def runs_of(full_form: bool) -> int:
    return 2_000 if full_form else 300


def tolerance(runs: int) -> float:
    return 0.15 if runs >= 2_000 else 0.15 + 3 * 1.25 * 0.7 / runs**0.5


def is_at_most(wrong: int, runs: int, share: float) -> bool:
    """Exact binomial: so many or more would be seen more often than once in 10,000 if the promise holds."""
    return probability_of_at_least(wrong, runs, share) > 1e-4


def candidate_share(ratio: float, weight_bp: int) -> float:
    """P(a bad event is the candidate's)."""
    weight = weight_bp / 10_000
    return weight * ratio / (weight * ratio + 1 - weight)


def log_table(bets: Bets, weight_bp: int) -> tuple[list[float], list[float]]:
    """The product's own factors of a bad event: (stable's, candidate's), one for each bet."""
    pairs = [log_factors(bets.rho, ratio, weight_bp / 10_000) for ratio in bets.ratios]
    return [stable for _, stable in pairs], [candidate for candidate, _ in pairs]


class Guard:
    """One guard of one simulated rollout, looked at after every bad event."""

    def __init__(self, bets: Bets) -> None:
        self.bets = bets
        self.logs = [0.0] * len(bets.ratios)
        self.seen: Counter[tuple[bool, int]] = Counter()
        self.tables: dict[int, tuple[list[float], list[float]]] = {}
        self.highest = 0.0
        """The greatest ln E seen, if it ever reached the lowest line."""

    def see(self, is_candidate: bool, weight_bp: int) -> None:
        self.seen[is_candidate, weight_bp] += 1
        table = self.tables.get(weight_bp) or self.tables.setdefault(weight_bp, log_table(self.bets, weight_bp))
        self.logs = list(map(add, self.logs, table[is_candidate]))
        # A mean is at most its greatest term, so the mixture is computed only where it can reach the lowest line.
        if max(self.logs) >= LOWEST_LINE and max(self.logs) > self.highest:
            self.highest = max(self.highest, mean_of_logs(self.logs))

    def check(self) -> None:
        """The running sums are what the product computes from counts."""
        counts = ArmCounts.counted(
            (Arm.CANDIDATE if is_candidate else Arm.STABLE, weight_bp, number)
            for (is_candidate, weight_bp), number in self.seen.items()
        )
        assert mean_of_logs(self.logs) == pytest.approx(counts.log_e(self.bets), abs=1e-8)


def ramp(random: Random, true_ratio: float, rho: float) -> Guard:
    """A whole rollout at a steady true ratio."""
    guard = Guard(bets_on_worse(rho))
    for weight_bp in RAMP_BP:
        share = candidate_share(true_ratio, weight_bp)
        for _ in range(BAD_PER_STEP):
            guard.see(random.random() < share, weight_bp)
    guard.check()
    return guard


def test_harmless_rollouts_are_rolled_back_as_seldom_as_promised(full_form: bool) -> None:
    """Four guards at the very edge of what is tolerated, looked at after each of 900 bad events each, up to 98 %."""
    random, runs, promise = Random(20_261_122), runs_of(full_form), Promise(rollback_guards=4)
    rolled_back = held = held_guards = 0
    for _ in range(runs):
        guards = [ramp(random, rho, rho) for rho in (1.25, 1.25, 1.25, 1.5)]
        worst = [GuardEvidence(str(place), guard.highest, None) for place, guard in enumerate(guards)]
        decision = decide(worst, 0.0, promise)
        rolled_back += decision.verdict is Verdict.ROLL_BACK
        held += decision.verdict is not Verdict.OK
        held_guards += len(decision.reasons)
    assert is_at_most(rolled_back, runs, 0.01)
    assert is_at_most(held_guards, 4 * runs, 0.05)
    assert is_at_most(held, runs, 0.20)
    assert held_guards > 0, "a process that never rises at the edge looks at nothing"


def test_the_check_above_would_see_a_broken_promise(full_form: bool) -> None:
    """The same rollouts, judged by a guard that tolerates less than what is true."""
    random, runs = Random(7), runs_of(full_form)
    wrong = sum(ramp(random, 1.25, 1.0).highest >= log(100) for _ in range(runs))
    assert not is_at_most(wrong, runs, 0.01)


def test_users_who_fail_again_and_again_are_counted_once(full_form: bool) -> None:
    """A few users fail five times each, whichever arm they are on: counting each failure breaks the promise."""
    random, runs = Random(99), runs_of(full_form)
    bets, naive_wrong, first_wrong = bets_on_worse(1.0), 0, 0
    for _ in range(runs):
        events = []
        for unit in range(40):
            place = random.random()
            for at_us in random.sample(range(6_000), 5):
                # Each unit has one place; the ramp only ever moves it from stable to the candidate.
                weight_bp = RAMP_BP[at_us // 1_000]
                arm = Arm.CANDIDATE if place < weight_bp / 10_000 else Arm.STABLE
                events.append((unit, FirstEvent(at_us, arm, weight_bp)))
        naive, first = Guard(bets), Guard(bets)
        for _, event in sorted(events, key=lambda one: one[1].rank()):
            naive.see(event.arm is Arm.CANDIDATE, event.weight_bp)
        gathered = FirstEvents.gathered(events)
        for event in sorted(gathered.by_unit.values(), key=FirstEvent.rank):
            first.see(event.arm is Arm.CANDIDATE, event.weight_bp)
        assert len(gathered.by_unit) == 40
        naive_wrong += naive.highest >= log(20)
        first_wrong += first.highest >= log(20)
    assert is_at_most(first_wrong, runs, 0.05)
    assert not is_at_most(naive_wrong, runs, 0.05)


def requests_between(random: Random, rate: float) -> Iterator[int]:
    """Requests up to and with the next bad one: geometric."""
    scale = log1p(-rate)
    while True:
        yield 1 + int(log(1 - random.random()) / scale)


def delay(random: Random, limits: Sequence[int], share: float, rate: float) -> int:
    """Requests until the line is crossed."""
    candidate = requests = 0
    for limit, gap in zip(islice(limits, 1, None), requests_between(random, rate), strict=False):
        requests += gap
        candidate += random.random() < share
        if candidate >= limit:
            return requests
    raise AssertionError("the walk is longer than its table of limits")


@cache
def limits_of(weight_bp: int, line_e: float) -> tuple[int, ...]:
    return tuple(islice(crossing_counts(bets_on_worse(RHO), weight_bp, log(line_e)), 6_000))


@pytest.mark.parametrize(
    ("base_rate", "ratio", "weight_bp", "line_e", "requests"),
    [
        # Errors.
        (0.01, 3, 500, ROLL_BACK, 16_100),
        (0.01, 3, 1_000, ROLL_BACK, 9_100),
        (0.01, 3, 5_000, ROLL_BACK, 3_900),
        (0.01, 3, 1_000, HOLD, 4_000),
        (0.01, 2, 500, ROLL_BACK, 84_000),
        (0.01, 2, 1_000, ROLL_BACK, 44_000),
        (0.01, 2, 5_000, ROLL_BACK, 17_000),
        (0.01, 10, 500, ROLL_BACK, 1_300),
        (0.01, 10, 1_000, ROLL_BACK, 726),
        (0.01, 10, 5_000, ROLL_BACK, 398),
        (0.01, 50, 500, ROLL_BACK, 152),
        (0.01, 50, 1_000, ROLL_BACK, 96),
        (0.01, 50, 5_000, ROLL_BACK, 57),
        (0.001, 10, 500, ROLL_BACK, 12_900),
        (0.001, 10, 1_000, ROLL_BACK, 7_500),
        (0.001, 10, 5_000, ROLL_BACK, 3_900),
        # Slow answers.
        (0.05, 2, 500, ROLL_BACK, 15_800),
        (0.05, 2, 1_000, ROLL_BACK, 7_400),
        (0.05, 2, 5_000, ROLL_BACK, 3_600),
        # Rejections, in labels.
        (0.10, 3, 1_000, ROLL_BACK, 902),
        (0.10, 3, 5_000, ROLL_BACK, 392),
        (0.10, 3, 5_000, HOLD, 183),
        (0.10, 2, 1_000, ROLL_BACK, 4_000),
        (0.10, 2, 5_000, ROLL_BACK, 1_700),
        (0.10, 2, 5_000, HOLD, 779),
    ],
)
def test_bad_candidates_are_found_as_fast_as_the_table_says(
    full_form: bool, base_rate: float, ratio: float, weight_bp: int, line_e: float, requests: int
) -> None:
    random, runs = Random(f"{base_rate} {ratio} {weight_bp} {line_e}"), runs_of(full_form)
    weight = weight_bp / 10_000
    rate = base_rate * (weight * ratio + 1 - weight)
    limits, share = limits_of(weight_bp, line_e), candidate_share(ratio, weight_bp)
    seen = median(delay(random, limits, share, rate) for _ in range(runs))
    assert seen == pytest.approx(requests, rel=tolerance(runs))


@pytest.mark.parametrize(("ratio", "candidates"), [(3, 874), (10, 64), (50, 6)])
def test_a_ramp_finds_them_with_few_requests_exposed(full_form: bool, ratio: float, candidates: int) -> None:
    """1, 5, 10 and 25 % with 6,000 requests each: requests of the candidate until the rollback."""
    random, runs = Random(ratio), runs_of(full_form)
    seen = median(exposed(random, ratio) for _ in range(runs))
    # Six requests are a whole number: one more or less is no other result.
    assert seen == pytest.approx(candidates, rel=tolerance(runs), abs=1)


def exposed(random: Random, ratio: float) -> float:
    guard, requests = Guard(bets_on_worse(RHO)), 0.0
    for weight_bp in (100, 500, 1_000, 2_500):
        weight, at = weight_bp / 10_000, 0
        rate, share = 0.01 * (weight * ratio + 1 - weight), candidate_share(ratio, weight_bp)
        for gap in requests_between(random, rate):
            at += gap
            if at > 6_000:
                break
            guard.see(random.random() < share, weight_bp)
            if guard.highest >= log(ROLL_BACK):
                return requests + at * weight
        requests += 6_000 * weight
    return inf


COST_RHO = 1.10
CV_SQUARED = 2.25
SPREAD = log1p(CV_SQUARED) ** 0.5
CAP = exp(2.5758 * SPREAD)
"""Stable's 99.5th percentile, its median being 1."""


@pytest.mark.parametrize(
    ("rise", "weight_bp", "requests"),
    [(1.5, 1_000, 4_100), (2.0, 1_000, 1_100), (1.5, 5_000, 1_600), (2.0, 5_000, 436)],
)
def test_dearer_candidates_are_found_as_fast_as_the_table_says(
    full_form: bool, rise: float, weight_bp: int, requests: int
) -> None:
    """Lognormal costs with a coefficient of variation of 1.5, capped, looked at after every request."""
    random, runs = Random(f"{rise} {weight_bp}"), 2_000 if full_form else 30
    seen = median(cost_delay(random, rise, weight_bp) for _ in range(runs))
    assert seen == pytest.approx(requests, rel=tolerance(runs))


def cost_delay(random: Random, rise: float, weight_bp: int) -> int:
    bets, weight, line = bets_on_worse(COST_RHO), weight_bp / 10_000, log(ROLL_BACK)
    on_candidate = [bet(ratio, COST_RHO, weight) * (1 - weight) for ratio in bets.ratios]
    on_stable = [-bet(ratio, COST_RHO, weight) * COST_RHO * weight for ratio in bets.ratios]
    logs, events = [0.0] * len(bets.ratios), []
    for requests in count(1):
        is_candidate = random.random() < weight
        badness = min(1.0, exp(random.gauss(0, SPREAD)) * (rise if is_candidate else 1) / CAP)
        events.append((Arm.CANDIDATE if is_candidate else Arm.STABLE, weight_bp, badness))
        stakes = on_candidate if is_candidate else on_stable
        logs = [log_e + log1p(stake * badness) for log_e, stake in zip(logs, stakes, strict=True)]
        if max(logs) >= line and mean_of_logs(logs) >= line:
            if requests < 1_000:
                # The running sums are what the product computes, but for its rounding down.
                assert BadnessSums.summed(bets, events).log_e() == pytest.approx(mean_of_logs(logs), abs=1e-5)
            return requests
    raise AssertionError


@pytest.mark.parametrize(("rho", "base_rate"), [(2.0, 0.01), (1.5, 0.01), (2.0, 0.05), (1.5, 0.05)])
def test_proving_not_worse_takes_no_more_than_the_formula_says(full_form: bool, rho: float, base_rate: float) -> None:
    """At 50/50 and 5 %, the arms being alike. The design's figures are the formula's; half the runs need less."""
    random, runs = Random(f"{rho} {base_rate}"), runs_of(full_form)
    seen = median(not_worse_delay(random, rho, base_rate) for _ in range(runs))
    assert 0.5 < seen / requests_to_show_not_worse(base_rate, 5_000, rho, 20.0) < 0.8


def not_worse_delay(random: Random, rho: float, base_rate: float) -> int:
    guard, requests = Guard(bets_on_not_worse(rho)), 0
    for gap, weight_bp in zip(requests_between(random, base_rate), repeat(5_000), strict=False):
        requests += gap
        guard.see(random.random() < 0.5, weight_bp)
        if guard.highest >= log(20):
            return requests
    raise AssertionError
