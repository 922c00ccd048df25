"""The rollups of whole days that are over, folded from their hours.

In: a connection to a day. Out: its rollups; written only as the sum of what stands in its hours at that moment, in
one transaction. A day has all of them or none. Must not know an entry.
"""

import logging
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, insert, select

from lineclear.domain import histogram
from lineclear.domain.entry import DAY_US, HOUR_US
from lineclear.store.ledger_tables import day_rollups, rollups
from lineclear.store.rollup import Rollup, RollupKey
from lineclear.store.standing_rollups import SUM_MAX, read_rollups, rollup_of, whole_and_bare

HOURS_PER_DAY = DAY_US // HOUR_US

_COLUMNS = tuple(column.name for column in day_rollups.columns)
_SELECT = whole_and_bare(day_rollups)
_log = logging.getLogger("lineclear.ledger")


def fold_day(tx: Connection, day: int) -> bool:
    """Write a day's rollups anew from its hours; False if it has to stay without: a sum is damaged or too large."""
    forget_day(tx, day)
    total: dict[RollupKey, Rollup] = {}
    first, last = hours_of(day)
    try:
        for key, rollup in read_rollups(tx, first, last):
            total.setdefault((day, *key[1:]), Rollup()).add(rollup)
    except msgspec.DecodeError as error:
        _log.warning("the hours of day %d are not summed up, a histogram of them is damaged: %s", day, error)
        return False
    if any(max(rollup.sums) > SUM_MAX for rollup in total.values()):
        _log.warning("the hours of day %d are not summed up, their sums are beyond any real figure", day)
        return False
    rows = [_row_of(key, rollup) for key, rollup in total.items()]
    if rows:
        tx.execute(insert(day_rollups), rows)
    return True


def forget_day(tx: Connection, day: int) -> None:
    """Take a day's rollups away, because its hours change."""
    tx.execute(delete(day_rollups).where(day_rollups.c.day == day))


def read_day(
    connection: Connection, day: int, only: Mapping[str, str] | None = None, *, with_histograms: bool = True
) -> list[tuple[RollupKey, Rollup]] | None:
    """A day's rollups, `only` those of these dimensions; None if the day is not folded."""
    wanted = [day_rollups.c[name] == value for name, value in (only or {}).items()]
    statement = _SELECT[with_histograms].where(day_rollups.c.day == day, *wanted)
    found = [rollup_of(row) for row in connection.execute(statement).all()]
    return found if found or is_folded(connection, day) else None


def is_folded(connection: Connection, day: int) -> bool:
    """Whether a day has its rollups."""
    return connection.execute(select(day_rollups.c.day).where(day_rollups.c.day == day).limit(1)).first() is not None


def has_hours(connection: Connection, day: int) -> bool:
    """Whether there is anything to fold."""
    statement = select(rollups.c.hour).where(rollups.c.hour.between(*hours_of(day))).limit(1)
    return connection.execute(statement).first() is not None


def hours_of(day: int) -> tuple[int, int]:
    """A day's first and last hour."""
    return day * HOURS_PER_DAY, (day + 1) * HOURS_PER_DAY - 1


def _row_of(key: RollupKey, rollup: Rollup) -> dict[str, Any]:
    # Any: text, int and bytes
    histograms = (histogram.encode(rollup.durations), histogram.encode(rollup.first_events))
    return dict(zip(_COLUMNS, (*key, *rollup.sums, *histograms), strict=True))
