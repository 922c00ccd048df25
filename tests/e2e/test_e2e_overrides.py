"""Taking it back: rollback, block, stop and revocation under load, with the database unusable and with control dead."""

import asyncio
import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lineclear.testing import manifests
from lineclear.testing.load import CallResult, LoadReport, chat_call, closed_loop
from lineclear.testing.manifests import Document, text_of
from lineclear.testing.platform import PlatformError
from lineclear.testing.stage import Stage

WORKERS = 4
IN_FLIGHT = 50
SWAP_S = 1.0
"""Every gateway has an override in force within this; the design allows half a second without a poke."""


def documents(port: int, serving: str = "first") -> list[Document]:
    return [
        manifests.team(),
        manifests.app("shop"),
        manifests.provider("vendor", port),
        manifests.model("first", "vendor"),
        manifests.model("second", "vendor"),
        manifests.model("third", "vendor"),
        manifests.route("chat", serving),
        manifests.route("other", "first"),
    ]


@pytest.fixture
def stage(tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("overrides")
    with Stage(directory, documents, workers=WORKERS, environment=child_environment) as stage:
        yield stage


def release_to(stage: Stage, model: str) -> None:
    """The route moves on to another model."""
    file = stage.directory / "next.yaml"
    file.write_text(text_of(documents(stage.upstream.port, model)))
    done = stage.platform.cli("apply", "-f", str(file))
    assert done.returncode == 0, done.stderr


def served(stage: Stage) -> str:
    answer = stage.call(chat_call(stage.key, "chat", "which one?"))
    assert answer.status == 200, answer.body
    return answer.headers["x-lineclear-model"]


def code_of(answer: CallResult) -> str:
    return str(json.loads(answer.body)["error"]["code"])


def have_all(answer: Mapping[str, Any]) -> bool:
    gateways = answer["gateways"]
    return len(gateways["acknowledged"]) == WORKERS and not gateways["silent"] and gateways["in_s"] <= SWAP_S


def audit_of(stage: Stage, action: str) -> list[dict[str, Any]]:
    return [event for event in stage.platform.cli_json("audit", "list")["events"] if event["action"] == action]


def wait_for_audit(stage: Stage, action: str) -> dict[str, Any]:
    stage.platform.wait_for(lambda: audit_of(stage, action), f"{action} in the audit trail")
    return audit_of(stage, action)[-1]


async def under_load(stage: Stage, act: Any) -> tuple[LoadReport, Any]:
    """Run `act` in a thread while `IN_FLIGHT` calls are under way all the time."""
    stop = asyncio.Event()
    load = asyncio.create_task(
        closed_loop(
            stage.platform.gateway_url,
            lambda number: chat_call(stage.key, "chat", f"{number} [[delay-ms=40]]", stream=number % 2 == 0),
            connections=IN_FLIGHT,
            stop=stop,
        )
    )
    await asyncio.sleep(0.7)
    done = await asyncio.to_thread(act)
    await asyncio.sleep(0.5)
    stop.set()
    return await load, done


def test_a_rollback_under_load_fails_no_request_and_happens_once(stage: Stage) -> None:
    release_to(stage, "second")
    assert served(stage) == "second@1"
    report, done = asyncio.run(
        under_load(stage, lambda: stage.platform.cli_json("rollback", "chat", "-e", "live", "--reason", "it lies"))
    )
    assert report.failures == {}
    models = {answer.headers["x-lineclear-model"] for answer in report.ok}
    assert models == {"first@1", "second@1"}
    assert done["changed"]
    assert done["recorded"]
    assert have_all(done), done
    assert served(stage) == "first@1"
    event = wait_for_audit(stage, "deployment.rolled-back")
    assert (event["actor"], event["reason"]) == ("admin", "it lies")
    again = stage.platform.cli_json("rollback", "chat", "-e", "live")
    assert not again["changed"]
    assert "--to" in again["summary"]
    assert len(audit_of(stage, "deployment.rolled-back")) == 1
    # The file still says the other release: that is drift, and applying it undoes nothing.
    drift = stage.platform.cli_json("drift")["drift"]
    assert [item["object"] for item in drift] == ["deployment/live/chat"]
    stage.platform.cli("apply", "-f", str(stage.directory / "next.yaml"))
    assert served(stage) == "first@1"
    assert stage.platform.cli("apply", "-f", str(stage.directory / "next.yaml"), "--take-ownership").returncode == 0
    assert served(stage) == "second@1"


def test_without_control_the_owner_of_the_data_directory_takes_it_back(stage: Stage) -> None:
    release_to(stage, "second")
    key = stage.platform.cli_json("keys", "create", "--app", "shop", "--env", "live")
    (control,) = stage.platform.processes("control")
    os.kill(control, signal.SIGSTOP)
    try:
        began = time.monotonic()
        done = stage.platform.cli("rollback", "chat", "-e", "live", "--reason", "3 a.m.")
        assert done.returncode == 0, done.stderr
        assert time.monotonic() - began < 10
        assert "override journal" in done.stderr
        assert re.search(rf"{WORKERS}/{WORKERS} gateways in 0\.\d+ s", done.stdout), done.stdout
        assert served(stage) == "first@1"
        again = stage.platform.cli("rollback", "chat", "-e", "live")
        assert "already" in again.stdout
        assert ("control is away" in again.stderr, "override journal" in again.stderr) == (True, False)
        revoked = stage.platform.cli("keys", "revoke", key["id"], "--reason", "leaked")
        assert revoked.returncode == 0, revoked.stderr
        assert stage.call(chat_call(key["key"], "chat", "stolen")).status == 401
        stopped = stage.platform.cli("stop", "app:shop", "--reason", "all of it")
        assert stopped.returncode == 0, stopped.stderr
    finally:
        os.kill(control, signal.SIGKILL)
    event = wait_for_audit(stage, "deployment.rolled-back")
    assert event["actor"].startswith("owner:")
    assert event["reason"] == "3 a.m."
    assert wait_for_audit(stage, "key.revoked")["reason"] == "leaked"
    assert wait_for_audit(stage, "ai.stopped")["reason"] == "all of it"
    assert stage.platform.cli("audit", "verify").returncode == 0
    # What control's queue still held was given up by its caller: it happens no more.
    assert len(audit_of(stage, "deployment.rolled-back")) == len(audit_of(stage, "ai.stopped")) == 1
    # Folded in, and moved on by name: what else was said meanwhile stays.
    assert served(stage) == "first@1"
    deployments = stage.platform.admin("GET", "/api/v1/rollbacks")["deployments"]
    (mine,) = [row for row in deployments if row["route"] == "chat"]
    stage.platform.cli_json("rollback", "chat", "-e", "live", "--to", mine["previous"][0]["release"])
    assert served(stage) == "second@1"
    assert stage.call(chat_call(key["key"], "chat", "stolen")).status == 401


def test_with_the_database_unusable_everything_takes_effect_and_is_recorded_later(stage: Stage) -> None:
    release_to(stage, "second")
    database = stage.platform.data_dir / "lineclear.db"
    holder = subprocess.Popen(
        ["python3", "-c", "import sqlite3,sys,time\nc=sqlite3.connect(sys.argv[1],isolation_level=None)\n"
         "c.execute('BEGIN IMMEDIATE')\nprint('held',flush=True)\ntime.sleep(600)", str(database)],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        done = stage.platform.admin("POST", "/api/v1/rollbacks", {"route": "chat", "environment": "live"})
        assert have_all(done), done
        assert not done["recorded"]
        assert served(stage) == "first@1"
        stopped = stage.platform.admin("POST", "/api/v1/stops", {"scope": "route:live/other", "reason": "odd answers"})
        assert have_all(stopped), stopped
        refused = stage.call(chat_call(stage.key, "other", "hello"))
        assert (refused.status, code_of(refused)) == (503, "stopped")
        assert "odd answers" in refused.body.decode()
    finally:
        holder.kill()
        holder.communicate()
    wait_for_audit(stage, "deployment.rolled-back")
    wait_for_audit(stage, "ai.stopped")
    assert stage.platform.cli("start", "route:live/other").returncode == 0
    assert stage.call(chat_call(stage.key, "other", "hello")).status == 200


def test_a_change_that_is_under_way_loses(stage: Stage) -> None:
    release_to(stage, "second")
    file = stage.directory / "next.yaml"
    file.write_text(text_of(documents(stage.upstream.port, "third")))
    applying = threading.Thread(target=lambda: stage.platform.cli("apply", "-f", str(file)))
    applying.start()
    time.sleep(0.8)
    done = stage.platform.admin("POST", "/api/v1/rollbacks", {"route": "chat", "environment": "live", "reason": "now"})
    applying.join()
    assert have_all(done), done
    wait_for_audit(stage, "deployment.rolled-back")
    answer = stage.call(chat_call(stage.key, "chat", "which one?"))
    assert answer.headers["x-lineclear-release"] == done["after"]


def test_unready_is_refused_with_the_next_ready_one_and_blocked_ones_are_skipped(stage: Stage) -> None:
    release_to(stage, "second")
    release_to(stage, "third")
    (mine,) = [row for row in stage.platform.admin("GET", "/api/v1/rollbacks")["deployments"] if row["route"] == "chat"]
    second, first = (item["release"] for item in mine["previous"])
    assert (mine["rollback_ready"], mine["rollback_to"]) == (True, second)
    assert have_all(stage.platform.cli_json("block", "second@1", "--reason", "bad weights"))
    refused = stage.platform.cli("rollback", "chat", "-e", "live", "--to", second)
    assert refused.returncode == 6
    assert "second@1 is blocked" in refused.stderr
    assert first in refused.stderr
    done = stage.platform.cli_json("rollback", "chat", "-e", "live")
    assert done["after"] == first
    assert served(stage) == "first@1"
    # The file says that the blocked model is approved: drift, and not undone.
    stage.platform.cli("apply", "-f", str(stage.directory / "next.yaml"))
    versions = stage.platform.cli_json("models", "list")["versions"]
    assert next(item for item in versions if item["model"] == "second@1")["status"] == "blocked"
    assert stage.platform.cli("rollback", "nowhere", "-e", "live").returncode == 5
    assert stage.platform.cli("stop", "app:nobody").returncode == 5
    assert stage.platform.cli("stop", "everything").returncode == 2
    drilled = stage.platform.cli("rollback", "other", "-e", "live", "--drill")
    assert drilled.returncode == 6
    assert "has had no other release" in drilled.stderr


def test_a_drill_measures_and_changes_nothing(stage: Stage) -> None:
    release_to(stage, "second")
    report, done = asyncio.run(
        under_load(stage, lambda: stage.platform.cli_json("rollback", "chat", "-e", "live", "--drill"))
    )
    assert report.failures == {}
    assert {answer.headers["x-lineclear-model"] for answer in report.ok} == {"second@1"}
    assert have_all(done), done
    assert done["gateways"]["complaints"] == []
    assert wait_for_audit(stage, "rollback.drilled")["after"] == done["after"]


def test_a_route_is_drilled_as_often_as_its_environment_says_and_a_restart_repeats_nothing(stage: Stage) -> None:
    release_to(stage, "second")
    file = stage.directory / "schedule.yaml"
    file.write_text(text_of([{"kind": "Environment", "name": "live", "class": "live", "drill_every_s": 86_400}]))
    done = stage.platform.cli("apply", "-f", str(file))
    assert done.returncode == 0, done.stderr
    passed = wait_for_audit(stage, "drill.passed")
    assert (passed["actor"], passed["object"]) == ("drill-schedule", "drill/live/chat")
    assert passed["reason"].startswith(f"{WORKERS}/{WORKERS} gateways in 0.")
    assert served(stage) == "second@1"
    (row,) = stage.platform.cli_json("drills", "list")["drills"]
    assert (row["route"], row["passed"], row["release"]) == ("chat", True, passed["after"])
    with urllib.request.urlopen(f"{stage.platform.admin_url}/metrics", timeout=10) as answer:
        metrics = answer.read().decode()
    assert re.search(r'lineclear_rollback_drill_age_seconds\{environment="live",route="chat"\} \d', metrics)
    (control,) = stage.platform.processes("control")
    os.kill(control, signal.SIGKILL)
    stage.platform.wait_for(lambda: stage.platform.processes("control") not in ([], [control]), "a new control")
    stage.platform.wait_for(lambda: ready(stage)["drill"]["passed_at"], "what the database knows of drills")
    again = ready(stage)["drill"]
    assert again["last_at"] == row["at"]
    assert again["due_at"] > again["last_at"]
    assert len(audit_of(stage, "drill.passed")) == 1
    told = stage.platform.cli("drills", "ready")
    assert re.search(r"chat +live +yes", told.stdout), told.stdout


def ready(stage: Stage) -> dict[str, Any]:
    deployments = stage.platform.cli_json("drills", "ready")["deployments"]
    return dict(next(row for row in deployments if row["route"] == "chat"))


def test_a_silent_gateway_is_named_and_not_waited_for(stage: Stage) -> None:
    release_to(stage, "second")
    frozen = stage.platform.processes("gateway")[0]
    os.kill(frozen, signal.SIGSTOP)
    try:
        began = time.monotonic()
        done = stage.platform.admin("POST", "/api/v1/stops", {"scope": "all", "reason": "fire"})
        assert time.monotonic() - began < 2.5
        assert len(done["gateways"]["acknowledged"]) == WORKERS - 1
        assert len(done["gateways"]["silent"]) == 1
    finally:
        os.kill(frozen, signal.SIGCONT)
    stage.platform.wait_for(
        lambda: {stage.call(chat_call(stage.key, "chat", "x")).status for _ in range(12)} == {503},
        "the stop everywhere",
    )
    stage.platform.cli_json("start", "all")


def test_a_damaged_journal_holds_its_good_part_over_a_restart_and_goes_on(stage: Stage) -> None:
    release_to(stage, "second")
    assert stage.platform.stop() == 0
    # Written while nothing runs at all, then damaged.
    for scope in ("app:shop", "route:live/other"):
        done = stage.platform.cli("stop", scope, "--reason", "before the start")
        assert done.returncode == 0, done.stderr
        assert "no gateway runs" in done.stdout
    journal = Path(stage.platform.data_dir / "overrides" / "journal")
    journal.write_bytes(journal.read_bytes().replace(b"live/other", b"live/othes"))
    stage.platform.start()
    refused = stage.call(chat_call(stage.key, "other", "x"))
    assert refused.status == 200
    key = stage.platform.cli_json("keys", "create", "--app", "shop", "--env", "live")["key"]
    assert code_of(stage.call(chat_call(key, "other", "x"))) == "stopped"
    status = stage.platform.cli("status")
    assert "breaks the hash chain" in status.stdout
    assert "app:shop" in status.stdout
    assert have_all(stage.platform.cli_json("stop", "route:live/other", "--reason", "again"))
    assert code_of(stage.call(chat_call(stage.key, "other", "x"))) == "stopped"
    assert "journal.broken-1" in stage.platform.cli("status").stdout
    with pytest.raises(PlatformError):
        stage.platform.admin("POST", "/api/v1/stops", {"scope": "team:x"})
