"""Identifiers: typed prefix, time-ordered, unique across nodes without asking anyone.

An id is a name, never a secret: nothing is authorised by knowing one.
"""

import secrets

from lineclear.base.clock import Clock


class ExchangeIds:
    """Makes `req_` + 12 hex of milliseconds + 8 hex of this source + 8 hex of a counter.

    Sorting by text sorts by time to the millisecond. The source part is random per process life, unless it is given
    (8 hex) because somebody sees to it that it is used once.
    """

    __slots__ = ("_clock", "_count", "_ms", "_prefix", "_source")

    def __init__(self, clock: Clock, source: str = "") -> None:
        self._clock = clock
        self._source = source or secrets.token_hex(4)
        self._count = 0
        self._ms = -1
        self._prefix = ""

    def next_id(self) -> str:
        """The next exchange id, 32 characters."""
        self._count = (self._count + 1) & 0xFFFFFFFF
        ms = self._clock.unix_us() // 1000
        if ms != self._ms:
            self._ms = ms
            self._prefix = f"req_{ms:012x}{self._source}"
        return f"{self._prefix}{self._count:08x}"


def random_id(prefix: str, hex_chars: int = 16) -> str:
    """A random id such as `chg_` + 16 hex, for objects that people create."""
    return prefix + secrets.token_hex((hex_chars + 1) // 2)[:hex_chars]
