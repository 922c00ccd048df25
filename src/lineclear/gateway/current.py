"""Which snapshot is in force: load, compile, swap, acknowledge. Last good stays whatever goes wrong.

In: the snapshot directory. Out: one immutable Snapshot per exchange. Boots from disk with control gone.
"""

import gc
import logging
from pathlib import Path

from lineclear.domain.errors import ErrorCode, PlatformFault
from lineclear.gateway.live import Live
from lineclear.gateway.snapshot import Snapshot, compile_snapshot
from lineclear.handover.snapshot_dir import SnapshotReader

log = logging.getLogger("lineclear.gateway")

YOUNG_OBJECTS_MAX = 20_000
"""Container objects made between two looks for cycles; the walk leaves none behind, so looking rarely is enough."""


class Current:
    """Holds the snapshot in force."""

    def __init__(self, reader: SnapshotReader, socket_dir: Path, live: Live) -> None:
        self._reader = reader
        self._socket_dir = str(socket_dir)
        self._live = live
        self._snapshot: Snapshot | None = None
        self.refused_reason = ""
        """Why the newest snapshot on disk is not in force; empty if it is."""

    @property
    def is_ready(self) -> bool:
        return self._snapshot is not None

    def snapshot(self) -> Snapshot:
        """The snapshot in force.

        Raises:
            PlatformFault: NOT_READY before the first one.
        """
        if self._snapshot is None:
            raise PlatformFault(
                ErrorCode.NOT_READY,
                "this gateway has no snapshot yet",
                hint="try again in a moment; `lineclear status` shows what is starting",
                retry_after_ms=1_000,
            )
        return self._snapshot

    def refresh(self) -> bool:
        """Look at the directory; swap if there is something newer and good. Returns whether it swapped."""
        if not self._reader.changed():
            return False
        try:
            loaded = self._reader.load()
            self._snapshot = compile_snapshot(loaded.manifest, loaded.sections, self._socket_dir, self._live)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a snapshot, the one in force stays
            self.refused_reason = str(error)
            log.warning("the newest snapshot is refused and the one before stays in force: %s", error)
            return False
        self.refused_reason = ""
        # What a snapshot holds lives until the next one; the collector need not walk it (decision 18).
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS_MAX, 20, 50)
        return True
