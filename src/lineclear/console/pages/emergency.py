"""Emergency: what is stopped, and stopping, starting, blocking and rolling back, each with its effect said first.

In: overrides as the API tells them, callers from the ledger. Out: values to show. Works as the endpoints behind it do:
at every gateway within a second, with nobody else's approval.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from lineclear.console.page import Action, Page, Visit
from lineclear.console.pages.rollouts import OPEN
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.domain.permissions import Permission

PATH = "/emergency"
SPAN = "24h"
LEFT = frozenset({"blocked", "retired"})
"""Model versions that nobody calls any more."""
CUTTING = frozenset({"/stops", "/blocks"})
"""What ends open answers too, where its box is ticked."""


def load(visit: Visit) -> dict[str, Any]:
    """Everything that can be done at once by this person, with who would feel it."""
    traffic = _Traffic(visit)
    stops = visit.get("/stops")["stops"]
    teams = {item["name"]: item["manifest"]["team"] for item in visit.get("/routes")["items"]}
    rolling = {(one["environment"], one["route"]) for one in visit.get("/rollouts")["rollouts"] if one["state"] in OPEN}
    rows = [
        {
            **{name: row[name] for name in ("environment", "route", "stable", "rollback_to", "reason")},
            "is_ready": row["rollback_ready"],
            "drill": row["drill"],
            "is_rolling_out": (row["environment"], row["route"]) in rolling,
            **traffic.of_scope(f"route:{row['environment']}/{row['route']}"),
            "may_roll_back": visit.may(
                Permission.ROLLBACK_MAKE, teams.get(row["route"], ""), row["environment"], row["route"]
            ),
        }
        for row in visit.get("/rollbacks")["deployments"]
    ]
    may_stop_all = visit.may(Permission.STOP_MAKE)
    return {
        "span": SPAN,
        "stops": [
            {**stop, **traffic.of_scope(stop["scope"]), "may_start": _may_stop(visit, stop["scope"], teams)}
            for stop in stops
        ],
        "all": {"scope": "all", **traffic.of_scope("all")} if may_stop_all else None,
        "scopes": _scopes(visit, traffic, teams, {stop["scope"] for stop in stops}),
        "models": _models(visit, traffic) if visit.may(Permission.MODEL_BLOCK) else [],
        "rows": sorted(rows, key=lambda row: -(row["requests"] or 0)),
    }


class _Traffic:
    """Who called what within SPAN; nothing is known to who may not read the ledger."""

    def __init__(self, visit: Visit) -> None:
        found = visit.usage({"by": "app,environment,route,provider,model", "since": SPAN})
        self._rows: Sequence[Mapping[str, Any]] | None = None if found is None else found["rows"]

    def of_scope(self, scope: str) -> dict[str, Any]:
        """Requests and apps of a stop's scope."""
        kind, _, name = scope.partition(":")
        environment, _, route = name.partition("/")
        return self._sum(
            lambda row: (
                scope == "all"
                or (
                    row["environment"] == environment and row["route"] == route
                    if kind == "route"
                    else row[kind] == name
                )
            )
        )

    def of_model(self, model: str) -> dict[str, Any]:
        """Requests and apps of a model version."""
        return self._sum(lambda row: bool(row["model"] == model))

    def _sum(self, is_meant: Callable[[Mapping[str, Any]], bool]) -> dict[str, Any]:
        if self._rows is None:
            return {"requests": None, "apps": None}
        meant = [row for row in self._rows if is_meant(row)]
        apps = sorted({row["app"] for row in meant} - {""})
        return {"requests": sum(row["requests"] for row in meant), "apps": apps}


def _scopes(visit: Visit, traffic: _Traffic, teams: Mapping[str, str], stopped: set[str]) -> list[dict[str, Any]]:
    """What can be stopped by itself, in groups; the busiest first."""
    apps = [f"app:{item['name']}" for item in visit.get("/apps")["items"]]
    routes = [f"route:{row['environment']}/{row['route']}" for row in visit.get("/rollbacks")["deployments"]]
    providers = [f"provider:{item['name']}" for item in visit.get("/providers")["items"]]
    groups: list[dict[str, Any]] = []
    for group, scopes in (("apps", apps), ("routes", routes), ("providers", providers)):
        offered = [
            {"scope": scope, **traffic.of_scope(scope)}
            for scope in scopes
            if scope not in stopped and _may_stop(visit, scope, teams)
        ]
        if offered:
            groups.append({"group": group, "scopes": sorted(offered, key=lambda one: -(one["requests"] or 0))})
    return groups


def _may_stop(visit: Visit, scope: str, teams: Mapping[str, str]) -> bool:
    kind, _, name = scope.partition(":")
    if kind == "route":
        environment, _, route = name.partition("/")
        return visit.may(Permission.STOP_MAKE, teams.get(route, ""), environment, route)
    if kind == "app":
        app = next((item for item in visit.get("/apps")["items"] if item["name"] == name), None)
        return visit.may(Permission.STOP_MAKE, "" if app is None else app["manifest"]["team"])
    return visit.may(Permission.STOP_MAKE)


def _models(visit: Visit, traffic: _Traffic) -> list[dict[str, Any]]:
    found = [
        {"model": one["model"], "status": one["status"], "routes": one["routes"], **traffic.of_model(one["model"])}
        for one in visit.get("/model-versions")["versions"]
        if one["status"] not in LEFT
    ]
    return sorted(found, key=lambda one: (-(one["requests"] or 0), one["model"]))


def _overriding(
    path: str, fields: Sequence[str], back: Callable[[Mapping[str, str]], str]
) -> Callable[[Visit, Mapping[str, str]], dict[str, Any]]:
    """A form that does one thing at once and shows what came of it."""

    def act(visit: Visit, form: Mapping[str, str]) -> dict[str, Any]:
        reason = form.get("reason", "").strip()
        if not reason:
            words = "say why: whoever is refused reads the reason, and so does the audit trail"
            raise Refused(AdminCode.INVALID_REQUEST, words, hint="go back, and fill in the reason")
        body: dict[str, Any] = {name: value for name in fields if (value := form.get(name, "").strip())}
        if path in CUTTING and form.get("cut_streams") == "yes":
            body["cut_streams"] = True
        done = visit.post(path, {**body, "reason": reason})
        return {"done": done, "asked": body, "reason": reason, "back": back(form)}

    return act


def _to_route(form: Mapping[str, str]) -> str:
    return f"/routes/{quote(form.get('route', ''), safe='')}"


EMERGENCY = Page(PATH, "emergency.html", load, rows="rows")
OVERRIDES = (
    Action(f"{PATH}/stop", _overriding("/stops", ("scope",), lambda _: PATH), PATH, "overridden.html"),
    Action(f"{PATH}/start", _overriding("/starts", ("scope",), lambda _: PATH), PATH, "overridden.html"),
    Action(f"{PATH}/block", _overriding("/blocks", ("model",), lambda _: PATH), PATH, "overridden.html"),
    Action(
        f"{PATH}/rollback",
        _overriding("/rollbacks", ("route", "environment", "to"), _to_route),
        PATH,
        "overridden.html",
    ),
)
"""What their forms do."""
