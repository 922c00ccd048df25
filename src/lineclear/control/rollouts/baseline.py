"""What stable did before a rollout: the time and the cost that its guards compare with, frozen before the first step.

In: the ledger's entries of one release of one route. Out: a sample and its quantiles. Must not decide what follows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from sqlalchemy import select

from lineclear.domain.entry import EntryKind, day_of
from lineclear.domain.ledger import INNER_KEY_PREFIX, Outcome
from lineclear.domain.money import CostBasis
from lineclear.store.ledger import Ledger
from lineclear.store.ledger_tables import entries, facets

SAMPLE_MAX: Final = 10_000
"""Newest requests that are looked at."""
SAMPLE_MIN: Final = 200
"""From so many on the 99.5th percentile is an observed value and not the largest of a few."""
SAMPLE_DAYS: Final = 7
SLOW_QUANTILE: Final = 0.95
COST_QUANTILE: Final = 0.995
"""Source of both: release-governance §2.1."""
COST_ROOM: Final = 4
"""Costs are cut at no less than so many times their median."""


@dataclass(frozen=True)
class Baseline:
    """A sample of what one release did."""

    requests: int
    failed: int
    durations_us: Sequence[int]
    """Of those that ended well, ascending."""
    costs_nano_usd: Sequence[int]
    """Of those with a price, ascending."""
    span_us: int
    """From the oldest of the sample until now."""

    @property
    def slow_us(self) -> int | None:
        """Longer than this is slow; None while there are too few."""
        return _quantile(self.durations_us, SLOW_QUANTILE)

    @property
    def cost_cap_nano_usd(self) -> int | None:
        """What a request's cost is cut at; None while there are too few with a price, or if they cost nothing."""
        highest = _quantile(self.costs_nano_usd, COST_QUANTILE)
        if highest is None:
            return None
        # Where all cost alike, a cut at the highest would make a dearer candidate's costs look the same.
        return max(highest, COST_ROOM * self.costs_nano_usd[len(self.costs_nano_usd) // 2]) or None

    @property
    def per_second(self) -> float:
        """Requests a second."""
        return self.requests / (self.span_us / 1e6) if self.requests else 0.0


def baseline(ledger: Ledger, environment: str, route: str, release: str, now_us: int) -> Baseline:
    """The newest requests of a release there, of the last seven days."""
    durations: list[int] = []
    costs: list[int] = []
    requests = failed = 0
    oldest_us = now_us
    for day in ledger.days():
        if requests >= SAMPLE_MAX or day < day_of(now_us) - SAMPLE_DAYS:
            break
        question = (
            select(
                entries.c.started_us,
                entries.c.duration_us,
                (entries.c.cost_nano_usd + entries.c.waste_nano_usd).label("cost"),
                facets.c.outcome,
                facets.c.cost_basis,
            )
            .join(facets, facets.c.facet == entries.c.facet)
            .where(
                entries.c.day == day,
                entries.c.kind == EntryKind.EXCHANGE.value,
                facets.c.environment == environment,
                facets.c.route == route,
                facets.c.release == release,
                # What control asked itself says nothing of how callers fare.
                facets.c.key_id.not_like(f"{INNER_KEY_PREFIX}%"),
            )
            .order_by(entries.c.id.desc())
            .limit(SAMPLE_MAX - requests)
        )
        with ledger.read(day) as connection:
            for row in connection.execute(question):
                requests += 1
                oldest_us = min(oldest_us, row.started_us)
                if row.outcome == Outcome.OK.value:
                    durations.append(row.duration_us)
                else:
                    failed += 1
                if row.cost_basis != CostBasis.UNPRICED.value:
                    costs.append(row.cost)
    return Baseline(requests, failed, sorted(durations), sorted(costs), max(1, now_us - oldest_us))


def _quantile(ascending: Sequence[int], share: float) -> int | None:
    if len(ascending) < SAMPLE_MIN:
        return None
    return ascending[ceil(share * len(ascending)) - 1]
