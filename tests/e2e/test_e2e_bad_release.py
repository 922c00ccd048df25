"""Journey 5: a bad release goes back by its guard or by a person, through file, CLI and console; the file is told."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from lineclear.testing import manifests
from lineclear.testing.load import CallResult, chat_call
from lineclear.testing.manifests import Document, text_of
from lineclear.testing.people import Person, person
from lineclear.testing.stage import Stage

BACK_S = 1.0
"""Every gateway that listens has a rollback in force within this."""
CALLS_MAX = 3_000
REASON = "answers in the wrong language"


def documents(port: int, serving: str = "good", trying: str = "good") -> list[Document]:
    return [
        manifests.team(),
        manifests.app("shop"),
        manifests.provider("vendor", port),
        *(manifests.model(name, "vendor") for name in ("good", "bad", "better")),
        {"kind": "Rollout", "name": "careful", "steps": [{"weight": {"percent": 50, "bake_s": 600}}],
         "guards": {"error": {}}},
        manifests.route("chat", serving),
        manifests.route("tried", trying, rollout="careful"),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("bad-release")
    with Stage(directory, documents, workers=2, environment=child_environment) as stage:
        yield stage


@pytest.fixture(scope="module")
def operator(stage: Stage) -> Person:
    return person(stage.platform, "olga", "operator", "author")


def apply(stage: Stage, *more: str, **serving: str) -> None:
    path = stage.directory / "next.yaml"
    path.write_text(text_of(documents(stage.upstream.port, **serving)))
    done = stage.platform.cli("apply", "-f", str(path), *more)
    assert done.returncode == 0, done.stderr


def ask(stage: Stage, route: str) -> CallResult:
    return stage.call(chat_call(stage.key, route, "which one?"))


def drifted(stage: Stage) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stage.platform.cli_json("drift")["drift"]
    return found


def by_file(stage: Stage, _operator: Person) -> None:
    apply(stage, "--note", REASON)


def by_command(_stage: Stage, operator: Person) -> None:
    done = operator.cli_json("rollback", "chat", "-e", "live", "--reason", REASON)
    assert done["changed"]
    assert done["gateways"]["silent"] == []
    assert done["gateways"]["in_s"] <= BACK_S


def by_console(_stage: Stage, operator: Person) -> None:
    page = operator.browser.get("/routes/chat").text
    assert "Roll back in live" in page
    said = operator.sends("/emergency/rollback", route="chat", environment="live", reason="").text
    assert "say why" in said.lower()
    said = operator.sends("/emergency/rollback", route="chat", environment="live", reason=REASON).text
    assert "in force everywhere" in said
    assert "2 of 2 within" in said


@pytest.mark.parametrize("take_back", [by_file, by_command, by_console])
def test_a_person_takes_a_bad_release_back(
    stage: Stage, operator: Person, take_back: Callable[[Stage, Person], None]
) -> None:
    apply(stage, "--take-ownership", serving="good")
    good = ask(stage, "chat").headers["x-lineclear-release"]
    apply(stage, serving="bad")
    assert ask(stage, "chat").headers["x-lineclear-model"] == "bad@1"

    take_back(stage, operator)
    # Traffic is back with the answer of the command, the apply or the form.
    back = ask(stage, "chat")
    assert (back.headers["x-lineclear-model"], back.headers["x-lineclear-release"]) == ("good@1", good)

    # On record with who and why, whatever the door.
    stage.platform.wait_for(lambda: newest_move(stage)["reason"] == REASON, "the event of it")
    event = newest_move(stage)
    is_file = take_back is by_file
    assert event["actor"] == ("admin" if is_file else "olga")
    assert event["action"] == ("deployment.moved" if is_file else "deployment.rolled-back")

    # The teams that own or call it have one message with the reason, in their inbox.
    stage.platform.wait_for(lambda: told_of(stage, event["change_id"]), "the notice of it")
    (notice,) = told_of(stage, event["change_id"])
    assert (notice["kind"], notice["facts"]["reason"]) == ("release" if is_file else "rollback", REASON)

    # The file that asks for the bad release is drift, told with both ways out, and undoes nothing.
    if is_file:
        assert drifted(stage) == []
        return
    (drift,) = drifted(stage)
    assert (drift["object"], drift["managed_by"]) == ("deployment/live/chat", "rollback")
    assert drift["take_over"] == "lineclear apply -f FILE --take-ownership"
    assert good in drift["keep"]
    apply(stage, serving="bad")
    assert ask(stage, "chat").headers["x-lineclear-model"] == "good@1"
    apply(stage, "--take-ownership", serving="better")
    assert ask(stage, "chat").headers["x-lineclear-model"] == "better@1"
    assert drifted(stage) == []


def told_of(stage: Stage, change: str) -> list[dict[str, Any]]:
    """Notices of one change or override."""
    found = stage.platform.cli_json("notices", "list", "--state", "all")["notices"]
    return [notice for notice in found if notice["facts"]["change"] == change and notice["route"] == "chat"]


def newest_move(stage: Stage) -> dict[str, Any]:
    events = stage.platform.cli_json("audit", "list")["events"]
    return next(dict(event) for event in reversed(events) if event["object"] == "deployment/live/chat")


def test_a_guard_takes_a_bad_release_back_and_every_door_says_so(stage: Stage, operator: Person) -> None:
    stage.upstream.script("bad", following=["status=500", "tokens=2"] * CALLS_MAX)
    apply(stage, trying="bad", serving="better")
    (row,) = stage.platform.cli_json("rollouts", "list", "--route", "tried")["rollouts"]
    rollout = str(row["id"])
    running = operator.browser.get(f"/rollouts/{rollout}").text
    assert "Roll back now" in running
    assert "bad@1 instead of good@1" in running

    def shown() -> dict[str, Any]:
        return dict(operator.browser.get(f"/rollouts/{rollout}.json").json())

    for number in range(CALLS_MAX):
        ask(stage, "tried")
        if number % 20 == 0 and shown()["rollout"]["state"] == "rolled_back":
            break
    stage.platform.wait_for(lambda: shown()["rollout"]["state"] == "rolled_back", "the guard", 60)
    answer = shown()
    assert answer["rollout"]["by_guard"]
    assert answer["actions"] == []
    assert {ask(stage, "tried").headers["x-lineclear-model"] for _ in range(10)} == {"good@1"}

    # The page and the command say the same, and the command's exit code tells a pipeline.
    page = operator.browser.get(f"/rollouts/{rollout}").text
    assert "It was taken back by itself" in page
    assert "Roll back now" not in page
    done = stage.platform.cli("rollouts", "show", rollout, "-o", "json")
    assert done.returncode == 8
    told = json.loads(done.stdout)
    assert (told["rollout"], told["guards"]) == (answer["rollout"], answer["guards"])
    # The file asks for what was taken back.
    assert "deployment/live/tried" in [drift["object"] for drift in drifted(stage)]


def test_a_viewer_sees_a_rollout_and_acts_on_nothing(stage: Stage) -> None:
    apply(stage, "--take-ownership", trying="better", serving="better")
    (row, *_) = stage.platform.cli_json("rollouts", "list", "--route", "tried", "--limit", "1")["rollouts"]
    vera = person(stage.platform, "vera", "viewer")
    viewer = vera.browser
    page = viewer.get(f"/rollouts/{row['id']}")
    assert "You may look and not act" in page.text
    assert "Roll back now" not in page.text
    assert vera.sends(f"/rollouts/{row['id']}/rollbacks", reason="x").status == 403
    route = viewer.get("/routes/tried").text
    assert "Roll back in live" not in route
    assert viewer.get(f"/rollouts/{row['id']}.json").json()["rollout"]["state"] in ("pending", "running", "held")
