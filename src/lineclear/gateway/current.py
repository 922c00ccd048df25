"""Which snapshot is in force: load, lay the override journal over it, compile, swap. Last good stays, whatever fails.

In: the snapshot directory, the override journal. Out: one immutable Snapshot per exchange. Boots from disk with
control gone.
"""

import gc
import logging
from pathlib import Path

import msgspec

from lineclear.domain.errors import ErrorCode, PlatformFault
from lineclear.domain.overrides import Drill, OverrideEntry
from lineclear.gateway.exchanges import OpenExchanges
from lineclear.gateway.live import Live
from lineclear.gateway.snapshot import Snapshot, compile_snapshot
from lineclear.handover.overrides import READ_BY_US, JournalReader
from lineclear.handover.snapshot_dir import LoadedSnapshot, SnapshotReader

log = logging.getLogger("lineclear.gateway")

YOUNG_OBJECTS_MAX = 20_000
"""Container objects made between two looks for cycles; the walk leaves none behind, so looking rarely is enough."""


class Current:
    """Holds the snapshot in force."""

    def __init__(self, reader: SnapshotReader, journal: JournalReader, socket_dir: Path, live: Live) -> None:
        self._reader = reader
        self._journal = journal
        self._socket_dir = str(socket_dir)
        self._live = live
        self.exchanges = OpenExchanges()
        """What is under way, judged by this snapshot or an earlier one."""
        self._snapshot: Snapshot | None = None
        self._loaded: LoadedSnapshot | None = None
        self._in_force: frozenset[str] = frozenset()
        """Digests of the entries of the journal that the snapshot in force was compiled with."""
        self.refused_reason = ""
        """Why the newest snapshot on disk is not in force; empty if it is."""
        self._overrides_reason = ""
        self._drill_reason = ""
        self._drilled = 0

    @property
    def overrides_refused(self) -> str:
        """Why not everything in the override journal is in force; empty if it is."""
        complaints = self._snapshot.complaints if self._snapshot is not None else ()
        reasons = (self._journal.problem, self._overrides_reason, self._drill_reason, *complaints)
        return "; ".join(dict.fromkeys(filter(None, reasons)))

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
        """Look at directory and journal; swap if there is something newer and good. Returns whether it swapped."""
        has_snapshot, has_overrides = self._reader.changed(), self._journal.changed()
        swapped, seen = False, self._journal.sequence
        if has_snapshot:
            try:
                loaded = self._reader.load()
                self._swap(loaded)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with a snapshot, the one in force stays
                self.refused_reason = str(error)
                log.warning("the newest snapshot is refused and the one before stays in force: %s", error)
                # What came to the journal meanwhile was read for the refused one.
                has_overrides = has_overrides or self._journal.sequence != seen
            else:
                self.refused_reason = self._overrides_reason = ""
                swapped = True
        if has_overrides and not swapped and self._loaded is not None:
            try:
                if not self._take_drills(self._loaded):
                    self._swap(self._loaded)
                    self._overrides_reason = ""
                    swapped = True
            except Exception as error:  # noqa: BLE001 - as above
                self._overrides_reason = str(error)
        if (has_snapshot or has_overrides) and self.overrides_refused:
            log.warning("not every override is in force: %s", self.overrides_refused)
        if swapped:
            self._settle_memory()
        return swapped

    def _swap(self, loaded: LoadedSnapshot) -> None:
        folded = loaded.manifest.overrides_folded
        entries = self._journal.read(folded)
        self._snapshot = self._compile(loaded, entries)
        self._in_force = frozenset(item.digest for item in entries)
        # What control took over before this worker read it is part of the snapshot, and still ends open answers.
        known = self._journal.known(self.exchanges.seen)
        if self._loaded is None:
            # Whoever asked for a drill long before this worker was there waits for it no more. A later one may count
            # this worker among those that answer, and stands in the journal for as long as anybody waits for that.
            long_ago_us = self._live.clock.unix_us() - READ_BY_US
            self._drilled = max((item.sequence for item in known if item.at_us < long_ago_us), default=0)
        self._loaded = loaded
        ended = self.exchanges.cut(known)
        if ended:
            log.warning("an override ended %d answers that were under way", ended)
        # Not before: a snapshot that does not compile leaves the one before it in force, which still needs them.
        self._journal.forget(folded)
        # A drill that control took over before is part of the snapshot and was not prepared here yet.
        missed = tuple(
            item for item in known if self._drilled < item.sequence <= folded and isinstance(item.override, Drill)
        )
        self._rehearse(loaded, (*missed, *entries))

    def _take_drills(self, loaded: LoadedSnapshot) -> bool:
        """If drills are all that is new, prepare what they name and leave what serves; whether they were."""
        entries = self._journal.read(loaded.manifest.overrides_folded)
        new = [item for item in entries if item.digest not in self._in_force]
        if self._snapshot is None or not new or not all(isinstance(item.override, Drill) for item in new):
            return False
        self._rehearse(loaded, entries)
        self.exchanges.cut(self._journal.known(self.exchanges.seen))
        self._in_force = frozenset(item.digest for item in entries)
        newest = max(self._snapshot.overrides, new[-1].sequence)
        self._snapshot = msgspec.structs.replace(self._snapshot, overrides=newest)
        return True

    def _rehearse(self, loaded: LoadedSnapshot, entries: tuple[OverrideEntry, ...]) -> None:
        """Prepare what a new drill names, and throw it away: that it can be prepared is what a drill asks."""
        drills = [item.sequence for item in entries if isinstance(item.override, Drill)]
        newest = max(drills, default=0)
        if newest <= self._drilled:
            return
        # An earlier one may name what is none of the route's releases any more.
        wanted = [item for item in entries if item.sequence > self._drilled or not isinstance(item.override, Drill)]
        self._drilled, self._drill_reason = newest, ""
        try:
            rehearsed = self._compile(loaded, tuple(wanted), rehearse=True)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, nothing but the drill fails
            self._drill_reason = f"drill {newest} failed: {error}"
        else:
            self._drill_reason = "; ".join(rehearsed.complaints)

    def _compile(
        self, loaded: LoadedSnapshot, entries: tuple[OverrideEntry, ...], *, rehearse: bool = False
    ) -> Snapshot:
        return compile_snapshot(
            loaded.manifest, loaded.sections, self._socket_dir, self._live, entries, rehearse=rehearse
        )

    def _settle_memory(self) -> None:
        # What a snapshot holds lives until the next one; the collector need not walk it (decision 18).
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS_MAX, 20, 50)
