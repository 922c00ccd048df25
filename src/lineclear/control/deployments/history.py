"""What was in force where and when: the moves of a deployment, as the audit trail has them.

In: audit events of one deployment, oldest first. Out: stretches of time with their release, and who brought it about.
The trail is append-only and chained, and reaches back to the first deployment; there is no second record beside it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest

from sqlalchemy import Connection

from lineclear.store import control_rows as rows
from lineclear.store.control_rows import AuditRow

MOVES_MAX = 10_000
"""Events of one deployment that are read; of a longer history the newest."""


@dataclass(frozen=True)
class Stretch:
    """A time in which one release was the stable one."""

    release: str | None
    """Release id; None = the route was not deployed."""
    from_us: int
    until_us: int | None
    """None = still."""
    how: str
    """The audit trail's word for the move: `deployment.moved`, `deployment.rolled-back`, `deployment.removed`."""
    changed_by: str
    approved_by: str
    """Empty where nobody had to."""
    note: str
    change: str
    """The change request, or the override (`ovr_…`)."""
    audit_number: int


def deployment_object(environment: str, route: str) -> str:
    """How the audit trail names a deployment."""
    return f"deployment/{environment}/{route}"


def read_history(tx: Connection, environment: str, route: str) -> list[Stretch]:
    """Every stretch, newest first; empty if the route was never deployed there."""
    events = rows.read_audit_of(tx, deployment_object(environment, route), MOVES_MAX)
    changes = {event.change_id for event in events if event.change_id}
    found = [row for id_ in changes if (row := rows.read_change(tx, id_)) is not None]
    # Where nobody had to approve, the row names the author as the one who decided.
    approvers = {row.id: row.approver for row in found if row.approver != row.author}
    return stretches(reversed(events), approvers)


def stretches(events: Iterable[AuditRow], approvers: Mapping[str, str]) -> list[Stretch]:
    """Stretches from events, oldest first; newest first in the answer. Events that moved nothing make none."""
    found: list[Stretch] = []
    for event in events:
        if event.before == event.after or not event.action.startswith("deployment."):
            continue
        # A removal says what goes; nothing comes after it.
        release = None if event.action.endswith(".removed") else event.after
        found.append(
            Stretch(
                release,
                event.at_us,
                None,
                event.action,
                event.actor,
                approvers.get(event.change_id, ""),
                event.reason,
                event.change_id,
                event.number,
            )
        )
    starts = [item.from_us for item in found]
    told = [_until(item, end) for item, end in zip_longest(found, starts[1:])]
    return told[::-1]


def in_force_at(history: Iterable[Stretch], at_us: int) -> Stretch | None:
    """The stretch that holds an instant; None before the first deployment."""
    return next((item for item in history if item.from_us <= at_us), None)


def _until(stretch: Stretch, until_us: int | None) -> Stretch:
    return Stretch(**{**vars(stretch), "until_us": until_us})
