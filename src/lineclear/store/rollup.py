"""Folds entry rows into hour rollups: sums by the nine dimensions, with two histograms.

In: rows in the order of `ENTRY_COLUMNS` and the facets they name. Out: rollups that add up. Used for
writing, and again by `ledger check`, so that both figures come from one rule. No SQL here.
"""

from collections.abc import Iterable, Mapping
from operator import add
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
_TOKENS = slice(ENTRY_COLUMNS.index("input_tokens"), ENTRY_COLUMNS.index("audio_output_tokens") + 1)
_COST = ENTRY_COLUMNS.index("cost_nano_usd")
_WASTE = ENTRY_COLUMNS.index("waste_nano_usd")
_BASIS = FACET_COLUMNS.index("cost_basis")
_DIMENSION_COUNT = len(DIMENSIONS)

_SUMS = {name: place for place, name in enumerate(ROLLUP_SUMS)}
_REQUESTS_SUM = _SUMS["requests"]
_ATTEMPTS_SUM = _SUMS["attempts"]
_RETRIED_SUM = _SUMS["retried_requests"]
_TOKENS_SUM = _SUMS["input_tokens"]
_WASTE_SUM = _SUMS["waste_nano_usd"]
_DURATION_SUM = _SUMS["duration_us"]
_FIRST_EVENT_SUM = _SUMS["first_event_us"]
_BASIS_SUMS: Mapping[str, tuple[int, int | None]] = {
    CostBasis.REPORTED.value: (_SUMS["reported_nano_usd"], None),
    CostBasis.PRICED.value: (_SUMS["priced_nano_usd"], None),
    CostBasis.ESTIMATED.value: (_SUMS["estimated_nano_usd"], _SUMS["estimated_requests"]),
    # An unpriced entry's cost is 0 by definition; whatever stands there is added to no money column but this.
    CostBasis.UNPRICED.value: (_SUMS["estimated_nano_usd"], _SUMS["unpriced_requests"]),
}
"""By cost basis: the sum that the cost goes to, and the one that counts the entry."""


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
        self.sums = list(map(add, self.sums, other.sums))
        for mine, its in ((self.durations, other.durations), (self.first_events, other.first_events)):
            _add_counts(mine, its)


def fold_rows(rows: Iterable[EntryRow], facet_values: Mapping[int, FacetValues]) -> dict[RollupKey, Rollup]:
    """Sum rows by hour and dimensions.

    Raises:
        KeyError: if a row names a facet that is not given.
    """
    rollups: dict[RollupKey, Rollup] = {}
    # Many facets share one rollup, and its long key is slow to hash: each facet looks for its rollup once an hour.
    by_hour: dict[int, dict[int, tuple[Rollup, tuple[int, int | None]]]] = {}
    for row in rows:
        hour = row[_SETTLED] // HOUR_US
        by_facet = by_hour.get(hour)
        if by_facet is None:
            by_facet = by_hour[hour] = {}
        found = by_facet.get(row[_FACET])
        if found is None:
            values = facet_values[row[_FACET]]
            key = (hour, *values[:_DIMENSION_COUNT])
            rollup = rollups.get(key)
            if rollup is None:
                rollup = rollups[key] = Rollup()
            found = by_facet[row[_FACET]] = (rollup, _BASIS_SUMS[values[_BASIS]])
        _add_row(found[0], row, found[1])
    return rollups


def _add_row(rollup: Rollup, row: EntryRow, basis_sums: tuple[int, int | None]) -> None:
    sums = rollup.sums
    sums[_REQUESTS_SUM] += 1
    attempts = row[_ATTEMPTS]
    sums[_ATTEMPTS_SUM] += attempts
    if attempts > 1:
        sums[_RETRIED_SUM] += 1
    place = _TOKENS_SUM
    for tokens in row[_TOKENS]:
        # Most kinds of tokens are not in most exchanges.
        if tokens:
            sums[place] += tokens
        place += 1
    money, counter = basis_sums
    sums[money] += row[_COST]
    if counter is not None:
        sums[counter] += 1
    sums[_WASTE_SUM] += row[_WASTE]
    duration_us, first_event_us = row[_DURATION], row[_FIRST_EVENT]
    sums[_DURATION_SUM] += duration_us
    bucket = bucket_of(duration_us)
    rollup.durations[bucket] = rollup.durations.get(bucket, 0) + 1
    if first_event_us:
        sums[_FIRST_EVENT_SUM] += first_event_us
        bucket = bucket_of(first_event_us)
        rollup.first_events[bucket] = rollup.first_events.get(bucket, 0) + 1


def _add_counts(mine: Histogram, its: Mapping[int, int]) -> None:
    if not mine:
        mine.update(its)
        return
    before = mine.get
    for bucket, count in its.items():
        mine[bucket] = before(bucket, 0) + count
