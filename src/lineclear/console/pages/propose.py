"""Propose a change: a manifest to write or to edit, what is wrong with it, what it would do, and the asking for it.

In: manifests, plans and changes as the API tells them; text as somebody wrote it. Out: values to show. Nothing is
judged here, and a refusal shows the text again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lineclear.console.change_words import planned
from lineclear.console.page import Action, Onward, Page, Shown, Visit
from lineclear.console.render import part
from lineclear.console.shown import unseen
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.domain.access import ROLE_PERMISSIONS, Role, Scope, parse_scope
from lineclear.domain.manifest import KIND_CLASSES
from lineclear.domain.permissions import Permission

PATH = "/changes/propose"
FILE = "console"
"""What the text is called where a file has its name."""
FORM_BYTES_MAX = 4 * 1024 * 1024
"""The text and how it was when it was opened, each at most 262,144 characters in a prompt and more as a form."""
UNSEEN_TOLD = 20
ROWS_LEAST, ROWS_MOST = 14, 44
"""Lines of the field to write in."""


@dataclass(frozen=True)
class Written:
    """What a form holds."""

    text: str
    base: str = ""
    """The object's own text when it was opened; empty where nothing was."""
    object: str = ""
    """`Route/chat`; empty for something new."""
    note: str = ""
    plan: str = ""
    """Digest of the plan that was looked at."""
    take_over: bool = False
    """Move also what was rolled back."""


def load(visit: Visit) -> dict[str, Any]:
    """A field with the object's text, or an empty one and the objects to choose from."""
    named = visit.query.get("object", "")
    if named:
        noun = _noun(visit, named)
        if noun is None:
            raise Refused(AdminCode.NOT_FOUND, f"there is no {named!r}", hint="Propose a change lists what there is")
        return _value(visit, Written(noun["text"], noun["text"], named), noun)
    kind = visit.query.get("kind", "")
    found = visit.get("/manifests", {"kind": kind})["manifests"] if kind else []
    nouns = [{name: item[name] for name in ("kind", "name", "managed_by", "may_change")} for item in found]
    return {**_value(visit, Written(""), None), "kind": kind, "nouns": nouns}


def check(visit: Visit, form: Mapping[str, str]) -> Shown | dict[str, Any]:
    """Every mistake, or what it would do."""
    return _planned(visit, _written(form))


def submit(visit: Visit, form: Mapping[str, str]) -> Onward | Shown | dict[str, Any]:
    """Ask for what the plan showed; where nothing protects it, it is carried out."""
    written = _written(form)
    if not written.plan:
        return _planned(visit, written)
    body = {**_body(written.text, written), "note": written.note, "plan": written.plan}
    try:
        done = visit.post("/changes", body)
    except Refused as refused:
        return _planned(visit, written, refused)
    if done["change"] is None:
        return _planned(visit, written)
    return Onward(f"/changes/{part(done['change'])}", {})


def again(visit: Visit, form: Mapping[str, str]) -> Shown:
    """The text of an ended session."""
    words = "you signed in again since this page was opened, so nothing was done"
    refused = Refused(AdminCode.FORBIDDEN, words, hint="what you wrote is still here: see what it would do, then go on")
    written = _written(form)
    value = _value(visit, written, _noun(visit, written.object)) | {"problem": _problem(refused)}
    return Shown(value, refused.code)


def _planned(visit: Visit, written: Written, failed: Refused | None = None) -> Shown | dict[str, Any]:
    """The form again, with what its text would do now or what is wrong with it."""
    value = _value(visit, written, _noun(visit, written.object))
    try:
        plan = visit.post("/plans", _body(written.text, written))
    except Refused as refused:
        lines = written.text.split("\n")
        value["findings"] = [_finding(one, lines) for one in refused.findings]
        value["problem"] = _problem(refused)
        return Shown(value, refused.code)
    value |= {
        "plan": plan,
        "consequences": planned(plan),
        "needs": [_need(visit, need) for need in plan["needs"]],
        "since": _since(visit, written, value["stands"], plan),
    }
    if failed is None:
        return value
    value["problem"] = _problem(failed, needs_note=bool(plan["needs"]) and not written.note)
    return Shown(value, failed.code)


def _value(visit: Visit, written: Written, noun: Mapping[str, Any] | None) -> dict[str, Any]:
    lines = written.text.count("\n") + 2
    return {
        "object": written.object,
        "text": written.text,
        "base": written.base,
        "note": written.note,
        "take_over": written.take_over,
        "stands": None if noun is None else {name: noun[name] for name in ("text", "managed_by", "may_change")},
        "may_propose": visit.principal.may_somewhere(Permission.CHANGE_APPLY),
        "may_plan": visit.principal.may_somewhere(Permission.CHANGE_PLAN),
        "rows": max(ROWS_LEAST, min(lines, ROWS_MOST)),
        "unseen": unseen(written.text, UNSEEN_TOLD),
        "kinds": [kind.value for kind in KIND_CLASSES],
        "kind": "",
        "nouns": [],
        "problem": None,
        "findings": [],
        "plan": None,
        "consequences": [],
        "needs": [],
        "since": [],
    }


def _written(form: Mapping[str, str]) -> Written:
    """Browsers send lines that end in CR LF, whatever they were given."""
    text, base = (form.get(name, "").replace("\r\n", "\n").replace("\r", "\n") for name in ("text", "base"))
    note, take_over = form.get("note", "").strip(), form.get("take_over") == "yes"
    return Written(text, base, form.get("object", ""), note, form.get("plan", ""), take_over)


def _body(text: str, written: Written) -> dict[str, Any]:
    files = [{"name": FILE, "text": text}]
    return {"files": files, "managed_by": "console", "take_ownership": written.take_over}


def _noun(visit: Visit, named: str) -> Mapping[str, Any] | None:
    """The object as it stands; None if there is none, or none that this person may read."""
    kind, _, name = named.partition("/")
    if not kind or not name:
        return None
    try:
        found: Mapping[str, Any] = visit.get("/manifests", {"kind": kind, "name": name})["manifests"][0]
    except Refused as refused:
        if refused.code is not AdminCode.NOT_FOUND:
            raise
        return None
    return found


def _problem(refused: Refused, *, needs_note: bool = False) -> dict[str, str]:
    if needs_note and refused.code is AdminCode.INVALID_REQUEST:
        hint = "say it in the field beside the button"
    elif refused.code is AdminCode.STALE_PLAN:
        hint = "what stands was changed, or your text was, since the plan was shown; below is what it would do now"
    else:
        hint = refused.hint
    return {"code": refused.code.value, "message": refused.message, "hint": hint}


def _finding(finding: Any, lines: list[str]) -> dict[str, Any]:
    """One mistake with the line that it stands in. Any: a Finding of the refusal."""
    source = lines[finding.line - 1].strip() if 0 < finding.line <= len(lines) else ""
    names = ("code", "message", "line", "column", "path")
    return {**{name: getattr(finding, name) for name in names}, "source": source}


def _need(visit: Visit, need: Mapping[str, Any]) -> dict[str, Any]:
    """Approval that is asked for, and who could give it as far as this person may read who has which role."""
    scope = Scope(**need["scope"])
    return {
        "environment": need["environment"],
        "approvals": need["approvals"],
        "touches": need["touches"],
        "scope": str(scope),
        "approvers": sorted(set(_approvers(visit, scope)) - {visit.principal.name}),
    }


def _approvers(visit: Visit, scope: Scope) -> Iterator[str]:
    try:
        grants = visit.get("/grants")["grants"]
    except Refused as refused:
        if refused.code is not AdminCode.FORBIDDEN:
            raise
        return
    for grant in grants:
        approves = Permission.CHANGE_APPROVE in ROLE_PERMISSIONS[Role(grant["role"])]
        if approves and grant["state"] == "active" and parse_scope(grant["scope"]).covers(scope):
            yield grant["principal"]


def _since(
    visit: Visit, written: Written, stands: Mapping[str, Any] | None, plan: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """What somebody else changed since the object was opened and this text would take back or change once more."""
    if not written.base or (stands is not None and written.base == stands["text"]):
        return []
    if stands is None:
        return [{"path": written.object, "now": None, "then": None, "words": "it is gone since you opened it"}]
    try:
        back = _fields(visit.post("/plans", _body(written.base, written)))
    except Refused:
        # What was opened does not fit what stands any more, so it cannot be said field by field.
        return [{"path": written.object, "now": None, "then": None, "words": "it was changed since you opened it"}]
    mine = _fields(plan)
    return [
        {"path": ".".join(key[1:]), "now": field["before"], "then": mine[key]["after"], "words": mine[key]["words"]}
        for key, field in back.items()
        if key in mine
    ]


def _fields(plan: Mapping[str, Any]) -> dict[tuple[str, str, str], Mapping[str, Any]]:
    """Every field that a plan changes, by kind, name and path."""
    return {
        (item["kind"], item["name"], field["path"]): field
        for item in plan["objects"]
        for field in item["fields"]
        if field["path"] != "managed_by"
    }


PROPOSE = Page(PATH, "propose.html", load, query=("object", "kind"))
PROPOSE_ACTIONS = (
    Action(f"{PATH}/plan", check, PATH, "propose.html", FORM_BYTES_MAX, again),
    Action(f"{PATH}/submit", submit, PATH, "propose.html", FORM_BYTES_MAX, again),
)
