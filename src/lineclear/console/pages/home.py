"""Home: what needs a person, how it goes, what was spent, what changed."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from lineclear.console.budgets import find_budgets
from lineclear.console.change_words import STATE_WORDS, touched
from lineclear.console.page import Page, Visit
from lineclear.console.shown import moment, of
from lineclear.domain.entry import HOUR_US
from lineclear.domain.permissions import Permission
from lineclear.domain.runtimes import RuntimeState
from lineclear.observe.period import time_text

CHANGES_SHOWN = 10
WAITING_READ = "500"
"""As many as may wait."""
SPENT_SHARE_NOTED = Decimal("0.8")
ERROR_SHARE_NOTED = 0.05
ERROR_REQUESTS_LEAST = 20
"""Below so many requests a share of errors says little."""
RESTING_STATES = frozenset({*RuntimeState, "starting", "waiting"}) - {RuntimeState.FAILED}
"""States of parts that need nobody; `starting` and `waiting` are those of other roles."""
HOURS = 24
WAITING_CHANGES = (
    ("open", "approve", "approve or reject it"),
    ("approved", "apply", "carry it out"),
    ("stale", "rebase", "work it out again on what stands now"),
)
"""States of changes, what takes them further, and that in words."""
LEAVING = frozenset({"deprecated", "retired", "blocked"})


def load(visit: Visit) -> dict[str, Any]:
    """Everything on the page."""
    status = visit.get("/status")
    by_hour = visit.get("/usage", {"by": "hour", "since": f"{HOURS}h"})
    budgets = find_budgets(visit)
    changes = visit.get("/changes", {"limit": str(CHANGES_SHOWN), "waiting": WAITING_READ})
    attention = [
        *_stops(status),
        *_processes(status),
        *_waiting_changes(visit, changes["waiting"]),
        *_held(visit),
        *_undelivered(visit),
        *_budgets_near_end(budgets),
        *_errors(visit),
        *_unpriced(by_hour["total"]),
        *_standing(visit),
    ]
    return {
        "may_stop": visit.may(Permission.STOP_MAKE),
        "attention": sorted(attention, key=lambda item: item["level"] != "bad"),
        "gateway_url": status["gateway_url"],
        "revision": status["revision"],
        "tiles": _tiles(by_hour, visit.now_us),
        "budgets": budgets,
        "changes": changes["changes"],
        "has_requests": by_hour["total"]["requests"] > 0 or bool(visit.get("/requests", {"limit": "1"})["rows"]),
    }


def _tiles(report: Mapping[str, Any], now_us: int) -> list[dict[str, Any]]:
    """Four figures of the last day, each with its hours."""
    hours = [time_text((now_us // HOUR_US - back) * HOUR_US) for back in reversed(range(HOURS))]
    found = {row["hour"]: row for row in report["rows"]}
    rows = [found.get(hour) for hour in hours]
    total = report["total"]
    return [
        {"name": "requests", "value": total["requests"], "series": [row["requests"] if row else 0 for row in rows]},
        {
            "name": "errors",
            "value": total["errors"] / total["requests"] if total["requests"] else None,
            "count": total["errors"],
            "series": [row["errors"] if row else 0 for row in rows],
        },
        {
            "name": "latency_p95",
            "value": total["latency_ms_p95"],
            "series": [row["latency_ms_p95"] if row else None for row in rows],
        },
        {
            "name": "cost",
            "value": total["cost_usd"],
            "unpriced": total["unpriced_requests"],
            "series": [float(row["cost_usd"]) if row else 0 for row in rows],
        },
    ]


def _attention(level: str, what: str, why: str, following: str, path: str = "") -> dict[str, str]:
    return {"level": level, "what": what, "why": why, "next": following, "path": path}


def _processes(status: Mapping[str, Any]) -> Iterable[dict[str, str]]:
    """Parts that do not answer, gateways that run an older revision."""
    processes = status["processes"]
    for part in processes.get("parts", ()) if isinstance(processes, dict) else ():
        if part["state"] not in RESTING_STATES:
            why = part["reason"] or "no reason was given"
            yield _attention("bad", f"{part['name']} is {part['state']}", why, "see its state and log", "/models")
    for source in status["gateways"]["silent"]:
        what = f"{source} runs an older revision than {status['revision']}"
        yield _attention("warn", what, "it did not acknowledge the newest one", "see whether it still answers")


def _stops(status: Mapping[str, Any]) -> Iterable[dict[str, str]]:
    """What is stopped: calls are refused until somebody starts it."""
    for stop in (status["overrides"] or {}).get("stops", ()):
        what = "all AI is stopped" if stop["scope"] == "all" else f"{stop['scope']} is stopped"
        why = f"by {stop['actor']} at {moment(time_text(stop['at_us']))}: {stop['reason'] or 'no reason was given'}"
        yield _attention("bad", what, why, "start it when the cause is gone", "/emergency")


def _undelivered(visit: Visit) -> Iterable[dict[str, str]]:
    """Notices that a channel did not take, however often it was tried."""
    dead = visit.get("/notice-deliveries", {"state": "dead"})["deliveries"]
    if dead:
        what = f"{of(len(dead), 'notice')} did not arrive"
        why = f"{dead[0]['team']}/{dead[0]['channel']}: {dead[0]['problem']}"
        yield _attention("warn", what, why, "see to the channel and send them again", "/notices")


def _held(visit: Visit) -> Iterable[dict[str, str]]:
    """Rollouts that wait for a person."""
    for one in visit.get("/rollouts", {"state": "held"})["rollouts"]:
        what = f"the rollout of {one['route']} in {one['environment']} is held at {one['percent']:g} %"
        asks = one["hold"] == "approval"
        why = "somebody else than who started it decides whether it goes on" if asks else one["reason"]
        following = "approve it or roll it back" if asks else "resume it or roll it back"
        yield _attention("warn", what, why, following, f"/rollouts/{one['id']}")


def _waiting_changes(visit: Visit, waiting: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, str]]:
    """Changes that this person can take further."""
    for state, verb, following in WAITING_CHANGES:
        for change in [change for change in waiting if change["state"] == state][:CHANGES_SHOWN]:
            options = visit.get("/changes/{change_id}/options", change_id=change["id"])
            if not options[verb]:
                what = f"{change['note'] or 'A change without a note'}: {touched(change['plan'])}"
                why = f"{STATE_WORDS[state]}; {change['author']} asked for it"
                yield _attention("warn", what, why, following, f"/changes/{change['id']}")


def _budgets_near_end(budgets: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, str]]:
    for budget in budgets:
        used = Decimal(budget["share"])
        if used >= SPENT_SHARE_NOTED:
            gone = used >= 1
            effect = "calls are refused with 402" if gone and budget["mode"] == "strict" else "calls go on"
            yield _attention(
                "bad" if gone else "warn",
                f"{budget['scope']} {budget['name']} has used {used * 100:.0f} % of its budget",
                f"${budget['spent_usd']} of ${budget['usd_per_month']} in {budget['period']}; {effect}",
                "raise `budget` in its manifest, or wait for the next month",
                "/cost",
            )


def _errors(visit: Visit) -> Iterable[dict[str, str]]:
    """A share of errors in the last hour that somebody should look at."""
    total = visit.get("/usage", {"by": "outcome", "since": "1h"})["total"]
    requests, errors = total["requests"], total["errors"]
    if requests >= ERROR_REQUESTS_LEAST and errors / requests >= ERROR_SHARE_NOTED:
        what = f"{errors:,} of {requests:,} requests did not succeed within the last hour"
        yield _attention("warn", what, "each of them says why", "look at those that failed", "/requests?outcome=failed")


def _unpriced(total: Mapping[str, Any]) -> Iterable[dict[str, str]]:
    if total["unpriced_requests"]:
        unpriced = total["unpriced_requests"]
        what = f"{of(unpriced, 'request')} of the last 24 hours {'has' if unpriced == 1 else 'have'} no price"
        why = "their cost is missing from every sum and no budget holds them"
        yield _attention("warn", what, why, "give the model version a `price`", "/cost")


def _standing(visit: Visit) -> Iterable[dict[str, str]]:
    """Deployed model versions that should not be called any more, with who still does."""
    standing = [
        version
        for version in visit.get("/model-versions")["versions"]
        if version["routes"] and version["status"] in LEAVING
    ]
    called = visit.get("/usage", {"by": "model,app", "since": f"{HOURS}h"})["rows"] if standing else []
    for version in standing:
        mine = [row for row in called if row["model"] == version["model"]]
        requests, apps = sum(row["requests"] for row in mine), len({row["app"] for row in mine})
        is_refused = version["status"] != "deprecated"
        yield _attention(
            "bad" if is_refused else "warn",
            f"{version['model']} is {version['status']}, and {of(len(version['routes']), 'route')} still name it"
            if len(version["routes"]) > 1
            else f"{version['model']} is {version['status']}, and {version['routes'][0]} still names it",
            f"{'calls to it are refused' if is_refused else 'it will be retired'}; " + _called(requests, apps),
            f"point {', '.join(version['routes'])} elsewhere",
            f"/catalogue/{version['model'].partition('@')[0]}",
        )


def _called(requests: int, apps: int) -> str:
    if not requests:
        return f"nobody called it within {HOURS} hours"
    return f"{of(requests, 'request')} of {of(apps, 'app')} within {HOURS} hours"


HOME = Page("", "home.html", load)
