"""When requests come: hours of the day, days of the week, and some chance.

In: a habit and a day. Out: instants in order. Times of day are UTC. Pure but for the random source it is given.
"""

import math
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from lineclear.demo.callers import Caller, Rhythm
from lineclear.domain.entry import DAY_US, HOUR_US

SATURDAY: Final = 5
MAIL_HOUR: Final = 6
MAIL_SHARE: Final = 0.22
"""Of a day's mail, what came in over night and is sorted within one minute."""
MINUTE_US: Final = HOUR_US // 60
DAILY_SPREAD: Final = 0.12
"""One standard deviation of how much busier a day is than another."""

_OFFICE: Final = (0, 0, 0, 0, 0, 0, 1, 4, 9, 11, 11, 9, 6, 8, 10, 10, 8, 5, 2, 1, 0, 0, 0, 0)
HOURS: Final[Mapping[Rhythm, Sequence[int]]] = {
    Rhythm.OFFICE: _OFFICE,
    Rhythm.MAIL: _OFFICE,
    Rhythm.SHOP: (2, 1, 1, 0, 0, 1, 2, 4, 6, 8, 9, 9, 8, 7, 6, 6, 7, 8, 10, 12, 12, 10, 7, 4),
    Rhythm.NIGHT: (0, 40, 35, 20, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
}
"""How much of a day falls into each of its hours."""
WEEKEND: Final[Mapping[Rhythm, tuple[float, float]]] = {
    Rhythm.OFFICE: (0.06, 0.03),
    Rhythm.MAIL: (0.35, 0.3),
    Rhythm.SHOP: (1.25, 0.8),
    Rhythm.NIGHT: (1.0, 0.0),
}
"""Saturday and Sunday as shares of a working day."""


def arrivals(caller: Caller, day_us: int, chance: random.Random) -> list[int]:
    """When a habit's requests of the day that begins at `day_us` come."""
    count = _count(caller, day_us, chance)
    hours = chance.choices(range(24), HOURS[caller.rhythm], k=count)
    found = [day_us + hour * HOUR_US + int(chance.random() * HOUR_US) for hour in hours]
    if caller.rhythm is Rhythm.MAIL:
        at_once = int(count * MAIL_SHARE)
        found[:at_once] = [
            day_us + MAIL_HOUR * HOUR_US + int(chance.random() * MINUTE_US) for _ in range(min(at_once, count))
        ]
    return sorted(found)


def day_start_us(at_us: int) -> int:
    """When the UTC day of an instant began."""
    return at_us - at_us % DAY_US


def weekday(at_us: int) -> int:
    """0 = Monday."""
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).weekday()


def _count(caller: Caller, day_us: int, chance: random.Random) -> int:
    day = weekday(day_us)
    share = WEEKEND[caller.rhythm][day - SATURDAY] if day >= SATURDAY else 1.0
    expected = caller.per_day * share * max(0.4, chance.gauss(1, DAILY_SPREAD))
    return max(0, round(chance.gauss(expected, math.sqrt(expected))))
