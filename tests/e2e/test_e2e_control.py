"""Control away: frozen under load, and unable to start. Inference goes on, and the ledger is complete afterwards."""

import asyncio
import os
import signal
from collections.abc import Iterator, Mapping

import pytest

from lineclear.testing import manifests
from lineclear.testing.load import LoadReport, chat_call, closed_loop
from lineclear.testing.manifests import Document
from lineclear.testing.stage import Stage

AWAY_S = 6.0
AWAY_FULL_S = 60.0
CONNECTIONS = 16


def documents(port: int) -> list[Document]:
    return [
        manifests.team(budget={"usd_per_month": "100000", "mode": "strict"}),
        manifests.provider("vendor", port),
        manifests.model("target", "vendor"),
        manifests.route("chat", "target", limits={"requests_per_minute": 10_000_000}),
    ]


@pytest.fixture
def stage(tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("control"), documents, environment=child_environment) as stage:
        yield stage


def wait_for_even_books(stage: Stage) -> None:
    def even() -> bool:
        return bool(stage.platform.check_ledger(stage.upstream.log_path)["ok"])

    stage.platform.wait_for(even, "even books", 75.0)


async def load_while_frozen(stage: Stage, control: int, away_s: float) -> LoadReport:
    stop = asyncio.Event()
    load = asyncio.create_task(
        closed_loop(
            stage.platform.gateway_url,
            lambda number: chat_call(stage.key, "chat", f"{number} [[delay-ms=20]]", stream=number % 2 == 0),
            connections=CONNECTIONS,
            stop=stop,
        )
    )
    await asyncio.sleep(0.5)
    os.kill(control, signal.SIGSTOP)
    try:
        await asyncio.sleep(away_s)
    finally:
        os.kill(control, signal.SIGCONT)
    await asyncio.sleep(0.5)
    stop.set()
    return await load


def test_a_frozen_control_harms_no_request(stage: Stage, full_form: bool) -> None:
    (control,) = stage.platform.processes("control")
    report = asyncio.run(load_while_frozen(stage, control, AWAY_FULL_S if full_form else AWAY_S))
    assert report.failures == {}
    assert len(report.ok) > 100
    wait_for_even_books(stage)
    (row,) = [row for row in stage.platform.cli_json("usage", "--by", "route")["rows"] if row["route"] == "chat"]
    assert row["requests"] == len(report.results) == stage.upstream.facts()["dispatches"]


def test_a_control_that_cannot_start_does_not_stop_inference(stage: Stage) -> None:
    first = stage.call(chat_call(stage.key, "chat", "before"))
    assert first.failure == ""
    wait_for_even_books(stage)
    assert stage.platform.stop() == 0
    database = stage.platform.data_dir / "lineclear.db"
    kept = database.read_bytes()
    for leftover in stage.platform.data_dir.glob("lineclear.db-*"):
        leftover.unlink()
    database.write_bytes(b"this is no database, however it is read " * 200)
    stage.platform.start()
    assert stage.platform.facts["admin_url"] is None
    assert "control" in str(stage.platform.facts["degraded"])
    answer = stage.call(chat_call(stage.key, "chat", "without control"))
    assert answer.failure == ""
    assert stage.call(chat_call(stage.key, "simulated", "without control", stream=True)).failure == ""
    stage.platform.stop()
    database.write_bytes(kept)
    stage.platform.start()
    wait_for_even_books(stage)
    explained = stage.explain(answer.request_id)
    assert explained["outcome"] == "ok"
