"""The checker itself: it fails on a planted lost, doubled and altered record, and passes without.

Source: design decision 67.
"""

import json
import os
import signal
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from lineclear.base.clock import SystemClock
from lineclear.domain.ledger import Intent, Settle
from lineclear.handover.segment import list_segments, read_segment
from lineclear.handover.spool import SpoolWriter
from lineclear.testing import manifests
from lineclear.testing.load import chat_call
from lineclear.testing.manifests import Document
from lineclear.testing.stage import Stage

CALLS = 6


def documents(port: int) -> list[Document]:
    return [
        manifests.team(),
        manifests.provider("vendor", port),
        manifests.model("target", "vendor"),
        manifests.route("chat", "target"),
    ]


@contextmanager
def stage_with_calls(directory: Path, environment: Mapping[str, str]) -> Iterator[Stage]:
    with Stage(directory, documents, environment=environment) as stage:
        for number in range(CALLS):
            assert stage.call(chat_call(stage.key, "chat", str(number), stream=number % 2 == 0)).failure == ""
        yield stage


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]) -> Iterator[Stage]:
    with stage_with_calls(tmp_path_factory.mktemp("checker"), child_environment) as stage:
        yield stage


@pytest.fixture
def damaged_stage(tmp_path: Path, child_environment: Mapping[str, str]) -> Iterator[Stage]:
    """A stage of its own, for damage that stays."""
    with stage_with_calls(tmp_path, child_environment) as stage:
        yield stage


@pytest.fixture
def dispatches(stage: Stage) -> list[dict[str, Any]]:
    return stage.upstream.dispatches()


def check(stage: Stage, tmp_path: Path, lines: list[dict[str, Any]]) -> dict[str, Any]:
    path = tmp_path / "planted.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return stage.platform.check_ledger(path)


def change_ledger(stage: Stage, statement: str, *values: object) -> None:
    """Change the ledger's file behind its owner's back."""
    (path,) = (stage.platform.data_dir / "ledger").glob("ledger-*.db")
    with closing(sqlite3.connect(path, timeout=10)) as connection, connection:
        assert connection.execute(statement, values).rowcount == 1


def exchange(line: dict[str, Any]) -> str:
    return str(line["x_request_id"]).rpartition(".")[0]


def test_true_books_pass(stage: Stage, tmp_path: Path, dispatches: list[dict[str, Any]]) -> None:
    checked = check(stage, tmp_path, dispatches)
    assert checked["ok"]
    assert (checked["intents"], checked["settles"]) == (CALLS, CALLS)
    assert checked["missing"] == checked["doubled"] == checked["orphans_closed"] == 0


def test_a_dispatch_without_a_record_is_missing(stage: Stage, tmp_path: Path, dispatches: list[dict[str, Any]]) -> None:
    stray = {**dispatches[0], "x_request_id": exchange(dispatches[0])[:-8] + "ffffffff.1"}
    checked = check(stage, tmp_path, [*dispatches, stray])
    assert not checked["ok"]
    assert checked["missing"] == 1


def test_an_attempt_that_was_never_recorded_is_missing(
    stage: Stage, tmp_path: Path, dispatches: list[dict[str, Any]]
) -> None:
    second = {**dispatches[0], "x_request_id": f"{exchange(dispatches[0])}.2"}
    assert not check(stage, tmp_path, [*dispatches, second])["ok"]


def test_a_dispatch_that_was_made_twice_is_doubled(
    stage: Stage, tmp_path: Path, dispatches: list[dict[str, Any]]
) -> None:
    checked = check(stage, tmp_path, [*dispatches, dispatches[0]])
    assert not checked["ok"]
    assert checked["doubled"] == 1


def test_usage_that_differs_from_the_vendors_is_found(
    stage: Stage, tmp_path: Path, dispatches: list[dict[str, Any]]
) -> None:
    usage = dispatches[1]["usage"]
    altered = {**dispatches[1], "usage": {**usage, "output_tokens": usage["output_tokens"] + 1}}
    assert not check(stage, tmp_path, [dispatches[0], altered, *dispatches[2:]])["ok"]


def test_an_altered_entry_is_found(stage: Stage, tmp_path: Path, dispatches: list[dict[str, Any]]) -> None:
    change = "UPDATE entries SET cost_nano_usd = cost_nano_usd + ? WHERE id = ?"
    change_ledger(stage, change, 1, exchange(dispatches[2]))
    assert not check(stage, tmp_path, dispatches)["ok"]
    change_ledger(stage, change, -1, exchange(dispatches[2]))
    assert check(stage, tmp_path, dispatches)["ok"]


def test_a_lost_entry_is_missing(damaged_stage: Stage, tmp_path: Path) -> None:
    dispatches = damaged_stage.upstream.dispatches()
    assert check(damaged_stage, tmp_path, dispatches)["ok"]
    change_ledger(damaged_stage, "DELETE FROM entries WHERE id = ?", exchange(dispatches[3]))
    checked = check(damaged_stage, tmp_path, dispatches)
    assert not checked["ok"]
    assert checked["missing"] == 1


def test_records_spooled_twice_are_doubled_and_counted_once(damaged_stage: Stage, tmp_path: Path) -> None:
    platform = damaged_stage.platform
    (control,) = platform.processes("control")
    os.kill(control, signal.SIGSTOP)
    try:
        answer = damaged_stage.call(chat_call(damaged_stage.key, "chat", "spooled twice"))
        spool = platform.data_dir / "spool"
        records = [
            record
            for segment in list_segments(spool)
            for record in read_segment(segment.path, 0).records
            if isinstance(record, Intent | Settle) and record.id == answer.request_id
        ]
        assert len(records) == 2
        writer = SpoolWriter(spool, "local-planted-9-0", SystemClock())
        for record in records:
            writer.append(record)
        writer.flush_now()
        writer.close()
    finally:
        os.kill(control, signal.SIGCONT)
    platform.wait_for(lambda: not damaged_stage.check_ledger()["ok"], "the checker to find the doubled record")
    checked = damaged_stage.check_ledger()
    assert checked["doubled"] >= 1
    rows = platform.cli_json("usage", "--by", "route")["rows"]
    assert [row["requests"] for row in rows if row["route"] == "chat"] == [CALLS + 1]
