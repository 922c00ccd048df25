"""A rollout as the database has it: made from its manifest, begun, moved and ended inside the caller's transaction.

In: a transaction. Out: rows, the audit trail of every transition. Decides nothing: `domain.rollout` does.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import msgspec
from sqlalchemy import Connection

from lineclear.base.clock import Clock
from lineclear.base.ids import random_id
from lineclear.control import audit
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.releases import release_id
from lineclear.domain import rollout as rules
from lineclear.domain.evals import EvalSpec, spec_of_eval, spec_of_replay
from lineclear.domain.evidence import WEIGHT_BP_MAX
from lineclear.domain.floor import FLOOR_DEFAULT
from lineclear.domain.manifest import Eval, Rollout, RolloutCostGuard, RolloutGuard, RolloutReviewGuard, ShadowStep
from lineclear.domain.money import nano_usd
from lineclear.domain.reviews import REVIEW_RHO_DEFAULT
from lineclear.domain.rollout import Course, Hold, Progress, RolloutState, Step, StepKind, WatchedGuard
from lineclear.domain.shadow import ShadowSpec
from lineclear.domain.signals import COST_RHO_DEFAULT, Guard, SignalPlan
from lineclear.store import rollout_rows
from lineclear.store.rollout_rows import RolloutRow

ROLLOUT_PREFIX: Final = "ro_"
RATIO_DEFAULTS: Final = {
    Guard.ERROR: 1.25,
    Guard.SLOW: 1.25,
    Guard.COST: COST_RHO_DEFAULT,
    Guard.CONTRACT: 1.5,
    Guard.REVIEW: REVIEW_RHO_DEFAULT,
}
"""Source: release-governance §2.1."""
SECOND_US: Final = 1_000_000
PLATFORM_ACTOR: Final = "rollout"
"""Who moves a rollout by itself."""

_ACTIONS: Final = {
    RolloutState.COMPLETED: AuditAction.ROLLOUT_COMPLETED,
    RolloutState.ROLLED_BACK: AuditAction.ROLLOUT_ROLLED_BACK,
    RolloutState.CANCELLED: AuditAction.ROLLOUT_CANCELLED,
}


@dataclass(frozen=True)
class Stored:
    """One rollout with its JSON read."""

    row: RolloutRow
    course: Course
    progress: Progress
    plan: SignalPlan | None
    """What was frozen before its first step; None until then."""

    @property
    def weight_bp(self) -> int:
        return rules.weight_bp(self.course, self.progress)

    @property
    def object(self) -> str:
        """As the audit trail names it."""
        return f"rollout/{self.row.id}"


def read(row: RolloutRow) -> Stored:
    """A row, understood."""
    return Stored(
        row,
        msgspec.json.decode(row.course, type=Course),
        msgspec.json.decode(row.progress, type=Progress),
        msgspec.json.decode(row.plan, type=SignalPlan) if row.plan else None,
    )


def course_of(rollout: Rollout, evals: Mapping[str, Eval]) -> Course:
    """What a manifest says, with every default filled in, and with what the Evals say that it names."""
    steps: list[Step] = []
    share = 0
    for step in rollout.steps:
        if step.weight is not None:
            share = round(step.weight.percent * 100)
            steps.append(
                Step(
                    StepKind.WEIGHT,
                    share,
                    _us(step.weight.bake_s),
                    step.weight.min_requests,
                    _us(step.weight.max_wait_s),
                )
            )
        elif step.holdback is not None:
            share = WEIGHT_BP_MAX - round(step.holdback.percent * 100)
            steps.append(Step(StepKind.HOLDBACK, share, _us(step.holdback.duration_s)))
        elif step.shadow is not None:
            steps.append(_shadow(step.shadow, share))
        elif step.eval is not None:
            steps.append(_gate(StepKind.EVAL, share, spec_of_eval(evals[step.eval])))
        elif step.replay is not None:
            steps.append(_gate(StepKind.REPLAY, share, spec_of_replay(step.replay)))
        else:
            steps.append(Step(StepKind.APPROVAL, share))
    guards = {guard: getattr(rollout.guards, guard.value) for guard in Guard}
    return Course(
        rollout.name,
        tuple(steps),
        tuple(_guard(guard, written) for guard, written in guards.items() if written is not None),
        rollout.alpha,
        rollout.hold_at,
        rollout.lease_s,
    )


def _gate(kind: StepKind, share: int, spec: EvalSpec) -> Step:
    return Step(kind, share, gate=text_of(spec), title=spec.title)


def _shadow(step: ShadowStep, share: int) -> Step:
    spec = ShadowSpec(
        round(step.percent * 100),
        step.min_copies,
        _us(step.max_wait_s),
        nano_usd(step.spend_usd),
        step.margin,
        step.ratio,
        step.alpha,
    )
    return Step(StepKind.SHADOW, share, gate=text_of(spec), title=spec.title)


def _guard(guard: Guard, written: RolloutGuard | RolloutCostGuard | RolloutReviewGuard) -> WatchedGuard:
    ratio = RATIO_DEFAULTS[guard] if written.ratio is None else written.ratio
    if isinstance(written, RolloutCostGuard):
        return WatchedGuard(guard, ratio, None)
    floor = FLOOR_DEFAULT if written.floor is None else written.floor
    return WatchedGuard(guard, ratio, floor, written.min_reviews if isinstance(written, RolloutReviewGuard) else 0)


def _us(seconds: float) -> int:
    return round(seconds * SECOND_US)


@dataclass(frozen=True)
class Beginning:
    """What a rollout is begun with."""

    environment: str
    route: str
    stable: str
    """Digests."""
    candidate: str
    rollout: Rollout
    evals: Mapping[str, Eval]
    """Those that stand, by name."""
    actor: str
    change_id: str
    now_us: int


def begin(tx: Connection, beginning: Beginning) -> AuditEvent:
    """Insert a rollout; one that is open there has to be ended before."""
    course = course_of(beginning.rollout, beginning.evals)
    row = RolloutRow(
        id=random_id(ROLLOUT_PREFIX),
        environment=beginning.environment,
        route=beginning.route,
        stable=beginning.stable,
        candidate=beginning.candidate,
        course=text_of(course),
        plan="",
        progress=text_of(Progress()),
        evidence="",
        is_open=1,
        created_us=beginning.now_us,
        created_by=beginning.actor,
        change_id=beginning.change_id,
        ended_us=0,
        version=1,
    )
    rollout_rows.add_rollout(tx, row)
    return AuditEvent(
        AuditAction.ROLLOUT_STARTED,
        f"rollout/{row.id}",
        before=release_id(row.stable),
        after=release_id(row.candidate),
    )


def put(tx: Connection, was: Stored, progress: Progress, now_us: int, evidence: str = "") -> bool:
    """Write where a rollout stands now.

    Returns:
        False if somebody else moved it meanwhile.
    """
    row = replace(
        was.row,
        progress=text_of(progress),
        plan=text_of(was.plan) if was.plan is not None else "",
        evidence=evidence or was.row.evidence,
        is_open=int(progress.is_open),
        ended_us=0 if progress.is_open else now_us,
        version=was.row.version + 1,
    )
    return rollout_rows.move_rollout(tx, row)


def transition_events(was: Stored, progress: Progress) -> Iterable[AuditEvent]:
    """What the audit trail says of a move; nothing where state, hold and step are the same."""
    before, after = words_of(was.course, was.progress), words_of(was.course, progress)
    if before != after:
        yield AuditEvent(_action(was.progress, progress), was.object, before, after, progress.reason)


def words_of(course: Course, progress: Progress) -> str:
    """State, hold and step in one line."""
    hold = f"({progress.hold.value})" if progress.hold is not Hold.NONE else ""
    share = rules.weight_bp(course, progress) / 100
    step = f" step {progress.step + 1} of {len(course.steps)} at {share:g} %" if progress.is_open else ""
    return f"{progress.state.value}{hold}{step}"


def _action(was: Progress, now: Progress) -> AuditAction:
    if now.state in _ACTIONS:
        return _ACTIONS[now.state]
    if now.state is RolloutState.HELD:
        return AuditAction.ROLLOUT_HELD
    return AuditAction.ROLLOUT_ADVANCED if now.step > was.step else AuditAction.ROLLOUT_RESUMED


def end_open(
    tx: Connection, clock: Clock, deployment: tuple[str, str], progress_of: rules.Ending, actor: str, at_us: int
) -> Stored | None:
    """End the rollout that is open on a deployment, with its line in the audit trail.

    Args:
        tx: the caller's transaction.
        clock: of the audit trail.
        deployment: environment and route.
        progress_of: how it ends.
        actor: who ended it.
        at_us: when.

    Returns:
        What was open; None if nothing was.
    """
    row = rollout_rows.open_rollouts(tx).get(deployment)
    if row is None:
        return None
    was = read(row)
    progress = progress_of(was.progress)
    put(tx, was, progress, at_us)
    audit.record(tx, clock, actor, [*transition_events(was, progress)], at_us=at_us)
    return was


def text_of(value: msgspec.Struct) -> str:
    """A value as JSON."""
    return msgspec.json.encode(value).decode()
