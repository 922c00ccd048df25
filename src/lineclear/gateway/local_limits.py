"""Limits kept by one worker alone, while the accountant is away: each at this worker's share of the whole.

In: reservations that nobody answered. Out: grants and denials for rates and concurrency; for a budget no answer at
all, for no worker can keep one alone. Pure state. Must not outlive its use: it starts empty and forgets nothing early.
"""

from collections.abc import Callable

from lineclear.domain.accounts import Binding, Denied, Granted, Reply, Reserve, SettleAccount, Void
from lineclear.domain.limits import rate_correct, rate_take, rate_wait_us
from lineclear.domain.snapshot import AccountLimits


class _Use:
    """What this worker alone let through on one account."""

    __slots__ = ("open_slots", "requests_arrival", "tokens_arrival")

    def __init__(self) -> None:
        self.requests_arrival = 0
        self.tokens_arrival = 0
        self.open_slots = 0


class LocalLimits:
    """At most one entry per limited account, and one per call that it let through and that is still open."""

    def __init__(self, limits_of: Callable[[str], AccountLimits | None], workers: int) -> None:
        self._limits_of = limits_of
        self._workers = max(1, workers)
        self._uses: dict[str, _Use] = {}
        self._open: dict[str, Reserve] = {}

    def reserve(self, op: Reserve, now_us: int) -> Reply | None:
        """Takes from every account or from none; None if one has a budget, which cannot be kept here.

        `now_us` is monotonic microseconds.
        """
        limited = [(account, limits) for account in op.accounts if (limits := self._limits_of(account)) is not None]
        if any(limits.budget is not None for _, limits in limited):
            return None
        for account, limits in limited:
            denial = self._denial(op, account, limits, now_us)
            if denial is not None:
                return denial
        for account, limits in limited:
            use = self._use(account)
            use.open_slots += 1
            if limits.requests_per_minute:
                per_minute = self._share(limits.requests_per_minute)
                use.requests_arrival = rate_take(use.requests_arrival, now_us, 1, per_minute)
            if limits.tokens_per_minute:
                per_minute = self._share(limits.tokens_per_minute)
                use.tokens_arrival = rate_take(use.tokens_arrival, now_us, op.tokens, per_minute)
        self._open[op.txn] = op
        return Granted(op.txn)

    def resolve(self, op: SettleAccount | Void, now_us: int) -> bool:
        """Ends a call; False if it was not let through here."""
        reserved = self._open.pop(op.txn, None)
        if reserved is None:
            return False
        used = op.tokens if isinstance(op, SettleAccount) else 0
        for account in reserved.accounts:
            use = self._uses.get(account)
            if use is not None:
                use.open_slots = max(0, use.open_slots - 1)
                self._correct(account, use, used - reserved.tokens, now_us)
        return True

    def _correct(self, account: str, use: _Use, tokens: int, now_us: int) -> None:
        limits = self._limits_of(account)
        if limits is not None and limits.tokens_per_minute:
            per_minute = self._share(limits.tokens_per_minute)
            use.tokens_arrival = rate_correct(use.tokens_arrival, now_us, tokens, per_minute)

    def _use(self, account: str) -> _Use:
        use = self._uses.get(account)
        if use is None:
            use = self._uses[account] = _Use()
        return use

    def _share(self, whole: int) -> int:
        return max(1, whole // self._workers)

    def _denial(self, op: Reserve, account: str, limits: AccountLimits, now_us: int) -> Denied | None:
        use = self._uses.get(account) or _Use()
        if limits.concurrency is not None:
            share = self._share(limits.concurrency) if limits.concurrency else 0
            if use.open_slots >= share:
                return Denied(op.txn, account, Binding.CONCURRENCY.value, share, None, 0)
        requests, tokens = limits.requests_per_minute, limits.tokens_per_minute
        return self._rate_denial(op.txn, account, Binding.REQUESTS, requests, use.requests_arrival, 1, now_us) or (
            self._rate_denial(op.txn, account, Binding.TOKENS, tokens, use.tokens_arrival, op.tokens, now_us)
        )

    def _rate_denial(
        self, txn: str, account: str, binding: Binding, whole: int | None, arrival: int, units: int, now_us: int
    ) -> Denied | None:
        if whole is None or not units:
            return None
        per_minute = self._share(whole) if whole else 0
        if units > per_minute:
            return Denied(txn, account, binding.value, per_minute, None, 0)
        wait_us = rate_wait_us(rate_take(arrival, now_us, units, per_minute), now_us, per_minute)
        return Denied(txn, account, binding.value, per_minute, -(-wait_us // 1000), 0) if wait_us else None
