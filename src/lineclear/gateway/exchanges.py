"""Exchanges under way in one worker, so that an override which asks for it ends them too.

In: each exchange from before its intent to its settle; entries of the override journal. Out: the exchanges that such
an entry is about end with its error, wherever they wait. Must not: send or settle, which the walk does on hearing of
it; cost a call more than a place in a dict.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final, assert_never

from lineclear.domain.cut import Cutting, cut_error, cutting
from lineclear.domain.overrides import STOP_ALL, Block, OverrideEntry, Revoke, Stop, scope_parts
from lineclear.gateway.plan import Planned
from lineclear.gateway.snapshot import Snapshot
from lineclear.gateway.trace import Trace, is_target

CUTS_KEPT: Final = 1_000
"""Cutting overrides that calls are held against which were judged before them and begin after; the oldest go first."""


class OpenExchanges:
    """One worker's. Belongs to its loop."""

    def __init__(self) -> None:
        self._open: dict[Trace, Planned] = {}
        self._cuts: deque[tuple[OverrideEntry, Cutting]] = deque(maxlen=CUTS_KEPT)
        self._last_cut = 0
        self.seen = 0
        """The journal's highest sequence that open exchanges were held against."""
        self.ended = 0
        """How many were ended since the worker began."""

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, trace: Trace, planned: Planned, snapshot: Snapshot) -> None:
        """An exchange begins, judged by this snapshot. What cut meanwhile, such as while its body came, ends it too."""
        self._open[trace] = planned
        if snapshot.overrides < self._last_cut:
            for entry, fact in self._cuts:
                if entry.sequence > snapshot.overrides:
                    self._hold_against(trace, planned, entry, fact)

    def leave(self, trace: Trace) -> None:
        """The exchange is about to be settled."""
        self._open.pop(trace, None)

    def cut(self, entries: Sequence[OverrideEntry]) -> int:
        """Hold what is under way against entries that were not seen yet.

        Returns:
            How many exchanges ended by it.
        """
        before = self.ended
        for entry in entries:
            if entry.sequence <= self.seen:
                continue
            self.seen = entry.sequence
            fact = cutting(entry)
            if fact is not None:
                self._last_cut = entry.sequence
                self._cuts.append((entry, fact))
                for trace, planned in tuple(self._open.items()):
                    self._hold_against(trace, planned, entry, fact)
        return self.ended - before

    def _hold_against(self, trace: Trace, planned: Planned, entry: OverrideEntry, fact: Cutting) -> None:
        if trace.gone or trace.cut is not None:
            return
        target = _target(fact)
        if target:
            # Each exchange has an error of its own: an exception that is raised twice grows its traceback.
            trace.barred += ((target, cut_error(entry, fact)),)
            is_meant = trace.candidate is not None and is_target(trace.candidate, target)
        else:
            is_meant = _is_about(fact, planned)
        if is_meant:
            self.ended += 1
            trace.end(cut_error(entry, fact))


def _target(fact: Cutting) -> str:
    """The target that the override closes, as `is_target` takes it; empty if it is about callers or routes."""
    match fact:
        case Block(model=model):
            return model
        case Stop(scope=scope):
            return scope if scope_parts(scope)[0] == "provider" else ""
        case Revoke():
            return ""
        case _:
            assert_never(fact)


def _is_about(fact: Cutting, planned: Planned) -> bool:
    admitted = planned.admitted
    identified = admitted.parsed.identified
    # What ends the calls of an app or a key ends the copies of them.
    identified = identified.copied or identified
    match fact:
        case Revoke(key_id=key_id):
            return identified.key_id == key_id
        case Stop(scope=scope):
            route = f"route:{identified.environment}/{admitted.route.name}"
            return scope in (STOP_ALL, f"app:{identified.app.name}", route)
        case Block():
            return False
        case _:
            assert_never(fact)
