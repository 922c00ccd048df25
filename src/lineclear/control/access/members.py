"""People and service accounts: added, invited, disabled. Who is disabled is out at once, everywhere.

In: names, a principal who asks. Out: facts; an invitation's link once. An account has no password at its making: the
person chooses one with a one-use link. Must not hold a password.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from lineclear.base.clock import Clock
from lineclear.base.secret import Secret
from lineclear.control import audit
from lineclear.control.access.principals import (
    ACTIVE,
    DISABLED,
    GROUP_PREFIX,
    RESERVED_NAMES,
    administrators,
    grant_of,
    grants_in_reach,
    iso,
    read_principal,
    subjects_of,
)
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.endpoint import AdminCode, Call, Refused
from lineclear.control.publish import read_desired
from lineclear.control.scopes import whole
from lineclear.domain.access import Grant, Principal, PrincipalKind, Scope
from lineclear.domain.access_rules import INVITATION_LIFE_S, refuse_last_admin, refuse_speaking_for
from lineclear.domain.permissions import Permission
from lineclear.store import access_rows as rows
from lineclear.store import session_rows
from lineclear.store.access_rows import InvitationRow, PrincipalRow
from lineclear.store.database import Database

NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,99}")
DISPLAY_CHARS_MAX = 200
MEMBERS_MAX = 100_000
KINDS = {"person": PrincipalKind.PERSON, "service": PrincipalKind.SERVICE_ACCOUNT}


@dataclass(frozen=True)
class MemberFacts:
    """Somebody, as lists show them."""

    name: str
    kind: str
    """person | service_account"""
    team: str
    """Whose administrators keep it; empty = the platform's."""
    display: str
    state: str
    """active | disabled"""
    signs_in_with: list[str]
    """password, identity provider; empty for a service account or who was only invited."""
    groups: list[str]
    created_at: str
    created_by: str


@dataclass(frozen=True)
class NewMember:
    """Who to add."""

    name: str
    kind: str = "person"
    team: str = ""
    display: str = ""
    issuer: str = ""
    subject: str = ""


@dataclass(frozen=True)
class Invitation:
    """A one-use link's token, at the only moment it is known."""

    token: Secret
    expires_at: str


class Members:
    """Adds, lists, invites, disables."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def principal(self, name: str) -> Principal | None:
        """Somebody as they stand now; None if they are unknown or disabled."""
        with self._database.read() as tx:
            return self.principal_in(tx, name)

    def principal_in(self, tx: Connection, name: str) -> Principal | None:
        """The same, as the transaction sees it."""
        return read_principal(tx, name, self._clock.unix_us())

    def sealed_grants(self, name: str) -> list[Grant]:
        """What somebody may open in an emergency."""
        now_us = self._clock.unix_us()
        with self._database.read() as tx:
            row = rows.read_principal(tx, name)
            found = rows.grants_of(tx, subjects_of(tx, row)) if row is not None else []
        return [grant_of(item) for item in found if item.is_sealed and (item.expires_us or now_us + 1) > now_us]

    def add(self, call: Call, new: NewMember) -> MemberFacts:
        """A new person or service account, without any grant.

        Raises:
            Refused: `invalid_request`, `conflict` if the name is taken, `forbidden`.
        """
        call.require(Permission.MEMBER_MANAGE, Scope(team=new.team))
        row = PrincipalRow(
            name=new.name,
            kind=_kind(new).value,
            team=new.team,
            display=new.display[:DISPLAY_CHARS_MAX],
            state=ACTIVE,
            issuer=new.issuer,
            subject=new.subject,
            created_us=self._clock.unix_us(),
            created_by=call.principal.name,
        )
        with self._database.write() as tx:
            if new.team and new.team not in read_desired(tx).teams:
                raise Refused(AdminCode.NOT_FOUND, f"there is no team {new.team!r}")
            add_member(tx, row)
            self._record(tx, call.principal.name, AuditAction.MEMBER_ADDED, row.name, after=row.kind)
            return _facts(tx, row, has_password=False)

    def facts(self, call: Call) -> list[MemberFacts]:
        """Everybody that the caller may see, by name."""
        with self._database.read() as tx:
            with_passwords = rows.people_with_passwords(tx)
            seen = call.only(Permission.MEMBER_READ, rows.list_principals(tx), scope_of_member)
            return [_facts(tx, row, has_password=row.name in with_passwords) for row in seen]

    def set_state(self, call: Call, name: str, state: str, reason: str) -> MemberFacts:
        """Disable somebody, with their sessions and tokens, or enable them again.

        Raises:
            Refused: `not_found`, `forbidden`, `conflict` if nobody would be left who administers the platform.
        """
        now_us = self._clock.unix_us()
        with self._database.write() as tx:
            row = found_member(tx, call, name, Permission.MEMBER_MANAGE)
            if row.state != state:
                self._demand_authority(tx, call, row)
                if state == DISABLED:
                    demand_admin_left(tx, of_member=row.name)
                    end_access(tx, row.name, now_us)
                rows.set_principal_state(tx, name, state)
                action = AuditAction.MEMBER_DISABLED if state == DISABLED else AuditAction.MEMBER_ENABLED
                self._record(tx, call.principal.name, action, name, reason=reason)
            row = rows.read_principal(tx, name) or row
            return _facts(tx, row, has_password=rows.password_hash(tx, name) is not None)

    def invite(self, call: Call, name: str) -> Invitation:
        """A link with which the person chooses a password, once, for INVITATION_LIFE_S.

        Raises:
            Refused: `not_found`, `forbidden`; `conflict` for who has no password here.
        """
        token, now_us = secrets.token_urlsafe(32), self._clock.unix_us()
        with self._database.write() as tx:
            row = found_member(tx, call, name, Permission.MEMBER_MANAGE)
            if row.kind != PrincipalKind.PERSON.value or row.subject:
                raise Refused(AdminCode.CONFLICT, f"{name!r} does not sign in with a password here")
            self._demand_authority(tx, call, row)
            expires_us = now_us + INVITATION_LIFE_S * 1_000_000
            digest = hashlib.sha256(token.encode()).hexdigest()
            rows.add_invitation(tx, InvitationRow(digest, name, now_us, call.principal.name, expires_us))
            self._record(tx, call.principal.name, AuditAction.MEMBER_INVITED, name)
        return Invitation(Secret(token), iso(expires_us) or "")

    def _demand_authority(self, tx: Connection, call: Call, row: PrincipalRow) -> None:
        """Whoever speaks for somebody, or shuts them out, administers everything that they may touch."""
        demand_authority(tx, call.principal, row, self._clock.unix_us())

    def _record(
        self, tx: Connection, actor: str, action: AuditAction, name: str, *, after: str = "", reason: str = ""
    ) -> None:
        audit.record(tx, self._clock, actor, [AuditEvent(action, f"member/{name}", after=after, reason=reason)])


def scope_of_member(row: PrincipalRow) -> Scope:
    """Where somebody lies: with the team whose administrators keep them."""
    return Scope(team=row.team)


def unknown_member(name: str) -> Refused:
    """What is said of somebody who is not there."""
    return Refused(
        AdminCode.NOT_FOUND, f"there is no member {name!r}", hint="`lineclear access members` lists those there are"
    )


def found_member(tx: Connection, call: Call, name: str, permission: Permission) -> PrincipalRow:
    """Somebody whom the caller may do that to.

    Raises:
        Refused: `not_found`, `forbidden`.
    """
    row = rows.read_principal(tx, name)
    if row is None:
        call.only(permission, (), scope_of_member)
        raise unknown_member(name)
    call.require(permission, scope_of_member(row), unknown_member(name))
    return row


def demand_authority(tx: Connection, actor: Principal, row: PrincipalRow, now_us: int) -> None:
    """Refuse to hand out a credential of somebody who has, or could open, more than `actor` administers.

    Raises:
        Refused: `forbidden`.
    """
    desired = read_desired(tx)
    held = [replace(grant, scope=whole(desired, grant.scope)) for grant in grants_in_reach(tx, row, now_us)]
    refusal = refuse_speaking_for(actor, row.name, held)
    if refusal:
        raise Refused(AdminCode.FORBIDDEN, refusal)


def add_member(tx: Connection, row: PrincipalRow) -> None:
    """Write somebody new.

    Raises:
        Refused: `invalid_request` for the name, `conflict` if it or the subject is taken.
    """
    if not NAME.fullmatch(row.name) or row.name in RESERVED_NAMES or row.name.startswith(GROUP_PREFIX):
        raise Refused(
            AdminCode.INVALID_REQUEST,
            f"{row.name!r} cannot be a name: lower-case letters, digits and ._@+- after the first; "
            f"not {', '.join(sorted(RESERVED_NAMES))}",
        )
    if rows.read_principal(tx, row.name) is not None:
        raise Refused(AdminCode.CONFLICT, f"there is a member {row.name!r} already")
    if row.subject and rows.find_subject(tx, row.issuer, row.subject) is not None:
        raise Refused(AdminCode.CONFLICT, "somebody signs in as that subject already")
    rows.add_principal(tx, row)


def end_access(tx: Connection, name: str, now_us: int) -> None:
    """Take every way in from somebody: sessions, links, invitations, tokens."""
    session_rows.remove_sessions_of(tx, name)
    rows.remove_invitations(tx, name)
    for token in rows.live_tokens(tx, name, now_us):
        rows.revoke_token(tx, token.id, now_us)


def demand_admin_left(tx: Connection, *, of_member: str = "", grant_id: str = "") -> None:
    """Refuse to take away the last lasting grant of a person who administers the whole platform.

    Raises:
        Refused: `conflict`.
    """
    known = administrators(tx)
    removed = [grant for name, grant in known if name == of_member or grant.id == grant_id]
    left = [(PrincipalKind.PERSON, grant) for name, grant in known if name != of_member and grant.id != grant_id]
    refusal = refuse_last_admin(left, removed)
    if refusal:
        raise Refused(AdminCode.CONFLICT, refusal, hint="`lineclear access grant NAME admin`")


def _kind(new: NewMember) -> PrincipalKind:
    if new.kind not in KINDS:
        raise Refused(AdminCode.INVALID_REQUEST, f"kind is one of {', '.join(KINDS)}, not {new.kind!r}")
    if bool(new.issuer) != bool(new.subject):
        raise Refused(AdminCode.INVALID_REQUEST, "issuer and subject of an identity provider come together")
    if new.subject and KINDS[new.kind] is not PrincipalKind.PERSON:
        raise Refused(AdminCode.INVALID_REQUEST, "a service account has tokens and does not sign in")
    return KINDS[new.kind]


def _facts(tx: Connection, row: PrincipalRow, *, has_password: bool) -> MemberFacts:
    ways = [*(["password"] if has_password else []), *(["identity provider"] if row.subject else [])]
    return MemberFacts(
        name=row.name,
        kind=row.kind,
        team=row.team,
        display=row.display,
        state=row.state,
        signs_in_with=ways,
        groups=rows.groups_of(tx, row.name),
        created_at=iso(row.created_us) or "",
        created_by=row.created_by,
    )
