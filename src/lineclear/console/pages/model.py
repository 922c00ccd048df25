"""One model's card: what it is for and not for, who calls each version, what leads to it, its life, and the next step.

In: the card, inventory, callers, releases and history as the API tells them. Out: values to show. A verb of a status is
offered where it may follow and the person may do it; the API asks again.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lineclear.console.page import Action, Onward, Page, Visit
from lineclear.console.pages.catalogue import SPAN, versions_of
from lineclear.console.render import part
from lineclear.console.shown import of
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.domain.catalogue import ModelStatus
from lineclear.domain.permissions import Permission
from lineclear.domain.status_moves import STATUS_MOVES

ROUTES_TOLD = 3
WORDS = ("limitations", "risks")
"""Prose of a card; it stands apart from the facts."""
CARD_LEFT_OUT = frozenset({"kind", "name", "versions", "purpose", *WORDS})
VERBS: Mapping[str, ModelStatus] = {
    "approve": ModelStatus.APPROVED,
    "deprecate": ModelStatus.DEPRECATED,
    "retire": ModelStatus.RETIRED,
    "unblock": ModelStatus.TEST,
    "block": ModelStatus.BLOCKED,
}
"""What a verb of the API leads to."""


def load_model(visit: Visit) -> dict[str, Any]:
    """The card, its versions, and one of them whole."""
    name = visit.parts["name"]
    noun = visit.get("/models/{name}", name=name)
    card = noun["manifest"]
    rows = [row for row in versions_of(visit) if row["name"] == name]
    if not rows:
        raise Refused(AdminCode.NOT_FOUND, f"the model {name!r} has no version")
    details = {version["version"]: version for version in card["versions"]}
    known = {row["model"]: row for row in visit.get("/inventory")["versions"]}
    versions = [{**row, "manifest": details[row["version"]], **_dates(known.get(row["model"]))} for row in rows]
    chosen = _chosen(versions, visit.query.get("version", ""))
    return {
        "span": SPAN,
        "name": name,
        "managed_by": noun["managed_by"],
        "may_change": visit.may(Permission.CHANGE_APPLY, card["owner"]),
        "card": {key: value for key, value in card.items() if key not in CARD_LEFT_OUT},
        "purpose": card["purpose"],
        **{key: card[key] for key in WORDS},
        "versions": versions,
        "version": _whole(visit, chosen, known.get(chosen["model"]) or {}, card["owner"]),
    }


def _dates(known: Mapping[str, Any] | None) -> dict[str, Any]:
    names = ("days_left", "sunset", "end_of_life", "successor", "deprecated_at")
    return {name: known.get(name) if known else None for name in names}


def _chosen(versions: Sequence[Mapping[str, Any]], wanted: str) -> Mapping[str, Any]:
    """The version that was asked for, else the one that is called most, else the newest."""
    if wanted:
        found = next((row for row in versions if row["version"] == wanted), None)
        if found is None:
            known = ", ".join(str(row["version"]) for row in versions)
            raise Refused(AdminCode.NOT_FOUND, f"there is no version {wanted!r} of it", hint=f"there is: {known}")
        return found
    return max(reversed(versions), key=lambda row: (len(row["routes"]), row["requests"]))


def _whole(visit: Visit, row: Mapping[str, Any], known: Mapping[str, Any], owner: str) -> dict[str, Any]:
    id_ = row["model"]
    callers = visit.get("/model-versions/{version}/callers", version=id_)["callers"]
    standing = {
        "model": id_,
        "version": row["version"],
        "status": row["status"],
        **_dates(known),
        "vendor_problems": known.get("vendor_problems", []),
        "region": known.get("region", ""),
        "routes": row["routes"],
        "facts": _facts(row),
        "callers": callers,
        "links": list(_links(visit, id_)),
        "history": visit.get("/model-versions/{version}/history", version=id_)["steps"],
    }
    others = [one["model"] for one in visit.get("/model-versions")["versions"] if one["model"] != id_]
    verbs = [
        {"verb": verb, "effect": _effect(verb, standing)}
        for verb, after in VERBS.items()
        if _may(visit, ModelStatus(row["status"]), after, owner)
    ]
    if row["routes"] and others and visit.may(Permission.CHANGE_PLAN, owner):
        verbs.append({"verb": "replace", "effect": _effect("replace", standing)})
    return {
        **standing,
        "sentence": _sentence(standing),
        "verbs": verbs,
        "may_force": visit.may(Permission.MODEL_APPROVE, owner),
        "others": others,
    }


def _facts(row: Mapping[str, Any]) -> dict[str, str]:
    """What one version can do, as far as its card says it."""
    manifest = row["manifest"]
    sizes = {"context": manifest.get("context"), "most_output": manifest.get("max_tokens")}
    return {
        "answers": ", ".join(row["operations"]) or "nothing",
        "can": ", ".join(manifest.get("capabilities", ())) or "not written down",
        **{name: f"{number:,} tokens" for name, number in sizes.items() if number is not None},
    }


def _may(visit: Visit, before: ModelStatus, after: ModelStatus, owner: str) -> bool:
    permission = STATUS_MOVES.get((before, after))
    if permission is None or (after is ModelStatus.TEST and before is not ModelStatus.BLOCKED):
        return False
    return visit.may(permission, "" if permission is Permission.MODEL_BLOCK else owner)


def _links(visit: Visit, id_: str) -> Iterator[dict[str, Any]]:
    """Every deployment whose release leads to the version, with what that release pins beside it."""
    for release in visit.get("/releases")["releases"]:
        manifest = release["manifest"]
        named = {item["model"] for item in manifest["targets"]} | set(manifest["fallback"])
        if id_ not in named or not release["environments"]:
            continue
        prompt = manifest["prompt"]
        yield {
            "route": release["route"],
            "environments": release["environments"],
            "release": release["id"],
            "is_fallback": id_ not in {item["model"] for item in manifest["targets"]},
            "prompt": None if prompt is None else prompt["name"],
            "guardrails": [item["name"] for item in manifest.get("guardrails", ())],
            "parameters": manifest.get("parameters", {}).get("values", {}),
        }


def _who(standing: Mapping[str, Any]) -> str:
    callers = standing["callers"]
    if not callers:
        return "nobody called it in 30 days"
    apps = len({caller["app"] for caller in callers})
    requests = sum(caller["requests"] for caller in callers)
    return f"{of(apps, 'app')} called it {requests:,} {'time' if requests == 1 else 'times'} in 30 days"


def _sentence(standing: Mapping[str, Any]) -> str:
    """How it stands, in one breath."""
    status, routes = standing["status"], standing["routes"]
    named = (
        f"{of(len(routes), 'deployment')} {'names' if len(routes) == 1 else 'name'} it"
        if routes
        else "no route names it"
    )
    told = [f"{standing['model']} is {status}", _who(standing), named]
    days = standing["days_left"]
    if days is not None:
        ends = min(text for text in (standing["sunset"], standing["end_of_life"]) if text)
        told.append(
            f"it ends on {ends[:10]}, in {of(days, 'day')}" if days >= 0 else f"it should have ended on {ends[:10]}"
        )
    words = "; ".join(told)
    return f"{words}. Its place is taken by {standing['successor']}." if standing["successor"] else f"{words}."


def _effect(verb: str, standing: Mapping[str, Any]) -> str:
    """What a verb does, and to whom, before it is done."""
    who = _who(standing)
    if verb == "approve":
        told = "callers are no longer told to move" if standing["status"] == "deprecated" else "live routes may name it"
        return f"Live routes may call it from then on, and {told}."
    if verb == "replace":
        rest = len(standing["routes"]) - ROUTES_TOLD
        names = ", ".join(standing["routes"][:ROUTES_TOLD]) + (f" and {rest} more" if rest > 0 else "")
        return f"Another version takes its place on {names}. You see the plan before anything is done."
    return {
        "deprecate": f"It goes on serving, and each answer tells callers to move: {who}. No new release may name it.",
        "retire": f"Its calls get 410, which names the successor: {who}.",
        "unblock": "Test routes may call it again; live ones wait until it is approved.",
        "block": f"Within a second no gateway calls it any more, and no approval is asked for: {who}. "
        "A route without another target answers 403.",
    }[verb]


def move(visit: Visit, form: Mapping[str, str]) -> Onward:
    """One verb of a version's life; where somebody else has to approve, on to that change."""
    id_, verb = form.get("model", ""), form.get("verb", "")
    name, _, version = id_.partition("@")
    reason = form.get("reason", "").strip()
    if not reason:
        raise Refused(AdminCode.INVALID_REQUEST, "say why: the reason is kept with the change and in the audit trail")
    if verb not in VERBS:
        raise Refused(AdminCode.INVALID_REQUEST, f"{verb!r} is nothing that can be done to a version")
    here = Onward(f"/catalogue/{part(name)}", {"version": version})
    if verb == "block":
        visit.post("/blocks", {"model": id_, "reason": reason, "cut_streams": form.get("cut_streams") == "yes"})
        return here
    body: dict[str, Any] = {"reason": reason, "managed_by": "console"}
    if verb == "deprecate":
        body |= {"sunset": form.get("sunset", "").strip(), "successor": form.get("successor", "")}
    if verb == "retire":
        body["force"] = form.get("force") == "yes"
    done = visit.post(f"/model-versions/{{version}}/{verb}", body, version=id_)
    return Onward(f"/changes/{part(done['change'])}", {}) if done["state"] == "open" else here


def replace(visit: Visit, form: Mapping[str, str]) -> Onward | dict[str, Any]:
    """Another version in its place on every route: the plan first, then the doing of that plan."""
    old, new, reason = (form.get(name, "").strip() for name in ("model", "new", "reason"))
    body = {"new": new, "reason": reason, "managed_by": "console", "plan": form.get("plan") or None}
    done = visit.post("/model-versions/{version}/replace", body, version=old)
    if done["applied"] is not None:
        return Onward(f"/changes/{part(done['applied']['change'])}", {})
    return {"name": old.partition("@")[0], "reason": reason, **done}


MODEL = Page("/catalogue/{name}", "model.html", load_model, query=("version",), has_dotted_names=True)
MOVE_VERSION = Action("/catalogue/{name}/status", move, "/catalogue/{name}")
REPLACE_VERSION = Action("/catalogue/{name}/replacement", replace, "/catalogue/{name}", "replacement.html")
