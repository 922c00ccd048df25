"""Looks at control's database beside the process that may be writing it, and changes nothing.

In: a URL or a path. Out: where its tables stand and whether the file is whole.
"""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from lineclear.domain.errors import ErrorCode, PlatformFault
from lineclear.store.database import Database
from lineclear.store.migrate import Lineage, MigrationState, migration_state

QUICK_CHECK_BYTES_MAX = 512 * 1024**2
"""A larger SQLite file is opened and not read through."""


@dataclass(frozen=True)
class DatabaseLook:
    """What was seen."""

    migrations: MigrationState
    damage: str
    """The first thing that is wrong with the file; empty if nothing is, or if it was not read through."""


def look_at_control(place: str | Path) -> DatabaseLook:
    """Open control's database for reading only.

    Raises:
        PlatformFault: if it cannot be opened or read; the message holds nothing of a URL.
    """
    try:
        database = Database.open_reader(place)
    except ImportError as error:
        raise _unreadable("its driver is not installed: pip install 'lineclear[postgres]'") from error
    try:
        state = migration_state(database, Lineage.CONTROL)
        is_read = isinstance(place, Path) and place.stat().st_size <= QUICK_CHECK_BYTES_MAX
        return DatabaseLook(state, _damage(database) if is_read else "")
    except DBAPIError as error:
        # A URL may hold a password, and drivers repeat it; of a file the reason is told whole.
        reason = str(error.orig) if isinstance(place, Path) else type(error.orig).__name__
        raise _unreadable(reason) from error
    finally:
        database.close()


def _damage(database: Database) -> str:
    with database.read() as tx:
        found = str(tx.exec_driver_sql("PRAGMA quick_check(1)").scalar_one())
    return "" if found == "ok" else found


def _unreadable(reason: str) -> PlatformFault:
    return PlatformFault(ErrorCode.INTERNAL_ERROR, f"the database cannot be read: {reason}")
