"""How many reviews each app has sent lately to this worker: they cost nothing, so they have a limit of their own.

In: an app's name and the time. Out: whether there is room. Must not: know what a review says.
"""

from typing import Final

from lineclear.domain.limits import rate_take, rate_wait_us

REVIEWS_PER_MINUTE: Final = 600
"""Of one app, at each worker: more than people say, and little for the ledger."""
APPS_MAX: Final = 10_000
"""Apps counted at once; with more the count begins anew."""


class ReviewRates:
    """One number for each app."""

    __slots__ = ("_arrivals",)

    def __init__(self) -> None:
        self._arrivals: dict[str, int] = {}

    def take(self, app: str, now_us: int) -> int:
        """Take one; 0 if there is room, else how many microseconds until there is. `now_us` is monotonic."""
        arrival = rate_take(self._arrivals.get(app, 0), now_us, 1, REVIEWS_PER_MINUTE)
        wait_us = rate_wait_us(arrival, now_us, REVIEWS_PER_MINUTE)
        if wait_us:
            return wait_us
        if len(self._arrivals) >= APPS_MAX:
            self._arrivals.clear()
        self._arrivals[app] = arrival
        return 0
