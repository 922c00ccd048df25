"""The books: what is posted and pending on each account, which reservations are open, which are resolved.

In: reservations and their ends, live from gateways and once more, durably, from the ledger's spool. Out: grants and
denials. Every call is one step, idempotent by txn, and takes the time as a value. Must not wait, read or write.

A reservation is open, then resolved: finally by its own settle or void, or provisionally (owner gone, or unknown to
its owner), and then the ledger's settle still posts the exact difference. The ledger has the last word on money.
"""

from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Final

from msgspec import structs

from lineclear.accountant.account import NO_LIMITS, Account, Row
from lineclear.accountant.account_set import AccountSet
from lineclear.accountant.reservation import Moment, Opened, Resolved, Source, set_slots
from lineclear.domain.accounts import Binding, Denied, Extend, Look, Op, Reply, Reserve, SettleAccount
from lineclear.domain.limits import LEASE_GRACE_S, RESERVATION_TTL_S
from lineclear.domain.snapshot import LimitsSection

RESOLVED_MAX: Final = 131_072
"""Resolved reservations kept that the ledger has confirmed: to know a settle that is sent again."""
UNCONFIRMED_MAX: Final = 262_144
"""Resolved reservations kept that the ledger has not confirmed yet."""
RESOLVED_KEPT_S: Final = 86_400
FORGOTTEN_AT_ONCE: Final = 1024
"""A full table lets go of so many: to look for a dict's first key is slow where others before it were deleted."""
ACCOUNT_SETS_MAX: Final = 65_536
"""Combinations of accounts that are kept ready; at the next one all are forgotten and made again as they are asked."""


class Books:
    """All accounts of one node."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.rows: dict[tuple[str, str], Row] = {}
        self.sources: dict[str, Source] = {}
        self.open: dict[str, Opened] = {}
        self.unconfirmed: dict[str, Resolved] = {}
        """Resolved, and the ledger's settle was not read yet."""
        self.confirmed: dict[str, Resolved] = {}
        self._account_sets: dict[tuple[str, ...], AccountSet] = {}
        self.steps = 0
        """Rises with each change; a checkpoint is due when it differs from the last one's."""
        self.counters = dict.fromkeys(
            (
                "accounts_granted",
                "accounts_denied",
                "accounts_settled",
                "accounts_voided",
                "accounts_expired",
                "accounts_overruns",
                "accounts_corrections",
                "accounts_forgotten_early",
                "accounts_sets_forgotten",
            ),
            0,
        )

    # Limits

    def apply_limits(self, section: LimitsSection) -> None:
        """Puts new limits in force; accounts that are no longer named have none.

        Raises:
            ValueError: a time zone is unknown; the accounts before it have their new limits.
        """
        try:
            for account_id, account in self.accounts.items():
                if account_id not in section.accounts:
                    account.apply(NO_LIMITS)
            for account_id, limits in section.accounts.items():
                self.account(account_id).apply(limits)
        finally:
            self._account_sets.clear()
            self._count_slots()

    # Live operations

    def act(self, op: Op, source: Source, at: Moment) -> Reply | None:
        """Does one operation. None acknowledges a settle or void."""
        if isinstance(op, Reserve):
            return self.reserve(op, source, at)
        if isinstance(op, SettleAccount):
            self.settle(op.txn, op.nano_usd, at, tokens=op.tokens)
            return None
        if isinstance(op, Extend):
            return self.extend(op, at)
        if isinstance(op, Look):
            return self.look(op, at)
        self.void(op.txn, source, at)
        return None

    def reserve(self, op: Reserve, source: Source, at: Moment) -> Reply:
        """Takes from every account or from none. Asked again, it answers again and takes nothing more."""
        txn = op.txn
        is_known = txn in self.open or txn in self.unconfirmed or txn in self.confirmed
        if is_known:
            reply = self._reserve_again(op, source, at)
            if reply is not None:
                return reply
        wall_s = at.wall_s
        among = self._account_sets.get(op.accounts)
        if among is None or not among.start_s <= wall_s < among.end_s:
            among = self._account_set(op.accounts, wall_s)
        tokens, nano_usd, now_us = op.tokens, op.nano_usd, at.mono_us
        self.steps += 1
        if not among.has_room(tokens, nano_usd, now_us):
            denial = _denial(op, 1, among, among.rows, at)
            if denial is not None:
                self.counters["accounts_denied"] += 1
                return denial
        if is_known:
            self.unconfirmed.pop(txn, None)
        self.open[txn] = Opened(among, among.rows, tokens, nano_usd, source, True)
        for row in among.rows:
            row.pending += nano_usd
        for account, _ in among.slots:
            account.open_slots += 1
        self.counters["accounts_granted"] += 1
        return among.grant(txn, 1, tokens, now_us)

    def _reserve_again(self, op: Reserve, source: Source, at: Moment) -> Reply | None:
        """The answer to a reservation that was heard of before; None if it is to be asked like a new one."""
        known = self.open.get(op.txn)
        if known is not None:
            if known.is_counted:
                known.source = source
                return known.among.grant(op.txn, 0, 0, at.mono_us)
            self._close(op.txn, known)
        ended = self.unconfirmed.get(op.txn) or self.confirmed.get(op.txn)
        if ended is not None and (ended.is_final or ended.posted):
            return _denied_unknown(op.txn)
        return None

    def extend(self, op: Extend, at: Moment) -> Reply:
        """Raises an open reservation on every account or on none."""
        opened = self.open.get(op.txn)
        if opened is None:
            return _denied_unknown(op.txn)
        denial = _denial(op, 0, opened.among, opened.rows, at)
        if denial is not None:
            self.counters["accounts_denied"] += 1
            return denial
        self._raise(opened, op.tokens, op.nano_usd)
        return opened.among.grant(op.txn, 0, op.tokens, at.mono_us)

    def look(self, op: Look, at: Moment) -> Reply:
        """What is left in one account in its current period. Changes nothing."""
        return self._account_set((op.account,), at.wall_s).grant(op.txn, 0, 0, at.mono_us)

    def settle(self, txn: str, nano_usd: int, at: Moment, *, tokens: int | None = None) -> None:
        """Posts what was really used; a late or oversized amount is posted too, for it is the truth.

        `tokens` None leaves the rates as reserved.
        """
        opened = self.open.get(txn)
        if opened is None:
            resolved = self.unconfirmed.get(txn) or self.confirmed.get(txn)
            if resolved is not None and not resolved.is_final:
                self._correct(resolved, nano_usd)
                resolved.is_final = True
            return
        if nano_usd > opened.nano_usd:
            self.counters["accounts_overruns"] += 1
        if tokens is not None and tokens != opened.tokens and opened.is_counted:
            for rate in opened.among.token_rates:
                rate.take(tokens - opened.tokens, at.mono_us)
        self._end(txn, opened, nano_usd, at.wall_s, True)
        self.counters["accounts_settled"] += 1

    def void(self, txn: str, source: Source, at: Moment) -> None:
        """Gives everything back: the call used nothing. One that is unknown can never be reserved afterwards."""
        opened = self.open.get(txn)
        if opened is not None:
            self._give_back_rates(opened, at)
            self._end(txn, opened, 0, at.wall_s, True)
        elif txn in self.unconfirmed or txn in self.confirmed:
            self.settle(txn, 0, at)
            return
        else:
            self._keep_unconfirmed(txn, Resolved(source.name, (), 0, at.wall_s, True, 0))
        self.counters["accounts_voided"] += 1

    # Owners

    def source(self, name: str, now_us: int) -> Source:
        """The owner of this name, new if it was never heard of."""
        source = self.sources.get(name)
        if source is None:
            source = self.sources[name] = Source(name, now_us)
        return source

    def has_spoken(self, name: str) -> bool:
        """Whether the owner of this name said hello in this life: its reservations are then all here."""
        source = self.sources.get(name)
        return source is not None and source.is_known

    def hello(self, name: str, held: tuple[Reserve, ...], at: Moment) -> Source:
        """An owner connects and says what it holds. What it holds is open; what it does not know of is not."""
        source = self.source(name, at.mono_us)
        source.connections += 1
        source.is_known = True
        self.steps += 1
        held_txns = {op.txn for op in held}
        for txn, opened in self._open_of(source):
            if txn not in held_txns:
                self._give_back_rates(opened, at)
                self._end(txn, opened, 0, at.wall_s, False)
        for op in held:
            self._restore(op, source, at)
        return source

    def goodbye(self, source: Source, at: Moment) -> None:
        """One connection of an owner ended."""
        source.connections -= 1
        source.gone_us = at.mono_us

    @property
    def is_owner_away(self) -> bool:
        """Whether somebody who holds a reservation is not connected."""
        away = {source for source in self.sources.values() if not source.connections}
        return bool(away) and any(opened.source in away for opened in self.open.values())

    def expire(self, at: Moment, dead: AbstractSet[str] = frozenset()) -> int:
        """Posts what owners left open at its last checkpoint: at once if the owner is `dead`, else after the TTL.

        An owner is dead when its process is gone and everything it wrote was read. Slots of owners that are only
        away are free after a short grace.

        Returns:
            How many reservations expired.
        """
        expired = 0
        for source in list(self.sources.values()):
            away_us = at.mono_us - source.gone_us
            if source.connections:
                continue
            if source.name in dead or away_us >= RESERVATION_TTL_S * 1_000_000:
                expired += self._expire_all(source, at)
            elif away_us >= LEASE_GRACE_S * 1_000_000:
                for _, opened in self._open_of(source):
                    set_slots(opened, wanted=False)
        if dead:
            self._follow_ledger(dead)
        self.counters["accounts_expired"] += expired
        self._forget_old(at.wall_s)
        return expired

    def _follow_ledger(self, dead: AbstractSet[str]) -> None:
        """What the dead said here and never wrote, the ledger closes at its last checkpoint; so do the books."""
        for txn, resolved in list(self.unconfirmed.items()):
            if resolved.source in dead:
                if resolved.posted != resolved.checkpoint_nano_usd:
                    self.counters["accounts_corrections"] += 1
                    self._correct(resolved, resolved.checkpoint_nano_usd)
                resolved.is_final = True
                del self.unconfirmed[txn]
                self._keep_confirmed(txn, resolved)
                self.steps += 1

    def _expire_all(self, source: Source, at: Moment) -> int:
        left = self._open_of(source)
        for txn, opened in left:
            self._end(txn, opened, opened.checkpoint_nano_usd, at.wall_s, False)
        del self.sources[source.name]
        return len(left)

    # The ledger, read back

    def ledger_intent(self, op: Reserve, source_name: str, at_s: int, at: Moment) -> None:
        """An intent was read. It opens a reservation only for an owner that has not spoken in this life."""
        if op.txn in self.open or op.txn in self.unconfirmed or op.txn in self.confirmed:
            return
        source = self.source(source_name, at.mono_us)
        if source.is_known:
            return
        periods = tuple(self.account(account_id).period_at(at_s).id for account_id in op.accounts)
        self.reopen(op, periods, source, at)

    def ledger_checkpoint(self, txn: str, nano_usd: int) -> None:
        """A checkpoint was read: what the call would have cost had it ended there."""
        call = self.open.get(txn) or self.unconfirmed.get(txn)
        if call is not None:
            call.checkpoint_nano_usd = nano_usd
            self.steps += 1

    def ledger_settle(self, txn: str, nano_usd: int, at: Moment) -> None:
        """A settle was read: this is what is charged, whatever was said live."""
        resolved = self.unconfirmed.pop(txn, None)
        if resolved is None:
            if txn in self.open:
                self.settle(txn, nano_usd, at)
            resolved = self.unconfirmed.pop(txn, None) or self.confirmed.pop(txn, None)
            if resolved is None:
                return
        if resolved.posted != nano_usd:
            self.counters["accounts_corrections"] += 1
            self._correct(resolved, nano_usd)
        resolved.is_final = True
        self._keep_confirmed(txn, resolved)
        self.steps += 1

    # Accounts and rows

    def account(self, account_id: str) -> Account:
        """The account of this id, new and without limits if it was never named."""
        account = self.accounts.get(account_id)
        if account is None:
            account = self.accounts[account_id] = Account(account_id)
        return account

    def account_now(self, account_id: str, wall_s: int) -> Account:
        """The account with its row of the current period."""
        account = self.accounts.get(account_id) or self.account(account_id)
        period = account.period
        if not period.start_s <= wall_s < period.end_s:
            account.period = period = account.period_at(wall_s)
            account.row = self.row(account.id, period.id)
        return account

    def row(self, account_id: str, period: str) -> Row:
        """The money row of an account in a period, new if nothing was ever reserved in it."""
        key = (account_id, period)
        row = self.rows.get(key)
        if row is None:
            row = self.rows[key] = Row(account_id, period)
        return row

    def reopen(self, op: Reserve, periods: tuple[str, ...], source: Source, at: Moment) -> Opened:
        """An open reservation as a checkpoint tells of it, without asking any limit."""
        rows = tuple([self.row(account_id, period) for account_id, period in zip(op.accounts, periods, strict=True)])
        return self._open(op, rows, source, at)

    # Inside

    def _account_set(self, account_ids: tuple[str, ...], wall_s: int) -> AccountSet:
        """The accounts together, in the current period of each."""
        among = self._account_sets.get(account_ids)
        if among is None or not among.start_s <= wall_s < among.end_s:
            if len(self._account_sets) >= ACCOUNT_SETS_MAX:
                self._account_sets.clear()
                self.counters["accounts_sets_forgotten"] += 1
            among = AccountSet(tuple([self.account_now(account_id, wall_s) for account_id in account_ids]))
            self._account_sets[account_ids] = among
        return among

    def _open(self, op: Reserve, rows: tuple[Row, ...] | None, source: Source, at: Moment) -> Opened:
        """Opens without asking any limit; `rows` None = those of the current periods."""
        among = self._account_set(op.accounts, at.wall_s)
        opened = Opened(among, among.rows if rows is None else rows, op.tokens, op.nano_usd, source, False, False)
        self.open[op.txn] = opened
        for row in opened.rows:
            row.pending += op.nano_usd
        set_slots(opened, wanted=True)
        self.steps += 1
        return opened

    def _open_of(self, source: Source) -> list[tuple[str, Opened]]:
        """What an owner holds. Asked when it comes or is away, so no table of it is kept."""
        return [(txn, opened) for txn, opened in self.open.items() if opened.source is source]

    def _restore(self, op: Reserve, source: Source, at: Moment) -> None:
        opened = self.open.get(op.txn)
        if opened is None:
            if op.txn in self.unconfirmed or op.txn in self.confirmed:
                return
            opened = self._open(op, None, source, at)
        opened.is_counted = True
        self._raise(opened, op.tokens - opened.tokens, op.nano_usd - opened.nano_usd)
        set_slots(opened, wanted=True)
        opened.source = source

    def _count_slots(self) -> None:
        """Counts anew what is open: an account whose concurrency was not limited before was not counted."""
        for account in self.accounts.values():
            account.open_slots = 0
        for among in {opened.among for opened in self.open.values()}:
            among.bind()
        for opened in self.open.values():
            if opened.has_slots:
                for account, _ in opened.among.slots:
                    account.open_slots += 1

    def _raise(self, opened: Opened, tokens: int, nano_usd: int) -> None:
        opened.tokens += tokens
        opened.nano_usd += nano_usd
        for row in opened.rows:
            row.pending += nano_usd
        self.steps += 1

    def _close(self, txn: str, opened: Opened) -> None:
        del self.open[txn]
        for row in opened.rows:
            row.pending -= opened.nano_usd
        set_slots(opened, wanted=False)
        self.steps += 1

    def _end(self, txn: str, opened: Opened, posted: int, wall_s: int, is_final: bool) -> None:
        """Closes an open reservation and posts what it cost. In one step, for each call comes through here."""
        del self.open[txn]
        reserved, rows = opened.nano_usd, opened.rows
        for row in rows:
            row.pending -= reserved
            row.posted += posted
        if opened.has_slots:
            for account, _ in opened.among.slots:
                account.open_slots -= 1
        self.steps += 1
        resolved = Resolved(opened.source.name, rows, posted, wall_s, is_final, opened.checkpoint_nano_usd)
        self._keep_unconfirmed(txn, resolved)

    def _give_back_rates(self, opened: Opened, at: Moment) -> None:
        if opened.is_counted:
            for account in opened.among.accounts:
                account.take_rates(-1, -opened.tokens, at.mono_us)

    def _keep_unconfirmed(self, txn: str, resolved: Resolved) -> None:
        self.unconfirmed[txn] = resolved
        if len(self.unconfirmed) > UNCONFIRMED_MAX:
            _forget_oldest(self.unconfirmed)
            self.counters["accounts_forgotten_early"] += FORGOTTEN_AT_ONCE

    def _keep_confirmed(self, txn: str, resolved: Resolved) -> None:
        self.confirmed[txn] = resolved
        if len(self.confirmed) > RESOLVED_MAX:
            _forget_oldest(self.confirmed)

    def _correct(self, resolved: Resolved, nano_usd: int) -> None:
        difference = nano_usd - resolved.posted
        for row in resolved.rows:
            row.posted += difference
        resolved.posted = nano_usd
        self.steps += 1

    def _forget_old(self, wall_s: int) -> None:
        """Drops what resolved more than a day ago: nobody sends it again. Entries are in order of time."""
        for table in (self.unconfirmed, self.confirmed):
            while table:
                txn = next(iter(table))
                if table[txn].resolved_s > wall_s - RESOLVED_KEPT_S:
                    break
                del table[txn]


def _denial(op: Reserve | Extend, requests: int, among: AccountSet, rows: tuple[Row, ...], at: Moment) -> Denied | None:
    """Which account says no, and what is left: money before rates, for no waiting brings money back."""
    denial = _budget_denial(op, among, rows, at) or _rate_denial(op, requests, among, at)
    # A grant of nothing takes nothing, and tells what is left.
    return None if denial is None else structs.replace(denial, left=among.grant(op.txn, 0, 0, at.mono_us))


def _budget_denial(op: Reserve | Extend, among: AccountSet, rows: tuple[Row, ...], at: Moment) -> Denied | None:
    """Of the budgets that do not cover it, the one with least left: what is told to be left is left in it."""
    tightest: tuple[int, Account, int] | None = None
    for account, row in zip(among.accounts, rows, strict=True):
        if account.budget is not None:
            left = account.budget - row.posted - row.pending
            if left < op.nano_usd and (tightest is None or left < tightest[0]):
                tightest = left, account, account.budget
    return None if tightest is None else tightest[1].budget_denial(op.txn, tightest[2], at.wall_s)


def _rate_denial(op: Reserve | Extend, requests: int, among: AccountSet, at: Moment) -> Denied | None:
    """The first account whose rate or concurrency says no."""
    for account in among.accounts:
        denial = account.rate_denial(op.txn, requests, op.tokens, at.mono_us)
        if denial is not None:
            return denial
    return None


def _forget_oldest(table: dict[str, Resolved]) -> None:
    for txn in list(islice(table, FORGOTTEN_AT_ONCE)):
        del table[txn]


def _denied_unknown(txn: str) -> Denied:
    """For a reservation that has ended already, or an extension of one that is not open: nobody waits for this."""
    return Denied(txn, "", Binding.CONCURRENCY.value, 0, None, 0)
