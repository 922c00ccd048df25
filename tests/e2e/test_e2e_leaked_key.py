"""Journey 9: a key has leaked: what did it call, end it, and let another take over without a gap; by every door."""

import json
import re
from collections.abc import Callable, Iterator, Mapping

import pytest

from lineclear.testing import manifests
from lineclear.testing.load import CallResult, chat_call
from lineclear.testing.manifests import Document, text_of
from lineclear.testing.people import Person, person
from lineclear.testing.stage import Stage

REASON = "found in a public repository"
CALLS = 3


def documents(port: int, shop_routes: tuple[str, ...] = ("chat",)) -> list[Document]:
    return [
        manifests.team(),
        {**manifests.app("shop"), "routes": list(shop_routes)},
        {**manifests.app("shop-next"), "routes": ["chat"]},
        manifests.provider("vendor", port),
        manifests.model("good", "vendor"),
        manifests.route("chat", "good"),
    ]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("leaked-key")
    with Stage(directory, documents, workers=2, environment=child_environment) as stage:
        yield stage


@pytest.fixture(scope="module")
def admin(stage: Stage) -> Person:
    """Of the team: who makes and ends keys, and reads the ledger."""
    return person(stage.platform, "ada", "admin", "viewer")


def ask(stage: Stage, key: str) -> CallResult:
    return stage.call(chat_call(key, "chat", "hello"))


def code_of(answer: CallResult) -> str:
    return str(json.loads(answer.body)["error"]["code"])


def by_command(stage: Stage, admin: Person, key_id: str) -> str:
    stage.platform.wait_for(lambda: len(admin.cli_json("logs", "--key", key_id)) == CALLS, "the ledger")
    made: str = admin.cli_json("keys", "create", "--app", "shop", "--env", "live")["key"]
    assert ask(stage, made).status == 200
    admin.cli_json("keys", "revoke", key_id, "--reason", REASON)
    return made


def by_console(stage: Stage, admin: Person, key_id: str) -> str:
    stage.platform.wait_for(lambda: admin.browser.get(f"/keys/{key_id}.json").json()["requests"] == CALLS, "the ledger")
    page = admin.browser.get(f"/keys/{key_id}").text
    assert f"It was used for {CALLS} requests within" in page
    assert "It is the last active key of app shop in live" in page
    shown = admin.sends("/keys", app="shop", environment="live").text
    (made,) = re.findall(r'id="key-text">(lc_live_[^<]+)<', shown)
    # The page says now that nothing stops: another key is there.
    assert "App shop has 1 other active key in live" in admin.browser.get(f"/keys/{key_id}").text
    assert ask(stage, made).status == 200
    assert admin.sends(f"/keys/{key_id}/revoke", reason=REASON).status == 303
    assert key_id in {row["id"] for row in admin.sees("/keys?state=revoked")["rows"]}
    return str(made)


@pytest.mark.parametrize("rotate", [by_command, by_console])
def test_a_leaked_key_ends_and_another_takes_over_without_a_gap(
    stage: Stage, admin: Person, rotate: Callable[[Stage, Person, str], str]
) -> None:
    leaked = stage.platform.cli_json("keys", "create", "--app", "shop", "--env", "live")
    for _ in range(CALLS):
        assert ask(stage, leaked["key"]).status == 200
    made = rotate(stage, admin, leaked["id"])

    # At every gateway: two of them take turns.
    for _ in range(10):
        refused = ask(stage, leaked["key"])
        assert (refused.status, code_of(refused)) == (401, "invalid_api_key")
        assert ask(stage, made).status == 200
    events = [event for event in stage.platform.trail() if event["object"] == f"key/{leaked['id']}"]
    ended = [event for event in stage.platform.cli_json("audit", "list")["events"]
             if (event["object"], event["action"]) == (f"key/{leaked['id']}", "key.revoked")]  # fmt: skip
    assert len(events) <= len(ended) + 1
    assert [(event["actor"], event["reason"]) for event in ended] == [("ada", REASON)]
    for key in stage.platform.cli_json("keys", "list", "--app", "shop")["keys"]:
        if key["state"] == "active":
            stage.platform.cli_json("keys", "revoke", key["id"])


def test_by_file_an_app_is_cut_off_and_its_successor_serves(stage: Stage, admin: Person) -> None:
    """Keys stand in no file; what a key may call does. A file never brings an ended key back."""
    leaked = stage.platform.cli_json("keys", "create", "--app", "shop", "--env", "live")
    following = admin.cli_json("keys", "create", "--app", "shop-next", "--env", "live")
    assert ask(stage, leaked["key"]).status == ask(stage, following["key"]).status == 200
    path = stage.directory / "cut.yaml"
    path.write_text(text_of(documents(stage.upstream.port, shop_routes=())))
    assert stage.platform.cli("apply", "-f", str(path), "--note", REASON).returncode == 0
    assert ask(stage, leaked["key"]).status in (403, 404)
    assert ask(stage, following["key"]).status == 200

    admin.cli_json("keys", "revoke", leaked["id"], "--reason", REASON)
    path.write_text(text_of(documents(stage.upstream.port)))
    assert stage.platform.cli("apply", "-f", str(path)).returncode == 0
    assert ask(stage, leaked["key"]).status == 401
    stage.platform.stop()
    stage.platform.start()
    assert ask(stage, leaked["key"]).status == 401
    assert ask(stage, following["key"]).status == 200
