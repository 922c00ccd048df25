"""Accounts that are asked together, in one period: whether a reservation fits all of them, and taking it from all.

In: accounts with their limits, a reservation's amounts, the time. Out: yes or no, and what is left after taking it.
The accountant's innermost step: what each account limits is looked up beforehand (`bind`), its loops make no calls.
"""

from typing import Final

from lineclear.accountant.account import Account, Rate
from lineclear.domain.accounts import Granted
from lineclear.domain.limits import MINUTE_US, rate_remaining, rate_reset_ms

NO_RATE: Final = (None, None, None)


class AccountSet:
    """What reservations on the same accounts have in common, until one account's period ends."""

    __slots__ = ("accounts", "budgets", "end_s", "request_rates", "rows", "slots", "start_s", "token_rates")

    def __init__(self, accounts: tuple[Account, ...]) -> None:
        """`accounts` have their rows of the current period."""
        self.accounts = accounts
        self.rows = tuple([account.row for account in accounts])
        self.start_s = max([account.period.start_s for account in accounts], default=0)
        """Unix seconds from which all these rows are current, inclusive."""
        self.end_s = min([account.period.end_s for account in accounts], default=0)
        """Exclusive."""
        self.bind()

    def bind(self) -> None:
        """Looks up which limits the accounts have now; to be done again whenever they change."""
        pairs = list(zip(self.accounts, self.rows, strict=True))
        self.budgets = tuple([(row, account.budget) for account, row in pairs if account.budget is not None])
        self.slots = tuple([(a, a.concurrency) for a in self.accounts if a.concurrency is not None])
        self.request_rates = tuple([a.requests for a in self.accounts if a.requests is not None])
        self.token_rates = tuple([a.tokens for a in self.accounts if a.tokens is not None])

    def has_room(self, tokens: int, nano_usd: int, now_us: int) -> bool:
        """Whether one more reservation fits every account. If not, `Account` knows why."""
        for row, budget in self.budgets:
            if row.posted + row.pending + nano_usd > budget:
                return False
        for account, concurrency in self.slots:
            if account.open_slots >= concurrency:
                return False
        for rate in self.request_rates:
            if rate.arrival > now_us * rate.per_minute + rate.last_unit:
                return False
        return not self.token_rates or all(rate.fits(tokens, now_us) for rate in self.token_rates)

    def grant(self, txn: str, requests: int, tokens: int, now_us: int) -> Granted:
        """Takes from the rates, 0 = nothing, without asking; what is left in the tightest account of each kind."""
        budget_left: int | None = None
        for row, budget in self.budgets:
            unspent = budget - row.posted - row.pending
            if budget_left is None or unspent < budget_left:
                budget_left = unspent
        limit, left, reset_ms = _take(self.request_rates, requests, now_us) if self.request_rates else NO_RATE
        if not self.token_rates:
            return Granted(txn, budget_left, limit, left, reset_ms)
        return Granted(txn, budget_left, limit, left, reset_ms, *_take(self.token_rates, tokens, now_us))


def _take(rates: tuple[Rate, ...], units: int, now_us: int) -> tuple[int, int, int]:
    """Takes from each rate; of the tightest: units a minute, units left, milliseconds until it is whole again."""
    taken = units * MINUTE_US
    tightest = rates[0]
    least: int | None = None
    for rate in rates:
        now = now_us * rate.per_minute
        arrival = rate.arrival
        rate.arrival = arrival = (arrival if arrival > now else now) + taken
        room = now + rate.burst - arrival
        if least is None or room < least:
            tightest, least = rate, room
    arrival, per_minute = tightest.arrival, tightest.per_minute
    return per_minute, rate_remaining(arrival, now_us, per_minute), rate_reset_ms(arrival, now_us, per_minute)
