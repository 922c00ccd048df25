"""A part of the platform: one place that one process fills, and the rules of filling it again.

In: exits and status lines of its children. Out: who fills the place now, and how long to wait before the next try.
Pure bookkeeping; standard library only. Processes are `child`'s, decisions the supervisor's.
"""

import asyncio
import random
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lineclear.compose.child import Child
from lineclear.compose.life import READY

RESTART_BASE_S = 0.1
RESTART_CAP_S = 20.0
"""A process that keeps dying is started again at the longest after this."""
STABLE_S = 2.0
"""Ready for so long, and the failures before are forgotten."""
READY_FAILURES_MAX = 4
"""Where callers wait, a process that had been ready counts no further than this: starting works, so the next start
comes within a second. Source: reliability-security.md §2, row S10."""
WAITED_FOR_ROLES = frozenset({"gateway", "accountant"})
SECRET_FACTS = frozenset({"keys", "console_url"})
"""What control says once for the ready file; state.json and status are read by more people than that."""
SETTLED_FAILURES = 3
"""After so many failures in a row nobody waits for the part any more; it is listed as degraded."""


@dataclass(slots=True)
class Part:
    """One place: `control`, `accountant`, `gateway.N` or `runtime.NAME`."""

    name: str
    role: str
    slot: int
    options: Mapping[str, object]
    listeners: tuple[socket.socket, ...] = ()
    current: Child | None = None
    """Who fills the place; None between a death and the next start."""
    successor: Child | None = None
    """Who will, during a rolling restart."""
    leaving: list[Child] = field(default_factory=list)
    """Told to drain, still alive."""
    lives: int = 0
    """How many processes were ever started here; the next one's life number."""
    failures: int = 0
    """Unwanted ends in a row."""
    last_end: str = ""
    """Why the last process ended unwanted, in words."""
    is_wanted: bool = True
    restart_timer: asyncio.TimerHandle | None = None
    renewing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by whoever replaces the process: one successor at a time."""

    @property
    def is_ready(self) -> bool:
        return self.current is not None and self.current.state == READY

    @property
    def is_settled(self) -> bool:
        """It works, or it is known not to."""
        return self.is_ready or self.failures >= SETTLED_FAILURES

    def children(self) -> Iterator[Child]:
        """Every process of this place that may be alive."""
        if self.current is not None:
            yield self.current
        if self.successor is not None:
            yield self.successor
        yield from self.leaving

    def forget(self, child: Child) -> bool:
        """Removes a dead child; True if the place is now empty."""
        if child in self.leaving:
            self.leaving.remove(child)
        if child is self.successor:
            self.successor = None
        if child is self.current:
            self.current = None
            return True
        return False

    def count_failure(self, child: Child, now_ns: int) -> None:
        """Notes an unwanted end; one after a stable life counts as the first."""
        was_stable = child.ready_ns is not None and now_ns - child.ready_ns >= STABLE_S * 1e9
        self.failures = 1 if was_stable else self.failures + 1
        if child.ready_ns is not None and self.role in WAITED_FOR_ROLES:
            self.failures = min(self.failures, READY_FAILURES_MAX)
        self.last_end = child.exit_text() + (f": {child.end_reason}" if child.end_reason else "")

    def view(self) -> list[dict[str, object]]:
        """Its lines in state.json: one per live process, or one that says that there is none."""
        rows: list[dict[str, object]] = [
            {
                "name": self.name,
                "role": self.role,
                "slot": self.slot,
                "life": child.life,
                "pid": child.pid,
                "start_ticks": child.start_ticks,
                "state": "draining" if child.leaving else child.state,
                "reason": child.reason,
                "facts": {name: fact for name, fact in child.facts.items() if name not in SECRET_FACTS},
                "failures": self.failures,
                **self._story(),
            }
            for child in self.children()
        ]
        return rows or [
            {
                "name": self.name,
                "role": self.role,
                "slot": self.slot,
                "life": self.lives,
                "pid": None,
                "start_ticks": None,
                "state": "down",
                "reason": self.last_end,
                "facts": {},
                "failures": self.failures,
                **self._story(),
            }
        ]

    def _story(self) -> dict[str, object]:
        """What every line of the part says, whoever fills it now."""
        spec = self.options.get("spec")
        hosted = {"model": spec.get("model")} if isinstance(spec, Mapping) else {}
        return {"last_end": self.last_end, **hosted}


def restart_delay_s(failures: int, random_share: float | None = None) -> float:
    """How long to wait before the next start: doubling from RESTART_BASE_S to RESTART_CAP_S, upper half jittered.

    `random_share` in 0 to 1 stands for chance; None draws it. The first failure waits at most RESTART_BASE_S, since
    a single death should cost callers nothing that they notice.
    """
    share = random.random() if random_share is None else random_share  # noqa: S311 - jitter guards nothing
    ceiling = min(RESTART_CAP_S, RESTART_BASE_S * 2.0 ** min(failures - 1, 30))
    return ceiling * (0.5 + 0.5 * share)
