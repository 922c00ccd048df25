"""What people say of outputs, from an app to the end of a rollout: rejected reviews alone take a candidate back."""

import asyncio
import json
import os
import random
import signal
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from lineclear.testing import manifests
from lineclear.testing.load import Call, LoadConnection, LoadReport, chat_call, closed_loop
from lineclear.testing.manifests import Document
from lineclear.testing.stage import Stage

REVIEWERS = 2


def documents(port: int, target: str = "good") -> list[Document]:
    return [
        manifests.team(budget={"usd_per_month": "100000", "mode": "strict"}),
        manifests.provider("vendor", port),
        manifests.model("good", "vendor"),
        manifests.model("other", "vendor"),
        {
            "kind": "Rollout",
            "name": "judged",
            "steps": [{"weight": {"percent": 50, "bake_s": 600, "min_requests": 50}}],
            # Nothing else is watched: no other guard can have done it.
            "guards": {"review": {"min_reviews": 20}},
        },
        manifests.route("chat", target, limits={"requests_per_minute": 10_000_000}, rollout="judged"),
    ]


@pytest.fixture
def stage(tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("reviews"), documents, workers=2, environment=child_environment) as stage:
        yield stage


def review_call(key: str, request: str, outcome: str, **more: str) -> Call:
    body = json.dumps({"outcome": outcome, **more}).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    return Call(f"/v1/requests/{request}/review", headers, body)


class Office:
    """An app that calls, and people who say what they think of its answers, for as long as the block lasts."""

    def __init__(self, stage: Stage, rejected: Mapping[str, float]) -> None:
        self.stage = stage
        self.rejected = rejected
        """Share of rejected outputs by release; of any other release a tenth."""
        self.report = LoadReport()
        self.statuses: list[int] = []
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._dice = random.Random(5)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Office":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        self._loop.close()

    def _run(self) -> None:
        self._loop.run_until_complete(self._work())

    async def _work(self) -> None:
        stage = self.stage
        calls = closed_loop(
            stage.platform.gateway_url,
            lambda number: chat_call(stage.key, "chat", f"{number} [[delay-ms=20]]"),
            connections=4,
            stop=self._stop,
            report=self.report,
        )
        await asyncio.gather(calls, *(self._review(place) for place in range(REVIEWERS)))

    async def _review(self, place: int) -> None:
        connection = LoadConnection(self.stage.platform.gateway_url)
        read = place
        try:
            while not self._stop.is_set():
                if read >= len(self.report.results):
                    await asyncio.sleep(0.01)
                    continue
                answer = self.report.results[read]
                read += REVIEWERS
                share = self.rejected.get(answer.headers.get("x-lineclear-release", ""), 0.1)
                outcome = "rejected" if self._dice.random() < share else "approved"
                said = await connection.call(review_call(self.stage.key, answer.request_id, outcome))
                self.statuses.append(said.status)
                # Two workers take 600 a minute of an app each; people are slower than that.
                await asyncio.sleep(0.12)
        finally:
            await connection.close()


def started(stage: Stage) -> dict[str, Any]:
    path = stage.directory / "stage.yaml"
    path.write_text(manifests.text_of(documents(stage.upstream.port, "other")))
    done = stage.platform.cli("apply", "-f", str(path))
    assert done.returncode == 0, done.stderr
    (row,) = stage.platform.cli_json("rollouts", "list", "--route", "chat", "--limit", "1")["rollouts"]
    return dict(row)


def test_rejected_reviews_alone_roll_a_candidate_back(stage: Stage) -> None:
    facts = started(stage)
    with Office(stage, {facts["candidate"]: 0.8}) as office:

        def has_ended() -> bool:
            state = stage.platform.admin("GET", f"/api/v1/rollouts/{facts['id']}")["rollout"]
            if state["hold"] == "analysis":
                # Guards suspect before they are sure; a person goes on, and the guard takes it back all the same.
                stage.platform.cli("rollouts", "resume", facts["id"], "--reason", "let us see")
            return state["state"] not in ("pending", "running", "held")

        stage.platform.wait_for(has_ended, "the end of the rollout", 120)
    answer = stage.platform.admin("GET", f"/api/v1/rollouts/{facts['id']}")
    assert answer["rollout"]["state"] == "rolled_back", answer
    assert answer["rollout"]["by_guard"]
    assert answer["rollout"]["reason"].startswith("guard review: the candidate is worse")
    # Every answer was good and every call succeeded: only people disliked what it said.
    assert office.report.failures == {}
    assert set(office.statuses) <= {202, 429}
    (guard,) = answer["guards"]
    assert guard["guard"] == "review"
    assert guard["e"] >= guard["roll_back_at"] == 100
    assert guard["candidate_bad"] > guard["stable_bad"]
    said = answer["reviews"]
    assert said["candidate"]["rejected"] == guard["candidate_bad"]
    assert said["stable"]["approved"] > said["stable"]["rejected"]
    shown = stage.platform.cli("rollouts", "show", facts["id"])
    assert shown.returncode == 8
    assert "reviews of candidate: " in shown.stdout


def test_reviews_are_taken_while_control_is_away_and_only_of_the_apps_own_requests(stage: Stage) -> None:
    mine = stage.call(chat_call(stage.key, "chat", "hello"))
    (control,) = stage.platform.processes("control")
    os.kill(control, signal.SIGSTOP)
    try:
        said = stage.call(review_call(stage.key, mine.request_id, "edited", reason="too long", reviewer="ann"))
        assert said.status == 202
        again = stage.call(review_call(stage.key, mine.request_id, "edited", reason="too long", reviewer="ann"))
        assert again.status == 202
    finally:
        os.kill(control, signal.SIGCONT)

    def known() -> bool:
        return len(stage.explain(mine.request_id)["reviews"]) == 2

    stage.platform.wait_for(known, "the reviews in the ledger", 30)
    newest = stage.explain(mine.request_id)["reviews"][-1]
    assert (newest["outcome"], newest["reason"], newest["reviewer"]) == ("edited", "too long", "ann")
    # The same app in another environment, and an app of another name: neither changes what is known of it.
    test_key = stage.platform.keys["test"]
    assert stage.call(review_call(test_key, mine.request_id, "rejected")).status == 202
    made = stage.platform.cli_json("keys", "create", "--app", "default", "--env", "live")
    own = stage.call(review_call(made["key"], mine.request_id, "approved"))
    assert own.status == 202

    def corrected() -> bool:
        return len(stage.explain(mine.request_id)["reviews"]) == 3

    stage.platform.wait_for(corrected, "the correction in the ledger", 30)
    assert [one["outcome"] for one in stage.explain(mine.request_id)["reviews"]] == ["edited", "edited", "approved"]
    check = stage.check_ledger()
    assert check["ok"], check
