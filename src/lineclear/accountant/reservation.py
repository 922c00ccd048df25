"""One reservation while it is open and after it was resolved, who owns it, and when a step happens.

In: what was asked for and by whom. Out: values that the books keep and change. Must not decide what is granted.
"""

import msgspec

from lineclear.accountant.account import Row
from lineclear.accountant.account_set import AccountSet


class Moment(msgspec.Struct, frozen=True, gc=False):
    """When a step happens."""

    mono_us: int
    """Monotonic microseconds, for rates and grace times."""
    wall_s: int
    """Unix seconds, for periods."""


class Source:
    """One gateway life that owns reservations."""

    __slots__ = ("connections", "gone_us", "is_known", "name")

    def __init__(self, name: str, now_us: int) -> None:
        self.name = name
        self.connections = 0
        self.gone_us = now_us
        """Monotonic time since when nobody is connected."""
        self.is_known = False
        """It said hello in this accountant's life: what it was granted since is all here."""


class Opened(msgspec.Struct, gc=False, eq=False):
    """An open reservation."""

    among: AccountSet
    rows: tuple[Row, ...]
    """The months it was reserved in; another than the set's if it is older."""
    tokens: int
    nano_usd: int
    source: Source
    is_counted: bool
    """It was taken from the rates in this life."""
    has_slots: bool = True
    """It counts against concurrency."""
    checkpoint_nano_usd: int = 0
    """What it cost at its last checkpoint in the ledger."""


class Resolved(msgspec.Struct, gc=False, eq=False):
    """A reservation that ended."""

    source: str
    """Its owner's name."""
    rows: tuple[Row, ...]
    posted: int
    resolved_s: int
    """Unix seconds."""
    is_final: bool
    checkpoint_nano_usd: int


def set_slots(opened: Opened, *, wanted: bool) -> None:
    """Makes it count against concurrency, or not."""
    if opened.has_slots is not wanted:
        opened.has_slots = wanted
        change = 1 if wanted else -1
        for account, _ in opened.among.slots:
            account.open_slots += change
