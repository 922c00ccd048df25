"""The tables of datasets and replays: what cases there are, what was asked of which release, what came back.

In: a Connection and rows as frozen values. Out: rows. Decides nothing. Times are microseconds since 1970 UTC; contents
and answers are sealed before they get here.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    update,
)

from lineclear.store.control_tables import CONTROL
from lineclear.store.once import left_to_write

LIST_ROWS_MAX = 1_000
RESULTS_AT_ONCE = 500

datasets = Table(
    "datasets",
    CONTROL,
    Column("name", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("team", Text, nullable=False),
    Column("cases", Integer, nullable=False),
    Column("content_bytes", BigInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
"""Every version of every dataset; the digest is of the content as it was given."""

replays = Table(
    "replays",
    CONTROL,
    Column("id", Text, primary_key=True),
    Column("purpose", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("app", Text, nullable=False),
    Column("dataset", Text, nullable=False),
    Column("dataset_digest", Text, nullable=False),
    Column("dataset_team", Text, nullable=False),
    Column("cases", Integer, nullable=False),
    Column("sides", Text, nullable=False),
    Column("spend_cap_nano_usd", BigInteger, nullable=False),
    Column("rollout", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("report", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("ended_us", BigInteger, nullable=False),
)
"""Every replay there was, while its results are kept. `sides` is JSON of `Side` by arm."""

replay_results = Table(
    "replay_results",
    CONTROL,
    Column("replay_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("arm", Text, primary_key=True),
    Column("status", Integer, nullable=False),
    Column("error_code", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("text_bytes", BigInteger, nullable=False),
    Column("is_cut", Integer, nullable=False),
    Column("cost_nano_usd", BigInteger, nullable=True),
    Column("cost_basis", Text, nullable=False),
    Column("duration_us", BigInteger, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
"""One row for each case and arm that was asked; written once."""


@dataclass(frozen=True)
class DatasetRow:
    name: str
    digest: str
    team: str
    cases: int
    content_bytes: int
    created_us: int
    created_by: str


@dataclass(frozen=True)
class ReplayRow:
    id: str
    purpose: str
    environment: str
    route: str
    app: str
    dataset: str
    dataset_digest: str
    dataset_team: str
    cases: int
    sides: str
    spend_cap_nano_usd: int
    rollout: str
    """The rollout that waits for it; empty if none does."""
    state: str
    reason: str
    report: str
    """JSON of what came out; empty until it has ended."""
    created_us: int
    created_by: str
    ended_us: int
    """0 while it is open."""


@dataclass(frozen=True)
class ResultRow:
    number: int
    arm: str
    status: int
    error_code: str
    digest: str
    text_bytes: int
    is_cut: int
    cost_nano_usd: int | None
    cost_basis: str
    duration_us: int
    request_id: str
    model: str
    sealed: bytes


_DATASET = [column for column in datasets.c if column.name != "sealed"]
_FIGURES = [column for column in replay_results.c if column.name not in ("replay_id", "sealed")]
_RESULT = [column for column in replay_results.c if column.name != "replay_id"]


def add_dataset(tx: Connection, row: DatasetRow, sealed: bytes) -> None:
    tx.execute(insert(datasets).values(**asdict(row), sealed=sealed))


def read_datasets(tx: Connection, name: str = "") -> list[DatasetRow]:
    """Versions of one dataset, or of all of them, by name and newest first."""
    query = select(*_DATASET).order_by(datasets.c.name, datasets.c.created_us.desc(), datasets.c.digest)
    if name:
        query = query.where(datasets.c.name == name)
    return [DatasetRow(**row) for row in tx.execute(query).mappings()]


def read_dataset_content(tx: Connection, name: str, digest: str) -> bytes | None:
    """The sealed content; None if there is no such version."""
    query = select(datasets.c.sealed).where(datasets.c.name == name, datasets.c.digest == digest)
    return tx.execute(query).scalar()


def delete_dataset(tx: Connection, name: str, digest: str) -> None:
    tx.execute(delete(datasets).where(datasets.c.name == name, datasets.c.digest == digest))


def add_replay(tx: Connection, row: ReplayRow) -> None:
    tx.execute(insert(replays).values(**asdict(row)))


def move_replay(tx: Connection, row: ReplayRow, states: Collection[str]) -> bool:
    """Write a replay that is in one of these states; False, and nothing written, if it is not."""
    changed = tx.execute(
        update(replays)
        .where(replays.c.id == row.id, replays.c.state.in_(sorted(states)))
        .values(**{name: value for name, value in asdict(row).items() if name != "id"})
    )
    return changed.rowcount == 1


def read_replay(tx: Connection, id_: str) -> ReplayRow | None:
    """One replay; None if there is none of that id."""
    found = tx.execute(select(replays).where(replays.c.id == id_)).mappings().first()
    return None if found is None else ReplayRow(**found)


def read_replays(tx: Connection, row_limit: int = LIST_ROWS_MAX) -> list[ReplayRow]:
    """Newest first."""
    query = select(replays).order_by(replays.c.created_us.desc(), replays.c.id.desc()).limit(row_limit)
    return [ReplayRow(**row) for row in tx.execute(query).mappings()]


def read_replays_in(tx: Connection, states: Collection[str]) -> list[ReplayRow]:
    """Those in one of these states, oldest first."""
    query = select(replays).where(replays.c.state.in_(sorted(states))).order_by(replays.c.created_us, replays.c.id)
    return [ReplayRow(**row) for row in tx.execute(query).mappings()]


def delete_replays_beyond(tx: Connection, kept_max: int, ended: Collection[str]) -> int:
    """Forget the oldest that have ended and their results, so that this many are left; how many went."""
    newest = select(replays.c.id).order_by(replays.c.created_us.desc(), replays.c.id.desc()).limit(kept_max)
    too_old = [
        row.id
        for row in tx.execute(
            select(replays.c.id).where(replays.c.state.in_(sorted(ended)), replays.c.id.not_in(newest))
        )
    ]
    if too_old:
        tx.execute(delete(replay_results).where(replay_results.c.replay_id.in_(too_old)))
        tx.execute(delete(replays).where(replays.c.id.in_(too_old)))
    return len(too_old)


def add_results(tx: Connection, replay_id: str, found: Sequence[ResultRow]) -> None:
    """Keep results once: one that is there already, as after a commit whose answer was lost, stays as it is.

    Raises:
        KeptOtherwise: another result is kept of one of these cases and arms; nothing was written.
    """
    if not found:
        return
    numbers = [row.number for row in found]
    kept = read_results(tx, replay_id, min(numbers), max(numbers) + 1)
    left = left_to_write(found, kept, lambda row: (row.number, row.arm))
    if left:
        tx.execute(insert(replay_results), [{"replay_id": replay_id, **asdict(row)} for row in left])


def read_results(tx: Connection, replay_id: str, number_from: int = 0, number_to: int | None = None) -> list[ResultRow]:
    """Results of the cases from `number_from` up to, without, `number_to`, by case and arm."""
    column = replay_results.c
    query = select(*_RESULT).where(column.replay_id == replay_id, column.number >= number_from)
    if number_to is not None:
        query = query.where(column.number < number_to)
    return [ResultRow(**row) for row in tx.execute(query.order_by(column.number, column.arm)).mappings()]


def read_figures(tx: Connection, replay_id: str) -> list[ResultRow]:
    """Every result without its text, by case and arm."""
    column = replay_results.c
    query = select(*_FIGURES).where(column.replay_id == replay_id).order_by(column.number, column.arm)
    return [ResultRow(**row, sealed=b"") for row in tx.execute(query).mappings()]


@dataclass(frozen=True)
class ArmSum:
    """What one arm of a replay has so far."""

    results: int
    answered: int
    cost_nano_usd: int


def sum_results(tx: Connection, replay_ids: Sequence[str]) -> dict[tuple[str, str], ArmSum]:
    """By (replay, arm); one that was never asked is not among them."""
    column = replay_results.c
    answered = func.sum(func.coalesce((column.status == 200).cast(Integer), 0))
    query = (
        select(column.replay_id, column.arm, func.count(), answered, func.coalesce(func.sum(column.cost_nano_usd), 0))
        .where(column.replay_id.in_(replay_ids))
        .group_by(column.replay_id, column.arm)
    )
    return {(row[0], row[1]): ArmSum(int(row[2]), int(row[3]), int(row[4])) for row in tx.execute(query)}
