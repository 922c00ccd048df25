"""What the planner says before the start: its figures, its distribution against long runs of dice, its words."""

from itertools import islice
from math import log
from random import Random

import pytest

from lineclear.domain.delay import (
    BrownianCrossing,
    ExactCrossing,
    crossing_counts,
    requests_until,
    survival,
    undetected,
)
from lineclear.domain.detectability import Detectability, Regression, detectability, requests_to_show_not_worse
from lineclear.domain.evidence import Arm, ArmCounts, bets_on_worse
from lineclear.testing.binomial import probability_of_at_least, probability_of_at_most


def plan(
    base_rate: float, ratio: float, weight_bp: int, requests: int = 0, floor: float | None = None
) -> Detectability:
    return detectability(Regression(base_rate, ratio, weight_bp, 1.25, 400.0, floor), requests)


@pytest.mark.parametrize(
    ("base_rate", "ratio", "weight_bp", "bad", "requests"),
    [
        # (ln 400 + ln 7)/KL by hand: w = 0.1, p_3 = 0.25, p_1.25 = 0.12195, KL = 0.061219, pooled rate 1.2 %.
        (0.01, 3, 1_000, 130, 10_802),
        (0.01, 3, 5_000, 98, 4_886),
        (0.01, 10, 500, 23, 1_530),
        (0.05, 2, 5_000, 310, 4_126),
    ],
)
def test_the_short_formula(base_rate: float, ratio: float, weight_bp: int, bad: int, requests: int) -> None:
    planned = plan(base_rate, ratio, weight_bp)
    assert planned.bad_needed == bad
    assert planned.requests_needed == requests
    assert planned.requests_median is not None
    assert 0.7 * requests < planned.requests_median < 1.1 * requests


@pytest.mark.parametrize(
    ("rho", "base_rate", "requests"), [(2.0, 0.01, 8_400), (1.5, 0.01, 24_000), (2.0, 0.05, 1_700), (1.5, 0.05, 4_800)]
)
def test_the_short_formula_for_not_worse(rho: float, base_rate: float, requests: int) -> None:
    assert requests_to_show_not_worse(base_rate, 5_000, rho, 20.0) == pytest.approx(requests, rel=0.02)


@pytest.mark.parametrize(("base_rate", "rho"), [(0.0, 2.0), (0.01, 1.0)])
def test_not_worse_than_what_it_is_takes_forever(base_rate: float, rho: float) -> None:
    with pytest.raises(ValueError, match="no number of requests"):
        requests_to_show_not_worse(base_rate, 5_000, rho, 20.0)


def test_counts_to_cross_are_where_the_evidence_crosses() -> None:
    bets, line = bets_on_worse(1.25), log(400)
    for weight_bp in (100, 1_000, 5_000, 9_800):
        for bad, count in enumerate(islice(crossing_counts(bets, weight_bp, line), 150)):
            for candidate in (count - 1, count):
                if not 0 <= candidate <= bad:
                    continue
                counts = ArmCounts.counted(
                    [(Arm.CANDIDATE, weight_bp, candidate), (Arm.STABLE, weight_bp, bad - candidate)]
                )
                assert (counts.log_e(bets) >= line) is (candidate == count)


def test_the_exact_walk_is_the_sum_over_all_ways() -> None:
    """Against every sequence of 14 bad events, one by one."""
    bets, line, share, length = bets_on_worse(1.25), log(20), 0.3, 14
    counts = list(islice(crossing_counts(bets, 1_000, line), length + 1))
    missed = 0.0
    for ways in range(2**length):
        candidate, is_crossed = 0, False
        for bad in range(1, length + 1):
            candidate += ways >> (bad - 1) & 1
            is_crossed = is_crossed or candidate >= counts[bad]
        if not is_crossed:
            missed += share**candidate * (1 - share) ** (length - candidate)
    assert survival(bets, 1_000, share, line, length)[length] == pytest.approx(missed, abs=1e-9)


@pytest.mark.parametrize("weight_bp", [100, 500, 1_000, 2_500, 5_000, 9_800])
@pytest.mark.parametrize("rho", [1.0, 1.1, 1.25, 1.5])
def test_a_candidate_at_the_edge_is_rolled_back_less_often_than_promised_exactly(rho: float, weight_bp: int) -> None:
    """No dice: the probability itself, summed over all ways in which 1,500 bad events may fall."""
    weight = weight_bp / 10_000
    share = weight * rho / (weight * rho + 1 - weight)
    for line_e in (20.0, 400.0):
        never = survival(bets_on_worse(rho), weight_bp, share, log(line_e), 1_500)
        assert len(never) == 1_501
        assert 0 < 1 - never[-1] <= 1 / line_e


@pytest.mark.parametrize(("base_rate", "ratio", "weight_bp"), [(0.01, 3, 1_000), (0.01, 10, 500), (0.05, 2, 5_000)])
def test_in_99_of_100_runs_it_is_found_within_the_99th_percentile(
    full_form: bool, base_rate: float, ratio: float, weight_bp: int
) -> None:
    planned = plan(base_rate, ratio, weight_bp)
    assert planned.requests_p99 is not None
    assert planned.requests_median is not None
    random, runs = Random(45_001 + weight_bp), 4_000 if full_form else 400
    weight = weight_bp / 10_000
    pooled = base_rate * (weight * ratio + 1 - weight)
    share = weight * ratio / (weight * ratio + 1 - weight)
    limits = list(islice(crossing_counts(bets_on_worse(1.25), weight_bp, log(400)), 4_000))
    late = slow = 0
    for _ in range(runs):
        candidate = bad = requests = 0
        while candidate < limits[bad] and requests <= planned.requests_p99:
            requests += 1 + int(log(1 - random.random()) / log(1 - pooled))
            bad += 1
            candidate += random.random() < share
        late += requests > planned.requests_p99
        slow += requests > planned.requests_median
    assert within(late, runs, 0.01)
    assert within(slow, runs, 0.5)


def within(seen: int, runs: int, share: float) -> bool:
    """Exact binomial, one in 1,000 by chance on either side."""
    return min(probability_of_at_least(seen, runs, share), probability_of_at_most(seen, runs, share)) > 1e-3


def test_long_walks_are_close_to_the_exact_one_and_rather_late() -> None:
    """The same regression both ways: 310 bad events by the formula, where the exact walk is quick."""
    planned = plan(0.01, 2, 5_000)
    weight, pooled, share = 0.5, 0.015, 2 / 3
    exact = ExactCrossing(survival(bets_on_worse(1.25), 5_000, share, log(400), 8_000), pooled)
    assert requests_until(exact, None, 0.5) == planned.requests_median
    long = plan(0.01, 1.6, 5_000)
    assert long.bad_needed is not None
    assert long.bad_needed > 1_000
    exact_long = ExactCrossing(
        survival(bets_on_worse(1.25), 5_000, weight * 1.6 / (weight * 1.6 + weight), log(400), 12_000), 0.013
    )
    for share, value in ((0.5, long.requests_median), (0.01, long.requests_p99)):
        exactly = requests_until(exact_long, None, share)
        assert exactly is not None
        assert value is not None
        assert 0.97 * exactly < value < 1.12 * exactly


def test_the_chance_rises_with_the_traffic_and_meets_the_percentiles() -> None:
    chances = [plan(0.01, 3, 1_000, requests).chance for requests in (0, 500, 2_000, 9_000, 20_000, 60_000)]
    assert chances == sorted(chances)
    assert chances[0] == 0
    assert chances[-1] > 0.999
    planned = plan(0.01, 3, 1_000)
    assert planned.requests_p99 is not None
    assert plan(0.01, 3, 1_000, planned.requests_p99).chance == pytest.approx(0.99, abs=0.001)


def test_a_floor_just_below_the_new_rate_takes_its_own_time() -> None:
    far, near = plan(0.01, 3, 1_000, floor=0.005), plan(0.002, 3, 1_000, floor=0.005)
    assert far.requests_median == pytest.approx(plan(0.01, 3, 1_000).requests_median, rel=0.03)
    alone = plan(0.002, 3, 1_000)
    assert near.requests_median is not None
    assert near.requests_needed is not None
    assert alone.requests_median is not None
    assert near.requests_median > 5 * alone.requests_median
    assert near.requests_needed > 5 * alone.requests_median


def test_what_a_guard_never_acts_on_is_said_and_not_computed() -> None:
    below = plan(0.0001, 3, 1_000, 10**9, floor=0.005)
    assert (below.requests_needed, below.requests_p99, below.can_detect) == (None, None, False)
    assert below.sentence("errors") == (
        "This guard does not roll back for a 3-fold rise of errors (0.01 % to 0.03 %): that is not above its floor of "
        "0.5 %."
    )
    tolerated = plan(0.01, 1.2, 1_000, 10**9)
    assert tolerated.sentence("slow answers") == (
        "This guard tolerates a 1.2-fold rise of slow answers (1 % to 1.2 %): up to 1.25-fold is allowed."
    )


@pytest.mark.parametrize(
    ("requests", "words"),
    [
        (
            1_500,
            "cannot detect a 3-fold rise of errors (1 % to 3 %) at your traffic: that takes about 9,100 requests, ",
        ),
        (10_000, "may miss a 3-fold rise of errors (1 % to 3 %) at your traffic"),
        (40_000, "detects a 3-fold rise of errors (1 % to 3 %) after about 9,100 requests, in 99 of 100 cases within"),
    ],
)
def test_a_step_says_what_it_can_and_cannot_do(requests: int, words: str) -> None:
    planned = plan(0.01, 3, 1_000, requests)
    assert planned.sentence("errors").startswith(f"This step {words}")
    assert planned.can_detect is ("detects" in words)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"base_rate": 0.0}, "a base rate lies above 0"),
        ({"base_rate": 0.4}, "is no rate"),
        ({"weight_bp": 0}, "compares no two arms"),
        ({"weight_bp": 10_000}, "compares no two arms"),
        ({"concentration": 0.0}, "a guard needs"),
        ({"rho": 0.5}, "a guard needs"),
        ({"line_e": 1.0}, "a guard needs"),
    ],
)
def test_a_question_without_an_answer_is_refused(wrong: dict[str, float], words: str) -> None:
    question = {"base_rate": 0.01, "ratio": 3.0, "weight_bp": 1_000, "rho": 1.25, "line_e": 400.0, **wrong}
    with pytest.raises(ValueError, match=words):
        Regression(**question)  # type: ignore[arg-type]  # one wrong number at a time


def test_walks_without_an_end_have_no_number_of_requests() -> None:
    still = BrownianCrossing(6.0, 0.0, 1.0)
    assert undetected(still, None, 10**12) == 1
    assert requests_until(still, None, 0.5) is None
    assert still.expected == float("inf")
    # Every request bad: requests are bad events.
    always = ExactCrossing((1.0, 1.0, 0.25, 0.0), 1.0)
    assert [undetected(always, None, requests) for requests in (0, 1, 2, 3, 9)] == [1, 1, 0.25, 0, 0]


def test_a_rate_just_above_its_floor_is_told_as_too_close_to_it() -> None:
    found = detectability(Regression(0.0017, 3.0, 5_000, 1.25, 100, 0.005), 1_000)
    assert (found.can_detect, found.requests_median) == (False, None)
    assert "too close to its floor of 0.5 %" in found.sentence("errors")
