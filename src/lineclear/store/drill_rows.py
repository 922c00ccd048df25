"""The table of drills: what each one showed.

In: a Connection and results as frozen values. Out: results. Decides nothing: no times, no rules.
"""

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    Integer,
    RowMapping,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
)

from lineclear.domain.drills import DrillResult
from lineclear.store.control_tables import CONTROL

KEPT_MAX = 100
"""Results of one deployment that are kept, its newest ones; the newest that passed is kept besides."""

drills = Table(
    "drills",
    CONTROL,
    Column("environment", Text, primary_key=True),
    Column("route", Text, primary_key=True),
    Column("at_us", BigInteger, primary_key=True, autoincrement=False),
    Column("actor", Text, nullable=False),
    Column("release", Text, nullable=False),
    Column("has_passed", Integer, nullable=False),
    Column("in_s", Float(53), nullable=False),
    Column("acknowledged", Integer, nullable=False),
    Column("silent", Integer, nullable=False),
    Column("reason", Text, nullable=False),
)
"""Drills of rollbacks whose result control saw."""


def add_drill(tx: Connection, result: DrillResult) -> None:
    """Insert a result, and remove what is more than is kept of its deployment."""
    row = msgspec.structs.asdict(result)
    tx.execute(insert(drills).values({**row, "has_passed": int(result.has_passed)}))
    mine = (drills.c.environment == result.environment) & (drills.c.route == result.route)
    oldest = tx.execute(
        select(drills.c.at_us).where(mine).order_by(drills.c.at_us.desc()).offset(KEPT_MAX - 1).limit(1)
    ).scalar()
    if oldest is not None:
        passed_us = tx.execute(select(func.max(drills.c.at_us)).where(mine & (drills.c.has_passed == 1))).scalar()
        gone = mine & (drills.c.at_us < oldest) & (drills.c.at_us != (passed_us or 0))
        tx.execute(delete(drills).where(gone))


def newest_drills(tx: Connection) -> dict[tuple[str, str], DrillResult]:
    """The last one of each deployment, by environment and route."""
    newest = (
        select(drills.c.environment, drills.c.route, func.max(drills.c.at_us).label("at_us"))
        .group_by(drills.c.environment, drills.c.route)
        .subquery()
    )
    query = select(drills).join(
        newest,
        (drills.c.environment == newest.c.environment)
        & (drills.c.route == newest.c.route)
        & (drills.c.at_us == newest.c.at_us),
    )
    found = [_result(row) for row in tx.execute(query).mappings()]
    return {(result.environment, result.route): result for result in found}


def last_passed_us(tx: Connection) -> dict[tuple[str, str], int]:
    """When each deployment passed one last, by environment and route; those that never did are not there."""
    query = (
        select(drills.c.environment, drills.c.route, func.max(drills.c.at_us))
        .where(drills.c.has_passed == 1)
        .group_by(drills.c.environment, drills.c.route)
    )
    return {(environment, route): at_us for environment, route, at_us in tx.execute(query)}


def read_drills(tx: Connection, row_limit: int) -> list[DrillResult]:
    """Newest first."""
    query = select(drills).order_by(drills.c.at_us.desc(), drills.c.environment, drills.c.route).limit(row_limit)
    return [_result(row) for row in tx.execute(query).mappings()]


def _result(row: RowMapping) -> DrillResult:
    return DrillResult(**{**row, "has_passed": bool(row["has_passed"])})
