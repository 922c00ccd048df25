"""What a rollout's fields must be on their own: rising shares, times, what its guards tolerate.

In: one Rollout. Out: (path, code, message) per mistake. Pure.
"""

from collections.abc import Iterator
from dataclasses import fields

from lineclear.config.manifest_dates import Mistake
from lineclear.config.yaml_tree import PlainPath
from lineclear.domain.manifest import (
    HoldbackStep,
    Rollout,
    RolloutCostGuard,
    RolloutGuard,
    RolloutReviewGuard,
    RolloutStep,
    ShadowStep,
    WeightStep,
)
from lineclear.domain.money import nano_usd

IMMEDIATE = "immediate"
"""How a route's change goes without a Rollout: at once, for everybody."""
STEPS_MAX = 20
PERCENT_MIN = 0.01
PERCENT_MAX = 99.0
HOLDBACK_PERCENT_MAX = 50.0
STEP_S_MAX = 30 * 86_400.0
ALPHA_MIN = 0.0001
ALPHA_MAX = 0.2
HOLD_AT_MIN = 2.0
LEASE_S_MIN = 5
"""Control renews the lease once a second; below this one late renewal would take the candidate out."""
LEASE_S_MAX = 86_400
RATIO_MAX = 100.0
FLOOR_MAX = 0.5
"""From 5/6 on no bet on a higher rate is left; half of all requests is more than anybody tolerates."""
REQUESTS_MAX = 1_000_000_000
MARGIN_MIN = 0.001
MARGIN_MAX = 0.5


def check_rollout(rollout: Rollout) -> Iterator[Mistake]:
    """Every mistake of one rollout but its name's."""
    yield from _steps(rollout)
    guards = {field.name: getattr(rollout.guards, field.name) for field in fields(rollout.guards)}
    if not any(guards.values()):
        yield ("guards",), "invalid_value", f"at least one guard is needed: {', '.join(guards)}"
    for name, guard in guards.items():
        if guard is not None:
            yield from _guard(name, guard)
    yield from _within(rollout.alpha, ALPHA_MIN, ALPHA_MAX, ("alpha",))
    yield from _within(rollout.hold_at, HOLD_AT_MIN, 1e9, ("hold_at",))
    yield from _within(rollout.lease_s, LEASE_S_MIN, LEASE_S_MAX, ("lease_s",))


def _steps(rollout: Rollout) -> Iterator[Mistake]:
    if not 1 <= len(rollout.steps) <= STEPS_MAX:
        yield ("steps",), "invalid_value", f"from 1 to {STEPS_MAX} steps are needed"
    if rollout.steps and not any(step.weight or step.holdback for step in rollout.steps):
        yield ("steps",), "invalid_value", "at least one step has to give the candidate traffic: `weight`"
    before = 0.0
    for at, step in enumerate(rollout.steps):
        path: PlainPath = ("steps", at)
        given = (step.shadow, step.eval, step.replay, step.weight, step.holdback)
        if sum(one is not None for one in given) + step.approval != 1:
            kinds = "`shadow`, `eval`, `replay`, `weight`, `approval: true`, `holdback`"
            yield path, "invalid_value", f"a step is one of {kinds}"
            continue
        if step.shadow is not None:
            yield from _shadow(step.shadow, (*path, "shadow"))
        yield from _step(step, path)
        if step.holdback is not None and at + 1 < len(rollout.steps):
            yield (*path, "holdback"), "invalid_value", "the holdback is the last step"
        share = step_percent(step)
        if share is not None:
            if 0 < before >= share:
                name = "weight" if step.weight is not None else "holdback"
                message = f"gives the candidate {share:g} %; the step before gives {before:g} %, and shares only rise"
                yield (*path, name, "percent"), "invalid_value", message
            before = share


def step_percent(step: RolloutStep) -> float | None:
    """The candidate's share in a step; None where the step does not change it."""
    if step.weight is not None:
        return step.weight.percent
    return None if step.holdback is None else 100.0 - step.holdback.percent


def _step(step: RolloutStep, path: PlainPath) -> Iterator[Mistake]:
    match step.weight or step.holdback:
        case WeightStep() as weight:
            root = (*path, "weight")
            yield from _percent(weight.percent, PERCENT_MAX, (*root, "percent"))
            yield from _within(weight.bake_s, 0, STEP_S_MAX, (*root, "bake_s"))
            yield from _within(weight.min_requests, 0, REQUESTS_MAX, (*root, "min_requests"))
            yield from _within(weight.max_wait_s, 1, STEP_S_MAX, (*root, "max_wait_s"))
        case HoldbackStep() as holdback:
            root = (*path, "holdback")
            yield from _percent(holdback.percent, HOLDBACK_PERCENT_MAX, (*root, "percent"))
            yield from _within(holdback.duration_s, 0, STEP_S_MAX, (*root, "duration_s"))
        case None:
            return


def _shadow(shadow: ShadowStep, root: PlainPath) -> Iterator[Mistake]:
    yield from _percent(shadow.percent, 100.0, (*root, "percent"))
    yield from _within(shadow.min_copies, 1, REQUESTS_MAX, (*root, "min_copies"))
    yield from _within(shadow.max_wait_s, 1, STEP_S_MAX, (*root, "max_wait_s"))
    yield from _within(shadow.margin, MARGIN_MIN, MARGIN_MAX, (*root, "margin"))
    yield from _within(shadow.ratio, 1, RATIO_MAX, (*root, "ratio"))
    yield from _within(shadow.alpha, ALPHA_MIN, ALPHA_MAX, (*root, "alpha"))
    try:
        cap = nano_usd(shadow.spend_usd)
    except ValueError as error:
        yield (*root, "spend_usd"), "invalid_value", str(error)
    else:
        if cap <= 0:
            yield (*root, "spend_usd"), "invalid_value", "must be above 0"


def _percent(percent: float, highest: float, path: PlainPath) -> Iterator[Mistake]:
    yield from _within(percent, PERCENT_MIN, highest, path)
    if abs(percent * 100 - round(percent * 100)) > 1e-6:
        yield path, "invalid_value", "has at most two digits after the point"


def _guard(name: str, guard: RolloutGuard | RolloutCostGuard | RolloutReviewGuard) -> Iterator[Mistake]:
    if guard.ratio is not None:
        yield from _within(guard.ratio, 1, RATIO_MAX, ("guards", name, "ratio"))
    if not isinstance(guard, RolloutCostGuard) and guard.floor is not None and not 0 < guard.floor <= FLOOR_MAX:
        yield ("guards", name, "floor"), "invalid_value", f"must be above 0 and at most {FLOOR_MAX}"
    if isinstance(guard, RolloutReviewGuard):
        yield from _within(guard.min_reviews, 0, REQUESTS_MAX, ("guards", name, "min_reviews"))


def _within(value: float, low: float, high: float, path: PlainPath) -> Iterator[Mistake]:
    if not low <= value <= high:
        yield path, "invalid_value", f"must be from {low:g} to {high:,.12g}"
