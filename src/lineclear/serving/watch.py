"""Finds an engine that is busy and completes no step.

In: how many requests run, and the engine's count of completed steps. Out: `EngineStalled`, once. It must not
restart anything: a hung engine cannot be stopped from inside, so the process ends and the supervisor replaces it.
"""

import asyncio
from collections.abc import Callable

from lineclear.base.clock import Clock
from lineclear.serving.engine import Engine

LOOKS_PER_STALL = 4
LOOK_S_MAX = 5.0


class EngineStalled(Exception):
    """The engine has been busy for `stall_s` without a completed step."""


async def watch_engine(engine: Engine, running: Callable[[], int], stall_s: float, clock: Clock) -> None:
    """Looks at the engine every `stall_s` / 4 seconds, at most every 5; runs until cancelled.

    Raises:
        EngineStalled: no step was completed for `stall_s` although requests ran all that time.
    """
    steps: int | None = None
    moved_ns = clock.monotonic_ns()
    while True:
        await asyncio.sleep(min(LOOK_S_MAX, stall_s / LOOKS_PER_STALL))
        if running() == 0:
            moved_ns = clock.monotonic_ns()
            continue
        seen = await engine.completed_steps()
        if seen is not None and seen != steps:
            steps = seen
            moved_ns = clock.monotonic_ns()
        still_s = (clock.monotonic_ns() - moved_ns) / 1e9
        if still_s >= stall_s:
            raise EngineStalled(f"no completed step for {still_s:.1f} s with {running()} requests running")
