"""CPU time of the accountant per request, sockets left out: the operations, the spool read back, the checkpoint.

`python benchmarks/accountant.py [requests]` reserves and settles on three accounts with request limits and strict
budgets, in frames as a gateway under load sends them, and reads what that gateway writes into its spool: both ends of
the table of ended calls are measured, nearly empty and full. Prints µs of CPU per request and, as the machine's speed
drops out of it, their ratio to a JSON round trip of one kilobyte measured in between. Exits 1 above the limit.
"""

import json
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from ingest import START_US, intent_of, settle_of
from lineclear.accountant.books import RESOLVED_MAX, Books
from lineclear.accountant.fold import Fold
from lineclear.accountant.reservation import Moment
from lineclear.accountant.state import dump_books
from lineclear.base.clock import SystemClock
from lineclear.domain.accounts import Reserve, SettleAccount, Void
from lineclear.domain.snapshot import AccountLimits, BudgetLimit, LimitsSection
from lineclear.handover.spool import SpoolWriter
from lineclear.wire.accounts import FrameSplitter, Ops, Replies, decode_client_frame, encode_frame

REQUESTS = 60_000
REQUESTS_PER_FRAME = 8
REQUESTS_PER_FOLD = 500
REQUESTS_PER_CHECKPOINT = 5_000
"""As at 5,000 requests a second."""
OPEN_AT_ONCE = 32
APPS = 20
ROUTES = 50
SOURCE = "local-b00t-0-1"
RATIO_MAX = 1.0
"""Accountant ÷ reference with a full table; 0.5 when it was set."""
REFERENCE_CALLS = 500
REFERENCE = json.dumps({"model": "a", "messages": [{"role": "user", "content": "Where is it? "}] * 24}).encode()


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else REQUESTS
    limits = AccountLimits(60_000_000, None, None, BudgetLimit(10**18, "UTC"))
    names = ["team:bench", *(f"app:app-{n}" for n in range(APPS)), *(f"route:live/route-{n}" for n in range(ROUTES))]
    with tempfile.TemporaryDirectory() as directory:
        run = Run(Path(directory), LimitsSection(dict.fromkeys(names, limits)))
        begin = run.measure(count)
        run.fill()
        full = run.measure(count)
    ratio = full["us_per_request"] / full["reference_us"]
    print(json.dumps({"nearly_empty": begin, "full": full, "ratio": round(ratio, 2), "ratio_max": RATIO_MAX}, indent=2))
    if ratio > RATIO_MAX:
        sys.exit(1)


class Run:
    """Books, their fold, and the gateway's side prepared outside of what is timed."""

    def __init__(self, directory: Path, limits: LimitsSection) -> None:
        self.clock = SystemClock()
        self.writer = SpoolWriter(directory, SOURCE, self.clock)
        self.books = Books()
        self.books.apply_limits(limits)
        self.source = self.books.hello(SOURCE, (), self.at())
        self.fold = Fold(directory, self.books, {})
        self.splitter = FrameSplitter()
        self.open: deque[SettleAccount] = deque()
        self.number = 0

    def at(self) -> Moment:
        return Moment(self.clock.monotonic_ns() // 1000, self.clock.unix_us() // 1_000_000)

    def measure(self, count: int) -> dict[str, float]:
        """Medians over parts of the run, in µs of CPU per request."""
        parts: list[tuple[float, float, float]] = []
        dumps: list[float] = []
        for start in range(0, count, REQUESTS_PER_FOLD):
            frames = self.frames()
            live = cpu_us(partial(self.serve, frames)) / REQUESTS_PER_FOLD
            fold = cpu_us(lambda: self.fold.step(self.at())) / REQUESTS_PER_FOLD
            parts.append((live, fold, cpu_us(reference) / REFERENCE_CALLS))
            if start % REQUESTS_PER_CHECKPOINT == 0:
                dumps.append(cpu_us(lambda: dump_books(self.books, self.at())) / REQUESTS_PER_CHECKPOINT)
        live, fold, base = (statistics.median(column) for column in zip(*parts, strict=True))
        dump = statistics.median(dumps)
        figures = {"us_per_request": live + fold + dump, "operations_us": live, "fold_us": fold, "checkpoint_us": dump}
        return {name: round(value, 2) for name, value in {**figures, "reference_us": base}.items()}

    def frames(self) -> list[bytes]:
        """What a gateway sends for the next requests, and what it has written by then."""
        frames: list[bytes] = []
        for start in range(0, REQUESTS_PER_FOLD, REQUESTS_PER_FRAME):
            ops: list[Reserve | SettleAccount] = []
            for _ in range(min(REQUESTS_PER_FRAME, REQUESTS_PER_FOLD - start)):
                number = self.number
                self.number += 1
                accounts = ("team:bench", f"app:app-{number % APPS}", f"route:live/route-{number % ROUTES}")
                intent = msgspec.structs.replace(intent_of(number, START_US + number * 200), accounts=accounts)
                self.writer.append(intent)
                ops.append(Reserve(intent.id, accounts, intent.reserved_tokens, intent.reserved_nano_usd))
                settle = settle_of(number, intent)
                self.writer.append(settle)
                self.open.append(SettleAccount(intent.id, 700, settle.cost_nano_usd))
                if len(self.open) > OPEN_AT_ONCE:
                    ops.append(self.open.popleft())
            frames.append(encode_frame(Ops(len(frames), tuple(ops))))
        self.writer.flush_now()
        return frames

    def serve(self, frames: list[bytes]) -> None:
        for frame in frames:
            for payload in self.splitter.feed(frame):
                asked = decode_client_frame(payload)
                assert isinstance(asked, Ops)
                at = self.at()
                replies = tuple([self.books.act(op, self.source, at) for op in asked.ops])
                encode_frame(Replies(asked.sequence, replies))

    def fill(self) -> None:
        """As many ended calls as are kept."""
        at = self.at()
        for number in range(RESOLVED_MAX):
            self.books.act(Void(f"gone-{number}"), self.source, at)
            self.books.ledger_settle(f"gone-{number}", 0, at)


def reference() -> None:
    for _ in range(REFERENCE_CALLS):
        json.dumps(json.loads(REFERENCE))


def cpu_us(work: Callable[[], object]) -> float:
    start_ns = time.process_time_ns()
    work()
    return (time.process_time_ns() - start_ns) / 1_000


if __name__ == "__main__":
    main()
