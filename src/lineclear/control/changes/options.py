"""What one caller could do about a change now, and why not what they cannot. It advises; every door asks again.

In: a change's row, a principal. Out: words per verb; empty = it is theirs to do. Writes nothing.
"""

from dataclasses import dataclass

from lineclear.control.changes import opening
from lineclear.control.changes.behind import refuse_approving
from lineclear.control.publish import Publisher
from lineclear.domain.access import Principal
from lineclear.domain.change_request import CLOSED, ChangeState, missing_approvals
from lineclear.domain.permissions import Permission
from lineclear.store.control_rows import ChangeRow
from lineclear.store.database import Database


@dataclass(frozen=True)
class Options:
    """Why each verb is not for the caller; empty where it is."""

    change: str
    state: str
    approve: str
    reject: str
    withdraw: str
    rebase: str
    apply: str
    missing: list[str]
    """Environments that still wait for somebody's approval of it."""


def options_for(
    database: Database, publisher: Publisher, named: opening.Named, row: ChangeRow, principal: Principal
) -> Options:
    """What `principal` could do about a change as it stands; `named` tells who an approver is now."""
    state = ChangeState(row.state)
    if state in CLOSED:
        words = f"it is closed: {state.value}"
        return Options(row.id, state.value, words, words, words, words, words, [])
    scopes = opening.scopes_in(row.scopes)
    needs = opening.needs_in(row)
    may_apply = all(principal.may(Permission.CHANGE_APPLY, scope) for scope in scopes)
    may_reject = any(
        principal.may(Permission.CHANGE_APPROVE, scope) for scope in {need.scope for need in needs} or scopes
    )
    with database.read() as tx:
        approvals = opening.valid_approvals(tx, publisher, named, row.id, needs)
    missing = missing_approvals(needs, approvals, row.content_digest)
    is_own = opening.authorship_of(row).includes(principal.name)
    not_author = f"{principal.name!r} is no author of all that it touches"
    return Options(
        change=row.id,
        state=state.value,
        approve=_approve(database, row, principal),
        reject="" if may_reject else f"{principal.name!r} is no approver of any part of it",
        withdraw="" if is_own or may_apply else "it is not theirs to withdraw",
        rebase="" if may_apply else not_author,
        apply=not_author if not may_apply else "" if state is ChangeState.APPROVED else f"it is {state.value}",
        missing=sorted({need.environment for need, _ in missing}),
    )


def _approve(database: Database, row: ChangeRow, principal: Principal) -> str:
    if ChangeState(row.state) is ChangeState.STALE:
        return "it is stale: it has to be rebased first, and looked at again if it would do something else"
    flaws = [refuse_approving(database, row.id, principal, need) for need in opening.needs_in(row)]
    if not flaws:
        return "it needs no approval"
    return "" if "" in flaws else flaws[0]
