"""The parts of notices, put together: what control starts, serves and ends."""

from functools import partial

from lineclear.base.clock import Clock
from lineclear.control.endpoint import Endpoint
from lineclear.control.notices import http
from lineclear.control.notices.outbox import AskCallers, Outbox
from lineclear.control.notices.sending import Sender, Ways
from lineclear.control.notices.service import Notices
from lineclear.control.notices.watch import NoticeWatch
from lineclear.control.vault import Vault
from lineclear.observe.behaviour import behaviour_of_releases
from lineclear.store.database import Database
from lineclear.store.ledger import Ledger


class NoticeRoom:
    """Everything that control does with notices."""

    def __init__(
        self, database: Database, clock: Clock, vault: Vault, callers: AskCallers, ledger: Ledger, ways: Ways
    ) -> None:
        """Nothing runs yet.

        Args:
            database: control's.
            clock: of everything here.
            vault: that opens what channels name as secrets.
            callers: who called what.
            ledger: how releases behaved.
            ways: what the server's settings say.
        """
        sender = Sender(database, clock, vault, ways)
        self.watch = NoticeWatch(Outbox(database, clock, callers), sender, database, clock)
        self._notices = Notices(database, clock, sender)
        self._database = database
        self._clock = clock
        self._ledger = ledger

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Inbox, deliveries, tests of channels, changelog."""
        return http.endpoints(self._notices, self._database, self._clock, partial(behaviour_of_releases, self._ledger))
