"""A release judged by itself: counted over the dataset, with what is unknown against it where it could pass."""

import pytest

from lineclear.domain.alone import alone_report
from lineclear.domain.evals import Answered, Check, EvalSpec, Pattern, Scores
from lineclear.domain.pairs import PairVerdict

CHECKS = (Check("answered", Answered()), Check("word", Pattern("yes")))


def spec(at_least: float | None) -> EvalSpec:
    return EvalSpec("words", "support", "checker", "words", CHECKS, 0.02, 1.25, 0.05, 1, at_least)


def scores(*found: float | None) -> dict[str, list[Scores]]:
    return {
        "answered": [Scores(str(at), 1.0, None) for at, _ in enumerate(found)],
        "word": [Scores(str(at), one, None) for at, one in enumerate(found)],
    }


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ([1, 1, 1, 1], PairVerdict.PASS),
        ([1, 1, 1, 0], PairVerdict.PASS),
        ([0.75, 0.75, 0.75, 0.75], PairVerdict.PASS),
        ([1, 1, 0, 0], PairVerdict.FAIL),
        # It may have passed, and nobody knows.
        ([1, 1, None, 0], PairVerdict.INCONCLUSIVE),
        # Whatever the one unknown is, it is not enough.
        ([1, None, 0, 0], PairVerdict.FAIL),
        ([1, 1, 1, None], PairVerdict.PASS),
        ([None, None, None, None], PairVerdict.INCONCLUSIVE),
        ([], PairVerdict.INCONCLUSIVE),
    ],
)
def test_every_check_has_to_reach_what_is_asked(found: list[float | None], verdict: PairVerdict) -> None:
    assert alone_report(spec(0.75), scores(*found), "").verdict is verdict


def test_a_bar_that_floats_only_nearly_meet_is_met() -> None:
    assert alone_report(spec(0.1), scores(*[0.1] * 10), "").verdict is PairVerdict.PASS


def test_a_run_that_was_cut_short_fails_and_never_passes() -> None:
    assert alone_report(spec(0.75), scores(1, 1), "the cap").verdict is PairVerdict.INCONCLUSIVE
    assert alone_report(spec(0.75), scores(0, 0), "the cap").verdict is PairVerdict.FAIL


def test_without_a_bar_nothing_is_shown_and_the_lowest_cases_are_named() -> None:
    assert alone_report(spec(None), scores(1), "").verdict is PairVerdict.INCONCLUSIVE
    (_, word) = alone_report(spec(0.5), scores(1, 0.2, 0), "").checks
    assert word.worst == ("2", "1")
    assert word.candidate_score == pytest.approx(0.4)
