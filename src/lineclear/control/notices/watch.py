"""The threads that tell people: one reads the audit trail on, one tries deliveries that are due, each once a second.

In: the outbox, the sender. Out: looks. Whatever goes wrong in a look is told in the log and tried again. No inbox
waits for a receiver, and no end of control either.
"""

import logging
import threading
from collections.abc import Callable
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
CLOSE_S: Final = 5.0
"""For what is being written; what is being sent is not waited for."""
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
        self._complaints: dict[str, str] = {}
        self._swept_us = 0
        self._threads = [
            threading.Thread(target=self._run, args=(look,), name="notices", daemon=True)
            for look in (self._tell, self._send)
        ]

    def start(self) -> None:
        """Begin to look; what was under way goes on from where it stands in the database."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End after the looks under way, without waiting for receivers."""
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(CLOSE_S)

    def look(self) -> None:
        """Tell once, and send until what was begun with has ended; raises nothing."""
        self._guarded(self._tell)
        self._guarded(self._send_whole)

    def _tell(self) -> None:
        while self._outbox.take() and not self._stop.is_set():
            pass
        self._sweep()

    def _send(self) -> None:
        self._sender.send_due(self._stop)

    def _send_whole(self) -> None:
        self._send()
        self._sender.wait(self._stop)

    def _guarded(self, act: Callable[[], None]) -> None:
        what = "made" if act == self._tell else "sent"
        complaint = ""
        try:
            act()
        except Exception as error:  # noqa: BLE001 - the edge of these threads: told, and tried again
            complaint = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            if complaint != self._complaints.get(what):
                where = None if isinstance(error, SQLAlchemyError | OSError | LineclearError) else error
                _log.error("notices are not %s: %s", what, complaint, exc_info=where)
        if self._complaints.get(what) and not complaint:
            _log.info("notices are %s again", what)
        self._complaints[what] = complaint

    def _sweep(self) -> None:
        now_us = self._clock.unix_us()
        if now_us - self._swept_us >= SWEEP_S * US_PER_S:
            with self._database.write() as tx:
                notice_rows.forget_notices(tx, now_us - KEPT_S * US_PER_S)
            self._outbox.remind()
            self._swept_us = now_us

    def _run(self, act: Callable[[], None]) -> None:
        while not self._stop.wait(LOOK_S):
            self._guarded(act)
