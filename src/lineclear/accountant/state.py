"""The books as bytes, for the checkpoint, and back.

In: books, or bytes that this wrote. Out: the other. Kept: money rows, open reservations, resolved ones that the
ledger has not confirmed, and the debts of rates. Must not touch files.
"""

from typing import Final

import msgspec

from lineclear.accountant.account import Rate, Row
from lineclear.accountant.books import Books
from lineclear.accountant.reservation import Moment, Resolved
from lineclear.domain.accounts import Reserve

ROWS_KEPT: Final = 3
"""Periods of each account that are kept at least, the current one among them."""


class SavedRow(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    account: str
    period: str
    posted: int


class SavedOpen(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    op: Reserve
    source: str
    periods: tuple[str, ...]
    checkpoint_nano_usd: int


class SavedResolved(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    txn: str
    source: str
    rows: tuple[tuple[str, str], ...]
    """(account, period)."""
    posted: int
    resolved_s: int
    checkpoint_nano_usd: int
    is_final: bool


class SavedDebt(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    account: str
    is_tokens: bool
    per_minute: int
    debt_us: int
    """Microseconds until the rate is whole again."""


class SavedBooks(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Order is the format; its version is the checkpoint file's."""

    wall_s: int
    rows: tuple[SavedRow, ...]
    open: tuple[SavedOpen, ...]
    resolved: tuple[SavedResolved, ...]
    debts: tuple[SavedDebt, ...]


class StateUnreadable(Exception):
    """The bytes are not what this program writes."""


def dump_books(books: Books, at: Moment) -> bytes:
    """Everything that a restart needs besides the spool from the checkpoint's positions on."""
    opened = [
        SavedOpen(
            Reserve(txn, tuple([account.id for account in item.among.accounts]), item.tokens, item.nano_usd),
            item.source.name,
            tuple([row.period for row in item.rows]),
            item.checkpoint_nano_usd,
        )
        for txn, item in books.open.items()
    ]
    resolved = [_saved(txn, item) for txn, item in books.unconfirmed.items()]
    rows = [SavedRow(row.account, row.period, row.posted) for row in _rows_kept(books)]
    return msgspec.msgpack.encode(
        SavedBooks(at.wall_s, tuple(rows), tuple(opened), tuple(resolved), tuple(_debts(books, at)))
    )


def load_books(state: bytes, at: Moment) -> Books:
    """The books as they were. Owners are known by name and not connected; limits are not in here.

    Raises:
        StateUnreadable: see there.
    """
    try:
        saved = msgspec.msgpack.decode(state, type=SavedBooks)
    except msgspec.MsgspecError as error:
        raise StateUnreadable(str(error)) from error
    books = Books()
    away_us = max(0, at.wall_s - saved.wall_s) * 1_000_000
    for debt in saved.debts:
        _owe(books, debt, at.mono_us - away_us)
    for row in saved.rows:
        books.row(row.account, row.period).posted = row.posted
    for item in saved.open:
        source = books.source(item.source, at.mono_us)
        books.reopen(item.op, item.periods, source, at).checkpoint_nano_usd = item.checkpoint_nano_usd
    for ended in saved.resolved:
        rows = tuple([books.row(account, period) for account, period in ended.rows])
        posted, resolved_s, is_final = ended.posted, ended.resolved_s, ended.is_final
        checkpoint = ended.checkpoint_nano_usd
        books.unconfirmed[ended.txn] = Resolved(ended.source, rows, posted, resolved_s, is_final, checkpoint)
    return books


def _rows_kept(books: Books) -> list[Row]:
    newest: dict[str, list[str]] = {}
    for account, period in sorted(books.rows, reverse=True):
        newest.setdefault(account, []).append(period)
    return [row for row in books.rows.values() if row.pending or row.period in newest[row.account][:ROWS_KEPT]]


def _saved(txn: str, item: Resolved) -> SavedResolved:
    rows = tuple([(row.account, row.period) for row in item.rows])
    return SavedResolved(txn, item.source, rows, item.posted, item.resolved_s, item.checkpoint_nano_usd, item.is_final)


def _debts(books: Books, at: Moment) -> list[SavedDebt]:
    return [
        SavedDebt(account.id, is_tokens, rate.per_minute, debt_us)
        for account in books.accounts.values()
        for is_tokens, rate in ((False, account.requests), (True, account.tokens))
        if rate is not None and (debt_us := rate.debt_us(at.mono_us))
    ]


def _owe(books: Books, debt: SavedDebt, then_us: int) -> None:
    rate = Rate(debt.per_minute)
    rate.arrival = (then_us + debt.debt_us) * debt.per_minute
    account = books.account(debt.account)
    if debt.is_tokens:
        account.tokens = rate
    else:
        account.requests = rate
