"""A change of a protected environment by real people and robots, through the API and the command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lineclear.base.secret import Secret
from lineclear.cli.main import root
from lineclear.cli.output import ExitCode
from lineclear.client.admin import AdminClient, path_of
from lineclear.control.changes.opening import WAITING_EACH_MAX
from lineclear.testing.access_house import AccessHouse, refusal

OTHER_PASSWORD = "chosen by somebody else"
PROTECTED = "kind: Environment\nname: live\nclass: live\napprovals: 1\n"
CHAT = """
kind: Route
name: chat
team: support
environments:
  live: {targets: [{model: simulated@1}], timeouts: {total_s: SECONDS}}
"""

ACME = """
kind: Provider
name: acme
dialects: [openai]
base_url: https://api.example.com/v1
credential: ${ACME_KEY}
"""


@pytest.fixture
def protected(house: AccessHouse) -> AccessHouse:
    house.plane.apply(PROTECTED)
    return house


def sent(text: str, **more: Any) -> dict[str, Any]:
    return {"files": [{"name": "m.yaml", "text": text}], "note": "slower answers are worth it", **more}


def opened(client: AdminClient, seconds: int = 30, **more: Any) -> str:
    answer = client.post(path_of("changes"), sent(CHAT.replace("SECONDS", str(seconds)), **more))
    assert answer["state"] == "open", answer
    change: str = answer["change"]
    return change


def command(client: AdminClient, *words: str) -> Result:
    """A command as this client's owner types it."""
    server = client._server
    return CliRunner().invoke(root, [*words, "--url", client.url, "--token", server.token.reveal()])


def test_journey_through_the_api(protected: AccessHouse) -> None:
    ann, bob = protected.person("ann", "author team:support"), protected.person("bob", "approver environment:live")
    change = opened(ann)
    (need,) = bob.get(path_of("changes", change))["needs"]
    assert (need["environment"], need["missing"]) == ("live", 1)
    assert refusal(ann, "POST", path_of("changes", change, "applications"))[:2] == (409, "conflict")
    assert bob.post(path_of("changes", change, "approvals"), {"reason": "fine"})["change"]["state"] == "approved"
    assert ann.post(path_of("changes", change, "applications"), None)["state"] == "applied"
    facts = ann.get(path_of("changes", change))["change"]
    assert (facts["author"], facts["approver"], facts["state"]) == ("ann", "bob", "applied")
    events = protected.admin.get(path_of("audit-events"))["events"]
    told = [(item["action"], item["actor"]) for item in events if item["change_id"] == change]
    assert told == [
        ("change.opened", "ann"), ("change.approved", "bob"), ("manifest.updated", "ann"),
        ("deployment.moved", "ann"), ("change.applied", "ann"),
    ]  # fmt: skip


def test_journey_through_the_command_line(protected: AccessHouse, tmp_path: Path) -> None:
    ann, bob = protected.person("ann", "author team:support"), protected.person("bob", "approver environment:live")
    path = tmp_path / "chat.yaml"
    path.write_text(CHAT.replace("SECONDS", "30"))
    assert command(ann, "apply", "-f", str(path)).exit_code == ExitCode.USAGE, "a note is needed"
    done = command(ann, "apply", "-f", str(path), "--note", "slower", "-o", "json")
    assert done.exit_code == ExitCode.APPROVAL_PENDING, done.output
    change = json.loads(done.stdout)["change"]
    assert command(ann, "apply", change).exit_code == ExitCode.APPROVAL_PENDING
    assert command(ann, "approve", change).exit_code == ExitCode.NOT_AUTHORISED
    shown = command(bob, "changes", "show", change)
    assert "approval of live: 1 of 1 missing" in shown.stdout
    assert "environments.live.timeouts.total_s" in shown.stdout
    assert command(bob, "approve", change).exit_code == ExitCode.OK
    assert change in command(ann, "changes", "list", "--state", "approved").stdout
    # The same files again carry out what was approved.
    done = command(ann, "apply", "-f", str(path), "--note", "slower", "-o", "json")
    assert (done.exit_code, json.loads(done.stdout)["change"]) == (ExitCode.OK, change)
    assert command(ann, "changes", "withdraw", change).exit_code == ExitCode.CONFLICT


def test_stale_rejected_and_withdrawn_from_the_command_line(protected: AccessHouse) -> None:
    ann, bob = protected.person("ann", "author team:support"), protected.person("bob", "approver environment:live")
    first, second = opened(ann, 30), opened(ann, 40)
    command(bob, "approve", first)
    assert command(ann, "apply", first).exit_code == ExitCode.OK
    assert f"{second} stale" in command(ann, "changes", "show", second).stdout
    assert command(bob, "approve", second).exit_code == ExitCode.CONFLICT
    before = bob.get(path_of("changes", second))["change"]["plan"]["content"]
    assert f"{second} open" in command(ann, "changes", "rebase", second).stdout
    refused = command(bob, "approve", second, "--content", before)
    assert (refused.exit_code, "look at it again" in refused.output) == (ExitCode.CONFLICT, True)
    assert bob.get(path_of("changes", second))["approvals"] == []
    assert f"{second} rejected" in command(bob, "changes", "reject", second, "--reason", "too slow").stdout
    third = opened(ann, 50)
    assert f"{third} withdrawn" in command(ann, "changes", "withdraw", third).stdout


def own_robot(house: AccessHouse) -> tuple[AdminClient, AdminClient]:
    """A robot's change, and the person who made the robot and its token."""
    eve = house.person("eve", "admin", "approver")
    eve.post(path_of("members"), {"name": "ci", "kind": "service", "team": ""})
    eve.post(path_of("grants"), {"principal": "ci", "role": "author", "scope": "platform"})
    token = eve.post(path_of("tokens"), {"principal": "ci"})["token"]
    return house.served.client(token), eve


PATHS: dict[str, Callable[[AccessHouse], tuple[AdminClient, AdminClient]]] = {
    "the same person": lambda house: (house.person("eve", "author", "approver"),) * 2,
    "another sign-in": lambda house: (house.person("eve", "author", "approver"), house.sign_in("eve")),
    "the admin token": lambda house: (house.admin, house.admin),
    "who made the robot": own_robot,
    "a robot": lambda house: (house.person("ann", "author"), house.robot("ci", "author")),
}


@pytest.mark.parametrize("path", PATHS)
def test_nobody_approves_their_own(protected: AccessHouse, path: str) -> None:
    author, approver = PATHS[path](protected)
    change = opened(author)
    assert refusal(approver, "POST", path_of("changes", change, "approvals"), {})[:2] == (403, "forbidden")
    assert command(approver, "approve", change).exit_code == ExitCode.NOT_AUTHORISED
    assert protected.admin.get(path_of("changes", change))["change"]["state"] == "open"


def test_a_co_author_and_who_rebased_it_do_not_approve(protected: AccessHouse) -> None:
    ann, bob = protected.person("ann", "author"), protected.person("bob", "author", "approver")
    zoe = protected.person("zoe", "approver")
    change = opened(ann, co_authors=["bob"])
    assert refusal(bob, "POST", path_of("changes", change, "approvals"), {})[:2] == (403, "forbidden")
    second = opened(ann, 60)
    zoe.post(path_of("changes", change, "approvals"), {})
    ann.post(path_of("changes", change, "applications"), None)
    bob.post(path_of("changes", second, "rebases"), None)
    assert refusal(bob, "POST", path_of("changes", second, "approvals"), {})[:2] == (403, "forbidden")


DAY_S = 24 * 3600


def set_password(house: AccessHouse, by: AdminClient, name: str) -> AdminClient:
    """Somebody as who invited them may be them."""
    invitation = by.post(path_of("members", name, "invitation"), None)
    house.plane.access.passwords.choose(invitation["path"].partition("token=")[2], Secret(OTHER_PASSWORD))
    return house.sign_in(name, OTHER_PASSWORD)


def approval(client: AdminClient, change: str) -> tuple[int, str, str]:
    return refusal(client, "POST", path_of("changes", change, "approvals"), {"reason": "fine"})


def test_an_administrator_who_writes_makes_no_approver_for_it(protected: AccessHouse) -> None:
    for name, *roles in (("bob", "approver"), ("amy", "admin", "author"), ("zoe",)):
        protected.person(name, *roles)
    protected.clock.advance(3 * DAY_S)
    amy, bob, zoe = (protected.sign_in(name) for name in ("amy", "bob", "zoe"))
    change = opened(amy)
    amy.post(path_of("grants"), {"principal": "zoe", "role": "approver", "scope": "platform"})
    assert approval(zoe, change)[0] == 403
    assert "who stands behind the change" in approval(zoe, change)[2]
    assert approval(bob, change)[0] == 200


@pytest.mark.parametrize("hours_before", [-30, 23, 25, 47])
def test_an_administrator_who_writes_does_not_approve_as_whom_they_invited(
    protected: AccessHouse, hours_before: int
) -> None:
    """However it is done: by a reset, through a second administrator, or through a service account of their own."""
    for name, *roles in (("bob", "approver"), ("amy", "admin", "author")):
        protected.person(name, *roles)
    protected.clock.advance(3 * DAY_S)
    amy = protected.sign_in("amy")
    link = "" if hours_before != 25 else amy.post(path_of("members", "bob", "invitation"), None)["path"]
    change = "" if hours_before > 0 else opened(amy)
    if hours_before == 25:
        protected.clock.advance(23 * 3600)
        protected.plane.access.passwords.choose(link.partition("token=")[2], Secret(OTHER_PASSWORD))
        protected.clock.advance(2 * 3600)
    else:
        protected.clock.advance(0 if hours_before > 0 else -hours_before * 3600)
        amy = protected.sign_in("amy")
        set_password(protected, amy, "bob")
        protected.clock.advance(max(0, hours_before) * 3600)
    change = change or opened(protected.sign_in("amy"))
    status, _, message = approval(protected.sign_in("bob", OTHER_PASSWORD), change)
    assert status == (200 if hours_before == 47 else 403), message
    assert hours_before == 47 or "invited by who stands behind it" in message


def test_nobody_goes_round_that_through_somebody_else(protected: AccessHouse) -> None:
    for name, *roles in (("bob", "approver"), ("amy", "admin", "author")):
        protected.person(name, *roles)
    protected.clock.advance(3 * DAY_S)
    amy = protected.sign_in("amy")
    change = opened(amy)
    amy.post(path_of("members"), {"name": "second"})
    amy.post(path_of("grants"), {"principal": "second", "role": "admin", "scope": "platform"})
    second = set_password(protected, amy, "second")
    second.post(path_of("members"), {"name": "third"})
    second.post(path_of("grants"), {"principal": "third", "role": "approver", "scope": "platform"})
    assert approval(set_password(protected, second, "third"), change)[0] == 403
    amy.post(path_of("members"), {"name": "bot", "kind": "service"})
    amy.post(path_of("grants"), {"principal": "bot", "role": "admin", "scope": "platform"})
    bot = protected.served.client(amy.post(path_of("tokens"), {"principal": "bot"})["token"])
    assert approval(set_password(protected, bot, "bob"), change)[0] == 403


def test_another_team_sees_no_change_of_ours(protected: AccessHouse) -> None:
    ann, sam = protected.person("ann", "author team:support"), protected.person("sam", "author team:sales")
    change = opened(ann)
    assert refusal(sam, "GET", path_of("changes", change))[:2] == (404, "not_found")
    assert all(item["id"] != change for item in sam.get(path_of("changes"))["changes"])
    for verb in ("approvals", "rejections", "withdrawals", "rebases", "applications"):
        status, _, _ = refusal(sam, "POST", path_of("changes", change, verb), None if verb[-4:] == "ases" else {})
        assert status in (400, 403, 404), verb
    theirs = CHAT.replace("name: chat", "name: mail").replace("support", "sales").replace("SECONDS", "9")
    assert refusal(ann, "POST", path_of("changes"), sent(theirs))[0] in (403, 404)


def test_a_teams_author_gives_a_provider_no_other_key(house: AccessHouse) -> None:
    house.plane.environment["ACME_KEY"] = "theirs"
    house.plane.apply(ACME, ACME_KEY="sk-first")
    house.plane.apply(PROTECTED)
    ann, zoe = house.person("ann", "author team:support"), house.person("zoe", "author")
    boss = house.person("boss", "admin", "author")
    rotated = sent(ACME, variables={"ACME_KEY": "sk-second"})
    for client in (ann, zoe):
        for door in ("plans", "changes"):
            assert refusal(client, "POST", path_of(door), rotated)[0] in (403, 404), door
    assert credential(house) == "sk-first"
    # Nor one that the server has at hand: that moves no noun, and belongs to no team all the same.
    house.plane.environment["ACME_KEY"] = "ours"
    assert refusal(ann, "POST", path_of("changes"), sent(ACME))[0] in (403, 404)
    assert credential(house) == "sk-first"
    # A value that no document of the change names is not taken.
    unnamed = sent("kind: Team\nname: third\n", variables={"ACME_KEY": "sk-second"})
    assert boss.post(path_of("changes"), unnamed)["plan"]["credentials"] == []
    assert credential(house) == "sk-first"
    assert boss.post(path_of("changes"), rotated)["plan"]["credentials"] == ["ACME_KEY"]
    assert credential(house) == "sk-second"


def credential(house: AccessHouse) -> str:
    with house.plane.database.read() as tx:
        return house.plane.publisher.vault.credentials(tx)["ACME_KEY"].reveal()


def test_what_a_team_prunes_is_its_own(house: AccessHouse) -> None:
    texts = "kind: Team\nname: support\n---\nkind: App\nname: shop\nteam: support\nroutes: ['*']\n"
    plan = house.admin.post(path_of("plans"), sent(texts, prune="team:support"))
    gone = {(item["kind"], item["name"]) for item in plan["objects"] if item["action"] == "delete"}
    assert ("Route", "chat") in gone
    assert not gone & {("Route", "mail"), ("App", "crm"), ("Team", "sales")}


def test_a_trail_is_exported_and_verified_from_the_command_line(protected: AccessHouse, tmp_path: Path) -> None:
    joe = protected.person("joe", "auditor")
    path = str(tmp_path / "trail.jsonl")
    assert command(joe, "audit", "export", path).exit_code == ExitCode.OK
    key = command(joe, "audit", "key").stdout.strip()
    assert CliRunner().invoke(root, ["audit", "verify", path, "--key", key]).exit_code == ExitCode.OK
    content = Path(path).read_bytes()
    Path(path).write_bytes(content.replace(b"shop", b"shod", 1))
    broken = CliRunner().invoke(root, ["audit", "verify", path, "--key", key])
    assert (broken.exit_code, "was altered" in broken.stderr) == (ExitCode.GATE_FAILED, True)
    assert command(joe, "audit", "verify").exit_code == ExitCode.OK


@pytest.mark.parametrize("loss", ["disabled", "no approver any more"])
def test_an_approval_counts_only_as_long_as_its_giver_may_give_it(protected: AccessHouse, loss: str) -> None:
    ann, bob = protected.person("ann", "author team:support"), protected.person("bob")
    (grant,) = protected.grant("bob", "approver environment:live")
    change = opened(ann)
    bob.post(path_of("changes", change, "approvals"), {})
    if loss == "disabled":
        protected.admin.post(path_of("members", "bob", "disable"), None)
    else:
        protected.admin.delete(path_of("grants", grant["id"]))
    assert refusal(ann, "POST", path_of("changes", change, "applications"))[:2] == (409, "conflict")
    shown = ann.get(path_of("changes", change))
    assert (shown["change"]["state"], shown["needs"][0]["missing"]) == ("open", 1)
    assert [item["is_current"] for item in shown["approvals"]] == [False]
    told = [item["action"] for item in protected.admin.get(path_of("audit-events"))["events"]]
    assert "change.reopened" in told
    zoe = protected.person("zoe", "approver environment:live")
    zoe.post(path_of("changes", change, "approvals"), {})
    ann.post(path_of("changes", change, "applications"), None)
    assert ann.get(path_of("changes", change))["change"]["approver"] == "zoe"


CARD = """
kind: Model
name: small
owner: support
versions:
  - {version: "1", provider: acme, upstream_id: s1, status: STATUS}
"""


def test_what_no_approver_looks_at_any_more_takes_the_right_to_approve_models(protected: AccessHouse) -> None:
    protected.plane.apply(ACME, ACME_KEY="sk-1")
    ann, bob = protected.person("ann", "author team:support"), protected.person("bob", "approver environment:live")
    ann.post(path_of("changes"), sent(CARD.replace("STATUS", "test")))
    answer = ann.post(path_of("changes"), sent(CARD.replace("STATUS", "approved")))
    change = answer["change"]
    assert answer["state"] == "open"
    eve = protected.person("eve", "author")
    unprotected = eve.post(path_of("changes"), sent(PROTECTED.replace("approvals: 1", "approvals: 0")))
    bob.post(path_of("changes", unprotected["change"], "approvals"), {})
    eve.post(path_of("changes", unprotected["change"], "applications"), None)
    assert ann.get(path_of("changes", change))["change"]["state"] == "stale"
    assert refusal(ann, "POST", path_of("changes", change, "rebases"))[:2] == (403, "forbidden")
    protected.person("zoe", "author team:support", "approver team:support").post(
        path_of("changes", change, "rebases"), None
    )
    assert ann.get(path_of("changes", change))["change"]["state"] == "approved"
    assert refusal(ann, "POST", path_of("changes", change, "applications"))[:2] == (403, "forbidden")
    assert protected.admin.get(path_of("changes", change))["change"]["state"] == "approved"


def test_one_author_cannot_fill_the_place_where_everybody_waits(protected: AccessHouse) -> None:
    ann, ben = protected.person("ann", "author team:support"), protected.person("ben", "author team:support")
    for seconds in range(1, WAITING_EACH_MAX + 1):
        opened(ann, seconds)
    refused = refusal(ann, "POST", path_of("changes"), sent(CHAT.replace("SECONDS", "99")))
    assert refused[:2] == (409, "conflict")
    assert "changes of yours wait already" in refused[2]
    first = opened(ann, 1)
    opened(ben, 100)
    ann.post(path_of("changes", first, "withdrawals"), {})
    opened(ann, 99)
