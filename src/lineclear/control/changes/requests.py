"""Change requests that wait: who approves, rejects, withdraws, rebases and applies them, and what time does to them.

In: a request's id, a principal. Out: the request as it stands then. The rules are `domain.change_request`'s; every step
is one transaction with its audit event.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from lineclear.control.audit import AuditAction
from lineclear.control.changes import opening
from lineclear.control.changes.apply import (
    NOTE_CHARS_MAX,
    Applied,
    Changes,
    demand_secrets,
    demand_statuses,
    refuse_frozen,
)
from lineclear.control.changes.carry_out import Cause, plan_text, scopes_text
from lineclear.control.changes.content import Content
from lineclear.control.changes.first_gates import refuse_ungated
from lineclear.control.changes.plan import Plan, Prepared
from lineclear.control.changes.reach import scopes_of
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.control.stand_ins import stand_ins
from lineclear.domain.access import Principal, Scope
from lineclear.domain.access_rules import ANYBODY
from lineclear.domain.change_request import (
    CLOSED,
    ChangeState,
    Need,
    approvable,
    missing_approvals,
)
from lineclear.domain.permissions import Permission
from lineclear.store import change_rows
from lineclear.store import control_rows as rows
from lineclear.store.change_rows import ApprovalRow
from lineclear.store.control_rows import ChangeRow

Guard = Callable[[Permission, Scope], None]
"""Refuses what the caller may not do there."""


@dataclass(frozen=True)
class Standing:
    """A change request with everything that a person decides by."""

    row: ChangeRow
    approvals: tuple[ApprovalRow, ...]
    missing: tuple[tuple[Need, int], ...]
    """What still has to be approved, and by how many more people."""
    counted: frozenset[str] = frozenset()
    """Whose approvals count now, while it waits."""


class ChangeRequests:
    """The requests of one publisher."""

    def __init__(self, changes: Changes, named: opening.Named) -> None:
        """The requests of `changes`; `named` tells who an approver is now."""
        self._changes = changes
        self._named = named
        self._publisher = changes.publisher
        self._database = changes.publisher.database

    def show(self, change_id: str) -> Standing:
        """One request, as it stands now.

        Raises:
            Refused: `not_found`.
        """
        self.sweep()
        with self._database.read() as tx:
            return self._standing(tx, _found(tx, change_id))

    def listed(self, row_limit: int) -> tuple[list[ChangeRow], list[ChangeRow]]:
        """Requests as they stand now, and all of these that wait; both newest first."""
        self.sweep()
        with self._database.read() as tx:
            return rows.read_changes(tx, row_limit), change_rows.read_changes_in(tx, opening.WAITING_STATES)[::-1]

    def approve(
        self, change_id: str, principal: Principal, note: str = "", owners: tuple[str, ...] = (), content: str = ""
    ) -> Standing:
        """Approve what a request would do, for every part of it where the principal is an approver.

        Args:
            change_id: the request.
            principal: who approves.
            note: what they say with it.
            owners: who could have made this call besides them, such as who handed out their token.
            content: digest of the content that they were shown; empty = they sign whatever it is now.

        Raises:
            Refused: `forbidden` if it is their own, or they are no approver of any part; `conflict` if it is closed
                or stale; `stale_plan` if it would do something else than what they were shown.
        """
        self.sweep()
        with self._database.write() as tx:
            row = _found(tx, change_id)
            if ChangeState(row.state) not in (ChangeState.OPEN, ChangeState.APPROVED):
                raise _not_now(row, "approved")
            authorship = opening.authorship_of(row)
            acting = replace(authorship, stand_ins=stand_ins(tx, authorship.everybody, row.created_us))
            needs, flaw = approvable(principal, opening.needs_in(row), acting, row.created_us)
            behind = [name for name in owners if authorship.includes(name)]
            if behind:
                needs, flaw = (), f"{behind[0]!r} stands behind the change and owns what this call was made with"
            if any(need.approvers != ANYBODY for need in needs):
                # A token carries a part of what its owner has: it makes nobody a team's who has no role there.
                whole = self._named(tx, principal.name) or principal
                flaws = {need: need.approvers.flaw(whole.name, whole.grants, need.scope) for need in needs}
                needs, flaw = tuple(need for need in needs if not flaws[need]), next(iter(flaws.values()))
            if not needs:
                raise Refused(
                    AdminCode.FORBIDDEN,
                    f"{principal.name!r} may not approve the change {row.id}: {flaw or 'it needs no approval'}",
                    hint="ask somebody else who is an approver there",
                )
            if content and content != row.content_digest:
                raise Refused(
                    AdminCode.STALE_PLAN, f"the change {row.id} would do something else now than what was shown",
                    hint=f"it has changed; look at it again: `lineclear changes show {row.id}`",
                )  # fmt: skip
            scopes = [need.scope for need in needs]
            signed = opening.signed_row(self._publisher, row, principal.name, scopes, note[:NOTE_CHARS_MAX])
            change_rows.put_approval(tx, signed)
            opening.record(
                tx, self._publisher, row, AuditAction.CHANGE_APPROVED, principal.name, note, before=row.state
            )
            row = self._settle(tx, row)
            return self._standing(tx, row)

    def reject(self, change_id: str, principal: Principal, reason: str) -> Standing:
        """Close a request for good, as an approver of any part of it.

        Raises:
            Refused: `forbidden`, `invalid_request` without a reason, `conflict` if it is closed.
        """
        if not reason.strip():
            raise Refused(AdminCode.INVALID_REQUEST, "a rejection needs a reason", hint="say it with --reason")
        with self._database.write() as tx:
            row = _found(tx, change_id)
            scopes = {need.scope for need in opening.needs_in(row)} or opening.scopes_in(row.scopes)
            if not any(principal.may(Permission.CHANGE_APPROVE, scope) for scope in scopes):
                raise Refused(AdminCode.FORBIDDEN, f"{principal.name!r} is no approver of the change {row.id}")
            return self._close(tx, row, ChangeState.REJECTED, principal.name, reason)

    def withdraw(self, change_id: str, principal: Principal, reason: str = "") -> Standing:
        """Close a request for good, as one of those who stand behind it or who could have made it.

        Raises:
            Refused: `forbidden`, `conflict` if it is closed.
        """
        with self._database.write() as tx:
            row = _found(tx, change_id)
            is_own = opening.authorship_of(row).includes(principal.name)
            scopes = opening.scopes_in(row.scopes)
            if not is_own and not all(principal.may(Permission.CHANGE_APPLY, scope) for scope in scopes):
                raise Refused(AdminCode.FORBIDDEN, f"the change {row.id} is not {principal.name!r}'s to withdraw")
            return self._close(tx, row, ChangeState.WITHDRAWN, principal.name, reason)

    def rebase(self, change_id: str, principal: Principal, guard: Guard, owners: tuple[str, ...] = ()) -> Standing:
        """Work a request out again on the state as it is now. Approvals stay if it would do the same; who rebases it
        into something else becomes a co-author.

        Raises:
            Refused: `invalid_manifest` if it cannot be applied any more, `conflict` if it is closed or there is
                nothing left to do.
        """
        with self._database.write() as tx:
            row = _found(tx, change_id)
            if ChangeState(row.state) in CLOSED:
                raise _not_now(row, "rebased")
            content = opening.content_of(tx, self._publisher, row)
            prepared = self._changes.prepare(tx, content)
            _demand(guard, prepared, content)
            plan = self._changes.with_radius(prepared)
            if not plan.has_changes:
                raise Refused(
                    AdminCode.CONFLICT, f"there is nothing left to do of the change {row.id}",
                    hint=f"close it with `lineclear changes withdraw {row.id}`",
                )  # fmt: skip
            authors = set(opening.authorship_of(row).co_authors)
            if plan.content != row.content_digest:
                authors |= {principal.name, *owners} - {row.author}
            was = row.state
            row = replace(
                row,
                state=ChangeState.OPEN.value,
                plan_digest=plan.digest,
                plan=plan_text(plan),
                base_revision=plan.base_revision,
                content_digest=plan.content,
                needs=opening.needs_text(plan.needs),
                scopes=scopes_text(prepared),
                co_authors=json.dumps(sorted(authors)),
            )
            change_rows.update_change(tx, row)
            opening.record(tx, self._publisher, row, AuditAction.CHANGE_REBASED, principal.name, "", before=was)
            return self._standing(tx, self._settle(tx, row))

    def apply(self, change_id: str, principal: Principal, guard: Guard) -> Applied:
        """Carry out an approved request.

        Raises:
            Refused: `conflict` if it is not approved, or would do something else than what was approved; `frozen`.
        """
        self.sweep()

        def work(tx: Connection) -> tuple[Plan, str]:
            row = _found(tx, change_id)
            if ChangeState(row.state) is not ChangeState.APPROVED:
                raise _not_now(row, "applied")
            content = opening.content_of(tx, self._publisher, row)
            prepared = self._changes.prepare(tx, content)
            _demand(guard, prepared, content)
            self._refuse_unapproved(tx, row, prepared)
            refuse_frozen(prepared.plan)
            refuse_ungated(tx, prepared)
            if not content.is_forced:
                self._changes.refuse_called(prepared)
            valid = opening.valid_approvals(tx, self._publisher, self._named, row.id, prepared.plan.needs)
            names = tuple(item.principal for item in valid if item.digest == row.content_digest)
            cause = Cause(row.id, principal.name, row.author, names, row.note, content.terms.managed_by)
            self._changes.carry_out(tx, prepared, cause)
            plan = prepared.plan
            row = replace(
                row, approver=", ".join(names), plan=plan_text(plan), base_revision=plan.base_revision,
                revision=plan.base_revision + 1,
            )  # fmt: skip
            opening.move_request(tx, self._publisher, row, ChangeState.APPLIED, principal.name)
            return plan, row.id

        (plan, applied), revision = self._publisher.commit(f"change by {principal.name}", work)
        gateways = self._publisher.wait_acknowledged(revision)
        return Applied(applied, ChangeState.APPLIED, revision, plan, gateways)

    def sweep(self) -> None:
        """Do what time and other changes do: expire what is too old, mark as stale what would do something else now,
        open again what was approved by somebody who may not any more.

        A request whose base moved without touching anything that it rests on stays as it is, approvals included.
        """
        now_us = self._publisher.clock.unix_us()
        with self._database.read() as tx:
            last = rows.last_revision(tx)
            revision = last.revision if last else 0
            waiting = change_rows.read_changes_in(tx, opening.WAITING_STATES)
            due = [
                row
                for row in waiting
                if row.expires_us <= now_us
                or (row.state != ChangeState.STALE and row.base_revision != revision)
                or (row.state == ChangeState.APPROVED and self._missing(tx, row))
            ]
        for row in due:
            with self._database.write() as tx:
                self._age(tx, row.id, now_us)

    def _age(self, tx: Connection, change_id: str, now_us: int) -> None:
        row = _found(tx, change_id)
        state = ChangeState(row.state)
        if state in CLOSED:
            return
        if row.expires_us <= now_us:
            self._close(tx, row, ChangeState.EXPIRED, opening.PLATFORM_ACTOR, "nobody carried it out in time")
        elif state is not ChangeState.STALE:
            content, revision = self._now(tx, row)
            if content == row.content_digest:
                row = replace(row, base_revision=revision)
                change_rows.update_change(tx, row)
                if state is ChangeState.APPROVED and self._missing(tx, row):
                    reason = "somebody who approved it was disabled or is no approver there any more"
                    opening.move_request(tx, self._publisher, row, ChangeState.OPEN, opening.PLATFORM_ACTOR, reason)
            else:
                reason = "what it rests on has changed, and it would do something else now"
                opening.move_request(tx, self._publisher, row, ChangeState.STALE, opening.PLATFORM_ACTOR, reason)

    def _now(self, tx: Connection, row: ChangeRow) -> tuple[str, int]:
        """What a request would do now, as a digest, and on which revision; no digest if it cannot be applied."""
        last = rows.last_revision(tx)
        try:
            plan = self._changes.prepare(tx, opening.content_of(tx, self._publisher, row)).plan
        except Refused:
            # Its documents do not fit the state any more; a rebase tells the author how.
            return "", last.revision if last else 0
        # What the protection asks for is part of what was looked at.
        same = plan.needs == opening.needs_in(row)
        return plan.content if same else "", plan.base_revision

    def _refuse_unapproved(self, tx: Connection, row: ChangeRow, prepared: Prepared) -> None:
        """Hold what is about to be written to what was approved, in the transaction that writes it."""
        plan = prepared.plan
        approvals = opening.valid_approvals(tx, self._publisher, self._named, row.id, plan.needs)
        missing = missing_approvals(plan.needs, approvals, plan.content)
        if plan.content != row.content_digest or missing:
            raise Refused(
                AdminCode.STALE_PLAN, f"the change {row.id} would now do something else than what was approved",
                hint=f"`lineclear changes rebase {row.id}`, then have it approved",
            )  # fmt: skip

    def _settle(self, tx: Connection, row: ChangeRow) -> ChangeRow:
        """Open or approved, as its approvals say."""
        missing = self._missing(tx, row)
        state = ChangeState.OPEN if missing else ChangeState.APPROVED
        if row.state != state.value:
            row = replace(row, state=state.value)
            change_rows.update_change(tx, row)
        return row

    def _missing(self, tx: Connection, row: ChangeRow) -> tuple[tuple[Need, int], ...]:
        needs = opening.needs_in(row)
        approvals = opening.valid_approvals(tx, self._publisher, self._named, row.id, needs)
        return missing_approvals(needs, approvals, row.content_digest)

    def _close(self, tx: Connection, row: ChangeRow, state: ChangeState, actor: str, reason: str) -> Standing:
        moved = opening.move_request(tx, self._publisher, row, state, actor, reason[:NOTE_CHARS_MAX])
        return self._standing(tx, moved)

    def _standing(self, tx: Connection, row: ChangeRow) -> Standing:
        approvals = tuple(change_rows.read_approvals(tx, row.id))
        if ChangeState(row.state) in CLOSED:
            return Standing(row, approvals, ())
        valid = opening.valid_approvals(tx, self._publisher, self._named, row.id, opening.needs_in(row))
        counted = frozenset(item.principal for item in valid if item.digest == row.content_digest)
        return Standing(row, approvals, self._missing(tx, row), counted)


def _demand(guard: Guard, prepared: Prepared, content: Content) -> None:
    """Go on only if the caller may do now, and would be let do alone, all that no approver looks at."""
    for scope in sorted(scopes_of(prepared)):
        guard(Permission.CHANGE_APPLY, scope)
    demand_statuses(guard, prepared, is_forced=content.is_forced)
    demand_secrets(guard, prepared)


def visible(rows_: Iterable[ChangeRow], principal: Principal) -> list[ChangeRow]:
    """Those that the principal may read all of."""
    return [
        row
        for row in rows_
        if all(principal.may(Permission.CHANGE_READ, scope) for scope in opening.scopes_in(row.scopes) or {Scope()})
    ]


def _found(tx: Connection, change_id: str) -> ChangeRow:
    row = rows.read_change(tx, change_id)
    if row is None:
        raise Refused(AdminCode.NOT_FOUND, f"there is no change {change_id!r}", hint="`lineclear changes list`")
    return row


def _not_now(row: ChangeRow, verb: str) -> Refused:
    next_step = {
        ChangeState.STALE: f"`lineclear changes rebase {row.id}` works it out again",
        ChangeState.OPEN: f"somebody else has to approve it: `lineclear approve {row.id}`",
        ChangeState.APPROVED: f"`lineclear apply {row.id}` carries it out",
    }.get(ChangeState(row.state), f"`lineclear changes show {row.id}` tells what happened to it")
    return Refused(AdminCode.CONFLICT, f"the change {row.id} is {row.state} and cannot be {verb}", hint=next_step)
