"""Rolling restart and drain under load, with not one failed request."""

import asyncio
import signal
import time
from collections.abc import Iterator, Mapping

import pytest

from lineclear.testing import manifests
from lineclear.testing.load import Call, LoadReport, chat_call, closed_loop
from lineclear.testing.manifests import Document
from lineclear.testing.stage import Stage

CONNECTIONS = 32
WORKERS = 2


def documents(port: int) -> list[Document]:
    return [
        manifests.team(budget={"usd_per_month": "100000", "mode": "strict"}),
        manifests.provider("vendor", port),
        manifests.model("target", "vendor"),
        manifests.route("chat", "target"),
    ]


@pytest.fixture
def stage(tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("restarts")
    with Stage(directory, documents, workers=WORKERS, environment=child_environment) as stage:
        yield stage


def mixed_call(stage: Stage, number: int) -> Call:
    if number % 3 == 0:
        return chat_call(stage.key, "chat", f"{number} [[tokens=20,event-delay-ms=25]]", stream=True)
    return chat_call(stage.key, "chat", f"{number} [[delay-ms={number % 50}]]")


async def load_during_restart(stage: Stage) -> LoadReport:
    stop = asyncio.Event()
    load = asyncio.create_task(
        closed_loop(
            stage.platform.gateway_url,
            lambda number: mixed_call(stage, number),
            connections=CONNECTIONS,
            stop=stop,
        )
    )
    await asyncio.sleep(0.5)
    old = set(stage.platform.processes("gateway"))
    done = await asyncio.to_thread(stage.platform.cli, "restart")
    assert done.returncode == 0, done.stderr

    def replaced() -> bool:
        now = stage.platform.processes("gateway")
        return len(now) == WORKERS and not old & set(now)

    await asyncio.to_thread(stage.platform.wait_for, replaced, "new gateways to have replaced the old", 60.0)
    await asyncio.sleep(0.5)
    stop.set()
    return await load


def test_a_rolling_restart_fails_no_request(stage: Stage) -> None:
    report = asyncio.run(load_during_restart(stage))
    assert report.failures == {}
    assert len(report.ok) > 200
    stage.platform.wait_for(
        lambda: stage.platform.check_ledger(stage.upstream.log_path)["ok"], "even books after the restart", 75.0
    )


async def load_during_drain(stage: Stage) -> tuple[LoadReport, int]:
    """Load until every door is shut; the moment at which the signal went out, on the monotonic clock."""
    stop = asyncio.Event()
    load = asyncio.create_task(
        closed_loop(
            stage.platform.gateway_url,
            lambda number: mixed_call(stage, number),
            connections=CONNECTIONS,
            stop=stop,
        )
    )
    await asyncio.sleep(0.7)
    signalled_ns = time.monotonic_ns()
    code = await asyncio.to_thread(stage.platform.stop, signal.SIGTERM)
    assert code == 0
    stop.set()
    return await load, signalled_ns


def test_a_drain_finishes_what_it_accepted(stage: Stage) -> None:
    report, signalled_ns = asyncio.run(load_during_drain(stage))
    begun_before = [answer for answer in report.results if answer.started_ns < signalled_ns]
    begun_after = [answer for answer in report.results if answer.started_ns >= signalled_ns]
    assert len(begun_before) > 50
    assert [answer.failure for answer in begun_before if answer.failure] == []
    assert {answer.failure for answer in begun_after} <= {"", "connect"}
    stage.platform.start()
    stage.platform.wait_for(
        lambda: stage.platform.check_ledger(stage.upstream.log_path)["ok"], "even books after the drain", 75.0
    )
