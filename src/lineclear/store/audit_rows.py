"""Reads and writes signed checkpoints of the audit trail inside a transaction that the caller holds."""

from dataclasses import asdict, dataclass

from sqlalchemy import Connection, insert, select

from lineclear.store import control_tables as tables


@dataclass(frozen=True)
class CheckpointRow:
    number: int
    """Of the newest row that it is about."""
    at_us: int
    note: str
    """The signed note."""
    peaks: str
    """JSON list of the hashes of the tree's full subtrees, to go on from."""


def add_checkpoint(tx: Connection, row: CheckpointRow) -> None:
    tx.execute(insert(tables.audit_checkpoints).values(**asdict(row)))


def last_checkpoint(tx: Connection) -> CheckpointRow | None:
    """The newest checkpoint, None before the first."""
    table = tables.audit_checkpoints
    row = tx.execute(select(table).order_by(table.c.number.desc()).limit(1)).mappings().first()
    return None if row is None else CheckpointRow(**row)


def read_checkpoints(tx: Connection, after: int, until: int) -> list[CheckpointRow]:
    """The checkpoints of numbers above `after` and up to `until`, in order."""
    table = tables.audit_checkpoints
    query = select(table).where(table.c.number > after, table.c.number <= until).order_by(table.c.number)
    return [CheckpointRow(**row) for row in tx.execute(query).mappings()]
