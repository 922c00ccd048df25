"""What a person decides a change by: the comparison of releases, and what they could do about it."""

from typing import Any

from click.testing import CliRunner

from lineclear.cli.main import root
from lineclear.client.admin import AdminClient, path_of
from lineclear.testing.access_house import AccessHouse, refusal
from lineclear.testing.control_plane import TOKEN

PROTECTED = "kind: Environment\nname: live\nclass: live\napprovals: 1\n"
PROMPT = "kind: Prompt\nname: voice\ntext: {}\n"
CHAT = """
kind: Route
name: chat
team: support
environments:
  live: {targets: [{model: simulated@1}], prompt: voice}
"""


def opened(house: AccessHouse, client: AdminClient) -> str:
    house.plane.apply("---\n".join((PROTECTED, PROMPT.format("Be very kind."), CHAT)))
    body = {"files": [{"name": "m.yaml", "text": PROMPT.format("Be quite kind.")}], "note": "tone"}
    answer = client.post(path_of("changes"), body)
    assert answer["state"] == "open", answer
    return str(answer["change"])


def compared(client: AdminClient, change: str) -> dict[str, Any]:
    return dict(client.get(path_of("changes", change, "comparison")))


def options(client: AdminClient, change: str) -> dict[str, Any]:
    return dict(client.get(path_of("changes", change, "options")))


def test_a_waiting_change_is_compared_word_by_word_and_a_carried_out_one_stays_so(house: AccessHouse) -> None:
    ann, bob = house.person("ann", "author"), house.person("bob", "approver", "author")
    change = opened(house, ann)
    waiting = compared(bob, change)
    (deployment,) = waiting["deployments"]
    assert (deployment["environment"], deployment["route"], deployment["rollout"]) == ("live", "chat", "")
    (component,) = deployment["components"]
    edits = [(item["edit"], item["text"]) for item in component["passages"]]
    assert edits == [("same", "Be "), ("removed", "very"), ("added", "quite"), ("same", " kind.")]
    bob.post(path_of("changes", change, "approvals"), {"reason": ""})
    bob.post(path_of("changes", change, "applications"), None)
    done = compared(ann, change)
    assert (done["state"], done["deployments"]) == ("applied", waiting["deployments"])
    told = CliRunner().invoke(root, ["changes", "diff", change, *house_options(house)])
    assert (told.exit_code, "Be [-very-]{+quite+} kind." in told.output) == (0, True), told.output


def test_a_closed_change_says_why_there_is_nothing_to_compare(house: AccessHouse) -> None:
    ann, bob = house.person("ann", "author"), house.person("bob", "approver")
    change = opened(house, ann)
    bob.post(path_of("changes", change, "rejections"), {"reason": "no"})
    assert compared(bob, change)["problem"] == "it was rejected, and what came with it is forgotten"
    found = options(bob, change)
    assert found.pop("missing") == []
    assert set(found.values()) == {change, "rejected", "it is closed: rejected"}


def test_everybody_is_told_what_is_theirs_to_do(house: AccessHouse) -> None:
    ann, bob = house.person("ann", "author"), house.person("bob", "approver")
    eve = house.person("eve", "viewer")
    change = opened(house, ann)
    mine = options(ann, change)
    assert (mine["withdraw"], mine["rebase"], mine["apply"]) == ("", "", "it is open")
    assert "somebody else has to approve" in mine["approve"]
    theirs = options(bob, change)
    assert (theirs["approve"], theirs["reject"]) == ("", "")
    assert "'bob' is no author" in theirs["apply"]
    assert all(words for name, words in options(eve, change).items() if name not in ("change", "state"))
    bob.post(path_of("changes", change, "approvals"), {"reason": ""})
    assert options(ann, change)["apply"] == ""


def test_a_change_of_another_team_is_not_there(house: AccessHouse) -> None:
    ann = house.person("ann", "author")
    change = opened(house, ann)
    sam = house.person("sam", "approver team:sales")
    for name in ("comparison", "options"):
        assert refusal(sam, "GET", path_of("changes", change, name))[:2] == (404, "not_found")


def house_options(house: AccessHouse) -> list[str]:
    return ["--url", house.served.url, "--token", TOKEN]
