"""Rows of copies that were asked of a candidate, and their sums.

In: a connection to a day. Out: rows, or sums of one run on that day. Decides nothing.
"""

from collections.abc import Sequence

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, case, func, literal, select

from lineclear.domain.ledger import Mirrored, Outcome
from lineclear.domain.shadow import CHANGED, SAME, ShadowSums
from lineclear.store.ledger_tables import mirrored

FIGURE_MAX = 2**53 - 1
FIGURES = ("stable_bytes", "candidate_bytes", "stable_nano_usd", "candidate_nano_usd", "stable_us", "candidate_us")


def add_mirrored(tx: Connection, day: int, records: Sequence[Mirrored]) -> None:
    """Add them."""
    values = []
    for record in records:
        row = {**msgspec.structs.asdict(record), "day": day}
        values.append({**row, **{name: max(0, min(row[name], FIGURE_MAX)) for name in FIGURES}})
    if values:
        tx.execute(mirrored.insert(), values)


def mirrored_sums(connection: Connection, day: int, run: str) -> ShadowSums:
    """What was seen of a run on a day."""
    table = mirrored.c
    stable, candidate = table.stable_outcome == Outcome.OK.value, table.candidate_outcome == Outcome.OK.value
    both = and_(stable, candidate)

    def total(column: ColumnElement[int], condition: ColumnElement[bool]) -> ColumnElement[int]:
        return func.coalesce(func.sum(case((condition, column), else_=0)), 0)

    def count(condition: ColumnElement[bool]) -> ColumnElement[int]:
        return total(literal(1), condition)

    row = connection.execute(
        select(
            count(both),
            count(and_(~stable, ~candidate)),
            count(and_(stable, ~candidate)),
            count(and_(~stable, candidate)),
            count(table.text == SAME),
            count(table.text == CHANGED),
            func.coalesce(func.sum(table.stable_nano_usd), 0),
            func.coalesce(func.sum(table.candidate_nano_usd), 0),
            count(table.is_unpriced),
            total(table.stable_us, both),
            total(table.candidate_us, both),
            total(table.stable_bytes, both),
            total(table.candidate_bytes, both),
            func.coalesce(func.min(table.at_us), 0),
        ).where(table.day == day, table.run == run)
    ).one()
    return ShadowSums(*(int(value) for value in row))
