"""Copies of answered calls that wait to be asked of a rollout's candidate, where nobody gets the answer.

In: what a caller has been answered already. Out: the same, in order, to whoever asks the candidate (`mirror`). A copy
that finds no room is dropped and counted, and nobody ever waits for one. Must not: keep a copy that was taken.
"""

import asyncio
from collections import deque
from typing import Final

import msgspec

from lineclear.domain.ledger import Outcome
from lineclear.gateway.attempt import Opened
from lineclear.gateway.plan import Planned
from lineclear.gateway.relay import Relayed
from lineclear.gateway.settle import Settled
from lineclear.gateway.shadow import ShadowView
from lineclear.gateway.trace import Trace

COPIES_MAX: Final = 64
"""Waiting at once, in one worker."""
COPIES_BYTES_MAX: Final = 16 * 1024 * 1024
COPY_BYTES_MAX: Final = 1024 * 1024
"""A longer request with its answer is not copied."""
UNHEARD: Final = frozenset({Outcome.REFUSED, Outcome.CLIENT_GONE, Outcome.FAULT})
"""Ends that say nothing of stable: a limit, a caller who left, a defect of ours. Nor does what an override ended."""


class Carried(msgspec.Struct, frozen=True, gc=False):
    """An exchange that had an intent, after its end."""

    planned: Planned
    opened: Opened | None
    relayed: Relayed
    settled: Settled


class Copy(msgspec.Struct, frozen=True, gc=False):
    """One call of stable's, and how long it took."""

    view: ShadowView
    carried: Carried
    duration_us: int
    size: int


class Copies:
    """What waits in one worker. Belongs to its loop."""

    def __init__(self) -> None:
        self._waiting: deque[Copy] = deque()
        self._bytes = 0
        self._taker: asyncio.Future[None] | None = None

    def offer(self, view: ShadowView, carried: Carried, trace: Trace, counters: dict[str, int]) -> None:
        """Take a call along, if it is one of the share and there is room."""
        parsed = carried.planned.admitted.parsed
        identified = parsed.identified
        if carried.relayed.outcome in UNHEARD or trace.cut is not None or identified.inner is not None:
            return
        if not view.wants(identified.head.request_id):
            return
        size = len(parsed.body) + (0 if carried.opened is None else len(carried.opened.body))
        if size > COPY_BYTES_MAX:
            counters["shadow_too_long"] += 1
        elif len(self._waiting) >= COPIES_MAX or self._bytes + size > COPIES_BYTES_MAX:
            counters["shadow_dropped"] += 1
        else:
            self._waiting.append(Copy(view, carried, trace.elapsed_us(), size))
            self._bytes += size
            if self._taker is not None and not self._taker.done():
                self._taker.set_result(None)

    @property
    def waiting(self) -> int:
        """Copies that nobody has taken yet."""
        return len(self._waiting)

    async def take(self) -> Copy:
        """The oldest; waits until there is one. For one taker."""
        while not self._waiting:
            self._taker = asyncio.get_running_loop().create_future()
            await self._taker
        copy = self._waiting.popleft()
        self._bytes -= copy.size
        return copy
