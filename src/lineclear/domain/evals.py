"""What an eval holds answers to, as it was frozen, and what scores of two releases show. Pure.

In: an Eval or a step that replays; for each case a score of either release. Out: a spec that a rollout can keep; a
verdict for each check and of all together. A score is 1 for good and 0 for bad. What is not known counts for the
candidate where it could be failed and against it where it could pass, so missing data never decides.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import log
from typing import Any, Final, TypeAlias

import msgspec

from lineclear.domain.evidence import e_value
from lineclear.domain.manifest import Eval, EvalCheck, EvalVerdict, ReplayStep
from lineclear.domain.money import nano_usd
from lineclear.domain.pairs import PairRule, Pairs, PairVerdict, pairs_needed

ANSWERED_ID: Final = "answered"
CHANGED_ID: Final = "changed"
ENTRY_POINT_GROUP: Final = "lineclear.checks"
"""Where packages of the server offer checks in Python."""
WORST_CASES_MAX: Final = 20


class Answered(msgspec.Struct, frozen=True, tag="answered"):
    """The case is answered at all. Every eval has this one."""


class Unchanged(msgspec.Struct, frozen=True, tag="unchanged"):
    """The candidate answers what stable answers, but for a share of the cases."""

    changed_max: float


class Exact(msgspec.Struct, frozen=True, tag="exact"):
    """As `manifest.ExactCheck`."""

    ignore_case: bool


class Pattern(msgspec.Struct, frozen=True, tag="regex"):
    """The pattern occurs in the answer."""

    regex: str


class Shape(msgspec.Struct, frozen=True, tag="json_schema"):
    """The answer's text meets the schema."""

    json_schema: dict[str, Any]
    """Any: a JSON Schema."""


class Numeric(msgspec.Struct, frozen=True, tag="numeric"):
    """As `manifest.NumericCheck`."""

    tolerance: float
    relative: float


class Similarity(msgspec.Struct, frozen=True, tag="similarity"):
    """As `manifest.SimilarityCheck`."""

    route: str
    at_least: float


class Judge(msgspec.Struct, frozen=True, tag="judge"):
    """As `manifest.JudgeCheck`."""

    route: str
    question: str
    repeats: int


class Python(msgspec.Struct, frozen=True, tag="python"):
    """As `manifest.EvalCheck.python`."""

    entry_point: str


CheckWay: TypeAlias = Answered | Unchanged | Exact | Pattern | Shape | Numeric | Similarity | Judge | Python


class Check(msgspec.Struct, frozen=True):
    """One check."""

    id: str
    way: CheckWay


class EvalSpec(msgspec.Struct, frozen=True):
    """What is run and what it is held to, whatever becomes of the manifest."""

    name: str
    """Of the Eval; empty for a step that replays."""
    team: str
    """Whose Eval and whose dataset; empty = of the app that calls."""
    app: str
    dataset: str
    checks: tuple[Check, ...]
    margin: float
    ratio: float
    alpha: float
    spend_cap_nano_usd: int
    at_least: float | None = None
    """What every check has to reach where a release is judged by itself; None = it is not."""

    @property
    def title(self) -> str:
        """In words."""
        return f"eval {self.name}" if self.name else f"replay of {self.dataset}"

    @property
    def cases_needed(self) -> int:
        """The fewest cases with which a candidate can pass."""
        return pairs_needed(self.rule)

    @property
    def rule(self) -> PairRule:
        return PairRule(self.ratio, self.margin, self.alpha)


def spec_of_eval(one: Eval) -> EvalSpec:
    """What an Eval asks for."""
    checks = (Check(ANSWERED_ID, Answered()), *(Check(check.id, _way(check)) for check in one.checks))
    return msgspec.structs.replace(_spec(one.name, one.team, one, checks, one.verdict), at_least=one.at_least)


def spec_of_replay(step: ReplayStep) -> EvalSpec:
    """What a step that replays asks for."""
    checks = [Check(ANSWERED_ID, Answered())]
    if step.max_changed < 1:
        checks.append(Check(CHANGED_ID, Unchanged(step.max_changed)))
    return _spec("", "", step, tuple(checks), step.verdict)


def _spec(name: str, team: str, one: Eval | ReplayStep, checks: tuple[Check, ...], verdict: EvalVerdict) -> EvalSpec:
    return EvalSpec(
        name,
        team,
        one.app,
        one.dataset,
        checks,
        float(verdict.margin),
        float(verdict.ratio),
        float(verdict.alpha),
        nano_usd(one.spend_usd),
    )


def _way(check: EvalCheck) -> CheckWay:
    if check.exact is not None:
        return Exact(check.exact.ignore_case)
    if check.numeric is not None:
        return Numeric(float(check.numeric.tolerance), float(check.numeric.relative))
    if check.similarity is not None:
        return Similarity(check.similarity.route, float(check.similarity.at_least))
    if check.judge is not None:
        return Judge(check.judge.route, check.judge.question, check.judge.repeats)
    if check.json_schema is not None:
        return Shape(check.json_schema)
    return Python(check.python) if check.python else Pattern(check.regex)


class Scores(msgspec.Struct, frozen=True):
    """What a check found at one case; None where it could not be found out."""

    case: str
    """Its id."""
    candidate: float | None
    stable: float | None


class CheckVerdict(msgspec.Struct, frozen=True):
    """What one check shows."""

    id: str
    verdict: PairVerdict
    cases: int
    unknown: int
    """Cases of which a score is missing."""
    worse: int
    """Where the candidate has the lower score."""
    better: int
    candidate_score: float | None
    """Mean over the cases that are known; None if there are none."""
    stable_score: float | None
    worse_e: float
    """Evidence, so many to 1, that the candidate is worse."""
    within_e: float
    """Evidence that it is worse by less than the margin."""
    worst: tuple[str, ...] = ()
    """Cases where the candidate lost most, at most 20."""


class EvalReport(msgspec.Struct, frozen=True):
    """What all checks show together."""

    verdict: PairVerdict
    words: str
    checks: tuple[CheckVerdict, ...]


def report_of(spec: EvalSpec, scores: Mapping[str, Sequence[Scores]], unfinished: str) -> EvalReport:
    """What the scores show.

    Args:
        spec: what they are held to.
        scores: by id of the check, one for each case of the dataset.
        unfinished: why not every case was asked; empty if every one was. It can fail then and not pass.

    Failed if one check is shown to be worse, by evidence of m/alpha where m checks speak, so that together they fail a
    harmless candidate with at most alpha. Passed if every check passes; that needs no share of alpha.
    """
    judged = tuple(_judged(spec, check, scores.get(check.id, ())) for check in spec.checks)
    failed = [one for one in judged if one.verdict is PairVerdict.FAIL]
    if failed:
        words = "; ".join(f"{one.id}: {_fail_words(one)}" for one in failed)
        return EvalReport(PairVerdict.FAIL, words, judged)
    open_ = [one for one in judged if one.verdict is not PairVerdict.PASS]
    if unfinished or open_:
        words = "; ".join([*([unfinished] if unfinished else []), *(f"{one.id}: {_words(spec, one)}" for one in open_)])
        return EvalReport(PairVerdict.INCONCLUSIVE, words, judged)
    count = judged[0].cases
    return EvalReport(PairVerdict.PASS, f"{len(judged)} checks over {count} cases", judged)


def _judged(spec: EvalSpec, check: Check, scores: Sequence[Scores]) -> CheckVerdict:
    if isinstance(check.way, Unchanged):
        return _changed(check.id, check.way, scores)
    known = [(one.case, one.candidate, one.stable) for one in scores]
    fail = Pairs.compared(spec.rule, _pairs(known, for_candidate=1.0))
    within = Pairs.compared(spec.rule, _pairs(known, for_candidate=0.0))
    whole = [(case, mine, theirs) for case, mine, theirs in known if mine is not None and theirs is not None]
    lost = sorted(((mine - theirs, case) for case, mine, theirs in whole if mine < theirs), key=lambda one: one[0])
    verdict = PairVerdict.INCONCLUSIVE
    if fail.log_e_worse() >= log(len(spec.checks) / spec.alpha):
        verdict = PairVerdict.FAIL
    elif within.log_e_within() >= log(1 / spec.alpha):
        verdict = PairVerdict.PASS
    return CheckVerdict(
        check.id,
        verdict,
        len(scores),
        len(scores) - len(whole),
        len(lost),
        sum(mine > theirs for _, mine, theirs in whole),
        _mean([mine for _, mine, _ in whole]),
        _mean([theirs for _, _, theirs in whole]),
        e_value(fail.log_e_worse()),
        e_value(within.log_e_within()),
        tuple(case for _, case in lost[:WORST_CASES_MAX]),
    )


def _pairs(
    known: Iterable[tuple[str, float | None, float | None]], *, for_candidate: float
) -> Iterator[tuple[float, float]]:
    """Badness of either answer; what is unknown is as good for the candidate, or for stable, as it can be."""
    for _, mine, theirs in known:
        yield (
            1.0 - (for_candidate if mine is None else mine),
            1.0 - ((1.0 - for_candidate) if theirs is None else theirs),
        )


def _changed(id_: str, way: Unchanged, scores: Sequence[Scores]) -> CheckVerdict:
    """Counted and not inferred: the dataset itself is what the share is of."""
    known = [one for one in scores if one.candidate is not None]
    changed = [one.case for one in known if one.candidate == 0]
    unknown = len(scores) - len(known)
    verdict = PairVerdict.INCONCLUSIVE
    if scores and len(changed) > way.changed_max * len(scores):
        verdict = PairVerdict.FAIL
    elif scores and len(changed) + unknown <= way.changed_max * len(scores):
        verdict = PairVerdict.PASS
    same = 1 - len(changed) / len(known) if known else None
    return CheckVerdict(
        id_, verdict, len(scores), unknown, len(changed), 0, same, None, 0.0, 0.0, tuple(changed[:WORST_CASES_MAX])
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _fail_words(one: CheckVerdict) -> str:
    if one.id == CHANGED_ID:
        return f"{one.worse} of {one.cases} answers changed"
    return f"the candidate is worse at {one.worse} cases and better at {one.better}, evidence {_odds(one.worse_e)}"


def _odds(e: float) -> str:
    """Evidence for a sentence: more than a million to one decides nothing further."""
    return "over 1,000,000 : 1" if e >= 1e6 else f"{e:,.0f} : 1"


def _words(spec: EvalSpec, one: CheckVerdict) -> str:
    if one.cases < spec.cases_needed and one.id != CHANGED_ID:
        return f"{one.cases} cases cannot show that it is within {spec.margin:g}; {spec.cases_needed} can"
    unknown = f", {one.unknown} unknown" if one.unknown else ""
    return f"worse at {one.worse} cases, better at {one.better}{unknown}: neither is shown"
