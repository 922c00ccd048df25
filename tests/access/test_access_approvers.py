"""Whom an environment wants to approve: others are refused at every door, and nothing leads around it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lineclear.cli.main import root
from lineclear.cli.output import ExitCode
from lineclear.client.admin import AdminClient, path_of
from lineclear.control.lifecycle import http as lifecycle_http
from lineclear.control.lifecycle.callers import Callers
from lineclear.store import change_rows
from lineclear.store import control_rows as rows
from lineclear.store.ledger import Ledger
from lineclear.testing.access_house import AccessHouse, refusal
from lineclear.testing.control_plane import ServedAPI

WANTED = "with the role operator and with a role on team:risk"
ENVIRONMENT = """
kind: Environment
name: live
class: live
approvals: 1
"""
PROTECTED = "kind: Team\nname: risk\n---" + ENVIRONMENT + "approver_teams: [risk]\napprover_roles: [operator]\n"
CHAT = """
kind: Route
name: chat
team: support
environments:
  live: {targets: [{model: simulated@1}], timeouts: {total_s: SECONDS}}
"""
RIGHT = ("approver environment:live", "operator environment:live", "viewer team:risk")


@pytest.fixture
def protected(house: AccessHouse) -> AccessHouse:
    house.plane.apply(PROTECTED)
    return house


def sent(text: str) -> dict[str, object]:
    return {"files": [{"name": "m.yaml", "text": text}], "note": "why"}


def opened(client: AdminClient, text: str = CHAT.replace("SECONDS", "30")) -> str:
    answer = client.post(path_of("changes"), sent(text))
    assert answer["state"] == "open", answer
    return str(answer["change"])


def refused(client: AdminClient, change: str) -> str:
    status, code, message = refusal(client, "POST", path_of("changes", change, "approvals"), {})
    assert (status, code) == (403, "forbidden"), (status, code, message)
    assert client.get(path_of("changes", change, "options"))["approve"] in message
    return message


def command(client: AdminClient, *words: str) -> Result:
    server = client._server
    return CliRunner().invoke(root, [*words, "--url", client.url, "--token", server.token.reveal()])


WRONG = {
    "of no team": ("approver environment:live", "operator environment:live"),
    "of another team": ("approver environment:live", "operator environment:live", "approver team:support"),
    "of every team and none": ("approver", "operator"),
    "without the role": ("approver environment:live", "viewer team:risk"),
    "with the role elsewhere": ("approver environment:live", "viewer team:risk", "operator environment:test"),
}


@pytest.mark.parametrize("who", WRONG)
def test_an_approver_of_the_wrong_kind_is_refused_and_told_who_it_takes(protected: AccessHouse, who: str) -> None:
    ann, bob = protected.person("ann", "author"), protected.person("bob", *WRONG[who])
    change = opened(ann)
    assert f"environment 'live' wants one {WANTED}" in refused(bob, change)
    told = command(bob, "approve", change)
    assert (told.exit_code, WANTED in told.output) == (ExitCode.NOT_AUTHORISED, True), told.output
    shown = bob.get(path_of("changes", change))
    assert (shown["change"]["state"], shown["approvals"]) == ("open", [])
    (need,) = shown["needs"]
    assert need["approvers"] == {"roles": ["operator"], "teams": ["risk"]}
    assert f"1 of 1 missing, by somebody {WANTED}" in command(ann, "changes", "show", change).stdout
    assert refusal(bob, "POST", path_of("changes", change, "rejections"), {"reason": "no"})[0] == 200, "a no is safe"


def test_can_says_the_same(protected: AccessHouse) -> None:
    bob, rea = protected.person("bob", *WRONG["of no team"]), protected.person("rea", *RIGHT)
    told = command(bob, "can", "me", "change:approve", "environment:live")
    assert (told.exit_code, WANTED in told.output) == (ExitCode.NOT_AUTHORISED, True), told.output
    assert command(rea, "can", "me", "change:approve", "route:live/chat").exit_code == ExitCode.OK
    assert command(bob, "can", "me", "rollback:make", "environment:live").exit_code == ExitCode.OK, "that is another"


def test_a_change_that_waits_since_before_there_were_wishes_stays_as_it_is(house: AccessHouse) -> None:
    house.plane.apply(ENVIRONMENT)
    ann, bob = house.person("ann", "author"), house.person("bob", "approver")
    change = opened(ann)
    assert bob.post(path_of("changes", change, "approvals"), {})["change"]["state"] == "approved"
    with house.plane.database.write() as tx:
        row = rows.read_change(tx, change)
        assert row is not None
        old = [{name: value for name, value in need.items() if name != "approvers"} for need in json.loads(row.needs)]
        change_rows.update_change(tx, replace(row, needs=json.dumps(old)))
    house.plane.apply("kind: Team\nname: elsewhere\n")
    assert ann.get(path_of("changes", change))["change"]["state"] == "approved"
    assert ann.post(path_of("changes", change, "applications"), None)["state"] == "applied"


def test_one_of_the_right_kind_approves_and_files_tell_who_that_is(protected: AccessHouse, tmp_path: Path) -> None:
    ann, rea = protected.person("ann", "author"), protected.person("rea", *RIGHT)
    path = tmp_path / "chat.yaml"
    path.write_text(CHAT.replace("SECONDS", "30"))
    assert f"1 other person {WANTED} must approve" in command(ann, "plan", "-f", str(path)).stdout
    done = command(ann, "apply", "-f", str(path), "--note", "slower", "-o", "json")
    assert done.exit_code == ExitCode.APPROVAL_PENDING, done.output
    change = json.loads(done.stdout)["change"]
    assert command(ann, "apply", change).exit_code == ExitCode.APPROVAL_PENDING
    assert command(rea, "approve", change).exit_code == ExitCode.OK
    assert command(ann, "apply", "-f", str(path), "--note", "slower").exit_code == ExitCode.OK


def test_who_leaves_the_team_takes_their_approval_along(protected: AccessHouse) -> None:
    ann, rea = protected.person("ann", "author"), protected.person("rea", *RIGHT[:2])
    (grant,) = protected.grant("rea", RIGHT[2])
    change = opened(ann)
    assert rea.post(path_of("changes", change, "approvals"), {})["change"]["state"] == "approved"
    protected.admin.delete(path_of("grants", grant["id"]))
    assert ann.get(path_of("changes", change))["change"]["state"] == "open"
    assert refusal(ann, "POST", path_of("changes", change, "applications"))[:2] == (409, "conflict")


def test_the_wish_is_lifted_only_by_those_it_names(protected: AccessHouse) -> None:
    ann, bob = protected.person("ann", "author"), protected.person("bob", "approver", "operator")
    change = opened(ann, ENVIRONMENT)
    refused(bob, change)
    rea = protected.person("rea", "approver", *RIGHT[1:])
    assert rea.post(path_of("changes", change, "approvals"), {})["change"]["state"] == "approved"
    assert ann.post(path_of("changes", change, "applications"), None)["state"] == "applied"
    later = opened(ann)
    assert bob.post(path_of("changes", later, "approvals"), {})["change"]["state"] == "approved"


def test_what_waits_when_the_wish_is_made_is_held_to_it(house: AccessHouse) -> None:
    house.plane.apply(ENVIRONMENT)
    ann, bob, zoe = house.person("ann", "author"), house.person("bob", "approver"), house.person("zoe", "approver")
    waiting, wish = opened(ann), opened(ann, PROTECTED)
    for change in (waiting, wish):
        bob.post(path_of("changes", change, "approvals"), {})
    assert ann.post(path_of("changes", wish, "applications"), None)["state"] == "applied"
    assert ann.get(path_of("changes", waiting))["change"]["state"] == "stale"
    assert ann.post(path_of("changes", waiting, "rebases"), None)["change"]["state"] == "open"
    assert WANTED in refused(zoe, waiting)


FRESH = """
kind: Model
name: fresh
owner: support
versions: [{version: "1", engine: simulated, status: test}]
"""


@pytest.fixture
def with_models(house: AccessHouse, tmp_path: Path) -> Iterator[AccessHouse]:
    """The same door with the verbs of a model's status."""
    ledger, plane = Ledger.open(tmp_path / "ledger"), house.plane
    callers = Callers(ledger, house.clock, lambda: None)
    verbs = lifecycle_http.endpoints(plane.changes, plane.publisher, callers, house.clock)
    house.served.close()
    house.served = ServedAPI((*plane.endpoints(), *verbs), plane.authenticate)
    house.admin = house.served.client()
    plane.apply(FRESH)
    yield house
    ledger.close()


def test_a_status_of_a_model_waits_for_the_same_people(with_models: AccessHouse) -> None:
    with_models.plane.apply(PROTECTED)
    ann = with_models.person("ann", "author", "approver", "operator", "viewer team:risk")
    bob = with_models.person("bob", *WRONG["of no team"], "approver")
    done = command(ann, "models", "approve", "fresh@1", "--reason", "it did well", "-o", "json")
    assert done.exit_code == ExitCode.APPROVAL_PENDING, done.output
    change = json.loads(done.stdout)["change"]
    assert "somebody else has to approve" in refused(ann, change), "who asks for it does not give it"
    assert WANTED in refused(bob, change)
    by_file = opened(ann, FRESH.replace("test", "approved"))
    assert WANTED in refused(bob, by_file)
    rea = with_models.person("rea", "approver", "operator", "viewer team:risk")
    assert rea.post(path_of("changes", change, "approvals"), {})["change"]["state"] == "approved"
    assert command(ann, "apply", change).exit_code == ExitCode.OK


def test_where_live_is_not_protected_an_approver_moves_it_alone_and_the_trail_says_so(
    with_models: AccessHouse,
) -> None:
    ann, eve = with_models.person("ann", "author", "approver"), with_models.person("eve", "author")
    assert command(eve, "models", "approve", "fresh@1").exit_code == ExitCode.NOT_AUTHORISED
    assert command(ann, "models", "approve", "fresh@1").exit_code == ExitCode.OK
    events = with_models.admin.get(path_of("audit-events"))["events"]
    (event,) = [item for item in events if item["action"] == "change.applied" and item["actor"] == "ann"]
    assert event["before"] == "self-approved"


def test_a_narrowed_token_makes_nobody_one_of_a_team(house: AccessHouse) -> None:
    house.plane.apply(f"kind: Team\nname: risk\n---{ENVIRONMENT}approver_teams: [risk]\n")
    ann, bob = house.person("ann", "author"), house.person("bob", "approver")
    change = opened(ann, CHAT.replace("SECONDS", "30").replace("chat", "odds").replace("support", "risk"))
    sent = {"label": "x", "role": "approver", "scope": "team:risk"}
    narrow = house.served.client(bob.post(path_of("me", "tokens"), sent)["token"])
    status, _, message = refusal(narrow, "POST", path_of("changes", change, "approvals"), {})
    assert (status, "with a role on team:risk" in message) == (403, True), message
    assert ann.get(path_of("changes", change))["approvals"] == []


def test_who_is_put_on_the_team_by_an_author_waits_a_day(protected: AccessHouse) -> None:
    protected.person("eve", "admin", "author")
    protected.person("bob", "approver", "operator")
    protected.clock.advance(25 * 3600)
    eve, bob = protected.sign_in("eve"), protected.sign_in("bob")
    eve.post(path_of("grants"), {"principal": "bob", "role": "viewer", "scope": "team:risk"})
    change = opened(eve)
    assert "counts 24 hours after that" in refused(bob, change)
    protected.admin.post(path_of("grants"), {"principal": "bob", "role": "reviewer", "scope": "team:risk"})
    assert bob.post(path_of("changes", change, "approvals"), {})["change"]["state"] == "approved"


WRONG_FILES = {
    "nothing waits there": ("approvals: 0\napprover_teams: [sales]\n", "invalid_value", "approver_teams"),
    "no such team": ("approvals: 1\napprover_teams: [sale]\n", "unknown_reference", "approver_teams.0"),
    "no such role": ("approvals: 1\napprover_roles: [boss]\n", "invalid_value", "approver_roles.0"),
    "twice": ("approvals: 1\napprover_roles: [operator, operator]\n", "duplicate", "approver_roles.1"),
}


@pytest.mark.parametrize("name", WRONG_FILES)
def test_a_wish_that_nobody_could_meet_is_refused_where_it_stands(
    house: AccessHouse, tmp_path: Path, name: str
) -> None:
    more, code, place = WRONG_FILES[name]
    path = tmp_path / "live.yaml"
    path.write_text("kind: Environment\nname: live\nclass: live\n" + more)
    done = command(house.admin, "plan", "-f", str(path), "-o", "json")
    assert done.exit_code == ExitCode.FAILURE, done.output
    (finding,) = json.loads(done.output)["error"]["findings"]
    assert (finding["code"], finding["path"]) == (code, f"Environment/live.{place}")


def test_a_team_that_approves_somewhere_does_not_go(house: AccessHouse, tmp_path: Path) -> None:
    path = tmp_path / "estate.yaml"
    path.write_text("kind: Team\nname: risk\n")
    assert command(house.admin, "apply", "-f", str(path)).exit_code == ExitCode.OK
    house.plane.apply(ENVIRONMENT + "approver_teams: [risk]\n")
    path.write_text("kind: Team\nname: other\n")
    done = command(
        house.admin, "apply", "-f", str(path), "--note", "x", "--prune", "team:risk", "--force", "-o", "json"
    )
    (finding,) = json.loads(done.output)["error"]["findings"]
    assert (finding["code"], finding["path"]) == ("unknown_reference", "Environment/live.approver_teams.0")
