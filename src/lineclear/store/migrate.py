"""Brings a database's tables to this program's shape, under a lock, before anything reads them.

In: an open Database and a lineage. Out: tables. `control` is what people change; `ledger` is what happened
(its own SQLite file per day, the same PostgreSQL database). Each lineage has its own version table.
Must not be called inside a transaction of the same database.
"""

import threading
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from lineclear.domain.errors import ErrorCode, PlatformFault
from lineclear.store.database import Database

MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_LOCK = 0x6C_63_6D_67
"""PostgreSQL advisory lock held while migrating (the letters lcmg), so that two controls cannot both do it."""

# Alembic keeps the migration under way in module variables of its own.
_ONE_AT_A_TIME = threading.Lock()


class Lineage(StrEnum):
    """A family of tables with a history of its own; its scripts lie in `migrations/<name>/`."""

    CONTROL = "control"
    LEDGER = "ledger"


def migrate(database: Database, lineage: Lineage) -> None:
    """Run what is missing of a lineage's migrations, all in one transaction.

    Raises:
        PlatformFault: `internal_error` if the database was written by a newer program.
    """
    config = _config(lineage)
    with _ONE_AT_A_TIME, database.write() as tx:
        if not database.is_sqlite:
            tx.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
        scripts = ScriptDirectory.from_config(config)
        found = set(current_revisions(tx, lineage))
        _refuse_newer(found, scripts, lineage)
        if found == set(scripts.get_heads()):
            return
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
    scripts = ScriptDirectory.from_config(_config(lineage))
    known = {script.revision for script in scripts.walk_revisions()}
    with database.read() as tx:
        found = current_revisions(tx, lineage)
    return MigrationState(found, tuple(scripts.get_heads()), tuple(name for name in found if name not in known))


def version_table(lineage: Lineage) -> str:
    """The table that holds a lineage's revision, e.g. `control_version`."""
    return f"{lineage.value}_version"


def current_revisions(tx: Connection, lineage: Lineage) -> tuple[str, ...]:
    """The revisions a database stands at; empty if it has no tables of this lineage yet."""
    return MigrationContext.configure(tx, opts={"version_table": version_table(lineage)}).get_current_heads()


def _config(lineage: Lineage) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(MIGRATIONS / lineage.value).replace("%", "%%"))
    return config


def _refuse_newer(found: set[str], scripts: ScriptDirectory, lineage: Lineage) -> None:
    unknown = found - {script.revision for script in scripts.walk_revisions()}
    if unknown:
        raise PlatformFault(
            ErrorCode.INTERNAL_ERROR,
            f"the {lineage.value} tables stand at revision {sorted(unknown)!r}, which this program does not know",
            hint="start the newer Lineclear that wrote them, or restore the backup made before the upgrade",
        )
