"""What each step of a rollout would find out at a route's own traffic, said before it starts.

In: a course, what stable did lately. Out: a sentence for each guard and step. Source: release-governance §2.2.
"""

from dataclasses import dataclass
from math import ceil
from typing import Final

from lineclear.control.rollouts.baseline import SAMPLE_DAYS, SAMPLE_MIN, Baseline
from lineclear.domain.detectability import Regression, detectability
from lineclear.domain.rollout import Course, Step, StepKind
from lineclear.domain.signals import Guard

RATIO: Final = 3.0
"""The rise that is looked for: three times as bad."""
SLOW_SHARE: Final = 0.05
"""By how it is frozen, one in twenty of stable's requests is slow."""
UNSEEN: Final = 3.0
"""Of a rate never seen in n requests, 3/n is a fair upper guess."""
DEALT: Final = frozenset({StepKind.WEIGHT, StepKind.HOLDBACK})
"""Steps in which both arms have traffic of their own to compare."""
WORDS: Final = {Guard.ERROR: "errors", Guard.SLOW: "slow answers"}


@dataclass(frozen=True)
class StepPlan:
    """What one step finds of one guard's regression."""

    step: int
    """From 1."""
    percent: float
    guard: str
    requests: int
    """What the step will see, both arms."""
    can_detect: bool
    sentence: str


@dataclass(frozen=True)
class RoutePlan:
    """A rollout as a route's traffic would carry it."""

    environment: str
    route: str
    rollout: str
    requests_per_hour: float
    sample: int
    """Requests that this rests on."""
    error_rate: float
    hours: float
    """How long it takes at least, approvals not counted."""
    steps: list[StepPlan]


def route_plan(course: Course, environment: str, route: str, stable: Baseline) -> RoutePlan:
    """What each step finds out."""
    rate = (stable.failed or UNSEEN) / stable.requests if stable.requests else 0.0
    seconds = {at: step_seconds(step, stable.per_second) for at, step in enumerate(course.steps)}
    plans = [
        _plan(course, at, guard, base, round(seconds[at] * stable.per_second), stable.requests)
        for at, step in enumerate(course.steps)
        if step.kind in DEALT
        for guard, base in ((Guard.ERROR, rate), (Guard.SLOW, SLOW_SHARE))
        if any(item.guard is guard for item in course.guards)
    ]
    return RoutePlan(
        environment,
        route,
        course.name,
        round(stable.per_second * 3600, 1),
        stable.requests,
        round(stable.failed / stable.requests, 6) if stable.requests else 0.0,
        round(sum(seconds.values()) / 3600, 3),
        plans,
    )


def step_seconds(step: Step, per_second: float) -> float:
    """How long a step takes at this traffic: its bake time, or longer until the candidate had its requests."""
    if not step.requests_min or not step.weight_bp:
        return step.bake_us / 1e6
    share = per_second * step.weight_bp / 10_000
    needed = ceil(step.requests_min / share) if share else step.wait_max_us / 1e6
    return max(step.bake_us / 1e6, min(needed, step.wait_max_us / 1e6))


def _plan(course: Course, at: int, guard: Guard, base: float, requests: int, sample: int) -> StepPlan:
    step = course.steps[at]
    watched = next(item for item in course.guards if item.guard is guard)
    share = step.weight_bp / 100
    if sample < SAMPLE_MIN:
        # Of so few neither the traffic nor the rate of errors is known; a guess would be told as if it were.
        had = f"only {sample}" if sample else "no"
        nothing = f"This step cannot be planned: stable had {had} requests in the last {SAMPLE_DAYS} days."
        return StepPlan(at + 1, share, guard.value, requests, False, nothing)
    found = detectability(
        Regression(base, min(RATIO, 1 / base), step.weight_bp, watched.ratio, course.promise.rollback_e, watched.floor),
        requests,
    )
    return StepPlan(at + 1, share, guard.value, requests, found.can_detect, found.sentence(WORDS[guard]))
