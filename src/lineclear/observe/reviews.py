"""What people said of one request's output, for `explain`.

In: a request's id. Out: its reviews, oldest first, the newest being the one that counts. Must not sum anything.
"""

from typing import Any, Final

from sqlalchemy import select

from lineclear.domain.entry import exchange_day
from lineclear.domain.reviews import REVIEW_DAYS_MAX, ReviewState
from lineclear.observe.period import time_text
from lineclear.store.ledger import Ledger
from lineclear.store.ledger_tables import reviews

SHOWN_MAX: Final = 100
"""Reviews of one request that are shown, the oldest."""


def reviews_of(ledger: Ledger, request: str) -> list[dict[str, Any]]:
    """Reviews that count. Any: text, ready for JSON."""
    first_day = exchange_day(request)
    if first_day is None:
        return []
    found: list[tuple[int, dict[str, Any]]] = []
    for day in ledger.days():
        if not first_day <= day <= first_day + REVIEW_DAYS_MAX + 1:
            continue
        question = (
            select(reviews)
            .where(reviews.c.day == day, reviews.c.request == request, reviews.c.state == ReviewState.COUNTED.value)
            .order_by(reviews.c.received_us)
            .limit(SHOWN_MAX)
        )
        with ledger.read(day) as connection:
            found += [
                (
                    row.received_us,
                    {
                        "id": row.id,
                        "at": time_text(row.received_us),
                        "outcome": row.outcome,
                        "reason": row.reason or None,
                        "reviewer": row.reviewer or None,
                        "key_id": row.key_id,
                    },
                )
                for row in connection.execute(question)
            ]
    return [shown for _, shown in sorted(found, key=lambda one: one[0])][:SHOWN_MAX]
