"""Budgets with what the ledger says was spent of them; Home and Cost show the same figures.

In: a visit. Out: one row per budget of a team, an app, or a route's environment. Must not decide what a call may cost.
Spending is known by full hours of UTC: where a month begins within one, that whole hour counts, and the row says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from lineclear.console.page import Visit
from lineclear.domain.limits import month_period, zone_named

HOUR_S = 3_600


@dataclass(frozen=True)
class _Holder:
    """Something that has a budget."""

    scope: str
    name: str
    team: str
    only: Mapping[str, str]
    """Facts of the usage rows that count against it."""
    budget: Mapping[str, Any]


def find_budgets(visit: Visit) -> list[dict[str, Any]]:
    """Every budget with what was spent of it in its running month, most used first."""
    teams = {item["name"]: item["manifest"] for item in visit.get("/teams")["items"]}
    spent = _Spent(visit)
    found = []
    for holder in _holders(visit, teams):
        zone = (teams[holder.team].get("time_zone") if holder.team in teams else None) or "UTC"
        period, counted_since, amount = spent.of(zone, holder.only)
        limit = Decimal(holder.budget["usd_per_month"])
        found.append(
            {
                "scope": holder.scope,
                "name": holder.name,
                "period": period,
                "counted_since": counted_since,
                "usd_per_month": holder.budget["usd_per_month"],
                "spent_usd": f"{amount:f}",
                "share": f"{amount / limit if limit else Decimal(1):.4f}",
                "mode": holder.budget["mode"],
            }
        )
    return sorted(found, key=lambda budget: (-Decimal(budget["share"]), budget["scope"], budget["name"]))


def _holders(visit: Visit, teams: Mapping[str, Any]) -> list[_Holder]:
    found = [_Holder("team", name, name, {"team": name}, team["budget"]) for name, team in teams.items()]
    for item in visit.get("/apps")["items"]:
        app = item["manifest"]
        found.append(_Holder("app", item["name"], app["team"], {"app": item["name"]}, app["budget"]))
    for item in visit.get("/routes")["items"]:
        for environment, deployed in item["manifest"]["environments"].items():
            only = {"route": item["name"], "environment": environment}
            name = f"{item['name']} in {environment}"
            found.append(_Holder("route", name, item["manifest"]["team"], only, deployed["budget"]))
    return [holder for holder in found if holder.budget]


class _Spent:
    """Spending of the running month, asked once per time zone."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._by_zone: dict[str, tuple[str, str | None, list[Mapping[str, Any]]]] = {}

    def of(self, zone: str, only: Mapping[str, str]) -> tuple[str, str | None, Decimal]:
        """The month's name, since when is counted if that is before its start, and what rows with these facts cost."""
        if zone not in self._by_zone:
            month = month_period(self._visit.now_us // 1_000_000, zone_named(zone))
            since = datetime.fromtimestamp(month.start_s, UTC).isoformat()
            asked = {"by": "team,app,route,environment", "since": since, "figures": "cost_usd"}
            report = self._visit.get("/usage", asked)
            counted_since = report["since"] if month.start_s % HOUR_S else None
            self._by_zone[zone] = month.id, counted_since, report["rows"]
        month_id, counted_since, rows = self._by_zone[zone]
        fitting = [row for row in rows if all(row[name] == value for name, value in only.items())]
        return month_id, counted_since, sum((Decimal(row["cost_usd"]) for row in fitting), Decimal(0))
