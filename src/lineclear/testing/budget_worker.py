"""A gateway's accounting without its HTTP: a process whose callers each want one call paid from one budget.

In: data directory, this worker's number, how many callers, over how many seconds they come. Out: one JSON line of
how they ended. Uses the real client and the real spool, in the order of the walk.
"""

import asyncio
import json
import sys
from pathlib import Path

import uvloop

from lineclear.base.clock import SystemClock
from lineclear.base.ids import ExchangeIds
from lineclear.domain.accounts import Granted, Reserve, SettleAccount
from lineclear.domain.errors import PlatformFault
from lineclear.domain.snapshot import AccountLimits, BudgetLimit
from lineclear.gateway.accounts import AccountantClient
from lineclear.handover.spool import SpoolWriter
from lineclear.testing.money_records import a_settle, an_intent

ACCOUNTS = ("team:support", "app:shop")
CALL_NANO_USD = 1_000
TRIES_MAX = 1_000
RETRY_PAUSE_S = 0.03
"""A client told 503 comes again a little later."""


def budget_limits(calls: int) -> dict[str, AccountLimits]:
    """A budget of the app for exactly so many calls, and a rate of the team that is never reached."""
    return {
        "app:shop": AccountLimits(None, None, None, BudgetLimit(calls * CALL_NANO_USD, "UTC")),
        "team:support": AccountLimits(1_000_000, None, None, None),
    }


class Worker:
    """One process's callers."""

    def __init__(self, data_dir: Path, number: int) -> None:
        clock = SystemClock()
        source = f"local-b0-{number}-1"
        self._clock = clock
        self._ids = ExchangeIds(clock)
        self._spool = SpoolWriter(data_dir / "spool", source, clock)
        limits = budget_limits(0)
        self._client = AccountantClient(data_dir / "run" / "accountant.sock", clock, limits.get, 4, source=source)
        self.ends = {"granted": 0, "denied": 0, "unavailable": 0}

    async def run(self, callers: int, spread_s: float) -> None:
        """All callers come and are answered."""
        self._client.start()
        await asyncio.gather(*[self._caller(number * spread_s / callers) for number in range(callers)])
        await self._client.close()
        self._spool.close()

    async def _caller(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        for _ in range(TRIES_MAX):
            try:
                is_granted = await self._call()
            except PlatformFault:
                self.ends["unavailable"] += 1
                await asyncio.sleep(RETRY_PAUSE_S)
                continue
            self.ends["granted" if is_granted else "denied"] += 1
            return

    async def _call(self) -> bool:
        txn = self._ids.next_id()
        intent = an_intent(txn, accounts=ACCOUNTS, nano_usd=CALL_NANO_USD, at_us=self._clock.unix_us())
        position = self._spool.append(intent)
        cost = 0
        try:
            reply = await self._client.reserve(Reserve(txn, ACCOUNTS, 1, CALL_NANO_USD))
            if not isinstance(reply, Granted):
                return False
            await self._spool.flushed(position)
            cost = CALL_NANO_USD
            self._client.resolve(SettleAccount(txn, 1, cost))
            return True
        finally:
            self._spool.append(a_settle(txn, nano_usd=cost))


def main() -> None:
    """`python -m lineclear.testing.budget_worker DATA_DIR NUMBER CALLERS SPREAD_S`."""
    data_dir, number, callers, spread_s = sys.argv[1:]

    async def work() -> Worker:
        worker = Worker(Path(data_dir), int(number))
        await worker.run(int(callers), float(spread_s))
        return worker

    sys.stdout.write(json.dumps(uvloop.run(work()).ends) + "\n")


if __name__ == "__main__":
    main()
