"""Rollups told apart by operation, which is no dimension of theirs: what was asked of one route, chat or embeddings.

In: a day's rollups and its facets. Out: the same sums with their operation. What one combination of dimensions asked
for is mostly one operation, and its rollup is that operation's; only where there were several are its entries read, at
most ENTRIES_READ_MAX for one question. Must not sum anything: `usage` does.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from sqlalchemy import Connection, Row, null, select

from lineclear.domain.entry import HOUR_US
from lineclear.store.ledger_tables import DIMENSIONS, ENTRY_COLUMNS, FACET_COLUMNS, ROLLUP_SUMS, entries, facets
from lineclear.store.rollup import EntryRow, FacetValues, Rollup, RollupKey, fold_rows

OPERATION = "operation"
"""What it is called in a question beside the rollups' dimensions."""
ENTRIES_READ_MAX = 1_000_000
"""Entries of one question, five to ten microseconds each; a question that needs more has to be narrowed."""
ROWS_PER_FOLD = 10_000
FACETS_PER_STATEMENT = 10_000
"""Below every driver's limit of parameters."""

Told: TypeAlias = tuple[str, RollupKey, Rollup]
"""An operation, and a rollup of nothing else."""

_DIMENSION_COUNT = len(DIMENSIONS)
_REQUESTS = ROLLUP_SUMS.index("requests")
_OPERATION = FACET_COLUMNS.index(OPERATION)
_FACET = ENTRY_COLUMNS.index("facet")


class OperationSplit:
    """Tells the rollups of one question apart, day by day."""

    def __init__(self, only: Mapping[str, str], entries_max: int = ENTRIES_READ_MAX) -> None:
        """Take what the question is narrowed by (dimensions, and perhaps the operation) and how much may be read."""
        self._dimensions = {name: value for name, value in only.items() if name != OPERATION}
        self._wanted = only.get(OPERATION)
        self._entries_max = entries_max
        self._read = 0

    def of_day(
        self, connection: Connection, day: int, hours: tuple[int, int], found: Iterable[tuple[RollupKey, Rollup]]
    ) -> Iterator[Told]:
        """A day's rollups, `found` in these hours (both included), by operation.

        Raises:
            ValueError: if more entries than allowed would have to be read.
        """
        operations, values = self._facets(connection)
        mixed: set[tuple[str, ...]] = set()
        for key, rollup in found:
            known = operations.get(key[1:], set())
            if self._wanted is not None and self._wanted not in known:
                continue
            if len(known) > 1:
                mixed.add(key[1:])
                self._count(rollup.sums[_REQUESTS])
            else:
                yield next(iter(known), ""), key, rollup
        if mixed:
            by_operation: dict[str, dict[int, FacetValues]] = {}
            for facet, one in values.items():
                if one[:_DIMENSION_COUNT] in mixed and self._wanted in (None, one[_OPERATION]):
                    by_operation.setdefault(one[_OPERATION], {})[facet] = one
            yield from _read_entries(connection, day, hours, by_operation)

    def _facets(self, connection: Connection) -> tuple[dict[tuple[str, ...], set[str]], dict[int, FacetValues]]:
        """The operations of each combination of dimensions, and every facet that the question is about."""
        operations: dict[tuple[str, ...], set[str]] = {}
        values: dict[int, FacetValues] = {}
        for row in connection.execute(select(facets).where(*(facets.c[n] == v for n, v in self._dimensions.items()))):
            facet: FacetValues = tuple(row[1:])
            values[row[0]] = facet
            operations.setdefault(facet[:_DIMENSION_COUNT], set()).add(facet[_OPERATION])
        return operations, values

    def _count(self, requests: int) -> None:
        self._read += requests
        if self._read > self._entries_max:
            raise ValueError(
                "to tell operations apart where one app asks a route for several, more than "
                f"{self._entries_max:,} entries would have to be read; ask about a shorter time, or one app or route"
            )


def _read_entries(
    connection: Connection, day: int, hours: tuple[int, int], by_operation: Mapping[str, Mapping[int, FacetValues]]
) -> Iterator[Told]:
    known = {facet: values for named in by_operation.values() for facet, values in named.items()}
    operation_of = {facet: operation for operation, named in by_operation.items() for facet in named}
    first_us, end_us = hours[0] * HOUR_US, (hours[1] + 1) * HOUR_US
    # Of an entry's detail nothing is asked here, and it is the largest part of the row.
    columns = [column if column.name != "detail" else null() for column in entries.columns]
    numbers = sorted(known)
    for start in range(0, len(numbers), FACETS_PER_STATEMENT):
        statement = select(*columns).where(
            entries.c.day == day,
            entries.c.facet.in_(numbers[start : start + FACETS_PER_STATEMENT]),
            entries.c.settled_us >= first_us,
            entries.c.settled_us < end_us,
        )
        found = connection.execute(statement, execution_options={"yield_per": ROWS_PER_FOLD})
        for partition in found.partitions():
            yield from _fold(partition, known, operation_of)


def _fold(
    rows: Iterable[Row[Any]], known: Mapping[int, FacetValues], operation_of: Mapping[int, str]
) -> Iterator[Told]:
    # Any: an entry's columns are of several types.
    waiting: dict[str, list[EntryRow]] = {}
    for row in rows:
        waiting.setdefault(operation_of[row[_FACET]], []).append(tuple(row))
    for operation, own in waiting.items():
        for key, rollup in fold_rows(own, known).items():
            yield operation, key, rollup
