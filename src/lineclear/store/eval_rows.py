"""The tables of evals: every run, and the scores that somebody was asked for while a run is under way.

In: a Connection and rows as frozen values. Out: rows. Decides nothing. Times are microseconds since 1970 UTC. No prompt
and no answer stands here.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass

from sqlalchemy import BigInteger, Column, Connection, Float, Integer, Table, Text, delete, insert, select, update

from lineclear.store.control_tables import CONTROL
from lineclear.store.once import left_to_write

LIST_ROWS_MAX = 1_000

eval_runs = Table(
    "eval_runs",
    CONTROL,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("spec", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("sides", Text, nullable=False),
    Column("rollout", Text, nullable=False),
    Column("replay", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("report", Text, nullable=False),
    Column("spent_nano_usd", BigInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("ended_us", BigInteger, nullable=False),
)
"""Every run there was, while it is kept."""

eval_scores = Table(
    "eval_scores",
    CONTROL,
    Column("run", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("check_id", Text, primary_key=True),
    Column("arm", Text, primary_key=True),
    Column("score", Float(53), nullable=True),
    Column("cost_nano_usd", BigInteger, nullable=False),
)
"""What models said of answers, so that a restart does not ask and pay for it again; gone when the run has ended."""


@dataclass(frozen=True)
class EvalRow:
    id: str
    kind: str
    """`eval` or `replay`: what a step of a rollout would call it."""
    spec: str
    """JSON of `domain.evals.EvalSpec`."""
    environment: str
    route: str
    sides: str
    """JSON of `domain.replay.Side` by arm."""
    rollout: str
    """The rollout whose gate it is; empty if a person asked for it."""
    replay: str
    """The replay that brings the answers; empty until it has begun."""
    state: str
    verdict: str
    """Empty while it is under way."""
    reason: str
    report: str
    """JSON of `domain.evals.EvalReport`; empty until there is one."""
    spent_nano_usd: int
    """By the models that judged; the replay counts its own."""
    created_us: int
    created_by: str
    ended_us: int
    """0 while it is under way."""


@dataclass(frozen=True)
class ScoreRow:
    number: int
    """Place of the case in its dataset, from 0."""
    check_id: str
    arm: str
    score: float | None
    """None = it was asked for, and nobody gave one."""
    cost_nano_usd: int


def add_run(tx: Connection, row: EvalRow) -> None:
    tx.execute(insert(eval_runs).values(**asdict(row)))


def move_run(tx: Connection, row: EvalRow, state: str) -> bool:
    """Write a run that is in this state.

    Returns:
        False if it is in another one; nothing was changed then.
    """
    changed = tx.execute(
        update(eval_runs)
        .where(eval_runs.c.id == row.id, eval_runs.c.state == state)
        .values(**{name: value for name, value in asdict(row).items() if name != "id"})
    )
    return changed.rowcount == 1


def read_run(tx: Connection, id_: str) -> EvalRow | None:
    """One run; None if there is none of that id."""
    found = tx.execute(select(eval_runs).where(eval_runs.c.id == id_)).mappings().first()
    return None if found is None else EvalRow(**found)


def read_runs(tx: Connection, row_limit: int) -> list[EvalRow]:
    """Newest first."""
    query = select(eval_runs).order_by(eval_runs.c.created_us.desc(), eval_runs.c.id.desc())
    return [EvalRow(**row) for row in tx.execute(query.limit(min(row_limit, LIST_ROWS_MAX))).mappings()]


def read_runs_in(tx: Connection, state: str) -> list[EvalRow]:
    """Those in this state, oldest first."""
    query = select(eval_runs).where(eval_runs.c.state == state).order_by(eval_runs.c.created_us, eval_runs.c.id)
    return [EvalRow(**row) for row in tx.execute(query).mappings()]


def runs_of_deployment(tx: Connection, environment: str, route: str) -> list[EvalRow]:
    """Those of a route in an environment, newest first."""
    query = (
        select(eval_runs)
        .where(eval_runs.c.environment == environment, eval_runs.c.route == route)
        .order_by(eval_runs.c.created_us.desc(), eval_runs.c.id.desc())
    )
    return [EvalRow(**row) for row in tx.execute(query.limit(LIST_ROWS_MAX)).mappings()]


def delete_runs_beyond(tx: Connection, kept_max: int, ended: Collection[str]) -> None:
    """Forget the oldest that have ended, so that this many runs are left."""
    newest = select(eval_runs.c.id).order_by(eval_runs.c.created_us.desc(), eval_runs.c.id.desc()).limit(kept_max)
    tx.execute(delete(eval_runs).where(eval_runs.c.state.in_(sorted(ended)), eval_runs.c.id.not_in(newest)))


def add_scores(tx: Connection, run: str, found: Collection[ScoreRow]) -> None:
    """Keep scores once: one that is there already, as after a commit whose answer was lost, stays as it is.

    Raises:
        KeptOtherwise: another score is kept in the place of one of these; nothing was written.
    """
    if not found:
        return
    numbers = {row.number for row in found}
    kept = read_scores(tx, run, min(numbers), max(numbers) + 1)
    left = left_to_write(found, kept, lambda row: (row.number, row.check_id, row.arm))
    if left:
        tx.execute(insert(eval_scores), [{"run": run, **asdict(row)} for row in left])


def read_scores(tx: Connection, run: str, number_from: int = 0, number_to: int | None = None) -> list[ScoreRow]:
    """Of one run, for the cases from `number_from` up to, without, `number_to`."""
    columns = [column for column in eval_scores.c if column.name != "run"]
    query = select(*columns).where(eval_scores.c.run == run, eval_scores.c.number >= number_from)
    if number_to is not None:
        query = query.where(eval_scores.c.number < number_to)
    return [ScoreRow(**row) for row in tx.execute(query).mappings()]


def delete_scores(tx: Connection, run: str) -> None:
    tx.execute(delete(eval_scores).where(eval_scores.c.run == run))
