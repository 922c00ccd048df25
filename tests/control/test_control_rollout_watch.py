"""Guards stay alive: one rollout's trouble is no other's, only they renew the lease, taking back needs no database."""

import sqlite3
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from lineclear.control.rollouts.gates import GateRun
from lineclear.control.rollouts.service import Rollouts
from lineclear.control.rollouts.watch import RolloutWatch
from lineclear.domain.evidence import Arm, ArmCounts
from lineclear.domain.floor import FloorCounts
from lineclear.domain.rollout import GateResult, GateVerdict, Hold, RolloutState, StepKind
from lineclear.domain.signals import CountedSignal, Guard, RolloutEvidence, SignalPlan
from lineclear.domain.snapshot import RouteSection
from lineclear.handover.lease import LeaseWriter, lease_path
from lineclear.handover.overrides import journal_path
from lineclear.store.ledger import Ledger
from lineclear.testing.control_plane import ControlPlane
from lineclear.testing.manifests import TWO_VERSIONS

NOUNS = (
    TWO_VERSIONS
    + """---
kind: Rollout
name: careful
steps: [{weight: {percent: 50, bake_s: 600, min_requests: 50}}]
"""
)
ROUTES = ("first", "second")
FULL = "CREATE TRIGGER full BEFORE INSERT ON revisions BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"


def routed(version: str) -> str:
    return NOUNS + "".join(
        f"---\nkind: Route\nname: {name}\nteam: support\nenvironments:\n"
        f"  live: {{rollout: careful, targets: [{{model: small@{version}}}]}}\n"
        for name in ROUTES
    )


class Evidence:
    """What the ledger would say, by rollout; a harmless candidate where nothing else was put."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self.bad: set[str] = set()
        self.broken: set[str] = set()
        self.asked: list[str] = []
        self.kept: set[str] = set()
        self.requests = 1_000
        """Of each arm."""

    def evidence(self, plan: SignalPlan) -> RolloutEvidence:
        self.asked.append(plan.rollout)
        if plan.rollout in self.broken:
            raise ValueError("'x' is not a valid Arm")
        failed = 900 if plan.rollout in self.bad else 0
        requests = ArmCounts.counted([(arm, 5_000, self.requests) for arm in Arm])
        bad = ArmCounts.counted([(Arm.STABLE, 5_000, 0), (Arm.CANDIDATE, 5_000, failed)])
        signal = CountedSignal(Guard.ERROR, bad, bad, FloorCounts(failed, 1_000 - failed))
        now_us = self._plane.clock.unix_us()
        return RolloutEvidence(plan.rollout, requests, requests, (signal,), None, ArmCounts(), 0, 0, now_us, ())

    def keep_only(self, rollouts: Collection[str]) -> None:
        self.kept = set(rollouts)


class House:
    """Two routes with a rollout each, under way, and whoever looks after them."""

    def __init__(self, plane: ControlPlane, ledger: Ledger) -> None:
        for version in "12":
            plane.apply(routed(version), ACME_KEY="sk-1")
        self.plane = plane
        self.evidence = Evidence(plane)
        self.rollouts = Rollouts(plane.publisher, ledger, self.evidence, plane.overrides)
        self.caught_up: list[Exception | None] = []
        self.watch = RolloutWatch(self.rollouts, self._catch_up, LeaseWriter(lease_path(plane.directory)))
        self.watch.look()
        assert self.watch.problems() == ()
        self.ids = {one.stored.row.route: one.stored.row.id for one in self.rollouts.listed(10)}
        self.watch.look()
        route_of = {id_: route for route, id_ in self.ids.items()}
        # In the order in which they are looked at; both began in one microsecond perhaps.
        self.one, self.other = (route_of[id_] for id_ in self.evidence.asked)
        assert all(self.section(route).weight_bp == 5_000 for route in ROUTES)

    def _catch_up(self) -> None:
        if self.caught_up and (error := self.caught_up.pop()) is not None:
            raise error

    def section(self, route: str) -> RouteSection:
        """What gateways have in force."""
        found = self.plane.overrides.desk.standing().route("live", route)
        assert found is not None
        return found

    def renews(self) -> bool:
        """Whether a look renews the lease."""
        path = lease_path(self.plane.directory)
        path.unlink(missing_ok=True)
        self.watch.look()
        return path.exists()

    def state(self, route: str) -> RolloutState:
        return self.rollouts.show(self.ids[route]).stored.progress.state

    def sql(self, statement: str) -> None:
        with sqlite3.connect(self.plane.directory / "lineclear.db") as connection:
            connection.execute(statement)


@pytest.fixture
def house(plane: ControlPlane, tmp_path: Path) -> Iterator[House]:
    ledger = Ledger.open(tmp_path / "ledger")
    yield House(plane, ledger)
    ledger.close()


def test_a_look_that_judged_all_renews_the_lease(house: House) -> None:
    assert house.renews()


def test_one_that_cannot_be_judged_stops_no_other_and_no_lease_is_renewed(house: House) -> None:
    house.evidence.broken = {house.ids[house.one]}
    house.evidence.bad = {house.ids[house.other]}
    house.evidence.asked.clear()
    assert not house.renews()
    assert house.evidence.asked == [house.ids[house.one], house.ids[house.other]]
    assert house.state(house.other) is RolloutState.ROLLED_BACK
    assert house.section(house.one).weight_bp == 5_000
    (problem,) = house.watch.problems()
    assert problem.startswith(f"rollout {house.ids[house.one]} of route {house.one} in live: ValueError: 'x'")
    house.evidence.broken.clear()
    assert house.renews()
    assert house.watch.problems() == ()


def test_a_row_of_another_version_is_trouble_of_its_own(house: House) -> None:
    house.sql(f"UPDATE rollouts SET course = '{{}}' WHERE id = '{house.ids[house.one]}'")
    house.evidence.bad = {house.ids[house.other]}
    house.evidence.asked.clear()
    assert not house.renews()
    assert house.evidence.asked == [house.ids[house.other]]
    assert "ValidationError" in house.watch.problems()[0]
    # Nothing compiles with such a row, and yet the other one is taken back.
    assert house.section(house.other).candidate is None


def test_the_thread_outlives_whatever_a_look_raises(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineclear.control.rollouts.watch.LOOK_S", 0.01)
    house.caught_up = [None, KeyError("segment"), None]
    path = lease_path(house.plane.directory)
    path.unlink()
    house.watch.start()
    try:
        deadline_ns = time.monotonic_ns() + 10_000_000_000
        while (house.caught_up or not path.exists()) and time.monotonic_ns() < deadline_ns:
            time.sleep(0.01)
    finally:
        house.watch.close()
    assert house.watch.problems() == ()


def test_what_was_not_read_is_not_vouched_for(house: House) -> None:
    house.caught_up = [OSError("the spool is gone")]
    assert not house.renews()
    assert house.watch.problems() == ("every rollout: the spool is gone",)


def test_a_guard_takes_back_without_the_database(house: House) -> None:
    house.evidence.bad = {house.ids[house.one]}
    house.sql(FULL)
    stable = house.section(house.one).stable.id
    for _ in range(2):
        house.watch.look()
        assert house.section(house.one).candidate is None
        assert house.section(house.one).stable.id == stable
    # It is written once, whatever the database says meanwhile.
    assert len(journal_path(house.plane.directory).read_text().splitlines()) == 1
    assert house.section(house.other).weight_bp == 5_000
    assert house.state(house.one) is RolloutState.RUNNING
    house.sql("DROP TRIGGER full")
    house.plane.publisher.fold()
    ended = house.rollouts.show(house.ids[house.one]).stored.progress
    assert (ended.state, ended.by_guard) == (RolloutState.ROLLED_BACK, True)
    assert ended.reason.startswith("guard error")
    assert house.renews()


def test_where_gateways_cannot_be_told_either_no_lease_is_renewed(house: House, tmp_path: Path) -> None:
    house.evidence.bad = {house.ids[house.one]}
    house.sql(FULL)
    (tmp_path / "overrides").write_text("a file where a directory belongs")
    assert not house.renews()
    assert "journal" in house.watch.problems()[0]
    (tmp_path / "overrides").unlink()
    house.watch.look()
    assert house.section(house.one).candidate is None


def test_a_rollback_that_the_database_has_and_gateways_do_not_is_told_until_they_do(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.evidence.bad = {house.ids[house.one]}

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("lineclear.handover.snapshot_dir.SnapshotWriter.publish", full)
        disk.setattr("lineclear.handover.override_desk.append_override", full)
        assert not house.renews()
        assert house.state(house.one) is RolloutState.ROLLED_BACK
        # No longer open, and yet the candidate has its traffic.
        assert not house.renews()
        assert house.section(house.one).weight_bp == 5_000
    assert house.renews()
    assert house.section(house.one).candidate is None


def test_what_was_read_of_an_ended_rollout_is_forgotten(house: House) -> None:
    house.watch.look()
    assert house.evidence.kept == set(house.ids.values())
    house.evidence.bad = {house.ids[house.one]}
    house.watch.look()
    house.watch.look()
    assert house.evidence.kept == {house.ids[house.other]}


def test_requests_that_the_ledger_has_no_more_hold_a_rollout(house: House) -> None:
    # What was known is kept with each transition.
    house.rollouts.pause(house.ids[house.one], "ann", "")
    house.rollouts.resume(house.ids[house.one], "ann", "")
    house.evidence.requests = 400
    house.watch.look()
    shown = house.rollouts.show(house.ids[house.one])
    assert shown.stored.progress.hold is Hold.NO_DATA
    assert shown.why[0] == "1200 of its requests are in the ledger no more, so the evidence is not whole"
    assert house.state(house.other) is RolloutState.RUNNING


class Runs:
    """What is run for gates, until it is ended."""

    def __init__(self) -> None:
        self.under_way: dict[str, str] = {}
        """Run by rollout."""

    def begin(self, run: GateRun) -> None:
        self.under_way[run.rollout] = run.id

    def result(self, run_id: str) -> GateResult | None:
        return GateResult(GateVerdict.RUNNING, "") if run_id in self.under_way.values() else None

    def keep_only(self, run_ids: Collection[str]) -> None:
        self.under_way = {rollout: run for rollout, run in self.under_way.items() if run in run_ids}


def test_trouble_with_one_ends_no_run_of_its_own_and_keeps_no_other_one(plane: ControlPlane, tmp_path: Path) -> None:
    for version in "12":
        plane.apply(routed(version).replace("steps: [", "steps: [{shadow: {percent: 10}}, "), ACME_KEY="sk-1")
    ledger, evidence, runs = Ledger.open(tmp_path / "ledger"), Evidence(plane), Runs()
    rollouts = Rollouts(plane.publisher, ledger, evidence, plane.overrides, {StepKind.SHADOW: runs})
    for _ in range(2):
        assert rollouts.look() == {}
    one, other = runs.under_way
    evidence.broken = {one}
    rollouts.roll_back(other, "ann", "")
    assert len(rollouts.look()) == 1
    assert set(runs.under_way) == {one}
    # Nobody can read it any more, and what it waited for goes on; a control that never could read it ends nothing.
    with sqlite3.connect(plane.directory / "lineclear.db") as connection:
        connection.execute(f"UPDATE rollouts SET course = '{{}}' WHERE id = '{one}'")
    for looking in (
        rollouts,
        Rollouts(plane.publisher, ledger, evidence, plane.overrides, {StepKind.SHADOW: runs}),
    ):
        assert len(looking.look()) == 1
        assert set(runs.under_way) == {one}
    ledger.close()
