"""Signed checkpoints of the audit trail: every so many events and every so often, so that a cut tail shows.

In: audit rows. Out: rows of `audit_checkpoints`, each a signed tree head over every row up to its number, and the same
in a file beside the database, which whoever writes the database need not be able to write. The key is derived from the
master key; the database never holds it.
"""

import json
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from lineclear.base.clock import Clock
from lineclear.base.seal import Keys, SealBroken
from lineclear.base.transparency import MerkleTree, NoteSigner, TreeHead
from lineclear.control.endpoint import Refused
from lineclear.domain.errors import ErrorCode, LineclearError, PlatformFault
from lineclear.store import audit_rows
from lineclear.store import control_rows as rows
from lineclear.store.audit_rows import CheckpointRow
from lineclear.store.database import Database

ORIGIN = "lineclear/audit"
CHECKPOINT_EVENTS = 1_000
CHECKPOINT_S = 60.0
LOOK_S = 5.0
PAGE_ROWS = 1_000
KEPT_FILE = "audit-checkpoints.jsonl"
KEPT_BYTES_MAX = 16 * 1024 * 1024
"""Of the file; then it becomes the former one, in place of that of before."""

_log = logging.getLogger(__name__)


class KeptCheckpoints:
    """The file of one data directory: a line of JSON for each checkpoint, oldest first."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / KEPT_FILE
        self._former = self._path.with_suffix(".former.jsonl")
        self.last_number = 0
        """Of the newest checkpoint in it, as far as it can be read."""
        try:
            self.last_number = max((number for number, _ in self.read()), default=0)
        except PlatformFault as error:
            _log.error("%s", error)

    def read(self) -> list[tuple[int, str]]:
        """Numbers and signed notes of all that are kept, oldest first; a line that was cut in a crash is none.

        Raises:
            PlatformFault: `ledger_unavailable` if the file cannot be read.
        """
        found: list[tuple[int, str]] = []
        for path in (self._former, self._path):
            try:
                lines = path.read_bytes().split(b"\n")
            except FileNotFoundError:
                continue
            except OSError as error:
                raise _unkept(self._path, error) from error
            for line in lines[:-1]:
                try:
                    value = json.loads(line)
                    found.append((int(value["number"]), str(value["checkpoint"])))
                except (ValueError, KeyError, TypeError):
                    continue
        return found

    def add(self, signed: list[CheckpointRow]) -> None:
        """Append those that are not in it yet.

        Raises:
            PlatformFault: if it cannot be written, as with a full disk.
        """
        new = [row for row in signed if row.number > self.last_number]
        if not new:
            return
        lines = [json.dumps({"number": row.number, "at_us": row.at_us, "checkpoint": row.note}) for row in new]
        try:
            if self._path.exists() and self._path.stat().st_size > KEPT_BYTES_MAX:
                self._path.replace(self._former)
            fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                # The line before may have been cut in a crash.
                os.write(fd, ("\n" + "\n".join(lines) + "\n").encode())
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise _unkept(self._path, error) from error
        self.last_number = new[-1].number


def _unkept(path: Path, error: OSError) -> PlatformFault:
    return PlatformFault(ErrorCode.LEDGER_UNAVAILABLE, f"{path} cannot be kept: {error.strerror}")


class Checkpoints:
    """Makes checkpoints."""

    def __init__(self, database: Database, clock: Clock, keys: Keys, directory: Path) -> None:
        """`directory` is where checkpoints are kept beside the database."""
        self._database = database
        self._clock = clock
        self._signer = NoteSigner(ORIGIN, keys.audit_key())
        self._kept = KeptCheckpoints(directory)

    @property
    def verifier(self) -> str:
        """The public key, as text."""
        return self._signer.verifier

    def kept(self) -> list[tuple[int, str]]:
        """Numbers and signed notes of what is kept beside the database."""
        return self._kept.read()

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
        is_due = unsigned >= 1 and (unsigned >= CHECKPOINT_EVENTS or since_s >= CHECKPOINT_S)
        if is_due:
            with self._database.write() as tx:
                last = self.make(tx)
        if last is not None and last.number > self._kept.last_number:
            with self._database.read() as tx:
                signed = audit_rows.read_checkpoints(tx, self._kept.last_number, last.number)
            self._kept.add(signed)
        return is_due

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
        self._complaints: dict[str, str] = {}
        """What was said last of each kind of work; a full disk is said once and tried again."""

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
            self.look(elapsed_s)
            if elapsed_s >= CHECKPOINT_S:
                since_ns = self._clock.monotonic_ns()

    def look(self, elapsed_s: float) -> None:
        """Do what is due `elapsed_s` after the last full round; raises nothing."""
        self._guarded("the audit trail is not signed", lambda: self._checkpoints.make_if_due(elapsed_s))
        if elapsed_s >= CHECKPOINT_S:
            self._guarded("changes that wait are not looked after", self._chores)

    def _guarded(self, trouble: str, act: Callable[[], object]) -> None:
        complaint = ""
        try:
            act()
        except Exception as error:  # noqa: BLE001 - the edge of this thread: told, and tried again
            complaint = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            if complaint != self._complaints.get(trouble):
                known = isinstance(error, SQLAlchemyError | OSError | LineclearError | Refused | SealBroken)
                _log.error("%s: %s", trouble, complaint, exc_info=None if known else error)
        if self._complaints.get(trouble) and not complaint:
            _log.info("no longer so: %s", trouble)
        self._complaints[trouble] = complaint
