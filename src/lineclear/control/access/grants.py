"""Grants: given, listed, taken. Nobody gives access on a wider scope than they administer.

In: who asks, for whom, which role, where. Out: facts. A group's grant holds for everybody whom the identity provider
names in it. A sealed grant is in force only while its holder breaks the glass.
"""

from dataclasses import dataclass

from sqlalchemy import Connection

from lineclear.base.clock import Clock
from lineclear.base.ids import random_id
from lineclear.control import audit
from lineclear.control.access.members import demand_admin_left, unknown_member
from lineclear.control.access.principals import (
    GROUP_PREFIX,
    grants_in_force,
    iso,
    named_role,
    named_scope,
    unknown_scope,
)
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.desired import Desired
from lineclear.control.endpoint import AdminCode, Call, Refused, forbidden
from lineclear.control.publish import read_desired
from lineclear.control.scopes import whole
from lineclear.domain.access import PrincipalKind, Scope, parse_scope
from lineclear.domain.access_rules import refuse_assignment
from lineclear.domain.permissions import Permission
from lineclear.store import access_rows as rows
from lineclear.store import session_rows
from lineclear.store.access_rows import GrantRow
from lineclear.store.database import Database

DAY_US = 86_400_000_000
EXPIRES_DAYS_MAX = 3_650
GROUP_CHARS_MAX = 200


@dataclass(frozen=True)
class GrantFacts:
    """A role on a scope, as lists show it."""

    id: str
    principal: str
    """A name, or `group:NAME`."""
    role: str
    scope: str
    granted_at: str
    granted_by: str
    expires_at: str | None
    """ISO 8601 UTC; None = it lasts."""
    is_sealed: bool
    """In force only while its holder breaks the glass."""
    state: str
    """active | expired | sealed"""


@dataclass(frozen=True)
class NewGrant:
    """What to give."""

    principal: str
    role: str
    scope: str = "platform"
    expires_in_days: int | None = None
    is_sealed: bool = False
    reason: str = ""


class Grants:
    """Gives, lists, takes."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def give(self, call: Call, new: NewGrant) -> GrantFacts:
        """A role on a scope; giving the same again changes nothing.

        Raises:
            Refused: `invalid_request`, `not_found`, `forbidden` where a rule says no.
        """
        now_us = self._clock.unix_us()
        with self._database.write() as tx:
            desired = read_desired(tx)
            role, scope = named_role(new.role), named_scope(desired, new.scope)
            # Only what belongs to a team may look as if it were not there; platform and environments are no secret.
            hidden = (
                unknown_scope(new.scope) if scope.team else forbidden(call.principal, Permission.GRANT_MANAGE, scope)
            )
            call.require(Permission.GRANT_MANAGE, scope, hidden)
            refusal = refuse_assignment(call.principal, role, scope, _kind_of(tx, new.principal))
            if refusal:
                raise Refused(AdminCode.FORBIDDEN, refusal)
            row = GrantRow(
                id=random_id("grt_"),
                principal=new.principal,
                role=role.value,
                scope=str(parse_scope(new.scope)),
                created_us=now_us,
                created_by=call.principal.name,
                expires_us=_expiry(new, now_us),
                is_sealed=int(new.is_sealed),
            )
            for known in rows.grants_of(tx, [new.principal]):
                if _is_same(known, row):
                    return _facts(known, now_us)
            rows.add_grant(tx, row)
            self._record(tx, call, AuditAction.GRANT_GIVEN, row, new.reason)
        return _facts(row, now_us)

    def facts(self, call: Call, principal: str | None = None) -> list[GrantFacts]:
        """Every grant that the caller may see, oldest first; only of one principal or group if named."""
        now_us = self._clock.unix_us()
        with self._database.read() as tx:
            desired, found = read_desired(tx), rows.list_grants(tx)
        named = [row for row in found if principal in (None, row.principal)]
        return [
            _facts(row, now_us) for row in call.only(Permission.GRANT_READ, named, lambda row: _scope(desired, row))
        ]

    def take(self, call: Call, grant_id: str, reason: str) -> GrantFacts:
        """Take a grant away; who has none left is signed out.

        Raises:
            Refused: `not_found`, `forbidden`; `conflict` if nobody would administer the platform then.
        """
        now_us = self._clock.unix_us()
        unknown = Refused(
            AdminCode.NOT_FOUND, f"there is no grant {grant_id!r}", hint="`lineclear access list` shows ids"
        )
        with self._database.write() as tx:
            row = rows.read_grant(tx, grant_id)
            if row is None:
                call.only(Permission.GRANT_MANAGE, (), lambda _: Scope())
                raise unknown
            call.require(Permission.GRANT_MANAGE, _scope(read_desired(tx), row), unknown)
            demand_admin_left(tx, grant_id=grant_id)
            rows.remove_grant(tx, grant_id)
            self._record(tx, call, AuditAction.GRANT_TAKEN, row, reason)
            self._sign_out_powerless(tx, row, now_us)
        return _facts(row, now_us)

    def _sign_out_powerless(self, tx: Connection, taken: GrantRow, now_us: int) -> None:
        holder = rows.read_principal(tx, taken.principal)
        if holder is not None and not grants_in_force(tx, holder, now_us):
            session_rows.remove_sessions_of(tx, holder.name)

    def _record(self, tx: Connection, call: Call, action: AuditAction, row: GrantRow, reason: str) -> None:
        words = (
            f"{row.role} on {row.scope}{' (sealed)' if row.is_sealed else ''} until {iso(row.expires_us) or 'taken'}"
        )
        before, after = ("", words) if action is AuditAction.GRANT_GIVEN else (words, "")
        event = AuditEvent(action, f"grant/{row.principal}", before=before, after=after, reason=reason)
        audit.record(tx, self._clock, call.principal.name, [event])


def _kind_of(tx: Connection, principal: str) -> PrincipalKind:
    """Raises Refused `not_found` if there is nobody of that name."""
    if principal.startswith(GROUP_PREFIX):
        name = principal.removeprefix(GROUP_PREFIX)
        if not name.strip() or len(name) > GROUP_CHARS_MAX or not name.isprintable():
            raise Refused(AdminCode.INVALID_REQUEST, f"{name!r} cannot be the name of a group")
        return PrincipalKind.PERSON
    row = rows.read_principal(tx, principal)
    if row is None:
        raise unknown_member(principal)
    return PrincipalKind(row.kind)


def _expiry(new: NewGrant, now_us: int) -> int | None:
    if new.expires_in_days is None:
        return None
    if not 1 <= new.expires_in_days <= EXPIRES_DAYS_MAX:
        raise Refused(AdminCode.INVALID_REQUEST, f"expires_in_days must be from 1 to {EXPIRES_DAYS_MAX}")
    return now_us + new.expires_in_days * DAY_US


def _is_same(known: GrantRow, row: GrantRow) -> bool:
    return (known.role, known.scope, known.is_sealed, known.expires_us) == (
        row.role,
        row.scope,
        row.is_sealed,
        row.expires_us,
    )


def _scope(desired: Desired, row: GrantRow) -> Scope:
    return whole(desired, parse_scope(row.scope))


def _facts(row: GrantRow, now_us: int) -> GrantFacts:
    state = "sealed" if row.is_sealed else "active"
    if row.expires_us is not None and row.expires_us <= now_us:
        state = "expired"
    return GrantFacts(
        id=row.id,
        principal=row.principal,
        role=row.role,
        scope=row.scope,
        granted_at=iso(row.created_us) or "",
        granted_by=row.created_by,
        expires_at=iso(row.expires_us),
        is_sealed=bool(row.is_sealed),
        state=state,
    )
