"""What scores show: worse fails, as good passes once there are enough cases, and what is missing never decides."""

import random
from collections.abc import Sequence

import pytest

from lineclear.domain.evals import (
    CHANGED_ID,
    Answered,
    Check,
    EvalReport,
    EvalSpec,
    Exact,
    Scores,
    Unchanged,
    report_of,
    spec_of_eval,
    spec_of_replay,
)
from lineclear.domain.manifest import Eval, EvalCheck, EvalVerdict, ExactCheck, ReplayStep
from lineclear.domain.pairs import PairVerdict

SPEC = spec_of_eval(
    Eval(
        name="answers",
        team="t",
        app="a",
        dataset="d",
        checks=(EvalCheck(id="right", exact=ExactCheck()),),
        verdict=EvalVerdict(margin=0.1),
        spend_usd="0.5",
    )
)
ENOUGH = SPEC.cases_needed


def scored(pairs: Sequence[tuple[float | None, float | None]], unfinished: str = "") -> EvalReport:
    """With every case answered; the pairs are of the check `right`, candidate first."""
    right = [Scores(str(at), mine, theirs) for at, (mine, theirs) in enumerate(pairs)]
    answered = [Scores(str(at), 1.0, 1.0) for at in range(len(pairs))]
    return report_of(SPEC, {"answered": answered, "right": right}, unfinished)


def test_an_eval_is_frozen_with_every_default() -> None:
    assert SPEC.checks == (Check("answered", Answered()), Check("right", Exact(False)))
    assert (SPEC.title, SPEC.spend_cap_nano_usd, SPEC.ratio) == ("eval answers", 500_000_000, 1.25)
    replay = spec_of_replay(ReplayStep(dataset="d", app="a", max_changed=0.25))
    assert replay.checks[1] == Check(CHANGED_ID, Unchanged(0.25))
    assert len(spec_of_replay(ReplayStep(dataset="d", app="a")).checks) == 1
    assert replay.title == "replay of d"


def test_equal_answers_pass_with_enough_cases_and_no_sooner() -> None:
    assert scored([(1.0, 1.0)] * ENOUGH).verdict is PairVerdict.PASS
    few = scored([(1.0, 1.0)] * (ENOUGH - 1))
    assert few.verdict is PairVerdict.INCONCLUSIVE
    assert f"{ENOUGH} can" in few.words
    assert scored([]).verdict is PairVerdict.INCONCLUSIVE


def test_worse_answers_fail_by_the_check_that_shows_it() -> None:
    report = scored([(0.0, 1.0)] * 15 + [(1.0, 1.0)] * 50)
    assert report.verdict is PairVerdict.FAIL
    answered, right = report.checks
    assert (answered.verdict, right.verdict) == (PairVerdict.PASS, PairVerdict.FAIL)
    assert (right.worse, right.better, right.cases) == (15, 0, 65)
    assert right.worse_e >= len(SPEC.checks) / SPEC.alpha
    assert right.worst[0] == "0"
    assert report.words.startswith("right: the candidate is worse at 15 cases and better at 0")


def test_better_answers_pass() -> None:
    assert scored([(1.0, 0.0)] * 30 + [(1.0, 1.0)] * 60).verdict is PairVerdict.PASS


def test_what_is_missing_neither_passes_nor_fails() -> None:
    whole = [(1.0, 1.0)] * (2 * ENOUGH)
    assert scored(whole).verdict is PairVerdict.PASS
    # A few unknown scores count against it, and it passes all the same; many do not let it pass.
    assert scored([*whole, (None, 1.0)]).verdict is PairVerdict.PASS
    assert scored([*whole, *[(None, 1.0)] * ENOUGH]).verdict is PairVerdict.INCONCLUSIVE
    assert scored([(None, 1.0)] * 500).verdict is PairVerdict.INCONCLUSIVE
    assert scored([(0.0, None)] * 500).verdict is PairVerdict.INCONCLUSIVE
    unfinished = scored(whole, "its spend cap is used up")
    assert unfinished.verdict is PairVerdict.INCONCLUSIVE
    assert unfinished.words.startswith("its spend cap is used up")
    # What was seen is enough to fail it, whatever the rest would be.
    assert scored([(0.0, 1.0)] * 40, "stopped").verdict is PairVerdict.FAIL


@pytest.mark.parametrize(
    ("changed", "unknown", "verdict"),
    [
        (0, 0, PairVerdict.PASS),
        (5, 0, PairVerdict.PASS),
        (6, 0, PairVerdict.FAIL),
        (5, 1, PairVerdict.INCONCLUSIVE),
        (0, 6, PairVerdict.INCONCLUSIVE),
    ],
)
def test_changed_answers_are_counted(changed: int, unknown: int, verdict: PairVerdict) -> None:
    spec = spec_of_replay(ReplayStep(dataset="d", app="a", max_changed=0.25))
    same = [0.0] * changed + [None] * unknown + [1.0] * (20 - changed - unknown)
    scores = {CHANGED_ID: [Scores(str(at), score, None) for at, score in enumerate(same)]}
    assert report_of(spec, scores, "").checks[1].verdict is verdict


def test_a_harmless_candidate_fails_no_more_often_than_alpha_over_all_checks() -> None:
    dice = random.Random(7)
    spec = EvalSpec("e", "t", "a", "d", (Check("a", Answered()), Check("b", Exact(False))), 0.1, 1.0, 0.1, 1)
    failed = 0
    for _ in range(300):
        scores = {
            check.id: [Scores(str(at), float(dice.random() < 0.7), float(dice.random() < 0.7)) for at in range(100)]
            for check in spec.checks
        }
        failed += report_of(spec, scores, "").verdict is PairVerdict.FAIL
    # 30 are the bound; more than 42 have a chance below 1 %.
    assert failed <= 42
