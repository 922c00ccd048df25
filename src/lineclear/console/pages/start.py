"""Get started: a key, a call in several languages with this server's own address, and a light that turns green."""

from collections.abc import Callable, Mapping
from typing import Any

from lineclear.console.page import Action, Feed, Page, Visit
from lineclear.console.snippets import WORDS, snippets
from lineclear.domain.exchange import Operation
from lineclear.domain.sample_call import sample_operation

ENVIRONMENT = "test"
PREFERRED_ROUTE = "simulated"


def load(visit: Visit) -> dict[str, Any]:
    """What a newcomer copies, and whether anything was asked yet."""
    return _value(visit, visit.query.get("route"))


def _value(visit: Visit, wanted: str | None) -> dict[str, Any]:
    url = visit.get("/status")["gateway_url"]
    routes = _routes(visit)
    route = wanted if wanted in routes else next(iter(routes), PREFERRED_ROUTE)
    operation = routes.get(route, Operation.CHAT)
    return {
        "gateway_url": url,
        "environment": ENVIRONMENT,
        "routes": [{"route": name, "operation": operation} for name, operation in routes.items()],
        "route": route,
        "operation": operation,
        "apps": [item["name"] for item in visit.get("/apps")["items"]],
        "words": WORDS,
        "snippets": snippets(operation, url, route),
        "last_request": _last(visit),
        "sent": None,
    }


def _routes(visit: Visit) -> dict[str, Operation]:
    """Routes that a test key may call with what each is for, the one that is always there first."""
    does = {one["model"]: one["operations"] for one in visit.get("/model-versions")["versions"]}
    found = {
        item["name"]: item["manifest"]["environments"][ENVIRONMENT]["targets"][0]["model"]
        for item in visit.get("/routes")["items"]
        if ENVIRONMENT in item["manifest"]["environments"] and "*" not in item["name"]
    }
    names = sorted(found, key=lambda name: (name != PREFERRED_ROUTE, name))
    return {name: sample_operation([Operation(text) for text in does[found[name]]]) for name in names}


def _last(visit: Visit) -> dict[str, Any] | None:
    rows = visit.get("/requests", {"limit": "1"})["rows"]
    return rows[0] if rows else None


def send(visit: Visit, form: Mapping[str, str]) -> dict[str, Any]:
    """Send a test message; the page again, with what came back."""
    route = form.get("route", PREFERRED_ROUTE)
    body = {"route": route, "app": form.get("app", "default"), "text": form.get("text") or WORDS}
    sent = visit.post("/test-messages", body)
    return {**_value(visit, route), "sent": {**sent, "asked": body["text"]}}


def begin_first(visit: Visit) -> Callable[[], dict[str, Any] | None]:
    """Wait for the first request there is."""

    def news() -> dict[str, Any] | None:
        row = _last(visit)
        return None if row is None else {"last_request": row}

    return news


START = Page("/start", "start.html", load, query=("route",))
SEND = Action("/start/message", send, "/start", "start.html")
FIRST_REQUEST = Feed("/start/first", "first_request.html", "first", begin_first, is_once=True)
