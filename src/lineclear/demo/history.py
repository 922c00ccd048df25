"""The whole history in order: days of requests, and the turns between which each snapshot was in force.

In: a story, a seed, somebody who carries out turns. Out: records in batches, and their own sums. The same story, seed
and snapshots give the same records. Must not write anything itself.
"""

import random
from collections.abc import Callable, Iterator
from typing import Final

from lineclear.demo.callers import CALLERS, RUNAWAY, Caller
from lineclear.demo.clock import HistoryClock
from lineclear.demo.figures import Figures
from lineclear.demo.play import Player
from lineclear.demo.rhythm import arrivals, day_start_us
from lineclear.demo.story import Story, Turn
from lineclear.demo.weather import Weather
from lineclear.domain.entry import DAY_US
from lineclear.domain.ledger import Heartbeat, Record
from lineclear.gateway.snapshot import Snapshot

BATCH_RECORDS: Final = 1_000

InForce = tuple[Snapshot, dict[tuple[str, str], str]]
"""A snapshot, and the key ids by (app, environment)."""


class History:
    """One telling."""

    def __init__(self, story: Story, seed: int, clock: HistoryClock) -> None:
        self.story = story
        self.figures = Figures()
        self._seed = seed
        self._clock = clock
        self._player = Player(clock, Weather(story.spells), _chance(seed, "play"), f"{seed & 0xFFFFFFFF:08x}")

    def records(self, turn: Callable[[Turn], InForce]) -> Iterator[list[Record]]:
        """All records in order of the requests' beginnings, at least one batch for each day.

        Args:
            turn: carries out a change and says what is in force then; called at the change's instant.
        """
        turns = list(self.story.turns)
        batch: list[Record] = []
        for day in self._days():
            for at_us, caller in day:
                while turns and turns[0].at_us <= at_us:
                    self._take(turns.pop(0), turn)
                records = self._player.play(caller, at_us)
                if _ended_us(records[-1]) > self.story.until_us:
                    continue
                batch += records
                if len(batch) >= BATCH_RECORDS:
                    yield self._counted(batch)
                    batch = []
            yield self._counted(batch)
            batch = []
        for late in turns:
            self._take(late, turn)
        yield [Heartbeat(self.story.until_us, {})]

    def _take(self, change: Turn, turn: Callable[[Turn], InForce]) -> None:
        self._clock.put(change.at_us)
        self._player.enter(*turn(change))

    def _counted(self, batch: list[Record]) -> list[Record]:
        self.figures.add(batch)
        return batch

    def _days(self) -> Iterator[list[tuple[int, Caller]]]:
        """For each UTC day who begins when, in order."""
        first, last = day_start_us(self.story.start_us), self.story.until_us
        for day_us in range(first, last, DAY_US):
            found: list[tuple[int, int]] = []
            chance = _chance(self._seed, f"day {day_us // DAY_US}")
            for place, caller in enumerate(CALLERS):
                found += [(at_us, place) for at_us in arrivals(caller, day_us, chance)]
            begun = [(at_us, CALLERS[place]) for at_us, place in found]
            begun += [(at_us, RUNAWAY) for at_us in self._runaway(day_us)]
            begun.sort(key=lambda pair: pair[0])
            yield [pair for pair in begun if self.story.start_us < pair[0] < last]

    def _runaway(self, day_us: int) -> list[int]:
        start_us, end_us = self.story.runaway_us
        step_us = max(1, round((end_us - start_us) / RUNAWAY.per_day))
        return [at_us for at_us in range(start_us, end_us, step_us) if day_us <= at_us < day_us + DAY_US]


def _ended_us(record: Record) -> int:
    return record.at_us


def _chance(seed: int, purpose: str) -> random.Random:
    """A source of chance of its own for each purpose, so that one does not move the others."""
    return random.Random(f"{seed} {purpose}")  # noqa: S311 - a simulation that can be told again, not a secret
