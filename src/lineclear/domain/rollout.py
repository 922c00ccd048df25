"""A rollout as a pure function: what was frozen at its start, where it stands, what evidence and time make of it.

In: a course, its progress, the evidence, the time. Out: the next progress, the candidate's weight, and in words why it
does not go on. No clock and no database; control stores what this returns. Source: design governance §3.
"""

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Final, TypeAlias

import msgspec

from lineclear.domain.evidence import WEIGHT_BP_MAX, Arm, e_value
from lineclear.domain.signals import Guard, RolloutEvidence
from lineclear.domain.verdict import Cause, Decision, GuardEvidence, Promise, Reason, Verdict, decide

SECOND_US: Final = 1_000_000
DATA_LATE_US: Final = 10 * SECOND_US
"""So long may the ledger lag behind before a rollout is held: a worker says once a second that it lives."""


class RolloutState(StrEnum):
    """Where a rollout is; the last three are its ends."""

    PENDING = "pending"
    RUNNING = "running"
    HELD = "held"
    COMPLETED = "completed"
    ROLLED_BACK = "rolled_back"
    CANCELLED = "cancelled"


OPEN_STATES: Final = (RolloutState.PENDING, RolloutState.RUNNING, RolloutState.HELD)


class Hold(StrEnum):
    """Why a rollout is held; its weight stays where it is."""

    NONE = ""
    MANUAL = "manual"
    ANALYSIS = "analysis"
    NO_DATA = "no_data"
    APPROVAL = "approval"
    SPLIT = "srm"
    GATE = "gate"


class StepKind(StrEnum):
    """What a step is."""

    WEIGHT = "weight"
    APPROVAL = "approval"
    HOLDBACK = "holdback"
    SHADOW = "shadow"
    REPLAY = "replay"
    EVAL = "eval"


GATES: Final = frozenset({StepKind.SHADOW, StepKind.REPLAY, StepKind.EVAL})
"""Steps that something is run for; they end with its verdict and with nothing else."""


class GateVerdict(StrEnum):
    """What the run of a gate says."""

    RUNNING = "running"
    PASS = "pass"  # noqa: S105 - a verdict, no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    """Neither is shown: too little was seen, it was cut short, or it broke."""


class GateResult(msgspec.Struct, frozen=True):
    """Where the run of a gate is."""

    verdict: GateVerdict
    words: str
    """How far it is, or what the verdict rests on."""


class Step(msgspec.Struct, frozen=True):
    """One step as it was frozen."""

    kind: StepKind
    weight_bp: int
    """The candidate's share; an approval and a gate keep the share of the step before."""
    bake_us: int = 0
    """How long it lasts at least."""
    requests_min: int = 0
    """Requests that the candidate has to have had at this weight."""
    wait_max_us: int = 0
    """How long it waits for them until it asks a person; 0 = it needs none."""
    gate: str = ""
    """JSON of what a gate runs, as it was when the rollout began; empty for other steps."""
    title: str = ""
    """What a gate runs, in words."""


class WatchedGuard(msgspec.Struct, frozen=True):
    """One guard and what it tolerates."""

    guard: Guard
    ratio: float
    floor: float | None
    reviews_min: int = 0
    """Reviews of the candidate without which no weight step is over; of the guard `review` only."""


class Course(msgspec.Struct, frozen=True):
    """What a rollout is held to from its start to its end, whatever becomes of the manifest."""

    name: str
    steps: tuple[Step, ...]
    guards: tuple[WatchedGuard, ...]
    alpha: float
    hold_at: float
    lease_s: int

    @property
    def promise(self) -> Promise:
        return Promise(len(self.guards), self.alpha, self.hold_at)


class Progress(msgspec.Struct, frozen=True):
    """Where a rollout stands; with its course, evidence and the time all that decides what comes next."""

    state: RolloutState = RolloutState.PENDING
    hold: Hold = Hold.NONE
    step: int = -1
    """Index of the step; -1 before the first."""
    step_since_us: int = 0
    waits_since_us: int = 0
    """Since when it waits for requests: the begin of the step, or when a person resumed it."""
    reason: str = ""
    """In words, why it is where it is."""
    by_guard: bool = False
    """Whether a guard ended it."""
    muted: tuple[str, ...] = ()
    """Guards whose suspicion a person saw and went on; they roll back all the same."""
    attempt: int = 0
    """How often a person had the gate of this step run again."""
    verdict: str = ""
    """Of the gate that holds it; empty while none does."""
    failed: bool = False
    """Whether an attempt at the gate of this step failed: nothing but a pass leads on then."""

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_STATES


Ending: TypeAlias = Callable[[Progress], Progress]
"""How a rollout ends."""


class NotPossible(Exception):
    """An action does not fit the state; the message says why."""


def weight_bp(course: Course, progress: Progress) -> int:
    """The candidate's share of traffic now."""
    if not progress.is_open or progress.step < 0:
        return 0
    return course.steps[progress.step].weight_bp


def awaits_approval(course: Course, progress: Progress) -> bool:
    """Whether the next step takes an approver: its step is one of approval, whatever else holds it there."""
    return progress.is_open and progress.step >= 0 and course.steps[progress.step].kind is StepKind.APPROVAL


def gate_of(course: Course, progress: Progress) -> Step | None:
    """The gate that it stands at; None anywhere else."""
    if not progress.is_open or progress.step < 0:
        return None
    step = course.steps[progress.step]
    return step if step.kind in GATES else None


def gate_run(rollout: str, progress: Progress) -> str:
    """The id of what is run for the gate that it stands at, the same however often it is asked for."""
    return f"{rollout}-{progress.step + 1}-{progress.attempt + 1}"


def gate_failed(progress: Progress) -> bool:
    """Whether it is held by a gate that did not pass: nothing but a person takes it further."""
    return progress.is_open and progress.hold is Hold.GATE


def guard_evidence(course: Course, evidence: RolloutEvidence) -> Iterator[GuardEvidence]:
    """Where each guard stands; one that had nothing to freeze is not among them."""
    for watched in course.guards:
        if watched.guard is Guard.COST:
            found = evidence.cost_evidence()
            if found is not None:
                yield found
            continue
        if watched.guard is Guard.REVIEW:
            if evidence.reviews is not None:
                yield evidence.reviews.evidence()
            continue
        signal = evidence.signal(watched.guard)
        if signal is not None:
            yield signal.evidence(watched.ratio, watched.floor)


def judged(course: Course, evidence: RolloutEvidence) -> Decision:
    """What the evidence asks for."""
    return decide(guard_evidence(course, evidence), evidence.split_log_e, course.promise)


def begun(course: Course, progress: Progress, now_us: int) -> Progress:
    """The first step, once what has to be frozen is frozen."""
    return _entered(course, progress, 0, now_us)


def advanced(
    course: Course,
    progress: Progress,
    evidence: RolloutEvidence | None,
    now_us: int,
    gate: GateResult | None = None,
) -> Progress:
    """What a look makes of it; the same progress if nothing changes. One transition a look.

    `gate` is where the run of the gate is that it stands at; None if nothing is known of one.
    """
    if not progress.is_open or progress.step < 0:
        return progress
    decision = Decision(Verdict.OK) if evidence is None else judged(course, evidence)
    if decision.verdict is Verdict.ROLL_BACK:
        words = f"guard {_first(decision, Cause.WORSE)}"
        return msgspec.structs.replace(rolled_back(progress, words), by_guard=True)
    if progress.hold is Hold.MANUAL:
        return progress
    held = _hold(course, progress, evidence, decision, now_us, gate)
    if held is not None:
        stopped = _held(progress, *held)
        if stopped.hold is Hold.GATE and gate is not None:
            failed = progress.failed or gate.verdict is GateVerdict.FAIL
            return msgspec.structs.replace(stopped, verdict=gate.verdict.value, failed=failed)
        return stopped
    if progress.hold in (Hold.ANALYSIS, Hold.SPLIT, Hold.GATE):
        # It is never taken up again by itself: whoever resumes it says so.
        return progress
    if progress.hold is Hold.NO_DATA:
        return _running(progress, "the data is there again")
    if any(_missing(course, progress, evidence, gate)):
        return progress
    return _entered(course, progress, progress.step + 1, now_us)


def why_not_advancing(
    course: Course,
    progress: Progress,
    evidence: RolloutEvidence | None,
    now_us: int,
    gate: GateResult | None = None,
) -> tuple[str, ...]:
    """Everything that keeps it where it is, for a person; empty if it ended or the next look takes the next step."""
    if not progress.is_open:
        return ()
    if progress.hold is Hold.MANUAL:
        return (progress.reason,)
    if progress.step < 0:
        return ("it has not begun",)
    decision = Decision(Verdict.OK) if evidence is None else judged(course, evidence)
    held = _hold(course, progress, evidence, decision, now_us, gate)
    words = [held[1]] if held is not None else []
    if held is not None and held[0] is Hold.APPROVAL:
        words += filter(None, (_late(progress, evidence, now_us),))
    if held is None and progress.hold in (Hold.ANALYSIS, Hold.SPLIT, Hold.GATE):
        words = [progress.reason]
    return (*words, *_missing(course, progress, evidence, gate))


def paused(progress: Progress, words: str) -> Progress:
    """Held by a person.

    Raises:
        NotPossible: it has ended.
    """
    _demand_open(progress, "paused")
    return _held(progress, Hold.MANUAL, words)


def resumed(course: Course, progress: Progress, evidence: RolloutEvidence | None, words: str, now_us: int) -> Progress:
    """Taken up again by a person, who has seen which guards suspect something.

    Raises:
        NotPossible: it is not held, waits for approval, or its arms are not dealt as they should be.
    """
    _demand_open(progress, "resumed")
    if progress.hold is Hold.NONE:
        raise NotPossible("it is not held")
    if progress.hold is Hold.APPROVAL:
        raise NotPossible("it waits for approval: advance it to give it")
    if progress.hold is Hold.SPLIT:
        raise NotPossible("its arms are not dealt as the weight says, so no evidence of it counts: roll it back")
    if progress.hold is Hold.GATE:
        if progress.verdict != GateVerdict.INCONCLUSIVE:
            raise NotPossible(f"its gate failed: {progress.reason}; run it again or roll it back")
        if progress.failed:
            raise NotPossible(
                f"its gate failed before, and only a pass takes that back: {progress.reason}; "
                "run it again or roll it back"
            )
        # Nothing was shown either way, and a person answers for going on.
        return msgspec.structs.replace(_entered(course, progress, progress.step + 1, now_us), reason=words)
    reasons = () if evidence is None else judged(course, evidence).reasons
    muted = tuple(sorted({*progress.muted, *(reason.guard for reason in reasons if reason.guard)}))
    taken_up = msgspec.structs.replace(progress, muted=muted, waits_since_us=now_us)
    if progress.step < 0:
        return msgspec.structs.replace(taken_up, state=RolloutState.PENDING, hold=Hold.NONE, reason=words)
    if course.steps[progress.step].kind is StepKind.APPROVAL:
        return _held(taken_up, Hold.APPROVAL, APPROVAL_WORDS)
    return _running(taken_up, words)


def stepped(course: Course, progress: Progress, words: str, now_us: int) -> Progress:
    """The next step, because a person says so: an approval, or a bake time cut short.

    Raises:
        NotPossible: it has ended or not begun, or its evidence holds it.
    """
    _demand_open(progress, "advanced")
    if progress.step < 0:
        raise NotPossible("it has not begun")
    if progress.hold in (Hold.ANALYSIS, Hold.SPLIT, Hold.MANUAL):
        raise NotPossible(f"it is held: {progress.reason}; resume it or roll it back first")
    if gate_of(course, progress) is not None:
        raise NotPossible("its step ends with the verdict of what is run for it; nobody advances past that")
    if awaits_approval(course, progress) and progress.hold is not Hold.APPROVAL:
        raise NotPossible(f"its step asks for approval, which is not what it waits for now: {progress.reason}")
    return msgspec.structs.replace(_entered(course, progress, progress.step + 1, now_us), reason=words)


def run_again(course: Course, progress: Progress, words: str, now_us: int) -> Progress:
    """With the gate that holds it run once more, from its beginning.

    Raises:
        NotPossible: no gate holds it.
    """
    _demand_open(progress, "run again")
    if progress.hold is not Hold.GATE:
        raise NotPossible("no gate holds it")
    again = _entered(course, progress, progress.step, now_us)
    failed = progress.failed or progress.verdict == GateVerdict.FAIL
    return msgspec.structs.replace(again, attempt=progress.attempt + 1, failed=failed, reason=words)


def rolled_back(progress: Progress, words: str) -> Progress:
    """Back to stable, whatever state it is in.

    Raises:
        NotPossible: it has ended.
    """
    _demand_open(progress, "rolled back")
    return msgspec.structs.replace(progress, state=RolloutState.ROLLED_BACK, hold=Hold.NONE, reason=words)


def cancelled(progress: Progress, words: str) -> Progress:
    """Ended because something else takes its place.

    Raises:
        NotPossible: it has ended.
    """
    _demand_open(progress, "cancelled")
    return msgspec.structs.replace(progress, state=RolloutState.CANCELLED, hold=Hold.NONE, reason=words)


def evidence_words(log_e: float) -> str:
    """`37 : 1 against`; below 1 there is nothing against the candidate."""
    e = e_value(log_e)
    if e <= 1:
        return "none against"
    shown = f"{e:.1e}" if e >= 1e6 else f"{e:,.0f}" if e >= 10 else f"{e:.1f}"
    return f"{shown} : 1 against"


APPROVAL_WORDS: Final = "it waits for approval by somebody else than who started it: `lineclear rollouts advance`"


def _hold(
    course: Course,
    progress: Progress,
    evidence: RolloutEvidence | None,
    decision: Decision,
    now_us: int,
    gate: GateResult | None,
) -> tuple[Hold, str] | None:
    """What holds it at this look, evidence first."""
    for reason in decision.reasons:
        if reason.cause is Cause.SPLIT_MISMATCH:
            return Hold.SPLIT, f"the arms are not dealt as the weight says: {_line(reason)}"
        if reason.guard not in progress.muted:
            return Hold.ANALYSIS, f"guard {_line(reason)}"
    step = course.steps[progress.step]
    if step.kind is StepKind.APPROVAL:
        # It waits for a person whatever is known of it meanwhile; they are told what is not.
        return Hold.APPROVAL, APPROVAL_WORDS
    if step.kind in GATES and gate is not None and gate.verdict in (GateVerdict.FAIL, GateVerdict.INCONCLUSIVE):
        return Hold.GATE, f"{step.title}: {gate.verdict.value}: {gate.words}"
    # Before the first weight nobody is exposed, so there is nothing to be late.
    late = _late(progress, evidence, now_us) if step.weight_bp else ""
    if late:
        return Hold.NO_DATA, late
    elsewhere = _of_other_release(step, evidence)
    if elsewhere:
        return Hold.NO_DATA, elsewhere
    if step.wait_max_us and now_us - progress.waits_since_us > step.wait_max_us:
        lacks = " and ".join(_lacks(course, step, evidence))
        waited_s = (now_us - progress.waits_since_us) // SECOND_US
        if lacks:
            return Hold.NO_DATA, f"the candidate had {lacks} in {waited_s} s: resume to wait on, or advance"
    return None


def _of_other_release(step: Step, evidence: RolloutEvidence | None) -> str:
    """Why there is traffic and no evidence; empty if there is no such reason."""
    if evidence is None or not step.weight_bp:
        return ""
    counted = sum(evidence.requests.total(arm) for arm in Arm)
    if evidence.other_release <= counted:
        return ""
    return (
        f"{evidence.other_release} requests say another release than their arm's and only {counted} count: "
        "the app reads its configuration of another release"
    )


def _late(progress: Progress, evidence: RolloutEvidence | None, now_us: int) -> str:
    """Why the data is not whole; empty if it is, or may still come."""
    if evidence is not None and evidence.lost:
        return f"{evidence.lost} of its requests are in the ledger no more, so the evidence is not whole"
    if evidence is not None and evidence.is_full:
        return "it has more users than are kept apart, so the evidence has stopped growing"
    known_us = progress.step_since_us
    if evidence is not None and evidence.watermark_us is not None:
        known_us = max(evidence.watermark_us, known_us)
    if now_us - known_us <= DATA_LATE_US:
        return ""
    silent = ", ".join(evidence.missing) if evidence is not None else ""
    return f"what happened in the last {(now_us - known_us) // SECOND_US} s is not known" + (
        f": nothing is heard of {silent}" if silent else ""
    )


def _missing(
    course: Course, progress: Progress, evidence: RolloutEvidence | None, gate: GateResult | None
) -> Iterator[str]:
    """What the step still needs."""
    step = course.steps[progress.step]
    if step.kind is StepKind.APPROVAL:
        return
    if step.kind in GATES:
        if gate is None or gate.verdict is GateVerdict.RUNNING:
            yield f"{step.title}: {'it has not begun' if gate is None else gate.words}"
        return
    if evidence is None or evidence.watermark_us is None:
        yield "nothing is known of its requests yet"
        return
    if evidence.missing:
        yield f"nothing is heard of {', '.join(evidence.missing)}"
    left_us = progress.step_since_us + step.bake_us - evidence.watermark_us
    if left_us > 0:
        yield f"{step.kind.value} step {progress.step + 1} lasts another {-(-left_us // SECOND_US)} s"
    for lack in _lacks(course, step, evidence):
        yield f"the candidate had {lack}"


def _lacks(course: Course, step: Step, evidence: RolloutEvidence | None) -> Iterator[str]:
    """What the candidate has had too little of."""
    seen = _candidate_requests(step, evidence)
    if seen < step.requests_min:
        yield f"{seen} of {step.requests_min} requests at this weight"
    wanted = max((watched.reviews_min for watched in course.guards), default=0)
    if step.kind is StepKind.WEIGHT and wanted:
        said = 0 if evidence is None or evidence.reviews is None else evidence.reviews.count(Arm.CANDIDATE)
        if said < wanted:
            yield f"{said} of {wanted} reviews"


def _candidate_requests(step: Step, evidence: RolloutEvidence | None) -> int:
    count = None if evidence is None else evidence.requests.by_weight_bp.get(step.weight_bp)
    return 0 if count is None else count.candidate


def _entered(course: Course, progress: Progress, step: int, now_us: int) -> Progress:
    if step >= len(course.steps):
        return msgspec.structs.replace(
            progress, state=RolloutState.COMPLETED, hold=Hold.NONE, reason="every step was passed"
        )
    entered = msgspec.structs.replace(
        progress,
        state=RolloutState.RUNNING,
        hold=Hold.NONE,
        step=step,
        step_since_us=now_us,
        waits_since_us=now_us,
        attempt=0,
        verdict="",
        failed=False,
        reason=f"step {step + 1} of {len(course.steps)}: {course.steps[step].weight_bp / 100:g} %",
    )
    if course.steps[step].kind is StepKind.APPROVAL:
        return _held(entered, Hold.APPROVAL, APPROVAL_WORDS)
    return entered


def _held(progress: Progress, hold: Hold, words: str) -> Progress:
    if progress.state is RolloutState.HELD and progress.hold is hold:
        return progress
    return msgspec.structs.replace(progress, state=RolloutState.HELD, hold=hold, reason=words, verdict="")


def _running(progress: Progress, words: str) -> Progress:
    return msgspec.structs.replace(progress, state=RolloutState.RUNNING, hold=Hold.NONE, reason=words)


def _demand_open(progress: Progress, what: str) -> None:
    if not progress.is_open:
        raise NotPossible(f"it is {progress.state.value} and cannot be {what}")


def _first(decision: Decision, cause: Cause) -> str:
    return next(_line(reason) for reason in decision.reasons if reason.cause is cause)


def _line(reason: Reason) -> str:
    words = {
        Cause.WORSE: "the candidate is worse",
        Cause.BELOW_FLOOR: "the candidate is worse, but it is not shown that the rate matters",
        Cause.SUSPECTED: "the candidate may be worse",
        Cause.SPLIT_MISMATCH: "mismatch",
    }[reason.cause]
    shown = f"{reason.e:.1e}" if reason.e >= WEIGHT_BP_MAX * 100 else f"{reason.e:,.0f}"
    return f"{reason.guard or 'split'}: {words}, evidence {shown} : 1 (line {reason.line_e:,.0f})"
