"""Evidence is a sum over the ledger: equal for any workers, batches, orders and crashes, and said to be partial.

The expectation is made of the records themselves by the pure functions of `domain`, never by the fold under test.
"""

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lineclear.base.clock import SystemClock
from lineclear.control.ingest.exposed_row import exchange_exposed
from lineclear.control.ingest.ingest import Ingest
from lineclear.domain.entry import DAY_US, day_of
from lineclear.domain.evidence import Arm, ArmCounts, bets_on_worse
from lineclear.domain.exposed import Mark
from lineclear.domain.first_events import FirstEvent, FirstEvents
from lineclear.domain.floor import FloorCounts
from lineclear.domain.ledger import AttemptRecord, Intent, Record, Settle
from lineclear.domain.signals import CountedSignal, Guard, RolloutEvidence, SignalPlan
from lineclear.observe.signals import Signals
from lineclear.store.database import Database
from lineclear.store.ledger import Committed, Ledger, LedgerBatch
from lineclear.testing.clock import START_UNIX_US
from lineclear.testing.records import Spool, checkpoint, heartbeat, intent, refusal, settle

ROLLOUT = "ro_1"
PLAN = SignalPlan(ROLLOUT, first_day=day_of(START_UNIX_US), slow_us=400_000, cost_cap_nano_usd=50_000)
CAP = 50_000
WORKERS = ("local-b00t-0-1", "local-b00t-1-1", "local-b00t-2-1", "local-b00t-3-1")
REQUESTS = 600
Exchange = tuple[Intent, Settle]


class Crash(Exception):
    """Control dies here."""


class CrashingLedger(Ledger):
    """A ledger whose caller dies just before or just after a commit."""

    chance: random.Random

    def commit(self, batch: LedgerBatch) -> Committed:
        fate = self.chance.random()
        if fate < 0.2:
            raise Crash("before the commit")
        committed = super().commit(batch)
        if fate < 0.4:
            raise Crash("after the commit")
        return committed


def dealt(arm: str, unit: str = "", weight_bp: int = 1_000) -> dict[str, Any]:  # Any: text and int
    return {"arm": arm, "rollout": ROLLOUT, "weight_bp": weight_bp, "unit_hash": unit}


def exchanges(seed: int, count: int = REQUESTS) -> list[Exchange]:
    """Traffic of a ramp over midnight, with units that come back, failures, and requests of other rollouts."""
    chance = random.Random(seed)
    made: list[Exchange] = []
    at_us = (START_UNIX_US // DAY_US + 1) * DAY_US - 30_000_000
    for number in range(count):
        at_us += chance.randrange(100_000)
        weight_bp = (0, 100, 1_000, 5_000, 10_000)[number * 5 // count]
        arm = "candidate" if chance.random() < weight_bp / 10_000 else "stable"
        unit = f"{chance.randrange(60):016x}" if chance.random() < 0.7 else ""
        facts = dealt(arm, unit, weight_bp)
        if chance.random() < 0.1:
            facts = {} if chance.random() < 0.5 else {**facts, "rollout": "ro_other"}
        if chance.random() < 0.03:
            facts["echo"] = "rel_00000000000000ff"
        ends: dict[str, Any] = {"cost_nano_usd": chance.randrange(80_000), "waste_nano_usd": chance.randrange(9)}
        fate = chance.random()
        if fate < 0.15:
            ends |= {"outcome": "failed", "status": 502, "error_code": "upstream_error"}
        elif fate < 0.25:
            ends["attempts"] = tuple(
                AttemptRecord(1, "m@1", "p", kind, 0, "", 0, 0, "", 0) for kind in ("rejected", "ok")
            )
        elif fate < 0.4:
            ends["stop_reason"] = chance.choice(("length", "max_tokens", "refusal", "content_filter"))
        elif fate < 0.45:
            ends["cost_basis"] = "unpriced"
        took_us = chance.randrange(600_000)
        made.append((intent(number, at_us, **facts), settle(number, at_us, took_us, **ends)))
    return made


def expected(traffic: list[Exchange]) -> RolloutEvidence:
    """The same figures by the pure functions, straight from the records."""
    rows = [exchange_exposed(*one) for one in traffic if one[0].rollout == ROLLOUT]
    unmonitored = sum(row.weight_bp == 0 for row in rows)
    rows = [row for row in rows if 0 < row.weight_bp < 10_000]
    other = sum(bool(row.marks & Mark.OTHER_RELEASE) for row in rows)
    rows = [row for row in rows if not row.marks & Mark.OTHER_RELEASE]

    def first(badness: dict[str, float]) -> FirstEvents:
        # A request that is its own unit is one unit of its own.
        return FirstEvents.gathered(
            (
                int(row.unit_hash, 16) if row.unit_hash else (1 << 64) + place,
                FirstEvent(row.started_us, Arm(row.arm), row.weight_bp, badness[row.id]),
            )
            for place, row in enumerate(rows)
            if row.id in badness
        )

    def counts(ids: set[str]) -> ArmCounts:
        return ArmCounts.counted((Arm(row.arm), row.weight_bp, 1) for row in rows if row.id in ids)

    everything = {row.id for row in rows}
    bad = {
        Guard.ERROR: {row.id for row in rows if row.marks & Mark.FAILED},
        Guard.SLOW: {row.id for row in rows if row.marks & Mark.NOT_OK or row.duration_us > 400_000},
        Guard.CONTRACT: {row.id for row in rows if row.marks & Mark.BROKE_CONTRACT},
    }
    tried = counts(everything).total(Arm.CANDIDATE)
    costs = {row.id: min(row.cost_nano_usd, CAP) / CAP for row in rows}
    return RolloutEvidence(
        rollout=ROLLOUT,
        requests=counts(everything),
        first_requests=first(dict.fromkeys(everything, 1.0)).counts(),
        counted=tuple(
            CountedSignal(
                guard,
                first(dict.fromkeys(ids, 1.0)).counts(),
                counts(ids),
                FloorCounts(counts(ids).total(Arm.CANDIDATE), tried - counts(ids).total(Arm.CANDIDATE)),
            )
            for guard, ids in bad.items()
        ),
        cost=first(costs).sums(bets_on_worse(1.1)),
        unpriced=counts({row.id for row in rows if row.marks & Mark.UNPRICED}),
        unmonitored=unmonitored,
        other_release=other,
        watermark_us=None,
        missing=(),
    )


def figures(evidence: RolloutEvidence) -> RolloutEvidence:
    """Without what belongs to the moment of asking."""
    return msgspec.structs.replace(evidence, watermark_us=None, missing=())


def make_ingest(ledger: Ledger, spool: Spool) -> Ingest:
    return Ingest(ledger, spool.directory, spool.clock, accountant_positions=dict)


def signals_of(ledger: Ledger, ingest: Ingest, spool: Spool) -> Signals:
    return Signals(ledger, ingest.standing, spool.clock)


def write(spool: Spool, traffic: list[Exchange], workers: tuple[str, ...], chance: random.Random) -> list[list[Record]]:
    """Records by worker in the order of writing: an intent, and its settle some records later."""
    queues: dict[str, list[Record]] = {worker: [] for worker in workers}
    late: dict[str, list[Record]] = {worker: [] for worker in workers}
    for begun, ended in traffic:
        worker = chance.choice(workers)
        queues[worker].append(begun)
        late[worker].append(ended)
        while late[worker] and chance.random() < 0.6:
            queues[worker].append(late[worker].pop(chance.randrange(len(late[worker]))))
    pieces: list[list[Record]] = []
    for worker in workers:
        queues[worker] += late[worker]
    while any(queues.values()):
        worker = chance.choice([name for name, queue in queues.items() if queue])
        size = chance.randrange(1, 40)
        spool.write(*queues[worker][:size], source=worker)
        pieces.append(queues[worker][:size])
        del queues[worker][:size]
    return pieces


def test_one_worker_and_one_batch_give_the_sums_of_the_records(ledger: Ledger, spool: Spool) -> None:
    traffic = exchanges(1)
    spool.write(*(record for one in traffic for record in one))
    ingest = make_ingest(ledger, spool)
    ingest.catch_up()
    found = signals_of(ledger, ingest, spool).evidence(PLAN)
    assert figures(found) == expected(traffic)
    assert found.unmonitored > 50
    assert found.other_release > 3
    assert all(signal.bad.total(Arm.CANDIDATE) > 10 for signal in found.counted)
    assert found.first_requests.total(Arm.STABLE) < found.requests.total(Arm.STABLE)


@pytest.mark.parametrize("seed", range(6))
def test_four_workers_any_batches_and_crashes_give_the_same_bits(tmp_path: Path, seed: int) -> None:
    traffic, chance = exchanges(seed), random.Random(seed)
    spool = Spool(tmp_path / "spool")
    ledger = CrashingLedger.open(tmp_path / "ledger")
    assert isinstance(ledger, CrashingLedger)
    ledger.chance = chance
    ingest = make_ingest(ledger, spool)
    signals = signals_of(ledger, ingest, spool)
    crashes = 0
    for start in range(0, len(traffic), 60):
        write(spool, traffic[start : start + 60], WORKERS, chance)
        for _ in range(chance.randrange(1, 4)):
            try:
                ingest.catch_up()
            except Crash:
                crashes += 1
                if chance.random() < 0.5:
                    ingest = make_ingest(ledger, spool)
                    signals = signals_of(ledger, ingest, spool)
            signals.evidence(PLAN)
    assert crashes > 2
    ledger.chance = random.Random()
    ledger.chance.random = lambda: 1.0  # type: ignore[method-assign] # it is calm now
    ingest.catch_up()
    assert figures(signals.evidence(PLAN)) == expected(traffic)
    assert figures(signals_of(ledger, ingest, spool).evidence(PLAN)) == expected(traffic)
    ledger.close()
    spool.close()


def ingest_for_ever(ledger_path: Path, spool_path: Path) -> None:
    """The child that is killed."""
    ingest = Ingest(Ledger.open(ledger_path), spool_path, SystemClock(), accountant_positions=dict)
    while True:
        ingest.catch_up()


def test_kill_9_of_the_reader_changes_no_figure(tmp_path: Path) -> None:
    chance = random.Random(9)
    traffic = exchanges(9, 4_000)
    spool = Spool(tmp_path / "spool")
    processes = multiprocessing.get_context("spawn")
    for start in range(0, len(traffic), 1_000):
        child = processes.Process(target=ingest_for_ever, args=(tmp_path / "ledger", spool.directory))
        child.start()
        write(spool, traffic[start : start + 1_000], WORKERS, chance)
        deadline = time.monotonic() + 20
        while not list(tmp_path.glob("ledger/*.db")) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(chance.uniform(0.0, 0.1))
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()
    ledger = Ledger.open(tmp_path / "ledger")
    ingest = make_ingest(ledger, spool)
    ingest.catch_up()
    assert figures(signals_of(ledger, ingest, spool).evidence(PLAN)) == expected(traffic)
    ledger.close()
    spool.close()


def test_a_dead_worker_and_a_refusing_release_count_in_their_arm(ledger: Ledger, spool: Spool) -> None:
    spool.write(intent(1, **dealt("candidate")), checkpoint(1))
    spool.write(refusal(2, error_code="no_healthy_target", rules=(), **dealt("candidate")))
    spool.write(refusal(3, **dealt("candidate")))
    spool.die()
    ingest = make_ingest(ledger, spool)
    ingest.catch_up()
    found = signals_of(ledger, ingest, spool).evidence(PLAN)
    error = found.signal(Guard.ERROR)
    assert error is not None
    assert found.requests == ArmCounts.counted([(Arm.CANDIDATE, 1_000, 3)])
    assert error.candidate == FloorCounts(bad=2, good=1)
    assert error.evidence(1.25, None).log_e > 0


def test_what_is_under_way_counts_for_the_split(ledger: Ledger, spool: Spool) -> None:
    spool.write(intent(1, **dealt("candidate")), intent(2, **dealt("candidate", "00000000000000aa")))
    spool.write(intent(3, START_UNIX_US + 5, **dealt("stable", "00000000000000aa")))
    spool.write(settle(3, START_UNIX_US + 5))
    ingest = make_ingest(ledger, spool)
    ingest.catch_up()
    found = signals_of(ledger, ingest, spool).evidence(PLAN)
    assert found.requests == ArmCounts.counted([(Arm.STABLE, 1_000, 1)])
    assert found.first_requests == ArmCounts.counted([(Arm.CANDIDATE, 1_000, 2)])


def test_evidence_is_complete_only_while_every_living_worker_reports(ledger: Ledger, spool: Spool) -> None:
    ingest = make_ingest(ledger, spool)
    signals = signals_of(ledger, ingest, spool)
    assert not signals.evidence(PLAN).is_complete
    now_us = spool.clock.unix_us()
    spool.write(heartbeat(now_us))
    spool.write(heartbeat(now_us - 2_000_000), source=WORKERS[1])
    ingest.catch_up()
    found = signals.evidence(PLAN)
    assert (found.watermark_us, found.missing, found.is_complete) == (now_us - 2_000_000, (), True)
    spool.clock.advance(9.0)
    spool.write(heartbeat(spool.clock.unix_us()))
    ingest.catch_up()
    found = signals.evidence(PLAN)
    assert (found.watermark_us, found.missing, found.is_complete) == (now_us - 2_000_000, (WORKERS[1],), False)
    spool.die(WORKERS[1])
    ingest.catch_up()
    found = signals.evidence(PLAN)
    assert (found.watermark_us, found.is_complete) == (now_us + 9_000_000, True)


def test_more_units_than_are_kept_are_told(ledger: Ledger, spool: Spool) -> None:
    for number in range(4):
        spool.write(intent(number, **dealt("stable", f"{number:016x}")), settle(number))
    spool.write(heartbeat(spool.clock.unix_us()))
    ingest = make_ingest(ledger, spool)
    ingest.catch_up()
    assert Signals(ledger, ingest.standing, spool.clock, units_max=4).evidence(PLAN).is_complete
    full = Signals(ledger, ingest.standing, spool.clock, units_max=3).evidence(PLAN)
    assert full.is_full
    assert not full.is_complete


def test_another_plan_is_other_evidence_and_unwatched_guards_are_absent(ledger: Ledger, spool: Spool) -> None:
    spool.write(intent(1, **dealt("candidate")), settle(1))
    ingest = make_ingest(ledger, spool)
    ingest.catch_up()
    signals = signals_of(ledger, ingest, spool)
    quick = signals.evidence(msgspec.structs.replace(PLAN, slow_us=1)).signal(Guard.SLOW)
    assert quick is not None
    assert quick.candidate == FloorCounts(1, 0)
    bare = signals.evidence(msgspec.structs.replace(PLAN, slow_us=None, cost_cap_nano_usd=None))
    assert (bare.signal(Guard.SLOW), bare.cost, bare.cost_evidence()) == (None, None, None)
    assert bare.requests.total(Arm.CANDIDATE) == 1


def test_records_and_ledgers_of_before_are_read_on(tmp_path: Path, spool: Spool) -> None:
    encode, decode = msgspec.msgpack.encode, msgspec.msgpack.decode
    for record, added in ((intent(1), 5), (refusal(2), 4)):
        assert decode(encode(decode(encode(record))[:-added]), type=type(record)) == record
    with Ledger.open(tmp_path / "old").read(day_of(START_UNIX_US)):
        pass
    (path,) = (tmp_path / "old").glob("*.db")
    database = Database.open(path)
    with database.write() as tx:
        for later in ("exposures", "rule_hits", "reviews", "mirrored"):
            tx.exec_driver_sql(f"DROP TABLE {later}")
        tx.exec_driver_sql("UPDATE ledger_version SET version_num = 'ledger_0003'")
    database.close()
    ledger = Ledger.open(tmp_path / "old")
    spool.write(intent(1, **dealt("candidate")), settle(1))
    ingest = make_ingest(ledger, spool)
    ingest.catch_up()
    assert signals_of(ledger, ingest, spool).evidence(PLAN).requests.total(Arm.CANDIDATE) == 1
    ledger.close()
