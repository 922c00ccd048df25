"""A rollout as the admin API tells it: state, steps, each guard with its evidence, and why it does not go on.

In: what stands. Out: plain values, times in ISO 8601 UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lineclear.control.releases import release_id
from lineclear.control.rollouts.gates import run_of
from lineclear.control.rollouts.service import Standing
from lineclear.domain import rollout as rules
from lineclear.domain.evidence import WEIGHT_BP_MAX, Arm, e_value
from lineclear.domain.reviews import DISMISSED, ReviewOutcome
from lineclear.domain.rollout import Course, Progress, RolloutState, Step
from lineclear.domain.signals import Guard, RolloutEvidence
from lineclear.domain.verdict import judge
from lineclear.observe.period import time_text

E_SHOWN_MAX: Final = 1e12
"""Larger evidence is shown as this: no decision rests on more."""


@dataclass(frozen=True)
class StepFacts:
    """One step."""

    number: int
    kind: str
    percent: float
    """The candidate's share."""
    seconds: float
    """How long it lasts at least."""
    min_requests: int
    state: str
    """done | now | to come; of a rollout that did not complete also: ended here | never begun"""
    title: str
    """What a gate runs; empty for other steps."""


@dataclass(frozen=True)
class GateFacts:
    """The gate that a rollout stands at."""

    run: str
    kind: str
    title: str
    verdict: str
    """running | pass | fail | inconclusive; empty while nothing is known of its run."""
    words: str


@dataclass(frozen=True)
class GuardFacts:
    """One guard and what speaks against the candidate."""

    guard: str
    ratio: float
    """How much worse the candidate may be."""
    floor: float | None
    evidence: str
    """`37 : 1 against`"""
    e: float
    hold_at: float
    roll_back_at: float
    stable_bad: int | None
    candidate_bad: int | None
    """None for cost, which is no count, and for a guard without a frozen value. Of reviews: rejected and overridden."""
    floor_e: float | None
    """Evidence that the candidate's rate lies above the floor; a rollback needs both."""
    verdict: str
    """What it asks for now; empty if nothing. A guard that watches nothing says so."""


@dataclass(frozen=True)
class ReviewFacts:
    """What people said of each arm's outputs: reviewed requests by approved, edited, rejected, overridden."""

    stable: dict[str, int]
    candidate: dict[str, int]
    stable_share: float | None
    """Of its requests, how many were reviewed: what was not reviewed is not approved. None = it had none."""
    candidate_share: float | None


@dataclass(frozen=True)
class RolloutFacts:
    """One rollout."""

    id: str
    name: str
    environment: str
    route: str
    state: str
    hold: str
    percent: float
    """The candidate's share of traffic now."""
    step: int
    """From 1; 0 before the first."""
    steps: int
    stable: str
    candidate: str
    reason: str
    by_guard: bool
    """Whether a guard ended it."""
    started_at: str
    started_by: str
    change: str
    ended_at: str


@dataclass(frozen=True)
class RolloutDetail:
    """One rollout with everything about it."""

    rollout: RolloutFacts
    why_not_advancing: list[str]
    course: list[StepFacts]
    guards: list[GuardFacts]
    stable_requests: int
    candidate_requests: int
    split_evidence: str
    """Against "the arms are dealt as the weight says"."""
    unmonitored: int
    """Requests that went to stable because no control was seen."""
    other_release: int
    """Requests whose app said another release than its arm's: they count for neither."""
    slow_after_ms: float | None
    cost_cap_usd: float | None
    known_until: str
    """Everything before this is in it; empty if nothing is known yet."""
    silent: list[str]
    gate: GateFacts | None
    """None where it does not stand at a gate."""
    reviews: ReviewFacts | None
    """None where they are not watched."""


def facts_of(standing: Standing) -> RolloutFacts:
    """The line of a list."""
    one = standing.stored
    row, progress = one.row, one.progress
    return RolloutFacts(
        row.id,
        one.course.name,
        row.environment,
        row.route,
        progress.state.value,
        progress.hold.value,
        one.weight_bp / 100,
        progress.step + 1,
        len(one.course.steps),
        release_id(row.stable),
        release_id(row.candidate),
        progress.reason,
        progress.by_guard,
        time_text(row.created_us),
        row.created_by,
        row.change_id,
        time_text(row.ended_us) if row.ended_us else "",
    )


def detail_of(standing: Standing) -> RolloutDetail:
    """Everything."""
    one, evidence = standing.stored, standing.evidence
    plan = one.plan
    known_us = evidence.watermark_us if evidence is not None else None
    return RolloutDetail(
        facts_of(standing),
        list(standing.why),
        [_step(one.course.steps[at], at, one.progress) for at in range(len(one.course.steps))],
        guards_of(one.course, evidence),
        _requests(evidence, Arm.STABLE),
        _requests(evidence, Arm.CANDIDATE),
        rules.evidence_words(evidence.split_log_e) if evidence is not None else "",
        evidence.unmonitored if evidence is not None else 0,
        evidence.other_release if evidence is not None else 0,
        None if plan is None or plan.slow_us is None else plan.slow_us / 1000,
        None if plan is None or plan.cost_cap_nano_usd is None else plan.cost_cap_nano_usd / 1e9,
        time_text(known_us) if known_us else "",
        list(evidence.missing) if evidence is not None else [],
        _gate(standing),
        _reviews(evidence),
    )


def _reviews(evidence: RolloutEvidence | None) -> ReviewFacts | None:
    if evidence is None or evidence.reviews is None:
        return None
    said = evidence.reviews
    shares = [
        round(said.count(arm) / requests, 6) if (requests := evidence.requests.total(arm)) else None
        for arm in (Arm.STABLE, Arm.CANDIDATE)
    ]
    return ReviewFacts(_said(said.stable), _said(said.candidate), *shares)


def _said(counts: Mapping[ReviewOutcome, int]) -> dict[str, int]:
    return {outcome.value: counts.get(outcome, 0) for outcome in ReviewOutcome}


def _gate(standing: Standing) -> GateFacts | None:
    one, found = standing.stored, standing.gate
    step, run = rules.gate_of(one.course, one.progress), run_of(one)
    if step is None or run is None:
        return None
    verdict, words = ("", "") if found is None else (found.verdict.value, found.words)
    return GateFacts(run.id, step.kind.value, step.title, verdict, words)


def guards_of(course: Course, evidence: RolloutEvidence | None) -> list[GuardFacts]:
    """Each guard, with what it is watching for."""
    promise = course.promise
    found = {} if evidence is None else {one.guard: one for one in rules.guard_evidence(course, evidence)}
    facts = []
    for watched in course.guards:
        known = found.get(watched.guard.value)
        reason = None if known is None else judge(known, promise)
        verdict = "" if reason is None else reason.cause.value
        bad = _bad(watched.guard, evidence)
        facts.append(
            GuardFacts(
                watched.guard.value,
                watched.ratio,
                watched.floor,
                "nothing is known yet" if known is None else rules.evidence_words(known.log_e),
                0.0 if known is None else _shown(known.log_e),
                promise.hold_e,
                promise.rollback_e,
                *bad,
                None if known is None or known.floor_log_e is None else _shown(known.floor_log_e),
                "not watched: nothing was frozen" if evidence is not None and known is None else verdict,
            )
        )
    return facts


def _bad(guard: Guard, evidence: RolloutEvidence | None) -> tuple[int | None, int | None]:
    """What speaks against each arm, stable first."""
    if evidence is not None and guard is Guard.REVIEW and evidence.reviews is not None:
        said = evidence.reviews
        stable, candidate = (sum(arm.get(one, 0) for one in DISMISSED) for arm in (said.stable, said.candidate))
        return stable, candidate
    signal = None if evidence is None else evidence.signal(guard)
    if signal is None:
        return None, None
    return signal.first_bad.total(Arm.STABLE), signal.first_bad.total(Arm.CANDIDATE)


def _shown(log_e: float) -> float:
    return round(min(e_value(log_e), E_SHOWN_MAX), 3)


def _requests(evidence: RolloutEvidence | None, arm: Arm) -> int:
    return 0 if evidence is None else evidence.requests.total(arm)


def _step(step: Step, at: int, progress: Progress) -> StepFacts:
    now, last = progress.step, "now" if progress.is_open else "ended here"
    is_passed = at < now or progress.state is RolloutState.COMPLETED
    state = "done" if is_passed else last if at == now else "to come" if progress.is_open else "never begun"
    share = min(step.weight_bp, WEIGHT_BP_MAX) / 100
    return StepFacts(at + 1, step.kind.value, share, step.bake_us / 1e6, step.requests_min, state, step.title)
