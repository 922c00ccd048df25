"""Ledger records of one named call, for tests of money: who pays and how much, the rest as `testing.records` has it.

In: an exchange id and amounts. Out: a record. Must not be used for anything that is measured.
"""

from lineclear.domain.ledger import Checkpoint, Heartbeat, Intent, Settle
from lineclear.testing.records import checkpoint, heartbeat, intent, settle


def an_intent(txn: str, *, accounts: tuple[str, ...] = ("app:shop",), nano_usd: int = 10, at_us: int = 1) -> Intent:
    """An intent that reserves `nano_usd` on each account."""
    return intent(0, at_us, id=txn, accounts=accounts, reserved_nano_usd=nano_usd)


def a_settle(txn: str, *, nano_usd: int = 10) -> Settle:
    """A settle that costs `nano_usd`."""
    return settle(0, id=txn, cost_nano_usd=nano_usd)


def a_checkpoint(txn: str, *, nano_usd: int) -> Checkpoint:
    """Progress that would cost `nano_usd`."""
    return checkpoint(0, id=txn, cost_nano_usd=nano_usd)


def a_heartbeat(number: int) -> Heartbeat:
    """A pulse without counters."""
    return heartbeat(number)
