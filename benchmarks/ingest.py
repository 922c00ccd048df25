"""How fast ingest takes a spool into the ledger, on one core's CPU, and how large an entry is on disk.

`python benchmarks/ingest.py [entries]` writes a spool as a gateway would (1,000 keys, 50 routes), reads it into a
fresh SQLite ledger and prints entries per second of CPU time and bytes per entry. Exits 1 below the floor.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

from lineclear.base.clock import SystemClock
from lineclear.control.ingest.ingest import Ingest
from lineclear.domain.entry import day_of
from lineclear.domain.ledger import AttemptRecord, CandidateRecord, Heartbeat, Intent, Settle
from lineclear.domain.money import Usage
from lineclear.handover.spool import SpoolWriter
from lineclear.store.ledger import Ledger, LedgerBatch

ENTRIES = 100_000
FLOOR_PER_S = 40_000
"""Design decision 57."""
BYTES_MAX = 400
"""Design: average bytes per entry on disk."""
KEYS = 1_000
ROUTES = 50
OPEN_AT_ONCE = 32
START_US = 1_800_000_000_000_000


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else ENTRIES
    with tempfile.TemporaryDirectory() as name:
        spool = Path(name) / "spool"
        write_spool(spool, count)
        ledger = Ledger.open(Path(name) / "ledger")
        # The day's file and its tables are made once a day; what is measured is the day itself.
        ledger.commit(LedgerBatch(day_of(START_US)))
        ingest = Ingest(ledger, spool, SystemClock(), accountant_positions=dict)
        cpu_ns, wall_ns = time.process_time_ns(), time.monotonic_ns()
        report = ingest.catch_up()
        cpu_s = (time.process_time_ns() - cpu_ns) / 1e9
        wall_s = (time.monotonic_ns() - wall_ns) / 1e9
        ledger.close()
        size = sum(path.stat().st_size for path in (Path(name) / "ledger").iterdir())
    per_s = report.entries / cpu_s
    figures = {
        "entries": report.entries,
        "entries_per_cpu_s": round(per_s),
        "cpu_us_per_entry": round(cpu_s / report.entries * 1e6, 1),
        "wall_s": round(wall_s, 2),
        "bytes_per_entry": round(size / report.entries),
        "floor_per_s": FLOOR_PER_S,
    }
    print(json.dumps(figures, indent=2))
    if report.entries != count or per_s < FLOOR_PER_S or figures["bytes_per_entry"] > BYTES_MAX:
        sys.exit(1)


def write_spool(directory: Path, count: int) -> None:
    writer = SpoolWriter(directory, "local-b00t-0-1", SystemClock())
    waiting: list[Settle] = []
    for number in range(count):
        at_us = START_US + number * 100
        intent = intent_of(number, at_us)
        writer.append(intent)
        waiting.append(settle_of(number, intent))
        if len(waiting) > OPEN_AT_ONCE:
            writer.append(waiting.pop(0))
        if number % 100 == 0:
            writer.append(Heartbeat(at_us, {"requests": number}))
            writer.flush_now()
    for settle in waiting:
        writer.append(settle)
    writer.flush_now()
    writer.close()


def intent_of(number: int, at_us: int) -> Intent:
    key = number * 7 % KEYS
    route = key % ROUTES
    return Intent(
        id=f"req_{at_us // 1000:012x}a1b2c3d4{number:08x}",
        at_us=at_us,
        environment="live",
        team=f"team-{route % 10}",
        app=f"app-{key % 100}",
        key_id=f"key{key:09d}",
        route=f"support-chat-{route}",
        release=f"rel_{route:016x}",
        revision=12,
        operation="chat",
        dialect="openai",
        task="customer-support",
        data_class="internal",
        stream=False,
        accounts=(f"app:app-{key % 100}", f"route:live/support-chat-{route}"),
        reserved_nano_usd=1_000_000,
        reserved_tokens=2_000,
        model="acme-small@2026-08",
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
        candidates=(CandidateRecord(intent.model, 0.9, ""), CandidateRecord("acme-large@2026-08", 0.1, "")),
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
