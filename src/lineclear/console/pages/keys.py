"""Keys: who may call with what, a new one shown once, and the end of one with its effect named first."""

from collections.abc import Mapping
from typing import Any

from lineclear.console.page import Action, Onward, Page, Visit
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.domain.permissions import Permission

LAST_REQUESTS = 5
COUNTED_MAX = 1_000
SPAN = "24h"
LIVES = (("", "does not expire"), ("1", "1 day"), ("30", "30 days"), ("90", "90 days"), ("365", "a year"))
FILTERS = ("app", "environment", "state")


def load(visit: Visit) -> dict[str, Any]:
    """Keys that fit, newest first, and what a new one may be for."""
    asked = {name: visit.query[name] for name in FILTERS if name in visit.query}
    state = asked.get("state", "active")
    found = visit.get("/keys", {name: value for name, value in asked.items() if name != "state"})["keys"]
    return {
        "filters": {**asked, "state": state},
        "rows": [key for key in reversed(found) if state in ("all", key["state"])],
        "known": len(found),
        "choices": {
            "app": [item["name"] for item in visit.get("/apps")["items"]],
            "environment": [item["name"] for item in visit.get("/environments")["items"]],
            "state": ["active", "expired", "revoked", "all"],
            "life": [{"days": days, "word": word} for days, word in LIVES],
        },
    }


def load_key(visit: Visit) -> dict[str, Any]:
    """One key and what it was used for lately."""
    key_id = visit.parts["key_id"]
    key = next((key for key in visit.get("/keys")["keys"] if key["id"] == key_id), None)
    if key is None:
        raise Refused(AdminCode.NOT_FOUND, f"there is no key {key_id!r}", hint="the page Keys lists them")
    lately = visit.get("/requests", {"key_id": key_id, "since": SPAN, "limit": str(COUNTED_MAX)})["rows"]
    others = [
        one
        for one in visit.get("/keys", {"app": key["app"], "environment": key["environment"]})["keys"]
        if one["state"] == "active" and one["id"] != key_id
    ]
    return {
        "key": key,
        "span": SPAN,
        "requests": len(lately),
        "is_at_least": len(lately) == COUNTED_MAX,
        "other_keys": len(others),
        "rows": lately[:LAST_REQUESTS],
        "may_change_app": _may_change_app(visit, key["app"]),
    }


def _may_change_app(visit: Visit, name: str) -> bool:
    """Whether this person may ask for a change of the key's app; keys outlive apps that are gone."""
    app = next((app for app in visit.get("/apps")["items"] if app["name"] == name), None)
    return app is not None and visit.may(Permission.CHANGE_APPLY, app["manifest"]["team"])


def create(visit: Visit, form: Mapping[str, str]) -> dict[str, Any]:
    """Make a key; its text is in this answer only."""
    days = form.get("expires_in_days", "")
    if days and not (days.isascii() and days.isdigit() and len(days) < 6):
        raise Refused(AdminCode.INVALID_REQUEST, f"{days!r} is no number of days")
    body = {
        "app": form.get("app", ""),
        "environment": form.get("environment", ""),
        "expires_in_days": int(days) if days else None,
    }
    made = visit.post("/keys", body)
    return {**made, "gateway_url": visit.get("/status")["gateway_url"]}


def revoke(visit: Visit, form: Mapping[str, str]) -> Onward:
    """End a key at every gateway, and its open answers where that is ticked."""
    query = {"reason": form.get("reason", "")}
    if form.get("cut_streams") == "yes":
        query["cut_streams"] = "true"
    visit.delete("/keys/{key_id}", query, key_id=visit.parts["key_id"])
    return Onward("/keys", {"state": "revoked"})


KEYS = Page("/keys", "keys.html", load, query=FILTERS, rows="rows")
KEY = Page("/keys/{key_id}", "key.html", load_key)
CREATE_KEY = Action("/keys", create, "/keys", "key_made.html")
REVOKE_KEY = Action("/keys/{key_id}/revoke", revoke, "/keys")
