"""Who feels a change: the apps and the traffic of each route that it touches, what that traffic would cost, and what
would see data that it did not see before.

In: recorded traffic of a week, the state before and wanted. Out: one row per touched deployment. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from lineclear.domain.money import Price, Usage, cost_nano_usd, usd_text

TRAFFIC_DAYS = 7
CALLERS_DAYS = 30
"""Who called so recently still depends on a thing. Source: release-governance.md §3.2."""


@dataclass(frozen=True)
class Traffic:
    """What one route in one environment answered in TRAFFIC_DAYS."""

    apps: Mapping[str, int]
    """Requests by app."""
    usage: Usage
    """Of all answered requests."""
    answered: int
    cost_nano_usd: int
    """As it was charged."""

    @property
    def requests(self) -> int:
        return sum(self.apps.values())


NO_TRAFFIC = Traffic({}, Usage(), 0, 0)


class Recorded(Protocol):
    """What control asks the ledger about the past."""

    def traffic(self) -> Mapping[tuple[str, str], Traffic]:
        """Of the last TRAFFIC_DAYS, by (environment, route)."""

    def callers(self, only: Mapping[str, str]) -> Mapping[str, int]:
        """Requests by app of the last CALLERS_DAYS with these values in these dimensions of the ledger."""


@dataclass(frozen=True)
class Share:
    """A model version and the part of a route's calls that it gets while all goes well."""

    version: str
    share: float
    """From 0 to 1."""
    price: Price | None
    """None = unpriced."""
    operations: frozenset[str]


@dataclass(frozen=True)
class RouteRadius:
    """What a change means for one route in one environment."""

    environment: str
    route: str
    apps: Mapping[str, int] = field(default_factory=dict)
    """Requests a day by app, rounded up."""
    requests_per_day: int = 0
    cost_usd_per_day: str | None = None
    """Of that traffic at today's targets and prices; None if one of them has no price."""
    new_cost_usd_per_day: str | None = None
    """The same traffic at the new targets; None if one of them has no price, or the route goes."""
    newly_exposed: tuple[str, ...] = ()
    """`data class → model version` that did not see this route's data before."""
    contract_breaks: tuple[str, ...] = ()
    """Operations that the route answers now and no longer will."""


def radius_of(
    place: tuple[str, str], traffic: Traffic, data_class: str, before: Sequence[Share], after: Sequence[Share]
) -> RouteRadius:
    """What moving a route from its old targets to new ones means; `after` is empty if it goes."""
    known = {item.version for item in before}
    offered = set[str]().union(*(item.operations for item in before))
    left = set[str]().union(*(item.operations for item in after))
    return RouteRadius(
        *place,
        apps={app: -(-count // TRAFFIC_DAYS) for app, count in sorted(traffic.apps.items())},
        requests_per_day=-(-traffic.requests // TRAFFIC_DAYS),
        cost_usd_per_day=_cost_per_day(traffic, before),
        new_cost_usd_per_day=_cost_per_day(traffic, after),
        newly_exposed=tuple(f"{data_class} → {item.version}" for item in after if item.version not in known),
        contract_breaks=tuple(sorted(offered - left)),
    )


def _cost_per_day(traffic: Traffic, shares: Sequence[Share]) -> str | None:
    """The recorded tokens at the prices of the targets, by their shares."""
    if not shares:
        return None
    total = 0.0
    for item in shares:
        if not item.share:
            continue
        if item.price is None:
            return None
        per_request = item.price.per_request * max(traffic.answered - 1, 0)
        total += item.share * (cost_nano_usd(traffic.usage, item.price) + per_request) if traffic.answered else 0
    return usd_text(round(total / TRAFFIC_DAYS))
