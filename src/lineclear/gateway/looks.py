"""What is left in accounts, for callers who ask: `GET /v1/me` must not cost the reservations of others anything.

In: names of accounts. Out: the accountant's answers, kept for a second. One asker of a worker is served at a time, a
few accounts in one go, so that a reservation never waits behind more than these.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from lineclear.domain.accounts import Granted, Look, Reply
from lineclear.domain.errors import PlatformFault

KEPT_NS: Final = 1_000_000_000
"""So long callers are told the same of an account, and so long nobody asks again after no answer came."""
LOOKS_AT_ONCE: Final = 64
KEPT_MAX: Final = 16_384
"""Accounts whose answers are kept; past this all are forgotten and asked for anew."""


class Looks:
    """One worker's looks into accounts. Belongs to one event loop."""

    def __init__(
        self,
        look: Callable[[Look], Awaitable[Reply]],
        is_connected: Callable[[], bool],
        now_ns: Callable[[], int],
    ) -> None:
        """`look` asks the accountant; it raises PlatformFault where no answer comes within a second."""
        self._look = look
        self._is_connected = is_connected
        self._now_ns = now_ns
        self._turn = asyncio.Lock()
        self._kept: dict[str, tuple[int, Granted | None]] = {}
        """When the accountant was asked, and what it said; None = not whom it answers for."""
        self._failed_ns: int | None = None
        self._fault: PlatformFault | None = None

    async def left(self, txn: str, accounts: Sequence[str]) -> dict[str, Granted]:
        """What is left in each of these accounts, at most a second old; without those it does not answer for.

        Raises:
            PlatformFault: `accountant_unavailable`.
        """
        if not self._is_connected():
            # What was left before it went away is not known to be left now.
            self._kept.clear()
        if self._missing(accounts):
            async with self._turn:
                await self._ask(txn, self._missing(accounts))
        found = {account: self._kept[account][1] for account in accounts if account in self._kept}
        return {account: granted for account, granted in found.items() if granted is not None}

    def _missing(self, accounts: Sequence[str]) -> list[str]:
        since_ns = self._now_ns() - KEPT_NS
        return [account for account in accounts if self._kept.get(account, (since_ns, None))[0] <= since_ns]

    async def _ask(self, txn: str, accounts: Sequence[str]) -> None:
        if self._fault is not None and self._failed_ns is not None and self._now_ns() - self._failed_ns < KEPT_NS:
            # Those who waited for a turn do not each wait another second.
            raise self._fault
        if len(self._kept) + len(accounts) > KEPT_MAX:
            self._kept.clear()
        for start in range(0, len(accounts), LOOKS_AT_ONCE):
            part = accounts[start : start + LOOKS_AT_ONCE]
            now_ns = self._now_ns()
            replies = await asyncio.gather(*map(self._asked, part, [txn] * len(part)), return_exceptions=True)
            for account, reply in zip(part, replies, strict=True):
                if isinstance(reply, PlatformFault):
                    self._failed_ns, self._fault = self._now_ns(), reply
                    raise reply
                if isinstance(reply, BaseException):
                    raise reply
                self._kept[account] = now_ns, reply if isinstance(reply, Granted) else None
        self._fault = None

    async def _asked(self, account: str, txn: str) -> Reply:
        return await self._look(Look(txn, account))
