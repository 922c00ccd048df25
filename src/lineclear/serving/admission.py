"""The one admission point in front of an engine: slots, and a bounded first-come queue before them.

In: requests that want a slot. Out: a slot, or 503 `overloaded` with the time until one is likely.
A caller that hangs up while waiting leaves the queue. It must not know what a request says.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lineclear.base.clock import Clock
from lineclear.domain.errors import ErrorCode, PlatformFault

QUEUE_BYTES_MAX = 64 << 20
"""Bodies held by waiting requests, all together."""
RETRY_AFTER_MS_MIN = 1_000
RETRY_AFTER_MS_MAX = 60_000
SERVICE_MEMORY = 0.2
"""Weight of the newest request in the moving average of how long a slot is held."""


class Admission:
    """Counts and orders the requests of one runtime."""

    def __init__(self, slots: int, queue_max: int, clock: Clock) -> None:
        self._slots = slots
        self._queue_max = queue_max
        self._clock = clock
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._queued_bytes = 0
        self._service_ms = float(RETRY_AFTER_MS_MIN)
        self.running = 0
        self.refused = 0
        """Requests turned away since the start because the queue was full."""

    @property
    def queued(self) -> int:
        """Requests that wait for a slot."""
        return len(self._waiting)

    @asynccontextmanager
    async def slot(self, body_bytes: int) -> AsyncIterator[None]:
        """Holds a slot for the time of the block, after waiting for one in order of arrival.

        Raises:
            PlatformFault: `overloaded`, the queue is full by count or by bytes.
        """
        if self.running >= self._slots:
            await self._wait(body_bytes)
        else:
            self.running += 1
        started_ns = self._clock.monotonic_ns()
        try:
            yield
        finally:
            held_ms = (self._clock.monotonic_ns() - started_ns) / 1e6
            self._service_ms += SERVICE_MEMORY * (held_ms - self._service_ms)
            self._hand_over()

    async def _wait(self, body_bytes: int) -> None:
        if len(self._waiting) >= self._queue_max or self._queued_bytes + body_bytes > QUEUE_BYTES_MAX:
            self.refused += 1
            raise PlatformFault(
                ErrorCode.OVERLOADED,
                f"the model is busy: {self.running} running, {len(self._waiting)} waiting",
                hint="try again after the given time, or send fewer requests at once",
                retry_after_ms=self._retry_after_ms(),
            )
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._queued_bytes += body_bytes
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                # The slot was handed to a request that had just gone: pass it on, or it is lost for good.
                self._hand_over()
            elif turn in self._waiting:
                # Not there any more if somebody who left at the same moment passed it over while giving a slot on.
                self._waiting.remove(turn)
            raise
        finally:
            self._queued_bytes -= body_bytes

    def _hand_over(self) -> None:
        """Gives the slot to the next in the queue; `running` does not change then."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.running -= 1

    def _retry_after_ms(self) -> int:
        ahead = (len(self._waiting) + 1) / self._slots
        return max(RETRY_AFTER_MS_MIN, min(RETRY_AFTER_MS_MAX, round(ahead * self._service_ms)))
