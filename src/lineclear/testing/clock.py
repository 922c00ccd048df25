"""A clock that tests move by hand.

In: a starting instant. Out: the `Clock` that rooms are given. It never moves by itself.
"""

from datetime import UTC, datetime

NS_PER_S = 1_000_000_000
START_UNIX_US = 1_800_000_000_000_000
"""2027-01-15 08:00 UTC: any fixed instant serves."""


class TestClock:
    """Both clocks at once: monotonic and wall move together unless the wall is stepped."""

    __test__ = False  # pytest collects classes by this prefix

    def __init__(self, unix_us: int = START_UNIX_US) -> None:
        self._monotonic_ns = NS_PER_S
        self._unix_us = unix_us

    def monotonic_ns(self) -> int:
        return self._monotonic_ns

    def unix_us(self) -> int:
        return self._unix_us

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._unix_us / 1_000_000, UTC)

    def advance(self, seconds: float) -> None:
        """Let `seconds` ≥ 0 pass on both clocks."""
        self._monotonic_ns += int(seconds * NS_PER_S)
        self._unix_us += int(seconds * 1_000_000)

    def step_wall(self, seconds: float) -> None:
        """Move only the wall clock, forwards or back, as a time server might."""
        self._unix_us += int(seconds * 1_000_000)
