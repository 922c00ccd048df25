"""The admin API's endpoints for change requests: list, show, approve, reject, withdraw, rebase, apply."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

from lineclear.control.changes import opening
from lineclear.control.changes.apply import Applied
from lineclear.control.changes.owners import owners_of
from lineclear.control.changes.requests import ChangeRequests, Standing, visible
from lineclear.control.endpoint import API_ROOT, AdminCode, Call, Endpoint, QueryParameter, Reach, Refused, row_limit
from lineclear.domain.access_rules import Approvers
from lineclear.domain.change_request import CLOSED, ChangeState
from lineclear.domain.permissions import Permission
from lineclear.store import control_rows as rows
from lineclear.store.control_rows import ChangeRow
from lineclear.store.database import Database

ROW_LIMIT_DEFAULT = 50


@dataclass(frozen=True)
class Verdict:
    """What somebody says with their decision."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    reason: str = ""


@dataclass(frozen=True)
class Approval:
    """What somebody says with their approval, and of what it is."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    reason: str = ""
    content: str = ""
    """`content` of the plan that they were shown; refused if the change does something else. Empty = of what it is."""


@dataclass(frozen=True)
class ApprovalFacts:
    """One approval."""

    principal: str
    at: str
    note: str
    is_current: bool
    """Whether it is of what the request would do now, by somebody who may still say so."""


@dataclass(frozen=True)
class NeedFacts:
    """What has to be approved."""

    environment: str
    scope: str
    approvals: int
    missing: int
    touches: tuple[str, ...]
    approvers: Approvers
    """Who counts, of all who may approve there."""


@dataclass(frozen=True)
class ChangeFacts:
    """A change request. Times are ISO 8601 UTC, empty where there is none."""

    id: str
    created_at: str
    author: str
    approver: str
    """Who approved what was carried out; the author's own name where nobody else had to."""
    state: str
    note: str
    revision: int
    """The one it led to; 0 as long as it led to none."""
    plan: Any  # Any: the plan as it was stored
    co_authors: list[str] = field(default_factory=list)
    expires_at: str = ""
    closed_at: str = ""
    closed_by: str = ""
    reason: str = ""
    """Why it was closed."""


@dataclass(frozen=True)
class ChangeDetail:
    """A change request with its approvals."""

    change: ChangeFacts
    needs: list[NeedFacts]
    approvals: list[ApprovalFacts]


@dataclass(frozen=True)
class ChangeList:
    changes: list[ChangeFacts]
    waiting: list[ChangeFacts] = field(default_factory=list)
    """What waits, whatever `state` says, newest first; only where `waiting` asks for it."""


def endpoints(requests: ChangeRequests, database: Database) -> tuple[Endpoint, ...]:
    """Everything about requests that are there already."""

    def list_changes(call: Call) -> ChangeList:
        wanted = set(call.query["state"].split(",")) if "state" in call.query else set()
        for unknown in sorted(wanted - set(ChangeState)):
            known = ", ".join(state.value for state in ChangeState)
            raise Refused(AdminCode.INVALID_REQUEST, f"{unknown!r} is no state of a change", hint=f"one of: {known}")
        limit = row_limit(call, ROW_LIMIT_DEFAULT, rows.LIST_ROWS_MAX)
        waiting_limit = row_limit(call, ROW_LIMIT_DEFAULT, rows.LIST_ROWS_MAX, "waiting")
        call.asked.append(Permission.CHANGE_READ)
        listed, waiting = requests.listed(rows.LIST_ROWS_MAX if wanted else limit)
        found = [row for row in visible(listed, call.principal) if not wanted or row.state in wanted]
        waits = visible(waiting, call.principal) if "waiting" in call.query else []
        return ChangeList([_facts(row) for row in found[:limit]], [_facts(row) for row in waits[:waiting_limit]])

    def show(call: Call) -> ChangeDetail:
        return _detail(_seen(call, requests))

    def approve(call: Call) -> ChangeDetail:
        _seen(call, requests)
        owners = owners_of(database, call.principal)
        sent: Approval = call.body
        return _detail(requests.approve(call.path["change_id"], call.principal, sent.reason, owners, sent.content))

    def reject(call: Call) -> ChangeDetail:
        _seen(call, requests)
        return _detail(requests.reject(call.path["change_id"], call.principal, call.body.reason))

    def withdraw(call: Call) -> ChangeDetail:
        _seen(call, requests)
        return _detail(requests.withdraw(call.path["change_id"], call.principal, call.body.reason))

    def rebase(call: Call) -> ChangeDetail:
        _seen(call, requests)
        owners = owners_of(database, call.principal)
        return _detail(requests.rebase(call.path["change_id"], call.principal, call.require, owners))

    def apply(call: Call) -> Applied:
        _seen(call, requests)
        return requests.apply(call.path["change_id"], call.principal, call.require)

    one = f"{API_ROOT}/changes/{{change_id}}"
    return (
        Endpoint(
            "GET", f"{API_ROOT}/changes", Permission.CHANGE_READ, list_changes, "Changes, newest first",
            answer=ChangeList, reach=Reach.OBJECT,
            query=(
                QueryParameter("limit", f"At most so many; default {ROW_LIMIT_DEFAULT}."),
                QueryParameter("state", "Only those in this state, or one of several with commas between."),
                QueryParameter("waiting", "Tell beside them at most so many of those that wait."),
            ),
        ),
        Endpoint(
            "GET", one, Permission.CHANGE_READ, show, "One change: plan, needs, approvals",
            answer=ChangeDetail, reach=Reach.OBJECT,
        ),
        Endpoint(
            "POST", f"{one}/approvals", Permission.CHANGE_APPROVE, approve, "Approve a change of somebody else",
            body=Approval, answer=ChangeDetail, reach=Reach.OBJECT,
        ),
        Endpoint(
            "POST", f"{one}/rejections", Permission.CHANGE_APPROVE, reject, "Close a change as an approver",
            body=Verdict, answer=ChangeDetail, reach=Reach.OBJECT,
        ),
        Endpoint(
            "POST", f"{one}/withdrawals", Permission.CHANGE_READ, withdraw, "Close a change as its author",
            body=Verdict, answer=ChangeDetail, reach=Reach.OBJECT,
        ),
        Endpoint(
            "POST", f"{one}/rebases", Permission.CHANGE_APPLY, rebase, "Work a change out again on the present state",
            answer=ChangeDetail, reach=Reach.OBJECT,
        ),
        Endpoint(
            "POST", f"{one}/applications", Permission.CHANGE_APPLY, apply, "Carry out an approved change",
            answer=Applied, reach=Reach.OBJECT,
        ),
    )  # fmt: skip


def _seen(call: Call, requests: ChangeRequests) -> Standing:
    """The request of the path, if the caller may read it; else it looks like one that is not there."""
    call.asked.append(Permission.CHANGE_READ)
    standing = requests.show(call.path["change_id"])
    if not visible([standing.row], call.principal):
        raise Refused(
            AdminCode.NOT_FOUND, f"there is no change {call.path['change_id']!r}", hint="`lineclear changes list`"
        )
    return standing


def _detail(standing: Standing) -> ChangeDetail:
    row = standing.row
    missing = dict(standing.missing)
    waits = ChangeState(row.state) not in CLOSED
    return ChangeDetail(
        _facts(row),
        [
            NeedFacts(
                need.environment, str(need.scope), need.approvals, missing.get(need, 0), need.touches, need.approvers
            )
            for need in opening.needs_in(row)
        ],
        [
            ApprovalFacts(
                item.principal,
                _iso(item.at_us),
                item.note,
                item.principal in standing.counted if waits else item.content_digest == row.content_digest,
            )
            for item in standing.approvals
        ],
    )


def _facts(row: ChangeRow) -> ChangeFacts:
    return ChangeFacts(
        row.id,
        _iso(row.created_us),
        row.author,
        row.approver,
        row.state,
        row.note,
        row.revision,
        json.loads(row.plan),
        json.loads(row.co_authors),
        _iso(row.expires_us),
        _iso(row.closed_us),
        row.closed_by,
        row.reason,
    )


def _iso(at_us: int) -> str:
    if not at_us:
        return ""
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).isoformat().replace("+00:00", "Z")
