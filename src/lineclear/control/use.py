"""Writing down that a credential was used: wanted, and never a reason to refuse the call that it came with.

In: a database, the write. Out: nothing. Rollbacks and stops work while the database cannot be written, so whoever makes
them has to be recognised then too. Must not be used for anything that a later call decides by.
"""

import logging
from collections.abc import Callable

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from lineclear.domain.errors import PlatformFault
from lineclear.store.database import Database

_log = logging.getLogger(__name__)


def note_use(database: Database, work: Callable[[Connection], None]) -> None:
    """Write it if it can be written; else the log says so, and what is stored stands as it was."""
    try:
        with database.write() as tx:
            work(tx)
    except (DBAPIError, PoolTimeout, PlatformFault) as error:
        _log.warning("the use of a credential was not written down: %s", error)
