"""The state machine of a rollout: every transition by evidence and time, by people, and none out of an end."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.strategies import integers, lists, sampled_from

from lineclear.domain import rollout as rules
from lineclear.domain.evidence import Arm, ArmCounts, BadnessSums, bets_on_worse
from lineclear.domain.floor import FloorCounts, FloorSums
from lineclear.domain.reviews import ReviewOutcome
from lineclear.domain.rollout import (
    Course,
    GateResult,
    GateVerdict,
    Hold,
    NotPossible,
    Progress,
    RolloutState,
    Step,
    StepKind,
    WatchedGuard,
)
from lineclear.domain.signals import CountedSignal, Guard, ReviewSignal, RolloutEvidence

S = rules.SECOND_US
START_US = 1_000 * S
WEIGHT = Step(StepKind.WEIGHT, 1_000, bake_us=60 * S, requests_min=100, wait_max_us=600 * S)
COURSE = Course(
    "careful",
    (
        WEIGHT,
        Step(StepKind.APPROVAL, 1_000),
        Step(StepKind.WEIGHT, 5_000, bake_us=60 * S, requests_min=100, wait_max_us=600 * S),
        Step(StepKind.HOLDBACK, 9_500, bake_us=120 * S),
    ),
    (WatchedGuard(Guard.ERROR, 1.25, 0.005),),
    alpha=0.01,
    hold_at=20.0,
    lease_s=300,
)
BEGUN = rules.begun(COURSE, Progress(), START_US)
OPEN = (
    Progress(),
    BEGUN,
    rules.paused(BEGUN, "by ann"),
    *(
        msgspec.structs.replace(BEGUN, state=RolloutState.HELD, hold=hold)
        for hold in (Hold.ANALYSIS, Hold.NO_DATA, Hold.SPLIT, Hold.APPROVAL)
    ),
)
"""A rollout in each of its open states."""


def evidence(
    known_s: int,
    *,
    weight_bp: int = 1_000,
    requests: tuple[int, int] = (900, 100),
    bad: tuple[int, int] = (0, 0),
    missing: tuple[str, ...] = (),
) -> RolloutEvidence:
    """What the ledger says so many seconds after the first step began; numbers are of stable and the candidate."""
    all_ = ArmCounts.counted([(Arm.STABLE, weight_bp, requests[0]), (Arm.CANDIDATE, weight_bp, requests[1])])
    first = ArmCounts.counted([(Arm.STABLE, weight_bp, bad[0]), (Arm.CANDIDATE, weight_bp, bad[1])])
    signal = CountedSignal(Guard.ERROR, first, first, FloorCounts(bad[1], requests[1] - bad[1]))
    return RolloutEvidence(
        rollout="ro_1",
        requests=all_,
        first_requests=all_,
        counted=(signal,),
        cost=None,
        unpriced=ArmCounts(),
        unmonitored=0,
        other_release=0,
        watermark_us=START_US + known_s * S,
        missing=missing,
    )


def looked(progress: Progress, known: RolloutEvidence | None, after_s: int) -> Progress:
    return rules.advanced(COURSE, progress, known, START_US + after_s * S)


def test_a_step_lasts_until_its_time_is_over_and_its_requests_are_there() -> None:
    assert rules.weight_bp(COURSE, Progress()) == 0
    assert rules.weight_bp(COURSE, BEGUN) == 1_000
    assert looked(BEGUN, evidence(59), 59) == BEGUN
    few = evidence(61, requests=(891, 99))
    assert looked(BEGUN, few, 61) == BEGUN
    assert rules.why_not_advancing(COURSE, BEGUN, few, START_US + 61 * S) == (
        "the candidate had 99 of 100 requests at this weight",
    )
    passed = looked(BEGUN, evidence(61), 61)
    assert (passed.state, passed.hold, passed.step) == (RolloutState.HELD, Hold.APPROVAL, 1)
    assert rules.weight_bp(COURSE, passed) == 1_000


def test_time_that_the_ledger_does_not_cover_is_not_counted() -> None:
    assert looked(BEGUN, evidence(55), 62) == BEGUN
    assert looked(BEGUN, evidence(61, missing=("gateway-1",)), 62) == BEGUN


def test_everything_passed_is_complete() -> None:
    progress = rules.stepped(COURSE, looked(BEGUN, evidence(61), 61), "by bob", START_US + 100 * S)
    assert (progress.state, progress.step) == (RolloutState.RUNNING, 2)
    progress = looked(progress, evidence(161, weight_bp=5_000, requests=(100, 100)), 161)
    assert (progress.step, rules.weight_bp(COURSE, progress)) == (3, 9_500)
    assert looked(progress, evidence(280, weight_bp=9_500, requests=(5, 95)), 280).step == 3
    done = looked(progress, evidence(282, weight_bp=9_500, requests=(5, 95)), 282)
    assert done.state is RolloutState.COMPLETED
    assert rules.weight_bp(COURSE, done) == 0


@pytest.mark.parametrize("progress", OPEN[1:], ids=lambda progress: f"{progress.state}-{progress.hold}")
def test_a_guard_rolls_back_whatever_it_is_held_by(progress: Progress) -> None:
    worse = looked(progress, evidence(5, requests=(900, 100), bad=(5, 40)), 5)
    assert worse.state is RolloutState.ROLLED_BACK
    assert worse.by_guard
    assert "error" in worse.reason


def test_suspicion_holds_until_a_person_has_seen_it() -> None:
    suspected = evidence(5, requests=(9_000, 1_000), bad=(20, 10))
    held = looked(BEGUN, suspected, 5)
    assert (held.state, held.hold) == (RolloutState.HELD, Hold.ANALYSIS)
    assert looked(held, evidence(8), 8) == held
    taken_up = rules.resumed(COURSE, held, suspected, "by ann", START_US + 9 * S)
    assert taken_up.muted == ("error",)
    assert looked(taken_up, msgspec.structs.replace(suspected, watermark_us=START_US + 10 * S), 10) == taken_up


def test_a_rate_below_the_floor_never_rolls_back() -> None:
    rare = looked(BEGUN, evidence(5, requests=(900_000, 100_000), bad=(5, 40)), 5)
    assert (rare.state, rare.hold) == (RolloutState.HELD, Hold.ANALYSIS)


def test_arms_that_are_not_dealt_as_they_should_be_hold_for_good() -> None:
    held = looked(BEGUN, evidence(5, requests=(500, 500), bad=(5, 40)), 5)
    assert (held.state, held.hold) == (RolloutState.HELD, Hold.SPLIT)
    with pytest.raises(NotPossible, match="not dealt"):
        rules.resumed(COURSE, held, None, "by ann", START_US + 9 * S)
    assert rules.rolled_back(held, "by ann").state is RolloutState.ROLLED_BACK


def test_missing_data_holds_and_is_taken_up_by_itself() -> None:
    held = looked(BEGUN, evidence(5, missing=("gateway-1",)), 16)
    assert (held.state, held.hold) == (RolloutState.HELD, Hold.NO_DATA)
    assert "gateway-1" in held.reason
    assert looked(held, evidence(16), 17).state is RolloutState.RUNNING
    assert looked(BEGUN, None, 11).hold is Hold.NO_DATA


def test_missing_data_is_no_way_around_an_approval() -> None:
    waiting = looked(BEGUN, evidence(61), 61)
    silent = evidence(61, missing=("gateway-1",))
    assert looked(waiting, silent, 90) == waiting
    why = rules.why_not_advancing(COURSE, waiting, silent, START_US + 90 * S)
    assert why[0] == rules.APPROVAL_WORDS
    assert "gateway-1" in why[1]
    # As it was stored before: it is taken back to what it waits for, and nobody steps out of it until then.
    for hold in (Hold.NO_DATA, Hold.NONE):
        stored = msgspec.structs.replace(waiting, hold=hold)
        assert rules.awaits_approval(COURSE, stored)
        with pytest.raises(NotPossible, match="asks for approval"):
            rules.stepped(COURSE, stored, "by ann", START_US + 91 * S)
        assert looked(stored, silent, 92).hold is Hold.APPROVAL
    taken_up = rules.resumed(COURSE, rules.paused(waiting, "by ann"), silent, "by ann", START_US + 93 * S)
    assert (taken_up.step, taken_up.hold) == (1, Hold.APPROVAL)


def test_too_few_requests_ask_a_person_in_the_end() -> None:
    few = evidence(601, requests=(90, 10))
    held = looked(BEGUN, few, 601)
    assert (held.state, held.hold) == (RolloutState.HELD, Hold.NO_DATA)
    waiting = rules.resumed(COURSE, held, few, "by ann", START_US + 602 * S)
    assert looked(waiting, msgspec.structs.replace(few, watermark_us=START_US + 700 * S), 700) == waiting
    assert rules.stepped(COURSE, held, "by ann", START_US + 602 * S).step == 1


@pytest.mark.parametrize("progress", OPEN, ids=lambda progress: f"{progress.state}-{progress.hold}")
def test_a_person_rolls_back_and_a_change_cancels_from_every_open_state(progress: Progress) -> None:
    assert rules.rolled_back(progress, "by ann").state is RolloutState.ROLLED_BACK
    assert rules.cancelled(progress, "another one").state is RolloutState.CANCELLED
    assert rules.paused(progress, "by ann").hold is Hold.MANUAL


def test_evidence_is_said_as_odds() -> None:
    assert rules.evidence_words(3.611) == "37 : 1 against"
    assert rules.evidence_words(1.5) == "4.5 : 1 against"
    assert rules.evidence_words(-3.0) == "none against"


GATED = msgspec.structs.replace(
    COURSE,
    steps=(
        Step(StepKind.EVAL, 0, gate="{}", title="eval answers"),
        WEIGHT,
        Step(StepKind.REPLAY, 1_000),
        *COURSE.steps[2:],
    ),
)
AT_GATE = rules.begun(GATED, Progress(), START_US)
PASS = GateResult(GateVerdict.PASS, "0.01 more")
FAIL = GateResult(GateVerdict.FAIL, "40 : 1")
UNCLEAR = GateResult(GateVerdict.INCONCLUSIVE, "3 : 1")
RUNNING = GateResult(GateVerdict.RUNNING, "3 of 9 cases")


def gated(
    progress: Progress, gate: GateResult | None, known: RolloutEvidence | None = None, after_s: int = 5
) -> Progress:
    return rules.advanced(GATED, progress, known, START_US + after_s * S, gate)


def test_a_gate_gives_no_traffic_before_the_first_weight_and_ends_with_its_verdict_alone() -> None:
    assert rules.weight_bp(GATED, AT_GATE) == 0
    for nothing in (None, RUNNING):
        # Neither time nor missing data takes it further, nor holds it: nobody is exposed.
        assert gated(AT_GATE, nothing, after_s=100_000) == AT_GATE
    assert rules.why_not_advancing(GATED, AT_GATE, None, START_US, RUNNING) == ("eval answers: 3 of 9 cases",)
    assert rules.why_not_advancing(GATED, AT_GATE, None, START_US) == ("eval answers: it has not begun",)
    with pytest.raises(NotPossible, match="verdict"):
        rules.stepped(GATED, AT_GATE, "by ann", START_US)
    passed = gated(AT_GATE, PASS)
    assert (passed.step, passed.state, rules.weight_bp(GATED, passed)) == (1, RolloutState.RUNNING, 1_000)


def test_a_failed_gate_holds_until_it_is_run_again_or_rolled_back() -> None:
    held = gated(AT_GATE, FAIL)
    assert (held.state, held.hold, held.verdict) == (RolloutState.HELD, Hold.GATE, "fail")
    assert held.reason == "eval answers: fail: 40 : 1"
    assert gated(held, FAIL) == held
    assert rules.why_not_advancing(GATED, held, None, START_US, FAIL) == (held.reason,)
    with pytest.raises(NotPossible, match="gate failed"):
        rules.resumed(GATED, held, None, "by ann", START_US)
    with pytest.raises(NotPossible, match="verdict"):
        rules.stepped(GATED, held, "by ann", START_US)
    again = rules.run_again(GATED, held, "by ann", START_US + 9 * S)
    assert (again.state, again.step, again.attempt, again.verdict) == (RolloutState.RUNNING, 0, 1, "")
    assert rules.run_again(GATED, gated(again, UNCLEAR), "by ann", START_US).attempt == 2
    assert gated(again, PASS).attempt == 0
    assert rules.rolled_back(held, "by ann").state is RolloutState.ROLLED_BACK


def test_a_gate_that_failed_once_is_passed_by_its_pass_alone() -> None:
    held = gated(AT_GATE, FAIL)
    # A row that was written before attempts were remembered.
    stored = msgspec.json.encode(held).replace(b',"failed":true', b"")
    old = msgspec.json.decode(stored, type=Progress)
    assert not old.failed
    for failed in (held, old):
        again = rules.run_again(GATED, failed, "by ann", START_US + 9 * S)
        for cut_short in (
            gated(again, UNCLEAR),
            gated(rules.run_again(GATED, gated(again, UNCLEAR), "by ann", START_US), UNCLEAR),
            gated(rules.resumed(GATED, rules.paused(again, "by ann"), None, "by ann", START_US), UNCLEAR),
        ):
            with pytest.raises(NotPossible, match="failed before, and only a pass takes that back"):
                rules.resumed(GATED, cut_short, None, "by ann", START_US)
        passed = gated(again, PASS)
        assert (passed.step, passed.failed) == (1, False)
        # Of a gate behind it nothing is said yet.
        behind = gated(msgspec.structs.replace(passed, step=2), UNCLEAR)
        assert rules.resumed(GATED, behind, None, "by ann", START_US).step == 3


def test_nothing_shown_is_passed_by_a_person_alone() -> None:
    held = gated(AT_GATE, UNCLEAR)
    assert (held.hold, held.verdict) == (Hold.GATE, "inconclusive")
    assert gated(held, UNCLEAR, after_s=100_000) == held
    on = rules.resumed(GATED, held, None, "by ann: seen", START_US + 9 * S)
    assert (on.step, on.state, on.reason) == (1, RolloutState.RUNNING, "by ann: seen")
    # Who pauses it and resumes it has not said anything about the gate.
    paused = rules.paused(held, "by ann")
    assert gated(paused, PASS) == paused
    taken_up = rules.resumed(GATED, paused, None, "by ann", START_US + 9 * S)
    assert (taken_up.step, taken_up.state) == (0, RolloutState.RUNNING)
    assert gated(taken_up, UNCLEAR).hold is Hold.GATE


def test_guards_speak_while_a_gate_at_a_weight_runs() -> None:
    at = msgspec.structs.replace(gated(AT_GATE, PASS), step=2)
    assert rules.weight_bp(GATED, at) == 1_000
    assert gated(at, PASS, evidence(5, bad=(5, 40))).state is RolloutState.ROLLED_BACK
    assert gated(at, PASS, evidence(5, requests=(9_000, 1_000), bad=(20, 10))).hold is Hold.ANALYSIS
    assert gated(at, PASS, evidence(5, missing=("gateway-1",)), 20).hold is Hold.NO_DATA
    assert gated(at, PASS, evidence(5)).step == 3


@pytest.mark.parametrize("progress", OPEN, ids=lambda progress: f"{progress.state}-{progress.hold}")
def test_nothing_is_run_again_where_no_gate_holds(progress: Progress) -> None:
    with pytest.raises(NotPossible, match="no gate"):
        rules.run_again(COURSE, progress, "by ann", START_US)


@example(["fail", "rerun", "inconclusive", "resume"])
@example(["fail", "pause", "resume", "inconclusive", "resume"])
@given(lists(sampled_from(["pass", "fail", "inconclusive", "running", "none", "pause", "resume", "step", "rerun"])))
def test_no_order_leads_past_a_gate_but_its_verdict_or_a_person_who_saw_that_nothing_was_shown(acts: list[str]) -> None:
    at = AT_GATE
    has_failed = False
    for act in acts:
        was = at
        gate = None if act == "none" else GateResult(GateVerdict(act), "x") if act in set(GateVerdict) else None
        try:
            match act:
                case "pause":
                    at = rules.paused(was, "by ann")
                case "resume":
                    at = rules.resumed(GATED, was, None, "by ann", START_US)
                case "step":
                    at = rules.stepped(GATED, was, "by ann", START_US)
                case "rerun":
                    at = rules.run_again(GATED, was, "by ann", START_US)
                case _:
                    at = gated(was, gate)
        except NotPossible:
            continue
        if at.step != 0:
            is_seen = act == "resume" and (was.hold, was.verdict, has_failed) == (Hold.GATE, "inconclusive", False)
            assert is_seen or (act == "pass" and was.state is RolloutState.RUNNING)
            return
        has_failed = has_failed or at.verdict == "fail"
        assert at.failed == has_failed
        assert rules.weight_bp(GATED, at) == 0
        assert (at.verdict != "") == (at.hold is Hold.GATE)
        assert at.attempt == was.attempt + (act == "rerun")


class Life(RuleBasedStateMachine):
    """Everything that can happen to a rollout, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.progress = Progress()
        self.now_s = 0
        self.seen = [self.progress]

    def become(self, progress: Progress) -> None:
        self.seen.append(progress)
        self.progress = progress

    def attempt(self, act: str, *more: object) -> None:
        try:
            self.become(getattr(rules, act)(*more))
        except NotPossible:
            self.seen.append(self.progress)

    @precondition(lambda self: self.progress.step < 0 and self.progress.state is RolloutState.PENDING)
    @rule()
    def begin(self) -> None:
        self.become(rules.begun(COURSE, self.progress, START_US + self.now_s * S))

    @rule(seconds=integers(1, 700), bad=sampled_from([(0, 0), (5, 40), (20, 10)]), share=sampled_from([1, 5]))
    def look(self, seconds: int, bad: tuple[int, int], share: int) -> None:
        self.now_s += seconds
        weight = rules.weight_bp(COURSE, self.progress) or 1_000
        split = (10_000 - weight, weight) if share == 1 else (5_000, 5_000)
        known = evidence(self.now_s, weight_bp=weight, requests=split, bad=bad)
        self.become(looked(self.progress, known, self.now_s))

    @rule(act=sampled_from(["paused", "rolled_back", "cancelled"]))
    def act(self, act: str) -> None:
        self.attempt(act, self.progress, "by ann")

    @rule()
    def resume(self) -> None:
        self.attempt("resumed", COURSE, self.progress, None, "by ann", START_US + self.now_s * S)

    @rule()
    def step(self) -> None:
        was = self.progress
        self.attempt("stepped", COURSE, self.progress, "by ann", START_US + self.now_s * S)
        if rules.awaits_approval(COURSE, was) and self.progress != was:
            assert was.hold is Hold.APPROVAL

    @invariant()
    def only_an_approval_leads_past_its_step(self) -> None:
        for was, now in pairwise(self.seen):
            assert now.step <= was.step or not rules.awaits_approval(COURSE, was) or was.hold is Hold.APPROVAL

    @invariant()
    def no_way_leads_out_of_an_end(self) -> None:
        ends = [progress for progress in self.seen if not progress.is_open]
        assert all(progress == ends[0] for progress in self.seen[self.seen.index(ends[0]) :]) if ends else True

    @invariant()
    def the_weight_only_rises_until_it_is_nothing(self) -> None:
        weights = [rules.weight_bp(COURSE, progress) for progress in self.seen if progress.is_open]
        assert weights == sorted(weights)
        assert all(weight < 10_000 for weight in weights)
        assert self.progress.is_open or rules.weight_bp(COURSE, self.progress) == 0

    @invariant()
    def held_says_by_what(self) -> None:
        assert (self.progress.state is RolloutState.HELD) == (self.progress.hold is not Hold.NONE)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def reviewed(candidate: int, *, known_s: int = 70, rejected: int = 0) -> RolloutEvidence:
    """Evidence with so many reviews of each arm, and so many rejected ones of the candidate's."""
    said = [(Arm.CANDIDATE, 1_000, 1.0)] * rejected
    return msgspec.structs.replace(
        evidence(known_s),
        reviews=ReviewSignal(
            stable={ReviewOutcome.APPROVED: candidate},
            candidate={ReviewOutcome.APPROVED: candidate - rejected, ReviewOutcome.REJECTED: rejected},
            worse=BadnessSums.summed(bets_on_worse(1.25), said),
            material=FloorSums.summed(0.005, [1.0] * rejected + [0.0] * (candidate - rejected)),
        ),
    )


def test_a_weight_step_waits_for_the_reviews_that_its_guard_wants() -> None:
    course = msgspec.structs.replace(
        COURSE, guards=(*COURSE.guards, WatchedGuard(Guard.REVIEW, 1.25, 0.005, reviews_min=30))
    )
    few, enough = reviewed(29), reviewed(30)
    assert rules.advanced(course, BEGUN, few, START_US + 71 * S) == BEGUN
    assert rules.why_not_advancing(course, BEGUN, few, START_US + 71 * S) == ("the candidate had 29 of 30 reviews",)
    late = rules.advanced(course, BEGUN, reviewed(29, known_s=700), START_US + 701 * S)
    assert (late.hold, late.reason) == (
        Hold.NO_DATA,
        "the candidate had 29 of 30 reviews in 701 s: resume to wait on, or advance",
    )
    assert rules.advanced(course, BEGUN, enough, START_US + 71 * S).step == 1
    # Nobody is asked for reviews where they are not watched, nor of the holdback.
    assert rules.advanced(COURSE, BEGUN, few, START_US + 71 * S).step == 1


def test_rejected_reviews_alone_roll_back() -> None:
    course = msgspec.structs.replace(COURSE, guards=(WatchedGuard(Guard.REVIEW, 1.25, 0.005),))
    assert rules.advanced(course, BEGUN, reviewed(60, known_s=1), START_US + S) == BEGUN
    ended = rules.advanced(course, BEGUN, reviewed(60, known_s=1, rejected=20), START_US + S)
    assert (ended.state, ended.by_guard) == (RolloutState.ROLLED_BACK, True)
    assert ended.reason.startswith("guard review: the candidate is worse")


def test_traffic_that_is_no_evidence_holds_a_step_that_needs_no_requests() -> None:
    free = msgspec.structs.replace(WEIGHT, requests_min=0, wait_max_us=0)
    course = msgspec.structs.replace(COURSE, steps=(free, *COURSE.steps[1:]))
    begun = rules.begun(course, Progress(), START_US)
    silent = msgspec.structs.replace(evidence(70), requests=ArmCounts(), first_requests=ArmCounts(), counted=())
    assert rules.advanced(course, begun, silent, START_US + 71 * S).step == 1
    elsewhere = msgspec.structs.replace(silent, other_release=40)
    held = rules.advanced(course, begun, elsewhere, START_US + 71 * S)
    assert (held.state, held.hold, held.step) == (RolloutState.HELD, Hold.NO_DATA, 0)
    assert "40 requests say another release than their arm's and only 0 count" in held.reason
    # A person may know better; and the app may read its configuration anew.
    assert rules.stepped(course, held, "by ann", START_US + 72 * S).step == 1
    back = rules.advanced(course, held, msgspec.structs.replace(evidence(70), other_release=40), START_US + 72 * S)
    assert back.state is RolloutState.RUNNING


def test_evidence_that_was_removed_from_the_ledger_holds() -> None:
    less = msgspec.structs.replace(evidence(70), lost=12)
    assert not less.is_complete
    held = rules.advanced(COURSE, BEGUN, less, START_US + 71 * S)
    assert (held.hold, held.step) == (Hold.NO_DATA, 0)
    assert held.reason == "12 of its requests are in the ledger no more, so the evidence is not whole"
