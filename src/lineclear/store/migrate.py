"""Brings a database's tables to this program's shape, under a lock, before anything reads them.

In: an open Database and a lineage. Out: tables. `control` is what people change; `ledger` is what happened
(its own SQLite file per day, the same PostgreSQL database). Each lineage has its own version table.
Must not be called inside a transaction of the same database.
"""

import re
import threading
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Final

from sqlalchemy import Column, Connection, MetaData, String, Table, insert, inspect, select

from lineclear.domain.errors import ErrorCode, PlatformFault
from lineclear.store import access_tables, drill_rows, eval_rows, notice_rows, replay_rows, rollout_rows
from lineclear.store.control_tables import CONTROL
from lineclear.store.database import Database
from lineclear.store.ledger_tables import LEDGER

MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_LOCK = 0x6C_63_6D_67
"""PostgreSQL advisory lock held while migrating (the letters lcmg), so that two controls cannot both do it."""

# Alembic keeps the migration under way in module variables of its own.
_ONE_AT_A_TIME = threading.Lock()
_REVISION: Final = re.compile(r"(?:control|ledger)_\d{4}")
_REVISION_CHARS_MAX: Final = 32
"""As Alembic's own version table has it."""
_DEFINED_ELSEWHERE: Final = (access_tables, drill_rows, eval_rows, notice_rows, replay_rows, rollout_rows)
"""Modules that add their tables to `CONTROL`: without them a new database would lack theirs."""


class Lineage(StrEnum):
    """A family of tables with a history of its own; its scripts lie in `migrations/<name>/`."""

    CONTROL = "control"
    LEDGER = "ledger"


TABLES: Final[dict[Lineage, MetaData]] = {Lineage.CONTROL: CONTROL, Lineage.LEDGER: LEDGER}


def migrate(database: Database, lineage: Lineage) -> None:
    """Make a lineage's tables, or run what is missing of its migrations; all in one transaction.

    A new database gets the tables of today at once: that is what all migrations lead to, and it spares every first
    start and every new day's file the migrations, and the process the machinery for them.

    Raises:
        PlatformFault: `internal_error` if the database was written by a newer program.
    """
    with _ONE_AT_A_TIME, database.write() as tx:
        if not database.is_sqlite:
            tx.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
        found = current_revisions(tx, lineage)
        _refuse_newer(found, lineage)
        if not found:
            _create(tx, lineage)
        elif found != (newest_revision(lineage),):
            upgrade(tx, lineage)


def _create(tx: Connection, lineage: Lineage) -> None:
    TABLES[lineage].create_all(tx, checkfirst=False)
    versions = _version_table(lineage)
    versions.create(tx)
    tx.execute(insert(versions).values(version_num=newest_revision(lineage)))


def upgrade(tx: Connection, lineage: Lineage) -> None:
    """Run every migration that a lineage's tables have not been through, from the first on if there are none."""
    from alembic import command  # noqa: PLC0415 - a tenth of control's memory and start, for old databases only
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(MIGRATIONS / lineage.value).replace("%", "%%"))
    config.attributes["connection"] = tx
    config.attributes["version_table"] = version_table(lineage)
    command.upgrade(config, "heads")


@dataclass(frozen=True)
class MigrationState:
    """Where a database's tables stand, and where this program's are."""

    found: tuple[str, ...]
    """Revisions of the database; empty if it has no tables of the lineage yet."""
    wanted: tuple[str, ...]
    unknown: tuple[str, ...]
    """Of `found`, those that a newer program wrote."""


def migration_state(database: Database, lineage: Lineage) -> MigrationState:
    """Compare without changing anything.

    Raises:
        sqlalchemy.exc.DBAPIError: if the database cannot be read.
    """
    with database.read() as tx:
        found = current_revisions(tx, lineage)
    return MigrationState(found, (newest_revision(lineage),), _unknown(found, lineage))


def version_table(lineage: Lineage) -> str:
    """The table that holds a lineage's revision, e.g. `control_version`."""
    return f"{lineage.value}_version"


def current_revisions(tx: Connection, lineage: Lineage) -> tuple[str, ...]:
    """The revisions a database stands at; empty if it has no tables of this lineage yet."""
    if not inspect(tx).has_table(version_table(lineage)):
        return ()
    return tuple(tx.execute(select(_version_table(lineage).c.version_num)).scalars())


def newest_revision(lineage: Lineage) -> str:
    """Where all migrations lead: the one with the highest number, whatever the order before it."""
    return max(_known_revisions(lineage))


@cache
def _known_revisions(lineage: Lineage) -> frozenset[str]:
    """A script is named by its revision and a word: `control_0001_tables.py`."""
    names = (path.name for path in (MIGRATIONS / lineage.value).glob("*.py"))
    return frozenset(found[0] for name in names if (found := _REVISION.match(name)))


@cache
def _version_table(lineage: Lineage) -> Table:
    """As Alembic would make it. Source: its tutorial, "version table"."""
    name = version_table(lineage)
    return Table(name, MetaData(), Column("version_num", String(_REVISION_CHARS_MAX), primary_key=True))


def _unknown(found: tuple[str, ...], lineage: Lineage) -> tuple[str, ...]:
    return tuple(name for name in found if name not in _known_revisions(lineage))


def _refuse_newer(found: tuple[str, ...], lineage: Lineage) -> None:
    unknown = _unknown(found, lineage)
    if unknown:
        raise PlatformFault(
            ErrorCode.INTERNAL_ERROR,
            f"the {lineage.value} tables stand at revision {sorted(unknown)!r}, which this program does not know",
            hint="start the newer Lineclear that wrote them, or restore the backup made before the upgrade",
        )
