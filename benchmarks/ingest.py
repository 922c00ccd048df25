"""How fast ingest takes a spool into the ledger, on one core's CPU, and how large an entry is on disk.

`python benchmarks/ingest.py [entries]` writes a spool as a gateway would in the benchmark's setting (1,000 keys, 20
apps, 50 routes, two targets), has it read into a fresh SQLite ledger second by second, and prints entries per second
of CPU time and bytes per entry. Exits 1 below the floor.
"""

import json
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

from lineclear.base.clock import SystemClock
from lineclear.control.ingest.ingest import Ingest
from lineclear.domain.entry import day_of
from lineclear.domain.ledger import AttemptRecord, CandidateRecord, Heartbeat, Intent, Settle
from lineclear.domain.money import Usage
from lineclear.handover.spool import SpoolWriter
from lineclear.observe.metrics import Metrics
from lineclear.store.ledger import Ledger, LedgerBatch

ENTRIES = 100_000
ENTRIES_PER_LOOK = 5_000
"""What a busy gateway writes between two looks of ingest."""
FLOOR_PER_S = 40_000
"""Design decision 57."""
BYTES_MAX = 400
"""Design: average bytes per entry on disk."""
KEYS = 1_000
APPS = 20
ROUTES = 50
TARGETS = ("acme-small@2026-08", "acme-large@2026-08")
OPEN_AT_ONCE = 32
START_US = 1_800_000_000_000_000


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else ENTRIES
    taken, cpu_ns, wall_ns = 0, 0, 0
    with tempfile.TemporaryDirectory() as name:
        spool = GatewaySpool(Path(name) / "spool")
        ledger = Ledger.open(Path(name) / "ledger")
        # The day's file and its tables are made once a day; what is measured is the day itself.
        ledger.commit(LedgerBatch(day_of(START_US)))
        metrics = Metrics(SystemClock(), "benchmark", lambda: 1)
        ingest = Ingest(ledger, spool.directory, SystemClock(), accountant_positions=dict, listener=metrics)
        for first in range(0, count, ENTRIES_PER_LOOK):
            spool.write(range(first, min(first + ENTRIES_PER_LOOK, count)))
            cpu, wall = time.process_time_ns(), time.monotonic_ns()
            taken += ingest.catch_up().entries
            cpu_ns += time.process_time_ns() - cpu
            wall_ns += time.monotonic_ns() - wall
        spool.close()
        taken += ingest.catch_up().entries
        ledger.close()
        size = sum(path.stat().st_size for path in (Path(name) / "ledger").iterdir())
    per_s = taken / cpu_ns * 1e9
    figures = {
        "entries": taken,
        "entries_per_cpu_s": round(per_s),
        "cpu_us_per_entry": round(cpu_ns / taken / 1e3, 1),
        "wall_s": round(wall_ns / 1e9, 2),
        "bytes_per_entry": round(size / taken),
        "floor_per_s": FLOOR_PER_S,
    }
    print(json.dumps(figures, indent=2))
    if taken != count or per_s < FLOOR_PER_S or figures["bytes_per_entry"] > BYTES_MAX:
        sys.exit(1)


class GatewaySpool:
    """A gateway's spool with some exchanges always open."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._writer = SpoolWriter(directory, "local-b00t-0-1", SystemClock())
        self._waiting: deque[Settle] = deque()

    def write(self, numbers: range) -> None:
        """Write these exchanges' intents, and the settles of those that end meanwhile."""
        for number in numbers:
            at_us = START_US + number * 200
            intent = intent_of(number, at_us)
            self._writer.append(intent)
            self._waiting.append(settle_of(number, intent))
            if len(self._waiting) > OPEN_AT_ONCE:
                self._writer.append(self._waiting.popleft())
            if number % 100 == 0:
                self._writer.append(Heartbeat(at_us, {"requests": number}))
                self._writer.flush_now()
        self._writer.flush_now()

    def close(self) -> None:
        """Settle what is open, and end."""
        while self._waiting:
            self._writer.append(self._waiting.popleft())
        self._writer.flush_now()
        self._writer.close()


def intent_of(number: int, at_us: int) -> Intent:
    key = number * 7 % KEYS
    route = key % ROUTES
    return Intent(
        id=f"req_{at_us // 1000:012x}a1b2c3d4{number:08x}",
        at_us=at_us,
        environment="live",
        team=f"team-{route % 10}",
        app=f"app-{key % APPS}",
        key_id=f"key{key:09d}",
        route=f"support-chat-{route}",
        release=f"rel_{route:016x}",
        revision=12,
        operation="chat",
        dialect="openai",
        task="customer-support",
        data_class="internal",
        stream=False,
        accounts=(f"team:team-{route % 10}", f"app:app-{key % APPS}", f"route:live/support-chat-{route}"),
        reserved_nano_usd=1_000_000,
        reserved_tokens=2_000,
        model=TARGETS[number // 7 % len(TARGETS)],
        provider="acme",
        price_version="manifest/67f89a26",
        inbound_id="",
        traceparent="",
        user_hash="",
        tags="",
    )


def settle_of(number: int, intent: Intent) -> Settle:
    took_us = 150_000 + number * 37 % 400_000
    attempt = AttemptRecord(1, intent.model, "acme", "ok", 200, "", 700, took_us - 1000, f"chatcmpl-{number}", 24_150)
    return Settle(
        id=intent.id,
        at_us=intent.at_us + took_us,
        outcome="ok",
        status=200,
        error_code="",
        model=intent.model,
        provider="acme",
        attempts=(attempt,),
        candidates=tuple(CandidateRecord(model, 0.5, "") for model in TARGETS),
        rules=(),
        usage=Usage(input_tokens=100 + number % 500, output_tokens=number % 300),
        cost_nano_usd=24_150 + number,
        cost_basis="priced",
        waste_nano_usd=0,
        price_version=intent.price_version,
        stop_reason="end",
        model_echo="acme-small-2026-08-07",
        response_id=f"chatcmpl-{number}",
        duration_us=took_us,
        first_event_us=took_us // 3,
        steps_us=(10, 5, 12, 6, 4, 20, took_us - 100, 30, 13),
        request_bytes=420,
        response_bytes=900,
        malformed_events=0,
    )


if __name__ == "__main__":
    main()
