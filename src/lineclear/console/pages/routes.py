"""Routes: where each leads in each environment, and one route drawn from its callers to its targets."""

from collections.abc import Mapping
from typing import Any

from lineclear.console.page import Page, Visit
from lineclear.console.pages.rollouts import OPEN
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.domain.permissions import Permission
from lineclear.observe.period import time_text

SPAN = "24h"


def load(visit: Visit) -> dict[str, Any]:
    """One row per route and environment."""
    releases = _releases(visit)
    sums = _sums(visit, "")
    rows = []
    for item in visit.get("/routes")["items"]:
        for environment, deployed in sorted(item["manifest"]["environments"].items()):
            rows.append(
                {
                    "route": item["name"],
                    "environment": environment,
                    "team": item["manifest"]["team"],
                    "tasks": item["manifest"]["tasks"],
                    "data_class": item["manifest"]["data_class"],
                    "strategy": deployed["strategy"],
                    "targets": deployed["targets"],
                    "fallback": [target["model"] for target in deployed["fallback"]],
                    "release": releases.get((item["name"], environment)),
                    **_figures(sums.get((item["name"], environment))),
                }
            )
    return {"span": SPAN, "rows": rows}


def load_route(visit: Visit) -> dict[str, Any]:
    """A route with its callers, targets and settings in each environment."""
    name = visit.parts["name"]
    item = next((one for one in visit.get("/routes")["items"] if one["name"] == name), None)
    if item is None:
        raise Refused(AdminCode.NOT_FOUND, f"there is no route {name!r}", hint="the page Routes lists them")
    statuses = {one["model"]: one["status"] for one in visit.get("/model-versions")["versions"]}
    apps = visit.get("/apps")["items"]
    called = visit.get("/usage", {"by": "app,environment", "route": name, "since": SPAN})["rows"]
    sums = _sums(visit, name)
    stable = _releases(visit)
    back = {row["environment"]: row for row in visit.get("/rollbacks")["deployments"] if row["route"] == name}
    stops = {stop["scope"]: stop for stop in visit.get("/stops")["stops"]}
    open_rollouts = _open_rollouts(visit, name)
    environments = []
    for environment, deployed in sorted(item["manifest"]["environments"].items()):
        requests = {row["app"]: row["requests"] for row in called if row["environment"] == environment}
        may = [app["name"] for app in apps if "*" in app["manifest"]["routes"] or name in app["manifest"]["routes"]]
        environments.append(
            {
                "name": environment,
                "release": stable.get((name, environment)),
                "apps": [
                    {"name": app, "requests": requests.get(app, 0)}
                    for app in sorted(may, key=lambda one: (-requests.get(one, 0), one))
                ],
                "targets": _targets(deployed, statuses),
                "fallback": [
                    {"model": target["model"], "status": statuses.get(target["model"])}
                    for target in deployed["fallback"]
                ],
                "take_back": _take_back(visit, item, environment, back.get(environment), stops),
                "rollout": open_rollouts.get(environment),
                "settings": {key: value for key, value in deployed.items() if key not in ("targets", "fallback")},
                **_figures(sums.get((name, environment))),
            }
        )
    return {
        "span": SPAN,
        "route": name,
        "managed_by": item["managed_by"],
        "facts": {key: item["manifest"][key] for key in ("team", "tasks", "data_class", "description")},
        "environments": environments,
        "releases": [
            {"id": one["id"], "environments": one["environments"], "change": one["change"]}
            for one in visit.get("/releases")["releases"]
            if one["route"] == name
        ],
        "may_change": _may_change(visit, item),
        "latest": time_text(visit.now_us)[:16],
        "then": _then(visit, name, visit.query["at"]) if "at" in visit.query else None,
    }


def _may_change(visit: Visit, item: Mapping[str, Any]) -> bool:
    """Whether this person may ask for a change of the route, or of one deployment of it."""
    environments = ("", *item["manifest"]["environments"])
    return any(visit.may(Permission.CHANGE_APPLY, item["manifest"]["team"], one, item["name"]) for one in environments)


def _then(visit: Visit, route: str, at: str) -> dict[str, Any]:
    """What served at an instant in every environment where the route ever was, also where it is no more."""
    found = []
    for environment in visit.get("/environments")["items"]:
        try:
            told = visit.get("/deployment-history", {"route": route, "environment": environment["name"], "at": at})
        except Refused as refused:
            if refused.code not in (AdminCode.NOT_FOUND, AdminCode.FORBIDDEN):
                raise
            continue
        stretch = told["stretches"][0] if told["stretches"] else None
        found.append({"environment": environment["name"], "at": told["at"], "stretch": stretch})
    return {"asked": at, "at": found[0]["at"] if found else None, "environments": found}


def _take_back(
    visit: Visit,
    item: Mapping[str, Any],
    environment: str,
    readiness: Mapping[str, Any] | None,
    stops: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """What could be done at once, and whether this person may."""
    where = (item["manifest"]["team"], environment, item["name"])
    scope = f"route:{environment}/{item['name']}"
    return {
        "scope": scope,
        "stopped": stops.get(scope) or stops.get("all"),
        "is_stopped_itself": scope in stops,
        "may_stop": visit.may(Permission.STOP_MAKE, *where),
        "may_roll_back": visit.may(Permission.ROLLBACK_MAKE, *where),
        "to": readiness["rollback_to"] if readiness else None,
        "rolled_back_from": readiness["rolled_back_from"] if readiness else "",
        "ready": [one["release"] for one in readiness["previous"] if one["is_ready"]] if readiness else [],
        "reason": readiness["reason"] if readiness else "it is not deployed",
    }


def _open_rollouts(visit: Visit, route: str) -> dict[str, Mapping[str, Any]]:
    """The rollout that is under way in each environment."""
    found = visit.get("/rollouts", {"route": route})["rollouts"]
    return {one["environment"]: one for one in found if one["state"] in OPEN}


def _targets(deployed: Mapping[str, Any], statuses: Mapping[str, str]) -> list[dict[str, Any]]:
    """Targets with the share each is given; None where the order decides."""
    weights = [1 if target["weight"] is None else target["weight"] for target in deployed["targets"]]
    whole = sum(weights)
    is_shared = deployed["strategy"] == "weighted" and whole > 0
    return [
        {
            "model": target["model"],
            "status": statuses.get(target["model"]),
            "share": weight / whole if is_shared else None,
        }
        for target, weight in zip(deployed["targets"], weights, strict=True)
    ]


def _releases(visit: Visit) -> dict[tuple[str, str], str]:
    """The stable release of each (route, environment)."""
    return {
        (one["route"], environment): one["id"]
        for one in visit.get("/releases")["releases"]
        for environment in one["environments"]
    }


def _sums(visit: Visit, route: str) -> dict[tuple[str, str], Mapping[str, Any]]:
    rows = visit.get("/usage", {"by": "route,environment", "since": SPAN, "route": route})["rows"]
    return {(row["route"], row["environment"]): row for row in rows}


def _figures(row: Mapping[str, Any] | None) -> dict[str, Any]:
    names = ("requests", "errors", "latency_ms_p95", "cost_usd", "unpriced_requests")
    if row is None:
        return {"requests": 0, "errors": 0, "latency_ms_p95": None, "cost_usd": "0.000000000", "unpriced_requests": 0}
    return {name: row[name] for name in names}


ROUTES = Page("/routes", "routes.html", load, rows="rows")
ROUTE = Page("/routes/{name}", "route.html", load_route, query=("at",), has_dotted_names=True)
