"""A dataset through the stable release and the candidate of a rollout: compared, paid, capped, and carried on."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from lineclear.testing import manifests
from lineclear.testing.manifests import Document
from lineclear.testing.stage import Stage

BAKE: Document = {"weight": {"percent": 1, "bake_s": 3_600, "min_requests": 100_000}}
"""A step that nothing in these tests gets past."""


def documents(port: int, target: str = "good") -> list[Document]:
    return [
        manifests.team(),
        manifests.app("poor", budget={"usd_per_month": "0.002", "mode": "strict"}),
        manifests.app("slow", limits={"requests_per_minute": 60}),
        manifests.app("narrow", routes=[]),
        manifests.provider("vendor", port),
        manifests.model("good", "vendor"),
        manifests.model("other", "vendor"),
        manifests.model("gift", "vendor"),
        {"kind": "Rollout", "name": "careful", "steps": [BAKE], "guards": {"error": {}}},
        manifests.route("chat", target, limits={"requests_per_minute": 1_000_000}, rollout="careful"),
    ]


@pytest.fixture
def stage(tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("replays"), documents, workers=2, environment=child_environment) as stage:
        path = stage.directory / "stage.yaml"
        path.write_text(manifests.text_of(documents(stage.upstream.port, "other")))
        assert stage.platform.cli("apply", "-f", str(path)).returncode == 0
        yield stage


def kept(stage: Stage, cases: Sequence[Mapping[str, Any]], name: str = "questions") -> str:
    path = stage.directory / f"{name}.jsonl"
    path.write_text("\n".join(json.dumps(case) for case in cases))
    added = stage.platform.cli_json("datasets", "add", name, str(path), "--team", manifests.TEAM)
    return str(added["dataset"]["id"])


def ended(stage: Stage, replay: str, limit_s: float = 120.0) -> dict[str, Any]:
    def shown() -> dict[str, Any]:
        return dict(stage.platform.admin("GET", f"/api/v1/replays/{replay}"))

    stage.platform.wait_for(lambda: shown()["replay"]["ended_at"] is not None, f"the end of {replay}", limit_s)
    return shown()


def start(stage: Stage, dataset: str, *more: str) -> str:
    done = stage.platform.cli("replays", "start", "chat", "--dataset", dataset, *more, "-o", "json")
    assert done.stdout, done.stderr
    return str(json.loads(done.stdout)["replay"]["id"])


def newest_rollout(stage: Stage) -> dict[str, Any]:
    return dict(stage.platform.cli_json("rollouts", "list")["rollouts"][0])


def test_the_answers_of_both_releases_are_compared_case_by_case(stage: Stage) -> None:
    stage.upstream.script("other", following=[], always='text={"city": "Bern"%2C "n": 2},tokens=1')
    stage.upstream.script("good", following=[], always='text={"city": "Basel"%2C "n": 2},tokens=3')
    dataset = kept(stage, [{"id": f"q{number}", "text": f"question {number}"} for number in range(12)])
    done = stage.platform.cli("replays", "start", "chat", "--dataset", dataset, "--wait", "-o", "json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    replay = answer["replay"]
    assert (replay["state"], answer["pairs"], answer["kinds"]["changed"]) == ("completed", 12, 12), answer
    assert answer["fields"] == {"city": 12}
    rollout = newest_rollout(stage)
    assert [side["release"] for side in replay["sides"]] == [rollout["stable"], rollout["candidate"]]
    # 2 USD per million tokens out: one token costs less than three.
    assert answer["cost_delta_usd"].startswith("-"), answer
    case = stage.platform.admin("GET", f"/api/v1/replays/{replay['id']}/cases/7")
    assert case["case"]["request"]["messages"] == [{"role": "user", "content": "question 6"}]
    assert [one["model"] for one in case["answers"]] == ["good@1", "other@1"]
    assert case["fields"] == [{"path": "city", "before": '"Basel"', "after": '"Bern"'}]
    assert [one["text"] for one in case["passages"] if one["edit"] == "removed"] == ['"Basel",']
    diff = stage.platform.cli("replays", "diff", replay["id"], "7").stdout
    assert '[-"Basel",-]{+"Bern",+}' in diff, diff
    assert "inner:replay" in json.dumps(stage.explain(case["answers"][1]["request_id"]))
    # Every call is paid by the app and written down once; none of them is evidence of the rollout.
    stage.platform.wait_for(lambda: stage.check_ledger()["ok"], "a ledger that agrees with the vendor")
    shown = stage.platform.admin("GET", f"/api/v1/rollouts/{rollout['id']}")
    assert (shown["stable_requests"], shown["candidate_requests"]) == (0, 0)
    assert stage.platform.cli_json("rollouts", "plan", "chat")["requests_per_hour"] == 0
    assert stage.platform.cli_json("models", "callers", "other@1")["callers"] == []
    assert {row["app"] for row in stage.platform.cli_json("logs", "--route", "chat")} == {"default"}


def test_a_candidate_that_does_not_answer_fails_the_replay(stage: Stage) -> None:
    stage.upstream.script("other", always="status=400")
    dataset = kept(stage, [{"text": f"question {number}"} for number in range(60)])
    done = stage.platform.cli("replays", "start", "chat", "--dataset", dataset, "--wait", "-o", "json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["verdict"], answer["kinds"]["candidate_failed"]) == (8, "fail", 60), answer
    listed = stage.platform.cli_json("replays", "cases", answer["replay"]["id"], "--kind", "candidate_failed")["cases"]
    assert len(listed) == 60
    assert listed[0]["candidate"].startswith("400 ")


def test_a_spend_cap_ends_it_before_it_is_passed(stage: Stage) -> None:
    stage.upstream.script("good", always="tokens=100")
    stage.upstream.script("other", always="tokens=100")
    dataset = kept(stage, [{"text": f"question {number}"} for number in range(50)])
    # An answer costs a bit more than 100 x 2 USD / 10^6.
    answer = ended(stage, start(stage, dataset, "--spend-cap", "0.003"))
    assert answer["replay"]["state"] == "stopped"
    assert "spend cap" in answer["replay"]["reason"]
    spent = float(answer["replay"]["spent_usd"])
    assert 0.0015 < spent <= 0.003, answer
    assert len(stage.upstream.dispatches()) == sum(side["asked"] for side in answer["replay"]["sides"])


def test_it_goes_on_after_control_and_gateways_were_killed(stage: Stage) -> None:
    stage.upstream.script("good", always="delay-ms=150,tokens=2")
    stage.upstream.script("other", always="delay-ms=150,tokens=2")
    dataset = kept(stage, [{"text": f"question {number}"} for number in range(60)])
    replay = start(stage, dataset)

    def asked() -> int:
        sides = stage.platform.admin("GET", f"/api/v1/replays/{replay}")["replay"]["sides"]
        return sum(side["asked"] for side in sides)

    stage.platform.wait_for(lambda: asked() >= 20, "the first results", 60)
    stage.platform.kill("control")
    stage.platform.kill("gateway")
    stage.platform.wait_for(lambda: is_up(stage), "a new control", 60)
    answer = ended(stage, replay)
    assert (answer["replay"]["state"], answer["pairs"]) == ("completed", 60), answer
    assert answer["kinds"]["same"] == 60
    # What was under way at either kill was asked again, and nothing else.
    assert 120 <= len(stage.upstream.dispatches()) <= 120 + 8


def test_a_rollback_takes_the_candidate_from_a_replay(stage: Stage) -> None:
    stage.upstream.script("good", always="delay-ms=100,tokens=2")
    stage.upstream.script("other", always="delay-ms=100,tokens=2")
    dataset = kept(stage, [{"text": f"question {number}"} for number in range(300)])
    replay = start(stage, dataset)
    stage.platform.wait_for(
        lambda: stage.platform.admin("GET", f"/api/v1/replays/{replay}")["replay"]["state"] == "running", "a begin", 30
    )
    assert stage.platform.cli("rollback", "chat", "-e", "live", "--reason", "enough").returncode == 0
    answer = ended(stage, replay)
    assert answer["replay"]["state"] == "stopped"
    assert "neither stable nor candidate" in answer["replay"]["reason"]


def test_a_person_stops_it_and_what_came_back_stays(stage: Stage) -> None:
    stage.upstream.script("good", always="delay-ms=100,tokens=2")
    stage.upstream.script("other", always="delay-ms=100,tokens=2")
    dataset = kept(stage, [{"text": f"question {number}"} for number in range(300)])
    replay = start(stage, dataset)
    stage.platform.wait_for(
        lambda: stage.platform.admin("GET", f"/api/v1/replays/{replay}")["pairs"] >= 3, "the first pairs", 30
    )
    stopped = stage.platform.cli_json("replays", "stop", replay, "--reason", "seen enough")
    assert (stopped["state"], "seen enough" in stopped["reason"]) == ("stopped", True)
    answer = ended(stage, replay)
    assert 3 <= answer["pairs"] < 300
    actions = [event["action"] for event in stage.platform.trail() if event["object"] == f"replay/{replay}"]
    assert sorted(actions) == ["replay.ended", "replay.started"]


def test_limits_of_the_app_are_waited_for_and_its_budget_ends_it(stage: Stage) -> None:
    stage.upstream.script("good", always="tokens=100")
    stage.upstream.script("other", always="tokens=100")
    dataset = kept(stage, [{"text": f"question {number}"} for number in range(32)])
    slow = start(stage, dataset, "--app", "slow")
    poor = ended(stage, start(stage, dataset, "--app", "poor"))
    assert poor["replay"]["state"] == "stopped"
    assert "budget" in poor["replay"]["reason"]
    assert float(poor["replay"]["spent_usd"]) <= 0.002
    narrow = ended(stage, start(stage, dataset, "--app", "narrow"))
    assert narrow["replay"]["state"] == "stopped"
    assert "chat" in narrow["replay"]["reason"]
    # 64 calls at 60 a minute: the bucket is full at first, and what it refused was asked again.
    answer = ended(stage, slow)
    assert (answer["replay"]["state"], answer["pairs"]) == ("completed", 32)
    assert answer["kinds"]["same"] == 32, answer


def test_a_release_of_another_environment_can_be_the_candidate(stage: Stage) -> None:
    stage.upstream.script("gift", always="text=as a gift,tokens=1")
    path = stage.directory / "more.yaml"
    more = manifests.route("letters", "good")
    more["environments"]["test"] = manifests.route("letters", "gift", environments=["test"])["environments"]["test"]
    path.write_text(manifests.text_of([more]))
    assert stage.platform.cli("apply", "-f", str(path)).returncode == 0
    dataset = kept(stage, [{"text": "one"}, {"text": "two"}])
    refused = stage.platform.cli("replays", "start", "letters", "--dataset", dataset)
    assert (refused.returncode, "--candidate-from" in refused.stderr) == (6, True)
    done = stage.platform.cli(
        "replays", "start", "letters", "--dataset", dataset, "--candidate-from", "test", "--wait", "-o", "json"
    )
    answer = json.loads(done.stdout)
    assert [side["environment"] for side in answer["replay"]["sides"]] == ["live", "test"]
    assert answer["kinds"]["changed"] == 2, answer


def is_up(stage: Stage) -> bool:
    try:
        stage.platform.admin("GET", "/api/v1/replays")
    except (OSError, AssertionError):
        return False
    return True
