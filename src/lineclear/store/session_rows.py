"""Reads and writes sign-in links and sessions inside a transaction that the caller holds.

In: a Connection and rows as frozen values. Out: rows. Decides nothing: no tokens, no times, no rules.
"""

from dataclasses import asdict, dataclass

from sqlalchemy import Connection, delete, insert, select, update

from lineclear.store import control_tables as tables


@dataclass(frozen=True)
class LinkRow:
    hash: str
    principal: str
    created_us: int
    expires_us: int


@dataclass(frozen=True)
class SessionRow:
    hash: str
    principal: str
    created_us: int
    seen_us: int
    expires_us: int


def add_link(tx: Connection, row: LinkRow) -> None:
    tx.execute(insert(tables.sign_in_links).values(**asdict(row)))


def take_link(tx: Connection, token_hash: str) -> LinkRow | None:
    """Remove a link and return it; None if there is none, so that of two takers only one has it."""
    table = tables.sign_in_links
    row = tx.execute(select(table).where(table.c.hash == token_hash)).mappings().first()
    if row is None or tx.execute(delete(table).where(table.c.hash == token_hash)).rowcount != 1:
        return None
    return LinkRow(**row)


def take_links(tx: Connection, now_us: int) -> list[LinkRow]:
    """Remove every link that could still be used, and return them."""
    table = tables.sign_in_links
    found = [LinkRow(**row) for row in tx.execute(select(table).where(table.c.expires_us > now_us)).mappings()]
    tx.execute(delete(table))
    return found


def add_session(tx: Connection, row: SessionRow) -> None:
    tx.execute(insert(tables.sessions).values(**asdict(row)))


def read_session(tx: Connection, token_hash: str) -> SessionRow | None:
    table = tables.sessions
    row = tx.execute(select(table).where(table.c.hash == token_hash)).mappings().first()
    return None if row is None else SessionRow(**row)


def list_sessions(tx: Connection, now_us: int) -> list[SessionRow]:
    """Sessions that have not ended, newest first."""
    table = tables.sessions
    found = select(table).where(table.c.expires_us > now_us).order_by(table.c.created_us.desc(), table.c.hash)
    return [SessionRow(**row) for row in tx.execute(found).mappings()]


def move_session(tx: Connection, token_hash: str, seen_us: int, expires_us: int) -> None:
    """Write when a session was last seen and when it ends."""
    table = tables.sessions
    tx.execute(update(table).where(table.c.hash == token_hash).values(seen_us=seen_us, expires_us=expires_us))


def remove_session(tx: Connection, token_hash: str) -> None:
    tx.execute(delete(tables.sessions).where(tables.sessions.c.hash == token_hash))


def remove_sessions_of(tx: Connection, principal: str) -> None:
    """End every session of somebody, and take back links that would open another one."""
    for table in (tables.sign_in_links, tables.sessions):
        tx.execute(delete(table).where(table.c.principal == principal))


def remove_expired(tx: Connection, now_us: int) -> None:
    """Forget links and sessions that ended."""
    for table in (tables.sign_in_links, tables.sessions):
        tx.execute(delete(table).where(table.c.expires_us <= now_us))
