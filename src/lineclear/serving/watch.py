"""Finds an engine that is busy and completes no step.

In: how many requests run and have ended, and the engine's own counts. Out: `EngineStalled`, once; the last step, for
status. It must not restart anything: a hung engine cannot be stopped from inside, so the process ends and the
supervisor replaces it.
"""

import asyncio
from collections.abc import Callable

from lineclear.base.clock import Clock
from lineclear.serving.engine import Engine

LOOKS_PER_STALL = 4
LOOK_S_MAX = 5.0


class EngineStalled(Exception):
    """The engine, or one step of it, has been busy for `stall_s` and does not end."""


class EngineWatch:
    """What is known of an engine's progress."""

    def __init__(self, engine: Engine, activity: Callable[[], tuple[int, int]], stall_s: float, clock: Clock) -> None:
        """`activity` tells how many requests run, and how many have ended since the start."""
        self._engine = engine
        self._activity = activity
        self._stall_s = stall_s
        self._clock = clock
        self.steps = 0
        """As the engine counts them, when last looked."""
        self.last_step_unix_s: int | None = None
        """When a look last found more steps than the one before; None before the first."""
        self._oldest: int | None = None
        self._oldest_ns = 0
        """When a look first found the oldest step under way."""

    async def run(self) -> None:
        """Looks every `stall_s` / 4 seconds, at most every 5; runs until cancelled.

        Raises:
            EngineStalled: no step was completed for `stall_s` although requests ran all that time, or one step
                took so long while others beside it were completed.
        """
        moved_ns = self._clock.monotonic_ns()
        ended_before = 0
        while True:
            await asyncio.sleep(min(LOOK_S_MAX, self._stall_s / LOOKS_PER_STALL))
            running, ended = self._activity()
            if running or ended != ended_before:
                ended_before = ended
                if await self._has_moved():
                    moved_ns = self._clock.monotonic_ns()
            if not running:
                moved_ns = self._clock.monotonic_ns()
            still_s = (self._clock.monotonic_ns() - moved_ns) / 1e9
            if still_s >= self._stall_s:
                raise EngineStalled(f"no completed step for {still_s:.1f} s with {running} requests running")
            oldest_s = (self._clock.monotonic_ns() - self._oldest_ns) / 1e9
            if self._oldest is not None and running and oldest_s >= self._stall_s:
                raise EngineStalled(f"one step has not ended for {oldest_s:.1f} s; {running} requests are running")

    async def _has_moved(self) -> bool:
        counts = await self._engine.counts()
        if counts is not None and counts.oldest != self._oldest:
            self._oldest, self._oldest_ns = counts.oldest, self._clock.monotonic_ns()
        if counts is None or counts.steps == self.steps:
            return False
        self.steps = counts.steps
        self.last_step_unix_s = self._clock.unix_us() // 1_000_000
        return True
