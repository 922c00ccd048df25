"""Tails the spool into the ledger: every record once, whatever crashes in between.

In: segment files. Out: entries, rollups and read positions, committed together; closed orphans; deleted
segments. Memory is only a cache: after any failure it is rebuilt from the ledger's positions. Must not
decide anything about a request, must not be run by two processes on one ledger.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from lineclear.base.clock import Clock
from lineclear.control.ingest.entry_row import FacetNumbers, orphan_row, refused_row, settled_row, storable
from lineclear.control.ingest.exposed_row import exchange_exposed, orphan_exposed, refusal_exposed
from lineclear.control.ingest.reading import (
    OpenExchange,
    SegmentReading,
    SourceReading,
    by_source,
    bytes_from,
    has_whole_frame,
)
from lineclear.control.ingest.reviews import Reviewing
from lineclear.domain.entry import day_of
from lineclear.domain.errors import ErrorCode
from lineclear.domain.exposed import Exposed
from lineclear.domain.ledger import Checkpoint, Heartbeat, Intent, Mirrored, Record, Refusal, Review, Settle
from lineclear.handover.checkpoint import CheckpointBroken
from lineclear.handover.segment import (
    SegmentBatch,
    SegmentUnreadable,
    Tail,
    list_segments,
    read_segment,
    segment_is_held,
)
from lineclear.observe.checks import POLICY
from lineclear.observe.signals import Standing
from lineclear.store.ledger import Anomaly, AnomalyKind, Ledger, LedgerBatch, RuledEntry
from lineclear.store.rollup import EntryRow, FacetValues, Rollup, RollupKey

READ_BYTES = 128 * 1024
"""Read at once: some hundred records, which a core's own cache still holds when their rows are made."""
ROWS_PER_COMMIT_MAX = 10_000
FOLDS_PER_LOOK_MAX = 8
"""Days summed up in one look: whoever asks waits for it, and a history that an earlier version left may be long."""
POLL_S = 1.0
"""How often `run` looks for new records. Who asks the ledger has it look first; rarer looks make fuller batches."""
RETRY_S = 2.0
"""Pause of `run` after a failure."""

_log = logging.getLogger("lineclear.ingest")


class IngestListener(Protocol):
    """Who wants to know what arrived (metrics)."""

    def committed(self, rollups: Mapping[RollupKey, Rollup]) -> None:
        """These sums were added to the ledger."""
        ...

    def heartbeat(self, source: str, beat: Heartbeat) -> None:
        """A worker said that it lives."""
        ...

    def gone(self, source: str) -> None:
        """A worker's records have all been read and it is dead."""
        ...


@dataclass(frozen=True)
class IngestReport:
    """What one catch-up did."""

    records: int = 0
    entries: int = 0
    orphans: int = 0
    segments_deleted: int = 0


class Ingest:
    """The one reader of a spool directory that writes to the ledger. Safe to call from several threads."""

    def __init__(
        self,
        ledger: Ledger,
        spool: Path,
        clock: Clock,
        *,
        accountant_positions: Callable[[], Mapping[str, int]],
        listener: IngestListener | None = None,
    ) -> None:
        """Nothing is read yet.

        Args:
            ledger: where entries go.
            spool: the directory of segments; it may not exist yet.
            clock: dates the closing of orphans.
            accountant_positions: how far the accountant has durably read each segment, by file name. A
                segment is deleted only past that.
            listener: hears what was committed.
        """
        self._ledger = ledger
        self._spool = spool
        self._clock = clock
        self._accountant_positions = accountant_positions
        self._listener = listener
        self._numbers = FacetNumbers()
        self._reviewing = Reviewing(ledger, clock)
        self._lock = threading.Lock()
        self._sources: dict[str, SourceReading] | None = None
        self._work = _Work()
        self._told = ""
        """The accountant's trouble that was logged last: it lasts for many looks and is told once."""

    def catch_up(self) -> IngestReport:
        """Read everything that has been written by now; what it returns is in the ledger.

        Raises:
            sqlalchemy.exc.DBAPIError: if the database refuses. Nothing is lost; the next call begins anew.
            OSError: if the spool cannot be read.
        """
        with self._lock:
            self._work = _Work()
            try:
                self._read_all()
            except BaseException:
                # What was folded and not committed is forgotten, so that it is read again.
                self._sources = None
                self._reviewing.forget()
                raise
            return IngestReport(self._work.records, self._work.entries, self._work.orphans, self._work.deleted)

    def open_exchanges(self) -> dict[str, Intent]:
        """Intents that have no settle yet, as of the last `catch_up`."""
        with self._lock:
            return self._open_exchanges()

    @contextmanager
    def still(self) -> Iterator[dict[str, Intent]]:
        """Catch up, then keep everything as it is inside the block; gives the exchanges that are open.

        What gateways write meanwhile waits in the spool. Raises as `catch_up`.
        """
        self.catch_up()
        with self._lock:
            yield self._open_exchanges()

    def watermark_us(self) -> int | None:
        """Everything that live sources did before this instant is in the ledger; None if no source has said so."""
        with self._lock:
            return self._watermark_us()

    @contextmanager
    def standing(self) -> Iterator[Standing]:
        """Everything as of the last `catch_up`, as it is inside the block: what the ledger holds meanwhile fits it."""
        with self._lock:
            sources = self._sources or {}
            alive = {name: source for name, source in sources.items() if source.is_alive and source.segments}
            yield Standing(
                open=self._open_exchanges(),
                # A segment that has just begun has no heartbeat yet; the one before it has.
                marks_us={
                    name: max(segment.watermark_us for segment in source.segments) for name, source in alive.items()
                },
            )

    def run(self, stop: threading.Event) -> None:
        """Catch up again and again until `stop` is set. For a thread of its own."""
        is_last = False
        while not is_last:
            # Once more after the word to stop: what drained gateways wrote last is taken along.
            is_last = stop.is_set()
            pause_s = POLL_S
            try:
                self.catch_up()
            except Exception:  # noqa: BLE001 - the edge of this thread: recorded, and tried again
                _log.exception("the ledger could not take what is in the spool; trying again")
                pause_s = RETRY_S
            stop.wait(pause_s)

    def _watermark_us(self) -> int | None:
        marks = [source.segments[-1].watermark_us for source in (self._sources or {}).values() if source.segments]
        return min(marks, default=None)

    def _open_exchanges(self) -> dict[str, Intent]:
        sources = self._sources or {}
        return {key: found.intent for source in sources.values() for key, found in source.open.items()}

    # Reading

    def _read_all(self) -> None:
        sources = self._sources
        if sources is None:
            sources = self._sources = {}
        groups = by_source(list_segments(self._spool))
        for name in [name for name in sources if name not in groups]:
            del sources[name]
        positions = None
        for name, found in groups.items():
            source = sources.get(name)
            if source is None or len(found) != len(source.segments) or found[-1] != source.segments[-1].name:
                positions = self._ledger.positions() if positions is None and source is None else positions
                source = sources.setdefault(name, SourceReading(name))
                fresh = source.take_segments(found, positions or {})
                self._replay(source, fresh)
            self._read_source(source)
        self._flush()
        self._reviewing.look(self._open_exchanges(), self._watermark_us() or 0)
        self._delete_finished(sources)
        self._fold_days()

    def _replay(self, source: SourceReading, fresh: list[SegmentReading]) -> None:
        """Read again what lies between `low` and `high`, to know what is open."""
        for segment, start in zip(fresh, source.replay_starts(fresh).values(), strict=True):
            path = segment.name.path
            offset = start
            while offset < segment.high:
                batch = read_segment(path, offset, limit_bytes=READ_BYTES)
                if batch.offset == offset:
                    break
                before = offset
                for record, end in zip(batch.records, batch.ends, strict=True):
                    if end > segment.high:
                        break
                    _replay_record(source, segment, record, before)
                    before = end
                offset = batch.offset

    def _read_source(self, source: SourceReading) -> None:
        # Asked before reading: what a living writer adds meanwhile is read next time, a dead one adds nothing.
        is_alive = any(segment_is_held(segment.name.path) for segment in reversed(source.segments))
        source.is_alive = is_alive
        last = source.segments[-1]
        for segment in source.segments:
            if not segment.ended and not segment.is_unreadable:
                self._read_segment(source, segment, is_final=not is_alive or segment is not last)
        if not is_alive and source.open:
            self._close_orphans(source)
        if not is_alive and self._listener is not None:
            self._listener.gone(source.name)

    def _read_segment(self, source: SourceReading, segment: SegmentReading, *, is_final: bool) -> None:
        path = segment.name.path
        while True:
            try:
                batch = read_segment(path, segment.high, limit_bytes=READ_BYTES)
            except FileNotFoundError:
                return
            except SegmentUnreadable as error:
                self._note(segment, segment.high, AnomalyKind.UNREADABLE_SEGMENT, "", str(error))
                segment.is_unreadable = True
                return
            for start, end in batch.damaged:
                words = f"{end - start} bytes do not match their CRC or are no record"
                self._note(segment, start, AnomalyKind.DAMAGED, "", words)
            if batch.offset == segment.high:
                break
            self._take(source, segment, batch)
        if batch.tail is Tail.SEALED or is_final:
            self._end(segment, batch)

    def _end(self, segment: SegmentReading, batch: SegmentBatch[Record]) -> None:
        if batch.tail is Tail.TORN:
            left = bytes_from(segment.name.path, batch.offset)
            if has_whole_frame(left):
                detail = f"a length is damaged: {len(left)} bytes behind it cannot be read"
                self._note(segment, batch.offset, AnomalyKind.DAMAGED, "", detail)
            elif left:
                # A crash in the middle of a write: that record never counted, its exchange was never dispatched.
                self._note(
                    segment, batch.offset, AnomalyKind.TORN_TAIL, "", f"{len(left)} bytes of an unfinished write"
                )
        segment.ended = True
        self._work.touched[segment.file] = segment

    def _take(self, source: SourceReading, segment: SegmentReading, batch: SegmentBatch[Record]) -> None:
        work = self._work
        work.records += len(batch.records)
        work.reading = segment
        start = segment.high
        for record, end in zip(batch.records, batch.ends, strict=True):
            # Two of three records and more are these: `is` takes a tenth of what isinstance takes to say no.
            if type(record) is Settle:
                self._settle(source, segment, record, start)
            elif type(record) is Intent:
                self._intent(source, segment, record, start)
            else:
                self._take_other(source, segment, record)
            segment.high = start = end
            if len(work.rows) >= ROWS_PER_COMMIT_MAX:
                self._flush()
        segment.high = batch.offset
        work.touched[segment.file] = segment
        work.reading = None

    def _settle(self, source: SourceReading, segment: SegmentReading, settle: Settle, start: int) -> None:
        if "\0" in settle.id:
            settle = msgspec.structs.replace(settle, id=storable(settle.id))
        found = source.open.pop(settle.id, None)
        if found is None:
            self._note_stray(segment, start, settle)
            return
        # Until the row is added the intent stays open, because adding may commit what came before.
        exposed = exchange_exposed(found.intent, settle) if found.intent.rollout else None
        self._add(*settled_row(found.intent, settle, self._numbers), exposed)
        if settle.rules:
            self._rule(settle.id, settle.rules, settle.at_us, is_refused=settle.error_code == ErrorCode.POLICY_DENIED)
        segment.settles += 1
        opened_in = found.segment
        del opened_in.open_starts[settle.id]
        if opened_in is not segment:
            self._work.touched[opened_in.file] = opened_in

    def _intent(self, source: SourceReading, segment: SegmentReading, intent: Intent, start: int) -> None:
        if "\0" in intent.id:
            intent = msgspec.structs.replace(intent, id=storable(intent.id))
        exchange = intent.id
        if exchange in source.open:
            self._note(segment, start, AnomalyKind.DOUBLED_INTENT, exchange, "an intent of this id is open already")
            return
        source.open[exchange] = OpenExchange(intent, segment, start)
        segment.open_starts[exchange] = start
        segment.intents += 1

    def _take_other(self, source: SourceReading, segment: SegmentReading, written: Record) -> None:
        record = _with_storable_id(written)
        if isinstance(record, Refusal):
            exposed = refusal_exposed(record) if record.rollout else None
            self._add(*refused_row(record, self._numbers), exposed)
            if record.rules:
                is_refused = record.error_code == ErrorCode.POLICY_DENIED
                self._rule(record.id, record.rules, record.at_us + record.duration_us, is_refused=is_refused)
            segment.refusals += 1
        elif isinstance(record, Checkpoint):
            found = source.open.get(record.id)
            if found is not None:
                found.checkpoint = record
        elif isinstance(record, Heartbeat):
            segment.watermark_us = record.at_us
            if self._listener is not None:
                self._listener.heartbeat(source.name, record)
        elif isinstance(record, Review | Mirrored):
            self._take_beside(record)

    def _take_beside(self, record: Review | Mirrored) -> None:
        """What is said of exchanges beside their own records."""
        work = self._work
        if len(work.reviews) + len(work.mirrored) >= ROWS_PER_COMMIT_MAX:
            self._flush()
        if isinstance(record, Review):
            work.reviews.append(_storable_review(record))
        else:
            work.mirrored.append(record)

    def _close_orphans(self, source: SourceReading) -> None:
        now_us = self._clock.unix_us()
        for exchange, found in list(source.open.items()):
            day = self._ledger.find_day(exchange, day_of(found.intent.at_us))
            if day is None:
                exposed = orphan_exposed(found.intent, found.checkpoint) if found.intent.rollout else None
                self._add(*orphan_row(found.intent, found.checkpoint, now_us, self._numbers), exposed)
                found.segment.orphans += 1
                self._work.orphans += 1
            else:
                self._note(
                    found.segment,
                    found.start,
                    AnomalyKind.INTENT_AFTER_END,
                    exchange,
                    "it has an entry already",
                )
            del source.open[exchange]
            del found.segment.open_starts[exchange]
            self._work.touched[found.segment.file] = found.segment
            if len(self._work.rows) >= ROWS_PER_COMMIT_MAX:
                self._flush()

    # Writing

    def _add(self, row: EntryRow, facet: FacetValues, exposed: Exposed | None) -> None:
        work = self._work
        if row[1] != work.day and work.rows:
            self._flush()
        work.day = row[1]
        work.rows.append(row)
        work.facets[row[3]] = facet
        if exposed is not None:
            work.exposed[exposed.id] = exposed

    def _rule(self, exchange: str, rules: Sequence[str], at_us: int, *, is_refused: bool) -> None:
        """Of a row that was just added: the policies that had a say in it."""
        found = tuple(storable(rule) for rule in rules if rule.startswith(POLICY))
        if found:
            self._work.ruled[exchange] = RuledEntry(found, is_refused, at_us)

    def _note(self, segment: SegmentReading, at: int, kind: AnomalyKind, exchange: str, detail: str) -> None:
        _log.warning("spool segment %s at %d: %s %s: %s", segment.file, at, kind, exchange, detail)
        self._work.anomalies.append(Anomaly(segment.file, at, kind.value, exchange, detail))
        self._work.touched[segment.file] = segment

    def _note_stray(self, segment: SegmentReading, at: int, settle: Settle) -> None:
        self._flush()
        # An exchange lasts minutes at most: its first settle cannot lie further back than the day before.
        day = self._ledger.find_day(settle.id, day_of(settle.at_us) - 1)
        if day is None:
            self._note(segment, at, AnomalyKind.SETTLE_WITHOUT_INTENT, settle.id, "its intent is not in the spool")
        else:
            self._note(segment, at, AnomalyKind.DOUBLED_SETTLE, settle.id, "it was settled before")

    def _flush(self) -> None:
        work = self._work
        if work.reading is not None:
            # Rows never go in without the position of the segment they came from.
            work.touched[work.reading.file] = work.reading
        if not work.touched:
            return
        # Positions without rows (heartbeats, intents) go into today's file.
        day = work.day if work.day is not None and work.rows else day_of(self._clock.unix_us())
        committed = self._ledger.commit(
            LedgerBatch(
                day=day,
                rows=work.rows,
                facet_values=work.facets,
                positions=[segment.now() for segment in work.touched.values()],
                anomalies=work.anomalies,
                exposed=work.exposed,
                ruled=work.ruled,
                reviews=work.reviews,
                mirrored=work.mirrored,
            )
        )
        work.entries += len(work.rows)
        if work.reviews:
            self._reviewing.arrived(day)
        work.rows, work.facets, work.anomalies, work.touched, work.exposed, work.ruled = [], {}, [], {}, {}, {}
        work.reviews, work.mirrored = [], []
        if self._listener is not None and committed.rollups:
            self._listener.committed(committed.rollups)

    def _fold_days(self) -> None:
        """Sum up the hours of days that are over; a day that rows came for just now may get more in the next look."""
        today = day_of(self._clock.unix_us())
        over = [day for day in self._ledger.unfolded_days() if day < today and day != self._work.day]
        for day in over[:FOLDS_PER_LOOK_MAX]:
            self._ledger.fold_day(day)

    def _delete_finished(self, sources: dict[str, SourceReading]) -> None:
        finished = [source for source in sources.values() if source.segments and source.segments[0].now().closed]
        if not finished:
            return
        try:
            accounted = self._accountant_positions()
        except CheckpointBroken as error:
            if str(error) != self._told:
                self._told = str(error)
                _log.warning("no spool segment is deleted: %s", error)
            return
        self._told = ""
        is_synced = False
        for source in finished:
            # Oldest first and without gaps: a later segment may hold the settle of an earlier one's intent.
            while source.segments and source.segments[0].now().closed:
                segment = source.segments[0]
                if accounted.get(segment.file, -1) < segment.high:
                    break
                if not is_synced:
                    self._ledger.sync()
                    is_synced = True
                segment.name.path.unlink(missing_ok=True)
                source.segments.pop(0)
                self._work.deleted += 1


class _Work:
    """What the catch-up under way has folded and not committed, and its counts."""

    __slots__ = (
        "anomalies",
        "day",
        "deleted",
        "entries",
        "exposed",
        "facets",
        "mirrored",
        "orphans",
        "reading",
        "records",
        "reviews",
        "rows",
        "ruled",
        "touched",
    )

    def __init__(self) -> None:
        self.rows: list[EntryRow] = []
        self.facets: dict[int, FacetValues] = {}
        self.anomalies: list[Anomaly] = []
        self.touched: dict[str, SegmentReading] = {}
        self.exposed: dict[str, Exposed] = {}
        self.ruled: dict[str, RuledEntry] = {}
        self.reviews: list[Review] = []
        self.mirrored: list[Mirrored] = []
        self.day: int | None = None
        self.reading: SegmentReading | None = None
        """The segment whose records are being folded."""
        self.records = 0
        self.entries = 0
        self.orphans = 0
        self.deleted = 0


def _with_storable_id(record: Record) -> Record:
    """Ids are ours and plain; a defective one must not stop the ledger, which asks the database by it."""
    if isinstance(record, Heartbeat) or "\0" not in record.id:
        return record
    return msgspec.structs.replace(record, id=storable(record.id))


def _storable_review(review: Review) -> Review:
    return msgspec.structs.replace(
        review, request=storable(review.request), reason=storable(review.reason), reviewer=storable(review.reviewer)
    )


def _replay_record(source: SourceReading, segment: SegmentReading, written: Record, start: int) -> None:
    record = _with_storable_id(written)
    if isinstance(record, Intent):
        if record.id not in source.open:
            source.open[record.id] = OpenExchange(record, segment, start)
            segment.open_starts[record.id] = start
    elif isinstance(record, Settle):
        found = source.open.pop(record.id, None)
        if found is not None:
            del found.segment.open_starts[record.id]
    elif isinstance(record, Checkpoint):
        opened = source.open.get(record.id)
        if opened is not None:
            opened.checkpoint = record
