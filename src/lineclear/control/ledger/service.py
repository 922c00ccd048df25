"""The ledger as one part of control: open, follow the spool in a thread, answer, close.

In: the data directory, control's database, the price in force. Out: endpoints of the admin port. Must be the only
one of its kind on a data directory: control.lock sees to that.
"""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import lineclear
from lineclear.base.clock import Clock
from lineclear.control.endpoint import Call, Endpoint, Text
from lineclear.control.ingest.ingest import Ingest
from lineclear.control.ledger.background import BackgroundDesk
from lineclear.control.ledger.http import LedgerDesk, ledger_endpoints
from lineclear.domain.permissions import Permission
from lineclear.handover.checkpoint import accountant_positions
from lineclear.handover.demo_mark import is_demo
from lineclear.observe.explain import PriceOf
from lineclear.observe.metrics import CONTENT_TYPE, Metrics
from lineclear.observe.signals import Signals
from lineclear.store.database import Database
from lineclear.store.ledger import Ledger

STOP_S = 30.0
"""Longest wait at the end for the batch under way; what is not read then is read at the next start."""


class LedgerService:
    """Everything that control does with the ledger."""

    def __init__(
        self,
        data_dir: Path,
        database: Database,
        clock: Clock,
        *,
        price_of: PriceOf,
        revision: Callable[[], int],
        drill_ages: Callable[[], Mapping[tuple[str, str], float]],
    ) -> None:
        """Open the ledger: day files in the data directory, or tables in control's own PostgreSQL database.

        Raises:
            PlatformFault: if it cannot be opened, or a newer program wrote it.
        """
        self._ledger = Ledger.open(data_dir / "ledger" if database.is_sqlite else database)
        self._metrics = Metrics(clock, lineclear.__version__, revision, drill_ages)
        checkpoint = data_dir / "accountant" / "checkpoint"
        self.ingest = Ingest(
            self._ledger,
            data_dir / "spool",
            clock,
            accountant_positions=lambda: accountant_positions(checkpoint),
            listener=self._metrics,
        )
        self.signals = Signals(self._ledger, self.ingest.standing, clock)
        """Evidence of rollouts."""
        self._desk = LedgerDesk(self._ledger, self.ingest, clock, price_of, BackgroundDesk(database))
        self.explain_own = self._desk.explain_own
        """What one app may know of its own request."""
        self._desk.is_demo = is_demo(data_dir)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.ingest.run, args=(self._stop,), name="ingest", daemon=True)

    @property
    def ledger(self) -> Ledger:
        """What happened, for those who read it in their own way."""
        return self._ledger

    def start(self) -> None:
        """Begin to follow the spool; what queued up while control was away is read first."""
        self._thread.start()

    def close(self) -> None:
        """Stop following and close the day files."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(STOP_S)
        self._ledger.close()

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Usage, logs, explain, check, and `/metrics`."""
        return (
            *ledger_endpoints(self._desk),
            Endpoint("GET", "/metrics", Permission.METRICS_READ, self._metrics_text, "Prometheus metrics"),
        )

    def _metrics_text(self, _call: Call) -> Text:
        return Text(self._metrics.text(), CONTENT_TYPE)
