"""Journey 4: a model is changed. Proposed, looked at, approved by a second person, tried on 5 %, passed by its guard,
then everybody's. By file, by command and in the console, with the same audit record."""

import asyncio
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import pytest

from lineclear.testing import manifests
from lineclear.testing.load import LoadReport, chat_call, closed_loop
from lineclear.testing.manifests import Document
from lineclear.testing.people import Person, person
from lineclear.testing.stage import Stage

NOTE = "large answers better"
CONNECTIONS = 4
LIMIT_S = 120.0
FIRST = {"weight": {"percent": 5, "bake_s": 1, "min_requests": 20, "max_wait_s": 300}}


def documents(port: int, target: str = "small") -> list[Document]:
    return [
        manifests.team(),
        manifests.provider("vendor", port),
        manifests.model("small", "vendor"),
        manifests.model("large", "vendor", price={"input_per_mtok": "3.00", "output_per_mtok": "9.00"}),
        {"kind": "Rollout", "name": "careful", "steps": [FIRST], "guards": {"error": {}}},
        manifests.route("chat", target, limits={"requests_per_minute": 10_000_000}, rollout="careful"),
        {"kind": "Environment", "name": "live", "class": "live", "approvals": 1},
    ]


@dataclass
class Cast:
    """Ann asks, Bob approves; each at one door."""

    stage: Stage
    ann: Person
    bob: Person

    def file(self) -> str:
        """What ann wants, as the file that a restart applies too."""
        path = self.stage.directory / "stage.yaml"
        path.write_text(manifests.text_of(documents(self.stage.upstream.port, "large")))
        return str(path)


class Door(Protocol):
    """One way of doing every step."""

    def propose(self, cast: Cast) -> str:
        """The change's id."""

    def check(self, cast: Cast, change: str) -> Mapping[str, Any]:
        """What the second person decides by: `radius`, `missing`, `components`."""

    def refuse_own(self, cast: Cast, change: str) -> str:
        """What ann is told, an approver herself, when she approves her own."""

    def approve(self, cast: Cast, change: str) -> None: ...

    def carry_out(self, cast: Cast, change: str) -> None: ...

    def rollout(self, cast: Cast) -> Mapping[str, Any]:
        """The newest rollout."""


class Command:
    def propose(self, cast: Cast) -> str:
        words = ("models", "replace", "small@1", "large@1", "--yes", "--reason", NOTE)
        return str(cast.ann.cli_json(*words, code=7)["applied"]["change"])

    def check(self, cast: Cast, change: str) -> Mapping[str, Any]:
        shown = cast.bob.cli_json("changes", "show", change)
        compared = cast.bob.cli_json("changes", "diff", change)["deployments"]
        return {
            "radius": shown["change"]["plan"]["radius"],
            "missing": [need["missing"] for need in shown["needs"]],
            "components": compared[0]["components"],
        }

    def refuse_own(self, cast: Cast, change: str) -> str:
        done = cast.ann.cli("approve", change)
        assert done.returncode == 4, done.stderr
        return done.stderr

    def approve(self, cast: Cast, change: str) -> None:
        cast.bob.cli_json("approve", change, "--reason", "looks right")

    def carry_out(self, cast: Cast, change: str) -> None:
        cast.ann.cli_json("apply", change)

    def rollout(self, cast: Cast) -> Mapping[str, Any]:
        (row,) = cast.bob.cli_json("rollouts", "list", "--route", "chat", "--limit", "1")["rollouts"]
        return dict(row)


class File(Command):
    """Whoever keeps files applies them; the same file again carries out what was approved meanwhile."""

    def propose(self, cast: Cast) -> str:
        return str(cast.ann.cli_json("apply", "-f", cast.file(), "--note", NOTE, code=7)["change"])

    def carry_out(self, cast: Cast, change: str) -> None:
        assert cast.ann.cli_json("apply", "-f", cast.file(), "--note", NOTE)["change"] == change


class Console:
    def propose(self, cast: Cast) -> str:
        fields = {"model": "small@1", "new": "large@1", "reason": NOTE}
        planned = cast.ann.sends("/catalogue/small/replacement", **fields)
        (plan,) = re.findall(r'name="plan" value="([0-9a-f]{64})"', planned.text)
        done = cast.ann.sends("/catalogue/small/replacement", **fields, plan=plan)
        return done.location.rpartition("/")[2]

    def check(self, cast: Cast, change: str) -> Mapping[str, Any]:
        shown = cast.bob.sees(f"/changes/{change}")
        assert "large@1 instead of small@1" in shown["deployments"][0]["words"]
        assert "approve or reject it" in cast.bob.browser.get("/").text
        return {
            "radius": shown["change"]["plan"]["radius"],
            "missing": [need["missing"] for need in shown["needs"]],
            "components": shown["deployments"][0]["components"],
        }

    def refuse_own(self, cast: Cast, change: str) -> str:
        content = cast.ann.sees(f"/changes/{change}")["change"]["plan"]["content"]
        refused = cast.ann.sends(f"/changes/{change}/approvals", reason="mine", content=content)
        assert refused.status == 403, refused.text
        return refused.text

    def approve(self, cast: Cast, change: str) -> None:
        content = cast.bob.sees(f"/changes/{change}")["change"]["plan"]["content"]
        assert cast.bob.sends(f"/changes/{change}/approvals", reason="looks right", content=content).status == 303

    def carry_out(self, cast: Cast, change: str) -> None:
        assert cast.ann.sends(f"/changes/{change}/applications").status == 303

    def rollout(self, cast: Cast) -> Mapping[str, Any]:
        rows = cast.bob.sees("/rollouts?route=chat")["rows"]
        shown: Mapping[str, Any] = cast.bob.sees(f"/rollouts/{rows[0]['id']}")["rollout"]
        return shown


@pytest.fixture
def cast(tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]) -> Iterator[Cast]:
    with Stage(tmp_path_factory.mktemp("change"), documents, environment=child_environment) as stage:
        ann = person(stage.platform, "ann", "author", "approver")
        yield Cast(stage, ann, person(stage.platform, "bob", "approver"))


@contextmanager
def load(stage: Stage) -> Iterator[LoadReport]:
    """Calls in a thread of their own, for as long as the block lasts."""
    report, loop, stop = LoadReport(), asyncio.new_event_loop(), asyncio.Event()

    def run() -> None:
        loop.run_until_complete(
            closed_loop(
                stage.platform.gateway_url,
                lambda number: chat_call(stage.key, "chat", f"{number} [[delay-ms=2]]"),
                connections=CONNECTIONS,
                stop=stop,
                report=report,
            )
        )

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield report
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(60)
        loop.close()


def served(report: LoadReport, count: int) -> set[str]:
    """Model versions that answered lately."""
    return {result.headers.get("x-lineclear-model", "") for result in report.results[-count:] if not result.failure}


@pytest.mark.parametrize("make", [File, Command, Console], ids=["file", "cli", "console"])
def test_a_model_is_changed_by_two_people_and_reaches_everybody(cast: Cast, make: Callable[[], Door]) -> None:
    door, stage = make(), cast.stage
    before = stage.call(chat_call(stage.key, "chat", "hello"))
    assert before.headers["x-lineclear-model"] == "small@1"
    assert stage.platform.cli_json("models", "callers", "small@1")["callers"], "the ledger has it"

    change = door.propose(cast)
    checked = door.check(cast, change)
    (radius,) = checked["radius"]
    assert (radius["route"], radius["requests_per_day"], list(radius["apps"])) == ("chat", 1, ["default"])
    assert float(radius["new_cost_usd_per_day"]) > float(radius["cost_usd_per_day"]) > 0
    assert checked["missing"] == [1]
    assert [item["component"] for item in checked["components"]] == ["targets"]

    assert "somebody else has to approve" in door.refuse_own(cast, change)
    assert stage.call(chat_call(stage.key, "chat", "hello")).headers["x-lineclear-model"] == "small@1"
    door.approve(cast, change)
    with load(stage) as report:
        door.carry_out(cast, change)
        rollout = door.rollout(cast)
        assert rollout["percent"] in (0, 5, 100)
        stage.platform.wait_for(lambda: "large@1" in served(report, 500), "the first 5 %", LIMIT_S)
        stage.platform.wait_for(
            lambda: door.rollout(cast)["state"] in ("completed", "rolled_back", "cancelled"), "its end", LIMIT_S
        )
        assert door.rollout(cast)["state"] == "completed"
        made = len(report.results)
        stage.platform.wait_for(lambda: len(report.results) > made + 400, "more calls", LIMIT_S)
        assert served(report, 200) == {"large@1"}
    assert report.failures == {}
    assert {"small@1", "large@1"} == served(report, len(report.results))

    trail = [event for event in stage.platform.trail() if event["change_id"] == change]
    told = [(event["actor"], event["action"], event["object"].partition("/")[0]) for event in trail]
    assert told[:5] == [
        ("ann", "change.opened", "change"),
        ("bob", "change.approved", "change"),
        ("ann", "manifest.updated", "Route"),
        ("ann", "rollout.started", "rollout"),
        ("ann", "change.applied", "change"),
    ]
    # Every step that the platform took by itself belongs to the change too.
    assert {actor for actor, _, _ in told[5:]} == {"rollout"}
    assert sorted(action for _, action, _ in told[5:]) == ["deployment.moved", "rollout.advanced", "rollout.completed"]
    assert {event["reason"] for event in trail if event["actor"] == "ann"} == {NOTE}
    (now, first) = stage.platform.cli_json("history", "chat", "-e", "live")["stretches"]
    assert (now["release"], first["release"]) == (rollout["candidate"], rollout["stable"])
