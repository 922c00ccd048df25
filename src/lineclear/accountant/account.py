"""One account: its limits, the state of its rates, its open slots, and its money row of the current month.

In: limits from the snapshot, takes and corrections. Out: whether a take fits, and what is left. Pure state: no clock,
no file, no socket.
"""

from typing import Final
from zoneinfo import ZoneInfo

from lineclear.domain.accounts import Binding, Denied
from lineclear.domain.limits import (
    MINUTE_US,
    Period,
    month_period,
    rate_rescale,
    rate_take,
    rate_wait_us,
    zone_named,
)
from lineclear.domain.snapshot import AccountLimits

UTC_ZONE: Final = zone_named("UTC")
NO_LIMITS: Final = AccountLimits(None, None, None, None)


class Row:
    """Money of one account in one period, in nano-USD."""

    __slots__ = ("account", "pending", "period", "posted")

    def __init__(self, account: str, period: str) -> None:
        self.account = account
        self.period = period
        self.posted = 0
        """What resolved calls cost."""
        self.pending = 0
        """What open reservations hold."""


class Rate:
    """So many units a minute; `arrival` is GCRA's state as `domain.limits` has it."""

    __slots__ = ("arrival", "burst", "last_unit", "per_minute")

    def __init__(self, per_minute: int) -> None:
        self.arrival = 0
        self._set(per_minute)

    def change(self, per_minute: int) -> None:
        self.arrival = rate_rescale(self.arrival, self.per_minute, per_minute)
        self._set(per_minute)

    def _set(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self.burst = per_minute * MINUTE_US
        """How far after now `arrival` may be, once it is taken."""
        self.last_unit = self.burst - MINUTE_US
        """How far after now it may be for one more unit to fit; negative if none ever does."""

    def fits(self, units: int, now_us: int) -> bool:
        """Whether `units` may be taken now. `domain.limits.rate_wait_us` says the same with the wait."""
        now = now_us * self.per_minute
        arrival = self.arrival
        return (arrival if arrival > now else now) + units * MINUTE_US <= now + self.burst

    def take(self, units: int, now_us: int) -> None:
        """Takes (or gives back, if negative) without asking; never to before now."""
        now = now_us * self.per_minute
        arrival = self.arrival
        arrival = (arrival if arrival > now else now) + units * MINUTE_US
        self.arrival = arrival if arrival > now else now

    def denial(self, txn: str, account: str, binding: Binding, units: int, now_us: int) -> Denied:
        """Why `units` do not fit, and when they will."""
        per_minute = self.per_minute
        if units > per_minute or per_minute == 0:
            # More than a whole minute's worth never passes: waiting is not the answer.
            return Denied(txn, account, binding.value, per_minute, None, 0)
        wait_us = rate_wait_us(rate_take(self.arrival, now_us, units, per_minute), now_us, per_minute)
        return Denied(txn, account, binding.value, per_minute, -(-wait_us // 1000), 0)

    def debt_us(self, now_us: int) -> int:
        """Microseconds until it is whole again, rounded up: the state as it survives a restart."""
        return max(0, -(-self.arrival // self.per_minute) - now_us) if self.per_minute else 0


class Account:
    """One account that reservations name."""

    __slots__ = ("budget", "concurrency", "id", "open_slots", "period", "requests", "row", "tokens", "zone")

    def __init__(self, account_id: str) -> None:
        self.id = account_id
        self.requests: Rate | None = None
        self.tokens: Rate | None = None
        self.concurrency: int | None = None
        self.budget: int | None = None
        """Nano-USD a period; None = no budget."""
        self.zone: ZoneInfo = UTC_ZONE
        self.open_slots = 0
        """Open reservations; counted while there is a limit of concurrency."""
        self.period = Period("", 0, 0)
        self.row = Row(account_id, "")

    def apply(self, limits: AccountLimits) -> None:
        """Takes new limits; what was used so far stays used.

        Raises:
            ValueError: an unknown time zone; nothing was changed.
        """
        zone = zone_named(limits.budget.time_zone) if limits.budget else UTC_ZONE
        if zone is not self.zone:
            self.zone = zone
            self.period = Period("", 0, 0)
        self.budget = limits.budget.nano_usd_per_month if limits.budget else None
        self.concurrency = limits.concurrency
        self.requests = _changed(self.requests, limits.requests_per_minute)
        self.tokens = _changed(self.tokens, limits.tokens_per_minute)

    def period_at(self, wall_s: int) -> Period:
        """The calendar month of this account that holds the instant."""
        return month_period(wall_s, self.zone)

    def budget_denial(self, txn: str, budget: int, wall_s: int) -> Denied:
        """What to tell a call that the budget does not cover."""
        wait_ms = max(0, self.period.end_s - wall_s) * 1000
        return Denied(txn, self.id, Binding.BUDGET.value, budget, wait_ms, self.period.end_s)

    def rate_denial(self, txn: str, requests: int, tokens: int, now_us: int) -> Denied | None:
        """Why a rate or the concurrency limit says no; None if none does. `requests` is 0 for an extension."""
        if requests:
            if self.concurrency is not None and self.open_slots >= self.concurrency:
                return Denied(txn, self.id, Binding.CONCURRENCY.value, self.concurrency, None, 0)
            rate = self.requests
            if rate is not None and not rate.fits(requests, now_us):
                return rate.denial(txn, self.id, Binding.REQUESTS, requests, now_us)
        rate = self.tokens
        if rate is not None and not rate.fits(tokens, now_us):
            return rate.denial(txn, self.id, Binding.TOKENS, tokens, now_us)
        return None

    def take_rates(self, requests: int, tokens: int, now_us: int) -> None:
        """Takes (or gives back, if negative) without asking."""
        if self.requests is not None and requests:
            self.requests.take(requests, now_us)
        if self.tokens is not None and tokens:
            self.tokens.take(tokens, now_us)


def _changed(rate: Rate | None, per_minute: int | None) -> Rate | None:
    if per_minute is None:
        return None
    if rate is None:
        return Rate(per_minute)
    if rate.per_minute != per_minute:
        rate.change(per_minute)
    return rate
