"""Reads and writes change requests that wait: their rows, approvals and sealed content.

In: a Connection and rows as frozen values. Out: rows. Decides nothing: no ids, no times, no rules.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, delete, func, insert, select, update

from lineclear.store import control_tables as tables
from lineclear.store.control_rows import ChangeRow


@dataclass(frozen=True)
class ApprovalRow:
    change_id: str
    principal: str
    at_us: int
    content_digest: str
    scopes: str
    """JSON list of the scopes that it was given for."""
    note: str
    mac: str
    """Over all the rest, under the master key."""


def update_change(tx: Connection, row: ChangeRow) -> None:
    """Write every field of a change request that is there."""
    tx.execute(update(tables.changes).where(tables.changes.c.id == row.id).values(**asdict(row)))


def read_changes_in(tx: Connection, states: Collection[str]) -> list[ChangeRow]:
    """Every change request in one of these states, oldest first."""
    made = tables.changes.c
    query = select(tables.changes).where(made.state.in_(sorted(states))).order_by(made.created_us, made.id)
    return [ChangeRow(**row) for row in tx.execute(query).mappings()]


def put_approval(tx: Connection, row: ApprovalRow) -> None:
    """Insert an approval, or replace the earlier one of the same principal."""
    table = tables.change_approvals
    tx.execute(delete(table).where(table.c.change_id == row.change_id, table.c.principal == row.principal))
    tx.execute(insert(table).values(**asdict(row)))


def read_approvals(tx: Connection, change_id: str) -> list[ApprovalRow]:
    """The approvals of one change request, oldest first."""
    table = tables.change_approvals
    query = select(table).where(table.c.change_id == change_id).order_by(table.c.at_us, table.c.principal)
    return [ApprovalRow(**row) for row in tx.execute(query).mappings()]


def put_content(tx: Connection, change_id: str, sealed: bytes) -> None:
    """Keep what came with a change request."""
    tx.execute(insert(tables.change_contents).values(change_id=change_id, sealed=sealed))


def read_content(tx: Connection, change_id: str) -> bytes | None:
    """What came with a change request; None once it is closed."""
    table = tables.change_contents
    found = tx.execute(select(table.c.sealed).where(table.c.change_id == change_id)).first()
    return None if found is None else bytes(found.sealed)


def content_bytes_of(tx: Connection, change_ids: Collection[str]) -> int:
    """How much is kept of what came with these."""
    table = tables.change_contents
    total = select(func.coalesce(func.sum(func.length(table.c.sealed)), 0)).where(table.c.change_id.in_(change_ids))
    return int(tx.execute(total).scalar_one())


def delete_content(tx: Connection, change_id: str) -> None:
    """Forget what came with a change request."""
    tx.execute(delete(tables.change_contents).where(tables.change_contents.c.change_id == change_id))
