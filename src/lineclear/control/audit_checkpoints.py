"""Signed checkpoints of the audit trail: every so many events and every so often, so that a cut tail shows.

In: audit rows. Out: rows of `audit_checkpoints`, each a signed tree head over every row up to its number. The key is
derived from the master key; the database never holds it.
"""

import json
import logging
import threading
from collections.abc import Callable

from sqlalchemy import Connection

from lineclear.base.clock import Clock
from lineclear.base.seal import Keys
from lineclear.base.transparency import MerkleTree, NoteSigner, TreeHead
from lineclear.domain.errors import PlatformFault
from lineclear.store import audit_rows
from lineclear.store import control_rows as rows
from lineclear.store.audit_rows import CheckpointRow
from lineclear.store.database import Database

ORIGIN = "lineclear/audit"
CHECKPOINT_EVENTS = 1_000
CHECKPOINT_S = 60.0
LOOK_S = 1.0
PAGE_ROWS = 1_000

_log = logging.getLogger(__name__)


class Checkpoints:
    """Makes checkpoints."""

    def __init__(self, database: Database, clock: Clock, keys: Keys) -> None:
        self._database = database
        self._clock = clock
        self._signer = NoteSigner(ORIGIN, keys.audit_key())

    @property
    def verifier(self) -> str:
        """The public key, as text."""
        return self._signer.verifier

    def make(self, tx: Connection) -> CheckpointRow | None:
        """Sign everything up to the newest row, and each full thousand on the way there.

        Returns:
            The newest checkpoint; None if there is nothing to sign yet.
        """
        last = audit_rows.last_checkpoint(tx)
        tree = MerkleTree() if last is None else MerkleTree(last.number, map(bytes.fromhex, json.loads(last.peaks)))
        newest = last
        while True:
            found = rows.read_audit(tx, tree.size, PAGE_ROWS)
            for row in found:
                tree.append(bytes.fromhex(row.hash))
                if tree.size % CHECKPOINT_EVENTS == 0:
                    newest = self._sign(tx, tree)
            if len(found) < PAGE_ROWS:
                break
        if tree.size and (newest is None or newest.number != tree.size):
            newest = self._sign(tx, tree)
        return newest

    def make_if_due(self, since_s: float) -> bool:
        """Make one if enough events are unsigned, or `since_s` is long enough ago and there are any."""
        with self._database.read() as tx:
            newest, last = rows.last_audit(tx), audit_rows.last_checkpoint(tx)
        unsigned = (newest.number if newest else 0) - (last.number if last else 0)
        if unsigned < 1 or (unsigned < CHECKPOINT_EVENTS and since_s < CHECKPOINT_S):
            return False
        with self._database.write() as tx:
            self.make(tx)
        return True

    def _sign(self, tx: Connection, tree: MerkleTree) -> CheckpointRow:
        note = self._signer.checkpoint(TreeHead(ORIGIN, tree.size, tree.root()))
        peaks = json.dumps([peak.hex() for peak in tree.peaks])
        row = CheckpointRow(tree.size, self._clock.unix_us(), note, peaks)
        audit_rows.add_checkpoint(tx, row)
        return row


class Housekeeper:
    """A thread that makes checkpoints when they are due, and lets other work be done as often."""

    def __init__(self, checkpoints: Checkpoints, clock: Clock, chores: Callable[[], None]) -> None:
        """`chores` runs every CHECKPOINT_S."""
        self._checkpoints = checkpoints
        self._clock = clock
        self._chores = chores
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeper", daemon=True)
        self._complaint = ""

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End after the step under way."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        since_ns = self._clock.monotonic_ns()
        while not self._stop.wait(LOOK_S):
            elapsed_s = (self._clock.monotonic_ns() - since_ns) / 1e9
            try:
                self._checkpoints.make_if_due(elapsed_s)
                if elapsed_s >= CHECKPOINT_S:
                    self._chores()
            except PlatformFault as error:
                # A full disk: said once, tried again.
                if str(error) != self._complaint:
                    _log.error("the audit trail cannot be signed: %s", error)
                self._complaint = str(error)
            else:
                self._complaint = ""
            if elapsed_s >= CHECKPOINT_S:
                since_ns = self._clock.monotonic_ns()
