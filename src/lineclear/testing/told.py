"""Makes a demo directory whose maker can be asked what it counted."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lineclear.compose.demo import DemoMade, DemoOrder, make_demo
from lineclear.demo.history import History
from lineclear.testing.clock import TestClock

UNTIL_US = int(datetime(2026, 11, 19, 15, 30, tzinfo=UTC).timestamp()) * 1_000_000
"""A Thursday."""
DAYS = 8
SEED = 7


@dataclass(frozen=True)
class Told:
    """What was made, and what its maker says of it."""

    data_dir: Path
    made: DemoMade
    history: History
    reports: list[tuple[int, int]]


def tell(data_dir: Path) -> Told:
    """Make one."""
    clock = TestClock(UNTIL_US)
    reports: list[tuple[int, int]] = []
    made, history = make_demo(
        DemoOrder(data_dir, DAYS, SEED), clock, lambda days, requests: reports.append((days, requests))
    )
    return Told(data_dir, made, history, reports)
