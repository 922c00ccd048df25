"""One replay while it is carried out: what is left to ask, what was spent, and whether another call may begin.

In: results as they come. Out: the next call, or none. Shared by the threads that make its calls. Must not make one.
"""

import threading
from collections import deque
from dataclasses import dataclass, field, replace

from lineclear.domain.evidence import Arm
from lineclear.domain.money import CostBasis, usd_text
from lineclear.domain.replay import ANSWERED, Case, ReplayState, Side
from lineclear.store.replay_rows import ReplayRow, ResultRow


@dataclass
class Run:
    """What its threads share; `gate` guards all of it."""

    row: ReplayRow
    cases: list[Case]
    sides: dict[Arm, Side]
    left: deque[tuple[int, Arm]]
    spent_nano_usd: int
    dearest_nano_usd: int
    answered: int
    text_bytes: int
    in_flight: int = 0
    end: tuple[ReplayState, str] | None = None
    """Set once there is nothing more to begin."""
    over: threading.Event = field(default_factory=threading.Event)
    gate: threading.Condition = field(default_factory=threading.Condition)

    def take(self) -> tuple[int, Arm] | None:
        """The next call, once the cap has room for it; None if there is none to make any more."""
        with self.gate:
            while not self.over.is_set():
                if not self.left:
                    return None
                # Until a first answer tells what a call costs, there is one at a time.
                is_known = self.in_flight == 0 or self.answered > 0
                worst = self.spent_nano_usd + (self.in_flight + 1) * self.dearest_nano_usd
                if is_known and worst <= self.row.spend_cap_nano_usd and not self._is_used_up():
                    self.in_flight += 1
                    return self.left.popleft()
                if self.in_flight == 0:
                    self.finish(ReplayState.STOPPED, self._cap_words())
                    return None
                self.gate.wait()
            return None

    def estimated(self, result: ResultRow, paid_before_nano_usd: int) -> ResultRow:
        """A result whose cost was not told, counted as the dearest one so far; as it is if none was told yet."""
        with self.gate:
            if not self.answered:
                return result
            cost = self.dearest_nano_usd + paid_before_nano_usd
            return replace(result, cost_nano_usd=cost, cost_basis=CostBasis.ESTIMATED.value)

    def count(self, result: ResultRow, paid_before_nano_usd: int) -> None:
        """A result is kept; so much of its cost was counted before."""
        with self.gate:
            self.text_bytes += result.text_bytes
            self.answered += result.status == ANSWERED
            cost = result.cost_nano_usd
            if cost is None:
                is_unpriced = result.cost_basis == CostBasis.UNPRICED.value
                words = "has no price" if is_unpriced else "answered at such length that the cost was not told"
                self.finish(
                    ReplayState.STOPPED, f"model {result.model} {words}, so that no spend cap can be held to it"
                )
            else:
                self.spent_nano_usd += cost - paid_before_nano_usd
                self.dearest_nano_usd = max(self.dearest_nano_usd, cost - paid_before_nano_usd)

    def pay(self, cost_nano_usd: int | None) -> int:
        """A try is over and may be followed by another, if the cap has room; None = it was lost, as the dearest one.

        Returns:
            What it counts as.
        """
        with self.gate:
            cost = self.dearest_nano_usd if cost_nano_usd is None else cost_nano_usd
            self.spent_nano_usd += cost
            self.dearest_nano_usd = max(self.dearest_nano_usd, cost)
            if self.spent_nano_usd + self.in_flight * self.dearest_nano_usd > self.row.spend_cap_nano_usd and cost:
                self.finish(ReplayState.STOPPED, self._cap_words())
            return cost

    def give_back(self) -> None:
        with self.gate:
            self.in_flight -= 1
            self.gate.notify_all()

    def finish(self, state: ReplayState, reason: str) -> None:
        """No further call is made."""
        with self.gate:
            self.end = self.end or (state, reason)
            self.over.set()
            self.gate.notify_all()

    def break_off(self) -> None:
        """No further call is made now; the replay stays open."""
        with self.gate:
            self.over.set()
            self.gate.notify_all()

    def _is_used_up(self) -> bool:
        return self.spent_nano_usd > 0 and self.spent_nano_usd >= self.row.spend_cap_nano_usd

    def _cap_words(self) -> str:
        return (
            f"the spend cap of {usd_text(self.row.spend_cap_nano_usd)} USD has no room for another call: "
            f"{usd_text(self.spent_nano_usd)} USD were spent, {len(self.left)} calls were not made"
        )
