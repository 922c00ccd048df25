"""Cost: money per day by a chosen dimension, what is estimated and what has no price shown apart, budgets."""

import shlex
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from lineclear.console.budgets import find_budgets
from lineclear.console.page import Page, Visit
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.domain.entry import DAY_US, HOUR_US
from lineclear.observe.period import period_of, time_text

DIMENSIONS = ("team", "app", "route", "model", "provider", "environment", "task", "operation")
BY_DEFAULT = "app"
SINCE_DEFAULT = "30d"
SPANS = ("24h", "7d", "30d", "90d")
FILTERS = ("environment", "team", "app", "route")
SERIES_MAX = 6
"""More series than this become one, so that colours can be told apart."""
HOURLY_BELOW_US = 3 * DAY_US
OTHERS = "all others"


def load(visit: Visit) -> dict[str, Any]:
    """Sums by dimension, the same over time, budgets."""
    by, since = visit.query.get("by", BY_DEFAULT), visit.query.get("since", SINCE_DEFAULT)
    if by not in DIMENSIONS:
        raise Refused(AdminCode.INVALID_REQUEST, f"cost is not summed by {by!r}", hint=f"by: {', '.join(DIMENSIONS)}")
    narrowed = {name: visit.query[name] for name in FILTERS if name in visit.query}
    report = visit.get("/usage", {"by": by, "since": since, **narrowed})
    return {
        "by": by,
        "since": since,
        "filters": narrowed,
        "rows": report["rows"],
        "total": report["total"],
        "over_time": _over_time(visit, by, since, narrowed, report["rows"]),
        "budgets": find_budgets(visit),
        "choices": {
            "by": list(DIMENSIONS),
            "since": list(SPANS),
            **{name: [item["name"] for item in visit.get(f"/{name}s")["items"]] for name in FILTERS},
        },
        "command": _command(by, since, narrowed),
    }


def _command(by: str, since: str, narrowed: Mapping[str, str]) -> str:
    words = ["lineclear", "usage", "--by", by, "--since", since]
    for name, value in narrowed.items():
        words += [f"--{name}", value]
    return shlex.join(words)


def _over_time(
    visit: Visit, by: str, since: str, narrowed: Mapping[str, str], ranked: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Cost per day (per hour for a short period) of the dearest names and of all others together."""
    try:
        period = period_of(since, None, visit.now_us)
    except ValueError as error:
        raise Refused(AdminCode.INVALID_REQUEST, str(error)) from error
    step, step_us = ("hour", HOUR_US) if visit.now_us - period.since_us < HOURLY_BELOW_US else ("day", DAY_US)
    times = [time_text(at * step_us) for at in range(period.since_us // step_us, visit.now_us // step_us + 1)]
    if step == "day":
        times = [text[:10] for text in times]
    names = [row[by] for row in ranked[:SERIES_MAX]]
    sums = {at: dict.fromkeys([*names, OTHERS], Decimal(0)) for at in times}
    asked = {"by": f"{step},{by}", "since": since, "figures": "cost_usd", **narrowed}
    for row in visit.get("/usage", asked)["rows"]:
        if row[step] in sums:
            series = row[by] if row[by] in names else OTHERS
            sums[row[step]][series] += Decimal(row["cost_usd"])
    series = [*names, *([OTHERS] if len(ranked) > SERIES_MAX else [])]
    return {
        "step": step,
        "series": series,
        "columns": [{"at": at, "cost_usd": [f"{sums[at][name]:f}" for name in series]} for at in times],
    }


COST = Page("/cost", "cost.html", load, query=("by", "since", *FILTERS), rows="rows")
