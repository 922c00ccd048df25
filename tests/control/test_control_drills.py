"""Drills of rollbacks: by schedule and by hand, what they show of readiness, and what a restart keeps of them."""

import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import pytest
from sqlalchemy.exc import SQLAlchemyError

from lineclear.base.clock import SystemClock
from lineclear.control.endpoint import Refused
from lineclear.domain.overrides import Rollback
from lineclear.gateway.current import Current
from lineclear.gateway.live import Live
from lineclear.handover.acks import write_ack
from lineclear.handover.overrides import JournalReader, append_override, journal_path
from lineclear.handover.poke import PokeListener
from lineclear.handover.snapshot_dir import SnapshotReader
from lineclear.handover.standing import DeploymentReadiness
from lineclear.observe.metrics import Metrics
from lineclear.store import control_rows as rows
from lineclear.store import drill_rows
from lineclear.testing.control_plane import ControlPlane
from lineclear.testing.manifests import TWO_VERSIONS

WEEK_S = 604_800
LIVE = f"---\nkind: Environment\nname: live\nclass: live\ndrill_every_s: {WEEK_S}\n"
KEY = ("live", "chat")


class LaterClock(SystemClock):
    """Time that goes on, and that a test puts ahead."""

    ahead_us = 0

    def unix_us(self) -> int:
        return super().unix_us() + self.ahead_us

    def later(self, seconds: float) -> None:
        self.ahead_us += int(seconds * 1e6)


class Gateway(threading.Thread):
    """What a gateway does with snapshots and overrides, by its own parts, without a door for callers."""

    def __init__(self, plane: ControlPlane, name: str) -> None:
        super().__init__(daemon=True)
        self._plane, self._source = plane, name
        self._ear = PokeListener(plane.run_dir, name)
        self.current = Current(
            SnapshotReader(plane.directory / "snapshot", plane.keys_of_master),
            JournalReader(journal_path(plane.directory)),
            plane.run_dir,
            Live(SystemClock()),
        )
        self._over = threading.Event()
        self.is_up = threading.Event()

    def run(self) -> None:
        told: tuple[object, ...] = ()
        while not self._over.is_set():
            self.current.refresh()
            snapshot = self.current.snapshot()
            complaint = self.current.overrides_refused
            in_force = (snapshot.epoch, snapshot.revision, snapshot.overrides, complaint)
            if in_force != told:
                told = in_force
                write_ack(
                    self._plane.directory / "acks", self._source, snapshot.epoch, snapshot.revision,
                    at_us=1, overrides=snapshot.overrides, complaint=complaint,
                )  # fmt: skip
                self.is_up.set()
            select.select([self._ear], [], [], 0.1)
            self._ear.drain()

    def end(self) -> None:
        self._over.set()
        self.join()
        self._ear.close()


@contextmanager
def gateways(plane: ControlPlane, *names: str) -> Iterator[list[Gateway]]:
    running = [Gateway(plane, name) for name in names]
    for one in running:
        one.start()
    try:
        assert all(one.is_up.wait(30) for one in running)
        yield running
    finally:
        for one in running:
            one.end()


def serving(model: str, schedule: str = LIVE) -> str:
    return (
        TWO_VERSIONS + schedule + "---\nkind: Route\nname: chat\nteam: support\nenvironments:\n"
        f"  live: {{targets: [{{model: {model}}}]}}\n"
    )


@pytest.fixture
def clock() -> LaterClock:
    return LaterClock()


@pytest.fixture
def shop(open_plane: Callable[..., ControlPlane], clock: LaterClock) -> ControlPlane:
    plane = open_plane(clock=clock).start()
    for model in ("small@1", "small@2"):
        plane.apply(serving(model), ACME_KEY="sk-1")
    return plane


def chat(plane: ControlPlane) -> DeploymentReadiness:
    (row,) = [row for row in plane.drills.readiness() if row.route == "chat"]
    return row


def results(plane: ControlPlane) -> list[tuple[str, bool]]:
    return [(row.actor, row.has_passed) for row in plane.drills.listed(100)]


def told(plane: ControlPlane, action: str) -> list[str]:
    with plane.database.read() as tx:
        return [row.reason for row in rows.read_audit(tx, 0, 1_000) if row.action == action]


def test_a_drill_that_is_due_is_carried_out_once_and_recorded(shop: ControlPlane, clock: LaterClock) -> None:
    before = chat(shop)
    assert (before.rollback_ready, before.drill and before.drill.last_at) == (True, None)
    with gateways(shop, "local-a-0-0", "local-b-0-0") as (one, _):
        result = shop.drills.look()
        assert result is not None
        assert (result.has_passed, result.acknowledged, result.silent) == (True, 2, 0)
        assert result.in_s < 1
        # What serves is what served before.
        assert one.current.snapshot().routes[KEY].release == before.stable
        assert shop.drills.look() is None
        clock.later(WEEK_S - 60)
        assert shop.drills.look() is None
        clock.later(60)
        assert shop.drills.look() is not None
    assert results(shop) == [("drill-schedule", True)] * 2
    assert len(told(shop, "rollback.drilled")) == 2
    (first, _) = told(shop, "drill.passed")
    assert first.startswith("2/2 gateways in 0.")
    now = chat(shop)
    assert now.stable == before.stable
    assert now.drill is not None
    assert now.drill.due_at is not None
    assert now.drill.last_release == before.rollback_to


def test_what_is_due_is_told_from_the_database_after_a_restart(
    shop: ControlPlane, open_plane: Callable[..., ControlPlane], clock: LaterClock
) -> None:
    with gateways(shop, "local-a-0-0"):
        assert shop.drills.look() is not None
    again = open_plane(clock=clock).start()
    with gateways(again, "local-a-0-0"):
        assert again.drills.look() is None
        drill = chat(again).drill
        assert drill is not None
        assert drill.last_passed
        clock.later(WEEK_S)
        assert again.drills.look() is not None
    assert len(results(again)) == 2


def test_a_silent_gateway_fails_it_and_the_route_is_not_ready_until_one_passes(
    shop: ControlPlane, clock: LaterClock
) -> None:
    target = chat(shop).rollback_to
    with gateways(shop, "local-a-0-0"):
        deaf = PokeListener(shop.run_dir, "local-b-0-0")
        result = shop.drills.look()
        deaf.close()
        assert result is not None
        assert (result.has_passed, result.acknowledged, result.silent) == (False, 1, 1)
        row = chat(shop)
        assert (row.rollback_ready, row.rollback_to) == (False, target)
        assert "silent: local-b-0-0" in row.reason
        state = shop.drills.state()
        assert state is not None
        assert [item.route for item in state.not_ready] == ["chat"]
        assert "silent: local-b-0-0" in told(shop, "drill.failed")[0]
        # It is tried again long before the week is over.
        assert shop.drills.look() is None
        clock.later(301)
        (shop.run_dir / "poke" / "local-b-0-0.sock").unlink(missing_ok=True)
        result = shop.drills.look()
        assert result is not None
        assert result.has_passed
    assert chat(shop).rollback_ready
    state = shop.drills.state()
    assert state is not None
    assert state.not_ready == ()


def test_a_release_that_no_gateway_can_prepare_fails_it(shop: ControlPlane, clock: LaterClock) -> None:
    shop.overrides.do(lambda desk: desk.block("small@1", "ops", "bad weights"))
    with gateways(shop, "local-a-0-0"):
        result = shop.drills.look()
        assert result is not None
        assert (result.has_passed, result.release, result.acknowledged) == (False, "", 0)
    assert "small@1 is blocked" in result.reason
    assert "small@1 is blocked" in told(shop, "drill.failed")[0]
    assert told(shop, "rollback.drilled") == []
    assert not chat(shop).rollback_ready


@pytest.mark.parametrize("schedule", ["", "---\nkind: Environment\nname: live\nclass: live\n"])
def test_without_a_schedule_people_drill_and_nobody_else(shop: ControlPlane, schedule: str) -> None:
    shop.apply(serving("small@2", schedule or "---\nkind: Environment\nname: live\nclass: live\ndescription: a\n"))
    with gateways(shop, "local-a-0-0"):
        assert shop.drills.look() is None
        done = shop.drills.drill("live", "chat", "ann", "")
        assert done.recorded
    assert results(shop) == [("ann", True)]
    drill = chat(shop).drill
    assert drill is not None
    assert (drill.last_passed, drill.due_at) == (True, None)


def test_nothing_is_drilled_where_a_rollback_would_take_nothing_or_nobody_listens(shop: ControlPlane) -> None:
    assert shop.drills.look() is None
    row = chat(shop)
    fact = Rollback("live", "chat", str(row.rollback_to), 1)
    append_override(journal_path(shop.directory), fact, "ops", "it burns", SystemClock())
    with gateways(shop, "local-a-0-0"):
        assert shop.drills.look() is None
        with pytest.raises(Refused, match="rolled back already"):
            shop.drills.drill("live", "chat", "ann", "")
    assert results(shop) == []


def test_a_drill_by_hand_needs_no_database_and_says_that_it_is_not_recorded(shop: ControlPlane) -> None:
    with shop.database.write() as tx:
        drill_rows.drills.drop(tx)
    with gateways(shop, "local-a-0-0"):
        with pytest.raises(SQLAlchemyError):
            shop.drills.look()
        assert not shop.drills.drill("live", "chat", "ann", "").recorded
    drill = chat(shop).drill
    assert drill is not None
    assert drill.last_passed


def test_the_age_of_the_last_drill_that_passed_is_a_metric(shop: ControlPlane, clock: LaterClock) -> None:
    metrics = Metrics(clock, "1", lambda: 0, shop.drills.ages_s)
    line = 'lineclear_rollback_drill_age_seconds{environment="live",route="chat"} '
    assert f"{line}+Inf" in metrics.text()
    with gateways(shop, "local-a-0-0"):
        shop.drills.look()
    clock.later(3_600)
    (age,) = [text.removeprefix(line) for text in metrics.text().splitlines() if text.startswith(line)]
    assert 3_600 <= float(age) < 3_660


def test_old_results_go_and_the_last_that_passed_stays(shop: ControlPlane) -> None:
    with gateways(shop, "local-a-0-0"):
        passed = shop.drills.look()
    assert passed is not None
    with shop.database.write() as tx:
        for number in range(drill_rows.KEPT_MAX + 5):
            failed = msgspec.structs.replace(passed, at_us=passed.at_us + 1 + number, has_passed=False)
            drill_rows.add_drill(tx, failed)
        kept = drill_rows.read_drills(tx, 1_000)
        assert len(kept) == drill_rows.KEPT_MAX + 1
        assert kept[-1] == passed
        assert drill_rows.last_passed_us(tx) == {KEY: passed.at_us}
        assert drill_rows.newest_drills(tx)[KEY].at_us == passed.at_us + drill_rows.KEPT_MAX + 5
