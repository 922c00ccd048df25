"""What a reservation asks of the accountant and what comes back. Pure values; frames are `wire.accounts`."""

from enum import StrEnum
from typing import TypeAlias

import msgspec


class Binding(StrEnum):
    """Which kind of limit said no."""

    BUDGET = "budget"
    REQUESTS = "requests"
    TOKENS = "tokens"
    CONCURRENCY = "concurrency"


class AccountOp(msgspec.Struct, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    """Base: arrays on the wire."""


class Reserve(AccountOp, frozen=True, tag="r"):
    """Take one request, `tokens` and `nano_usd` from every account, or nothing from any."""

    txn: str
    """The exchange id."""
    accounts: tuple[str, ...]
    tokens: int
    nano_usd: int


class Extend(AccountOp, frozen=True, tag="x"):
    """Raise an open reservation by a difference (a dearer fallback, the next slice of a stream)."""

    txn: str
    tokens: int
    nano_usd: int


class SettleAccount(AccountOp, frozen=True, tag="s"):
    """Resolve a reservation to what was really used. Idempotent by txn; a late or oversized actual is recorded."""

    txn: str
    tokens: int
    nano_usd: int


class Void(AccountOp, frozen=True, tag="v"):
    """Give a reservation back whole: nothing was used. Idempotent by txn."""

    txn: str


class Look(AccountOp, frozen=True, tag="l"):
    """Say what is left in one account; takes nothing. The answer is a Granted."""

    txn: str
    """Who asks: the id of that request."""
    account: str


Op: TypeAlias = Reserve | Extend | SettleAccount | Void | Look


class Granted(AccountOp, frozen=True, tag="g"):
    """Done. For Reserve and Look: what is left in the tightest account of each kind, None where there is no limit."""

    txn: str
    budget_remaining_nano_usd: int | None = None
    requests_limit: int | None = None
    requests_remaining: int | None = None
    requests_reset_ms: int | None = None
    tokens_limit: int | None = None
    tokens_remaining: int | None = None
    tokens_reset_ms: int | None = None


class Denied(AccountOp, frozen=True, tag="d"):
    """Nothing was taken."""

    txn: str
    account: str
    """The account that binds, e.g. `app:shop`."""
    binding: str
    """Binding."""
    limit: int
    retry_after_ms: int | None
    """Exact wait for a rate; for a budget the time to the next period; None for concurrency."""
    resets_at: int
    """Unix seconds at which the binding period ends; 0 if it is not a period."""
    left: Granted | None = None
    """What is left, as a grant would have told it; None where that is not known."""


Reply: TypeAlias = Granted | Denied
