"""The ledger on disk: one batch of one day goes in with its read positions, in one transaction.

In: rows that ingest made. Out: positions to go on from, connections to read a day with. SQLite holds a file
per UTC day (retention is unlinking it), PostgreSQL a partition per day. What the rows mean is not known
here beyond the sums of `store.rollup`; nobody else writes these tables.
"""

import dataclasses
import hashlib
import logging
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, and_, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError

from lineclear.domain.entry import check_number
from lineclear.domain.exposed import Exposed
from lineclear.domain.ledger import Mirrored, Review
from lineclear.store.database import Database, Durability
from lineclear.store.day_rollups import fold_day, forget_day, has_hours, is_folded
from lineclear.store.ledger_tables import (
    ENTRY_COLUMNS,
    FACET_COLUMNS,
    anomalies,
    arrivals,
    entries,
    exposures,
    facets,
    positions,
    rollups,
    rule_hits,
)
from lineclear.store.migrate import Lineage, migrate
from lineclear.store.mirrored_rows import add_mirrored
from lineclear.store.review_rows import FoundReview, add_reviews, found_reviews, waiting_reviews
from lineclear.store.rollup import EntryRow, FacetValues, Rollup, RollupKey, fold_rows
from lineclear.store.standing_rollups import StandingRollups

OPEN_DAYS_MAX = 92
"""Day files kept open at once; the one unused longest is closed first. Opening one costs ten times its sums, so the
quarter that is the longest usual question stays open: five descriptors and half a megabyte a day."""
IDS_PER_STATEMENT = 500
FIGURE_MAX = 2**53 - 1
"""The largest figure an entry keeps; above it nothing is a token count or a price any more."""
INGEST_LOCK = 0x6C_63_69_6E
"""PostgreSQL advisory lock of one ingest transaction (the letters lcin): two controls must not merge one rollup."""

REASON_CHARS_MAX = 300
"""Characters kept of a database's reason to refuse a row."""

_ROW_REFUSED = (IntegrityError, DataError, OverflowError)
"""What a database raises because of a row, not because of its own state."""
_EPOCH = date(1970, 1, 1)
_FILE_PREFIX = "ledger-"
_ENCODER = msgspec.msgpack.Encoder()
_FACET = ENTRY_COLUMNS.index("facet")


_log = logging.getLogger("lineclear.ledger")


class _TrialOver(Exception):
    """Rolls a trial transaction back."""


@dataclass(frozen=True)
class Position:
    """How far one spool segment has been read, with counts of what was read up to `high`."""

    segment: str
    """File name."""
    low: int = 0
    """Offset to read again from after a restart: where the oldest open intent begins, or `high`."""
    high: int = 0
    """Everything before this offset is in the ledger."""
    intents: int = 0
    settles: int = 0
    refusals: int = 0
    orphans: int = 0
    """Intents closed by control because their worker died."""
    watermark_us: int = 0
    """The source's records up to this instant are all in the ledger; 0 = none seen."""
    closed: bool = False
    """Nothing more will come from this segment and none of its intents is open."""


class AnomalyKind(StrEnum):
    """What can be wrong with a record."""

    DAMAGED = "damaged"
    """Its bytes do not match their check number."""
    UNREADABLE_SEGMENT = "unreadable_segment"
    """No segment, or one of a version that this program does not read."""
    DOUBLED_INTENT = "doubled_intent"
    """An exchange of this id is open already."""
    DOUBLED_SETTLE = "doubled_settle"
    """The exchange was settled before."""
    DOUBLED_ENTRY = "doubled_entry"
    """An entry of this id was in the ledger already; this one was left out."""
    REFUSED_ENTRY = "refused_entry"
    """The database does not take it; it was set aside, so that what follows it is taken."""
    INTENT_AFTER_END = "intent_after_end"
    """An intent of an exchange that has an entry; it is not closed a second time."""
    SETTLE_WITHOUT_INTENT = "settle_without_intent"
    TORN_TAIL = "torn_tail"
    """The unfinished last write of a dead worker. Normal after a crash: such a record never counted."""


@dataclass(frozen=True)
class Anomaly:
    """A record that should not be there."""

    segment: str
    at: int
    """Offset in the segment."""
    kind: str
    """AnomalyKind."""
    exchange: str
    """Exchange id, empty if it is not known."""
    detail: str


@dataclass(frozen=True)
class RuledEntry:
    """An entry that policies had a say in."""

    rules: tuple[str, ...]
    """Their rules' ids."""
    is_refused: bool
    """Whether they left it no model."""
    at_us: int
    """When it ended."""


@dataclass(frozen=True)
class LedgerBatch:
    """What one transaction writes."""

    day: int
    """Days since 1970-01-01 UTC; every row belongs to it."""
    rows: Sequence[EntryRow] = ()
    facet_values: Mapping[int, FacetValues] = field(default_factory=dict)
    """At least the facets that the rows name."""
    positions: Sequence[Position] = ()
    anomalies: Sequence[Anomaly] = ()
    exposed: Mapping[str, Exposed] = field(default_factory=dict)
    """Those of the rows that have a rollout, by id."""
    ruled: Mapping[str, RuledEntry] = field(default_factory=dict)
    """Those of the rows that a policy had a say in, by id."""
    reviews: Sequence[Review] = ()
    """What people said, received on `day`."""
    mirrored: Sequence[Mirrored] = ()
    """Copies of calls, read on `day`."""


@dataclass(frozen=True)
class Committed:
    """What a transaction wrote."""

    rollups: Mapping[RollupKey, Rollup]
    """The differences that were added."""


class Ledger:
    """The ledger of one platform. Safe to share between threads; one caller at a time writes."""

    def __init__(self, directory: Path | None, database: Database | None) -> None:
        self._directory = directory
        self._database = database
        self._open_days: OrderedDict[int, Database] = OrderedDict()
        self._lock = threading.Lock()
        self._known_facets: dict[int, set[int]] = {}
        self._written_day: int | None = None
        self._partitions: set[int] = set()
        self._standing = StandingRollups()
        self._seen_days: set[int] = set()
        """Day files that were opened before: their tables are this program's."""
        self._unfolded: set[int] = set()
        """Days that have hour rollups and no day rollups."""

    @classmethod
    def open(cls, place: Path | Database) -> "Ledger":
        """Open a directory of SQLite day files, made if missing, or the tables in a PostgreSQL database.

        Raises:
            PlatformFault: as `Database.open` and `migrate`.
        """
        if isinstance(place, Database):
            migrate(place, Lineage.LEDGER)
            opened = cls(None, place)
            for day in opened.days():
                opened._look_for_fold(place, day)
            return opened
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(place, None)

    def days(self) -> list[int]:
        """The days that have entries or positions, newest first."""
        if self._database is not None:
            with self._database.read() as connection:
                found = connection.exec_driver_sql(
                    "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'entries'::regclass"
                ).scalars()
                return sorted((int(name.rpartition("_")[2]) for name in found), reverse=True)
        assert self._directory is not None  # noqa: S101 - one of the two is given
        return sorted(
            (_day_of_file(path) for path in self._directory.glob(f"{_FILE_PREFIX}????-??-??.db")), reverse=True
        )

    @contextmanager
    def read(self, day: int) -> Iterator[Connection]:
        """A consistent view of one day. Add `entries.c.day == day` to what you ask: PostgreSQL shows all days."""
        with self._day(day).read() as connection:
            yield connection

    def positions(self) -> dict[str, Position]:
        """The newest position of each segment."""
        newest: dict[str, Position] = {}
        # PostgreSQL has one table of positions for all days, SQLite one in each file.
        for day in self.days() if self._directory is not None else [0]:
            with self.read(day) as connection:
                for row in connection.execute(select(positions)).mappings():
                    position = Position(**{str(name): value for name, value in row.items()})
                    known = newest.get(position.segment)
                    if known is None or _reach(known) < _reach(position):
                        newest[position.segment] = position
        return newest

    def anomalies(self) -> list[Anomaly]:
        """Everything that was noted, in order of segment and offset."""
        found: dict[tuple[str, int, str], Anomaly] = {}
        for day in self.days() if self._directory is not None else [0]:
            with self.read(day) as connection:
                for row in connection.execute(select(anomalies)).mappings():
                    note = Anomaly(**{str(name): value for name, value in row.items()})
                    found[note.segment, note.at, note.kind] = note
        return [found[key] for key in sorted(found)]

    def find_day(self, exchange: str, first_day: int = 0) -> int | None:
        """The newest day, not before `first_day`, in which an exchange has an entry; None if it has none."""
        for day in self.days():
            if day < first_day:
                break
            with self.read(day) as connection:
                if _existing(connection, [exchange], day):
                    return day
        return None

    def commit(self, batch: LedgerBatch) -> Committed:
        """Write a batch, all of it or nothing.

        An entry whose id is there already, or that the database does not take, is left out and noted as an anomaly.

        Raises:
            sqlalchemy.exc.DBAPIError: if the database refuses for another reason; nothing was written then.
        """
        if self._written_day is not None and self._written_day != batch.day:
            # A power cut must not keep the newer day's positions and lose the older day's rows.
            self.sync(self._written_day)
        try:
            committed = self._write(batch, batch.rows)
        except _ROW_REFUSED:
            # One bad row must not hold up everything behind it.
            committed = self._write_what_fits(batch)
        self._written_day = batch.day
        for day in sorted(self._known_facets)[:-2]:
            del self._known_facets[day]
        return committed

    def waiting_reviews(self, day: int) -> list[Review]:
        """Reviews received on a day that wait for their request, oldest first."""
        with self.read(day) as connection:
            return waiting_reviews(connection, day)

    def found_reviews(self, day: int, found: Sequence[FoundReview]) -> None:
        """Say which requests reviews of a day are about.

        Raises:
            sqlalchemy.exc.DBAPIError: if the database refuses; then all of them wait as before.
        """
        with self._transaction(day) as tx:
            found_reviews(tx, day, found)

    def unfolded_days(self) -> list[int]:
        """The days, of those that were opened or written, whose hours are not summed up yet; oldest first."""
        with self._lock:
            return sorted(self._unfolded)

    def fold_day(self, day: int) -> None:
        """Sum a day's hours up, so that long periods are read day by day. Rows that come later undo it.

        Raises:
            sqlalchemy.exc.DBAPIError: if the database refuses.
        """
        with self._transaction(day) as tx:
            if tx.dialect.name != "sqlite":
                tx.exec_driver_sql(f"SELECT pg_advisory_xact_lock({INGEST_LOCK})")
            fold_day(tx, day)
        with self._lock:
            self._unfolded.discard(day)

    def sync(self, day: int | None = None) -> None:
        """Put what was committed (to one day, or to the newest written) on the disk."""
        day = self._written_day if day is None else day
        if self._directory is not None and day is not None:
            self._day(day).sync()

    def close(self) -> None:
        """Close the day files. A PostgreSQL database stays open: it is its opener's."""
        with self._lock:
            while self._open_days:
                self._open_days.popitem()[1].close()

    def _day(self, day: int) -> Database:
        if self._database is not None:
            return self._database
        assert self._directory is not None  # noqa: S101 - one of the two is given
        with self._lock:
            found = self._open_days.get(day)
            if found is None:
                path = self._directory / _file_of_day(day)
                is_seen = day in self._seen_days and path.exists()
                found = Database.open(path, durability=Durability.NORMAL)
                if not is_seen:
                    migrate(found, Lineage.LEDGER)
                    self._look_for_fold(found, day)
                    self._seen_days.add(day)
                self._open_days[day] = found
                if len(self._open_days) > OPEN_DAYS_MAX:
                    oldest = next(key for key in self._open_days if key not in (day, self._written_day))
                    self._open_days.pop(oldest).close()
            self._open_days.move_to_end(day)
            return found

    def _look_for_fold(self, database: Database, day: int) -> None:
        with database.read() as connection:
            if has_hours(connection, day) and not is_folded(connection, day):
                self._unfolded.add(day)

    def _write_what_fits(self, batch: LedgerBatch) -> Committed:
        with self.read(batch.day) as connection:
            seen = _existing(connection, [row[0] for row in batch.rows], batch.day)
        # A place that no other batch has, so that each doubled row leaves a note of its own.
        place = ", ".join(f"{position.segment}@{position.high}" for position in batch.positions)
        fresh: list[EntryRow] = []
        notes = list(batch.anomalies)
        for index, row in enumerate(batch.rows):
            if row[0] in seen:
                detail = f"{day_text(batch.day)} has that id already"
                notes.append(Anomaly(f"before {place}", index, AnomalyKind.DOUBLED_ENTRY.value, row[0], detail))
            else:
                seen.add(row[0])
                fresh.append(_bounded(row))
        try:
            return self._write(dataclasses.replace(batch, anomalies=notes), fresh)
        except _ROW_REFUSED:
            refused: dict[str, str] = {}
            taken = self._taken(batch, fresh, refused)
        for index, (exchange, reason) in enumerate(refused.items()):
            _log.error("the database refuses the entry %s; it is set aside: %s", exchange, reason)
            notes.append(Anomaly(f"before {place}", index, AnomalyKind.REFUSED_ENTRY.value, exchange, reason))
        return self._write(dataclasses.replace(batch, anomalies=notes), taken)

    def _taken(self, batch: LedgerBatch, rows: Sequence[EntryRow], refused: dict[str, str]) -> Sequence[EntryRow]:
        """The rows that the database takes, found by halving; the others go to `refused` by id, with the reason."""
        trial = LedgerBatch(batch.day, rows, batch.facet_values)
        try:
            with suppress(_TrialOver), self._transaction(batch.day) as tx:
                self._put(tx, trial, rows)
                raise _TrialOver
        except _ROW_REFUSED as error:
            if len(rows) == 1:
                # The driver's own words; SQLAlchemy's would repeat the whole row.
                reason = str(getattr(error, "orig", None) or error).partition("\n")[0]
                refused[rows[0][0]] = reason[:REASON_CHARS_MAX]
                return ()
            middle = len(rows) // 2
            return (*self._taken(batch, rows[:middle], refused), *self._taken(batch, rows[middle:], refused))
        return rows

    def _write(self, batch: LedgerBatch, rows: Sequence[EntryRow]) -> Committed:
        with self._transaction(batch.day) as tx:
            committed = self._put(tx, batch, rows)
        self._partitions.add(batch.day)
        self._known_facets.setdefault(batch.day, set()).update(row[_FACET] for row in rows)
        if rows:
            with self._lock:
                self._unfolded.add(batch.day)
        return committed

    @contextmanager
    def _transaction(self, day: int) -> Iterator[Connection]:
        try:
            with self._day(day).write() as tx:
                yield tx
        except BaseException:
            # Rolled back, or nobody knows: what was added in memory may not stand in the file.
            self._standing.forget()
            raise

    def _put(self, tx: Connection, batch: LedgerBatch, rows: Sequence[EntryRow]) -> Committed:
        is_sqlite = tx.dialect.name == "sqlite"
        folded = fold_rows(rows, batch.facet_values)
        if not is_sqlite:
            tx.exec_driver_sql(f"SELECT pg_advisory_xact_lock({INGEST_LOCK})")
            self._ensure_partition(tx, batch.day)
        new_facets = [
            {"facet": facet, **dict(zip(FACET_COLUMNS, batch.facet_values[facet], strict=True))}
            for facet in {row[_FACET] for row in rows} - self._known_facets.get(batch.day, set())
        ]
        _upsert(tx, facets, new_facets, update=False)
        if rows:
            _insert_entries(tx, rows, is_sqlite=is_sqlite)
            number = _note_arrival(tx, batch.day, rows)
            if batch.exposed:
                _insert_exposures(tx, batch, rows, number)
            if batch.ruled:
                _count_hits(tx, batch, rows)
            forget_day(tx, batch.day)
        add_reviews(tx, batch.day, batch.reviews)
        add_mirrored(tx, batch.day, batch.mirrored)
        _write_rollups(tx, self._standing.add(tx, folded))
        _upsert(tx, positions, [vars(position) for position in batch.positions])
        _upsert(tx, anomalies, [vars(anomaly) for anomaly in batch.anomalies], update=False)
        return Committed(folded)

    def _ensure_partition(self, tx: Connection, day: int) -> None:
        if day not in self._partitions:
            tx.exec_driver_sql(
                f"CREATE TABLE IF NOT EXISTS entries_{day:d} PARTITION OF entries FOR VALUES IN ({day:d})"
            )


def facet_id(values: FacetValues) -> int:
    """The number by which entries name a facet: the first 63 bits of SHA-256 over its values."""
    return int.from_bytes(hashlib.sha256(_ENCODER.encode(values)).digest()[:8], "big") >> 1


def day_text(day: int) -> str:
    """A day as `YYYY-MM-DD`."""
    return (_EPOCH + timedelta(days=day)).isoformat()


def _upsert(tx: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *, update: bool = True) -> None:
    if rows:
        tx.execute(_upsert_statement(table, tx.dialect.name, update=update), [dict(row) for row in rows])


def _upsert_statement(table: Table, dialect: str, *, update: bool) -> sqlite.Insert | postgresql.Insert:
    statement = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    keys = [column.name for column in table.primary_key.columns]
    if not update:
        return statement.on_conflict_do_nothing(index_elements=keys)
    changed = {column.name: statement.excluded[column.name] for column in table.columns if not column.primary_key}
    return statement.on_conflict_do_update(index_elements=keys, set_=changed)


_SQLITE_ROLLUPS = str(_upsert_statement(rollups, "sqlite", update=True).compile(dialect=sqlite.dialect()))
_ROLLUP_COLUMNS = tuple(column.name for column in rollups.columns)


def _write_rollups(tx: Connection, rows: list[tuple[Any, ...]]) -> None:
    if not rows:
        return
    if tx.dialect.name == "sqlite":
        # Past SQLAlchemy's handling of every single value, as with entries: hundreds of rows of thirty values each.
        tx.exec_driver_sql(_SQLITE_ROLLUPS, rows)
    else:
        _upsert(tx, rollups, [dict(zip(_ROLLUP_COLUMNS, row, strict=True)) for row in rows])


_SQLITE_INSERT = str(entries.insert().compile(dialect=sqlite.dialect()))
_POSTGRES_COPY = f"COPY entries ({', '.join(ENTRY_COLUMNS)}) FROM STDIN"


def _insert_entries(tx: Connection, rows: Sequence[EntryRow], *, is_sqlite: bool) -> None:
    if is_sqlite:
        tx.exec_driver_sql(_SQLITE_INSERT, list(rows))
        return
    # SQLAlchemy has no COPY; the driver's own errors are wrapped where SQLAlchemy would have done it.
    driver = tx.connection.driver_connection
    assert driver is not None  # noqa: S101 - the transaction is open
    try:
        with driver.cursor() as cursor, cursor.copy(_POSTGRES_COPY) as copy:
            for row in rows:
                copy.write_row(row)
    except driver.IntegrityError as error:
        raise IntegrityError(_POSTGRES_COPY, None, error) from error
    except driver.DataError as error:
        raise DataError(_POSTGRES_COPY, None, error) from error


def _note_arrival(tx: Connection, day: int, rows: Sequence[EntryRow]) -> int:
    newest = tx.execute(select(func.max(arrivals.c.number)).where(arrivals.c.day == day)).scalar()
    ids = packed_ids([row[0] for row in rows])
    number = int(newest or 0) + 1
    tx.execute(arrivals.insert().values(day=day, number=number, ids=ids))
    return number


def _insert_exposures(tx: Connection, batch: LedgerBatch, rows: Sequence[EntryRow], number: int) -> None:
    """Only of rows that go in: an entry that was there already is evidence already."""
    found = [batch.exposed[row[0]] for row in rows if row[0] in batch.exposed]
    if found:
        values = [
            {
                **msgspec.structs.asdict(one),
                "day": batch.day,
                "number": number,
                "duration_us": min(one.duration_us, FIGURE_MAX),
                "cost_nano_usd": min(one.cost_nano_usd, FIGURE_MAX),
            }
            for one in found
        ]
        tx.execute(exposures.insert(), values)


def _count_hits(tx: Connection, batch: LedgerBatch, rows: Sequence[EntryRow]) -> None:
    """Only of rows that go in: an entry that was there already was counted then."""
    counted: dict[str, list[int]] = {}
    for ruled in (batch.ruled[row[0]] for row in rows if row[0] in batch.ruled):
        for rule in dict.fromkeys(ruled.rules):
            sums = counted.setdefault(rule, [0, 0, 0])
            sums[0] += 1
            sums[1] += ruled.is_refused
            sums[2] = max(sums[2], ruled.at_us)
    known = {row.rule: row for row in tx.execute(select(rule_hits).where(rule_hits.c.day == batch.day))}
    for rule, (hits, refused, last_us) in counted.items():
        row = known.get(rule)
        if row is not None:
            hits, refused, last_us = hits + row.hits, refused + row.refused, max(last_us, row.last_us)
        values = {"day": batch.day, "rule": rule, "hits": hits, "refused": refused, "last_us": last_us}
        _upsert(tx, rule_hits, [values])


def packed_ids(ids: Sequence[str]) -> bytes:
    """Ids of one batch, in three to five bytes each.

    They begin alike and count upwards, so character by character, all first ones together, they are short.
    """
    width = len(ids[0])
    if any(len(exchange) != width for exchange in ids):
        return zlib.compress(("0\n" + "\n".join(ids)).encode(), level=1)
    text = "".join(ids)
    columns = "".join([text[place::width] for place in range(width)])
    return zlib.compress(f"{width}\n{columns}".encode(), level=1)


def unpacked_ids(packed: bytes) -> list[str]:
    """The ids that `packed_ids` took."""
    head, _, text = zlib.decompress(packed).decode().partition("\n")
    width = int(head)
    if not width:
        return text.split("\n")
    count = len(text) // width
    return ["".join(chars) for chars in zip(*(text[at : at + count] for at in range(0, len(text), count)), strict=True)]


def _bounded(row: EntryRow) -> EntryRow:
    """The row with figures that fit their columns; a nonsense figure of a vendor is cut, not lost."""
    cut = tuple(
        min(max(value, -FIGURE_MAX), FIGURE_MAX) if isinstance(value, int) and place != _FACET else value
        for place, value in enumerate(row[:-1])
    )
    return row if cut == row[:-1] else (*cut, check_number(cut))


def _existing(connection: Connection, ids: Sequence[str], day: int) -> set[str]:
    found: set[str] = set()
    for start in range(0, len(ids), IDS_PER_STATEMENT):
        wanted = and_(entries.c.id.in_(ids[start : start + IDS_PER_STATEMENT]), entries.c.day == day)
        found.update(connection.execute(select(entries.c.id).where(wanted)).scalars())
    return found


def _reach(position: Position) -> tuple[int, int, bool]:
    return (position.high, position.low, position.closed)


def _file_of_day(day: int) -> str:
    return f"{_FILE_PREFIX}{day_text(day)}.db"


def _day_of_file(path: Path) -> int:
    text = path.name.removeprefix(_FILE_PREFIX).removesuffix(".db")
    return (datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date() - _EPOCH).days
