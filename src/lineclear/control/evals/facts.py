"""Runs of evals as the admin API tells them: plain values, money as decimal text, times in ISO 8601 UTC. No answers."""

from dataclasses import dataclass
from math import log

from lineclear.control.evals.runs import EvalStanding
from lineclear.control.releases import release_id
from lineclear.domain.evals import Check, CheckVerdict, Unchanged
from lineclear.domain.evidence import Arm
from lineclear.domain.money import usd_text
from lineclear.domain.rollout import evidence_words
from lineclear.observe.period import time_text

E_SHOWN_MAX = 1e12
"""Larger evidence is shown as this: no decision rests on more."""


@dataclass(frozen=True)
class EvalRunFacts:
    """One run and where it is."""

    id: str
    title: str
    """`eval NAME`, or `replay of DATASET` for a step of a rollout."""
    eval: str | None
    environment: str
    route: str
    stable: str
    """Empty where nothing serves yet and the candidate is judged by itself."""
    candidate: str
    candidate_from: str
    """The environment whose release is the candidate."""
    dataset: str
    app: str
    state: str
    """running | completed | stopped | failed"""
    verdict: str | None
    """pass | fail | inconclusive; None while it is under way."""
    words: str
    """How far it is, or what the verdict rests on."""
    spent_usd: str
    spend_cap_usd: str
    cases_needed: int
    """The fewest cases with which a candidate can pass."""
    at_least: float | None
    """What every check has to score on average, of a candidate by itself; None where it is compared."""
    replay: str | None
    """Where the answers are."""
    rollout: str | None
    created_at: str
    created_by: str
    ended_at: str | None


@dataclass(frozen=True)
class CheckFacts:
    """One check and what it shows."""

    id: str
    kind: str
    verdict: str
    cases: int
    unknown: int
    worse: int
    better: int
    candidate_score: float | None
    """Mean, from 0 to 1."""
    stable_score: float | None
    worse_evidence: str
    """`37 : 1 against`; `counted` where a check counts and infers nothing."""
    fails_at: float
    within_evidence: str
    passes_at: float
    worst_cases: list[str]
    """Ids of those where the candidate lost most."""
    worse_e: float
    """The number in `worse_evidence`, at most 1e12; 0 where a check counts."""
    within_e: float


@dataclass(frozen=True)
class EvalRunDetail:
    """A run with what each check shows; empty while it is under way."""

    run: EvalRunFacts
    checks: list[CheckFacts]


def run_facts(standing: EvalStanding) -> EvalRunFacts:
    """The line of a list."""
    row, spec, sides = standing.row, standing.spec, standing.sides
    is_alone = Arm.STABLE not in sides
    return EvalRunFacts(
        id=row.id,
        title=spec.title,
        eval=spec.name or None,
        environment=row.environment,
        route=row.route,
        stable="" if is_alone else release_id(sides[Arm.STABLE].release),
        candidate=release_id(sides[Arm.CANDIDATE].release),
        candidate_from=sides[Arm.CANDIDATE].environment,
        dataset=spec.dataset,
        app=spec.app,
        state=row.state,
        verdict=row.verdict or None,
        words=standing.words,
        spent_usd=usd_text(standing.spent_nano_usd),
        spend_cap_usd=usd_text(spec.spend_cap_nano_usd),
        cases_needed=1 if is_alone else spec.cases_needed,
        at_least=spec.at_least if is_alone else None,
        replay=row.replay or None,
        rollout=row.rollout or None,
        created_at=time_text(row.created_us),
        created_by=row.created_by,
        ended_at=time_text(row.ended_us) if row.ended_us else None,
    )


def run_detail(standing: EvalStanding) -> EvalRunDetail:
    """Everything."""
    report, spec = standing.report, standing.spec
    if report is None:
        return EvalRunDetail(run_facts(standing), [])
    ways = {check.id: check for check in spec.checks}
    fails_at, passes_at = round(len(spec.checks) / spec.alpha, 3), round(1 / spec.alpha, 3)
    run = run_facts(standing)
    is_alone = run.at_least is not None
    checks = [_check(ways[one.id], one, fails_at, passes_at, is_alone=is_alone) for one in report.checks]
    return EvalRunDetail(run, checks)


def _check(check: Check, one: CheckVerdict, fails_at: float, passes_at: float, *, is_alone: bool) -> CheckFacts:
    is_counted = is_alone or isinstance(check.way, Unchanged)
    return CheckFacts(
        id=one.id,
        kind=str(check.way.__struct_config__.tag),
        verdict=one.verdict.value,
        cases=one.cases,
        unknown=one.unknown,
        worse=one.worse,
        better=one.better,
        candidate_score=_score(one.candidate_score),
        stable_score=_score(one.stable_score),
        worse_evidence="counted" if is_counted else evidence_words(log(one.worse_e)),
        fails_at=fails_at,
        within_evidence="counted" if is_counted else evidence_words(log(one.within_e)).replace("against", "for"),
        passes_at=passes_at,
        worst_cases=list(one.worst),
        worse_e=_e(one.worse_e),
        within_e=_e(one.within_e),
    )


def _e(e: float) -> float:
    return round(min(E_SHOWN_MAX, e), 4)


def _score(score: float | None) -> float | None:
    return None if score is None else round(score, 4)
