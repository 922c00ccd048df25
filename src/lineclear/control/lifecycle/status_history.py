"""The life of one model version so far: every status it had, who brought it about, and why.

In: the audit trail, which is append-only and reaches back to the card's first day. Out: steps, newest first. There is
no second record beside it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection

from lineclear.control.audit import AuditAction
from lineclear.control.desired import decode
from lineclear.domain.manifest import Kind, Model, ModelVersion
from lineclear.observe.period import time_text
from lineclear.store import control_rows as rows
from lineclear.store.control_rows import AuditRow

EVENTS_MAX = 2_000
"""Events of one card that are read; of a longer history the newest."""


@dataclass(frozen=True)
class StatusStep:
    """A status that a version got."""

    before: str | None
    """None where it came with the version."""
    after: str | None
    """None where the version went."""
    at: str
    changed_by: str
    approved_by: str | None
    """None where nobody had to."""
    note: str
    change: str | None
    """A change request (`chg_…`) or an override (`ovr_…`)."""
    successor: str | None
    """What callers were told to use from then on."""
    sunset: str | None
    audit_event: int


@dataclass(frozen=True)
class StatusHistory:
    """Every status of a version, newest first."""

    model: str
    steps: list[StatusStep]


def read_status_history(tx: Connection, name: str, version: str) -> list[StatusStep]:
    """Every step, newest first."""
    events = [
        *rows.read_audit_of(tx, f"{Kind.MODEL.value}/{name}", EVENTS_MAX),
        *rows.read_audit_of(tx, f"model-version/{name}@{version}", EVENTS_MAX),
    ]
    changes = {event.change_id for event in events if event.change_id}
    found = [row for id_ in changes if (row := rows.read_change(tx, id_)) is not None]
    # Where nobody had to approve, the row names the author as the one who decided.
    approvers = {row.id: row.approver for row in found if row.approver != row.author}
    return list(steps(sorted(events, key=lambda event: -event.number), version, approvers))


def steps(events: Iterable[AuditRow], version: str, approvers: Mapping[str, str]) -> Iterator[StatusStep]:
    """The events that moved the version's status."""
    for event in events:
        now = None
        if event.action == AuditAction.MODEL_BLOCKED.value:
            before, after = event.before, event.after
        elif event.action.startswith("manifest."):
            was, now = _version(event.before, version), _version(event.after, version)
            before, after = (item.status.value if item else "" for item in (was, now))
        else:
            continue
        if before == after:
            continue
        yield StatusStep(
            before or None,
            after or None,
            time_text(event.at_us),
            event.actor,
            approvers.get(event.change_id, "") or None,
            event.reason,
            event.change_id or None,
            now.successor if now else None,
            now.sunset if now else None,
            event.number,
        )


def _version(document: str, version: str) -> ModelVersion | None:
    if not document:
        return None
    try:
        model = decode(Kind.MODEL.value, document)
    except msgspec.ValidationError:
        # A program with other fields wrote it; the trail itself still shows it.
        return None
    found = model.versions if isinstance(model, Model) else ()
    return next((item for item in found if item.version == version), None)
