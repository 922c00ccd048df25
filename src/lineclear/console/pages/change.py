"""One change: what it would do and to whom, whose approval it needs, and what this person may do about it.

In: the change, its comparison and options as the API tells them. Out: values to show. Nothing is judged here.
"""

from collections.abc import Callable, Mapping
from typing import Any

from lineclear.console.change_words import consequences, deployment_words
from lineclear.console.page import Action, Onward, Page, Visit
from lineclear.console.render import part
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.domain.access_rules import approver_words

PATH = "/changes/{change_id}"
EVENTS_SHOWN = "100"
VERBS = ("approve", "apply", "rebase", "reject", "withdraw")
"""In the order of their buttons."""
WITHOUT_DETAIL = (AdminCode.NOT_FOUND, AdminCode.CONFLICT, AdminCode.INVALID_REQUEST, AdminCode.FORBIDDEN)
CLOSED = ("applied", "rejected", "withdrawn", "expired")


def load(visit: Visit) -> dict[str, Any]:
    """Everything that a person decides by."""
    change_id = visit.parts["change_id"]
    # First what it would do now: asking for the change itself marks one that is out of date.
    detail = visit.get(PATH, change_id=change_id)
    comparison = visit.get(f"{PATH}/comparison", change_id=change_id)
    options = visit.get(f"{PATH}/options", change_id=change_id)
    change = detail["change"]
    plan = change["plan"]
    deployments = [{**item, "words": deployment_words(item)} for item in comparison["deployments"]]
    return {
        **detail,
        "needs": [{**need, "who": approver_words(**need["approvers"])} for need in detail["needs"]],
        "consequences": consequences(plan, deployments),
        "deployments": deployments,
        "problem": comparison["problem"],
        "options": options,
        "verbs": [verb for verb in VERBS if not options[verb] and (verb != "rebase" or change["state"] == "stale")],
        "previews": [] if change["state"] in CLOSED else [_preview(visit, item) for item in deployments],
        "events": _events(visit, change_id),
    }


def _preview(visit: Visit, deployment: Mapping[str, Any]) -> dict[str, Any]:
    """What the steps of its rollout can find out at the route's traffic; no steps where there is no rollout."""
    where = {"environment": deployment["environment"], "route": deployment["route"]}
    found = None
    if deployment["rollout"]:
        found = _asked(lambda: visit.get("/rollout-previews", {**where, "rollout": deployment["rollout"]}))
    return {**where, "rollout": deployment["rollout"], "preview": found}


def _events(visit: Visit, change_id: str) -> list[dict[str, Any]] | None:
    """What the audit trail has of it; None for who may not read it."""
    asked = {"change": change_id, "limit": EVENTS_SHOWN}
    found = _asked(lambda: visit.get("/audit-feed", asked)["events"])
    return None if found is None else list(found)


def _asked(ask: Callable[[], Any]) -> Any:
    """An answer that a page can do without; None where it is refused."""
    try:
        return ask()
    except Refused as refused:
        if refused.code not in WITHOUT_DETAIL:
            raise
        return None


def _decide(path: str, *, needs_reason: bool = False) -> Callable[[Visit, Mapping[str, str]], Onward]:
    def decide(visit: Visit, form: Mapping[str, str]) -> Onward:
        change_id, reason = visit.parts["change_id"], form.get("reason", "").strip()
        if needs_reason and not reason:
            raise Refused(AdminCode.INVALID_REQUEST, "say why: its author reads the reason")
        has_body = path not in ("applications", "rebases")
        visit.post(f"{PATH}/{path}", {"reason": reason} if has_body else None, change_id=change_id)
        return Onward(f"/changes/{part(change_id)}", {})

    return decide


def _approve(visit: Visit, form: Mapping[str, str]) -> Onward:
    """Sign what the page showed, and nothing else."""
    change_id, content = visit.parts["change_id"], form.get("content", "")
    if not content:
        raise Refused(AdminCode.INVALID_REQUEST, "the form does not tell what was shown; open the change again")
    sent = {"reason": form.get("reason", "").strip(), "content": content}
    visit.post(f"{PATH}/approvals", sent, change_id=change_id)
    return Onward(f"/changes/{part(change_id)}", {})


CHANGE = Page(PATH, "change.html", load)
CHANGE_ACTIONS = (
    Action(f"{PATH}/approvals", _approve, PATH),
    *(
        Action(f"{PATH}/{path}", _decide(path, needs_reason=path == "rejections"), PATH)
        for path in ("rejections", "withdrawals", "rebases", "applications")
    ),
)
