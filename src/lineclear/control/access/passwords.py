"""Passwords of people with an account here: argon2id, chosen by the person with a one-use link, tried slowly.

In: names and texts. Out: a principal who proved who they are. There is no default password and none is ever told: an
unknown name, a disabled one and a wrong password look and last alike. Must not store or log a password.
"""

import hashlib

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection

from lineclear.base.clock import Clock
from lineclear.base.secret import Secret
from lineclear.control import audit
from lineclear.control.access.members import end_access
from lineclear.control.access.patience import Patience
from lineclear.control.access.principals import read_principal
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.domain.access import Principal
from lineclear.store import access_rows as rows
from lineclear.store.database import Database

NAME_CHARS_MAX = 100
"""Nobody's name is longer: `members.NAME`."""
PASSWORD_CHARS_MIN = 12
PASSWORD_CHARS_MAX = 200
MEMORY_KIB = 65_536
PASSES = 3
LANES = 4
"""Source: RFC 9106 §4, second recommended option: argon2id, t=3, p=4, 64 MiB."""
NOBODYS = f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${'A' * 22}${'A' * 43}"
"""What an unknown name's password is compared with, as slowly as any: no password is known to have this hash."""


class Passwords:
    """Sets and verifies."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._hasher = PasswordHasher(PASSES, MEMORY_KIB, LANES, type=Type.ID)
        self._patience = Patience(clock)

    def verify(self, name: str, password: Secret, address: str) -> Principal:
        """Who signs in with that name and password, from that address.

        Raises:
            Refused: `unauthenticated`, in the same words and time whatever was wrong, but at once for what is too long
                to be anybody's name; `rate_limited` for a name that failed often from there, or where many names
                failed from there, before anything is looked at.
        """
        if len(name) > NAME_CHARS_MAX:
            raise _wrong()
        self._patience.demand(name, address)
        now_us = self._clock.unix_us()
        with self._database.read() as tx:
            known = rows.password_hash(tx, name)
            principal = read_principal(tx, name, now_us)
        with self._patience.turn(address):
            is_right = self._is_right(known or NOBODYS, password)
        if not is_right or known is None or principal is None:
            self._patience.failed(name, address)
            with self._database.write() as tx:
                # Only names that exist: others would let strangers write into the trail what they like.
                if known is not None:
                    self._record(tx, name, AuditAction.SIGN_IN_REFUSED, name)
            raise _wrong()
        self._patience.succeeded(name, address)
        if self._hasher.check_needs_rehash(known):
            with self._database.write() as tx:
                rows.put_password(tx, name, self._hasher.hash(password.reveal()), now_us)
        return principal

    def choose(self, token: str, password: Secret) -> str:
        """Set the password of whom a link invited; the link is gone then, and so is every way in from before.

        Returns:
            The person's name.

        Raises:
            Refused: `unauthenticated` if the link was used, has expired or never was; `invalid_request` for a password
                that will not do.
        """
        digest, now_us = hashlib.sha256(token.encode()).hexdigest(), self._clock.unix_us()
        with self._database.read() as tx:
            found = rows.read_invitation(tx, digest)
        if found is not None:
            demand_good(found.principal, password)
        hashed = self._hasher.hash(password.reveal()) if found is not None else ""
        with self._database.write() as tx:
            invitation = rows.read_invitation(tx, digest)
            if invitation is None or invitation.expires_us <= now_us:
                raise Refused(
                    AdminCode.UNAUTHENTICATED,
                    "this link was used already or is older than a day",
                    hint="ask an administrator for a new one: `lineclear access invite NAME`",
                )
            end_access(tx, invitation.principal, now_us)
            rows.put_password(tx, invitation.principal, hashed, now_us)
            self._record(tx, invitation.principal, AuditAction.PASSWORD_SET, invitation.principal)
        return invitation.principal

    def invited(self, token: str) -> str | None:
        """Whom a link invites; None if it was used, has expired or never was."""
        with self._database.read() as tx:
            found = rows.read_invitation(tx, hashlib.sha256(token.encode()).hexdigest())
        return found.principal if found is not None and found.expires_us > self._clock.unix_us() else None

    def change(self, name: str, current: Secret, password: Secret, address: str) -> None:
        """Set one's own password anew; every session and token from before ends.

        Raises:
            Refused: as `verify`; `invalid_request` for a password that will not do.
        """
        self.verify(name, current, address)
        demand_good(name, password)
        hashed = self._hasher.hash(password.reveal())
        with self._database.write() as tx:
            end_access(tx, name, self._clock.unix_us())
            rows.put_password(tx, name, hashed, self._clock.unix_us())
            self._record(tx, name, AuditAction.PASSWORD_SET, name)

    def _is_right(self, hashed: str, password: Secret) -> bool:
        if len(password.reveal()) > PASSWORD_CHARS_MAX:
            return False
        try:
            return self._hasher.verify(hashed, password.reveal())
        except (VerificationError, InvalidHashError):
            return False

    def _record(self, tx: Connection, actor: str, action: AuditAction, name: str) -> None:
        audit.record(tx, self._clock, actor, [AuditEvent(action, f"member/{name}")])


def _wrong() -> Refused:
    return Refused(AdminCode.UNAUTHENTICATED, "name or password is wrong")


def demand_good(name: str, password: Secret) -> None:
    """Refuse a password that is too short, too long, or one's own name.

    Raises:
        Refused: `invalid_request`.
    """
    text = password.reveal()
    if not PASSWORD_CHARS_MIN <= len(text) <= PASSWORD_CHARS_MAX:
        raise Refused(
            AdminCode.INVALID_REQUEST, f"a password has {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters"
        )
    if name in text.lower() or len(set(text)) < PASSWORD_CHARS_MIN // 3:
        raise Refused(AdminCode.INVALID_REQUEST, "this password is too easy to guess: it repeats itself or your name")
