"""Folds entry rows into hour rollups: sums by the nine dimensions, with two histograms.

In: rows in the order of `ENTRY_COLUMNS` and the facets they name. Out: rollups that add up. Used for
writing, and again by `ledger check`, so that both figures come from one rule. No SQL here.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from lineclear.domain.entry import HOUR_US
from lineclear.domain.histogram import Histogram, bucket_of
from lineclear.domain.money import CostBasis
from lineclear.store.ledger_tables import DIMENSIONS, ENTRY_COLUMNS, FACET_COLUMNS, ROLLUP_SUMS

FacetValues: TypeAlias = tuple[Any, ...]
"""Values in the order of FACET_COLUMNS; Any because they are text, int and bool."""
EntryRow: TypeAlias = tuple[Any, ...]
"""Values in the order of ENTRY_COLUMNS; Any because they are text, int, bytes and None."""
RollupKey: TypeAlias = tuple[Any, ...]
"""The hour, then the nine dimensions."""

_FACET = ENTRY_COLUMNS.index("facet")
_SETTLED = ENTRY_COLUMNS.index("settled_us")
_DURATION = ENTRY_COLUMNS.index("duration_us")
_FIRST_EVENT = ENTRY_COLUMNS.index("first_event_us")
_ATTEMPTS = ENTRY_COLUMNS.index("attempts")
_TOKENS = ENTRY_COLUMNS.index("input_tokens")
_TOKENS_END = ENTRY_COLUMNS.index("audio_output_tokens") + 1
_COST = ENTRY_COLUMNS.index("cost_nano_usd")
_WASTE = ENTRY_COLUMNS.index("waste_nano_usd")
_BASIS = FACET_COLUMNS.index("cost_basis")

_SUMS = {name: place for place, name in enumerate(ROLLUP_SUMS)}
_BASIS_COLUMNS: Mapping[str, tuple[int, int | None]] = {
    CostBasis.REPORTED: (_SUMS["reported_nano_usd"], None),
    CostBasis.PRICED: (_SUMS["priced_nano_usd"], None),
    CostBasis.ESTIMATED: (_SUMS["estimated_nano_usd"], _SUMS["estimated_requests"]),
    # An unpriced entry's cost is 0 by definition; whatever stands there is added to no money column but this.
    CostBasis.UNPRICED: (_SUMS["estimated_nano_usd"], _SUMS["unpriced_requests"]),
}


class Rollup:
    """The growing sums of one hour and one combination of dimensions."""

    __slots__ = ("durations", "first_events", "sums")

    def __init__(self) -> None:
        self.sums = [0] * len(ROLLUP_SUMS)
        """In the order of ROLLUP_SUMS."""
        self.durations: Histogram = {}
        self.first_events: Histogram = {}

    def add(self, other: "Rollup") -> None:
        """Add another rollup's sums to this one."""
        self.sums = [mine + its for mine, its in zip(self.sums, other.sums, strict=True)]
        for mine, its in ((self.durations, other.durations), (self.first_events, other.first_events)):
            _add_counts(mine, its)


def fold_rows(rows: Iterable[EntryRow], facet_values: Mapping[int, FacetValues]) -> dict[RollupKey, Rollup]:
    """Sum rows by hour and dimensions.

    Raises:
        KeyError: if a row names a facet that is not given.
    """
    by_facet: dict[tuple[int, int], list[EntryRow]] = {}
    for row in rows:
        group = (row[_SETTLED] // HOUR_US, row[_FACET])
        found = by_facet.get(group)
        if found is None:
            by_facet[group] = [row]
        else:
            found.append(row)
    # Many facets share one rollup: few long columns are summed faster than many short ones.
    by_key: dict[tuple[RollupKey, str], list[EntryRow]] = {}
    for (hour, facet), facet_rows in by_facet.items():
        values = facet_values[facet]
        key = (hour, *values[: len(DIMENSIONS)])
        by_key.setdefault((key, values[_BASIS]), []).extend(facet_rows)
    rollups: dict[RollupKey, Rollup] = {}
    for (key, basis), key_rows in by_key.items():
        _add_rows(rollups.setdefault(key, Rollup()), key_rows, basis)
    return rollups


def _add_rows(rollup: Rollup, rows: list[EntryRow], basis: str) -> None:
    sums = rollup.sums
    # Column by column: sum() over a column runs in C, a Python loop over every cell does not.
    columns = list(zip(*rows, strict=True))
    attempts = columns[_ATTEMPTS]
    sums[_SUMS["requests"]] += len(rows)
    sums[_SUMS["attempts"]] += sum(attempts)
    sums[_SUMS["retried_requests"]] += sum(1 for count in attempts if count > 1)
    first_token = _SUMS["input_tokens"]
    for place in range(_TOKENS, _TOKENS_END):
        sums[first_token + place - _TOKENS] += sum(columns[place])
    money, counter = _BASIS_COLUMNS[basis]
    sums[money] += sum(columns[_COST])
    if counter is not None:
        sums[counter] += len(rows)
    sums[_SUMS["waste_nano_usd"]] += sum(columns[_WASTE])
    sums[_SUMS["duration_us"]] += sum(columns[_DURATION])
    sums[_SUMS["first_event_us"]] += sum(columns[_FIRST_EVENT])
    _add_counts(rollup.durations, Counter(map(bucket_of, columns[_DURATION])))
    _add_counts(rollup.first_events, Counter(map(bucket_of, filter(None, columns[_FIRST_EVENT]))))


def _add_counts(mine: Histogram, its: Mapping[int, int]) -> None:
    for bucket, count in its.items():
        mine[bucket] = mine.get(bucket, 0) + count
