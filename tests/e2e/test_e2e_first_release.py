"""The first release of a route: its gates judge it by itself, where it serves already, before it goes live."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from lineclear.testing import manifests
from lineclear.testing.manifests import Document
from lineclear.testing.stage import Stage

CASES = 10
BAKE: Document = {"weight": {"percent": 1, "bake_s": 3_600}}
NOT_PASSED = 8


def documents(
    port: int, *, live: bool = False, at_least: float | None = 0.8, steps: Sequence[Document] = ({"eval": "capitals"},)
) -> list[Document]:
    targets = {"targets": [{"model": "good@1"}]}
    return [
        manifests.team(),
        manifests.app("checker"),
        manifests.provider("vendor", port),
        manifests.model("good", "vendor"),
        {
            "kind": "Eval", "name": "capitals", "team": manifests.TEAM, "app": "checker", "dataset": "capitals",
            "checks": [{"id": "right", "exact": {}}], **({} if at_least is None else {"at_least": at_least}),
        },
        {"kind": "Rollout", "name": "gated", "steps": [*steps, BAKE]},
        {
            "kind": "Route", "name": "chat", "team": manifests.TEAM,
            "environments": {"test": targets, **({"live": {**targets, "rollout": "gated"}} if live else {})},
        },
    ]  # fmt: skip


@pytest.fixture
def stage(tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("first"), documents, environment=child_environment) as stage:
        add_cases(stage, CASES)
        yield stage


def add_cases(stage: Stage, count: int) -> None:
    lines = [{"text": f"{at}: the capital of France?", "expected": "Paris"} for at in range(count)]
    content = "\n".join(map(json.dumps, lines))
    stage.platform.admin("POST", "/api/v1/datasets", {"name": "capitals", "team": manifests.TEAM, "content": content})


def apply(stage: Stage, *more: Document, **facts: Any) -> tuple[int, str]:
    path = stage.directory / "next.yaml"
    path.write_text(manifests.text_of([*documents(stage.upstream.port, **facts), *more]))
    done = stage.platform.cli("apply", "-f", str(path))
    return done.returncode, done.stdout + done.stderr


def judge(stage: Stage) -> tuple[int, str]:
    done = stage.platform.cli(
        "evals", "run", "capitals", "--route", "chat", "-e", "live", "--candidate-from", "test", "--wait"
    )
    return done.returncode, done.stdout + done.stderr


def is_live(stage: Stage) -> bool:
    rows = stage.platform.admin("GET", "/api/v1/rollbacks")["deployments"]
    return any((row["route"], row["environment"]) == ("chat", "live") for row in rows)


def test_a_first_release_goes_live_only_after_it_passed_by_itself(stage: Stage) -> None:
    code, words = apply(stage, live=True)
    assert code == NOT_PASSED, words
    assert "asks for eval 'capitals': this release was not judged by it" in words
    assert "lineclear evals run capitals --route chat -e live --candidate-from test --wait" in words
    assert not is_live(stage)
    stage.upstream.script("good", always="text=Lyon,tokens=1")
    code, words = judge(stage)
    assert code == NOT_PASSED, words
    assert "check right (exact): fail, score 0.000 of 0.8 that is asked" in words
    code, words = apply(stage, live=True)
    assert (code, is_live(stage)) == (NOT_PASSED, False)
    assert "fail in run ev_" in words
    stage.upstream.script("good", always="text=Paris,tokens=1")
    code, words = judge(stage)
    assert code == 0, words
    # Another bar is another Eval: what was passed says nothing of it.
    assert apply(stage, live=True, at_least=0.9)[0] == NOT_PASSED
    code, words = apply(stage, live=True)
    assert (code, is_live(stage)) == (0, True), words
    answers = [
        run["run"] for run in [stage.platform.admin("GET", f"/api/v1/eval-runs/{one['id']}") for one in runs(stage)]
    ]
    assert [(run["verdict"], run["stable"], run["at_least"]) for run in answers] == [
        ("pass", "", 0.8),
        ("fail", "", 0.8),
    ]
    assert len(stage.upstream.dispatches()) == 2 * CASES


def test_only_the_cases_of_now_and_runs_that_came_to_an_end_decide(stage: Stage) -> None:
    assert apply(stage)[0] == 0
    stage.upstream.script("good", always="text=Paris,tokens=1")
    assert judge(stage)[0] == 0
    # Other cases under the same name: what was passed says nothing of them.
    add_cases(stage, CASES + 1)
    code, words = apply(stage, live=True)
    assert (code, is_live(stage)) == (NOT_PASSED, False)
    assert f"not judged by it as it stands, with {CASES + 1} cases of capitals@" in words
    assert judge(stage)[0] == 0
    stage.upstream.script("good", always="text=Lyon,tokens=1")
    assert judge(stage)[0] == NOT_PASSED
    assert "fail in run" in apply(stage, live=True)[1]
    stage.upstream.script("good", always="text=Paris,tokens=1")
    assert judge(stage)[0] == 0
    # Neither one that is under way nor one that was stopped takes back what was passed.
    stage.upstream.script("good", always="hang")
    asked = {"eval": "capitals", "route": "chat", "environment": "live", "candidate_from": "test"}
    run = stage.platform.admin("POST", "/api/v1/eval-runs", asked)["run"]["id"]
    words = plan(stage)
    assert "of its rollout 'gated' passed in run ev_" in words
    assert f"over {CASES + 1} cases of capitals@" in words
    stage.platform.admin("POST", f"/api/v1/eval-runs/{run}/stops", {"reason": "enough"})
    code, words = apply(stage, live=True)
    assert (code, is_live(stage)) == (0, True), words


def plan(stage: Stage) -> str:
    path = stage.directory / "next.yaml"
    path.write_text(manifests.text_of(documents(stage.upstream.port, live=True)))
    done = stage.platform.cli("plan", "-f", str(path))
    return done.stdout + done.stderr


def runs(stage: Stage) -> list[dict[str, Any]]:
    return list(stage.platform.cli_json("evals", "runs")["runs"])


def test_where_no_gate_can_judge_it_the_plan_says_that_it_goes_without(stage: Stage) -> None:
    assert "does not say what a release has to reach by itself" in judge_without(stage)
    path = stage.directory / "next.yaml"
    path.write_text(manifests.text_of(documents(stage.upstream.port, live=True, at_least=None)))
    plan = stage.platform.cli("plan", "-f", str(path))
    assert "nothing serves there that eval capitals of its rollout 'gated' could compare it with; it goes without" in (
        plan.stdout + plan.stderr
    )
    code, words = apply(stage, live=True, at_least=None)
    assert (code, is_live(stage)) == (0, True), words


def judge_without(stage: Stage) -> str:
    assert apply(stage, at_least=None)[0] == 0
    code, words = judge(stage)
    assert code == 6, words
    return words
