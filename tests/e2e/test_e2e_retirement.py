"""Journey 8: a version's vendor announces its end; callers are found, told and moved, then it is gone. By file, by
command and in the console."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytest

from lineclear.testing import manifests
from lineclear.testing.console_visitor import Answer, Visitor
from lineclear.testing.load import CallResult, chat_call
from lineclear.testing.manifests import Document
from lineclear.testing.stage import Stage

END = "2031-07-01"
SUNSET = "2031-06-01"
WHY = "its vendor ends it"
RATES = {"input_per_mtok": "3.00", "output_per_mtok": "9.00"}


def documents(port: int, target: str = "small", **small: Any) -> list[Document]:
    return [
        manifests.team(),
        manifests.provider("vendor", port),
        manifests.model("small", "vendor", **small),
        manifests.model("large", "vendor", price=RATES),
        manifests.route("chat", target),
    ]


@dataclass
class Scene:
    """One platform, one person with every role, and the console they are signed in to."""

    stage: Stage
    browser: Visitor
    told: dict[str, str] = field(default_factory=dict)
    """What the file says of the version by now."""
    target: str = "small"
    plan: str = ""
    """Digest of the plan that was looked at."""

    def hello(self) -> CallResult:
        return self.stage.call(chat_call(self.stage.key, "chat", "hello"))

    def file(self) -> str:
        """The estate as its keeper wants it now."""
        path = self.stage.directory / "stage.yaml"
        path.write_text(manifests.text_of(documents(self.stage.upstream.port, self.target, **self.told)))
        return str(path)

    def apply(self, *more: str) -> Any:
        """Apply that file. Any: decoded JSON, with the exit code beside it."""
        done = self.stage.platform.cli("apply", "-f", self.file(), "-o", "json", *more)
        return {"code": done.returncode, **json.loads(done.stdout or done.stderr)}

    def card(self) -> Any:
        """The version as the console shows it. Any: decoded JSON."""
        return self.browser.get("/catalogue/small.json?version=1").json()["version"]

    def send(self, path: str, **fields: str) -> Answer:
        return self.browser.post(path, {"form_token": self.browser.form_token(), **fields})


class Door(Protocol):
    """One way of doing every step."""

    def deprecate(self, scene: Scene) -> None:
        """Tell callers until when, and what to use instead."""

    def callers(self, scene: Scene) -> str:
        """Who would have nothing left to call, in words or JSON."""

    def simulate(self, scene: Scene) -> list[Any]:
        """What the replacement means for recorded traffic; nothing is done."""

    def replace(self, scene: Scene) -> None: ...

    def refused(self, scene: Scene) -> str:
        """What is said to who retires it while it is called."""

    def retire(self, scene: Scene) -> None: ...


class Command:
    def deprecate(self, scene: Scene) -> None:
        words = ("--successor", "large@1", "--sunset", SUNSET, "--reason", WHY)
        scene.stage.platform.cli_json("models", "deprecate", "small@1", *words)

    def callers(self, scene: Scene) -> str:
        (caller,) = scene.stage.platform.cli_json("models", "callers", "small@1")["callers"]
        return f"{caller['app']} in {caller['environment']}"

    def simulate(self, scene: Scene) -> list[Any]:
        done = scene.stage.platform.cli("models", "replace", "small@1", "large@1", "--dry-run", "-o", "json")
        assert done.returncode == 3, done.stderr
        radius: list[Any] = json.loads(done.stdout)["plan"]["radius"]
        return radius

    def replace(self, scene: Scene) -> None:
        scene.stage.platform.cli_json("models", "replace", "small@1", "large@1", "--yes", "--reason", WHY)

    def refused(self, scene: Scene) -> str:
        done = scene.stage.platform.cli("models", "retire", "small@1", "-o", "json")
        assert done.returncode == 6
        return str(json.loads(done.stderr or done.stdout)["error"]["message"])

    def retire(self, scene: Scene) -> None:
        scene.stage.platform.cli_json("models", "retire", "small@1", "--force", "--reason", "all have moved")


class File(Command):
    """Everything stands in the file; plans and refusals come from applying it. Who calls is asked for as ever."""

    def deprecate(self, scene: Scene) -> None:
        scene.told |= {
            "status": "deprecated", "deprecated_at": "2026-11-22", "successor": "large@1", "sunset": SUNSET,
        }  # fmt: skip
        assert scene.apply("--note", WHY)["code"] == 0

    def simulate(self, scene: Scene) -> list[Any]:
        scene.target = "large"
        done = scene.stage.platform.cli("plan", "-f", scene.file(), "-o", "json")
        assert done.returncode == 3, done.stderr
        radius: list[Any] = json.loads(done.stdout)["radius"]
        return radius

    def replace(self, scene: Scene) -> None:
        assert scene.apply("--note", WHY)["code"] == 0

    def refused(self, scene: Scene) -> str:
        before, scene.told = scene.told, {**scene.told, "status": "retired"}
        answer = scene.apply()
        scene.told = before
        assert answer["code"] == 6, answer
        return str(answer["error"]["message"])

    def retire(self, scene: Scene) -> None:
        scene.told["status"] = "retired"
        assert scene.apply("--force", "--note", "all have moved")["code"] == 0


class Console:
    VERSION: Mapping[str, str] = {"model": "small@1", "reason": WHY}

    def deprecate(self, scene: Scene) -> None:
        fields = {**self.VERSION, "verb": "deprecate", "successor": "large@1", "sunset": SUNSET}
        assert scene.send("/catalogue/small/status", **fields).status == 303

    def callers(self, scene: Scene) -> str:
        assert "1 app called it" in scene.browser.get("/catalogue/small").text
        (caller,) = scene.card()["callers"]
        return f"{caller['app']} in {caller['environment']}"

    def simulate(self, scene: Scene) -> list[Any]:
        planned = scene.send("/catalogue/small/replacement", **self.VERSION, new="large@1")
        assert "Nothing is done yet" in planned.text
        (digest,) = re.findall(r'name="plan" value="([0-9a-f]{64})"', planned.text)
        scene.plan = digest
        costs = re.findall(r'<td class="n">\$([\d.]+)</td>', planned.text)
        (requests,) = re.findall(r'<td class="n">(\d+)</td>', planned.text)
        return [
            {
                "route": "chat",
                "requests_per_day": int(requests),
                "cost_usd_per_day": costs[0],
                "new_cost_usd_per_day": costs[1],
            }
        ]

    def replace(self, scene: Scene) -> None:
        done = scene.send("/catalogue/small/replacement", **self.VERSION, new="large@1", plan=scene.plan)
        assert done.status == 303, done.text

    def refused(self, scene: Scene) -> str:
        answer = scene.send("/catalogue/small/status", **self.VERSION, verb="retire")
        assert answer.status == 409
        return answer.text

    def retire(self, scene: Scene) -> None:
        assert scene.send("/catalogue/small/status", **self.VERSION, verb="retire", force="yes").status == 303


@pytest.fixture
def scene(tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]) -> Iterator[Scene]:
    with Stage(tmp_path_factory.mktemp("retirement"), documents, environment=child_environment) as stage:
        browser = Visitor(str(stage.platform.facts["console_url"]))
        browser.sign_in()
        yield Scene(stage, browser)


@pytest.mark.parametrize("make", [File, Command, Console], ids=["file", "cli", "console"])
def test_a_version_is_retired_step_by_step(scene: Scene, make: Callable[[], Door]) -> None:
    door, platform = make(), scene.stage.platform
    answer = scene.hello()
    assert (answer.failure, "sunset" in answer.headers) == ("", False)

    # The vendor announces its end: in the file, as any fact of the card. Callers are told from now on.
    scene.told["end_of_life"] = END
    assert scene.apply("--note", "the vendor wrote")["code"] == 0
    assert scene.hello().headers["sunset"] == "Tue, 01 Jul 2031 00:00:00 GMT"
    (row, *_) = platform.cli_json("models", "inventory")["versions"]
    assert (row["model"], row["end_of_life"], row["requests"]) == ("small@1", END, 2)
    assert scene.card()["end_of_life"] == END

    # Who calls it? They are told in every answer, and no new release may name it.
    assert "default in live" in door.callers(scene)
    door.deprecate(scene)
    warned = scene.stage.call(chat_call(scene.stage.key, "chat", "hello", stream=True))
    assert warned.headers["deprecation"].startswith("@")
    assert warned.headers["sunset"] == "Sun, 01 Jun 2031 00:00:00 GMT"
    assert 'rel="successor-version"' in warned.headers["link"]
    new = scene.stage.directory / "new.yaml"
    new.write_text(manifests.text_of([manifests.route("again", "small")]))
    again = platform.cli("plan", "-f", str(new))
    assert again.returncode == 1
    assert "small@1 is deprecated and no new release may name it; name large@1 instead" in again.stderr

    # It cannot go while they call. What the other one would cost them is worked out on what they sent.
    assert re.search(r"default (in live, )?3 requests", door.refused(scene))
    (radius,) = door.simulate(scene)
    assert (radius["route"], radius["requests_per_day"]) == ("chat", 1)
    assert float(radius["new_cost_usd_per_day"]) > float(radius["cost_usd_per_day"]) > 0
    assert scene.hello().headers["x-lineclear-model"] == "small@1"

    # Their route is moved; the calls go on.
    door.replace(scene)
    after = scene.hello()
    assert (after.headers["x-lineclear-model"], "sunset" in after.headers) == ("large@1", False)

    # Somebody goes back to it; who called lately holds it until an approver says otherwise. Then it is gone and says
    # where to go.
    platform.cli_json("rollback", "chat", "-e", "live", "--reason", "they missed it")
    assert scene.hello().headers["x-lineclear-model"] == "small@1"
    assert re.search(r"default (in live, )?\d+ requests", door.refused(scene))
    door.retire(scene)
    gone = scene.hello()
    assert gone.status == 410
    assert json.loads(gone.body)["error"]["successor"] == "large@1"
    steps = platform.cli_json("models", "history", "small@1")["steps"]
    assert [step["after"] for step in steps] == ["retired", "deprecated", "approved"]
    assert (scene.card()["status"], scene.card()["history"]) == ("retired", steps)
    back = platform.cli("plan", "-f", str(new))
    assert (back.returncode, "small@1 is retired" in back.stderr) == (1, True)
