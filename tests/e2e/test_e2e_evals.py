"""Evals and gates: a good candidate passes by itself, a worse one is held before anybody gets an answer of it."""

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from lineclear.testing import manifests
from lineclear.testing.manifests import Document
from lineclear.testing.stage import Stage

BAKE: Document = {"weight": {"percent": 1, "bake_s": 3_600, "min_requests": 100_000}}
"""A step that nothing in these tests gets past."""
ENOUGH = 40
"""Cases with which a candidate passes at this margin."""
VERDICT = {"margin": 0.2}
RIGHT = "text=Paris [[text=9%2Ctokens=1]],tokens=1"
"""An answer that makes the scripted judge say 9."""
WRONG = "text=Lyon [[text=2%2Ctokens=1]],tokens=1"
CHECKS: Sequence[Document] = (
    {"id": "right", "exact": {}},
    {"id": "word", "regex": "^Paris"},
    {"id": "near", "similarity": {"route": "simulated", "at_least": 0.99}},
    {"id": "judged", "judge": {"route": "judge", "question": "Is it right?", "repeats": 2}},
)
GATES: Sequence[Document] = ({"eval": "capitals"}, BAKE)


def documents(port: int, target: str = "good", steps: Sequence[Document] = GATES) -> list[Document]:
    return [
        manifests.team(),
        manifests.app("checker"),
        manifests.provider("vendor", port),
        *(manifests.model(name, "vendor") for name in ("good", "other", "marker")),
        {
            "kind": "Eval", "name": "capitals", "team": manifests.TEAM, "app": "checker", "dataset": "capitals",
            "checks": [*CHECKS], "verdict": VERDICT,
        },
        {"kind": "Rollout", "name": "gated", "steps": [*steps]},
        manifests.route("chat", target, rollout="gated"),
        manifests.route("judge", "marker"),
    ]  # fmt: skip


@pytest.fixture
def stage(tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("evals"), documents, workers=2, environment=child_environment) as stage:
        stage.upstream.script("good", always=RIGHT)
        keep(stage, ENOUGH)
        yield stage


def keep(stage: Stage, cases: int) -> None:
    """A dataset of capitals; the newest version of the name is what an Eval asks."""
    lines = [{"text": f"{at}: the capital of France?", "expected": "Paris [[text=9,tokens=1]]"} for at in range(cases)]
    content = "\n".join(map(json.dumps, lines))
    new = {"name": "capitals", "team": manifests.TEAM, "content": content}
    stage.platform.admin("POST", "/api/v1/datasets", new)


def started(stage: Stage, steps: Sequence[Document] = GATES) -> str:
    """Move the route to the other model, and give the rollout's id."""
    path = stage.directory / "stage.yaml"
    path.write_text(manifests.text_of(documents(stage.upstream.port, "other", steps)))
    done = stage.platform.cli("apply", "-f", str(path))
    assert done.returncode == 0, done.stderr
    return str(stage.platform.cli_json("rollouts", "list")["rollouts"][0]["id"])


def shown(stage: Stage, rollout: str) -> dict[str, Any]:
    return dict(stage.platform.admin("GET", f"/api/v1/rollouts/{rollout}"))


def wait_until(stage: Stage, rollout: str, condition: Callable[[Mapping[str, Any]], bool]) -> dict[str, Any]:
    stage.platform.wait_for(lambda: condition(shown(stage, rollout)), f"rollout {rollout}", 120)
    return shown(stage, rollout)


def is_held(answer: Mapping[str, Any]) -> bool:
    return bool(answer["rollout"]["hold"] == "gate")


def run_of(stage: Stage, rollout: str, number: int = 0) -> dict[str, Any]:
    """The newest run for a rollout, or an earlier one."""
    runs = [one for one in stage.platform.cli_json("evals", "runs")["runs"] if one["rollout"] == rollout]
    return dict(stage.platform.admin("GET", f"/api/v1/eval-runs/{runs[number]['id']}"))


def test_a_candidate_that_is_as_good_passes_its_gate_by_itself(stage: Stage) -> None:
    stage.upstream.script("other", always=RIGHT)
    rollout = started(stage)
    answer = wait_until(stage, rollout, lambda answer: answer["rollout"]["step"] == 2 or is_held(answer))
    assert (answer["rollout"]["state"], answer["rollout"]["percent"]) == ("running", 1), answer
    run = run_of(stage, rollout)
    assert run["run"]["verdict"] == "pass"
    scores = {one["id"]: (one["verdict"], one["candidate_score"], one["stable_score"]) for one in run["checks"]}
    assert scores == {
        "answered": ("pass", 1, 1), "right": ("pass", 1, 1), "word": ("pass", 1, 1), "near": ("pass", 1, 1),
        "judged": ("pass", 0.9, 0.9),
    }  # fmt: skip
    # Both releases, and the judge twice for each of their answers; the vendor of vectors is this machine.
    assert len(stage.upstream.dispatches()) == 2 * ENOUGH + 2 * 2 * ENOUGH
    assert 0 < float(run["run"]["spent_usd"]) < 1
    stage.platform.wait_for(lambda: stage.check_ledger()["ok"], "a ledger that agrees with the vendor")
    mine = [event for event in stage.platform.trail() if event["object"] == f"eval/{run['run']['id']}"]
    assert [event["action"] for event in mine] == ["eval.started", "eval.ended"]


def test_a_worse_candidate_is_held_by_its_gate_and_serves_nobody(stage: Stage) -> None:
    stage.upstream.script("other", always=WRONG)
    rollout = started(stage)
    done = stage.platform.cli("rollouts", "show", rollout, "--wait")
    assert done.returncode == 8, done.stdout
    answer = shown(stage, rollout)
    assert is_held(answer)
    assert (answer["rollout"]["step"], answer["rollout"]["percent"], answer["gate"]["verdict"]) == (1, 0, "fail")
    assert "right: the candidate is worse at 40 cases" in answer["rollout"]["reason"]
    assert answer["why_not_advancing"] == [answer["rollout"]["reason"]]
    for verb, words in (("advance", "nobody advances past that"), ("resume", "its gate failed")):
        refused = stage.platform.cli("rollouts", verb, rollout)
        assert refused.returncode == 6, refused.stdout
        assert words in refused.stderr
    run = answer["gate"]["run"]
    assert stage.platform.cli("evals", "show", run).returncode == 8
    told = stage.platform.cli("evals", "show", run).stdout
    assert "check judged (judge): fail, score 0.200 against 0.900" in told
    assert "lost most at 1, 2, 3" in told
    # Better answers, and the gate is run again from its beginning.
    stage.upstream.script("other", always=RIGHT)
    again = stage.platform.cli_json("rollouts", "rerun", rollout, "--reason", "the vendor was ill")
    assert again["rollout"]["state"] == "running"
    wait_until(stage, rollout, lambda answer: answer["rollout"]["step"] == 2)
    assert run_of(stage, rollout)["run"]["verdict"] == "pass"
    assert run_of(stage, rollout, 1)["run"]["verdict"] == "fail"


def test_a_gate_that_shows_nothing_is_passed_by_a_person_alone(stage: Stage) -> None:
    stage.upstream.script("other", always=RIGHT)
    keep(stage, 5)
    rollout = started(stage)
    answer = wait_until(stage, rollout, is_held)
    assert answer["gate"]["verdict"] == "inconclusive"
    assert "5 cases cannot show" in answer["rollout"]["reason"]
    assert stage.platform.cli("rollouts", "show", rollout, "--wait").returncode == 8
    on = stage.platform.cli_json("rollouts", "resume", rollout, "--reason", "looked at all five")
    assert (on["rollout"]["step"], on["rollout"]["percent"]) == (2, 1)
    assert "looked at all five" in on["rollout"]["reason"]


def test_a_replay_is_a_gate_for_answers_that_fail_or_change(stage: Stage) -> None:
    replay: Document = {"replay": {"dataset": "capitals", "app": "checker", "verdict": VERDICT, "max_changed": 0.1}}
    stage.upstream.script("other", always="status=400")
    rollout = started(stage, [replay, BAKE])
    answer = wait_until(stage, rollout, is_held)
    assert "answered: the candidate is worse at 40 cases" in answer["rollout"]["reason"]
    stage.upstream.script("other", always=WRONG)
    stage.platform.cli_json("rollouts", "rerun", rollout)
    answer = wait_until(stage, rollout, is_held)
    assert "changed: 40 of 40 answers changed" in answer["rollout"]["reason"]
    assert answer["course"][0]["title"] == "replay of capitals"


def test_the_end_of_a_rollout_ends_its_run(stage: Stage) -> None:
    stage.upstream.script("other", always="tokens=2,delay-ms=300")
    rollout = started(stage)
    wait_until(stage, rollout, lambda answer: bool(answer["gate"] and "of 40 cases" in answer["gate"]["words"]))
    stage.platform.cli_json("rollouts", "rollback", rollout)
    stage.platform.wait_for(lambda: run_of(stage, rollout)["run"]["state"] != "running", "the end of its run")
    run = run_of(stage, rollout)["run"]
    # Either control ends it, or its next call first finds that its release serves nobody any more.
    by_control = (run["state"], "does not wait for it any more" in run["words"]) == ("stopped", True)
    by_its_call = (run["verdict"], "is neither stable nor candidate" in run["words"]) == ("inconclusive", True)
    assert by_control or by_its_call, run
    replay = stage.platform.admin("GET", f"/api/v1/replays/{run['replay']}")["replay"]
    assert replay["state"] == "stopped"


def test_a_gate_whose_money_is_used_up_shows_nothing(stage: Stage) -> None:
    stage.upstream.script("other", always="tokens=100")
    poor: Document = {"replay": {"dataset": "capitals", "app": "checker", "verdict": VERDICT, "spend_usd": "0.0005"}}
    answer = wait_until(stage, started(stage, [poor, BAKE]), is_held)
    assert answer["gate"]["verdict"] == "inconclusive"
    assert "not every case was asked: the spend cap" in answer["rollout"]["reason"]


def test_a_run_goes_on_after_control_was_killed_and_judges_are_paid_once(stage: Stage) -> None:
    stage.upstream.script("other", always=RIGHT)
    stage.upstream.script("marker", always="delay-ms=50,text=9,tokens=1")
    rollout = started(stage)

    def marks() -> int:
        return sum(line["model"] == "marker" for line in stage.upstream.dispatches())

    stage.platform.wait_for(lambda: marks() > 80, "some marks", 120)
    (control,) = stage.platform.processes("control")
    os.kill(control, signal.SIGKILL)
    stage.platform.wait_for(lambda: stage.platform.processes("control") not in ([], [control]), "a new control", 60)
    stage.platform.wait_for(lambda: stage.platform.cli("status").returncode == 0, "its admin port", 60)
    wait_until(stage, rollout, lambda answer: answer["rollout"]["step"] == 2)
    # What was kept is not asked again: no more than one block of cases, twice for both releases.
    assert marks() <= 4 * ENOUGH + 4 * 32


def test_a_person_runs_an_eval_of_what_serves_elsewhere(stage: Stage) -> None:
    stage.upstream.script("other", always=WRONG)
    path = stage.directory / "stage.yaml"
    made = documents(stage.upstream.port)
    route = next(one for one in made if one.get("name") == "chat")
    route["environments"]["test"] = {"targets": [{"model": "other@1"}]}
    path.write_text(manifests.text_of(made))
    assert stage.platform.cli("apply", "-f", str(path)).returncode == 0
    refused = stage.platform.cli("evals", "run", "capitals", "--route", "chat")
    assert refused.returncode == 6
    assert "no rollout under way" in refused.stderr
    asked = ("evals", "run", "capitals", "--route", "chat", "--candidate-from", "test", "--wait")
    done = stage.platform.cli(*asked)
    assert done.returncode == 8, done.stderr
    assert "fail: eval capitals, route chat in live" in done.stdout
    stage.upstream.script("other", always=RIGHT)
    assert stage.platform.cli(*asked).returncode == 0
    listed = stage.platform.cli_json("evals", "list")["items"]
    assert [one["name"] for one in listed] == ["capitals"]
