"""The tables of notices: what people are told, whom, how far it got, and up to where the audit trail was read for it.

In: a Connection and rows as frozen values. Out: rows. Decides nothing. Times are microseconds since 1970 UTC, 0 = not
yet.
"""

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    Table,
    Text,
    delete,
    event,
    exists,
    func,
    insert,
    select,
    update,
)

from lineclear.store.control_tables import CONTROL

LIST_ROWS_MAX = 1_000
OUTBOX = "outbox"

notices = Table(
    "notices",
    CONTROL,
    Column("id", Text, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("facts", Text, nullable=False),
    Column("audit_number", BigInteger, nullable=False),
    Column("repeats", Integer, nullable=False),
    Index("notices_by_time", "at_us"),
    Index("notices_by_object", "object", "at_us"),
)
"""What happened, once for everybody."""

notice_addresses = Table(
    "notice_addresses",
    CONTROL,
    Column("notice_id", Text, primary_key=True),
    Column("team", Text, primary_key=True),
    Column("part", Text, nullable=False),
    Column("apps", Text, nullable=False),
    Column("acked_us", BigInteger, nullable=False),
    Column("acked_by", Text, nullable=False),
)
"""Which teams are told, why, and who of them took note; the team is empty for what belongs to none."""

notice_deliveries = Table(
    "notice_deliveries",
    CONTROL,
    Column("id", Text, primary_key=True),
    Column("notice_id", Text, nullable=False),
    Column("team", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_us", BigInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("ended_us", BigInteger, nullable=False),
    Column("problem", Text, nullable=False),
    Index("notice_deliveries_by_state", "state", "next_us"),
    Index("notice_deliveries_by_notice", "notice_id"),
)
"""A notice on its way to one channel of one team."""

notice_cursor = Table(
    "notice_cursor",
    CONTROL,
    Column("name", Text, primary_key=True),
    Column("audit_number", BigInteger, nullable=False),
)
# A migration begins at the trail's last event, a new database at its first.
event.listen(
    notice_cursor,
    "after_create",
    lambda table, tx, **_: tx.execute(insert(table).values(name=OUTBOX, audit_number=0)),
)
"""One row: the last event of the audit trail that was looked at."""


@dataclass(frozen=True)
class NoticeRow:
    id: str
    at_us: int
    kind: str
    """A `domain.notices.NoticeKind`."""
    object: str
    """Such as `deployment/live/chat`, as the audit trail names it."""
    environment: str
    route: str
    """Where it happened; both empty where it is about no deployment."""
    title: str
    facts: str
    """JSON of what else is told."""
    audit_number: int
    """The event that it tells of; 0 for a test."""
    repeats: int
    """How often the same was said again shortly after."""


@dataclass(frozen=True)
class AddressRow:
    notice_id: str
    team: str
    part: str
    """A `domain.notices.Part`."""
    apps: str
    """JSON: requests of 30 days by app."""
    acked_us: int = 0
    acked_by: str = ""


@dataclass(frozen=True)
class DeliveryRow:
    id: str
    notice_id: str
    team: str
    channel: str
    """Its name in the team's manifest."""
    state: str
    """A `domain.notices.DeliveryState`."""
    attempts: int
    next_us: int
    created_us: int
    ended_us: int
    problem: str
    """Why the last attempt failed; empty if none did."""


@dataclass(frozen=True)
class NoticeFilter:
    """Which notices are read; what is not said lets all through."""

    teams: frozenset[str] | None = None
    """Told to one of these."""
    team: str = ""
    """Told to this one as well."""
    kind: str = ""
    is_open: bool | None = None
    """True = one of `teams` has not taken note; False = one has."""


EVERY_NOTICE: Final = NoticeFilter()


def cursor(tx: Connection) -> int:
    """The last event of the audit trail that was looked at."""
    return int(tx.execute(select(notice_cursor.c.audit_number)).scalar() or 0)


def move_cursor(tx: Connection, audit_number: int) -> None:
    tx.execute(update(notice_cursor).where(notice_cursor.c.name == OUTBOX).values(audit_number=audit_number))


def add_notice(tx: Connection, row: NoticeRow, addresses: Iterable[AddressRow]) -> None:
    tx.execute(insert(notices).values(**asdict(row)))
    for address in addresses:
        tx.execute(insert(notice_addresses).values(**asdict(address)))


def count_repeat(tx: Connection, notice_id: str) -> None:
    tx.execute(update(notices).where(notices.c.id == notice_id).values(repeats=notices.c.repeats + 1))


def newest_of(tx: Connection, object_: str) -> NoticeRow | None:
    """The last notice about an object."""
    query = select(notices).where(notices.c.object == object_).order_by(notices.c.at_us.desc(), notices.c.id.desc())
    found = tx.execute(query.limit(1)).mappings().first()
    return None if found is None else NoticeRow(**found)


def read_notice(tx: Connection, notice_id: str) -> NoticeRow | None:
    found = tx.execute(select(notices).where(notices.c.id == notice_id)).mappings().first()
    return None if found is None else NoticeRow(**found)


def read_notices(tx: Connection, row_limit: int, wanted: NoticeFilter = EVERY_NOTICE) -> list[NoticeRow]:
    """Those wanted, newest first."""
    table = notice_addresses
    query = select(notices).order_by(notices.c.at_us.desc(), notices.c.audit_number.desc(), notices.c.id.desc())
    told = exists().where(table.c.notice_id == notices.c.id)
    if wanted.kind:
        query = query.where(notices.c.kind == wanted.kind)
    if wanted.team:
        query = query.where(told.where(table.c.team == wanted.team))
    if wanted.teams is not None:
        told = told.where(table.c.team.in_(wanted.teams))
    if wanted.is_open is not None:
        told = told.where(table.c.acked_us == 0 if wanted.is_open else table.c.acked_us > 0)
    if wanted.teams is not None or wanted.is_open is not None:
        query = query.where(told)
    return [NoticeRow(**row) for row in tx.execute(query.limit(min(row_limit, LIST_ROWS_MAX))).mappings()]


def read_addresses(tx: Connection, notice_ids: Collection[str]) -> list[AddressRow]:
    """Of these notices, by team."""
    query = select(notice_addresses).where(notice_addresses.c.notice_id.in_(notice_ids))
    return [AddressRow(**row) for row in tx.execute(query.order_by(notice_addresses.c.team)).mappings()]


def acknowledge(tx: Connection, notice_id: str, team: str, by: str, at_us: int) -> bool:
    """Write down who took note; False if somebody of the team had, which stays."""
    table = notice_addresses
    is_open = (table.c.notice_id == notice_id, table.c.team == team, table.c.acked_us == 0)
    return tx.execute(update(table).where(*is_open).values(acked_us=at_us, acked_by=by)).rowcount == 1


def add_delivery(tx: Connection, row: DeliveryRow) -> None:
    tx.execute(insert(notice_deliveries).values(**asdict(row)))


def put_delivery(tx: Connection, row: DeliveryRow) -> None:
    """Write how far it got."""
    changed = {name: value for name, value in asdict(row).items() if name != "id"}
    tx.execute(update(notice_deliveries).where(notice_deliveries.c.id == row.id).values(**changed))


def begin_again(tx: Connection, delivery_id: str, ended: Collection[str], state: str, now_us: int) -> bool:
    """Move a delivery that is in one of the states `ended` into `state`, due now; False if it is in none of them."""
    table = notice_deliveries
    query = update(table).where(table.c.id == delivery_id, table.c.state.in_(ended))
    return tx.execute(query.values(state=state, attempts=0, next_us=now_us, ended_us=0)).rowcount == 1


def read_delivery(tx: Connection, delivery_id: str) -> DeliveryRow | None:
    found = tx.execute(select(notice_deliveries).where(notice_deliveries.c.id == delivery_id)).mappings().first()
    return None if found is None else DeliveryRow(**found)


def due_deliveries(tx: Connection, state: str, now_us: int, row_limit: int, channel_rows_max: int) -> list[DeliveryRow]:
    """Those of a state whose next attempt is due: the oldest of each channel, then the next of each, up to a number."""
    table = notice_deliveries
    oldest = (table.c.next_us, table.c.id)
    place = func.row_number().over(partition_by=(table.c.team, table.c.channel), order_by=oldest).label("place")
    due = select(table, place).where(table.c.state == state, table.c.next_us <= now_us).subquery()
    query = select(*(due.c[column.name] for column in table.c)).where(due.c.place <= channel_rows_max)
    query = query.order_by(due.c.place, due.c.next_us, due.c.id).limit(row_limit)
    return [DeliveryRow(**row) for row in tx.execute(query).mappings()]


def read_deliveries(
    tx: Connection, row_limit: int, state: str = "", notice_id: str = "", teams: Collection[str] | None = None
) -> list[DeliveryRow]:
    """Newest first; of one state, of one notice and to these teams if they are named."""
    table = notice_deliveries
    query = select(table).order_by(table.c.created_us.desc(), table.c.id.desc())
    if state:
        query = query.where(table.c.state == state)
    if notice_id:
        query = query.where(table.c.notice_id == notice_id)
    if teams is not None:
        query = query.where(table.c.team.in_(teams))
    return [DeliveryRow(**row) for row in tx.execute(query.limit(min(row_limit, LIST_ROWS_MAX))).mappings()]


def count_deliveries(tx: Connection) -> dict[str, int]:
    """By state."""
    query = select(notice_deliveries.c.state, func.count()).group_by(notice_deliveries.c.state)
    return {state: int(count) for state, count in tx.execute(query)}


def forget_notices(tx: Connection, before_us: int) -> int:
    """Delete notices older than this, with their addresses and deliveries; how many went."""
    old = select(notices.c.id).where(notices.c.at_us < before_us)
    tx.execute(delete(notice_addresses).where(notice_addresses.c.notice_id.in_(old)))
    tx.execute(delete(notice_deliveries).where(notice_deliveries.c.notice_id.in_(old)))
    return tx.execute(delete(notices).where(notices.c.at_us < before_us)).rowcount
