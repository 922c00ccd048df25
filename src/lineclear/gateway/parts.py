"""What a gateway process has, put together once by `compose` and passed to every walk."""

import asyncio

import msgspec

from lineclear.base.clock import Clock
from lineclear.base.ids import ExchangeIds
from lineclear.domain.ledger import LedgerSink
from lineclear.gateway.accounts import AccountantClient
from lineclear.gateway.current import Current
from lineclear.net.upstream import Origin, Pool


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
    counters: dict[str, int]
    """Cumulative counts for the heartbeat; names in docs/metrics.md."""
