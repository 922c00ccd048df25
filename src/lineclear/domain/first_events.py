"""The first bad event of each unit: what counts where one unit stays on its arm for many requests.

In: bad events with their unit, time, arm and weight, in any order. Out: counts or sums that `evidence` takes. Requests
of one user fail together, and counted each for itself they raise false rollbacks twentyfold; the first of each unit is
dealt to the candidate with probability w when it happens. A candidate that is better only moves its units' first events
later, to higher weights, where a monotone ramp lets them weigh less, so the bound holds for it too.
Source: release-governance §2.1 (sticky assignment).
"""

from collections.abc import Iterable

import msgspec

from lineclear.domain.evidence import Arm, ArmCounts, BadnessSums, Bets


class FirstEvent(msgspec.Struct, frozen=True, array_like=True):
    at_us: int
    """When the request was assigned, in microseconds since 1970."""
    arm: Arm
    weight_bp: int
    badness: float = 1.0

    def rank(self) -> tuple[int, str, int, float]:
        """A total order, so that two events of one microsecond give one answer in whatever order they come."""
        return self.at_us, self.arm, self.weight_bp, self.badness


class FirstEvents(msgspec.Struct, frozen=True):
    """One event for each unit that had any; the earliest wins. About 200 bytes for each such unit.

    For a guard of 0/1 badness these are bad events. For cost, where every request has some, they are the first request
    of each unit; for the check of the split they are that too, with badness 1.
    """

    by_unit: dict[int, FirstEvent] = {}
    """By the 8-byte hash of the unit."""

    @classmethod
    def gathered(cls, events: Iterable[tuple[int, FirstEvent]]) -> "FirstEvents":
        """From (unit's hash, event), in any order, repeated ones counted once."""
        first: dict[int, FirstEvent] = {}
        for unit, event in events:
            known = first.get(unit)
            if known is None or event.rank() < known.rank():
                first[unit] = event
        return cls(first)

    def merge(self, other: "FirstEvents") -> "FirstEvents":
        """The earlier event of each unit."""
        return FirstEvents.gathered((*self.by_unit.items(), *other.by_unit.items()))

    def counts(self) -> ArmCounts:
        """For `ArmCounts.log_e`.

        Raises:
            ValueError: if an event has a weight that compares no two arms.
        """
        return ArmCounts.counted((event.arm, event.weight_bp, 1) for event in self.by_unit.values())

    def sums(self, bets: Bets) -> BadnessSums:
        """For badness between 0 and 1.

        Raises:
            ValueError: if an event has a weight that compares no two arms, or a badness outside 0 to 1.
        """
        return BadnessSums.summed(
            bets, ((event.arm, event.weight_bp, event.badness) for event in self.by_unit.values())
        )
