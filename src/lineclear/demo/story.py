"""What happens at Fernhill in the days of the demo: who changes what, which vendor has a bad day, which job goes wild.

In: the end, the number of days. Out: instants. Pure; the same for every seed.
"""

from typing import Final

import msgspec

from lineclear.demo.rhythm import SATURDAY, day_start_us, weekday
from lineclear.demo.weather import Spell, Trouble
from lineclear.domain.entry import DAY_US, HOUR_US

ALIGNED_DAYS_LEAST: Final = 6
"""From so many days on, events keep to working hours; in fewer they fall where their share of the time is."""
COMPANY: Final = "company.yaml"


class Turn(msgspec.Struct, frozen=True, gc=False):
    """A change of manifests."""

    at_us: int
    file: str
    """In the folder `company`."""
    author: str
    note: str


class Story(msgspec.Struct, frozen=True, gc=False):
    """The plot."""

    start_us: int
    until_us: int
    turns: tuple[Turn, ...]
    """In order of time; the first one founds the company."""
    spells: tuple[Spell, ...]
    runaway_us: tuple[int, int]
    """When the nightly job runs in a circle."""


def tell(days: int, until_us: int) -> Story:
    """The plot of so many days that end at `until_us`."""
    start_us = until_us - days * DAY_US
    runaway_us = _event(start_us, until_us, 0.45, 13)
    outage_us = _event(start_us, until_us, 0.7, 9)
    slow_us = _event(start_us, until_us, 0.25, 14)
    unit_us = HOUR_US if days >= ALIGNED_DAYS_LEAST else (until_us - start_us) // 48
    """Of an event's length: an hour, less where there is little time."""
    turns = (
        Turn(_event(start_us, until_us, 0.33, 10), "new-version.yaml", "mara", "version 5 takes a tenth of the chat"),
        Turn(runaway_us + 4 * unit_us, "higher-budget.yaml", "jonas", "the loop used up the month of product-writer"),
        Turn(outage_us + 5 * unit_us, "after-outage.yaml", "mara", "a second fallback, and the preview is blocked"),
    )
    founded = Turn(start_us, COMPANY, "mara", "the company as it was when the history begins")
    spells = (
        Spell(
            "aurora",
            outage_us + unit_us * 2 // 3,
            outage_us + unit_us * 9 // 4,
            {Trouble.OVERLOADED: 0.62, Trouble.SILENT: 0.12, Trouble.FAILED: 0.14},
            slower=3.0,
        ),
        Spell(
            "meridian", slow_us, slow_us + 3 * unit_us, {Trouble.OVERLOADED: 0.03, Trouble.FAILED: 0.004}, slower=2.6
        ),
    )
    ordered = tuple(sorted(turns, key=lambda turn: turn.at_us))
    return Story(start_us, until_us, (founded, *ordered), spells, (runaway_us, runaway_us + 3 * unit_us))


def _event(start_us: int, until_us: int, share: float, hour: int) -> int:
    """The instant at a share of the time; of a working day at an hour, where there are days to choose from."""
    at_us = start_us + int((until_us - start_us) * share)
    if until_us - start_us < ALIGNED_DAYS_LEAST * DAY_US:
        return at_us
    day_us = day_start_us(at_us)
    while weekday(day_us) >= SATURDAY:
        day_us -= DAY_US
    aligned_us = day_us + hour * HOUR_US
    return aligned_us if aligned_us > start_us else at_us
