"""Routes: where each leads in each environment, and one route drawn from its callers to its targets."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from lineclear.console.page import Page, Visit
from lineclear.control.endpoint import AdminCode, Refused

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
    environments = []
    for environment, deployed in sorted(item["manifest"]["environments"].items()):
        requests = {row["app"]: row["requests"] for row in called if row["environment"] == environment}
        may = [app["name"] for app in apps if any(fnmatchcase(name, allowed) for allowed in app["manifest"]["routes"])]
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
    }


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
ROUTE = Page("/routes/{name}", "route.html", load_route, has_dotted_names=True)
