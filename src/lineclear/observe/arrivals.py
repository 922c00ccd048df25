"""Entries in the order in which the ledger took them, from a place on: how `logs -f` follows without loss.

In: the ledger, a place as text. Out: entries and the next place. An entry's id tells when it began and its day when it
ended; neither is the order in which it came in, so each batch of ingest is numbered and keeps the ids of its entries.
"""

import re
from dataclasses import dataclass

from sqlalchemy import func, select

from lineclear.observe.entry import Entry, EntryQuestion, list_arrived
from lineclear.store.ledger import Ledger, unpacked_ids
from lineclear.store.ledger_tables import arrivals

DAYS_FOLLOWED = 3
"""The newest days: an exchange ends today or, around midnight, yesterday; a day more for a control that was away."""
IDS_PER_LOOK = 500
IDS_PER_CALL_MAX = 20_000
"""Ids looked at for one answer; whoever narrows to a rare thing gets an answer without rows and a place further on."""

_PLACE = re.compile(r"(\d{1,7})\.(\d{1,15})\.(\d{1,7})")


@dataclass(frozen=True)
class Spot:
    """How far one day was read."""

    number: int
    """The batch; 0 = before the first."""
    offset: int
    """How many of the batch after it were read."""


Place = dict[int, Spot]
"""By day. A day that is newer than all of them is read from its beginning; one that is older never."""


def place_text(place: Place) -> str:
    """A place as it travels."""
    return "-".join(f"{day}.{spot.number}.{spot.offset}" for day, spot in sorted(place.items()))


def read_place(text: str) -> Place:
    """The place that `place_text` wrote.

    Raises:
        ValueError: it is none.
    """
    place: Place = {}
    for part in text.split("-"):
        found = _PLACE.fullmatch(part)
        if found is None or len(place) >= DAYS_FOLLOWED:
            raise ValueError(f"{text[:80]!r} is no place to go on from; take `after` of the answer before, or `newest`")
        place[int(found[1])] = Spot(int(found[2]), int(found[3]))
    return place


def newest_place(ledger: Ledger) -> Place:
    """The place behind everything that is there."""
    place: Place = {}
    for day in ledger.days()[:DAYS_FOLLOWED]:
        with ledger.read(day) as connection:
            newest = connection.execute(select(func.max(arrivals.c.number)).where(arrivals.c.day == day)).scalar()
        place[day] = Spot(newest or 0, 0)
    return place or {0: Spot(0, 0)}


def entries_after(ledger: Ledger, place: Place, question: EntryQuestion) -> tuple[list[Entry], Place]:
    """What came in since a place, oldest first, at most `question.limit`; and the place behind it.

    The question's period and `before` have no say here.

    Raises:
        ValueError: as `list_entries`.
    """
    reading = _Reading(ledger, question)
    known = max(place)
    next_place: Place = {}
    for day in sorted(ledger.days()):
        if day in place or day > known:
            next_place[day] = reading.read_day(day, place.get(day, Spot(0, 0)))
    kept = sorted(next_place, reverse=True)[:DAYS_FOLLOWED]
    return reading.found, {day: next_place[day] for day in kept} or place


class _Reading:
    """One answer as it grows."""

    def __init__(self, ledger: Ledger, question: EntryQuestion) -> None:
        self._ledger = ledger
        self._question = question
        self._looked_at = 0
        self.found: list[Entry] = []

    @property
    def is_full(self) -> bool:
        return len(self.found) >= self._question.limit or self._looked_at >= IDS_PER_CALL_MAX

    def read_day(self, day: int, spot: Spot) -> Spot:
        """Read on in a day; where it stopped."""
        while not self.is_full:
            with self._ledger.read(day) as connection:
                statement = select(arrivals.c.number, arrivals.c.ids).where(
                    arrivals.c.day == day, arrivals.c.number > spot.number
                )
                row = connection.execute(statement.order_by(arrivals.c.number).limit(1)).first()
            if row is None:
                return spot
            ids = unpacked_ids(bytes(row.ids))
            offset = self._read_batch(day, ids, spot.offset)
            spot = Spot(row.number, 0) if offset >= len(ids) else Spot(spot.number, offset)
        return spot

    def _read_batch(self, day: int, ids: list[str], offset: int) -> int:
        """Read on in a batch; how many of its ids are read then."""
        while offset < len(ids) and not self.is_full:
            part = ids[offset : offset + IDS_PER_LOOK]
            room = self._question.limit - len(self.found)
            matching = list_arrived(self._ledger, day, part, self._question)
            self.found += matching[:room]
            # What did not fit any more is read again by the next answer.
            read = len(part) if len(matching) <= room else part.index(matching[room].id)
            self._looked_at += read
            offset += read
        return offset
