"""Pairs of answers to the same inputs: what passes, what fails, and what shows nothing."""

from math import log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineclear.domain.evidence import Arm, ArmCounts, bets_on_worse
from lineclear.domain.pairs import HALF_BP, PairRule, Pairs, PairVerdict, pairs_needed
from lineclear.testing.binomial import probability_of_at_least

RULE = PairRule()
TIE, WORSE, BETTER = (0.0, 0.0), (1.0, 0.0), (0.0, 1.0)


def compared(ties: int, worse: int, better: int, rule: PairRule = RULE) -> Pairs:
    return Pairs.compared(rule, [TIE] * ties + [WORSE] * worse + [BETTER] * better)


def test_only_discordant_pairs_speak_of_worse() -> None:
    pairs = compared(900, 30, 6)
    counts = ArmCounts.counted([(Arm.CANDIDATE, HALF_BP, 30), (Arm.STABLE, HALF_BP, 6)])
    assert pairs.log_e_worse() == pytest.approx(counts.log_e(bets_on_worse(1.25)), abs=1e-7)
    assert pairs.log_e_worse() == compared(0, 30, 6).log_e_worse()
    assert (pairs.pairs, pairs.worse, pairs.better) == (936, 30, 6)


@pytest.mark.parametrize(
    ("ties", "worse", "better", "verdict"),
    [
        (0, 0, 0, PairVerdict.INCONCLUSIVE),
        (30, 0, 0, PairVerdict.INCONCLUSIVE),
        (245, 0, 0, PairVerdict.INCONCLUSIVE),
        (246, 0, 0, PairVerdict.PASS),
        (1_000, 2, 2, PairVerdict.PASS),
        (1_000, 0, 40, PairVerdict.PASS),
        (960, 30, 10, PairVerdict.INCONCLUSIVE),
        (950, 40, 6, PairVerdict.FAIL),
        (0, 20, 1, PairVerdict.FAIL),
        (3, 2, 0, PairVerdict.INCONCLUSIVE),
    ],
)
def test_a_verdict_needs_enough_to_stand_on(ties: int, worse: int, better: int, verdict: PairVerdict) -> None:
    assert compared(ties, worse, better).verdict() is verdict


@pytest.mark.parametrize("rule", [PairRule(), PairRule(margin=0.1), PairRule(alpha=0.001), PairRule(margin=0.5)])
def test_the_fewest_inputs_that_can_pass(rule: PairRule) -> None:
    number = pairs_needed(rule)
    # Sums are rounded down by 2**-32 each, so one more at most.
    assert compared(number + 1, 0, 0, rule).verdict() is PairVerdict.PASS
    assert compared(number - 1, 0, 0, rule).verdict() is PairVerdict.INCONCLUSIVE


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=30),
    st.randoms(use_true_random=False),
    st.integers(1, 4),
)
def test_pairs_add_in_any_order_and_any_pieces(answers: list[tuple[float, float]], random: Random, pieces: int) -> None:
    shuffled = random.sample(answers, len(answers))
    merged = Pairs.compared(RULE, [])
    for piece in range(pieces):
        merged = merged.merge(Pairs.compared(RULE, shuffled[piece::pieces]))
    assert merged == Pairs.compared(RULE, answers)
    assert merged.verdict() is Pairs.compared(RULE, answers).verdict()


def test_a_candidate_at_the_edge_is_judged_wrongly_as_seldom_as_promised(full_form: bool) -> None:
    """At the edge of either null, at 12 looks over 600 pairs, at most 5 % (exact binomial, one in 10,000 by chance)."""
    random, runs, number = Random(20_261), 2_000 if full_form else 300, 600
    failed = passed = 0
    for _ in range(runs):
        # Worse by exactly the tolerated odds.
        failed += ever(random, number, 0.25, 0.2, "worse")
        # Worse by exactly the margin.
        passed += ever(random, number, 0.03, 0.01, "within")
    for wrong in (failed, passed):
        assert probability_of_at_least(wrong, runs, 0.05) > 1e-4
    assert failed + passed > 0, "a test that never errs at the edge looks at nothing"


def ever(random: Random, number: int, worse: float, better: float, which: str) -> bool:
    """Whether the evidence is ever enough, looked at after every 50 pairs."""
    pairs, line = Pairs.compared(RULE, []), log(1 / RULE.alpha)
    for _ in range(number // 50):
        drawn = (random.random() for _ in range(50))
        answers = [WORSE if one < worse else BETTER if one < worse + better else TIE for one in drawn]
        pairs = pairs.merge(Pairs.compared(RULE, answers))
        if (pairs.log_e_worse() if which == "worse" else pairs.log_e_within()) >= line:
            return True
    return False


def test_pairs_of_different_rules_do_not_add() -> None:
    with pytest.raises(ValueError, match="do not add"):
        compared(1, 0, 0).merge(compared(1, 0, 0, PairRule(margin=0.1)))


@pytest.mark.parametrize("answer", [(1.1, 0.0), (0.0, -0.1), (float("nan"), 0.0)])
def test_an_answer_beyond_its_range_is_refused(answer: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="badness lies from 0 to 1"):
        Pairs.compared(RULE, [answer])


@pytest.mark.parametrize("wrong", [{"rho": 0.9}, {"margin": 0.0}, {"margin": 1.0}, {"alpha": 1.0}])
def test_a_rule_that_asks_nothing_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="pairs need"):
        PairRule(**wrong)
