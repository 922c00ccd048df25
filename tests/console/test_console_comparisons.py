"""Policies, evals and replays in the console: what a person decides by, and what is told to whom."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from lineclear.console.pages.replay_cases import CASES_MAX
from lineclear.testing import manifests
from lineclear.testing.browser_calls import ask, chat
from lineclear.testing.console_stream import Stream
from lineclear.testing.console_visitor import Answer, Visitor
from lineclear.testing.platform import Platform
from lineclear.testing.stage import Stage

PASSWORD = "correct horse battery"
TEAM = "support"
CASES = 30
GOOD, BAD = "text=the last word,tokens=3", "text=<b>cut</b> short,tokens=3"
EVAL = {
    "kind": "Eval", "name": "whole", "team": TEAM, "app": "shop", "dataset": "questions",
    "checks": [{"id": "ends", "regex": "the last word"}], "verdict": {"margin": 0.2}, "at_least": 0.9,
}  # fmt: skip


def documents(port: int) -> list[manifests.Document]:
    return [
        manifests.team(TEAM),
        manifests.team("sales"),
        manifests.app("shop", TEAM),
        manifests.provider("vendor", port),
        *(manifests.model(name, "vendor", team_name=TEAM) for name in ("good", "other")),
        {
            "kind": "Route", "name": "chat", "team": TEAM,
            "environments": {"live": {"targets": [{"model": "good@1"}]}, "test": {"targets": [{"model": "other@1"}]}},
        },
        {
            "kind": "Route", "name": "fresh", "team": TEAM,
            "environments": {"test": {"targets": [{"model": "other@1"}]}},
        },
        EVAL,
        {
            "kind": "Policy", "name": "careful", "description": "what is shut",
            "rules": [
                {"id": "known-may", "when": {"app": ["default"], "tag": ["known"]}, "then": "allow"},
                {"id": "shut", "when": {"model": ["good"], "task": ["drafting"]}, "then": "deny"},
            ],
        },
        {**manifests.route("drafts", "good", team_name=TEAM), "tasks": ["drafting"]},
    ]  # fmt: skip


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]) -> Iterator[Stage]:
    """A vendor of which one model answers well; a dataset, an Eval and a policy."""
    with Stage(tmp_path_factory.mktemp("compared"), documents, environment=child_environment) as stage:
        lines = [{"id": f"q{at}", "text": f"question {at} <i>of</i> many"} for at in range(CASES)]
        new = {"name": "questions", "team": TEAM, "content": "\n".join(map(json.dumps, lines))}
        stage.platform.admin("POST", "/api/v1/datasets", new)
        yield stage


@pytest.fixture
def house(stage: Stage) -> Platform:
    """Its platform; the vendor is quick."""
    stage.upstream.script("good", always=GOOD)
    stage.upstream.script("other", always=BAD)
    return stage.platform


@pytest.fixture
def slow(stage: Stage, house: Platform) -> Platform:
    """The same with a vendor that takes its time."""
    for name in ("good", "other"):
        stage.upstream.script(name, always=f"delay-ms=400,{GOOD}")
    return house


@pytest.fixture(scope="module")
def visitor(stage: Stage) -> Visitor:
    visitor = Visitor(str(stage.platform.facts["console_url"]))
    visitor.sign_in()
    return visitor


@pytest.fixture(scope="module")
def run(stage: Stage) -> Mapping[str, Any]:
    """One that has ended: the candidate of `test` answers otherwise."""
    stage.upstream.script("good", always=GOOD)
    stage.upstream.script("other", always=BAD)
    begun = stage.platform.admin("POST", "/api/v1/eval-runs", {**asked(), "eval": "whole"})["run"]["id"]
    path = f"eval-runs/{begun}"
    stage.platform.wait_for(lambda: shown(stage.platform, path)["run"]["ended_at"] is not None, "a verdict", 60)
    return shown(stage.platform, path)


def asked() -> dict[str, str]:
    return {"route": "chat", "environment": "live", "candidate_from": "test"}


def shown(platform: Platform, path: str) -> dict[str, Any]:
    return dict(platform.admin("GET", f"/api/v1/{path}"))


def person(platform: Platform, name: str, role: str, scope: str) -> Visitor:
    platform.admin("POST", "/api/v1/members", {"name": name})
    platform.admin("POST", "/api/v1/grants", {"principal": name, "role": role, "scope": scope})
    token = platform.cli_json("access", "invite", name)["url"].partition("token=")[2]
    visitor = Visitor(f"{platform.admin_url}/console/sign-in")
    visitor.post("/password", {"token": token, "password": PASSWORD, "again": PASSWORD})
    assert visitor.post("/sign-in", {"name": name, "password": PASSWORD}).status == 303
    return visitor


def send(visitor: Visitor, path: str, **fields: str) -> Answer:
    return visitor.post(path, {"form_token": visitor.form_token(), **fields})


def test_a_run_says_its_verdict_what_it_rests_on_and_where_answers_differ(
    visitor: Visitor, run: Mapping[str, Any]
) -> None:
    page = f"/evals/{run['run']['id']}"
    twin, seen = visitor.get(f"{page}.json").json(), visitor.get(page).text
    assert (twin["run"], twin["checks"]) == (run["run"], run["checks"])
    assert run["run"]["verdict"] == "fail", run
    assert "The candidate failed" in seen
    (ends,) = [check for check in run["checks"] if check["id"] == "ends"]
    assert ends["worse_e"] >= ends["fails_at"] > 1
    assert f"{CASES} / 0" in seen
    assert "matches the last word" in seen, "what the check asks"
    assert twin["cases"][0]["lost"] == ["ends"]
    assert f'/console/replays/{run["run"]["replay"]}/cases/{twin["cases"][0]["number"]}"' in seen
    assert len(twin["told"]) == 3
    assert "<del>" in seen
    assert "<b>cut</b>" not in seen
    assert "<i>of</i>" not in seen
    (listed,) = visitor.get("/evals.json").json()["evals"]
    assert listed["last"]["id"] == run["run"]["id"]
    assert visitor.get("/evals.json?eval=whole").json()["rows"] == [run["run"]]
    assert visitor.get("/evals.json?state=stopped").json()["rows"] == []


def test_a_replay_shows_its_money_its_kinds_and_each_case(visitor: Visitor, run: Mapping[str, Any]) -> None:
    page = f"/replays/{run['run']['replay']}"
    twin, seen = visitor.get(f"{page}.json").json(), visitor.get(page).text
    assert (twin["done"], twin["kinds"]["changed"], len(twin["cases"])) == (1.0, CASES, 25)
    assert 0 <= twin["spent"] <= 1
    assert twin["sentence"][1:] in seen
    assert len(visitor.get(f"{page}.json?kind=changed").json()["cases"]) == CASES
    assert visitor.get(f"{page}.json?kind=same").json()["cases"] == []
    assert visitor.get(f"{page}?kind=nothing").status == 400
    case = visitor.get(f"{page}/cases/2.json").json()
    assert (case["facts"]["number"], case["before"], case["after"]) == (2, 1, 3)
    told = visitor.get(f"{page}/cases/2").text
    assert "<del>" in told
    assert all(answer["request_id"] in told for answer in case["answers"])
    assert visitor.get(f"{page}/cases/{CASES + 1}").status == 404
    assert visitor.get("/replays/rp_unknown").status == 404
    assert visitor.get(f"{page}/cases/{CASES}.json").json()["after"] is None


def test_a_first_release_is_shown_by_itself(house: Platform, visitor: Visitor) -> None:
    begun = house.admin("POST", "/api/v1/eval-runs", {**asked(), "route": "fresh", "eval": "whole"})["run"]["id"]
    house.wait_for(lambda: shown(house, f"eval-runs/{begun}")["run"]["ended_at"] is not None, "a verdict", 60)
    twin, seen = visitor.get(f"/evals/{begun}.json").json(), visitor.get(f"/evals/{begun}").text
    assert (twin["run"]["verdict"], twin["run"]["stable"], twin["cases"][0]["lost"]) == ("fail", "", ["ends"]), twin
    assert "The release failed" in seen
    assert "Where it lost" in seen
    assert "against stable" not in seen
    assert "0.9" in seen
    assert "&lt;b&gt;cut&lt;/b&gt; short" in seen, "what it answered"
    replay = f"/replays/{twin['run']['replay']}"
    assert "One release alone was asked" in visitor.get(replay).text
    asked_all = visitor.get(f"{replay}.json").json()
    assert (len(asked_all["cases"]), asked_all["more"]) == (25, CASES - 25)


def test_of_many_cases_the_few_that_differ_are_found(stage: Stage, house: Platform, visitor: Visitor) -> None:
    count = CASES_MAX + 60
    content = "\n".join(json.dumps({"text": f"question {at}"}) for at in range(count))
    house.admin("POST", "/api/v1/datasets", {"name": "many", "team": TEAM, "content": content})
    # Four are asked at a time, so that those that come last are not quite the last cases.
    stage.upstream.script("other", following=[GOOD] * (count - 3), always=BAD)
    replay = house.admin("POST", "/api/v1/replays", {**asked(), "dataset": "many", "app": "shop"})["id"]
    house.wait_for(lambda: shown(house, f"replays/{replay}")["replay"]["ended_at"] is not None, "its end", 120)
    twin = visitor.get(f"/replays/{replay}.json").json()
    assert (twin["kinds"]["changed"], len(twin["cases"]), twin["more"], len(twin["told"])) == (3, 3, 0, 3), twin
    assert all(case["number"] > CASES_MAX for case in twin["cases"])
    assert len(visitor.get(f"/replays/{replay}.json?kind=same").json()["cases"]) < count - 3


def test_who_sees_the_route_sees_figures_and_who_may_evaluate_sees_answers(
    house: Platform, run: Mapping[str, Any]
) -> None:
    eve, stranger = person(house, "eve", "viewer", f"team:{TEAM}"), person(house, "stranger", "viewer", "team:sales")
    pages = (f"/evals/{run['run']['id']}", f"/replays/{run['run']['replay']}")
    for page in pages:
        twin, seen = eve.get(f"{page}.json").json(), eve.get(page)
        assert (seen.status, twin["may_read"], twin["cases"], twin["told"]) == (200, False, [], [])
        assert "figures and not answers" in seen.text
        assert "cut" not in seen.text.partition("<main")[2]
        assert "<del>" not in seen.text
        assert stranger.get(page).status == 404
    assert eve.get(f"{pages[1]}/cases/1").status == 403
    assert stranger.get("/evals.json").json()["rows"] == []
    assert stranger.get("/replays.json").json()["rows"] == []
    assert send(eve, f"{pages[1]}/stop", reason="mine").status == 403


def test_an_open_page_follows_and_what_runs_is_stopped_with_a_reason(slow: Platform, visitor: Visitor) -> None:
    replay = slow.admin("POST", "/api/v1/replays", {**asked(), "dataset": "questions", "app": "shop"})["id"]
    page = f"/replays/{replay}"
    stream = Stream(visitor, f"/replays/stream?replay={replay}")
    name, parts = stream.event()
    assert name == "parts"
    assert all(f'id="replay-{part}"' in parts for part in ("head", "short", "stop", "now"))
    assert "Stop it" in parts
    assert "form_token" not in parts
    assert send(visitor, f"{page}/stop", reason=" ").status == 400
    assert send(visitor, f"{page}/stop", reason="<i>enough</i>").location == f"/console{page}"
    while "enough" not in parts:
        _, parts = stream.event()
    stream.close()
    assert "Stop it" not in parts
    assert "<i>" not in parts
    twin = visitor.get(f"{page}.json").json()
    assert (twin["replay"]["state"], twin["may_stop"], twin["is_open"]) == ("stopped", False, False)
    assert send(visitor, f"{page}/stop", reason="again").status == 409


def test_a_run_under_way_tells_how_far_it_is_and_is_stopped(slow: Platform, visitor: Visitor) -> None:
    begun = slow.admin("POST", "/api/v1/eval-runs", {**asked(), "eval": "whole"})["run"]["id"]
    stream = Stream(visitor, f"/evals/stream?run={begun}")
    _, parts = stream.event()
    assert all(f'id="run-{part}"' in parts for part in ("head", "decide", "stop", "now"))
    assert "It is under way" in parts
    assert send(visitor, f"/evals/{begun}/stop", reason="not needed").status == 303
    while "It ended without a verdict" not in parts:
        _, parts = stream.event()
    stream.close()
    twin = visitor.get(f"/evals/{begun}.json").json()
    assert (twin["run"]["state"], twin["run"]["verdict"], twin["may_stop"]) == ("stopped", "inconclusive", False)
    assert "not needed" in visitor.get(f"/evals/{begun}").text


def test_policies_show_their_rules_with_hits_and_what_a_call_would_meet(house: Platform, visitor: Visitor) -> None:
    key = house.cli_json("keys", "create", "--app", "shop", "--env", "live")["key"]
    ask(house, key, chat("drafts"), x_lineclear_task="drafting")
    house.wait_for(lambda: hits(visitor)["shut"]["refused_30d"] == 1, "the hit in the ledger")
    rules = visitor.get("/policies.json").json()["rows"]
    api = house.admin("GET", "/api/v1/policy-rules")["rules"]
    assert [{name: rule[name] for name in api[0]} for rule in rules] == api
    seen = visitor.get("/policies").text
    assert all(words in seen for words in (rules[1]["id"], "what is shut", rules[1]["last_hit_at"], "policy_denied"))
    assert visitor.get("/policies?policy=nobody").status == 404
    page = "/policies/explanation"
    assert visitor.get(f"{page}.json").json()["answer"] is None
    said = visitor.get(f"{page}?app=shop&route=drafts&task=drafting")
    assert "would be refused" in said.text
    assert rules[1]["id"] in said.text
    served = visitor.get(f"{page}.json?app=default&route=drafts&task=drafting&tags=known,other").json()
    assert (served["answer"]["allowed"], served["answer"]["rules"]) == (True, [rules[0]["id"]])
    assert served["command"].endswith("--app default --env live --task drafting --tag known --tag other")
    assert visitor.get(f"{page}?app=nobody&route=drafts").status == 404


def hits(visitor: Visitor) -> dict[str, Any]:
    return {one["rule"]: one for one in visitor.get("/policies.json").json()["rows"]}


def test_before_there_is_anything_the_pages_say_what_to_do(
    tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]
) -> None:
    with Platform(tmp_path_factory.mktemp("new"), environment=child_environment) as platform:
        visitor = Visitor(str(platform.facts["console_url"]))
        visitor.sign_in()
        for path, command in (
            ("/policies", "lineclear apply -f FILE"),
            ("/evals", "lineclear evals run EVAL --route ROUTE"),
            ("/replays", "lineclear replays start ROUTE"),
        ):
            assert command in visitor.get(path).text
