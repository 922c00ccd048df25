"""When reading and writing of one connection must have moved on: two deadlines, one timer, re-armed late.

In: how long something may take. Out: one call of whoever must hear that it took longer.
Must not know what was waited for.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from lineclear.net.limits import NS_PER_S

NEVER: Final = 1 << 63
"""Later than any monotonic time: no timer runs."""
WAIT_S_MIN = 0.001


class Deadlines:
    """The two deadlines of a connection, in monotonic nanoseconds; 0 = nothing is waited for."""

    __slots__ = ("_late_read", "_late_write", "_loop", "_monotonic_ns", "_timer", "read_ns", "timer_at_ns", "write_ns")

    read_ns: int
    """Settable as it is where the timer is known to look soon enough (`timer_at_ns`); else by `expect_read`."""
    write_ns: int
    timer_at_ns: int
    """When the timer looks next."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        monotonic_ns: Callable[[], int],
        *,
        late_read: Callable[[int], None],
        late_write: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._monotonic_ns = monotonic_ns
        self._late_read = late_read
        self._late_write = late_write
        self._timer: asyncio.TimerHandle | None = None
        self.timer_at_ns = NEVER
        self.read_ns = 0
        self.write_ns = 0

    def expect_read(self, wait_s: float) -> None:
        """Something has to be read by then."""
        self.read_ns = self.arm(wait_s)

    def expect_write(self, wait_s: float) -> None:
        """Something has to be taken off us by then."""
        self.write_ns = self.arm(wait_s)

    def arm(self, wait_s: float) -> int:
        """Makes sure that the timer looks at the deadlines by then; returns the time."""
        at_ns = self._monotonic_ns() + int(wait_s * NS_PER_S)
        if self.timer_at_ns <= at_ns:
            return at_ns
        if self._timer is not None:
            self._timer.cancel()
        self.timer_at_ns = at_ns
        self._timer = self._loop.call_later(wait_s, self._look)
        return at_ns

    def stop(self) -> None:
        """The connection is closed: nobody is called any more, and no timer is armed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.timer_at_ns = 0
        del self._late_read, self._late_write  # breaks the cycle of bound callbacks

    def _look(self) -> None:
        self._timer = None
        self.timer_at_ns = NEVER
        now_ns = self._monotonic_ns()
        if self.write_ns and now_ns >= self.write_ns:
            self._late_write()
        elif self.read_ns and now_ns >= self.read_ns:
            self._late_read(now_ns)
        due = [at_ns for at_ns in (self.read_ns, self.write_ns) if at_ns]
        if due:
            self.arm(max(WAIT_S_MIN, (min(due) - now_ns) / NS_PER_S))
