"""Datasets and replays as the admin API tells them: plain values, money as decimal text, times in ISO 8601 UTC."""

from dataclasses import dataclass

from lineclear.control.release_diff import Passage, diff_texts
from lineclear.control.releases import release_id
from lineclear.control.replays.datasets import DIGEST_HEX
from lineclear.control.replays.service import Standing
from lineclear.control.replays.stored import sides_of
from lineclear.domain.evidence import Arm, e_value
from lineclear.domain.money import usd_text
from lineclear.domain.output_diff import ArmReport, PairKind, ReplayReport, field_changes, pair_kind
from lineclear.domain.pairs import PairVerdict
from lineclear.domain.replay import Case, CaseResult
from lineclear.observe.period import time_text
from lineclear.store.replay_rows import DatasetRow

E_SHOWN_MAX = 1e12
"""Larger evidence is shown as this: no decision rests on more."""


@dataclass(frozen=True)
class DatasetFacts:
    """One version of a dataset."""

    id: str
    """`NAME@DIGEST`."""
    name: str
    digest: str
    team: str
    cases: int
    content_bytes: int
    created_at: str
    created_by: str


@dataclass(frozen=True)
class SideFacts:
    """One release that is asked."""

    arm: str
    environment: str
    release: str
    asked: int
    answered: int
    cost_usd: str


@dataclass(frozen=True)
class ReplayFacts:
    """One replay and how far it is."""

    id: str
    purpose: str
    environment: str
    route: str
    app: str
    dataset: str
    """`NAME@DIGEST`."""
    cases: int
    sides: list[SideFacts]
    state: str
    reason: str
    spent_usd: str
    spend_cap_usd: str
    rollout: str | None
    created_at: str
    created_by: str
    ended_at: str | None


@dataclass(frozen=True)
class ArmFacts:
    """What one release did."""

    arm: str
    asked: int
    answered: int
    cost_usd: str
    unpriced: int
    duration_ms_p50: float
    duration_ms_p95: float
    text_bytes_mean: float
    errors: dict[str, int]


@dataclass(frozen=True)
class ReplayDetail:
    """A replay with what came out so far."""

    replay: ReplayFacts
    pairs: int
    kinds: dict[str, int]
    """same, same_json, changed, candidate_failed, stable_failed, both_failed."""
    arms: list[ArmFacts]
    cost_delta_usd: str | None
    """Of the pairs, candidate less stable; None without both or without prices."""
    duration_ms_p50_delta: float | None
    fields: dict[str, int]
    """Paths of JSON answers and in how many pairs they differ."""
    verdict: str
    """pass | fail | inconclusive: whether the candidate leaves more cases unanswered; nothing of how answers differ."""
    evidence_worse: float
    evidence_within: float
    sentence: str


@dataclass(frozen=True)
class CaseFacts:
    """One case in a line."""

    number: int
    id: str | None
    """None where its dataset is gone."""
    kind: str | None
    """None while one side is not there."""
    stable: str | None
    """Status and error code."""
    candidate: str | None
    cost_delta_usd: str | None
    duration_ms_delta: float | None
    bytes_delta: int | None


@dataclass(frozen=True)
class AnswerFacts:
    """What one release said to a case."""

    arm: str
    status: int
    error_code: str
    text: str
    is_cut: bool
    text_bytes: int
    cost_usd: str | None
    cost_basis: str
    duration_ms: float
    request_id: str
    model: str


@dataclass(frozen=True)
class FieldFacts:
    """One place of two JSON answers that differs; None = that side does not have it."""

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class CaseDetail:
    """One case with both answers and in what they differ."""

    facts: CaseFacts
    case: dict[str, object] | None
    """As the dataset has it; None where that is gone."""
    answers: list[AnswerFacts]
    passages: list[Passage]
    """Of stable's answer and the candidate's, word by word; empty where they are the same or one is missing."""
    fields: list[FieldFacts] | None
    """None unless both answers are JSON."""


def dataset_facts(row: DatasetRow) -> DatasetFacts:
    return DatasetFacts(
        id=f"{row.name}@{row.digest[:DIGEST_HEX]}",
        name=row.name,
        digest=row.digest,
        team=row.team,
        cases=row.cases,
        content_bytes=row.content_bytes,
        created_at=time_text(row.created_us),
        created_by=row.created_by,
    )


def replay_facts(standing: Standing) -> ReplayFacts:
    row = standing.row
    sides = [
        SideFacts(
            arm=arm.value,
            environment=side.environment,
            release=release_id(side.release),
            asked=standing.sums[arm].results if arm in standing.sums else 0,
            answered=standing.sums[arm].answered if arm in standing.sums else 0,
            cost_usd=usd_text(standing.sums[arm].cost_nano_usd if arm in standing.sums else 0),
        )
        for arm, side in sorted(sides_of(row).items(), reverse=True)
    ]
    return ReplayFacts(
        id=row.id,
        purpose=row.purpose,
        environment=row.environment,
        route=row.route,
        app=row.app,
        dataset=f"{row.dataset}@{row.dataset_digest[:DIGEST_HEX]}",
        cases=row.cases,
        sides=sides,
        state=row.state,
        reason=row.reason,
        spent_usd=usd_text(standing.spent_nano_usd),
        spend_cap_usd=usd_text(row.spend_cap_nano_usd),
        rollout=row.rollout or None,
        created_at=time_text(row.created_us),
        created_by=row.created_by,
        ended_at=time_text(row.ended_us) if row.ended_us else None,
    )


def replay_detail(standing: Standing, report: ReplayReport) -> ReplayDetail:
    stable, candidate = report.arms.get(Arm.STABLE), report.arms.get(Arm.CANDIDATE)
    both = (stable, candidate) if stable is not None and candidate is not None else None
    is_even = both is not None and both[0].asked == both[1].asked and not (both[0].unpriced or both[1].unpriced)
    return ReplayDetail(
        replay=replay_facts(standing),
        pairs=report.pairs,
        kinds={kind.value: report.kinds.get(kind, 0) for kind in PairKind},
        arms=[_arm_facts(arm, report.arms[arm]) for arm in (Arm.STABLE, Arm.CANDIDATE) if arm in report.arms],
        cost_delta_usd=usd_text(both[1].cost_nano_usd - both[0].cost_nano_usd) if both and is_even else None,
        duration_ms_p50_delta=_ms(both[1].duration_us_p50 - both[0].duration_us_p50) if both else None,
        fields=dict(report.fields),
        verdict=report.verdict.value,
        evidence_worse=min(E_SHOWN_MAX, e_value(report.log_e_worse)),
        evidence_within=min(E_SHOWN_MAX, e_value(report.log_e_within)),
        sentence=_sentence(report),
    )


def case_facts(number: int, case: Case | None, found: dict[Arm, CaseResult]) -> CaseFacts:
    stable, candidate = found.get(Arm.STABLE), found.get(Arm.CANDIDATE)
    kind = cost_delta = duration_delta = bytes_delta = None
    if stable is not None and candidate is not None:
        kind = pair_kind(stable, candidate).value
        duration_delta = _ms(candidate.duration_us - stable.duration_us)
        bytes_delta = candidate.text_bytes - stable.text_bytes
        if stable.cost_nano_usd is not None and candidate.cost_nano_usd is not None:
            cost_delta = usd_text(candidate.cost_nano_usd - stable.cost_nano_usd)
    return CaseFacts(
        number=number + 1,
        id=None if case is None else case.id,
        kind=kind,
        stable=_status(stable),
        candidate=_status(candidate),
        cost_delta_usd=cost_delta,
        duration_ms_delta=duration_delta,
        bytes_delta=bytes_delta,
    )


def case_detail(number: int, case: Case | None, found: dict[Arm, CaseResult]) -> CaseDetail:
    stable, candidate = found.get(Arm.STABLE), found.get(Arm.CANDIDATE)
    passages: list[Passage] = []
    fields: list[FieldFacts] | None = None
    if stable is not None and candidate is not None and stable.is_answered and candidate.is_answered:
        if stable.text != candidate.text:
            passages = list(diff_texts(stable.text, candidate.text))
        changes = None if stable.is_cut or candidate.is_cut else field_changes(stable.text, candidate.text)
        if changes is not None:
            fields = [FieldFacts(one.path, one.before or None, one.after or None) for one in changes]
    return CaseDetail(
        facts=case_facts(number, case, found),
        case=None if case is None else _case(case),
        answers=[_answer_facts(found[arm]) for arm in (Arm.STABLE, Arm.CANDIDATE) if arm in found],
        passages=passages,
        fields=fields,
    )


def _case(case: Case) -> dict[str, object]:
    said: dict[str, object] = {"id": case.id, "operation": case.operation.value, "request": case.request}
    rest = {"variables": case.variables, "task": case.task, "data_class": case.data_class, "expected": case.expected}
    return said | {name: value for name, value in rest.items() if value}


def _arm_facts(arm: Arm, report: ArmReport) -> ArmFacts:
    return ArmFacts(
        arm=arm.value,
        asked=report.asked,
        answered=report.answered,
        cost_usd=usd_text(report.cost_nano_usd),
        unpriced=report.unpriced,
        duration_ms_p50=_ms(report.duration_us_p50),
        duration_ms_p95=_ms(report.duration_us_p95),
        text_bytes_mean=round(report.text_bytes / report.answered, 1) if report.answered else 0.0,
        errors=dict(report.errors),
    )


def _answer_facts(result: CaseResult) -> AnswerFacts:
    return AnswerFacts(
        arm=result.arm.value,
        status=result.status,
        error_code=result.error_code,
        text=result.text,
        is_cut=result.is_cut,
        text_bytes=result.text_bytes,
        cost_usd=None if result.cost_nano_usd is None else usd_text(result.cost_nano_usd),
        cost_basis=result.cost_basis,
        duration_ms=_ms(result.duration_us),
        request_id=result.request_id,
        model=result.model,
    )


def _status(result: CaseResult | None) -> str | None:
    return None if result is None else f"{result.status} {result.error_code}".rstrip()


def _ms(us: int) -> float:
    return round(us / 1_000, 3)


def _sentence(report: ReplayReport) -> str:
    if not report.pairs:
        return "nothing was asked of both releases yet" if len(report.arms) != 1 else "one release alone was asked"
    kinds = report.kinds
    same = kinds.get(PairKind.SAME, 0) + kinds.get(PairKind.SAME_JSON, 0)
    said = (
        f"of {report.pairs} cases {same} were answered alike and {kinds.get(PairKind.CHANGED, 0)} differently; the "
        f"candidate left {kinds.get(PairKind.CANDIDATE_FAILED, 0)} unanswered that stable answered, and answered "
        f"{kinds.get(PairKind.STABLE_FAILED, 0)} that stable did not"
    )
    match report.verdict:
        case PairVerdict.FAIL:
            return f"{said}: it fails more often"
        case PairVerdict.PASS:
            return f"{said}: it does not fail more often by more than the margin"
        case PairVerdict.INCONCLUSIVE:
            return f"{said}: too few to say whether it fails more often"
