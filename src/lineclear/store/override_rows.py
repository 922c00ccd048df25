"""Reads and writes what was taken over from the override journal, inside a transaction that the caller holds.

In: a Connection and rows as frozen values. Out: rows. Decides nothing: no times, no rules.
"""

from dataclasses import asdict, dataclass

from sqlalchemy import Connection, delete, func, insert, select

from lineclear.store import control_tables as tables


@dataclass(frozen=True)
class OverrideRow:
    sequence: int
    at_us: int
    actor: str
    reason: str
    kind: str
    object: str
    before: str
    after: str
    problem: str
    """Why it changed nothing; empty if it did."""
    digest: str


@dataclass(frozen=True)
class StopRow:
    scope: str
    at_us: int
    actor: str
    reason: str


def last_override(tx: Connection) -> int:
    """The highest sequence that was taken over; 0 before the first."""
    return int(tx.execute(select(func.max(tables.overrides.c.sequence))).scalar() or 0)


def add_override(tx: Connection, row: OverrideRow) -> None:
    tx.execute(insert(tables.overrides).values(**asdict(row)))


def read_overrides(tx: Connection, row_limit: int) -> list[OverrideRow]:
    """Newest first."""
    query = select(tables.overrides).order_by(tables.overrides.c.sequence.desc()).limit(row_limit)
    return [OverrideRow(**row) for row in tx.execute(query).mappings()]


def put_stop(tx: Connection, row: StopRow) -> None:
    """Insert or replace the stop of a scope."""
    delete_stop(tx, row.scope)
    tx.execute(insert(tables.stops).values(**asdict(row)))


def delete_stop(tx: Connection, scope: str) -> bool:
    """Remove the stop of a scope; False if there was none."""
    return tx.execute(delete(tables.stops).where(tables.stops.c.scope == scope)).rowcount > 0


def read_stops(tx: Connection) -> list[StopRow]:
    """What is stopped, by scope."""
    query = select(tables.stops).order_by(tables.stops.c.scope)
    return [StopRow(**row) for row in tx.execute(query).mappings()]
