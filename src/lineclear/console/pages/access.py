"""Access: who may do what where as one table, why somebody may or may not, and one member with what can be taken.

In: members, grants, tokens and decisions as the API tells them to this person. Out: values to show. What somebody may
not read is None, never an empty list.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from lineclear.console.page import Action, Onward, Page, Visit
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.domain.access import Role
from lineclear.domain.permissions import Permission

PATH = "/access"
ASKED = ("subject", "action", "object")
GROUP = "group:"
LIVES = (("", "until it is taken"), ("1", "1 day"), ("30", "30 days"), ("90", "90 days"), ("365", "a year"))
NOT_ASKED = (Permission.PUBLIC, Permission.SELF)
"""What everybody may: nobody asks for it."""


def load(visit: Visit) -> dict[str, Any]:
    """Everybody that this person sees, with roles, tokens and sessions."""
    members, grants = _list(visit, "/members", "members"), _list(visit, "/grants", "grants")
    tokens, sessions = _list(visit, "/tokens", "tokens"), _list(visit, "/sessions", "sessions")
    asked = {name: visit.query[name] for name in ASKED if name in visit.query}
    return {
        "me": visit.get("/me"),
        "roles": [role.value for role in Role],
        "rows": None if members is None or grants is None else _matrix(members, grants, tokens or []),
        "tokens": tokens,
        "sessions": sessions,
        "openings": [one for one in visit.get("/break-glass")["openings"] if one["state"] != "reviewed"],
        "asked": asked,
        "decision": _decision(visit, asked),
        "actions": [item.value for item in Permission if item not in NOT_ASKED],
        "may_audit": visit.may(Permission.AUDIT_READ),
        "may_manage": visit.principal.may_somewhere(Permission.MEMBER_MANAGE),
    }


def load_member(visit: Visit) -> dict[str, Any]:
    """One member or group, with grants and tokens."""
    name = visit.parts["name"]
    member = next((one for one in visit.get("/members")["members"] if one["name"] == name), None)
    grants = visit.get("/grants", {"principal": name})["grants"]
    if member is None and not (name.startswith(GROUP) and grants):
        words = f"there is no member {name!r} that you see"
        raise Refused(AdminCode.NOT_FOUND, words, hint="the page Access lists them")
    tokens = _list(visit, "/tokens", "tokens")
    sessions = _list(visit, "/sessions", "sessions")
    return {
        "name": name,
        "member": member,
        "grants": grants,
        "tokens": None if tokens is None else [one for one in tokens if one["principal"] == name],
        "sessions": None if sessions is None else [one for one in sessions if one["principal"] == name],
        "roles": [role.value for role in Role],
        "scopes": _scopes(visit),
        "lives": [{"days": days, "word": word} for days, word in LIVES],
        "may_manage": visit.principal.may_somewhere(Permission.GRANT_MANAGE),
    }


def _list(visit: Visit, path: str, name: str) -> list[dict[str, Any]] | None:
    """None for who may not read it."""
    try:
        found: list[dict[str, Any]] = visit.get(path)[name]
    except Refused as refused:
        if refused.code is not AdminCode.FORBIDDEN:
            raise
        return None
    return found


def _matrix(
    members: Sequence[Mapping[str, Any]], grants: Sequence[Mapping[str, Any]], tokens: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """A row for each member, and for each group or other name that has a grant."""
    known = {one["name"]: one for one in members}
    others = sorted({one["principal"] for one in grants} - known.keys())
    return [
        {
            "name": name,
            "kind": known[name]["kind"] if name in known else "group" if name.startswith(GROUP) else "unknown",
            "team": known[name]["team"] if name in known else "",
            "state": known[name]["state"] if name in known else "active",
            "signs_in_with": known[name]["signs_in_with"] if name in known else [],
            "groups": known[name]["groups"] if name in known else [],
            "live_tokens": sum(one["principal"] == name and one["state"] == "active" for one in tokens),
            "roles": {
                role.value: [
                    {"scope": one["scope"], "state": one["state"], "expires_at": one["expires_at"]}
                    for one in grants
                    if (one["principal"], one["role"]) == (name, role.value) and one["state"] != "expired"
                ]
                for role in Role
            },
        }
        for name in (*known, *others)
    ]


def _decision(visit: Visit, asked: Mapping[str, str]) -> dict[str, Any] | None:
    """The answer to what stands in the address; None where nothing was asked."""
    if "action" not in asked:
        return None
    try:
        found: dict[str, Any] = visit.get("/decision", {**asked, "object": asked.get("object", "platform")})
    except Refused as refused:
        # The page goes on; what was asked wrongly is said where the answer would stand.
        return {"refused": refused.message, "hint": refused.hint}
    return found


def _scopes(visit: Visit) -> list[str]:
    """Every scope that a role could be given on."""
    return [
        "platform",
        *(f"team:{item['name']}" for item in visit.get("/teams")["items"]),
        *(f"environment:{item['name']}" for item in visit.get("/environments")["items"]),
        *(f"route:{row['environment']}/{row['route']}" for row in visit.get("/rollbacks")["deployments"]),
    ]


def _member_path(name: str) -> str:
    return f"{PATH}/{quote(name, safe='')}"


def add(visit: Visit, form: Mapping[str, str]) -> Onward:
    """Add somebody, without any role."""
    made = visit.post("/members", {"name": form.get("name", "").strip(), "kind": form.get("kind", "person")})
    return Onward(_member_path(made["name"]), {})


def give(visit: Visit, form: Mapping[str, str]) -> Onward:
    """Give a role on a scope."""
    days = form.get("expires_in_days", "")
    if days and not (days.isascii() and days.isdigit() and len(days) < 6):
        raise Refused(AdminCode.INVALID_REQUEST, f"{days!r} is no number of days")
    body = {
        "principal": visit.parts["name"],
        "role": form.get("role", ""),
        "scope": form.get("scope", ""),
        "expires_in_days": int(days) if days else None,
        "reason": form.get("reason", ""),
    }
    visit.post("/grants", body)
    return Onward(_member_path(visit.parts["name"]), {})


def take(visit: Visit, form: Mapping[str, str]) -> Onward:
    """Take a role away."""
    visit.delete("/grants/{grant_id}", {"reason": form.get("reason", "")}, grant_id=form.get("grant", ""))
    return Onward(_member_path(visit.parts["name"]), {})


def revoke_token(visit: Visit, form: Mapping[str, str]) -> Onward:
    """End a token."""
    visit.delete("/tokens/{token_id}", {"reason": form.get("reason", "")}, token_id=form.get("token", ""))
    return Onward(_member_path(visit.parts["name"]), {})


def invite(visit: Visit, _form: Mapping[str, str]) -> dict[str, Any]:
    """Make a link with which a person chooses a password; it is in this answer only."""
    made: dict[str, Any] = visit.post("/members/{name}/invitation", name=visit.parts["name"])
    return made


def _moving(path: str) -> Callable[[Visit, Mapping[str, str]], Onward]:
    def move(visit: Visit, form: Mapping[str, str]) -> Onward:
        name = visit.parts["name"]
        visit.post(f"/members/{{name}}/{path}", {"reason": form.get("reason", "")}, name=name)
        return Onward(_member_path(name), {})

    return move


ACCESS = Page(PATH, "access.html", load, query=ASKED)
MEMBER = Page(f"{PATH}/{{name}}", "member.html", load_member, has_dotted_names=True)
ACCESS_ACTIONS = (
    Action(PATH, add, PATH),
    Action(f"{PATH}/{{name}}/grants", give, f"{PATH}/{{name}}"),
    Action(f"{PATH}/{{name}}/grants/take", take, f"{PATH}/{{name}}"),
    Action(f"{PATH}/{{name}}/tokens/revoke", revoke_token, f"{PATH}/{{name}}"),
    Action(f"{PATH}/{{name}}/invite", invite, f"{PATH}/{{name}}", "invited.html"),
    Action(f"{PATH}/{{name}}/disable", _moving("disable"), f"{PATH}/{{name}}"),
    Action(f"{PATH}/{{name}}/enable", _moving("enable"), f"{PATH}/{{name}}"),
)
