"""What two answers differ in: bytes, JSON, fields; and the figures of a whole replay."""

import hashlib

import pytest

from lineclear.domain.evidence import Arm
from lineclear.domain.output_diff import PairKind, field_changes, pair_kind, report_of
from lineclear.domain.pairs import PairVerdict
from lineclear.domain.replay import CaseResult


def result(
    text: str, arm: Arm = Arm.STABLE, *, status: int = 200, cost: int | None = 10, us: int = 1_000
) -> CaseResult:
    digest = hashlib.sha256(text.encode()).hexdigest()
    code = "" if status == 200 else "upstream_error"
    return CaseResult(0, arm, status, code, text, False, digest, len(text), cost, "priced", us, "req_1", "m@1")


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ('{"a": 1, "b": [1, 2]}', '{"b":[1,2],"a":1}', []),
        ('{"a": 1}', '{"a": 1.0}', []),
        ('{"a": 1}', '{"a": true}', [("a", "1", "true")]),
        ('{"a": null}', "{}", [("a", "null", "")]),
        ('{"a": {"b": [1, {"c": 2}]}}', '{"a": {"b": [1, {"c": 3}, 4]}}', [("a.b.1.c", "2", "3"), ("a.b.2", "", "4")]),
        ("[1]", '{"0": 1}', [("", "[1]", '{"0":1}')]),
        ('```json\n{"a": 1}\n```', '{"a": 2}', [("a", "1", "2")]),
        ("hello", '{"a": 1}', None),
        ("3", "4", None),
        ('{"a": ', '{"a": 1}', None),
    ],
)
def test_fields_of_json_answers(before: str, after: str, changes: list[tuple[str, str, str]] | None) -> None:
    found = field_changes(before, after)
    assert (None if found is None else [(one.path, one.before, one.after) for one in found]) == changes


def test_deep_and_wide_answers_end() -> None:
    deep = '{"a":' * 200 + "1" + "}" * 200
    assert field_changes(deep, deep) == ()
    wide = "[" + ",".join(map(str, range(5_000))) + "]"
    other = "[" + ",".join(map(str, range(1, 5_001))) + "]"
    found = field_changes(wide, other)
    assert found is not None
    assert len(found) == 100


@pytest.mark.parametrize(
    ("stable", "candidate", "kind"),
    [
        (result("a"), result("a"), PairKind.SAME),
        (result("a"), result("b"), PairKind.CHANGED),
        (result('{"a":1}'), result('{ "a": 1 }'), PairKind.SAME_JSON),
        (result("a"), result("", status=500), PairKind.CANDIDATE_FAILED),
        (result("", status=429), result("a"), PairKind.STABLE_FAILED),
        (result("x", status=500), result("x", status=500), PairKind.BOTH_FAILED),
    ],
)
def test_kinds_of_pairs(stable: CaseResult, candidate: CaseResult, kind: PairKind) -> None:
    assert pair_kind(stable, candidate) is kind


def test_a_report_adds_up_each_side_and_says_what_is_not_known() -> None:
    pairs = [
        {Arm.STABLE: result('{"n": [1]}', us=1_000), Arm.CANDIDATE: result('{"n": [2]}', Arm.CANDIDATE, us=3_000)},
        {Arm.STABLE: result("a", us=2_000), Arm.CANDIDATE: result("a", Arm.CANDIDATE, cost=None)},
        {Arm.STABLE: result("only")},
        {Arm.STABLE: result("a", us=9_000), Arm.CANDIDATE: result("", Arm.CANDIDATE, status=500, cost=0)},
    ]
    report = report_of(pairs)
    stable, candidate = report.arms[Arm.STABLE], report.arms[Arm.CANDIDATE]
    assert (report.pairs, report.kinds) == (3, {PairKind.CHANGED: 1, PairKind.SAME: 1, PairKind.CANDIDATE_FAILED: 1})
    assert report.fields == (("n.*", 1),)
    assert (stable.asked, stable.answered, stable.cost_nano_usd, stable.duration_us_p50) == (4, 4, 40, 1_000)
    assert (candidate.answered, candidate.unpriced, candidate.errors) == (2, 1, (("upstream_error", 1),))
    assert report.verdict is PairVerdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("worse", "pairs", "verdict"),
    [(0, 20, PairVerdict.INCONCLUSIVE), (0, 600, PairVerdict.PASS), (40, 600, PairVerdict.FAIL)],
)
def test_the_verdict_is_about_answering(worse: int, pairs: int, verdict: PairVerdict) -> None:
    results = [
        {
            Arm.STABLE: result(str(number)),
            Arm.CANDIDATE: result("other", Arm.CANDIDATE, status=500 if number < worse else 200),
        }
        for number in range(pairs)
    ]
    assert report_of(results).verdict is verdict


def test_an_empty_replay_has_a_report() -> None:
    report = report_of([])
    assert (report.pairs, report.arms, report.verdict) == (0, {}, PairVerdict.INCONCLUSIVE)
