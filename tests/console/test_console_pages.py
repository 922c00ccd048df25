"""Every page and its twins: one value three ways, guarded answers, and nothing that was not declared."""

import csv
import html
import http.client
import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from lineclear.base.clock import SystemClock
from lineclear.console import shown
from lineclear.console.application import Console, ConsoleParts
from lineclear.console.page import Page
from lineclear.console.pages import ACTIONS, FEEDS, PAGES
from lineclear.console.pages.access import MEMBER
from lineclear.console.pages.home import RESTING_STATES
from lineclear.domain.errors import ErrorCode, LineclearError
from lineclear.domain.runtimes import RuntimeState
from lineclear.testing.console_visitor import Visitor
from lineclear.testing.control_plane import ServedAPI
from lineclear.testing.platform import Platform

TEMPLATES = Path(__file__).parents[2] / "src/lineclear/console/templates"
FORBIDDEN = r"\|\s*safe|autoescape|Markup|<style|\sstyle=|<script(?! src=)|\son[a-z]+=|javascript:"
MONTH_LIMIT_USD = "0.01"
MANIFEST = f"""
kind: Team
name: support
budget: {{usd_per_month: "{MONTH_LIMIT_USD}"}}
---
kind: App
name: shop
team: support
routes: ["*"]
---
kind: Route
name: openai/any:1
team: support
description: a name with a slash
environments:
  live: {{targets: [{{model: simulated@1}}]}}
---
kind: Provider
name: nobody
base_url: http://127.0.0.1:9/v1
dialects: [openai]
private_network: true
---
kind: Model
name: vectors
owner: support
versions: [{{version: "1", provider: nobody, upstream_id: v, operations: [embeddings], status: approved}}]
---
kind: Policy
name: careful
rules: [{{id: costly, when: {{cost_tier: [high]}}, then: deny, description: drafts are many}}]
---
kind: Eval
name: plain
team: support
app: shop
dataset: plain
---
kind: Route
name: compared
team: support
environments:
  live: {{targets: [{{model: simulated@1}}]}}
  test: {{targets: [{{model: simulated@1}}], max_tokens: 5}}
---
kind: Route
name: vectors
team: support
environments:
  test: {{targets: [{{model: vectors@1}}]}}
---
kind: Rollout
name: careful
steps: [{{weight: {{percent: 10, bake_s: 600}}}}, {{approval: true}}]
guards: {{error: {{}}}}
---
kind: Route
name: stepwise
team: support
environments:
  test: {{targets: [{{model: simulated@1}}], rollout: careful}}
"""


@pytest.fixture(scope="module")
def busy(platform: Platform) -> Platform:
    """The same platform with a few requests, good and bad."""
    path = platform.directory / "shop.yaml"
    path.write_text(MANIFEST)
    done = platform.cli("apply", "-f", str(path), "--note", "a shop")
    assert done.returncode == 0, done.stderr
    platform.admin("POST", "/api/v1/members", {"name": "ann"})
    platform.admin("POST", "/api/v1/grants", {"principal": "ann", "role": "viewer"})
    path.write_text(MANIFEST.replace("], rollout: careful", "], max_tokens: 9, rollout: careful"))
    assert platform.cli("apply", "-f", str(path), "--note", "shorter answers").returncode == 0
    compare(platform)
    key = platform.cli_json("keys", "create", "--app", "shop", "--env", "live")["key"]
    for model, text in (
        ("openai/any:1", "one"),
        ("simulated", "two"),
        ("simulated", "three [[status=500]]"),
        ("absent", "four"),
    ):
        call(platform, key, model, text)
    return platform


def compare(platform: Platform) -> None:
    """Two releases, by hand and by an eval."""
    content = "\n".join(json.dumps({"text": f"question {at}"}) for at in range(3))
    platform.admin("POST", "/api/v1/datasets", {"name": "plain", "team": "support", "content": content})
    asked = {"route": "compared", "environment": "live", "candidate_from": "test"}
    platform.admin("POST", "/api/v1/replays", {**asked, "dataset": "plain", "app": "shop"})
    platform.admin("POST", "/api/v1/eval-runs", {**asked, "eval": "plain"})
    platform.wait_for(lambda: all(one["ended_at"] for one in replays_of(platform)), "the replays", 60)


def replays_of(platform: Platform) -> list[dict[str, Any]]:
    return list(platform.admin("GET", "/api/v1/replays")["replays"])


def call(platform: Platform, key: str, model: str, text: str) -> str:
    parts = urlsplit(platform.gateway_url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}]})
    connection.request("POST", "/v1/chat/completions", body, {"authorization": f"Bearer {key}"})
    response = connection.getresponse()
    response.read()
    connection.close()
    return str(response.headers["x-request-id"])


def concrete(platform: Platform) -> dict[str, str]:
    """A value for every name in a page's path."""
    row = platform.admin("GET", "/api/v1/requests?app=shop&outcome=ok&limit=1")["rows"][0]
    (rollout,) = platform.admin("GET", "/api/v1/rollouts")["rollouts"]
    named = {"name": "simulated", "session_id": "0" * 8, "rollout_id": rollout["id"]}
    named |= {"notice_id": "ntc_x", "delivery_id": "dlv_x"}
    named["change_id"] = platform.admin("GET", "/api/v1/changes?limit=1")["changes"][0]["id"]
    named["run_id"] = platform.admin("GET", "/api/v1/eval-runs")["runs"][0]["id"]
    named |= {"replay_id": replays_of(platform)[-1]["id"], "number": "1"}
    named["release"] = platform.admin("GET", "/api/v1/releases")["releases"][0]["id"]
    return {"request_id": row["id"], "key_id": row["key_id"], **named}


def path_of(page: Page, names: Mapping[str, str]) -> str:
    """A page's path with what is there in its braces."""
    # Members are not named like routes and models.
    return page.path.format_map({**names, "name": "ann"} if page is MEMBER else names)


def words_of(page: str) -> str:
    """What a reader sees: text, and what stands in titles and fields; entities resolved."""
    body = page.partition("<main")[2]
    attributes = " ".join(re.findall(r'(?:title|value|datetime|href)="([^"]*)"', body))
    return html.unescape(re.sub(r"<[^>]+>", " ", body) + " " + attributes)


def table_rows(page: str) -> list[str]:
    """The words of each row of every table body."""
    bodies = re.findall(r"<tbody.*?</tbody>", page, re.DOTALL)
    return [words_of("<main" + row) for body in bodies for row in re.findall(r"<tr.*?</tr>", body, re.DOTALL)]


def exact_usd(text: str | None) -> str:
    return "unpriced" if text is None else f"${text}"


def plain(value: Any) -> str:
    return str(value or "")


def joined(value: list[str]) -> str:
    return ", ".join(value[:2])


SHOWN: dict[str, dict[str, Callable[[Any], str]]] = {
    "/requests": {
        "id": plain, "at": plain, "outcome": plain, "environment": plain, "app": plain, "route": plain, "model": plain,
        "duration_ms": shown.duration, "first_event_ms": shown.duration, "input_tokens": shown.count,
        "output_tokens": shown.count, "error_code": plain,
    },
    "/routes": {
        "route": plain, "environment": plain, "team": plain, "release": plain, "requests": shown.count,
        "errors": shown.count, "latency_ms_p95": shown.duration, "cost_usd": exact_usd,
    },
    "/cost": {
        "app": plain, "requests": shown.count, "errors": shown.count, "input_tokens": shown.count,
        "output_tokens": shown.count, "cost_usd": exact_usd, "estimated_cost_usd": exact_usd,
        "unpriced_requests": shown.count, "latency_ms_p95": shown.duration,
    },
    "/catalogue": {
        "model": plain, "status": plain, "owner": plain, "purpose": plain, "provider": plain, "routes": joined,
        "apps": joined, "input_per_mtok_usd": shown.rate, "output_per_mtok_usd": shown.rate, "requests": shown.count,
        "cost_usd": exact_usd,
    },
    "/rollouts": dict.fromkeys(("id", "route", "environment", "name", "started_at", "started_by"), plain),
    "/policies": {
        "id": plain, "rule": plain, "description": plain, "hits_7d": shown.count, "hits_30d": shown.count,
        "last_hit_at": plain,
    },
    "/replays": dict.fromkeys(("id", "route", "environment", "dataset", "created_at", "created_by"), plain),
    "/keys": dict.fromkeys(("id", "state", "app", "environment", "created_at", "created_by"), plain),
}  # fmt: skip
"""What a page shows of each row of its twin, and in which form."""


@pytest.mark.parametrize("path", SHOWN)
def test_page_shows_the_rows_of_its_twin_in_their_order(busy: Platform, visitor: Visitor, path: str) -> None:
    answer, twin = visitor.get(path), visitor.get(f"{path}.json").json()
    rows = table_rows(answer.text)
    # Cost has a table over time before the sums.
    start = len(twin["over_time"]["columns"]) if path == "/cost" else 0
    assert twin["rows"]
    for row, seen in zip(twin["rows"], rows[start:], strict=False):
        for name, form in SHOWN[path].items():
            assert form(row[name]) in seen, (name, row[name], seen)


def test_request_shows_each_candidate_check_attempt_and_cost_line(busy: Platform, visitor: Visitor) -> None:
    path = f"/requests/{concrete(busy)['request_id']}"
    seen, twin = words_of(visitor.get(path).text), visitor.get(f"{path}.json").json()["request"]
    for sentence in twin["summary"]:
        assert sentence in seen
    for candidate in twin["candidates"]:
        assert candidate["model"] in seen
        assert f"{candidate['score']:.3f}" in seen
    for check in twin["checks"]:
        assert check["detail"] in seen
    for attempt in twin["attempts"]:
        assert shown.duration(attempt["duration_ms"]) in seen
    for line in twin["cost_lines"]:
        assert f"${line['cost_usd']}" in seen
    for name, took_us in twin["steps_us"].items():
        assert name in seen
        assert shown.duration(took_us / 1000) in seen


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path or "/")
def test_page_and_twin_are_there(busy: Platform, visitor: Visitor, page: Any) -> None:
    path = path_of(page, concrete(busy))
    answer, twin = visitor.get(path or "/"), visitor.get(f"{path or '/home'}.json")
    assert (answer.status, twin.status) == (200, 200), answer.text
    assert isinstance(twin.json(), dict)


@pytest.mark.parametrize("by", ["app", "operation"])
def test_figures_of_the_twin_are_the_api_s_and_the_page_s(busy: Platform, visitor: Visitor, by: str) -> None:
    usage = busy.admin("GET", f"/api/v1/usage?by={by}&since=30d")
    assert usage["rows"]
    twin = visitor.get(f"/cost.json?by={by}&since=30d").json()
    assert (twin["rows"], twin["total"]) == (usage["rows"], usage["total"])
    seen = words_of(visitor.get(f"/cost?by={by}&since=30d").text)
    for row in usage["rows"]:
        assert f"${row['cost_usd']}" in seen
        assert shown.count(row["requests"]) in seen
    rows = visitor.get("/requests.json").json()["rows"]
    assert rows == busy.admin("GET", "/api/v1/requests?since=24h&limit=50")["rows"]
    explained = visitor.get(f"/requests/{rows[0]['id']}.json").json()["request"]
    assert explained == busy.admin("GET", f"/api/v1/requests/{rows[0]['id']}")


def test_lists_are_offered_as_csv_too(busy: Platform, visitor: Visitor) -> None:
    for page in PAGES:
        if page.rows:
            answer = visitor.get(f"{page.path}.csv")
            assert answer.headers["content-type"].startswith("text/csv")
            rows = list(csv.DictReader(io.StringIO(answer.text)))
            assert len(rows) == len(visitor.get(f"{page.path}.json").json()[page.rows])


def test_spreadsheet_gets_no_formula(busy: Platform, visitor: Visitor) -> None:
    key = busy.cli_json("keys", "create", "--app", "shop", "--env", "live")["key"]
    call(busy, key, '=HYPERLINK("http://evil.test")', "five")
    text = visitor.get("/requests.csv").text
    assert "'=HYPERLINK" in text


def test_requests_are_narrowed_by_the_address_and_paged(busy: Platform, visitor: Visitor) -> None:
    rows = visitor.get("/requests.json?outcome=refused&app=shop").json()["rows"]
    assert {row["outcome"] for row in rows} == {"refused"}
    page = visitor.get("/requests?outcome=refused&app=shop&since=7d")
    assert "lineclear logs --app shop --outcome refused --since 7d" in words_of(page.text)
    key = busy.cli_json("keys", "create", "--app", "shop", "--env", "live")["key"]
    for number in range(55):
        call(busy, key, "simulated", f"number {number}")
    first = visitor.get("/requests.json").json()
    second = visitor.get(f"/requests.json?before={first['before']}").json()
    ids = [row["id"] for row in (*first["rows"], *second["rows"])]
    assert len(first["rows"]) == 50
    assert len(set(ids)) == len(ids) >= 59
    assert f"before={first['before']}" in visitor.get("/requests").text


def test_every_answer_is_guarded(visitor: Visitor) -> None:
    for path in ("/", "/home.json", "/requests.csv", "/no-such", "/sign-in", "/start"):
        headers = visitor.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'; script-src 'self'")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"


def test_static_files_are_named_by_content_and_kept_for_a_year(visitor: Visitor) -> None:
    (address,) = re.findall(r'href="(/console/static/console\.[0-9a-f]{12}\.css)"', visitor.get("/").text)
    answer = Visitor(visitor.link).ask("GET", address)
    assert answer.status == 200
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert visitor.get("/static/console.css").status == 404
    assert visitor.get("/static/..%2fguard.py").status == 404


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/requests?colour=red", 400, "colour"),
        ("/requests?app=a&app=b", 400, "stands twice"),
        ("/requests?since=yesterday", 400, "yesterday"),
        ("/cost?by=colour", 400, "colour"),
        ("/requests/req_unknown", 404, "req_unknown"),
        ("/keys/unknown", 404, "unknown"),
        ("/catalogue/unknown", 404, "unknown"),
        ("/routes/unknown", 404, "unknown"),
        ("/unknown", 404, "/unknown"),
    ],
)
def test_what_is_not_there_is_said(visitor: Visitor, path: str, status: int, words: str) -> None:
    answer = visitor.get(path)
    assert answer.status == status
    assert words in answer.text
    if status == 400:
        twin = visitor.get(path.replace("?", ".json?"))
        assert (twin.status, twin.json()["code"]) == (400, "invalid_request")


def test_twin_is_open_to_the_admin_token(busy: Platform, visitor: Visitor) -> None:
    token = str(busy.facts["admin_token"])
    answer = Visitor(visitor.link).get("/requests.json", authorization=f"Bearer {token}")
    assert answer.json()["rows"]


def test_forms_need_their_token(busy: Platform, visitor: Visitor) -> None:
    names = concrete(busy)
    for action in ACTIONS:
        path = action.path.format_map(names)
        assert visitor.post(path, {}).status == 403
        assert visitor.post(path, {"form_token": visitor.form_token()}, origin="http://evil.test").status == 403
        assert Visitor(visitor.link).post(path, {"form_token": visitor.form_token()}).status == 303


def test_test_message_is_a_real_and_audited_call(busy: Platform, visitor: Visitor) -> None:
    fields = {"form_token": visitor.form_token(), "route": "simulated", "app": "shop", "text": "Is it on?"}
    answer = visitor.post("/start/message", fields)
    assert "Is it on?" in answer.text
    row = visitor.get("/requests.json?app=shop&environment=test").json()["rows"][0]
    assert (row["outcome"], row["route"]) == ("ok", "simulated")
    assert row["id"] in answer.text
    events = busy.trail()[-2:]
    assert [event["action"] for event in events] == ["key.created", "key.revoked"]
    assert {event["object"] for event in events} == {f"key/{row['key_id']}"}
    refused = visitor.post("/start/message", {**fields, "route": "openai/any:1"})
    assert "404" in words_of(refused.text)


def test_test_message_asks_for_what_the_route_does(busy: Platform, visitor: Visitor) -> None:
    known = {item["route"]: item["operation"] for item in visitor.get("/start.json").json()["routes"]}
    assert (known["simulated"], known["vectors"]) == ("chat", "embeddings")
    assert "/v1/embeddings" in visitor.get("/start?route=vectors").text
    fields = {"form_token": visitor.form_token(), "route": "vectors", "app": "shop", "text": "Is it on?"}
    assert "embeddings" in visitor.post("/start/message", fields).text
    done = busy.cli("ask", "vectors", "--app", "shop", "-o", "json")
    answer = json.loads(done.stdout)
    # Nobody answers at the vendor's address; what matters is what was asked of it.
    assert (answer["operation"], answer["status"]) == ("embeddings", 503)
    asked = busy.admin("GET", f"/api/v1/requests/{answer['request_id']}")
    assert asked["operation"] == "embeddings"


def test_budgets_and_what_was_spent_are_on_home(busy: Platform, visitor: Visitor) -> None:
    (budget,) = visitor.get("/home.json").json()["budgets"]
    assert (budget["scope"], budget["name"], budget["usd_per_month"]) == ("team", "support", MONTH_LIMIT_USD)
    assert 0 < float(budget["share"]) < 1
    assert budget["counted_since"] is None


def test_budget_of_a_month_that_begins_within_an_hour_says_since_when_it_counts(
    tmp_path: Path, child_environment: Mapping[str, str]
) -> None:
    manifest = tmp_path / "team.yaml"
    manifest.write_text('kind: Team\nname: pune\ntime_zone: Asia/Kolkata\nbudget: {usd_per_month: "5"}\n')
    with Platform(tmp_path, environment=child_environment, manifests=[manifest]) as platform:
        visitor = Visitor(str(platform.facts["console_url"]))
        visitor.sign_in()
        (budget,) = visitor.get("/cost.json").json()["budgets"]
        assert re.search(r"T18:00:00", budget["counted_since"])
        assert "counted since" in words_of(visitor.get("/").text)


def test_feeds_are_declared_and_closed_to_strangers(visitor: Visitor) -> None:
    for feed in FEEDS:
        assert Visitor(visitor.link).get(feed.path).status == 401
        assert visitor.get(feed.path + "?colour=red").status == 400


def test_no_template_marks_text_as_safe_or_holds_style_or_script() -> None:
    for path in TEMPLATES.glob("*.html"):
        text = path.read_text()
        assert not re.search(
            r"\|\s*safe|autoescape|Markup|<style|\sstyle=|<script(?! src=)|\son[a-z]+=|javascript:", text
        ), path


def test_home_calls_a_runtime_bad_only_where_it_failed() -> None:
    assert {state for state in RuntimeState if state not in RESTING_STATES} == {RuntimeState.FAILED}


def test_page_of_a_name_that_ends_like_a_twin_is_its_own(tmp_path: Path, child_environment: Mapping[str, str]) -> None:
    named = "kind: Route\nname: {}\nteam: default\nenvironments: {{test: {{targets: [{{model: simulated@1}}]}}}}\n"
    manifest = tmp_path / "routes.yaml"
    manifest.write_text("---\n".join(named.format(name) for name in ("report", "report.json", "other.v2")))
    with Platform(tmp_path, environment=child_environment, manifests=[manifest]) as platform:
        visitor = Visitor(str(platform.facts["console_url"]))
        visitor.sign_in()
        own = visitor.get("/routes/report.json")
        assert own.headers["content-type"].startswith("text/html")
        assert "<h1>report.json</h1>" in own.text
        for twin, name in (("report.json.json", "report.json"), ("other.v2.json", "other.v2")):
            assert visitor.get(f"/routes/{twin}").json()["route"] == name
        assert visitor.get("/routes/nothing.json").status == 404


@dataclass
class _Away:
    """A console whose sessions cannot be looked up, as with a database that is away."""

    error: Exception

    def find(self, _token: str) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "status"),
    [(LineclearError(ErrorCode.NOT_READY, "the database is away", hint="wait"), 503), (OSError("no disk"), 500)],
)
def test_failure_is_a_guarded_answer_on_pages_forms_and_streams(error: Exception, status: int) -> None:
    sessions: Any = _Away(error)
    console = Console(ConsoleParts((), sessions, lambda _token: None, SystemClock(), "test", sessions))
    served = ServedAPI((), routes=console.routes())
    visitor = Visitor(served.url + "/console/sign-in")
    for answer in (
        visitor.get("/requests"), visitor.get("/requests/stream"), visitor.get("/sign-in"), visitor.post("/keys", {}),
    ):  # fmt: skip
        assert answer.status == status
        assert "frame-ancestors" in answer.headers["content-security-policy"]
    served.close()
