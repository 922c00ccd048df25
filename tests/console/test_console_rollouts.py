"""Rollouts and overrides in the console: a page that follows by itself, forms with a reason, and what came of them."""

import html
import json
from typing import Any

import pytest

from lineclear.testing.console_stream import Stream
from lineclear.testing.console_visitor import Answer, Visitor
from lineclear.testing.platform import Platform

MANIFEST = """
kind: Team
name: support
---
kind: App
name: shop
team: support
routes: ["*"]
---
kind: Rollout
name: careful
steps: [{weight: {percent: 10, bake_s: 3600}}, {approval: true}, {weight: {percent: 50, bake_s: 3600}}]
guards: {error: {}}
---
kind: Route
name: stepwise
team: support
environments:
  test: {targets: [{model: simulated@1}], rollout: careful, max_tokens: 8}
"""
OTHER = MANIFEST.replace("max_tokens: 8", "max_tokens: 9")
GATED = (
    MANIFEST.replace("steps: [", "steps: [{eval: right}, ").replace("max_tokens: 8", "max_tokens: 7")
    + "---\nkind: Eval\nname: right\nteam: support\napp: shop\ndataset: cases\nchecks: [{id: same, exact: {}}]\n"
)


@pytest.fixture
def rollout(platform: Platform) -> str:
    """A new one that is under way."""
    path = platform.directory / "stepwise.yaml"
    for text in (MANIFEST, OTHER):
        path.write_text(text)
        done = platform.cli("apply", "-f", str(path), "--take-ownership")
        assert done.returncode == 0, done.stderr
    newest = platform.cli_json("rollouts", "list", "--route", "stepwise", "--limit", "1")["rollouts"][0]
    platform.wait_for(lambda: shown(platform, newest["id"])["state"] == "running", "its first step")
    return str(newest["id"])


def shown(platform: Platform, rollout: str) -> dict[str, Any]:
    return dict(platform.admin("GET", f"/api/v1/rollouts/{rollout}")["rollout"])


def send(visitor: Visitor, path: str, **fields: str) -> Answer:
    return visitor.post(path, {"form_token": visitor.form_token(), **fields})


def test_an_open_page_follows_what_others_do(platform: Platform, visitor: Visitor, rollout: str) -> None:
    stream = Stream(visitor, f"/rollouts/stream?rollout={rollout}")
    platform.cli_json("rollouts", "pause", rollout, "--reason", "<b>lunch</b>")
    name, parts = stream.event()
    while "paused by a person" not in parts:
        name, parts = stream.event()
    stream.close()
    assert name == "parts"
    assert all(f'id="rollout-{part}"' in parts for part in ("head", "decide", "buttons", "now"))
    assert ">Resume<" in parts
    assert ">Pause<" not in parts
    assert "<b>lunch" not in parts
    assert "form_token" not in parts, "a form stays as the page made it"
    assert visitor.get("/rollouts/stream?rollout=ro_unknown").status == 404


def test_each_action_wants_a_reason_and_is_on_record(platform: Platform, visitor: Visitor, rollout: str) -> None:
    page = f"/rollouts/{rollout}"
    assert visitor.get(f"{page}.json").json()["actions"] == ["pause", "advance", "roll_back"]
    silent = send(visitor, f"{page}/pauses", reason="  ")
    assert (silent.status, "ay why" in silent.text) == (400, True)
    assert shown(platform, rollout)["state"] == "running"
    for path, state, actions in (
        ("pauses", "held", ["resume", "roll_back"]),
        ("resumptions", "running", ["pause", "advance", "roll_back"]),
        ("advances", "held", ["approve", "roll_back"]),
        ("rollbacks", "rolled_back", []),
    ):
        done = send(visitor, f"{page}/{path}", reason=f"because of {path}")
        assert (done.status, done.location) == (303, f"/console{page}"), done.text
        twin = visitor.get(f"{page}.json").json()
        assert (twin["rollout"]["state"], twin["actions"]) == (state, actions)
    assert "How it ended" in visitor.get(page).text
    reasons = [event["reason"] for event in platform.trail() if event["object"] == f"rollout/{rollout}"]
    assert {"because of pauses", "because of rollbacks"} <= {text.partition(": ")[2] or text for text in reasons}


def test_a_rollout_that_a_gate_holds_is_run_again_or_rolled_back(platform: Platform, visitor: Visitor) -> None:
    path = platform.directory / "stepwise.yaml"
    path.write_text(MANIFEST)
    assert platform.cli("apply", "-f", str(path), "--take-ownership").returncode == 0
    content = "\n".join(json.dumps({"text": f"case {at}", "expected": "another answer"}) for at in range(4))
    platform.admin("POST", "/api/v1/datasets", {"name": "cases", "team": "support", "content": content})
    path.write_text(GATED)
    done = platform.cli("apply", "-f", str(path), "--take-ownership")
    assert done.returncode == 0, done.stderr
    rollout = platform.cli_json("rollouts", "list", "--route", "stepwise", "--limit", "1")["rollouts"][0]["id"]
    page = f"/rollouts/{rollout}"
    platform.wait_for(lambda: shown(platform, rollout)["hold"] == "gate", "the gate's verdict", 120)
    twin = visitor.get(f"{page}.json").json()
    seen = visitor.get(page).text
    can_pass = twin["gate"]["verdict"] == "inconclusive"
    assert twin["actions"] == (["resume"] if can_pass else []) + ["run_again", "roll_back"]
    assert all(
        words in seen for words in ("Run the gate again", html.escape(twin["gate"]["title"]), twin["gate"]["run"])
    )
    only = f"route=stepwise&environment=test&release={twin['rollout']['candidate']}"
    (asked,) = platform.admin("GET", f"/api/v1/usage?by=app&{only}")["rows"]
    assert (asked["app"], asked["requests"] >= 4) == ("shop", True)
    assert platform.admin("GET", f"/api/v1/usage?by=app&callers=true&{only}")["rows"] == []
    assert (twin["callers"]["apps"], twin["callers"]["requests"]) == ([], 0), "its gate called, and nobody else"
    run = f"/evals/{twin['gate']['run']}"
    assert f'href="/console{run}"' in seen
    assert f"/console{page}" in visitor.get(run).text
    release = visitor.get(f"/releases/{twin['rollout']['candidate']}")
    assert f'href="/console{run}"' in release.text, "where its candidate was held to something"
    assert send(visitor, f"{page}/reruns", reason="the cases were wrong").status == 303
    platform.wait_for(
        lambda: visitor.get(f"{page}.json").json()["gate"]["run"] != twin["gate"]["run"], "another run", 60
    )
    assert send(visitor, f"{page}/rollbacks", reason="enough").status == 303


def test_stop_and_start_say_who_feels_it_and_what_gateways_answered(platform: Platform, visitor: Visitor) -> None:
    assert "Every call of every app is refused" in visitor.get("/emergency").text
    assert send(visitor, "/emergency/stop", scope="app:shop", reason="").status == 400
    stopped = send(visitor, "/emergency/stop", scope="app:shop", reason="it leaks")
    assert (stopped.status, "1 of 1 within" in stopped.text) == (200, True), stopped.text
    (stop,) = visitor.get("/emergency.json").json()["stops"]
    assert (stop["scope"], stop["reason"], stop["may_start"]) == ("app:shop", "it leaks", True)
    assert "app:shop is stopped" in visitor.get("/").text
    again = send(visitor, "/emergency/stop", scope="app:shop", reason="it leaks")
    assert "it was so already" in again.text
    started = send(visitor, "/emergency/start", scope="app:shop", reason="mended")
    assert "in force everywhere" in started.text
    assert visitor.get("/emergency.json").json()["stops"] == []
    unknown = send(visitor, "/emergency/stop", scope="app:nobody", reason="x")
    assert (unknown.status, "nobody" in unknown.text) == (404, True)


def test_access_is_given_explained_and_taken(platform: Platform, visitor: Visitor) -> None:
    added = send(visitor, "/access", name="ann", kind="person")
    assert (added.status, added.location) == (303, "/console/access/ann")
    asked = "/access?subject=ann&action=change:approve&object=team:support"
    platform.cli("apply", "-f", str(manifest_of(platform)))
    assert "ann may not change:approve" in visitor.get(asked).text
    given = send(visitor, "/access/ann/grants", role="approver", scope="team:support", expires_in_days="30", reason="")
    assert given.status == 303, given.text
    assert "ann may change:approve on team:support" in visitor.get(asked).text
    (row,) = [row for row in visitor.get("/access.json").json()["rows"] if row["name"] == "ann"]
    assert [grant["scope"] for grant in row["roles"]["approver"]] == ["team:support"]
    invited = send(visitor, "/access/ann/invite")
    assert "/console/password?token=" in invited.text
    (grant,) = visitor.get("/access/ann.json").json()["grants"]
    assert send(visitor, "/access/ann/grants/take", grant=grant["id"]).status == 303
    assert visitor.get("/access/ann.json").json()["grants"] == []
    assert send(visitor, "/access/ann/disable", reason="left").status == 303
    assert visitor.get("/access/ann.json").json()["member"]["state"] == "disabled"
    assert visitor.get("/access/nobody").status == 404
    assert "no action" in visitor.get("/access?action=fly&object=platform").text


def manifest_of(platform: Platform) -> Any:
    path = platform.directory / "stepwise.yaml"
    if not path.exists():
        path.write_text(MANIFEST)
    return path
