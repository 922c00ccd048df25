"""Opens change requests, and moves them from state to state: the row, what came with it, the audit event.

In: an open transaction and a prepared change. Out: rows. Every move is one of `domain.change_request.MOVES`; what came
with a request is forgotten the moment it is closed.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import msgspec
from sqlalchemy import Connection

from lineclear.base.canonical import canonical_json
from lineclear.control import audit
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.changes.carry_out import plan_text, scopes_text
from lineclear.control.changes.content import Content, content_bytes, read_content
from lineclear.control.changes.plan import Prepared
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.control.publish import Publisher
from lineclear.domain.access import Principal, Scope
from lineclear.domain.access_rules import Approvers
from lineclear.domain.change_request import CLOSED, LIFE_S, MOVES, Authorship, ChangeState, Need, Signed
from lineclear.domain.permissions import Permission
from lineclear.store import change_rows
from lineclear.store import control_rows as rows
from lineclear.store.change_rows import ApprovalRow
from lineclear.store.control_rows import ChangeRow

WAITING_STATES = tuple(state.value for state in (ChangeState.OPEN, ChangeState.APPROVED, ChangeState.STALE))
WAITING_MAX = 500
"""Change requests that may wait at a time."""
WAITING_EACH_MAX = 50
"""Of these, requests of one author, whoever owns a service account or its token counted as its author."""
WAITING_EACH_BYTES_MAX = 16 * 1024 * 1024
"""What came with them, together."""
Named = Callable[[Connection, str], Principal | None]
"""Who a name is now; None for who is unknown or disabled."""
PLATFORM_ACTOR = "platform"
"""Who moves a request because of the time or of another change."""

_ACTIONS = {
    ChangeState.OPEN: AuditAction.CHANGE_REOPENED,
    ChangeState.APPROVED: AuditAction.CHANGE_APPROVED,
    ChangeState.REJECTED: AuditAction.CHANGE_REJECTED,
    ChangeState.WITHDRAWN: AuditAction.CHANGE_WITHDRAWN,
    ChangeState.EXPIRED: AuditAction.CHANGE_EXPIRED,
    ChangeState.STALE: AuditAction.CHANGE_STALE,
}


@dataclass(frozen=True)
class Opener:
    """Who opens a request, and why."""

    change_id: str
    author: str
    co_authors: tuple[str, ...]
    owners: tuple[str, ...]
    note: str


def open_request(
    tx: Connection, publisher: Publisher, prepared: Prepared, content: Content, opener: Opener
) -> ChangeRow:
    """Keep a change that somebody else has to approve.

    Returns:
        Its row: that of the request which waits already, if it is the same.

    Raises:
        Refused: `invalid_request` without a note, `conflict` if too many wait already.
    """
    waiting = change_rows.read_changes_in(tx, WAITING_STATES)
    stored, plan = content_bytes(content), prepared.plan
    for row in waiting:
        if row.content_digest == plan.content and _stored(tx, publisher, row.id) == stored:
            return row
    if not opener.note:
        names = ", ".join(sorted({need.environment for need in plan.needs}))
        raise Refused(
            AdminCode.INVALID_REQUEST,
            f"a change of {names} has to be approved by somebody else, who must be able to read why it is made",
            hint="say it with --note, or with `note` over the API",
        )
    if len(waiting) >= WAITING_MAX:
        raise Refused(AdminCode.CONFLICT, f"{WAITING_MAX} changes wait already", hint="`lineclear changes list`")
    _demand_share(tx, waiting, {opener.author, *opener.owners}, len(stored))
    now_us = publisher.clock.unix_us()
    row = ChangeRow(
        id=opener.change_id,
        created_us=now_us,
        author=opener.author,
        approver="",
        state=ChangeState.OPEN.value,
        note=opener.note,
        plan_digest=plan.digest,
        plan=plan_text(plan),
        base_revision=plan.base_revision,
        revision=0,
        content_digest=plan.content,
        needs=needs_text(plan.needs),
        scopes=scopes_text(prepared),
        co_authors=json.dumps(sorted(opener.co_authors)),
        owners=json.dumps(sorted(opener.owners)),
        expires_us=now_us + LIFE_S * 1_000_000,
    )
    rows.add_change(tx, row)
    change_rows.put_content(tx, opener.change_id, publisher.vault.seal_content(opener.change_id, stored))
    event = AuditEvent(
        AuditAction.CHANGE_OPENED, f"change/{opener.change_id}", after=plan.content, reason=opener.note,
        change_id=opener.change_id,
    )  # fmt: skip
    audit.record(tx, publisher.clock, opener.author, [event])
    return row


def _demand_share(tx: Connection, waiting: Iterable[ChangeRow], authors: set[str], new_bytes: int) -> None:
    """Let nobody fill the place that everybody's changes wait in.

    Raises:
        Refused: `conflict`.
    """
    own = [row.id for row in waiting if not authors.isdisjoint({row.author, *json.loads(row.owners)})]
    kept_bytes = change_rows.content_bytes_of(tx, own)
    if len(own) < WAITING_EACH_MAX and kept_bytes + new_bytes <= WAITING_EACH_BYTES_MAX:
        return
    raise Refused(
        AdminCode.CONFLICT,
        f"{len(own)} changes of yours wait already, with {kept_bytes // 1024} KiB; one author may have "
        f"{WAITING_EACH_MAX} with {WAITING_EACH_BYTES_MAX // 1024} KiB",
        hint="have them approved, or close some: `lineclear changes withdraw CHANGE`",
    )


def move_request(
    tx: Connection, publisher: Publisher, row: ChangeRow, state: ChangeState, actor: str, reason: str = ""
) -> ChangeRow:
    """Take a request to another state; a closed one forgets what came with it.

    Raises:
        Refused: `conflict` if no such step leads from where it stands.
    """
    was = ChangeState(row.state)
    if state not in MOVES.get(was, ()):
        raise Refused(
            AdminCode.CONFLICT, f"the change {row.id} is {was.value} and cannot become {state.value}",
            hint=f"`lineclear changes show {row.id}` tells what happened to it",
        )  # fmt: skip
    moved = replace(row, state=state.value)
    if state in CLOSED:
        moved = replace(moved, closed_us=publisher.clock.unix_us(), closed_by=actor, reason=reason or row.reason)
        change_rows.delete_content(tx, row.id)
    change_rows.update_change(tx, moved)
    if state is not ChangeState.APPLIED:
        record(tx, publisher, moved, _ACTIONS[state], actor, reason, before=was.value)
    return moved


def record(
    tx: Connection, publisher: Publisher, row: ChangeRow, action: AuditAction, actor: str, reason: str, *, before: str
) -> None:
    """Write down one step of a request."""
    event = AuditEvent(action, f"change/{row.id}", before=before, after=row.content_digest, reason=reason,
                       change_id=row.id)  # fmt: skip
    audit.record(tx, publisher.clock, actor, [event])


def content_of(tx: Connection, publisher: Publisher, row: ChangeRow) -> Content:
    """What came with a request that waits.

    Raises:
        Refused: `conflict` if it is closed.
    """
    stored = _stored(tx, publisher, row.id)
    if stored is None:
        raise Refused(AdminCode.CONFLICT, f"the change {row.id} is {row.state}; nothing of it is kept to work with")
    return read_content(stored)


def authorship_of(row: ChangeRow) -> Authorship:
    """Who stands behind a request."""
    return Authorship(row.author, tuple(json.loads(row.co_authors)), tuple(json.loads(row.owners)))


def needs_text(needs: Iterable[Need]) -> str:
    return msgspec.json.encode(list(needs)).decode()


def needs_in(row: ChangeRow) -> tuple[Need, ...]:
    """The approvals that a stored request needs."""
    return tuple(msgspec.json.decode(row.needs, type=list[Need]))


def scopes_in(text: str) -> frozenset[Scope]:
    """Scopes as they are stored: lists of team, environment, route."""
    return frozenset(Scope(*parts) for parts in json.loads(text))


def signed_row(publisher: Publisher, row: ChangeRow, principal: str, scopes: Iterable[Scope], note: str) -> ApprovalRow:
    """An approval of what the request would do now, authenticated."""
    listed: Sequence[Sequence[str]] = sorted((item.team, item.environment, item.route) for item in scopes)
    now_us = publisher.clock.unix_us()
    unsigned = ApprovalRow(row.id, principal, now_us, row.content_digest, json.dumps(listed), note, "")
    return replace(unsigned, mac=publisher.vault.approval_mac(_signed_bytes(unsigned)))


def valid_approvals(
    tx: Connection, publisher: Publisher, named: Named, change_id: str, needs: Iterable[Need]
) -> list[Signed]:
    """The approvals of a request that this platform wrote and whose givers may still give them for what it needs.

    A row that was altered counts for nothing, nor does the word of somebody who was disabled or is no approver there
    any more.
    """
    wanted = {need.scope: need.approvers for need in needs}
    found: list[Signed] = []
    for item in change_rows.read_approvals(tx, change_id):
        if publisher.vault.approval_mac(_signed_bytes(item)) != item.mac:
            continue
        principal = named(tx, item.principal)
        scopes = wanted.keys() & scopes_in(item.scopes)
        held = frozenset(scope for scope in scopes if principal and _is_approver(principal, scope, wanted[scope]))
        if held:
            found.append(Signed(item.principal, item.content_digest, held))
    return found


def _is_approver(principal: Principal, scope: Scope, approvers: Approvers) -> bool:
    is_one = principal.may(Permission.CHANGE_APPROVE, scope)
    return is_one and not approvers.flaw(principal.name, principal.grants, scope)


def _signed_bytes(item: ApprovalRow) -> bytes:
    fields = [item.change_id, item.principal, str(item.at_us), item.content_digest, item.scopes, item.note]
    return canonical_json([*fields])


def _stored(tx: Connection, publisher: Publisher, change_id: str) -> bytes | None:
    sealed = change_rows.read_content(tx, change_id)
    return None if sealed is None else publisher.vault.open_content(change_id, sealed)
