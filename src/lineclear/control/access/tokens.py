"""Tokens of the admin port: made for a principal, shown once, used, revoked. A person makes their own only.

In: who asks, whose it shall be, what of the principal's grants it carries. Out: facts; the text from `create` alone;
a principal from a text. A token never carries more than its principal has at the moment it is used.
"""

import hmac
import json
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from lineclear.base.clock import Clock
from lineclear.control import audit
from lineclear.control.access.members import demand_authority, found_member
from lineclear.control.access.principals import (
    ACTIVE,
    grants_in_force,
    iso,
    named_role,
    named_scope,
    read_principal,
)
from lineclear.control.access.token_text import id_in, make_token, token_mac
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.endpoint import AdminCode, Call, Refused
from lineclear.control.publish import read_desired
from lineclear.control.use import note_use
from lineclear.control.vault import Vault
from lineclear.domain.access import Principal, PrincipalKind, Role, Scope, parse_scope
from lineclear.domain.access_rules import narrowed, refuse_narrowing
from lineclear.domain.permissions import Permission
from lineclear.store import access_rows as rows
from lineclear.store.access_rows import PrincipalRow, TokenRow
from lineclear.store.database import Database

EXPIRES_DAYS_DEFAULT = 90
EXPIRES_DAYS_MAX = 365
DAY_US = 86_400_000_000
SERVICE_TOKENS_MAX = 2
"""Live tokens of a service account: the one in use, and its successor while both are rolled over."""
PERSON_TOKENS_MAX = 10
SIGN_IN_TOKENS_MAX = 4
"""Of those, at most so many from signing in."""
SIGN_IN_LABEL = "sign-in"
SIGN_IN_LIFE_US = 8 * 3_600_000_000
"""As long as a session of the console at most."""
USED_STEP_US = 60_000_000
"""Use is written down at most this often."""
LABEL_CHARS_MAX = 100
NARROWED_MAX = 20


@dataclass(frozen=True)
class NarrowedTo:
    """A part of what the principal has."""

    role: str
    scope: str = "platform"


@dataclass(frozen=True)
class TokenFacts:
    """What may be told about a token. Times are ISO 8601 UTC."""

    id: str
    principal: str
    label: str
    carries: list[str]
    """`role on scope` of what it is narrowed to; empty = all that its principal has."""
    created_at: str
    created_by: str
    expires_at: str
    used_at: str | None
    """Its last use, to the minute; None = never."""
    state: str
    """active | expired | revoked"""


@dataclass(frozen=True)
class CreatedToken:
    """A new token, shown once."""

    id: str
    token: str
    principal: str
    expires_at: str


class Tokens:
    """Creates, lists, revokes and recognises."""

    def __init__(self, database: Database, clock: Clock, vault: Vault) -> None:
        self._database = database
        self._clock = clock
        self._vault = vault

    def create(
        self, call: Call, whose: str, label: str, expires_days: int | None, asked: tuple[NarrowedTo, ...]
    ) -> CreatedToken:
        """A token of a service account, made by who administers everything that the account may do.

        Raises:
            Refused: `not_found`, `forbidden`, `conflict` if as many are live as may be.
        """
        with self._database.write() as tx:
            row = found_member(tx, call, whose, Permission.TOKEN_CREATE)
            if row.kind != PrincipalKind.SERVICE_ACCOUNT.value:
                raise Refused(
                    AdminCode.FORBIDDEN,
                    f"{whose!r} is a person; people make their own tokens, so that nobody acts in their name",
                    hint="`lineclear login` gives its user one",
                )
            demand_authority(tx, call.principal, row, self._clock.unix_us())
            _demand_label(label)
            return self.add(tx, call.principal, row, label, _life_us(expires_days), asked)

    def create_own(
        self, principal: Principal, label: str, expires_days: int | None, asked: tuple[NarrowedTo, ...]
    ) -> CreatedToken:
        """A token of the person who asks: in the console, or with the token of their sign-in.

        Other tokens make none, so that one that leaks has an end.

        Raises:
            Refused: `forbidden` for who is no person or did not sign in, `conflict` if as many are live as may be.
        """
        _demand_label(label)
        with self._database.write() as tx:
            row = rows.read_principal(tx, principal.name)
            used = rows.read_token(tx, principal.session) if principal.session else None
            is_signed_in = not principal.session or (used is not None and used.label == SIGN_IN_LABEL)
            if row is None or row.kind != PrincipalKind.PERSON.value or not is_signed_in:
                raise Refused(
                    AdminCode.FORBIDDEN, "only a person who signed in makes a token of their own",
                    hint="`lineclear login NAME` signs in",
                )  # fmt: skip
            return self.add(tx, principal, row, label, _life_us(expires_days), asked)

    def sign_in(self, principal: Principal) -> CreatedToken:
        """A token for the day of somebody who proved with a password who they are; old ones make room for it."""
        now_us = self._clock.unix_us()
        with self._database.write() as tx:
            row = rows.read_principal(tx, principal.name)
            if row is None:
                raise Refused(AdminCode.UNAUTHENTICATED, "name or password is wrong")
            days = [item for item in rows.live_tokens(tx, row.name, now_us) if item.label == SIGN_IN_LABEL]
            for token in days[: max(0, len(days) - SIGN_IN_TOKENS_MAX + 1)]:
                rows.revoke_token(tx, token.id, now_us)
                self._record(tx, row.name, AuditAction.TOKEN_REVOKED, token, "another sign-in took its place")
            return self.add(tx, principal, row, SIGN_IN_LABEL, SIGN_IN_LIFE_US)

    def add(
        self,
        tx: Connection,
        actor: Principal,
        row: PrincipalRow,
        label: str,
        life_us: int,
        asked: tuple[NarrowedTo, ...] = (),
    ) -> CreatedToken:
        """Write a new token of somebody inside a change that the caller commits.

        Raises:
            Refused: `invalid_request`, `forbidden` if it asks for more than there is, `conflict` for too many.
        """
        now_us = self._clock.unix_us()
        parts = self._narrowing(tx, row, asked, now_us)
        limit = PERSON_TOKENS_MAX if row.kind == PrincipalKind.PERSON.value else SERVICE_TOKENS_MAX
        live = rows.live_tokens(tx, row.name, now_us)
        if len(live) >= limit:
            raise Refused(
                AdminCode.CONFLICT,
                f"{row.name!r} has {len(live)} live tokens already: {', '.join(item.id for item in live)}",
                hint="revoke the one that is used no more: `lineclear access tokens` shows last use",
            )
        made = make_token()
        token = TokenRow(
            id=made.id,
            mac=token_mac(self._vault.pepper(tx), made.text.reveal()),
            principal=row.name,
            label=label[:LABEL_CHARS_MAX],
            narrowed=json.dumps(parts),
            created_us=now_us,
            created_by=actor.name,
            expires_us=now_us + life_us,
            used_us=None,
            revoked_us=None,
        )
        rows.add_token(tx, token)
        self._record(tx, actor.name, AuditAction.TOKEN_CREATED, token)
        return CreatedToken(made.id, made.text.reveal(), row.name, iso(token.expires_us) or "")

    def find(self, text: str) -> Principal | None:
        """Who a token belongs to, with what it carries now; None if it is none, ended, or its owner is disabled."""
        token_id = id_in(text)
        if token_id is None:
            return None
        now_us = self._clock.unix_us()
        with self._database.read() as tx:
            row = rows.read_token(tx, token_id)
            if row is None or row.revoked_us is not None or row.expires_us <= now_us:
                return None
            if not hmac.compare_digest(row.mac, token_mac(self._vault.pepper(tx), text)):
                return None
            principal = read_principal(tx, row.principal, now_us)
        if principal is None:
            return None
        if row.used_us is None or now_us - row.used_us >= USED_STEP_US:
            note_use(self._database, lambda tx: rows.mark_token_used(tx, row.id, now_us))
        return replace(principal, grants=narrowed(principal.grants, _parts(row)), session=row.id)

    def facts(self, call: Call) -> list[TokenFacts]:
        """Every token that the caller may see, newest first."""
        with self._database.read() as tx:
            owners = {row.name: row.team for row in rows.list_principals(tx)}
            found = rows.list_tokens(tx)
        seen = call.only(Permission.TOKEN_READ, found, lambda row: Scope(team=owners.get(row.principal, "")))
        return [_facts(row, self._clock.unix_us()) for row in seen]

    def facts_of(self, name: str) -> list[TokenFacts]:
        """Somebody's own tokens, newest first."""
        with self._database.read() as tx:
            found = [row for row in rows.list_tokens(tx) if row.principal == name]
        return [_facts(row, self._clock.unix_us()) for row in found]

    def revoke(self, call: Call, token_id: str, reason: str) -> TokenFacts:
        """Take a token back, everywhere at once; revoking it again changes nothing.

        Raises:
            Refused: `not_found`, `forbidden`.
        """
        with self._database.write() as tx:
            row = rows.read_token(tx, token_id)
            owner = rows.read_principal(tx, row.principal) if row is not None else None
            scope = Scope(team=owner.team if owner is not None else "")
            if row is None:
                call.only(Permission.TOKEN_REVOKE, (), lambda _: scope)
                raise _unknown(token_id)
            call.require(Permission.TOKEN_REVOKE, scope, _unknown(token_id))
            return self._revoke(tx, call.principal, row, reason)

    def revoke_own(self, principal: Principal, token_id: str, reason: str) -> TokenFacts:
        """The same with a token of one's own, which needs no permission.

        Raises:
            Refused: `not_found`.
        """
        with self._database.write() as tx:
            row = rows.read_token(tx, token_id)
            if row is None or row.principal != principal.name:
                raise _unknown(token_id)
            return self._revoke(tx, principal, row, reason)

    def _revoke(self, tx: Connection, actor: Principal, row: TokenRow, reason: str) -> TokenFacts:
        now_us = self._clock.unix_us()
        if row.revoked_us is None:
            rows.revoke_token(tx, row.id, now_us)
            self._record(tx, actor.name, AuditAction.TOKEN_REVOKED, row, reason)
        return _facts(rows.read_token(tx, row.id) or row, now_us)

    def _narrowing(
        self, tx: Connection, row: PrincipalRow, asked: tuple[NarrowedTo, ...], now_us: int
    ) -> list[tuple[str, str]]:
        if len(asked) > NARROWED_MAX or row.state != ACTIVE:
            raise Refused(AdminCode.INVALID_REQUEST, f"at most {NARROWED_MAX} parts, of somebody who is not disabled")
        desired = read_desired(tx)
        parts = [(named_role(item.role), named_scope(desired, item.scope)) for item in asked]
        refusal = refuse_narrowing(row.name, grants_in_force(tx, row, now_us), parts)
        if refusal:
            raise Refused(AdminCode.FORBIDDEN, refusal)
        return [(item.role, str(parse_scope(item.scope))) for item in asked]

    def _record(self, tx: Connection, actor: str, action: AuditAction, row: TokenRow, reason: str = "") -> None:
        after = f"{row.principal} until {iso(row.expires_us)}" if action is AuditAction.TOKEN_CREATED else ""
        audit.record(tx, self._clock, actor, [AuditEvent(action, f"token/{row.id}", after=after, reason=reason)])


def _demand_label(label: str) -> None:
    """Keep the label by which a sign-in is known."""
    if label[:LABEL_CHARS_MAX] == SIGN_IN_LABEL:
        raise Refused(AdminCode.INVALID_REQUEST, f"the label {SIGN_IN_LABEL!r} is that of a sign-in; choose another")


def _unknown(token_id: str) -> Refused:
    return Refused(AdminCode.NOT_FOUND, f"there is no token {token_id!r}", hint="`lineclear access tokens` shows ids")


def _life_us(expires_days: int | None) -> int:
    days = EXPIRES_DAYS_DEFAULT if expires_days is None else expires_days
    if not 1 <= days <= EXPIRES_DAYS_MAX:
        raise Refused(AdminCode.INVALID_REQUEST, f"expires_in_days must be from 1 to {EXPIRES_DAYS_MAX}")
    return days * DAY_US


def _parts(row: TokenRow) -> list[tuple[Role, Scope]]:
    return [(Role(role), parse_scope(scope)) for role, scope in json.loads(row.narrowed)]


def _facts(row: TokenRow, now_us: int) -> TokenFacts:
    state = "revoked" if row.revoked_us is not None else "expired" if row.expires_us <= now_us else "active"
    return TokenFacts(
        id=row.id,
        principal=row.principal,
        label=row.label,
        carries=[f"{role.value} on {scope}" for role, scope in _parts(row)],
        created_at=iso(row.created_us) or "",
        created_by=row.created_by,
        expires_at=iso(row.expires_us) or "",
        used_at=iso(row.used_us),
        state=state,
    )
