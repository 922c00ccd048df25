"""The thread that tells people: it reads the audit trail on, and tries deliveries that are due, once a second.

In: the outbox, the sender. Out: looks. Whatever goes wrong in a look is told in the log and tried again.
"""

import logging
import threading
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from lineclear.base.clock import Clock
from lineclear.control.notices.outbox import Outbox
from lineclear.control.notices.sending import Sender
from lineclear.domain.errors import LineclearError
from lineclear.domain.notices import US_PER_S
from lineclear.store import notice_rows
from lineclear.store.database import Database

LOOK_S: Final = 1.0
CLOSE_S: Final = 20.0
"""A letter or a post under way ends by itself before that."""
KEPT_S: Final = 365 * 86_400
SWEEP_S: Final = 3_600

_log = logging.getLogger(__name__)


class NoticeWatch:
    """Looks, waits, looks."""

    def __init__(self, outbox: Outbox, sender: Sender, database: Database, clock: Clock) -> None:
        """Nothing runs yet."""
        self._outbox = outbox
        self._sender = sender
        self._database = database
        self._clock = clock
        self._stop = threading.Event()
        self._complaint = ""
        self._swept_us = 0
        self._thread = threading.Thread(target=self._run, name="notices", daemon=True)

    def start(self) -> None:
        """Begin to look; what was under way goes on from where it stands in the database."""
        self._thread.start()

    def close(self) -> None:
        """End after the look under way."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)

    def look(self) -> None:
        """Look once; raises nothing."""
        try:
            while self._outbox.take() and not self._stop.is_set():
                pass
            self._sender.send_due()
            self._sweep()
        except Exception as error:  # noqa: BLE001 - the edge of this thread: told, and tried again
            words = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            if words != self._complaint:
                where = None if isinstance(error, SQLAlchemyError | OSError | LineclearError) else error
                _log.error("notices are not sent: %s", words, exc_info=where)
            self._complaint = words
        else:
            if self._complaint:
                _log.info("notices are sent again")
            self._complaint = ""

    def _sweep(self) -> None:
        now_us = self._clock.unix_us()
        if now_us - self._swept_us >= SWEEP_S * US_PER_S:
            with self._database.write() as tx:
                notice_rows.forget_notices(tx, now_us - KEPT_S * US_PER_S)
            self._swept_us = now_us

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            self.look()
