"""Rows of reviews: added as they come, later told which request they are about.

In: a connection to the day they came on. Out: rows. Decides nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from lineclear.domain.ledger import Review
from lineclear.domain.reviews import ReviewState
from lineclear.store.ledger_tables import reviews

WAITING_ROWS_MAX = 5_000
"""Reviews that wait for their request, looked at in one go."""


@dataclass(frozen=True)
class ReviewedFacts:
    """What is known of the request that a review is about."""

    team: str = ""
    route: str = ""
    release: str = ""
    model: str = ""
    rollout: str = ""
    arm: str = ""
    weight_bp: int = 0
    unit_hash: str = ""
    started_us: int = 0
    other_release: bool = False


@dataclass(frozen=True)
class FoundReview:
    """A review that waits no longer."""

    id: str
    state: ReviewState
    facts: ReviewedFacts


def add_reviews(tx: Connection, day: int, received: Sequence[Review]) -> None:
    """Add reviews that wait for their request."""
    nothing = vars(ReviewedFacts())
    values = [
        {
            **nothing,
            "day": day,
            "number": 0,
            "id": one.id,
            "state": ReviewState.WAITING.value,
            "received_us": one.at_us,
            "environment": one.environment,
            "app": one.app,
            "key_id": one.key_id,
            "request": one.request,
            "outcome": one.outcome,
            "reason": one.reason,
            "reviewer": one.reviewer,
        }
        for one in received
    ]
    if values:
        tx.execute(reviews.insert(), values)


def waiting_reviews(connection: Connection, day: int) -> list[Review]:
    """Those of a day that wait for their request, oldest first."""
    question = (
        select(reviews)
        .where(reviews.c.day == day, reviews.c.rollout == "", reviews.c.number == 0)
        .order_by(reviews.c.id)
        .limit(WAITING_ROWS_MAX)
    )
    return [
        Review(
            row.id,
            row.received_us,
            row.environment,
            row.app,
            row.key_id,
            row.request,
            row.outcome,
            row.reason,
            row.reviewer,
        )
        for row in connection.execute(question)
    ]


def found_reviews(tx: Connection, day: int, found: Sequence[FoundReview]) -> None:
    """Say which requests they are about; what was said stays as it is."""
    numbers: dict[str, int] = {}
    for one in found:
        rollout = one.facts.rollout
        if rollout not in numbers:
            newest = select(func.max(reviews.c.number)).where(reviews.c.day == day, reviews.c.rollout == rollout)
            numbers[rollout] = int(tx.execute(newest).scalar() or 0)
        numbers[rollout] += 1
        facts: Mapping[str, object] = vars(one.facts)
        tx.execute(
            reviews.update()
            .where(reviews.c.day == day, reviews.c.rollout == "", reviews.c.number == 0, reviews.c.id == one.id)
            .values(**facts, state=one.state.value, number=numbers[rollout])
        )
