"""Overrides as control carries them out: at the gateways first, then in the database as soon as it can be written.

In: what somebody wants done at once. Out: what came of it. One thread takes the journal over, whoever wrote it; while
the database cannot be used it tries again, and nothing waits for it. Must not decide who may.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from lineclear.control.endpoint import AdminCode, Refused
from lineclear.control.publish import Publisher
from lineclear.domain.access import Scope
from lineclear.handover.override_desk import Overridden, OverrideDesk, OverrideRefused, OverrideState
from lineclear.handover.snapshot_dir import SnapshotRefused

LOOK_S: Final = 0.5
"""How often the journal is looked at: the CLI writes it itself where control did not answer."""
RETRY_S: Final = 2.0
ROTATE_LOOK_S: Final = 5.0
"""How often a long journal is asked whether it can begin anew: all of it is read for that, and emergencies wait."""
SETTLE_S: Final = 1.0
"""Longest wait of an answer for database and audit trail; it says whether they have it."""
CLOSE_S: Final = 10.0

_log = logging.getLogger(__name__)


class Overrides:
    """The desk, and the thread that takes over what it wrote."""

    def __init__(self, publisher: Publisher, desk: OverrideDesk) -> None:
        self.desk = desk
        self.problem = ""
        """Why the journal cannot be taken over at the moment; empty if it can."""
        self._publisher = publisher
        self._wake = threading.Event()
        self._folded = 0
        self._changed = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._follow, name="overrides", daemon=True)

    def start(self) -> None:
        """Begin to take the journal over."""
        self._thread.start()

    def close(self) -> None:
        """End the thread; what is not taken over yet is at the next start."""
        self._is_closing = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)

    def state(self) -> OverrideState | None:
        """What is overridden now and what is wrong; None while there is no usable snapshot."""
        late = f"not in database and audit trail yet: {self.problem}" if self.problem else ""
        try:
            return self.desk.state((self._publisher.journal_problem, late))
        except SnapshotRefused:
            return None

    def scope_of_key(self, key_id: str) -> Scope | None:
        """Where a key in force lies, as the snapshot on disk tells; None if it is not there."""
        try:
            standing = self.desk.standing()
        except SnapshotRefused:
            return None
        key = standing.key(key_id)
        app = None if key is None else standing.apps.apps.get(key.app)
        return None if key is None else Scope("" if app is None else app.team, key.environment)

    def do(self, act: Callable[[OverrideDesk], Overridden]) -> Overridden:
        """Carry an emergency out and say whether it is on record already.

        Raises:
            Refused: `not_found`, `conflict`, `invalid_request` or `unavailable`; nothing was changed then.
        """
        try:
            done = act(self.desk)
        except OverrideRefused as error:
            raise Refused(AdminCode(error.kind), str(error), hint=error.hint) from error
        except SnapshotRefused as error:
            raise Refused(AdminCode.UNAVAILABLE, error.message, hint=error.hint) from error
        if not done.changed:
            # The desk knows of the snapshot alone, which does not follow drills.
            return replace(done, recorded=done.recorded or not self._publisher.is_journal_ahead)
        self._wake.set()
        with self._changed:
            recorded = self._changed.wait_for(lambda: self._folded >= done.sequence, SETTLE_S)
        return replace(done, recorded=recorded)

    def _follow(self) -> None:
        pause_s = LOOK_S
        rotated_s = 0.0
        while not self._is_closing:
            self._wake.wait(pause_s)
            self._wake.clear()
            pause_s = LOOK_S
            try:
                if not self._publisher.is_journal_ahead:
                    since_s = self._publisher.clock.monotonic_ns() / 1e9 - rotated_s
                    if since_s >= ROTATE_LOOK_S:
                        rotated_s += since_s
                        self._publisher.rotate_journal()
                    continue
                folded = self._publisher.fold()
            except Exception as error:  # noqa: BLE001 - whatever is wrong with the database, the overrides are in force
                pause_s = RETRY_S
                if str(error) != self.problem:
                    _log.warning("overrides are in force and not in the database yet: %s", error)
                self.problem = str(error)
            else:
                self.problem = ""
                with self._changed:
                    self._folded = folded
                    self._changed.notify_all()
