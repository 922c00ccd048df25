"""What is said of a rollout before it starts: figures that a hand can check, and the word "cannot" where it is true."""

import pytest

from lineclear.control.rollouts.baseline import SAMPLE_MIN, Baseline
from lineclear.control.rollouts.planner import route_plan, step_seconds
from lineclear.domain.rollout import Course, Step, StepKind, WatchedGuard
from lineclear.domain.signals import Guard

S = 1_000_000
WEIGHT = Step(StepKind.WEIGHT, 1_000, bake_us=3_600 * S, requests_min=200, wait_max_us=86_400 * S)
COURSE = Course(
    "careful",
    (WEIGHT, Step(StepKind.APPROVAL, 1_000), Step(StepKind.HOLDBACK, 9_500, bake_us=86_400 * S)),
    (
        WatchedGuard(Guard.ERROR, 1.25, 0.005),
        WatchedGuard(Guard.SLOW, 1.25, 0.005),
        WatchedGuard(Guard.COST, 1.1, None),
    ),
    alpha=0.01,
    hold_at=20.0,
    lease_s=300,
)


def stable(requests: int, failed: int, hours: float) -> Baseline:
    return Baseline(requests, failed, (), (), max(1, int(hours * 3_600 * S)))


def test_each_step_of_weight_is_planned_for_each_guard_that_counts() -> None:
    plan = route_plan(COURSE, "live", "chat", stable(10_000, 100, 1.0))
    assert (plan.requests_per_hour, plan.error_rate, plan.sample) == (10_000.0, 0.01, 10_000)
    assert plan.hours == 25.0
    assert [(one.step, one.percent, one.guard) for one in plan.steps] == [
        (1, 10.0, "error"),
        (1, 10.0, "slow"),
        (3, 95.0, "error"),
        (3, 95.0, "slow"),
    ]
    # release-governance §2.2: 1 % to 3 % takes a median of 9,100 requests at 10 % (for three guards a little less).
    first = plan.steps[0]
    assert first.requests == 10_000
    assert not first.can_detect
    assert "errors" in first.sentence
    assert plan.steps[1].can_detect, plan.steps[1].sentence


def test_a_quiet_route_is_told_that_it_cannot_find_out() -> None:
    plan = route_plan(COURSE, "live", "chat", stable(240, 0, 24.0))
    assert plan.steps[0].sentence.startswith("This step cannot detect")
    # Without a failure seen, 3/n is assumed. 10 requests an hour give the candidate one, so 200 take the most.
    assert plan.hours == pytest.approx(24 + 24)
    assert not any(one.can_detect for one in plan.steps if one.guard == "error" and one.step == 1)


def test_without_traffic_there_is_nothing_to_plan() -> None:
    plan = route_plan(COURSE, "live", "chat", stable(0, 0, 0.0))
    assert {one.sentence for one in plan.steps if one.guard == "error"} == {
        "This step cannot be planned: stable had no requests in the last 7 days."
    }
    assert not any(one.can_detect for one in plan.steps)
    assert plan.error_rate == 0.0


@pytest.mark.parametrize(
    ("per_second", "seconds"),
    [(1.0, 3_600.0), (0.1, 20_000.0), (0.001, 86_400.0), (0.0, 86_400.0)],
)
def test_a_step_takes_its_bake_time_or_as_long_as_its_requests_need(per_second: float, seconds: float) -> None:
    assert step_seconds(WEIGHT, per_second) == seconds


def test_a_quantile_is_frozen_of_enough_requests_only() -> None:
    few = Baseline(SAMPLE_MIN - 1, 0, range(1, SAMPLE_MIN), range(1, SAMPLE_MIN), 1)
    assert (few.slow_us, few.cost_cap_nano_usd) == (None, None)
    enough = Baseline(SAMPLE_MIN, 0, range(1, SAMPLE_MIN + 1), [0] * SAMPLE_MIN, 1)
    assert (enough.slow_us, enough.cost_cap_nano_usd) == (190, None)


@pytest.mark.parametrize(
    ("costs", "cap"),
    [([1_000] * SAMPLE_MIN, 4_000), ([1_000] * (SAMPLE_MIN - 10) + [9_000] * 10, 9_000), ([0] * SAMPLE_MIN, None)],
)
def test_costs_are_cut_where_a_dearer_candidate_still_shows(costs: list[int], cap: int | None) -> None:
    assert Baseline(SAMPLE_MIN, 0, (), costs, 1).cost_cap_nano_usd == cap
