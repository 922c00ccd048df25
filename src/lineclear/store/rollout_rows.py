"""The table of rollouts: what each was held to, where it stands, what was known of it last.

In: a Connection and rows as frozen values. Out: rows. Decides nothing. Times are microseconds since 1970 UTC.
"""

from dataclasses import asdict, dataclass

from sqlalchemy import BigInteger, Column, Connection, Integer, Table, Text, insert, select, update

from lineclear.store.control_tables import CONTROL

LIST_ROWS_MAX = 1_000

rollouts = Table(
    "rollouts",
    CONTROL,
    Column("id", Text, primary_key=True),
    Column("environment", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("stable", Text, nullable=False),
    Column("candidate", Text, nullable=False),
    Column("course", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("progress", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("is_open", Integer, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("change_id", Text, nullable=False),
    Column("ended_us", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
)
"""Every rollout there was; of each deployment at most one is open. `version` rises with each write."""


@dataclass(frozen=True)
class RolloutRow:
    id: str
    environment: str
    route: str
    stable: str
    """Digest of the release that serves until it is completed."""
    candidate: str
    """Digest of the release that is tried."""
    course: str
    """JSON of `domain.rollout.Course`."""
    plan: str
    """JSON of `domain.signals.SignalPlan`; empty until it was frozen."""
    progress: str
    """JSON of `domain.rollout.Progress`."""
    evidence: str
    """JSON of what was known at its last transition; empty before the first."""
    is_open: int
    created_us: int
    created_by: str
    change_id: str
    ended_us: int
    """0 while it is open."""
    version: int


def add_rollout(tx: Connection, row: RolloutRow) -> None:
    tx.execute(insert(rollouts).values(**asdict(row)))


def move_rollout(tx: Connection, row: RolloutRow) -> bool:
    """Write a rollout whose version is one above the stored one's.

    Returns:
        False if somebody else wrote it meanwhile; nothing was changed then.
    """
    changed = tx.execute(
        update(rollouts)
        .where(rollouts.c.id == row.id, rollouts.c.version == row.version - 1)
        .values(**{name: value for name, value in asdict(row).items() if name != "id"})
    )
    return changed.rowcount == 1


def open_rollouts(tx: Connection) -> dict[tuple[str, str], RolloutRow]:
    """Those under way, by (environment, route)."""
    query = select(rollouts).where(rollouts.c.is_open == 1).order_by(rollouts.c.created_us, rollouts.c.id)
    found = [RolloutRow(**row) for row in tx.execute(query).mappings()]
    return {(row.environment, row.route): row for row in found}


def read_rollout(tx: Connection, id_: str) -> RolloutRow | None:
    """One rollout; None if there is none of that id."""
    found = tx.execute(select(rollouts).where(rollouts.c.id == id_)).mappings().first()
    return None if found is None else RolloutRow(**found)


def read_rollouts(tx: Connection, row_limit: int) -> list[RolloutRow]:
    """Newest first."""
    query = select(rollouts).order_by(rollouts.c.created_us.desc(), rollouts.c.id.desc())
    return [RolloutRow(**row) for row in tx.execute(query.limit(min(row_limit, LIST_ROWS_MAX))).mappings()]


def read_rollouts_of(tx: Connection, change_id: str) -> list[RolloutRow]:
    """The rollouts that a change began."""
    found = tx.execute(select(rollouts).where(rollouts.c.change_id == change_id).order_by(rollouts.c.id)).mappings()
    return [RolloutRow(**row) for row in found]
