"""Every record once, wherever control crashes: seeded crashes around each commit, and real kill -9."""

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from lineclear.base.clock import SystemClock
from lineclear.control.ingest.ingest import Ingest
from lineclear.domain.entry import DAY_US, EntryKind
from lineclear.domain.ledger import Record
from lineclear.observe.check import check_ledger
from lineclear.observe.entry import LOGS_MAX, EntryQuestion, list_entries
from lineclear.observe.period import Period
from lineclear.store.ledger import Committed, Ledger, LedgerBatch
from lineclear.testing.clock import START_UNIX_US
from lineclear.testing.records import Spool, checkpoint, exchange_id, heartbeat, intent, refusal, settle

PASSED = 1 << 60
SEEDS = range(8)
STEPS = 60
KILLS = 4
ENTRIES_PER_KILL = 3_000
EVERYTHING = EntryQuestion(Period(0, START_UNIX_US + 7 * DAY_US), {}, LOGS_MAX)


class Crash(Exception):
    """Control dies here."""


class CrashingLedger(Ledger):
    """A ledger whose caller dies just before or just after a commit."""

    chance: random.Random

    def commit(self, batch: LedgerBatch) -> Committed:
        fate = self.chance.random()
        if fate < 0.15:
            raise Crash("before the commit")
        committed = super().commit(batch)
        if fate < 0.30:
            raise Crash("after the commit")
        return committed


class World:
    """Workers that write at random, and what the ledger must hold in the end."""

    def __init__(self, spool: Spool, chance: random.Random) -> None:
        self.spool = spool
        self.chance = chance
        self.number = 0
        self.at_us = (START_UNIX_US // DAY_US + 1) * DAY_US - 2_000_000
        self.open: dict[str, list[tuple[int, int]]] = {}
        self.expected: dict[str, EntryKind] = {}
        self.lives = Counter[str]()

    def source(self, slot: str) -> str:
        return f"local-b00t-{slot}-{self.lives[slot]}"

    def step(self) -> None:
        slot = self.chance.choice("01")
        source = self.source(slot)
        self.spool.writer(source, segment_bytes=4_000)
        records = [self.record(source) for _ in range(self.chance.randrange(1, 8))]
        self.spool.write(*records, source=source)
        if self.chance.random() < 0.08:
            self.kill(slot)

    def record(self, source: str) -> Record:
        self.at_us += self.chance.randrange(100_000)
        waiting = self.open.setdefault(source, [])
        what = self.chance.random()
        if what < 0.4 or not waiting:
            self.number += 1
            waiting.append((self.number, self.at_us))
            return intent(self.number, self.at_us)
        if what < 0.75:
            number, at_us = waiting.pop(self.chance.randrange(len(waiting)))
            self.expected[exchange_id(number, at_us)] = EntryKind.EXCHANGE
            return settle(number, at_us, took_us=self.chance.randrange(1_000_000))
        if what < 0.9:
            number, at_us = self.chance.choice(waiting)
            return checkpoint(number, at_us)
        if what < 0.95:
            self.number += 1
            self.expected[exchange_id(self.number, self.at_us)] = EntryKind.REFUSAL
            return refusal(self.number, self.at_us)
        return heartbeat(self.at_us)

    def kill(self, slot: str) -> None:
        source = self.source(slot)
        self.spool.die(source)
        for number, at_us in self.open.pop(source, []):
            self.expected[exchange_id(number, at_us)] = EntryKind.ORPHAN
        self.lives[slot] += 1


@pytest.mark.parametrize("seed", SEEDS)
def test_crashes_around_commits_lose_and_double_nothing(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    spool = Spool(tmp_path / "spool")
    world = World(spool, chance)
    ledger = CrashingLedger.open(tmp_path / "ledger")
    assert isinstance(ledger, CrashingLedger)
    ledger.chance = chance
    ingest = make_ingest(ledger, spool)
    crashes = 0
    for _ in range(STEPS):
        world.step()
        if chance.random() < 0.5:
            spool.clock.advance(3600.0)
            try:
                ingest.catch_up()
            except Crash:
                crashes += 1
                if chance.random() < 0.5:
                    ingest = make_ingest(ledger, spool)
    for slot in "01":
        if world.source(slot) in {path.name.rpartition("-")[0] for path in spool.paths()}:
            world.kill(slot)
    ledger.close()
    assert crashes > 3
    calm = Ledger.open(tmp_path / "ledger")
    assert_ledger_holds(calm, make_ingest(calm, spool), world.expected)
    assert spool.paths() == []
    calm.close()


def make_ingest(ledger: Ledger, spool: Spool) -> Ingest:
    passed = lambda: {path.name: PASSED for path in spool.paths()}  # noqa: E731 - one expression, used once
    return Ingest(ledger, spool.directory, spool.clock, accountant_positions=passed)


def assert_ledger_holds(ledger: Ledger, ingest: Ingest, expected: dict[str, EntryKind]) -> None:
    with ingest.still() as open_exchanges:
        assert open_exchanges == {}
        verdict = check_ledger(ledger, open_exchanges, None, lambda _model: None)
    assert verdict.ok, verdict
    found = [(entry.id, entry.kind) for entry in list_entries(ledger, EVERYTHING)]
    assert len(found) == len(expected)
    assert dict(found) == expected


def ingest_for_ever(ledger_path: Path, spool_path: Path) -> None:
    """The child that is killed: control's ingest and nothing else."""
    ingest = Ingest(Ledger.open(ledger_path), spool_path, SystemClock(), accountant_positions=dict)
    while True:
        ingest.catch_up()


def test_kill_9_loses_and_doubles_nothing(tmp_path: Path) -> None:
    chance = random.Random(9)
    spool = Spool(tmp_path / "spool")
    expected: dict[str, EntryKind] = {}
    processes = multiprocessing.get_context("spawn")
    for round_ in range(KILLS):
        child = processes.Process(target=ingest_for_ever, args=(tmp_path / "ledger", spool.directory))
        child.start()
        first = round_ * ENTRIES_PER_KILL
        for number in range(first, first + ENTRIES_PER_KILL, 100):
            records = [make(one) for one in range(number, number + 100) for make in (intent, settle)]
            spool.write(*records)
            expected |= {exchange_id(one): EntryKind.EXCHANGE for one in range(number, number + 100)}
        # Somewhere in the middle of its work; the spool is ahead of it.
        deadline = time.monotonic() + 20
        while not list(tmp_path.glob("ledger/*.db")) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(chance.uniform(0.0, 0.15))
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()
    spool.close()
    ledger = Ledger.open(tmp_path / "ledger")
    ingest = make_ingest(ledger, spool)
    assert_ledger_holds(ledger, ingest, expected)
    ledger.close()
