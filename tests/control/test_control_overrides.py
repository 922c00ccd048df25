"""Overrides at control: taken over as they were written, ahead of other changes; what is ready; a lost database."""

import json
import time
from pathlib import Path

import pytest
from sqlalchemy import Connection

from lineclear.base.clock import SystemClock
from lineclear.control.audit import verify
from lineclear.control.endpoint import Refused
from lineclear.domain.overrides import Block, Drill, Revoke, Rollback, Start, Stop
from lineclear.domain.snapshot import RouteSection
from lineclear.handover.override_desk import OverrideRefused
from lineclear.handover.overrides import ROTATE_BYTES, append_override, journal_path
from lineclear.store import control_rows as rows
from lineclear.store import override_rows
from lineclear.store.control_rows import AuditRow, DeploymentRow
from lineclear.testing.clock import TestClock
from lineclear.testing.control_plane import MASTER_KEY, ControlPlane
from lineclear.testing.manifests import TWO_VERSIONS

BASE = (
    TWO_VERSIONS
    + """  - {version: "3", provider: acme, upstream_id: c, status: approved, price: {input_per_mtok: "0.15"}}
---
kind: Model
name: own
owner: support
versions:
  - {version: "1", engine: simulated, status: approved}
---
kind: App
name: shop
team: support
routes: [chat]
"""
)
KEY = ("live", "chat")


def routed(model: str) -> str:
    return (
        BASE + "---\nkind: Route\nname: chat\nteam: support\nenvironments:\n"
        f"  live: {{targets: [{{model: {model}}}]}}\n"
    )


@pytest.fixture
def shop(plane: ControlPlane) -> ControlPlane:
    for model in ("own@1", "small@1", "small@2", "small@3"):
        plane.apply(routed(model), ACME_KEY="sk-1")
    return plane


def deployment(plane: ControlPlane) -> DeploymentRow:
    with plane.database.read() as tx:
        return rows.read_deployments(tx)[KEY]


def section(plane: ControlPlane) -> RouteSection:
    found = plane.overrides.desk.standing().route(*KEY)
    assert found is not None
    return found


def model_of(plane: ControlPlane) -> str:
    return section(plane).stable.targets[0].model


def events(plane: ControlPlane) -> list[AuditRow]:
    with plane.database.read() as tx:
        return rows.read_audit(tx, 0, 1_000)


def roll_back(plane: ControlPlane, to: str | None = None) -> str:
    done = plane.overrides.do(lambda desk: desk.rollback("live", "chat", to, "ops", "it lies"))
    assert done.recorded
    return done.after


def release_of(plane: ControlPlane, model: str) -> str:
    row = section(plane)
    return next(entry.id for entry in (row.stable, *row.previous) if entry.targets[0].model == model)


def test_a_rollback_is_recorded_as_it_was_written(shop: ControlPlane) -> None:
    generation, asked = deployment(shop).generation, deployment(shop).asked
    assert roll_back(shop) == release_of(shop, "small@2")
    row = deployment(shop)
    assert (row.generation, row.asked, row.change_id) == (generation + 1, asked, "ovr_1")
    event = events(shop)[-1]
    assert (event.actor, event.action, event.reason) == ("ops", "deployment.rolled-back", "it lies")
    (line,) = journal_path(shop.directory).read_text().splitlines()
    assert json.loads(line)["at_us"] == event.at_us == row.updated_us
    assert shop.load().manifest.overrides_folded == 1
    assert verify(events(shop)).ok


def test_what_was_rolled_back_from_is_taken_last_and_undoing_puts_things_back(shop: ControlPlane) -> None:
    before = section(shop)
    roll_back(shop)
    assert [item.targets[0].model for item in section(shop).previous] == ["small@1", "own@1", "small@3"]
    assert roll_back(shop) == section(shop).stable.id
    assert model_of(shop) == "small@2"
    roll_back(shop, release_of(shop, "small@1"))
    assert [item.targets[0].model for item in section(shop).previous] == ["own@1", "small@3", "small@2"]
    roll_back(shop, release_of(shop, "small@2"))
    roll_back(shop, before.stable.id)
    assert section(shop).rolled_back_from == ""
    assert model_of(shop) == "small@3"
    # The database and the sections of gateways went the same way.
    assert [row.id for row in section(shop).previous] == [f"rel_{digest[:16]}" for digest in deployment(shop).previous]


def test_a_change_that_an_override_overtakes_is_worked_out_anew(shop: ControlPlane) -> None:
    stable, target = deployment(shop).stable, release_of(shop, "small@1")
    seen: list[str] = []

    def work(tx: Connection) -> str:
        row = rows.read_deployments(tx)[KEY]
        seen.append(row.stable)
        if len(seen) == 1:
            fact = Rollback("live", "chat", target, row.generation)
            append_override(journal_path(shop.directory), fact, "ops", "now", SystemClock())
        return row.stable

    result, revision = shop.publisher.commit("test", work)
    assert seen[0] == stable
    assert result == seen[1] == deployment(shop).stable != stable
    assert model_of(shop) == "small@1"
    manifest = shop.load().manifest
    assert (manifest.revision, manifest.overrides_folded) == (revision, 1)


def test_a_blocked_version_is_kept_by_the_command_line_and_files_do_not_undo_it(shop: ControlPlane) -> None:
    shop.overrides.do(lambda desk: desk.block("small@2", "ops", "bad weights"))
    assert not shop.overrides.desk.block("small@2", "ops", "again").changed
    applied = shop.apply(routed("small@3"))
    assert "Model/small" in [drift.object for drift in applied.plan.drift]
    versions = shop.overrides.desk.standing().ground.catalogue.versions
    assert versions["small@2"].status.value == "blocked"
    assert events(shop)[-1].action == "model.blocked"
    assert roll_back(shop) == release_of(shop, "small@1")


def test_unready_releases_say_why_and_what_would_be_next(shop: ControlPlane) -> None:
    desk = shop.overrides.desk
    shop.run_dir.joinpath("state.json").write_text(json.dumps({"parts": []}))
    (row,) = [row for row in desk.readiness() if row.route == "chat"]
    assert (row.rollback_ready, row.rollback_to) == (True, release_of(shop, "small@2"))
    assert [item.is_ready for item in row.previous] == [True, True, False]
    assert "no runtime of own@1 is up" in row.previous[2].reason
    with pytest.raises(OverrideRefused) as refused:
        desk.rollback("live", "chat", release_of(shop, "own@1"), "ops", "")
    assert refused.value.kind == "conflict"
    assert release_of(shop, "small@2") in refused.value.hint
    up = {"parts": [{"role": "runtime", "model": "own@1", "state": "ready"}]}
    shop.run_dir.joinpath("state.json").write_text(json.dumps(up))
    assert roll_back(shop, release_of(shop, "own@1")) == release_of(shop, "own@1")
    shop.overrides.do(lambda other: other.stop("provider:acme", "ops", "their outage"))
    state = shop.overrides.state()
    assert state is not None
    assert [item.route for item in state.not_ready] == ["chat"]
    assert "provider acme of small@1 is stopped" in state.not_ready[0].reason
    with pytest.raises(OverrideRefused, match="there is no deployment"):
        desk.rollback("test", "chat", None, "ops", "")
    with pytest.raises(OverrideRefused, match="there is no environment 'prod'") as nowhere:
        desk.rollback("prod", "chat", None, "ops", "")
    assert (nowhere.value.kind, nowhere.value.hint) == ("not_found", "there are: live, test")


def test_a_revoked_key_stays_revoked_whatever_goes_back(shop: ControlPlane) -> None:
    key = shop.keys.create("ann", "shop", "live")
    revoked = shop.keys.revoke("ann", key.id, "leaked")
    assert (revoked.app, revoked.environment) == ("shop", "live")
    roll_back(shop)
    assert shop.overrides.desk.standing().key(key.id) is None
    assert shop.keys.revoke("ann", key.id).id == key.id
    assert [event.reason for event in events(shop) if event.action == "key.revoked"] == ["leaked"]


def test_what_names_nothing_is_recorded_so_and_keeps_nothing_out(shop: ControlPlane) -> None:
    path = journal_path(shop.directory)
    for fact in (
        Rollback("live", "chat", "rel_none", 1),
        Block("none@1"),
        Revoke("none"),
        Rollback("live", "no", "x", 1),
    ):
        append_override(path, fact, "ops", "why", SystemClock())
    assert shop.publisher.fold() == 4
    with shop.database.read() as tx:
        problems = [row.problem for row in override_rows.read_overrides(tx, 10)]
    assert all(problems)
    assert "changed nothing" in events(shop)[-1].reason
    assert shop.load().manifest.overrides_folded == 4


def test_a_restart_takes_over_what_was_written_meanwhile_and_once(shop: ControlPlane) -> None:
    target = release_of(shop, "small@1")
    shop.close()
    fact = Rollback("live", "chat", target, 1)
    append_override(journal_path(shop.directory), fact, "owner:root", "control was dead", SystemClock())
    for _ in range(2):
        again = ControlPlane(shop.directory, master_key=MASTER_KEY, environment={"ACME_KEY": "sk-1"})
        again.start()
        assert model_of(again) == "small@1"
        done = [event for event in events(again) if event.action == "deployment.rolled-back"]
        assert [event.actor for event in done] == ["owner:root"]
        again.close()


def test_a_lost_journal_goes_on_above_what_was_taken_over(shop: ControlPlane) -> None:
    roll_back(shop)
    journal_path(shop.directory).unlink()
    shop.overrides.do(lambda desk: desk.stop("all", "ops", "fire"))
    (line,) = journal_path(shop.directory).read_text().splitlines()
    assert json.loads(line)["sequence"] == 2
    assert shop.load().manifest.overrides_folded == 2
    assert "all" in shop.overrides.desk.standing().ground.stops.stops


def test_a_journal_that_cannot_be_written_is_said_and_changes_nothing(shop: ControlPlane, tmp_path: Path) -> None:
    (tmp_path / "overrides").write_text("a file where a directory belongs")
    with pytest.raises(OverrideRefused) as refused:
        shop.overrides.desk.stop("all", "ops", "fire")
    assert refused.value.kind == "unavailable"
    assert shop.overrides.desk.standing().ground.stops.stops == {}


def test_ending_open_answers_is_said_again_and_recorded_without_moving_what_stands(shop: ControlPlane) -> None:
    key = shop.keys.create("ann", "shop", "live")
    revoked = shop.keys.revoke("ann", key.id, "rotated")
    assert not revoked.cut_streams
    again = shop.keys.revoke("bob", key.id, "it was stolen", cut_streams=True)
    assert (again.app, again.environment, again.cut_streams) == ("shop", "live", True)
    shop.overrides.do(lambda desk: desk.stop("all", "ops", "fire"))
    done = shop.overrides.do(lambda desk: desk.stop("all", "bob", "it burns", cut_streams=True))
    assert (done.changed, done.recorded, done.before, done.after) == (True, True, "stopped", "stopped")
    assert done.summary == "all is stopped already, by ops: fire; open answers are ended"
    # Who stopped it, when and why stay as they were, at the gateways and in the database.
    assert shop.overrides.desk.standing().ground.stops.stops["all"].actor == "ops"
    with shop.database.read() as tx:
        assert [(row.actor, row.reason) for row in override_rows.read_stops(tx)] == [("ops", "fire")]
        afters = [row.after for row in override_rows.read_overrides(tx, 10)]
    assert afters == ["stopped, open answers ended", "stopped", "open answers ended", ""]
    shop.overrides.do(lambda desk: desk.block("small@2", "ops", "bad weights"))
    shop.overrides.do(lambda desk: desk.block("small@2", "bob", "very bad", cut_streams=True))
    told = {event.action: event.reason for event in events(shop)}
    assert told["key.revoked"] == "it was stolen (open answers were ended)"
    assert told["ai.stopped"] == "it burns (open answers were ended)"
    assert told["model.blocked"] == "very bad (open answers were ended)"
    with pytest.raises(Refused, match="there is no key 'nothere'"):
        shop.keys.revoke("ann", "nothere", cut_streams=True)
    lines = [json.loads(line)["override"] for line in journal_path(shop.directory).read_text().splitlines()]
    # What does not ask for it is written as it always was, so that a journal of before keeps its digests.
    assert lines[0] == {"kind": "revoke", "key_id": key.id}
    assert lines[1] == {"kind": "revoke", "key_id": key.id, "cut_streams": True}


def test_open_answers_end_of_a_key_whose_revocation_stands_in_a_journal_of_before(shop: ControlPlane) -> None:
    path = journal_path(shop.directory)
    key = shop.keys.create("ann", "shop", "live")
    shop.keys.revoke("ann", key.id, "rotated")
    path.rename(path.with_name("journal.until-1"))
    assert not shop.keys.revoke("bob", key.id).cut_streams
    assert not path.exists()
    again = shop.keys.revoke("bob", key.id, "stolen", cut_streams=True)
    assert (again.app, again.environment, again.cut_streams) == ("shop", "live", True)
    (line,) = path.read_text().splitlines()
    assert json.loads(line)["override"] == {"kind": "revoke", "key_id": key.id, "cut_streams": True}
    assert events(shop)[-1].reason == "stolen (open answers were ended)"


LONG_AGO_US = 1_700_000_000_000_000


def test_a_long_journal_that_was_taken_over_begins_anew_unless_it_ends_answers_somewhere(shop: ControlPlane) -> None:
    path = journal_path(shop.directory)
    for _ in range(600):
        append_override(path, Start("all"), "ops", "r" * 1_900, TestClock(LONG_AGO_US))
    assert shop.publisher.fold() == 600
    begun_anew(shop, 600)
    now = SystemClock().unix_us()
    # A gateway may not have read these yet, and be told by them alone which answers end.
    for _ in range(600):
        append_override(path, Stop("all", cut_streams=True), "ops", "r" * 1_900, TestClock(now), floor=600)
    assert shop.publisher.fold() == 1200
    shop.keys.create("ann", "shop", "live")
    assert path.stat().st_size > ROTATE_BYTES


def test_drills_alone_raise_no_revision_until_the_journal_is_long(shop: ControlPlane) -> None:
    path, before = journal_path(shop.directory), shop.load().manifest
    drill = Drill("live", "chat", release_of(shop, "small@2"), 1)
    for _ in range(2):
        append_override(path, drill, "drill-schedule", "it was due", SystemClock())
        shop.publisher.fold()
    assert shop.load().manifest == before
    assert [event.action for event in events(shop)[-2:]] == ["rollback.drilled"] * 2
    unchanged = shop.overrides.do(lambda desk: desk.start("all", "ops", "")).changed
    assert not unchanged
    assert shop.overrides.do(lambda desk: desk.start("all", "ops", "")).recorded
    for _ in range(600):
        append_override(path, drill, "drill-schedule", "r" * 1_900, TestClock(LONG_AGO_US))
    assert shop.publisher.fold() == 602
    # Nothing was given the same number twice: the snapshot tells where the new journal goes on.
    begun_anew(shop, 602)
    assert shop.load().manifest.overrides_folded == 602
    done = shop.overrides.do(lambda desk: desk.stop("all", "ops", "fire"))
    assert (done.sequence, done.recorded, shop.load().manifest.overrides_folded) == (603, True, 603)


def begun_anew(plane: ControlPlane, until: int) -> None:
    path = journal_path(plane.directory)
    deadline = time.monotonic() + 10
    while path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert path.with_name(f"journal.until-{until}").exists()


def test_drills_that_never_pause_for_a_minute_let_a_long_journal_begin_anew(shop: ControlPlane) -> None:
    path = journal_path(shop.directory)
    for _ in range(600):
        append_override(path, Start("all"), "ops", "r" * 1_900, TestClock(LONG_AGO_US))
    drill = Drill("live", "chat", release_of(shop, "small@2"), 1)
    for ago_us in (59_000_000, 30_000_000, 4_000_000):
        append_override(path, drill, "drill-schedule", "", TestClock(SystemClock().unix_us() - ago_us))
    assert shop.publisher.fold() == 603
    # No change comes: control itself looks after it.
    begun_anew(shop, 603)
    done = shop.overrides.do(lambda desk: desk.stop("all", "ops", "fire"))
    assert (done.sequence, done.recorded) == (604, True)
