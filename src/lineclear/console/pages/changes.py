"""Changes and audit: what waits for somebody, every change, and the audit trail newest first, field by field.

In: changes and the audit feed as the API tells them. Out: values to show. Who may not read the trail sees the changes.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lineclear.console.change_words import touched
from lineclear.console.page import Action, Download, Page, Visit
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.domain.audit_lines import checkpoint_line, event_line, header_line
from lineclear.domain.permissions import Permission

CHANGES_SHOWN = "30"
WAITING_SHOWN = "90"
DECIDED_FIRST = 20
"""Changes that wait of which the page tells what this person could do; the others tell it on their own page."""
EVENTS_SHOWN = "30"
WAITING = ("open", "approved", "stale")
STATES = (*WAITING, "applied", "rejected", "withdrawn", "expired")
NARROWED_BY = ("actor", "action", "object", "change", "before")
READS = "audit.read,audit.verified"
"""Who looked; left out unless they are asked for."""


def load(visit: Visit) -> dict[str, Any]:
    """What waits, what was done, who did what."""
    asked = {name: visit.query[name] for name in (*NARROWED_BY, "reads", "state") if name in visit.query}
    listed = visit.get("/changes", {"state": asked.get("state", ""), "limit": CHANGES_SHOWN, "waiting": WAITING_SHOWN})
    trail = _trail(visit, asked)
    return {
        "filters": asked,
        "waiting": _waiting(visit, listed["waiting"]),
        "changes": [_row(change) for change in listed["changes"]],
        "may_propose": visit.principal.may_somewhere(Permission.CHANGE_APPLY),
        "may_audit": trail is not None,
        "rows": [] if trail is None else trail["events"],
        "next_before": None if trail is None else trail["next_before"],
        "choices": {"state": list(STATES)},
    }


def _waiting(visit: Visit, waiting: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What waits, by state, the first with what this person could do about it."""
    found = sorted(waiting, key=lambda change: WAITING.index(change["state"]))
    told = [_decidable(visit, change) for change in found[:DECIDED_FIRST]]
    return [*told, *({**_row(change), "verbs": [], "missing": []} for change in found[DECIDED_FIRST:])]


def _row(change: Mapping[str, Any]) -> dict[str, Any]:
    names = (
        "id",
        "state",
        "author",
        "approver",
        "note",
        "created_at",
        "expires_at",
        "closed_at",
        "closed_by",
        "reason",
    )
    return {**{name: change[name] for name in (*names, "revision")}, "touches": touched(change["plan"])}


def _decidable(visit: Visit, change: Mapping[str, Any]) -> dict[str, Any]:
    """One change with what this person could do about it."""
    options = visit.get("/changes/{change_id}/options", change_id=change["id"])
    verbs = [verb for verb in ("approve", "apply", "rebase") if not options[verb]]
    if change["state"] != "stale":
        verbs = [verb for verb in verbs if verb != "rebase"]
    return {**_row(change), "verbs": verbs, "missing": options["missing"]}


def _trail(visit: Visit, asked: Mapping[str, str]) -> dict[str, Any] | None:
    """Events that fit; None for who may not read the trail."""
    query = {name: asked[name] for name in NARROWED_BY if name in asked}
    if "reads" not in asked and not asked.get("action", "").startswith("audit."):
        query["without"] = READS
    try:
        found: dict[str, Any] = visit.get("/audit-feed", {**query, "limit": EVENTS_SHOWN})
    except Refused as refused:
        if refused.code is not AdminCode.FORBIDDEN:
            raise
        return None
    return found


def verify(visit: Visit, _form: Mapping[str, str]) -> dict[str, Any]:
    """Hold the whole trail to its chain and its signed checkpoints."""
    return {**visit.get("/audit-events/verdict"), "public_key": visit.get("/audit-key")["public_key"]}


def export(visit: Visit, _form: Mapping[str, str]) -> Download:
    """The whole trail with its signed checkpoints, as `lineclear audit export` writes it."""
    begun = visit.post("/audit-exports")
    return Download(f"audit-{begun['number']}.jsonl", "application/jsonl", _export_lines(visit, begun))


def _export_lines(visit: Visit, begun: Mapping[str, Any]) -> Iterator[bytes]:
    yield header_line(begun["public_key"], begun["checkpoint"])
    place: int | None = 0
    while place is not None:
        page = visit.get("/audit-exports/{number}", {"after": str(place)}, number=str(begun["number"]))
        for row in page["events"]:
            yield event_line(row)
            note = page["checkpoints"].get(str(row["number"]))
            if note is not None:
                yield checkpoint_line(note)
        place = page["next_after"]


CHANGES = Page("/changes", "changes.html", load, query=("state", "reads", *NARROWED_BY), rows="rows")
EXPORT_TRAIL = Action("/changes/trail/export", export, "/changes")
VERIFY_TRAIL = Action("/changes/trail/verification", verify, "/changes", "audit_verdict.html")
