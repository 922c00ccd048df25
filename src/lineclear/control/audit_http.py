"""The admin API's endpoints for the audit trail: read it, verify it."""

from collections.abc import Iterator
from dataclasses import dataclass

from lineclear.control.audit import AuditVerdict, verify
from lineclear.control.endpoint import API_ROOT, AdminCode, Call, Endpoint, QueryParameter, Refused
from lineclear.domain.permissions import Permission
from lineclear.store import control_rows as rows
from lineclear.store.control_rows import AuditRow
from lineclear.store.database import Database

PAGE_ROWS = 500


@dataclass(frozen=True)
class AuditPage:
    """Audit rows in order."""

    events: list[AuditRow]
    next_after: int | None
    """Pass as `after` for the next page; None at the end."""


def endpoints(database: Database) -> tuple[Endpoint, ...]:
    """List and verify."""

    def page(call: Call) -> AuditPage:
        after = call.query.get("after", "0")
        if not after.isascii() or not after.isdigit() or len(after) > 18:
            raise Refused(AdminCode.INVALID_REQUEST, f"after must be the number of an event, not {after!r}")
        with database.read() as tx:
            found = rows.read_audit(tx, int(after), PAGE_ROWS)
        return AuditPage(found, found[-1].number if len(found) == PAGE_ROWS else None)

    def verdict(_call: Call) -> AuditVerdict:
        return verify(_all(database))

    return (
        Endpoint(
            "GET", f"{API_ROOT}/audit-events", Permission.AUDIT_READ, page, "The audit trail in order",
            answer=AuditPage, query=(QueryParameter("after", "Only events with a higher number."),),
        ),
        Endpoint(
            "GET", f"{API_ROOT}/audit-events/verdict", Permission.AUDIT_READ, verdict,
            "Whether the audit trail is whole", answer=AuditVerdict,
        ),
    )  # fmt: skip


def _all(database: Database) -> Iterator[AuditRow]:
    after = 0
    while True:
        with database.read() as tx:
            found = rows.read_audit(tx, after, PAGE_ROWS)
        yield from found
        if len(found) < PAGE_ROWS:
            return
        after = found[-1].number
