"""Who keeps a noun: files never undo what was changed elsewhere, they are told the drift and the ways out of it."""

import dataclasses

import pytest
import yaml

from lineclear.base.secret import Secret
from lineclear.config.manifest import ManifestFile, Reading
from lineclear.control.changes.apply import Applied, Author
from lineclear.control.changes.drift import Drift
from lineclear.control.changes.plan import Action, ChangeTerms, Plan
from lineclear.control.endpoint import Refused
from lineclear.control.releases import PREVIOUS_MAX
from lineclear.domain.access import PLATFORM
from lineclear.domain.change_request import ChangeState
from lineclear.domain.manifest import ManagedBy
from lineclear.store import control_rows as rows
from lineclear.testing.control_plane import ControlPlane
from lineclear.testing.manifests import TWO_VERSIONS

ROUTE = """
kind: Route
name: chat
team: support
environments:
  live: {targets: [{model: small@1, weight: 90}, {model: small@2, weight: 10}]}
"""
APP = "kind: App\nname: shop\nteam: support\nroutes: [chat]\nlimits: {concurrency: 5}\n"
SHOP = TWO_VERSIONS + "---" + ROUTE + "---\n" + APP
BY_CONSOLE = ChangeTerms(ManagedBy.CONSOLE)
TAKING = ChangeTerms(take_ownership=True)
PRUNING = ChangeTerms(prune=PLATFORM)


@pytest.fixture
def shop(plane: ControlPlane) -> ControlPlane:
    plane.apply(SHOP, ACME_KEY="sk-1")
    return plane


def read(plane: ControlPlane, text: str) -> Reading:
    return plane.changes.read([ManifestFile("shop.yaml", text, str(plane.directory))])


def change(plane: ControlPlane, text: str, terms: ChangeTerms) -> Applied:
    return plane.changes.apply(read(plane, text), {"ACME_KEY": Secret("sk-1")}, Author("ann", terms))


def planned(plane: ControlPlane, text: str, terms: ChangeTerms) -> Plan:
    return plane.changes.plan(read(plane, text), {"ACME_KEY": Secret("sk-1")}, terms)


def row_of(plane: ControlPlane, kind: str, name: str) -> rows.ManifestRow | None:
    with plane.database.read() as tx:
        return next((row for row in rows.read_manifests(tx) if (row.kind, row.name) == (kind, name)), None)


def values(drift: Drift) -> list[tuple[str, object, object]]:
    return [(field.path, field.before, field.after) for field in drift.fields]


def roll_back(plane: ControlPlane, environment: str, route: str) -> str:
    """What a rollback does to a deployment: the pointer swaps with the newest release before."""
    with plane.database.write() as tx:
        was = rows.read_deployments(tx)[environment, route]
        stable, *older = was.previous
        previous = (was.stable, *older)[:PREVIOUS_MAX]
        row = dataclasses.replace(was, generation=was.generation + 1, stable=stable, previous=previous)
        assert rows.move_deployment(tx, row)
    return stable


def stable_of(plane: ControlPlane) -> str:
    with plane.database.read() as tx:
        return rows.read_deployments(tx)["live", "chat"].stable


def test_a_file_does_not_undo_what_the_console_changed(shop: ControlPlane) -> None:
    change(shop, APP.replace("5", "9"), BY_CONSOLE)
    done = change(shop, SHOP.replace("concurrency: 5", "concurrency: 7"), ChangeTerms())
    assert done.state is ChangeState.UNCHANGED
    (drift,) = done.plan.drift
    assert (drift.object, drift.managed_by) == ("App/shop", "console")
    assert values(drift) == [("limits.concurrency", 9, 7)]
    assert drift.take_over == "lineclear apply -f shop.yaml --take-ownership"
    assert drift.keep == "lineclear export App/shop, and put that into shop.yaml"
    assert "-  concurrency: 7\n+  concurrency: 9" in drift.patch
    row = row_of(shop, "App", "shop")
    assert row is not None
    assert ('"concurrency":9' in row.document, row.owner) == (True, "console")


def test_the_rest_of_the_file_is_applied_all_the_same(shop: ControlPlane) -> None:
    change(shop, APP.replace("5", "9"), BY_CONSOLE)
    done = change(shop, SHOP + "---\nkind: Team\nname: sales\n", ChangeTerms())
    assert [item.name for item in done.plan.objects if item.action is Action.CREATE] == ["sales"]
    assert [item.object for item in done.plan.drift] == ["App/shop"]


def test_a_file_takes_over_when_it_is_told_to(shop: ControlPlane) -> None:
    change(shop, APP.replace("5", "9"), BY_CONSOLE)
    done = change(shop, APP, TAKING)
    (item,) = done.plan.objects
    assert [(field.path, field.before, field.after) for field in item.fields] == [
        ("limits.concurrency", 9, 5),
        ("managed_by", "console", "file"),
    ]
    row = row_of(shop, "App", "shop")
    assert row is not None
    assert (row.owner, '"concurrency":5' in row.document) == ("file", True)
    assert shop.changes.drift() == ()


def test_a_file_that_follows_keeps_the_noun_from_then_on(shop: ControlPlane) -> None:
    change(shop, APP.replace("5", "9"), BY_CONSOLE)
    assert [item.object for item in shop.changes.drift()] == ["App/shop"]
    done = change(shop, SHOP.replace("concurrency: 5", "concurrency: 9"), ChangeTerms())
    assert done.plan.drift == ()
    assert [(item.name, item.fields[0].path) for item in done.plan.objects if item.fields] == [("shop", "managed_by")]
    assert shop.changes.drift() == ()


def test_drift_is_known_without_files(shop: ControlPlane) -> None:
    assert shop.changes.drift() == ()
    done = change(shop, APP.replace("5", "9"), BY_CONSOLE)
    assert done.plan.warnings == ("App/shop is managed by a file, which will show this change as drift",)
    (drift,) = shop.changes.drift()
    assert values(drift) == [("limits.concurrency", 9, 5)]


def test_what_was_never_in_a_file_is_no_drift(shop: ControlPlane) -> None:
    change(shop, "kind: Team\nname: by-hand\n", ChangeTerms(ManagedBy.CLI))
    assert shop.changes.drift() == ()
    plan = planned(shop, "kind: Team\nname: by-hand\n", ChangeTerms())
    assert (plan.has_changes, plan.drift) == (False, ())


def test_a_bundled_noun_may_be_taken_over_by_any_file(shop: ControlPlane) -> None:
    done = change(shop, "kind: Team\nname: default\ndescription: ours\n", ChangeTerms())
    assert done.state is ChangeState.APPLIED
    row = row_of(shop, "Team", "default")
    assert row is not None
    assert row.owner == "file"


def test_names_from_a_file_that_is_left_aside_are_not_known(shop: ControlPlane) -> None:
    small = yaml.safe_dump(list(yaml.safe_load_all(TWO_VERSIONS))[2])
    change(shop, small.replace("status: approved", "status: blocked", 1), BY_CONSOLE)
    text = SHOP.replace("small@2", "small@3").replace('version: "2"', 'version: "3"')
    with pytest.raises(Refused) as caught:
        change(shop, text, ChangeTerms())
    (finding,) = caught.value.findings
    assert "Model/small is managed elsewhere" in finding.message


def test_apply_does_not_undo_a_rollback(shop: ControlPlane) -> None:
    text = SHOP.replace("weight: 90", "weight: 50")
    change(shop, text, ChangeTerms())
    stable = roll_back(shop, "live", "chat")
    for again in (text, text.replace("concurrency: 5", "concurrency: 6"), text.replace("weight: 50", "weight: 60")):
        done = change(shop, again, ChangeTerms())
        (drift,) = done.plan.drift
        assert (drift.object, drift.managed_by) == ("deployment/live/chat", "rollback")
        assert stable_of(shop) == stable
    assert [item.object for item in shop.changes.drift()] == ["deployment/live/chat"]
    done = change(shop, text.replace("weight: 50", "weight: 60"), TAKING)
    assert stable_of(shop) != stable
    assert (done.plan.drift, shop.changes.drift()) == ((), ())


def test_a_file_that_says_what_was_rolled_back_to_is_no_drift(shop: ControlPlane) -> None:
    change(shop, SHOP.replace("weight: 90", "weight: 50"), ChangeTerms())
    stable = roll_back(shop, "live", "chat")
    done = change(shop, SHOP, ChangeTerms())
    assert (stable_of(shop), done.plan.drift) == (stable, ())
    change(shop, SHOP.replace("weight: 90", "weight: 40"), ChangeTerms())
    assert stable_of(shop) != stable


def test_nothing_is_deleted_unless_it_is_asked_for(shop: ControlPlane) -> None:
    done = change(shop, TWO_VERSIONS, ChangeTerms())
    assert done.state is ChangeState.UNCHANGED


def test_pruning_deletes_what_files_keep_and_these_leave_out(shop: ControlPlane) -> None:
    change(shop, "kind: Team\nname: by-hand\n", ChangeTerms(ManagedBy.CLI))
    plan = planned(shop, TWO_VERSIONS, PRUNING)
    gone = {f"{item.kind}/{item.name}" for item in plan.objects if item.action is Action.DELETE}
    assert gone == {"App/shop", "Route/chat"}
    assert [(item.environment, item.route, item.after) for item in plan.releases] == [("live", "chat", None)]
    change(shop, TWO_VERSIONS, PRUNING)
    assert row_of(shop, "App", "shop") is None
    assert row_of(shop, "Team", "by-hand") is not None
    assert row_of(shop, "Environment", "live") is not None
    assert "routes/live/chat" not in shop.load().sections
    with shop.database.read() as tx:
        events = {(event.action, event.object) for event in rows.read_audit(tx, 0, 1000)}
    assert events >= {
        ("manifest.deleted", "App/shop"),
        ("manifest.deleted", "Route/chat"),
        ("deployment.removed", "deployment/live/chat"),
    }


def test_pruning_keeps_what_a_route_may_go_back_to(shop: ControlPlane) -> None:
    text = SHOP.replace(", {model: small@2, weight: 10}", "")
    change(shop, text, ChangeTerms())
    plan = planned(shop, text.replace('  - {version: "2"', '#  - {version: "2"'), PRUNING)
    assert plan.has_changes is False
    assert [item.kept for item in plan.objects if item.name == "small"] == [("version 2",)]
    without_model = text[: text.index("---\nkind: Model")] + "---" + ROUTE.replace(", {model: small@2, weight: 10}", "")
    plan = planned(shop, without_model, PRUNING)
    assert "Model/small stays: releases that routes may go back to name its versions" in plan.warnings


def test_pruning_drops_versions_that_nothing_names(shop: ControlPlane) -> None:
    more = SHOP.replace('  - {version: "2"', '  - {version: "0", provider: acme, upstream_id: z}\n  - {version: "2"')
    change(shop, more, ChangeTerms())
    change(shop, SHOP, PRUNING)
    row = row_of(shop, "Model", "small")
    assert row is not None
    assert '"version":"0"' not in row.document


def test_pruning_refuses_what_is_still_named_or_used(shop: ControlPlane) -> None:
    shop.publisher.commit("key", lambda tx: shop.keys.add(tx, "ann", "shop", "live"))
    with pytest.raises(Refused) as caught:
        planned(shop, TWO_VERSIONS, PRUNING)
    assert [(item.code, item.path) for item in caught.value.findings] == [("in_use", "App/shop")]
    with pytest.raises(Refused) as caught:
        planned(shop, TWO_VERSIONS.replace("kind: Team\nname: support\n---", ""), PRUNING)
    assert ("unknown_reference", "Model/small.owner") in {(item.code, item.path) for item in caught.value.findings}


def test_a_plan_rests_on_nouns_and_deployments_and_not_on_keys(shop: ControlPlane) -> None:
    text = SHOP + "---\nkind: Team\nname: sales\n"
    plan = planned(shop, text, ChangeTerms())
    shop.publisher.commit("key", lambda tx: shop.keys.add(tx, "ann", "shop", "live"))
    assert planned(shop, text, ChangeTerms()).digest == plan.digest
    change(shop, "kind: Team\nname: other\n", ChangeTerms())
    assert planned(shop, text, ChangeTerms()).digest != plan.digest


WORDS = [
    ("weight: 90", "weight: 30", "environments.live.targets[small@1].weight", "90 % → 75 % of its calls"),
    (", {model: small@2, weight: 10}", "", "environments.live.targets[small@2].weight", "10 % → none of its calls"),
    ('"0.15"', '"0.2"', "versions[1].price.input_per_mtok", "$0.15 → $0.2 per million input tokens"),
    ("concurrency: 5", "concurrency: 9", "limits.concurrency", "5 → 9 requests at the same time"),
    ("concurrency: 5", "tokens_per_minute: 5000", "limits.tokens_per_minute", "no limit → 5,000 tokens per minute"),
    ("limits: {", 'budget: {usd_per_month: "5"}\nlimits: {', "budget.usd_per_month", "none → $5 a month"),
    ("live: {", "live: {timeouts: {total_s: 30}, ", "environments.live.timeouts.total_s", "default → 30 s"),
]


@pytest.mark.parametrize(("old", "new", "path", "words"), WORDS)
def test_a_change_is_said_in_words(shop: ControlPlane, old: str, new: str, path: str, words: str) -> None:
    plan = planned(shop, SHOP.replace(old, new, 1), ChangeTerms())
    assert {field.path: field.words for item in plan.objects for field in item.fields}[path] == words


def test_a_task_that_no_model_is_approved_for_is_warned_about(shop: ControlPlane) -> None:
    text = SHOP.replace("owner: support\n", "owner: support\napproved_uses: [customer-support]\n", 1)
    plan = planned(shop, text.replace("name: chat\n", "name: chat\ntasks: [custmer-support]\n"), ChangeTerms())
    (warning,) = plan.warnings
    assert warning.endswith("approved for the task 'custmer-support'; did you mean `customer-support`?")


def test_what_went_back_is_told_to_the_changes_that_have_to_do_with_it(shop: ControlPlane) -> None:
    change(shop, SHOP.replace("weight: 90", "weight: 50"), ChangeTerms())
    roll_back(shop, "live", "chat")
    assert [item.object for item in planned(shop, "kind: Team\nname: other\n", ChangeTerms()).drift] == [
        "deployment/live/chat"
    ]
    assert planned(shop, "kind: Team\nname: other\n", BY_CONSOLE).drift == ()
