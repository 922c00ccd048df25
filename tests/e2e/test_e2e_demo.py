"""`lineclear demo` as a person starts it: figures that agree, budgets that count them, and the mark on every page."""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from lineclear.console.pages import PAGES
from lineclear.testing.platform import Platform

DAYS = 3
WORDS = "demo data"


class DemoPlatform(Platform):
    """Started by `demo` in the place of `up`."""

    words = ("demo", "--days", str(DAYS))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]) -> Iterator[Platform]:
    with DemoPlatform(tmp_path_factory.mktemp("demo"), environment=child_environment) as platform:
        yield platform


class Reader:
    """Signed in to the console."""

    def __init__(self, platform: Platform) -> None:
        self._parts = urlsplit(platform.admin_url)
        made = platform.admin("POST", "/api/v1/sign-in-links")
        link = urlsplit(made["url"])
        _, headers, _ = self._get(f"{link.path}?{link.query}", {})
        self._cookie = str(headers["set-cookie"]).split(";")[0]

    def page(self, path: str) -> tuple[int, str]:
        status, _, text = self._get("/console" + path, {"cookie": self._cookie})
        return status, text

    def _get(self, target: str, headers: dict[str, str]) -> tuple[int, http.client.HTTPMessage, str]:
        connection = http.client.HTTPConnection(str(self._parts.hostname), self._parts.port, timeout=30)
        try:
            connection.request("GET", target, headers=headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read().decode()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def reader(demo: Platform) -> Reader:
    return Reader(demo)


def made(demo: Platform) -> str:
    """What the command said when it was done."""
    return next(line for line in demo.log_path.read_text().splitlines() if line.startswith(f"{WORDS}: "))


def test_usage_and_ledger_agree_with_what_the_command_said(demo: Platform) -> None:
    total = demo.cli_json("usage", "--since", f"{DAYS}d")["total"]
    said = re.fullmatch(
        r"demo data: ([\d,]+) simulated requests of 3 days, ([\d,]+) of them .* ([\d.]+) USD;.*", made(demo)
    )
    assert said is not None
    assert total["requests"] == int(said[1].replace(",", ""))
    assert total["errors"] == int(said[2].replace(",", ""))
    assert total["cost_usd"] == said[3]
    check = demo.cli_json("ledger", "check")
    assert check["ok"]
    assert check["intents"] == check["settles"]


@pytest.mark.parametrize("command", [("status",), ("usage",), ("logs", "--limit", "3")])
def test_command_says_that_it_is_a_demo(demo: Platform, command: tuple[str, ...]) -> None:
    done = demo.cli(*command)
    assert (done.stderr + done.stdout).startswith(WORDS)


def test_status_and_ready_file_carry_the_fact(demo: Platform) -> None:
    assert demo.facts["demo"] is True
    assert demo.admin("GET", "/api/v1/status")["demo"] is True
    assert demo.admin("GET", "/api/v1/usage")["demo"] is True
    assert demo.admin("GET", "/api/v1/requests?limit=1")["demo"] is True


NOT_IN_THE_DEMO = (
    "/rollouts/{rollout_id}",
    "/access/{name}",
    "/evals/{run_id}",
    "/replays/{replay_id}",
    "/replays/{replay_id}/cases/{number}",
)
"""Pages of one thing that the company of the demo has none of."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path or "home")
def test_page_and_its_twins_say_that_it_is_a_demo(demo: Platform, reader: Reader, page: Any) -> None:
    names = {
        "request_id": demo.cli_json("logs", "--limit", "1")[0]["id"],
        "key_id": demo.cli_json("keys", "list")["keys"][0]["id"],
        "name": "aurora-large" if page.path.startswith("/catalogue") else "support-chat",
        "change_id": demo.cli_json("changes", "list")["changes"][0]["id"],
        "release": demo.cli_json("releases", "list")["releases"][0]["id"],
        "rollout_id": "ro_0000000000000000",
        "run_id": "evr_0000000000000000",
        "replay_id": "rpl_0000000000000000",
        "number": "1",
    }
    path = page.path.format_map(names)
    status, text = reader.page(path or "/")
    if page.path in NOT_IN_THE_DEMO:
        assert status == 404, text
        return
    assert status == 200, text
    assert 'class="demo"' in text
    assert "Demo data" in text
    status, text = reader.page(f"{path or '/home'}.json")
    assert status == 200, text
    assert json.loads(text)["demo"] is True
    if page.rows:
        _, text = reader.page(f"{path or '/home'}.csv")
        head, *rows = text.splitlines()
        assert not rows or "demo" in head.split(",")


def test_explain_tells_the_story_of_a_fallback(demo: Platform) -> None:
    rows = demo.cli_json("logs", "--route", "support-chat", "--environment", "live", "--limit", "5000")
    served = next(
        row for row in rows if row["attempts"] > 1 and row["provider"] == "meridian" and row["outcome"] == "ok"
    )
    told = demo.cli_json("explain", served["id"])
    assert told["attempts"][0]["provider"] == "aurora"
    assert told["attempts"][0]["error_code"].startswith("upstream_")
    assert sum(Decimal(line["cost_usd"]) for line in told["cost_lines"]) == Decimal(told["cost_usd"])
    assert told["release"].startswith("rel_")
    assert demo.cli_json("releases", "show", told["release"])


def test_own_calls_work_beside_the_history(demo: Platform) -> None:
    parts = urlsplit(demo.gateway_url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
    body = json.dumps({"model": "simulated", "messages": [{"role": "user", "content": "hello"}]})
    fields = {"authorization": f"Bearer {demo.keys['live']}", "content-type": "application/json"}
    connection.request("POST", "/v1/chat/completions", body, fields)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    assert answer.status == 200, text
    assert demo.cli_json("explain", str(answer.headers["x-request-id"]))["app"] == "default"


def test_budgets_count_what_the_history_spent_this_month(demo: Platform) -> None:
    key = demo.cli_json("keys", "create", "--app", "job-ads", "--env", "live")["key"]
    parts = urlsplit(demo.gateway_url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
    connection.request("GET", "/v1/me", headers={"authorization": f"Bearer {key}"})
    me = json.loads(connection.getresponse().read())
    connection.close()
    budget = next(row for row in me["budgets"] if row["account"] == "app:job-ads")
    month = demo.cli_json("usage", "--app", "job-ads", "--since", f"{datetime.now(UTC):%Y-%m}-01T00:00")
    assert Decimal(budget["remaining_usd"]) == Decimal(4) - Decimal(month["total"]["cost_usd"])


def test_demo_is_refused_where_something_is(demo: Platform, child_environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lineclear", "demo", "--data", str(demo.data_dir)],
        capture_output=True, text=True, env=child_environment, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 6
    assert "lineclear up --data" in done.stderr


def test_interrupt_while_it_is_made_leaves_nothing(tmp_path: Path, child_environment: Mapping[str, str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "lineclear", "demo", "--data", str(tmp_path / "data"), "--days", "180"],
        stderr=subprocess.PIPE, text=True, env=child_environment, start_new_session=True,
    )  # fmt: skip
    for _ in range(600):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
        if process.returncode is not None or (tmp_path / "data" / "ledger").exists():
            break
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert not (tmp_path / "data").exists()
