"""Time, passed in as a value: aware UTC for instants, monotonic nanoseconds for spans.

No other module reads a clock. Tests pass a clock that they move by hand.
"""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What a room may ask about time."""

    def monotonic_ns(self) -> int:
        """Nanoseconds on a clock that never steps; only differences mean anything."""
        ...

    def unix_us(self) -> int:
        """The wall clock as integer microseconds since 1970-01-01 UTC."""
        ...

    def now(self) -> datetime:
        """The wall clock as an aware UTC datetime."""
        ...


class SystemClock:
    """The machine's own clocks."""

    # The function itself: the hot path asks for it some twenty times per request.
    monotonic_ns = staticmethod(time.monotonic_ns)

    def unix_us(self) -> int:
        return time.time_ns() // 1_000

    def now(self) -> datetime:
        return datetime.now(UTC)
