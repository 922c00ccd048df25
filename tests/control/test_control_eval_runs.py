"""Runs of evals when judges are lost, unpriced or not written down, and when many start; a gateway is scripted."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from control.test_control_replay_runner import CANDIDATE, CONTENT, STABLE, WAIT_S, Answer, Gateway, good, spec
from lineclear.control.endpoint import Refused
from lineclear.control.evals import runs as rules
from lineclear.control.evals.runs import EvalAsked, EvalRuns
from lineclear.control.replays.door import InnerDoor
from lineclear.control.replays.service import OPEN_MAX, Replays
from lineclear.domain.evals import ANSWERED_ID, Answered, Check, CheckWay, EvalSpec, Judge, Pattern
from lineclear.domain.rollout import StepKind
from lineclear.handover.inner_door import InnerPrincipal, InnerPurpose
from lineclear.store import eval_rows as rows
from lineclear.store.eval_rows import ScoreRow
from lineclear.testing.control_plane import ControlPlane
from lineclear.testing.manifests import SUPPORT

JUDGES = Judge("chat", "Is it good?", 1)
ANSWERS = 24
"""Of twelve cases, by both releases."""
FULL = "CREATE TRIGGER full BEFORE INSERT ON eval_scores BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"


@pytest.fixture
def gateway(plane: ControlPlane) -> Iterator[Gateway]:
    plane.apply(SUPPORT + "---\nkind: App\nname: shop\nteam: support\nroutes: ['*']\n")
    plane.replays.datasets.add("questions", "support", CONTENT, "anna")
    made = Gateway(plane)
    made.open()
    yield made
    made.close()


def asked(way: CheckWay = JUDGES, *, rollout: str = "", team: str = "support", cap_nano_usd: int = 10**9) -> EvalAsked:
    checks = (Check(ANSWERED_ID, Answered()), Check("mine", way))
    what = EvalSpec("tidy", team, "shop", "questions", checks, 0.05, 2.0, 0.05, cap_nano_usd)
    return EvalAsked("", StepKind.EVAL, what, "live", "chat", STABLE, CANDIDATE, rollout, "anna")


def judged(gateway: Gateway) -> int:
    return sum(who.purpose is InnerPurpose.JUDGE for who, _, _ in gateway.calls)


def when_judged(says: Callable[[], Answer]) -> Callable[[InnerPrincipal, dict[str, Any]], Answer]:
    return lambda who, _: says() if who.purpose is InnerPurpose.JUDGE else good("8")


def begun(plane: ControlPlane, what: EvalAsked) -> str:
    plane.replays.open()
    plane.evals.open()
    return plane.evals.begin(what)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def ended(runs: EvalRuns, run: str) -> tuple[str, str]:
    wait_for(lambda: not runs.show(run).is_open)
    row = runs.show(run).row
    return row.state, row.reason


def scores(plane: ControlPlane, run: str) -> list[ScoreRow]:
    with plane.database.read() as tx:
        return rows.read_scores(tx, run)


def test_judges_are_paid_once_however_long_their_marks_cannot_be_written(plane: ControlPlane, gateway: Gateway) -> None:
    gateway.says = when_judged(lambda: good("8"))
    with plane.database.write() as tx:
        tx.exec_driver_sql(FULL)
    run = begun(plane, asked())
    wait_for(lambda: judged(gateway) == ANSWERS)
    time.sleep(4 * rules.LOOK_S)
    assert (judged(gateway), plane.evals.show(run).is_open) == (ANSWERS, True)
    with plane.database.write() as tx:
        tx.exec_driver_sql("DROP TRIGGER full")
    assert ended(plane.evals, run)[0] == "completed"
    assert judged(gateway) == ANSWERS
    assert plane.evals.show(run).row.spent_nano_usd == ANSWERS * 1_000


def test_a_judge_that_loses_its_price_is_asked_no_more(plane: ControlPlane, gateway: Gateway) -> None:
    status, fields, body = good("8")
    unpriced = {name: value for name, value in fields.items() if name != "x-lineclear-cost-usd"}
    answers = iter([good("8")])
    gateway.says = when_judged(
        lambda: next(answers, (status, {**unpriced, "x-lineclear-cost-basis": "unpriced"}, body))
    )
    run = begun(plane, asked(Judge("chat", "Is it good?", 2)))
    state, reason = ended(plane.evals, run)
    assert (state, "has no price" in reason) == ("completed", True)
    assert judged(gateway) == 2
    assert plane.evals.show(run).row.spent_nano_usd == 1_000, "the mark before it was paid all the same"


def test_a_judgement_that_is_lost_counts_as_the_dearest(plane: ControlPlane, gateway: Gateway) -> None:
    gateway.says = when_judged(lambda: good("8") if judged(gateway) <= 2 else (0, {}, b""))
    # The replay takes 24 of these, the first judgement two.
    run = begun(plane, asked(Judge("chat", "Is it good?", 2), cap_nano_usd=36_000))
    assert ended(plane.evals, run)[0] == "completed"
    assert judged(gateway) <= 2 + 5
    assert plane.evals.show(run).row.spent_nano_usd <= 12_000


def test_a_defect_ends_a_run_and_stops_no_other(plane: ControlPlane, gateway: Gateway) -> None:
    gateway.says = lambda _, __: good("Paris")
    broken = [begun(plane, asked(Pattern("("))), plane.evals.begin(asked(Pattern("(")))]
    broken.append(plane.evals.begin(asked(Pattern("("), rollout="ro_1")))
    for run in broken:
        state, reason = ended(plane.evals, run)
        assert (state, "SchemaMistake" in reason) == ("failed", True)
    assert ended(plane.evals, plane.evals.begin(asked(Pattern("Paris"))))[0] == "completed"


def test_judgements_that_a_restart_cuts_are_asked_for_again(plane: ControlPlane, gateway: Gateway) -> None:
    def mark() -> Answer:
        asked_now = judged(gateway)
        if asked_now >= 3:
            # Control ends before the answer of the third is lost, so nobody can take it for lost by itself.
            plane.evals._closing.set()
            for active in plane.evals._active.values():
                active.over.set()
        return (0, {}, b"") if asked_now == 3 else good("8")

    gateway.says = when_judged(mark)
    run = begun(plane, asked())
    wait_for(lambda: judged(gateway) >= 3)
    plane.evals.close()
    plane.replays.close()
    kept = scores(plane, run)
    gateway.says = when_judged(lambda: good("8"))
    replays = Replays(plane.publisher, InnerDoor(plane.run_dir, plane.keys_of_master, plane.clock))
    second = EvalRuns(plane.publisher, replays, {})
    second.open()
    try:
        assert ended(second, run)[0] == "completed"
        report = second.show(run).report
        assert report is not None
        assert [one.unknown for one in report.checks if one.id == "mine"] == [0], kept
    finally:
        second.close()
        replays.close()


def test_no_mark_is_kept_of_a_run_that_was_stopped(plane: ControlPlane, gateway: Gateway) -> None:
    asked_one, goes_on = threading.Event(), threading.Event()

    def says(who: InnerPrincipal, _: dict[str, Any]) -> Answer:
        if who.purpose is InnerPurpose.JUDGE and judged(gateway) == ANSWERS:
            asked_one.set()
            goes_on.wait(WAIT_S)
        return good("8")

    gateway.says = says
    run = begun(plane, asked())
    assert asked_one.wait(WAIT_S)
    plane.evals.stop(run, "ben", "")
    goes_on.set()
    wait_for(lambda: not plane.evals._active)
    assert scores(plane, run) == []
    assert plane.evals.show(run).row.state == "stopped"


def test_a_team_has_so_many_runs_and_hears_nothing_of_others(plane: ControlPlane, gateway: Gateway) -> None:
    ids = [plane.evals.begin(asked()) for _ in range(rules.BY_HAND_TEAM_MAX)]
    with pytest.raises(Refused, match="of team 'support' are under way") as refused:
        plane.evals.begin(asked())
    assert not any(id_ in refused.value.message + refused.value.hint for id_ in ids)
    plane.evals.begin(asked(rollout="ro_1"))


def test_gates_go_first_and_people_leave_them_room(plane: ControlPlane, gateway: Gateway) -> None:
    hand = [plane.evals.begin(asked()) for _ in range(3)]
    gate = plane.evals.begin(asked(rollout="ro_1"))
    taken = [plane.evals._next() for _ in range(4)]
    assert [one and one[0].id for one in taken] == [gate, hand[0], hand[1], None]
    late = plane.evals.begin(asked(rollout="ro_2"))
    found = plane.evals._next()
    assert found is not None
    assert found[0].id == late


def test_a_gate_waits_for_room_among_replays(plane: ControlPlane, gateway: Gateway) -> None:
    full = [plane.replays.start(spec(), "anna") for _ in range(OPEN_MAX)]
    plane.evals.open()
    run = plane.evals.begin(asked(rollout="ro_1"))
    time.sleep(3 * rules.LOOK_S)
    assert (plane.evals.show(run).is_open, plane.evals.show(run).row.replay) == (True, "")
    plane.replays.stop(full[-1], "anna", "")
    wait_for(lambda: plane.evals.show(run).row.replay != "")
