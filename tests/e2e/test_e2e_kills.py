"""`kill -9` at random points under load: nothing dispatched is lost, nothing is counted twice.

The vendor's own log is the witness. Whoever had a whole answer has a settled entry.
"""

import asyncio
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from lineclear.testing import manifests
from lineclear.testing.load import Call, LoadReport, chat_call, closed_loop, messages_call
from lineclear.testing.manifests import Document
from lineclear.testing.stage import Stage

TURNS = ("gateway", "accountant", "runtime", "gateway", "accountant", "control", "gateway", "accountant")
"""Whose turn it is; control starts slowest, and one killed while it starts rests longer each time."""
KILLS = 20
KILLS_FULL = 200
CONNECTIONS = 56
SEED = 20_261_122
FLOWING_ANSWERS = 20
WAIT_S_MAX = 1.0
BACK_S = 40.0
"""A role that was killed again and again may rest for 20 s."""
ORPHANS_CLOSED_S = 75.0
"""Control closes an orphan within 60 s."""


def documents(port: int) -> list[Document]:
    budget = {"usd_per_month": "100000", "mode": "strict"}
    return [
        manifests.team(budget=budget),
        manifests.provider("vendor", port, "openai"),
        manifests.provider("claude", port, "anthropic", path=""),
        manifests.model("first", "vendor"),
        manifests.model("second", "vendor"),
        manifests.model("talker", "claude"),
        manifests.route("chat", "first", "second", fallback=["second"], budget=budget),
        manifests.route("talk", "talker", limits={"requests_per_minute": 1_000_000}),
    ]


def mixed_call(key: str, number: int) -> Call:
    """Whole and streamed, both dialects, quick and slow, some through the hosted simulated model."""
    kind = number % 7
    if kind == 0:
        return chat_call(key, "simulated", f"call {number}", stream=number % 2 == 0)
    if kind in (1, 2):
        return chat_call(key, "chat", f"call {number} [[tokens=12,event-delay-ms=30]]", stream=True)
    if kind == 3:
        return messages_call(key, "talk", f"call {number} [[tokens=12,event-delay-ms=30]]", stream=True)
    if kind == 4:
        return messages_call(key, "talk", f"call {number} [[delay-ms=150]]")
    return chat_call(key, "chat", f"call {number} [[delay-ms={number % 200}]]")


def kill_one(stage: Stage, role: str, wait_s: float, index: int) -> None:
    """Kill a process of the role a while after there is one: some inside their start, most at work."""
    stage.platform.wait_for(lambda: stage.platform.processes(role), f"a {role} to kill", BACK_S)
    time.sleep(wait_s)
    stage.platform.wait_for(lambda: stage.platform.kill(role, index), f"a {role} to kill", BACK_S)


async def flowing(report: LoadReport) -> None:
    """Until requests are answered again, so that each kill hits running work."""
    target = report.answered + FLOWING_ANSWERS
    async with asyncio.timeout(BACK_S):
        while report.answered < target:  # noqa: ASYNC110 - the load client has no event for this
            await asyncio.sleep(0.01)


async def load_and_kill(stage: Stage, kills: int, chance: random.Random) -> tuple[LoadReport, Counter[str]]:
    stop = asyncio.Event()
    report = LoadReport()
    load = asyncio.create_task(
        closed_loop(
            stage.platform.gateway_url,
            lambda number: mixed_call(stage.key, number),
            connections=CONNECTIONS,
            stop=stop,
            deadline_s=30.0,
            report=report,
        )
    )
    killed: Counter[str] = Counter()
    for number in range(kills):
        role = TURNS[number % len(TURNS)]
        await flowing(report)
        await asyncio.to_thread(kill_one, stage, role, chance.uniform(0.0, WAIT_S_MAX), chance.randrange(8))
        killed[role] += 1
    await asyncio.sleep(1.0)
    stop.set()
    return await load, killed


def test_kills_lose_and_double_nothing(tmp_path: Path, child_environment: Mapping[str, str], full_form: bool) -> None:
    kills = KILLS_FULL if full_form else KILLS
    with Stage(tmp_path, documents, workers=2, environment=child_environment) as stage:
        report, killed = asyncio.run(load_and_kill(stage, kills, random.Random(SEED)))
        assert killed == Counter(TURNS[number % len(TURNS)] for number in range(kills))
        assert len(report.ok) > 10 * kills, report.failures
        checked: dict[str, Any] = {}

        def even() -> bool:
            checked.update(stage.platform.check_ledger(stage.upstream.log_path))
            return bool(checked["ok"])

        stage.platform.wait_for(lambda: stage.platform.processes("control"), "control to be back")
        stage.platform.wait_for(even, f"even books; last seen {checked}", ORPHANS_CLOSED_S)
        assert checked["missing"] == checked["doubled"] == 0
        assert checked["intents"] == checked["settles"] + checked["orphans_closed"]
        assert_answers_are_settled(stage, report)


def assert_answers_are_settled(stage: Stage, report: LoadReport) -> None:
    """Each whole answer that a caller read stands in the ledger as `ok`; the check before brought it up to date."""
    outcomes: dict[str, str] = {}
    for path in (stage.platform.data_dir / "ledger").glob("ledger-*.db"):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as ledger:
            outcomes.update(ledger.execute("SELECT id, outcome FROM entries JOIN facets USING (facet)"))
    wrong = {
        answer.request_id: outcomes.get(answer.request_id)
        for answer in report.ok
        if outcomes.get(answer.request_id) != "ok"
    }
    assert wrong == {}
