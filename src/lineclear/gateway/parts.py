"""What a gateway process has, put together once by `compose` and passed to every walk."""

import asyncio
from collections.abc import Callable

import msgspec

from lineclear.base.clock import Clock
from lineclear.base.ids import ExchangeIds
from lineclear.domain.ledger import LedgerSink
from lineclear.gateway.accounts import AccountantClient
from lineclear.gateway.copies import Copies
from lineclear.gateway.current import Current
from lineclear.gateway.head import Head
from lineclear.gateway.identify import Identified, identify
from lineclear.gateway.review_rates import ReviewRates
from lineclear.gateway.snapshot import Snapshot
from lineclear.net.upstream import Origin, Pool

Identify = Callable[[Snapshot, Head, Clock], Identified]


class Parts(msgspec.Struct, frozen=True):
    """The collaborators of a walk."""

    clock: Clock
    ids: ExchangeIds
    current: Current
    ledger: LedgerSink
    accountant: AccountantClient
    pool: Pool
    control: Origin
    """Control's socket for what callers ask about their own requests."""
    forwards: asyncio.Semaphore
    """Held by each question to control; FORWARDS_MAX of them."""
    large_bodies: asyncio.Lock
    """Held while a body over 1 MiB is read and parsed."""
    long_checks: asyncio.Lock
    """Held while a long request is held against guardrails."""
    counters: dict[str, int]
    """Cumulative counts for the heartbeat; names in docs/metrics.md."""
    identify: Identify = identify
    """Who calls: by an API key at the data port, by a principal of control at the inner door."""
    reviews: ReviewRates = msgspec.field(default_factory=ReviewRates)
    """How much each app has said of outputs lately."""
    copies: Copies = msgspec.field(default_factory=Copies)
    """Calls that wait to be asked of a candidate too."""
