"""Access as it is typed: members, grants, tokens, `can`, signing in, breaking the glass."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lineclear.base.secret import Secret
from lineclear.cli.main import root
from lineclear.cli.output import ExitCode
from lineclear.client.admin import path_of
from lineclear.testing.access_house import PASSWORD, AccessHouse
from lineclear.testing.control_plane import TOKEN


class Shell:
    """A shell of somebody who holds a token."""

    def __init__(self, house: AccessHouse, token: str = TOKEN) -> None:
        self._house = house
        self._token = token

    def run(self, *words: str, typed: str | None = None) -> Result:
        unset: dict[str, str | None] = {"LINECLEAR_URL": None, "LINECLEAR_TOKEN": None, "LINECLEAR_DATA": None}
        end = [] if words[0] == "login" else ["--token", self._token]
        command = [*words, "--url", self._house.served.url, *end]
        return CliRunner(env=unset).invoke(root, command, input=typed)

    def asked(self, *words: str) -> Any:
        result = self.run(*words, "-o", "json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


@pytest.fixture
def shell(house: AccessHouse) -> Shell:
    """The admin's."""
    return Shell(house)


def test_a_service_account_from_its_making_to_its_end(house: AccessHouse, shell: Shell) -> None:
    assert shell.run("access", "add", "ci", "--service", "--team", "support").exit_code == 0
    granted = shell.asked("access", "grant", "ci", "operator", "--scope", "team:support", "--reason", "deploys")
    made = shell.asked("access", "token", "ci", "--label", "deploys", "--role", "operator", "--scope", "team:support")
    robot = Shell(house, made["token"])
    assert robot.asked("access", "me")["grants"] == ["operator on team:support"]
    assert [item["label"] for item in shell.asked("access", "tokens")["tokens"]] == ["deploys"]
    assert robot.run("access", "grant", "ci", "admin").exit_code == ExitCode.NOT_AUTHORISED
    assert shell.run("access", "revoke", granted["id"]).exit_code == 0
    assert robot.asked("access", "me")["grants"] == []
    assert shell.run("access", "revoke-token", made["token"]).exit_code == 0
    assert robot.run("access", "me").exit_code == ExitCode.NOT_AUTHORISED
    assert shell.asked("access", "members")["members"][0]["state"] == "active"
    assert shell.run("access", "disable", "ci", "--reason", "gone").exit_code == 0
    assert "active" in shell.run("access", "enable", "ci").stdout


def test_a_person_signs_in_with_the_password_they_chose(house: AccessHouse, shell: Shell) -> None:
    shell.run("access", "add", "ann")
    shell.run("access", "grant", "ann", "viewer")
    link = shell.run("access", "invite", "ann", "-o", "json")
    token = json.loads(link.stdout)["path"].partition("token=")[2]
    house.plane.access.passwords.choose(token, Secret(PASSWORD))
    said = shell.run("login", "ann", typed=PASSWORD + "\n")
    assert said.stdout.startswith("export LINECLEAR_TOKEN=lct_")
    ann = Shell(house, said.stdout.strip().partition("=")[2])
    assert ann.asked("access", "me")["name"] == "ann"
    own = Shell(house, ann.asked("access", "token", "me", "--label", "laptop", "--role", "viewer")["token"])
    assert own.asked("access", "me")["grants"] == ["viewer on platform"]
    assert own.run("access", "token", "me").exit_code == ExitCode.NOT_AUTHORISED
    assert shell.run("login", "ann", typed="wrong\n").exit_code == ExitCode.NOT_AUTHORISED


@pytest.mark.parametrize(
    ("words", "allowed", "said"),
    [
        (("ann", "key:create", "team:support"), True, "admin on team:support"),
        (("ann", "key:create", "app:shop"), True, "app:shop lies in team support"),
        (("ann", "key:create", "route:live/chat"), True, "environment live, route chat"),
        (("ann", "key:create", "app:crm"), False, "no grant that allows it covers team:sales"),
        (("ann", "change:approve", "team:support"), False, "it takes one of: approver"),
        (("ci", "change:approve", "platform"), False, "a service account never does this"),
        (("admin", "audit:read", "platform"), True, "auditor on platform"),
        (("bob", "route:read", "environment:live"), False, "bob' is disabled"),
    ],
)
def test_can_tells_who_may_and_why(
    house: AccessHouse, shell: Shell, words: tuple[str, str, str], allowed: bool, said: str
) -> None:
    house.person("ann", "admin team:support")
    house.robot("ci", "operator")
    house.admin.post(path_of("members"), {"name": "bob"})
    house.admin.post(path_of("members", "bob", "disable"), {})
    result = shell.run("can", *words)
    assert result.exit_code == (0 if allowed else ExitCode.NOT_AUTHORISED), result.output
    assert said in result.stdout
    assert result.stdout.startswith("yes" if allowed else "no")


def test_can_about_others_is_for_who_may_read_grants(house: AccessHouse) -> None:
    house.person("ann", "viewer")
    answer = house.served.client("nobody").post("/sign-in", {"name": "ann", "password": PASSWORD})
    ann = Shell(house, answer["token"])
    assert ann.run("can", "me", "status:read").exit_code == 0
    assert ann.run("can", "ann", "status:read").exit_code == 0
    assert ann.run("can", "admin", "status:read").exit_code == ExitCode.NOT_AUTHORISED


def test_breaking_the_glass_is_short_told_and_reviewed_by_somebody_else(house: AccessHouse, shell: Shell) -> None:
    house.person("eve", "viewer")
    sealed = shell.asked("access", "grant", "eve", "operator", "--sealed")
    shell.run("access", "grant", "eve", "admin", "--sealed")
    eve = Shell(house, house.sign_in("eve")._server.token.reveal())
    assert eve.run("can", "me", "stop:make").exit_code == ExitCode.NOT_AUTHORISED
    assert any(sealed["id"] in item for item in eve.asked("access", "me")["sealed"])
    words = ("break-glass", "open", sealed["id"], "--incident", "INC-7")
    assert eve.run(*words, "--reason", " ").exit_code == ExitCode.USAGE
    opened = eve.asked(*words, "--reason", "live is down", "--minutes", "60")
    assert eve.run("can", "me", "stop:make").exit_code == 0
    assert eve.asked("access", "me")["kind"] == "break_glass"
    told = shell.asked("status")["emergencies"]
    assert [(item["principal"], item["incident"], item["state"]) for item in told] == [("eve", "INC-7", "open")]
    house.clock.advance(3601)
    assert eve.run("can", "me", "stop:make").exit_code == ExitCode.NOT_AUTHORISED
    assert shell.asked("status")["emergencies"][0]["state"] == "to-review"
    assert eve.run("break-glass", "review", opened["id"], "fine").exit_code == ExitCode.NOT_AUTHORISED
    assert shell.run("break-glass", "review", opened["id"], "right: nobody else was there").exit_code == 0
    assert shell.asked("status")["emergencies"] == []
    actions = [item["action"] for item in shell.asked("audit", "list")["events"]]
    assert [item for item in actions if item.startswith("break-glass")] == [
        "break-glass.opened",
        "break-glass.reviewed",
    ]


def test_an_opened_role_makes_no_lasting_access_and_reads_no_trail(house: AccessHouse, shell: Shell) -> None:
    house.person("eve", "viewer")
    opened = {}
    for role in ("admin", "auditor"):
        sealed = shell.asked("access", "grant", "eve", role, "--sealed")
        client = house.sign_in("eve")
        request = {"grant": sealed["id"], "incident": "INC-7", "reason": "live is down"}
        opened[role] = client.post(path_of("break-glass"), request)
    eve = Shell(house, house.sign_in("eve")._server.token.reveal())
    assert eve.run("can", "me", "secret:set").exit_code == 0
    for words in (
        ("access", "grant", "eve", "admin"),
        ("access", "add", "mallory"),
        ("keys", "create", "--app", "shop", "--env", "live"),
        ("audit", "list"),
        ("audit", "verify"),
    ):
        assert eve.run(*words).exit_code == ExitCode.NOT_AUTHORISED, words
    assert eve.run("break-glass", "close", opened["admin"]["id"]).exit_code == 0
    assert eve.run("can", "me", "secret:set").exit_code == ExitCode.NOT_AUTHORISED


def test_nobody_opens_a_seal_that_is_not_theirs(house: AccessHouse, shell: Shell) -> None:
    house.person("eve", "viewer")
    mallory = house.person("mallory", "viewer")
    sealed = shell.asked("access", "grant", "eve", "operator", "--sealed")
    (lasting,) = house.grant("mallory", "author")
    for grant in (sealed["id"], lasting["id"], "grt_unknown"):
        words = ("break-glass", "open", grant, "--incident", "I", "--reason", "r")
        assert Shell(house, mallory._server.token.reveal()).run(*words).exit_code == ExitCode.NOT_FOUND
