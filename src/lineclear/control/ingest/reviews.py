"""Finds the request that each review is about, once the ledger has it.

In: reviews that wait, the ledger, the exchanges that are open. Out: reviews that are counted, or of unknown requests.
A review may be read before the end of its request is, for they come from several workers. What an app says of another
app's request is never counted, whoever knows the id.
"""

from lineclear.base.clock import Clock
from lineclear.domain.entry import HOUR_US, EntryKind, day_of, exchange_day
from lineclear.domain.ledger import Intent, Review
from lineclear.domain.reviews import REVIEW_DAYS_MAX, ReviewState
from lineclear.observe.entry import Entry, find_entry
from lineclear.store.ledger import Ledger
from lineclear.store.review_rows import FoundReview, ReviewedFacts

WAIT_US = HOUR_US
"""So long a review waits for a request that is neither in the ledger nor under way, while sources are silent."""
CLOCKS_US = 10_000_000
"""So far may the clocks of two sources lie apart."""


class Reviewing:
    """What waits. One caller at a time."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._days: set[int] = set()
        """Days of the ledger in which some may wait."""
        self._is_known = False
        """Whether those are all; after a start nobody knows."""

    def arrived(self, day: int) -> None:
        """Reviews were written into a day of the ledger, which is that of the rows beside them."""
        self._days.add(day)

    def forget(self) -> None:
        """Nobody knows any more what was written."""
        self._is_known = False

    def look(self, open_exchanges: dict[str, Intent], watermark_us: int) -> None:
        """Find what can be found; everything that live sources did before `watermark_us` has been read.

        Raises:
            sqlalchemy.exc.DBAPIError: if the database refuses; the next look tries again.
        """
        if self._is_known and not self._days:
            return
        still: set[int] = set()
        first = day_of(self._clock.unix_us()) - REVIEW_DAYS_MAX
        for day in self._ledger.days():
            if day not in self._days and (self._is_known or day < first):
                continue
            waiting = self._ledger.waiting_reviews(day)
            looked = (self._found(review, open_exchanges, watermark_us) for review in waiting)
            found = [one for one in looked if one is not None]
            if found:
                self._ledger.found_reviews(day, found)
            if waiting:
                still.add(day)
        self._days, self._is_known = still, True

    def _found(self, review: Review, open_exchanges: dict[str, Intent], watermark_us: int) -> FoundReview | None:
        first_day = exchange_day(review.request)
        entry = None if first_day is None else find_entry(self._ledger, review.request, first_day)
        if entry is None:
            # Whoever has the id of a request has it from an answer, which has its intent in the file before it.
            is_read = watermark_us > review.at_us + CLOCKS_US or self._clock.unix_us() > review.at_us + WAIT_US
            if first_day is not None and (review.request in open_exchanges or not is_read):
                return None
            return FoundReview(review.id, ReviewState.UNKNOWN, ReviewedFacts())
        is_own = (entry.facts["app"], entry.facts["environment"]) == (review.app, review.environment)
        if not is_own or entry.kind is EntryKind.REFUSAL:
            return FoundReview(review.id, ReviewState.UNKNOWN, ReviewedFacts())
        return FoundReview(review.id, ReviewState.COUNTED, _facts(entry))


def _facts(entry: Entry) -> ReviewedFacts:
    facts, detail = entry.facts, entry.detail()
    return ReviewedFacts(
        team=facts["team"],
        route=facts["route"],
        release=facts["release"],
        model=facts["model"],
        rollout=detail.rollout,
        arm=detail.arm,
        weight_bp=detail.weight_bp,
        unit_hash=detail.unit_hash,
        started_us=entry.started_us,
        other_release=bool(detail.echo) and detail.echo != facts["release"],
    )
