"""Which evidence rolls back, which holds, and which is not believed."""

from math import log

import pytest

from lineclear.domain.evidence import BETS_ON_SPLIT, Arm, ArmCounts
from lineclear.domain.verdict import Cause, Decision, GuardEvidence, Promise, Verdict, decide

FOUR = Promise(rollback_guards=4)


def guard(name: str, e: float, floor_e: float | None = 1e9, *, may_roll_back: bool = True) -> GuardEvidence:
    return GuardEvidence(name, log(e), None if floor_e is None else log(floor_e), may_roll_back)


@pytest.mark.parametrize(
    ("e", "floor_e", "may_roll_back", "verdict", "cause"),
    [
        (400.01, 400.01, True, Verdict.ROLL_BACK, Cause.WORSE),
        (400.01, None, True, Verdict.ROLL_BACK, Cause.WORSE),
        (400.01, 399.0, True, Verdict.HOLD, Cause.BELOW_FLOOR),
        (1e9, 1.0, True, Verdict.HOLD, Cause.BELOW_FLOOR),
        (1e9, 1e9, False, Verdict.HOLD, Cause.SUSPECTED),
        (399.0, 1e9, True, Verdict.HOLD, Cause.SUSPECTED),
        (20.01, 1.0, True, Verdict.HOLD, Cause.SUSPECTED),
        (19.99, 1e9, True, Verdict.OK, None),
        (1.0, 1e9, True, Verdict.OK, None),
    ],
)
def test_a_guard_speaks_at_its_lines(
    e: float, floor_e: float | None, may_roll_back: bool, verdict: Verdict, cause: Cause | None
) -> None:
    decision = decide([guard("error", e, floor_e, may_roll_back=may_roll_back), guard("slow", 1.0)], 0.0, FOUR)
    assert decision.verdict is verdict
    assert [reason.cause for reason in decision.reasons] == ([] if cause is None else [cause])
    for reason in decision.reasons:
        assert reason.guard == "error"
        assert reason.e == pytest.approx(e)
        assert reason.e >= reason.line_e


def test_the_budget_is_shared_by_the_guards_that_may_roll_back() -> None:
    assert FOUR.rollback_e == pytest.approx(400)
    assert Promise(rollback_guards=1).rollback_e == pytest.approx(100)
    assert Promise(rollback_guards=5, alpha=0.001).rollback_e == pytest.approx(5_000)
    assert Promise(rollback_guards=0).rollback_e == pytest.approx(100)


def test_every_guard_that_speaks_is_named_strongest_first() -> None:
    decision = decide([guard("slow", 30), guard("error", 900), guard("cost", 2), guard("review", 500, 1)], 0.0, FOUR)
    assert decision.verdict is Verdict.ROLL_BACK
    assert [(reason.guard, reason.cause) for reason in decision.reasons] == [
        ("error", Cause.WORSE),
        ("review", Cause.BELOW_FLOOR),
        ("slow", Cause.SUSPECTED),
    ]


def test_evidence_from_a_broken_split_holds_and_never_rolls_back() -> None:
    decision = decide([guard("error", 1e6)], log(10_001), FOUR)
    assert decision.verdict is Verdict.HOLD
    assert [reason.cause for reason in decision.reasons] == [Cause.SPLIT_MISMATCH, Cause.WORSE]
    assert decide([guard("error", 1e6)], log(9_999), FOUR).verdict is Verdict.ROLL_BACK


@pytest.mark.parametrize(
    ("candidate", "verdict"), [(1_000, Verdict.OK), (1_030, Verdict.OK), (1_200, Verdict.HOLD), (800, Verdict.HOLD)]
)
def test_a_split_is_believed_unless_it_is_far_from_what_was_said(candidate: int, verdict: Verdict) -> None:
    requests = ArmCounts.counted([(Arm.STABLE, 1_000, 9_000), (Arm.CANDIDATE, 1_000, candidate)])
    assert decide([], requests.log_e(BETS_ON_SPLIT), FOUR).verdict is verdict


def test_no_guard_is_no_objection() -> None:
    assert decide([], 0.0, FOUR) == Decision(Verdict.OK)


@pytest.mark.parametrize(
    "wrong", [{"rollback_guards": -1}, {"alpha": 0.0}, {"alpha": 1.0}, {"hold_e": 1.0}, {"split_alpha": 0.0}]
)
def test_a_promise_that_promises_nothing_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="a promise needs"):
        Promise(**{"rollback_guards": 4, **wrong})  # type: ignore[arg-type]  # one wrong number at a time
