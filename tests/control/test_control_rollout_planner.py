"""What is said of a rollout before it starts: of little traffic that nothing can be said."""

import msgspec
import pytest

from lineclear.control.rollouts.baseline import SAMPLE_MIN, Baseline
from lineclear.control.rollouts.planner import route_plan
from lineclear.domain.rollout import SECOND_US, Course, Step, StepKind, WatchedGuard
from lineclear.domain.signals import Guard

COURSE = Course(
    "careful",
    (Step(StepKind.WEIGHT, 1_000, 3_600 * SECOND_US, 200, 86_400 * SECOND_US),),
    (WatchedGuard(Guard.ERROR, 1.25, 0.005),),
    0.01,
    20.0,
    300,
)


def stable(requests: int, failed: int = 0) -> Baseline:
    return Baseline(requests, failed, (), (), requests * SECOND_US)


@pytest.mark.parametrize("requests", [0, 3, SAMPLE_MIN - 1])
def test_little_traffic_is_no_ground_for_a_plan(requests: int) -> None:
    (step,) = route_plan(COURSE, "live", "chat", stable(requests)).steps
    had = f"only {requests}" if requests else "no"
    assert step.sentence == f"This step cannot be planned: stable had {had} requests in the last 7 days."
    assert not step.can_detect


def test_a_rate_never_seen_is_guessed_from_above_and_compared_with_three_times_as_much() -> None:
    (step,) = route_plan(COURSE, "live", "chat", stable(10_000)).steps
    assert "a 3-fold rise of errors (0.03 % to 0.09 %)" in step.sentence


def test_only_steps_that_compare_arms_are_planned() -> None:
    gate, approval = Step(StepKind.EVAL, 0), Step(StepKind.APPROVAL, 1_000)
    course = msgspec.structs.replace(COURSE, steps=(gate, *COURSE.steps, approval))
    assert [step.step for step in route_plan(course, "live", "chat", stable(10_000)).steps] == [2]
