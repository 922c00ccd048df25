"""One ledger entry as it is read back: an exchange's facts with names, whatever table they stand in.

In: a day's tables. Out: frozen entries, newest first, or one by its id. Must not sum anything.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, and_, func, literal, or_, select
from sqlalchemy.engine import RowMapping

from lineclear.domain.entry import HOUR_US, EntryDetail, EntryKind, day_of, first_exchange_id
from lineclear.domain.ledger import Outcome
from lineclear.domain.money import Usage
from lineclear.observe.period import Period
from lineclear.store.ledger import Ledger
from lineclear.store.ledger_tables import entries, facets

LOGS_MAX = 100_000
"""The most entries one question returns."""
NARROW_BY = (
    "environment",
    "team",
    "app",
    "task",
    "route",
    "operation",
    "release",
    "model",
    "provider",
    "outcome",
    "key_id",
    "error_code",
    "cost_basis",
)
"""Facts that a list of entries can be narrowed by."""
EXCHANGE_DAYS_MAX = 2
"""An exchange settles on the day it started or, around midnight, on the next."""

NO_ERROR = frozenset({Outcome.OK.value, Outcome.CLIENT_GONE.value})
"""Outcomes that are nobody's failure; all others are errors, in sums and in lists."""
FIND_DAYS_MAX = 7
"""Days in which one exchange is looked for: an orphan is closed when control is back, which may be a while."""

ID_SLACK_US = HOUR_US
"""How far an id's time may lie from the exchange's beginning: it is made when the head of a call is there, the body may
take long, and a clock may be set in between."""

_STATUS = re.compile(r"[1-5](\d\d|xx)")
_decode_detail = msgspec.msgpack.Decoder(EntryDetail).decode


@dataclass(frozen=True)
class Entry:
    """What the ledger knows of one exchange, without the detail that only `explain` reads."""

    id: str
    day: int
    kind: EntryKind
    started_us: int
    settled_us: int
    duration_us: int
    first_event_us: int
    attempts: int
    usage: Usage
    cost_nano_usd: int
    waste_nano_usd: int
    request_bytes: int
    response_bytes: int
    facts: Mapping[str, Any]
    """The facet: names as in `facets`. Any: text, int and bool."""
    detail_blob: bytes

    def detail(self) -> EntryDetail:
        """The rest, decoded.

        Raises:
            msgspec.DecodeError: if the blob was damaged.
        """
        return _decode_detail(self.detail_blob)


@dataclass(frozen=True)
class EntryQuestion:
    """Which entries are wanted, newest first."""

    period: Period
    only: Mapping[str, str]
    """Fact out of NARROW_BY to the value wanted."""
    limit: int
    before: str = ""
    """An exchange id: only entries older than it. Empty = from the newest on."""
    find: str = ""
    """A caller's or vendor's own request id, or the response's id. Empty = any."""
    status: str = ""
    """An HTTP status such as `429`, or a family such as `5xx`. Empty = any."""
    is_failed: bool = False
    """Only what went wrong, whoever's fault it was."""


def list_entries(ledger: Ledger, question: EntryQuestion) -> list[Entry]:
    """Entries, newest first by day of settling and then by start.

    Raises:
        ValueError: if a name in `only` is not one of NARROW_BY, or the status is none.
    """
    _check(question)
    first_day, last_day = day_of(question.period.since_us), day_of(question.period.until_us) + EXCHANGE_DAYS_MAX - 1
    left = min(question.limit, LOGS_MAX)
    found: list[Entry] = []
    for day in ledger.days():
        if left <= 0 or day < first_day:
            break
        if day > last_day:
            continue
        with ledger.read(day) as connection:
            statement = _selection(day, question, connection.dialect.name).order_by(entries.c.id.desc()).limit(left)
            page = [_entry_of(row) for row in connection.execute(statement).mappings()]
        found += page
        left -= len(page)
    return found


def _check(question: EntryQuestion) -> None:
    for name in question.only:
        if name not in NARROW_BY:
            raise ValueError(f"entries cannot be narrowed by {name!r}; they can by {', '.join(NARROW_BY)}")
    if question.status:
        _statuses(question.status)


def list_arrived(ledger: Ledger, day: int, ids: Sequence[str], question: EntryQuestion) -> list[Entry]:
    """Those of a day's entries with these ids that the question is about, in the order of `ids`; at most 500 ids.

    Raises:
        ValueError: as `list_entries`.
    """
    _check(question)
    with ledger.read(day) as connection:
        wanted = and_(entries.c.day == day, entries.c.id.in_(ids), *_narrowed(question, connection.dialect.name))
        found = {row[entries.c.id]: _entry_of(row) for row in connection.execute(_joined().where(wanted)).mappings()}
    return [found[exchange] for exchange in ids if exchange in found]


def find_entries(ledger: Ledger, exchange: str) -> list[Entry]:
    """The entries with an exchange id: one, or none, or several if something is wrong."""
    found: list[Entry] = []
    for day in ledger.days():
        with ledger.read(day) as connection:
            statement = _joined().where(entries.c.id == exchange, entries.c.day == day)
            found += [_entry_of(row) for row in connection.execute(statement).mappings()]
        if found and day_of(found[0].started_us) >= day:
            break
    return found


def find_entry(ledger: Ledger, exchange: str, first_day: int) -> Entry | None:
    """The entry of an exchange that began on `first_day`; None if no day up to FIND_DAYS_MAX later has it."""
    for day in ledger.days():
        if first_day <= day < first_day + FIND_DAYS_MAX:
            with ledger.read(day) as connection:
                statement = _joined().where(entries.c.id == exchange, entries.c.day == day)
                row = connection.execute(statement).mappings().first()
            if row is not None:
                return _entry_of(row)
    return None


def find_by_other_id(ledger: Ledger, text: str) -> list[Entry]:
    """The newest entries that carry `text` as the caller's, the vendor's or the response's id."""
    found = []
    for day in ledger.days():
        with ledger.read(day) as connection:
            statement = (
                _joined()
                .where(entries.c.day == day, _mentions(text, connection.dialect.name))
                .order_by(entries.c.id.desc())
                .limit(2)
            )
            found += [_entry_of(row) for row in connection.execute(statement).mappings()]
        if found:
            break
    return [entry for entry in found if text in other_ids(entry.detail())]


def other_ids(detail: EntryDetail) -> tuple[str, ...]:
    """Every id by which others may know this exchange."""
    upstream = tuple(attempt.upstream_id for attempt in detail.attempts)
    return tuple(name for name in (detail.inbound_id, detail.response_id, *upstream) if name)


def _joined() -> Select[Any]:
    return select(entries, facets).join(facets, facets.c.facet == entries.c.facet)


def _selection(day: int, question: EntryQuestion, dialect: str) -> Select[Any]:
    wanted: list[ColumnElement[bool]] = [
        entries.c.day == day,
        # Ids sort by time: the key leads to the period, and what lies before and behind it is not read.
        entries.c.id >= first_exchange_id(question.period.since_us - ID_SLACK_US),
        entries.c.id < first_exchange_id(question.period.until_us + ID_SLACK_US),
        entries.c.started_us >= question.period.since_us,
        entries.c.started_us < question.period.until_us,
        *_narrowed(question, dialect),
    ]
    if question.before:
        wanted.append(entries.c.id < question.before)
    return _joined().where(and_(*wanted))


def _narrowed(question: EntryQuestion, dialect: str) -> list[ColumnElement[bool]]:
    """What a question asks of each entry, whenever it was."""
    wanted: list[ColumnElement[bool]] = [facets.c[name] == value for name, value in question.only.items()]
    if question.status:
        first, last = _statuses(question.status)
        wanted.append(facets.c.status.between(first, last))
    if question.is_failed:
        wanted.append(facets.c.outcome.not_in(sorted(NO_ERROR)))
    if question.find:
        wanted.append(_mentions(question.find, dialect))
    return wanted


def _statuses(text: str) -> tuple[int, int]:
    if not _STATUS.fullmatch(text):
        raise ValueError(f"status is a number such as 429 or a family such as 5xx, not {text!r}")
    family = int(text[0]) * 100
    return (family, family + 99) if text.endswith("xx") else (int(text), int(text))


def _mentions(text: str, dialect: str) -> ColumnElement[bool]:
    """Whether the detail blob holds these bytes. A scan: it reads a day at the speed of the disk, without an index."""
    needle = literal(text.encode())
    if dialect == "sqlite":
        return or_(func.instr(entries.c.detail, needle) > 0)
    return or_(func.position(needle.op("IN")(entries.c.detail)) > 0)


def _entry_of(row: RowMapping) -> Entry:
    return Entry(
        id=row[entries.c.id],
        day=row[entries.c.day],
        kind=EntryKind(row[entries.c.kind]),
        started_us=row[entries.c.started_us],
        settled_us=row[entries.c.settled_us],
        duration_us=row[entries.c.duration_us],
        first_event_us=row[entries.c.first_event_us],
        attempts=row[entries.c.attempts],
        usage=Usage(
            row[entries.c.input_tokens],
            row[entries.c.cache_read_tokens],
            row[entries.c.cache_write_tokens],
            row[entries.c.cache_write_1h_tokens],
            row[entries.c.output_tokens],
            row[entries.c.reasoning_tokens],
            row[entries.c.audio_input_tokens],
            row[entries.c.audio_output_tokens],
            row[entries.c.reported_cost_nano_usd],
        ),
        cost_nano_usd=row[entries.c.cost_nano_usd],
        waste_nano_usd=row[entries.c.waste_nano_usd],
        request_bytes=row[entries.c.request_bytes],
        response_bytes=row[entries.c.response_bytes],
        facts={column.name: row[column] for column in facets.columns if column.name != "facet"},
        detail_blob=bytes(row[entries.c.detail]),
    )
