"""Rollouts under real load: a bad candidate is taken back by itself, a harmless one goes all the way."""

import asyncio
import http.client
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from lineclear.domain.detectability import Regression, detectability
from lineclear.testing import manifests
from lineclear.testing.load import LoadReport, chat_call, closed_loop
from lineclear.testing.manifests import Document
from lineclear.testing.platform import PlatformError
from lineclear.testing.stage import Stage

CONNECTIONS = 8
LOOKS_S = 4.0
"""From a request until it is in the ledger, looked at and acted upon, on a busy machine."""
SCRIPTED = 60_000
"""Answers of each model that are written down beforehand."""
QUICK = {"bake_s": 2, "min_requests": 50, "max_wait_s": 60}
STEPS: Sequence[Document] = (
    {"weight": {"percent": 10, **QUICK}},
    {"weight": {"percent": 50, **QUICK}},
    {"holdback": {"percent": 10, "duration_s": 3}},
)


def documents(port: int, target: str = "good", steps: Sequence[Document] = STEPS, **rollout: Any) -> list[Document]:
    return [
        manifests.team(budget={"usd_per_month": "100000", "mode": "strict"}),
        manifests.provider("vendor", port),
        manifests.model("good", "vendor"),
        manifests.model("other", "vendor"),
        {"kind": "Rollout", "name": "careful", "steps": [*steps], "lease_s": 6, **rollout},
        manifests.route("chat", target, limits={"requests_per_minute": 10_000_000}, rollout="careful"),
    ]


@pytest.fixture
def stage(tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("rollouts"), documents, workers=2, environment=child_environment) as stage:
        yield stage


class Load:
    """Calls in a thread of their own, for as long as the block lasts."""

    def __init__(self, stage: Stage, directive: str = "[[delay-ms=2]]") -> None:
        self.stage = stage
        self._directive = directive
        """What each call asks of the vendor; it goes before what is scripted for its model."""
        self.report = LoadReport()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        self._loop.close()

    def _run(self) -> None:
        stage = self.stage
        self._loop.run_until_complete(
            closed_loop(
                stage.platform.gateway_url,
                lambda number: chat_call(stage.key, "chat", f"{number} {self._directive}"),
                connections=CONNECTIONS,
                stop=self._stop,
                report=self.report,
            )
        )


def scripted(stage: Stage, model: str, error_rate: float, seed: int) -> None:
    dice = random.Random(seed)
    stage.upstream.script(
        model, following=["status=500" if dice.random() < error_rate else "tokens=2" for _ in range(SCRIPTED)]
    )


def started(stage: Stage, **more: Any) -> str:
    """Move the route to the other model by the file that a restart applies too, and give the rollout's id."""
    path = stage.directory / "stage.yaml"
    path.write_text(manifests.text_of(documents(stage.upstream.port, "other", **more)))
    done = stage.platform.cli("apply", "-f", str(path))
    assert done.returncode == 0, done.stderr
    return newest(stage)


def shown(stage: Stage, rollout: str) -> dict[str, Any]:
    return dict(stage.platform.admin("GET", f"/api/v1/rollouts/{rollout}"))


def wait_until(stage: Stage, rollout: str, condition: Callable[[Mapping[str, Any]], bool], limit_s: float) -> None:
    def holds() -> bool:
        return condition(shown(stage, rollout))

    stage.platform.wait_for(holds, f"rollout {rollout}", limit_s)


def has_state(*states: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda answer: answer["rollout"]["state"] in states


def wait_for_more(load: Load, count: int = 400) -> None:
    """Until so many further calls were answered."""
    made = len(load.report.results)
    load.stage.platform.wait_for(lambda: len(load.report.results) > made + count, "more calls")


def served(report: LoadReport, count: int = 200) -> set[str]:
    """Releases that answered lately."""
    return {result.headers.get("x-lineclear-release", "") for result in report.results[-count:] if not result.failure}


def test_a_harmless_candidate_reaches_everybody_and_passes_its_holdback(stage: Stage) -> None:
    with Load(stage) as load:
        rollout = started(stage)
        wait_until(stage, rollout, has_state("completed", "rolled_back", "cancelled"), 60)
        answer = shown(stage, rollout)
        assert answer["rollout"]["state"] == "completed", answer
        wait_for_more(load)
    assert load.report.failures == {}
    assert served(load.report) == {answer["rollout"]["candidate"]}
    trail = stage.platform.trail()
    mine = [event["action"] for event in trail if event["object"] == f"rollout/{rollout}"]
    assert sorted(mine) == sorted(["rollout.started", *["rollout.advanced"] * 3, "rollout.completed"])


def test_a_bad_candidate_is_rolled_back_by_itself_within_the_requests_predicted(stage: Stage, full_form: bool) -> None:
    good, bad = 0.01, 0.03 if full_form else 0.3
    scripted(stage, "good", good, 1)
    scripted(stage, "other", bad, 2)
    with Load(stage) as load:
        rollout = started(stage, steps=[{"weight": {"percent": 50, "bake_s": 600}}])
        wait_until(stage, rollout, has_state("completed", "rolled_back", "cancelled"), 300)
        ended = time.monotonic()
        wait_for_more(load)
        rate = 400 / (time.monotonic() - ended)
    answer = shown(stage, rollout)
    assert answer["rollout"]["state"] == "rolled_back"
    assert answer["rollout"]["by_guard"], answer
    (guard,) = answer["guards"]
    assert guard["e"] >= guard["roll_back_at"] == 100
    predicted = detectability(Regression(good, bad / good, 5_000, 1.25, 100, 0.005), 100_000).requests_p99
    assert predicted is not None
    # Control looks once a second at what has reached the ledger.
    assert answer["stable_requests"] + answer["candidate_requests"] <= predicted + rate * LOOKS_S
    assert served(load.report) == {answer["rollout"]["stable"]}
    assert stage.platform.cli("rollouts", "show", rollout).returncode == 8
    drift = stage.platform.cli_json("drift")["drift"]
    assert [item["object"] for item in drift] == ["deployment/live/chat"]


@pytest.mark.parametrize(
    ("guard", "stable", "candidate"),
    [("slow", "tokens=2", "delay-ms=300,tokens=2"), ("cost", "tokens=2", "tokens=60")],
)
def test_a_candidate_that_is_slower_or_dearer_is_rolled_back_by_itself(
    stage: Stage, guard: str, stable: str, candidate: str
) -> None:
    stage.upstream.script("good", always=stable)
    stage.upstream.script("other", always=candidate)
    # Its guard alone is watched; first it needs to know what stable does.
    with Load(stage, directive="") as load:
        rollout = started(stage, steps=[{"weight": {"percent": 50, "bake_s": 600}}], guards={guard: {}})
        wait_until(stage, rollout, has_state("completed", "rolled_back", "cancelled"), 120)
        wait_for_more(load)
    answer = shown(stage, rollout)
    assert answer["rollout"]["state"] == "rolled_back", answer
    assert answer["rollout"]["reason"].startswith(f"guard {guard}: the candidate is worse"), answer
    (found,) = answer["guards"]
    assert (found["guard"], found["roll_back_at"]) == (guard, 100)
    assert found["e"] >= 100
    frozen = answer["slow_after_ms"] if guard == "slow" else answer["cost_cap_usd"]
    assert frozen > 0
    assert load.report.failures == {}
    assert served(load.report) == {answer["rollout"]["stable"]}


def test_without_control_the_candidate_gets_nothing_and_a_new_control_goes_on(stage: Stage) -> None:
    with Load(stage) as load:
        rollout = started(stage, steps=[{"weight": {"percent": 50, "bake_s": 600}}])
        wait_until(stage, rollout, lambda answer: answer["candidate_requests"] > 50, 30)
        facts = shown(stage, rollout)["rollout"]
        assert served(load.report) == {facts["stable"], facts["candidate"]}
        (control,) = stage.platform.processes("control")
        os.kill(control, signal.SIGSTOP)
        try:
            stage.platform.wait_for(lambda: served(load.report) == {facts["stable"]}, "the end of the lease", 15)
        finally:
            os.kill(control, signal.SIGKILL)
        wait_until_up(stage)
        stage.platform.wait_for(lambda: facts["candidate"] in served(load.report), "exposure under a new control", 30)
        answer = shown(stage, rollout)
        assert answer["rollout"]["state"] in ("running", "held")
        assert answer["unmonitored"] > 0
    assert load.report.failures == {}


def test_every_open_state_is_rolled_back_by_hand(stage: Stage) -> None:
    weight: Document = {"weight": {"percent": 50, "bake_s": 600}}
    # Stable had no requests of which a time could be frozen, so it stays where it is until somebody acts.
    rollout = started(stage, guards={"error": {}, "slow": {}}, steps=[weight])
    answer = shown(stage, rollout)
    assert answer["rollout"]["state"] == "pending"
    assert answer["why_not_advancing"] == [
        "it has not begun: guard slow needs 200 answered requests of stable, there are 0"
    ]
    ended = stage.platform.cli_json("rollouts", "rollback", rollout, "--reason", "enough")
    assert ended["rollout"]["state"] == "rolled_back"
    assert "enough" in ended["rollout"]["reason"]
    with Load(stage) as load:
        cases: Sequence[tuple[str, Sequence[Document]]] = (
            ("running", [weight]),
            ("manual", [weight]),
            ("approval", [{"weight": {**weight["weight"], "bake_s": 0, "min_requests": 0}}, {"approval": True}]),
        )
        for state, steps in cases:
            rollout = again(stage, steps)
            wait_until(stage, rollout, has_state("held") if state == "approval" else has_state("running"), 30)
            if state == "manual":
                stage.platform.cli_json("rollouts", "pause", rollout)
            if state == "approval":
                refused = stage.platform.cli("rollouts", "advance", rollout)
                assert refused.returncode == 4, refused.stderr
            undone = stage.platform.cli_json("rollback", "chat", "-e", "live", "--reason", "by override")
            assert undone["gateways"]["silent"] == []
            assert undone["gateways"]["in_s"] <= 1.0
            wait_until(stage, rollout, has_state("rolled_back"), 10)
            answer = shown(stage, rollout)
            assert not answer["rollout"]["by_guard"]
            wait_for_more(load)
            assert served(load.report) == {answer["rollout"]["stable"]}
            assert stage.platform.cli("rollouts", "rollback", rollout).returncode == 6
    assert load.report.failures == {}


def again(stage: Stage, steps: Sequence[Document]) -> str:
    """The same change once more, although it was rolled back."""
    path = stage.directory / "stage.yaml"
    path.write_text(manifests.text_of(documents(stage.upstream.port, "other", steps)))
    done = stage.platform.cli("apply", "-f", str(path), "--take-ownership")
    assert done.returncode == 0, done.stderr
    return newest(stage)


def newest(stage: Stage) -> str:
    (row,) = stage.platform.cli_json("rollouts", "list", "--route", "chat", "--limit", "1")["rollouts"]
    return str(row["id"])


def wait_until_up(stage: Stage) -> None:
    """Until a new control answers."""

    def answers() -> bool:
        try:
            return bool(stage.platform.admin("GET", "/api/v1/rollouts"))
        except (OSError, PlatformError, http.client.HTTPException):
            return False

    stage.platform.wait_for(answers, "a new control", 40)


def test_the_plan_says_what_a_step_finds_at_the_routes_own_traffic(stage: Stage) -> None:
    nothing = stage.platform.cli_json("rollouts", "plan", "chat")
    assert nothing["sample"] == 0
    assert {one["sentence"] for one in nothing["steps"]} == {
        "This step cannot be planned: stable had no requests in the last 7 days."
    }
    with Load(stage) as load:
        wait_for_more(load, 300)
    planned = stage.platform.cli_json("rollouts", "plan", "chat", "--rollout", "careful")
    # Calls that have just been answered may not be in the ledger yet.
    assert planned["sample"] >= 100
    assert planned["requests_per_hour"] > 0
    assert [one["percent"] for one in planned["steps"]] == [10, 50, 90]
    for one in planned["steps"]:
        assert one["guard"] == "error"
        assert one["can_detect"] == ("cannot detect" not in one["sentence"] and "may miss" not in one["sentence"])
    shown = stage.platform.cli("rollouts", "plan", "chat")
    assert shown.returncode == 0
    assert "step 1 at 10 %: " in shown.stdout
    assert stage.platform.cli("rollouts", "plan", "nothing").returncode != 0


SHADOW: Document = {"shadow": {"percent": 100, "min_copies": 100, "margin": 0.1, "spend_usd": "5", "max_wait_s": 600}}


def test_a_shadow_step_asks_the_candidate_while_nobody_hears_it(stage: Stage) -> None:
    with Load(stage) as load:
        rollout = started(stage, steps=[SHADOW, {"weight": {"percent": 50, "bake_s": 600}}])
        facts = shown(stage, rollout)["rollout"]
        wait_until(stage, rollout, lambda answer: answer["rollout"]["step"] == 2, 120)
        shadowed = len(load.report.results)
        wait_until(stage, rollout, lambda answer: answer["candidate_requests"] > 20, 60)
        assert {result.headers["x-lineclear-release"] for result in load.report.results[: shadowed // 2]} == {
            facts["stable"]
        }
    assert load.report.failures == {}
    answer = shown(stage, rollout)
    # The copies were no evidence of the split, and no app was asked for them or charged.
    assert answer["unmonitored"] == 0
    usage = stage.platform.cli_json("usage", "--by", "app")["rows"]
    (copies,) = [row for row in usage if row["app"] == "(shadow)"]
    assert copies["requests"] >= 100
    assert stage.check_ledger()["ok"]


def test_a_candidate_that_fails_in_shadow_is_held_before_anybody_meets_it(stage: Stage) -> None:
    stage.upstream.script("other", always="status=500")
    with Load(stage, directive="") as load:
        rollout = started(stage, steps=[SHADOW, {"weight": {"percent": 50, "bake_s": 600}}])
        wait_until(stage, rollout, lambda answer: answer["rollout"]["hold"] == "gate", 120)
        answer = shown(stage, rollout)
        assert answer["gate"]["verdict"] == "fail"
        assert "the candidate fails where stable answers" in answer["rollout"]["reason"]
        assert answer["rollout"]["percent"] == 0
        assert stage.platform.cli("rollouts", "show", rollout).returncode == 8
        wait_for_more(load)
        assert served(load.report) == {answer["rollout"]["stable"]}
        # It was the vendor's bad hour: run again it passes, once the candidate's target is trusted again.
        stage.upstream.script("other", always=None)

        def passes(answer: Mapping[str, Any]) -> bool:
            if answer["rollout"]["hold"] == "gate":
                stage.platform.cli("rollouts", "rerun", rollout, "--reason", "the vendor had a bad hour")
            return bool(answer["rollout"]["step"] == 2)

        wait_until(stage, rollout, passes, 240)
    assert load.report.failures == {}
