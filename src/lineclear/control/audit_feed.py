"""The audit trail for a person: newest first, narrowed, and with the fields that each event changed.

In: a call's query. Out: rows and their differences. The rows are those of the trail; nothing is left out unasked.
"""

import json
from dataclasses import dataclass
from typing import Any

import msgspec

from lineclear.control.desired import decode
from lineclear.control.endpoint import AdminCode, Call, QueryParameter, Refused, row_limit
from lineclear.control.noun_fields import FieldChange, field_changes
from lineclear.domain.manifest import Kind
from lineclear.observe.period import time_text
from lineclear.store import control_rows as rows
from lineclear.store.control_rows import AuditFilter, AuditRow
from lineclear.store.database import Database

LIMIT_DEFAULT = 50
LIMIT_MAX = 500
FIELDS_MAX = 200
"""Differences of one event that are told; how many more there are is said."""
NUMBER_DIGITS_MAX = 18
FEED_QUERY = (
    QueryParameter("before", "Only events with a lower number."),
    QueryParameter("actor", "Only what this principal did."),
    QueryParameter("action", "Only this action, or with a dot at its end every action that begins so: `key.`"),
    QueryParameter("object", "Only this object, or with a slash at its end every one that begins so: `Route/`"),
    QueryParameter("change", "Only what belongs to this change or override."),
    QueryParameter("without", "Actions that are not wanted, with commas between them."),
    QueryParameter("limit", f"At most so many; default {LIMIT_DEFAULT}, at most {LIMIT_MAX}."),
)


@dataclass(frozen=True)
class FeedEvent:
    """One audit event and what it changed."""

    number: int
    at: str
    actor: str
    action: str
    object: str
    reason: str
    change: str
    """The change request or override that it belongs to; empty if none."""
    before: str
    """As the trail has it; empty where `fields` say it."""
    after: str
    fields: tuple[FieldChange, ...]
    """Of a noun: every field that differs."""
    more_fields: int
    """That are not among them."""


@dataclass(frozen=True)
class AuditFeed:
    """Events, newest first."""

    events: list[FeedEvent]
    next_before: int | None
    """Pass as `before` for what is older; None at the end."""


def read_feed(database: Database, call: Call) -> AuditFeed:
    """The events that a call asks for.

    Raises:
        Refused: `invalid_request`.
    """
    query = call.query
    limit = row_limit(call, LIMIT_DEFAULT, LIMIT_MAX)
    wanted = AuditFilter(
        before=_number(query.get("before", "")),
        actor=query.get("actor", ""),
        action=query.get("action", ""),
        object=query.get("object", ""),
        change_id=query.get("change", ""),
        left_out=tuple(item for item in query.get("without", "").split(",") if item),
    )
    with database.read() as tx:
        found = rows.read_audit_newest(tx, wanted, limit + 1)
    events = [_event(row) for row in found[:limit]]
    return AuditFeed(events, events[-1].number if len(found) > limit else None)


def changed_fields(row: AuditRow) -> tuple[FieldChange, ...] | None:
    """What an event made of a noun, field by field; None where it is about something else."""
    kind = row.object.partition("/")[0]
    if not row.action.startswith("manifest.") or kind not in set(Kind):
        return None
    try:
        before, after = (decode(kind, text) if text else None for text in (row.before, row.after))
    except msgspec.ValidationError:
        # A program with other fields wrote it; its own words are shown as they stand.
        return None
    return field_changes(before, after)


def _event(row: AuditRow) -> FeedEvent:
    fields = changed_fields(row)
    return FeedEvent(
        number=row.number,
        at=time_text(row.at_us),
        actor=row.actor,
        action=row.action,
        object=row.object,
        reason=row.reason,
        change=row.change_id,
        before=_shown(row.before) if fields is None else "",
        after=_shown(row.after) if fields is None else "",
        fields=(fields or ())[:FIELDS_MAX],
        more_fields=max(0, len(fields or ()) - FIELDS_MAX),
    )


def _shown(text: str) -> str:
    """JSON on several lines, other text as it is."""
    if not text.startswith(("{", "[")):
        return text
    try:
        value: Any = json.loads(text)  # Any: whatever JSON an event holds
    except ValueError:
        return text
    return json.dumps(value, indent=2, ensure_ascii=False)


def _number(text: str) -> int:
    if not text:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > NUMBER_DIGITS_MAX:
        raise Refused(AdminCode.INVALID_REQUEST, f"before must be the number of an event, not {text!r}")
    return int(text)
