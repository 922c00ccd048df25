"""What a ledger check found: counts by kind and the first problems.

In: one finding after another, each from one way of looking. Out: a count per kind. The same damage seen in two
ways counts once, so a kind's count is that of the way that saw most. Must not read the ledger.
"""

from dataclasses import dataclass
from enum import StrEnum

PROBLEMS_SHOWN_MAX = 100


class Wrong(StrEnum):
    """Kinds of problems."""

    MISSING = "missing"
    DOUBLED = "doubled"
    ALTERED = "altered"
    UNSEEN = "unseen"


class Way(StrEnum):
    """How it was seen."""

    ENTRIES = "entries"
    """An entry looked at by itself."""
    SUMS = "sums"
    """Counts and rollups against entries."""
    SPOOL = "spool"
    """What ingest noted while it read."""
    UPSTREAM = "upstream"
    """An upstream's own log."""


@dataclass(frozen=True)
class Problem:
    """One thing that is not as it should be."""

    kind: str
    """Wrong."""
    exchange: str
    """Exchange id, empty if it is not known."""
    detail: str


class Findings:
    """Grows while a check runs."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        """The first PROBLEMS_SHOWN_MAX."""
        self.torn_tails = 0
        self._counts: dict[tuple[Wrong, Way], int] = {}

    def add(self, kind: Wrong, way: Way, exchange: str, detail: str, count: int = 1) -> None:
        """Take one finding that stands for `count` records."""
        self._counts[kind, way] = self._counts.get((kind, way), 0) + count
        if len(self.problems) < PROBLEMS_SHOWN_MAX:
            self.problems.append(Problem(kind.value, exchange, detail))

    def count(self, kind: Wrong) -> int:
        """How many records at least are wrong in this way."""
        return max((count for (its, _), count in self._counts.items() if its is kind), default=0)
