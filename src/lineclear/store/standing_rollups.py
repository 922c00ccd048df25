"""The rollups that stand in the ledger, kept in memory by the one who adds to them.

In: the sums of a batch and its open transaction. Out: the rows to write, each what stood there plus what is new.
Reads from the database only what it does not hold, or all of it when somebody else has written there.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, select, tuple_

from lineclear.domain import histogram
from lineclear.store.ledger_tables import DIMENSIONS, ROLLUP_SUMS, rollups
from lineclear.store.rollup import Rollup, RollupKey

ROLLUPS_KEPT_MAX = 5_000
"""Rollups held in memory, about 3 kB each; when there are more, memory begins anew."""
KEYS_PER_STATEMENT = 50
"""Rollup keys looked up by one statement: ten values each, far below every driver's limit of parameters."""
SUM_MAX = 2**63 - 1

# Places in a row of `rollups`: by name, each of its thirty values would be looked up.
_KEY = slice(0, 1 + len(DIMENSIONS))
_SUMS = slice(1 + len(DIMENSIONS), 1 + len(DIMENSIONS) + len(ROLLUP_SUMS))
_DURATIONS, _FIRST_EVENTS = _SUMS.stop, _SUMS.stop + 1

_KEY_COLUMNS = tuple_(rollups.c.hour, *(rollups.c[name] for name in DIMENSIONS))


class StandingRollups:
    """The totals of the rollups written last. Call `forget` whenever a transaction that was added to is undone."""

    def __init__(self) -> None:
        self._totals: dict[RollupKey, Rollup] = {}
        self._state: tuple[object, int] | None = None
        """The connection the totals were written through, and how SQLite then named the file's state."""

    def add(self, tx: Connection, folded: Mapping[RollupKey, Rollup]) -> list[tuple[Any, ...]]:
        """Rows in the order of the table's columns that hold what stands there plus `folded`.

        The transaction must keep others from writing until it ends. Any: text, int and bytes.
        """
        state = _state_of(tx)
        if state is None or state != self._state or len(self._totals) > ROLLUPS_KEPT_MAX:
            self._totals.clear()
        self._state = state
        totals = self._totals
        _read_into(totals, tx, [key for key in folded if key not in totals])
        rows = []
        for key, rollup in folded.items():
            total = totals.get(key)
            if total is None:
                total = totals[key] = Rollup()
            total.add(rollup)
            if max(total.sums) > SUM_MAX:
                total.sums = [min(figure, SUM_MAX) for figure in total.sums]
            rows.append((*key, *total.sums, histogram.encode(total.durations), histogram.encode(total.first_events)))
        return rows

    def forget(self) -> None:
        """Hold nothing: what was added may not have been written."""
        self._totals.clear()
        self._state = None


def read_rollups(
    connection: Connection,
    first_hour: int,
    last_hour: int,
    only: Mapping[str, str] | None = None,
    *,
    with_histograms: bool = True,
) -> Iterator[tuple[RollupKey, Rollup]]:
    """The rollups of the hours from `first_hour` to `last_hour`, both included; `only` those of these dimensions."""
    wanted = [rollups.c[name] == value for name, value in (only or {}).items()]
    statement = _SELECT[with_histograms].where(rollups.c.hour.between(first_hour, last_hour), *wanted)
    for row in connection.execute(statement):
        yield rollup_of(row)


def whole_and_bare(table: Table) -> Mapping[bool, Select[Any]]:
    """What to ask of `rollups` or `day_rollups` with histograms (True) and without: they are half of the work.

    Made once, because to make a statement of so many columns costs as much as to carry it out. Any: of several types.
    """
    return {True: select(table), False: select(*list(table.columns)[:_DURATIONS])}


def rollup_of(row: Row[Any]) -> tuple[RollupKey, Rollup]:
    """A row of `whole_and_bare` as its key and its sums; without histograms where it has none. Any: as there."""
    rollup = Rollup()
    rollup.sums = list(row[_SUMS])
    if len(row) > _DURATIONS:
        rollup.durations = histogram.decode(bytes(row[_DURATIONS]))
        rollup.first_events = histogram.decode(bytes(row[_FIRST_EVENTS]))
    return tuple(row[_KEY]), rollup


_SELECT = whole_and_bare(rollups)


def _state_of(tx: Connection) -> tuple[object, int] | None:
    """Equal as long as nobody else wrote to the file; None where a database cannot say so."""
    if tx.dialect.name != "sqlite":
        return None
    # It changes with every commit of another connection and with none of this one.
    version: int = tx.exec_driver_sql("PRAGMA data_version").scalar_one()
    return tx.connection.driver_connection, version


def _read_into(totals: dict[RollupKey, Rollup], tx: Connection, keys: Sequence[RollupKey]) -> None:
    for start in range(0, len(keys), KEYS_PER_STATEMENT):
        found = tx.execute(select(rollups).where(_KEY_COLUMNS.in_(keys[start : start + KEYS_PER_STATEMENT])))
        totals.update(rollup_of(row) for row in found)
