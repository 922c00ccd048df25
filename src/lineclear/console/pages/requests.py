"""Requests: what was asked lately, newest first, narrowed by what stands in the address."""

import shlex
from collections.abc import Callable
from typing import Any

from lineclear.console.page import Feed, Page, Visit
from lineclear.domain.entry import HOUR_US
from lineclear.domain.exchange import Operation
from lineclear.domain.ledger import Outcome
from lineclear.observe.period import period_of, time_text

FILTERS = (
    "environment",
    "app",
    "route",
    "operation",
    "model",
    "outcome",
    "error_code",
    "key_id",
    "provider",
    "task",
    "team",
)
"""Facts to narrow by; each is a parameter of `/api/v1/requests`."""
SUMMED = frozenset(FILTERS) - {"error_code", "key_id", "operation"}
"""Those that hourly sums know too."""
SPANS = ("15m", "1h", "6h", "24h", "7d", "30d")
SINCE_DEFAULT = "24h"
PAGE_ROWS = 50
LIVE_ROWS_MAX = 200
"""As many as the page keeps; where more than these come in between two looks, it goes on at the newest."""
NEWEST = "newest"
"""The place behind everything that is there, as `after` takes it."""
COLUMNS_MAX = 168
"""Hours drawn above the table; a longer period is drawn by day."""
CLI_NAMES = {"environment": "--environment", "error_code": "--error", "key_id": "--key"}


def load(visit: Visit) -> dict[str, Any]:
    """The rows, the way to older ones, sums by hour, and the same question for the command line."""
    query = visit.query
    since = query.get("since", SINCE_DEFAULT)
    narrowed = {name: query[name] for name in (*FILTERS, "find") if name in query}
    asked = {**narrowed, "since": since, "until": query.get("until", "")}
    page = visit.get("/requests", {**asked, "before": query.get("before", ""), "limit": str(PAGE_ROWS)})
    return {
        "since": since,
        "until": query.get("until"),
        "filters": narrowed,
        "rows": page["rows"],
        "before": page["before"],
        "by_time": _by_time(visit, since, narrowed) if not query.get("before") else None,
        "choices": _choices(visit),
        "command": _command(asked),
    }


def _by_time(visit: Visit, since: str, narrowed: dict[str, str]) -> dict[str, Any] | None:
    """Requests and errors per hour or day; None where the hourly sums do not know a filter."""
    if not narrowed.keys() <= SUMMED:
        return None
    until = visit.query.get("until")
    period = period_of(since, until, visit.now_us)
    first, last = period.since_us // HOUR_US, min(period.until_us - 1, visit.now_us) // HOUR_US
    by = "hour" if last - first < COLUMNS_MAX else "day"
    report = visit.get("/usage", {**narrowed, "by": by, "since": since, "until": until or ""})
    found = {row[by]: row for row in report["rows"]}
    names = [time_text(hour * HOUR_US) for hour in range(first, last + 1)]
    if by == "day":
        names = list(dict.fromkeys(name[:10] for name in names))
    return {
        "by": by,
        "columns": [
            {
                "at": name,
                "requests": found[name]["requests"] if name in found else 0,
                "errors": found[name]["errors"] if name in found else 0,
            }
            for name in names
        ],
    }


def _choices(visit: Visit) -> dict[str, list[str]]:
    """What the filters offer."""
    named = {
        "environment": "/environments",
        "app": "/apps",
        "route": "/routes",
    }
    found = {name: [item["name"] for item in visit.get(path)["items"]] for name, path in named.items()}
    closed = {"operation": [one.value for one in Operation], "outcome": [one.value for one in Outcome]}
    return {**found, **closed, "since": list(SPANS)}


def _command(asked: dict[str, str]) -> str:
    words = ["lineclear", "logs"]
    for name, value in asked.items():
        if value:
            words += [CLI_NAMES.get(name, f"--{name.replace('_', '-')}"), value]
    return shlex.join(words)


REQUESTS = Page("/requests", "requests.html", load, query=(*FILTERS, "find", "since", "until", "before"), rows="rows")


def begin_live(visit: Visit) -> Callable[[], dict[str, Any] | None]:
    """Follow what ends from now on, or from where the stream before was cut."""
    place = visit.place or str(visit.get("/requests", {"after": NEWEST})["after"])
    told = ""

    def news() -> dict[str, Any] | None:
        nonlocal place, told
        page = visit.get("/requests", {**visit.query, "after": place, "limit": str(LIVE_ROWS_MAX)})
        is_behind = len(page["rows"]) == LIVE_ROWS_MAX
        place = str((visit.get("/requests", {"after": NEWEST}) if is_behind else page)["after"])
        if not page["rows"]:
            is_told, told = place == told, place
            return None if is_told else {"place": place}
        told = place
        # They come in the order of arrival; the page shows the newest on top.
        return {"rows": page["rows"][::-1], "is_behind": is_behind, "place": place}

    return news


LIVE_REQUESTS = Feed("/requests/stream", "request_rows.html", "rows", begin_live, query=(*FILTERS, "find"))
