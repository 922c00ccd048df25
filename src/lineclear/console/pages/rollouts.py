"""Rollouts: which changes are on their way, and one of them with its evidence, what holds it, and what a person may do.

In: the rollout as the API tells it, what the ledger says of both releases. Out: values to show. Nothing is judged here.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from lineclear.console.page import Action, Feed, Onward, Page, Visit
from lineclear.console.pages.evals import runs_of
from lineclear.console.rollout_words import changed
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.domain.permissions import Permission

PATH = "/rollouts"
SPAN = "24h"
LIMIT = "200"
FILTERS = ("environment", "route", "state")
OPEN = ("pending", "running", "held")
STATES = (*OPEN, "completed", "rolled_back", "cancelled")
LOOKS_PER_FIGURE = 15
"""The ledger's sums of an open page are asked for anew after so many looks."""
ARM_FIGURES = ("requests", "errors", "latency_ms_p50", "latency_ms_p95", "cost_usd", "unpriced_requests")
TAKEN_UP_BY_HAND = ("approval", "srm")
"""Holds that no resumption ends: one is approved, the other only rolled back."""


def load(visit: Visit) -> dict[str, Any]:
    """Rollouts that fit, newest first; those under way stand at the top."""
    asked = {name: visit.query[name] for name in FILTERS if name in visit.query}
    found = visit.get(PATH, {**asked, "limit": LIMIT})["rollouts"]
    return {
        "filters": asked,
        "rows": sorted(found, key=lambda one: one["state"] not in OPEN),
        "choices": {
            "environment": [item["name"] for item in visit.get("/environments")["items"]],
            "route": [item["name"] for item in visit.get("/routes")["items"]],
            "state": list(STATES),
        },
        "plans": [item["name"] for item in visit.get("/rollout-plans")["items"]],
    }


def load_rollout(visit: Visit) -> dict[str, Any]:
    """One rollout whole."""
    rollout_id = visit.parts["rollout_id"]
    detail = visit.get(f"{PATH}/{{rollout_id}}", rollout_id=rollout_id)
    components = _components(visit, detail["rollout"])
    return {
        **_now(detail, _Ground(visit, detail)),
        "title": changed(components) or f"A release of {detail['rollout']['route']}",
        "components": components,
        "preview": _preview(visit, detail),
        "gates": runs_of(visit, detail["rollout"]["route"], rollout=detail["rollout"]["id"]),
    }


class _Ground:
    """What stays the same while a rollout is watched, and the ledger's sums, which are asked for now and then."""

    def __init__(self, visit: Visit, detail: Mapping[str, Any]) -> None:
        facts = detail["rollout"]
        self._visit = visit
        route = next((one for one in visit.get("/routes")["items"] if one["name"] == facts["route"]), None)
        where = ("" if route is None else route["manifest"]["team"], facts["environment"], facts["route"])
        self.may_operate = visit.may(Permission.ROLLOUT_OPERATE, *where)
        self.may_approve = visit.may(Permission.CHANGE_APPROVE, *where)
        self.look(facts)

    def look(self, facts: Mapping[str, Any]) -> None:
        """Ask the ledger again."""
        only = {"environment": facts["environment"], "route": facts["route"]}
        self.callers = self._visit.usage({"by": "app", "since": SPAN, "callers": "true", **only})
        until = {"until": facts["ended_at"]} if facts["ended_at"] else {}
        self.releases = self._visit.usage({"by": "release", "since": facts["started_at"], **until, **only})
        self.hours = self._visit.usage({"by": "release,hour", "since": facts["started_at"], **until, **only})


def _now(detail: Mapping[str, Any], ground: _Ground) -> dict[str, Any]:
    """The rollout as it stands at this look."""
    facts = detail["rollout"]
    return {
        **detail,
        "arms": [_arm(name, detail, ground.releases) for name in ("stable", "candidate")],
        "figures_since": None if ground.releases is None else ground.releases["since"],
        "callers": _callers(ground.callers),
        "by_hour": _by_hour(facts, ground.hours),
        "next": _next(detail),
        "actions": _actions(detail, ground),
    }


def _arm(name: str, detail: Mapping[str, Any], sums: Mapping[str, Any] | None) -> dict[str, Any]:
    """One release: its share and what the ledger says of it since the rollout began."""
    facts = detail["rollout"]
    row = next((one for one in sums["rows"] if one["release"] == facts[name]), None) if sums is not None else None
    is_open = facts["state"] in OPEN
    percent = facts["percent"] if is_open else 100.0 if facts["state"] == "completed" else 0.0
    return {
        "arm": name,
        "release": facts[name],
        "percent": percent if name == "candidate" else 100 - percent,
        "counted_requests": detail[f"{name}_requests"],
        **{figure: None if row is None else row[figure] for figure in ARM_FIGURES},
        "cost_a_request_usd": None if row is None else _mean_usd(row),
    }


def _mean_usd(row: Mapping[str, Any]) -> str | None:
    """What a priced request cost; None where none has a price."""
    priced = row["requests"] - row["unpriced_requests"]
    return f"{Decimal(row['cost_usd']) / priced:.6f}" if priced else None


def _callers(sums: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Who is affected: apps that called the route within SPAN."""
    if sums is None:
        return None
    return {
        "span": SPAN,
        "apps": [row["app"] for row in sums["rows"] if row["app"]],
        "requests": sums["total"]["requests"],
    }


def _by_hour(facts: Mapping[str, Any], sums: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Both releases hour by hour; nothing for a single hour, which the table of arms says already."""
    rows = [] if sums is None else sums["rows"]
    hours = sorted({row["hour"] for row in rows})
    if len(hours) < 2:
        return []
    found = {(row["release"], row["hour"]): row for row in rows}
    return [
        {
            "hour": hour,
            **{
                f"{arm}_{figure}": (found.get((facts[arm], hour)) or {}).get(figure)
                for arm in ("stable", "candidate")
                for figure in ("requests", "errors", "latency_ms_p95")
            },
        }
        for hour in hours
    ]


def _next(detail: Mapping[str, Any]) -> dict[str, Any] | None:
    """The step after the one that it stands at; None after the last."""
    at = detail["rollout"]["step"]
    course: list[dict[str, Any]] = detail["course"]
    return course[at] if at < len(course) else None


def _actions(detail: Mapping[str, Any], ground: _Ground) -> list[str]:
    """What this person may do to it as it stands, the least first."""
    facts, gate = detail["rollout"], detail["gate"]
    if facts["state"] not in OPEN:
        return []
    is_held = facts["state"] == "held"
    waits_for_approval = is_held and facts["hold"] == "approval"
    # A gate that failed is run again or rolled back; one that showed nothing either way may be passed.
    failed_gate = facts["hold"] == "gate" and (gate is None or gate["verdict"] != "inconclusive")
    can_resume = is_held and facts["hold"] not in TAKEN_UP_BY_HAND and not failed_gate
    possible = {
        "pause": not is_held and ground.may_operate,
        "resume": can_resume and ground.may_operate,
        "run_again": facts["hold"] == "gate" and ground.may_operate,
        "approve": waits_for_approval and ground.may_approve,
        "advance": facts["hold"] in ("", "no_data") and gate is None and ground.may_operate,
        "roll_back": ground.may_operate,
    }
    return [name for name, is_possible in possible.items() if is_possible]


def _components(visit: Visit, facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the candidate changes; nothing for who does not see both releases."""
    try:
        found = visit.get("/release-diffs", {"before": facts["stable"], "after": facts["candidate"]})
    except Refused as refused:
        if refused.code is not AdminCode.NOT_FOUND:
            raise
        return []
    components: list[dict[str, Any]] = found["components"]
    return components


def _preview(visit: Visit, detail: Mapping[str, Any]) -> dict[str, Any] | None:
    """What each step can find out at the route's traffic; None where the plan is gone or has nothing to say."""
    facts = detail["rollout"]
    if facts["state"] not in OPEN:
        return None
    asked = {"environment": facts["environment"], "route": facts["route"], "rollout": facts["name"]}
    try:
        found: dict[str, Any] = visit.get("/rollout-previews", asked)
    except Refused as refused:
        if refused.code not in (AdminCode.NOT_FOUND, AdminCode.CONFLICT, AdminCode.INVALID_REQUEST):
            raise
        return None
    return found


def begin_watch(visit: Visit) -> Callable[[], dict[str, Any] | None]:
    """Follow one rollout."""
    rollout_id = visit.query.get("rollout", "")

    def look() -> dict[str, Any]:
        found: dict[str, Any] = visit.get(f"{PATH}/{{rollout_id}}", rollout_id=rollout_id)
        return found

    seen = look()
    ground = _Ground(visit, seen)
    looks = 0

    def news() -> dict[str, Any] | None:
        nonlocal seen, looks
        looks += 1
        found = look()
        is_due = looks % LOOKS_PER_FIGURE == 0 and found["rollout"]["state"] in OPEN
        if found == seen and not is_due:
            return None
        if is_due or found["rollout"]["state"] != seen["rollout"]["state"]:
            ground.look(found["rollout"])
        seen = found
        return _now(found, ground)

    return news


def _acting(path: str) -> Callable[[Visit, Mapping[str, str]], Onward]:
    def act(visit: Visit, form: Mapping[str, str]) -> Onward:
        rollout_id = visit.parts["rollout_id"]
        reason = form.get("reason", "").strip()
        if not reason:
            words = "say why: the reason is kept with the rollout and in the audit trail"
            raise Refused(AdminCode.INVALID_REQUEST, words)
        visit.post(f"{PATH}/{{rollout_id}}/{path}", {"reason": reason}, rollout_id=rollout_id)
        return Onward(f"{PATH}/{quote(rollout_id, safe='')}", {})

    return act


ROLLOUTS = Page(PATH, "rollouts.html", load, query=FILTERS, rows="rows")
ROLLOUT = Page(f"{PATH}/{{rollout_id}}", "rollout.html", load_rollout)
ROLLOUT_ACTIONS = tuple(
    Action(f"{PATH}/{{rollout_id}}/{path}", _acting(path), f"{PATH}/{{rollout_id}}")
    for path in ("pauses", "resumptions", "reruns", "advances", "rollbacks")
)
WATCH_ROLLOUT = Feed(f"{PATH}/stream", "rollout_now.html", "parts", begin_watch, query=("rollout",))
