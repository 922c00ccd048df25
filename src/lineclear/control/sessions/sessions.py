"""The life of a sign-in: a one-use link becomes a session, which slides while it is used and ends at sign-out.

In: principals and tokens. Out: principals; a token's text only at the moment it is made. Stored are SHA-256 hashes:
a token is 256 random bits, so a slow hash would add nothing. Each step but looking is an audit event. Whoever may
can see who is signed in and end it, as when a device is lost.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection

from lineclear.base.clock import Clock
from lineclear.base.secret import Secret
from lineclear.control import audit
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.control.use import note_use
from lineclear.domain.access import Principal
from lineclear.store import session_rows as rows
from lineclear.store.database import Database
from lineclear.store.session_rows import LinkRow, SessionRow

TOKEN_BYTES = 32
TOKEN_CHARS_MAX = 128
"""A longer text is no token of ours and is not even hashed."""
LINK_LIFE_S = 600
"""Source: the outside contract, architecture §6: a link is valid for ten minutes."""
IDLE_LIFE_S = 30 * 60
"""A session that nobody uses for so long ends. Source: security checklist 27."""
LIFE_S_MAX = 8 * 3600
"""However much it is used, a session ends after this long. Source: as above."""
SEEN_STEP_S = 60
"""Use is written down at most this often, so that looking at pages is not a stream of writes."""

ID_DIGITS = 8
"""Of a token's hash: so many tell sessions apart and say nothing about the token."""

PrincipalOf = Callable[[str], Principal | None]
"""The principal of a name as it stands now; None if it is gone."""


@dataclass(frozen=True)
class SignInLink:
    """A link at the only moment its token is known."""

    token: Secret
    expires_at: str
    """ISO 8601 UTC."""


@dataclass(frozen=True)
class Session:
    """A signed-in browser."""

    principal: Principal
    token: Secret
    """What the cookie holds."""

    @property
    def id(self) -> str:
        """What lists and the audit trail call it."""
        return _hash(self.token.reveal())[:ID_DIGITS]

    @property
    def form_token(self) -> str:
        """Proves that a form came from a page of this session; it cannot be turned back into the cookie."""
        return hmac.new(self.token.reveal().encode(), b"form", hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class SessionFacts:
    """A session as others see it. Times are ISO 8601 UTC."""

    id: str
    principal: str
    created_at: str
    seen_at: str
    """Its last use, to the minute."""
    expires_at: str
    """When it ends if nobody uses it again."""


@dataclass(frozen=True)
class EndedSessions:
    """What came to its end."""

    sessions: list[SessionFacts]
    links: int
    """Sign-in links that were taken back before anybody used them."""


class Sessions:
    """Makes links, turns them into sessions, finds and ends sessions."""

    def __init__(self, database: Database, clock: Clock, principal_of: PrincipalOf) -> None:
        self._database = database
        self._clock = clock
        self._principal_of = principal_of

    def make_link(self, principal: str) -> SignInLink:
        """A link that signs its first user in as `principal`, for LINK_LIFE_S."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        now_us = self._clock.unix_us()
        row = LinkRow(_hash(token), principal, now_us, now_us + LINK_LIFE_S * 1_000_000)
        with self._database.write() as tx:
            rows.remove_expired(tx, now_us)
            rows.add_link(tx, row)
            self._record(tx, principal, AuditAction.SIGN_IN_LINK_CREATED, row.hash)
        return SignInLink(Secret(token), _iso(row.expires_us))

    def use_link(self, token: str) -> Session:
        """Sign in with a link, which is gone then.

        Raises:
            Refused: `unauthenticated` if it was used, has expired, or never was.
        """
        now_us = self._clock.unix_us()
        with self._database.write() as tx:
            row = rows.take_link(tx, _hash(token)) if len(token) <= TOKEN_CHARS_MAX else None
            principal = self._principal_of(row.principal) if row is not None and row.expires_us > now_us else None
            session = None if principal is None else self._open(tx, principal, now_us)
        if session is None:
            raise Refused(
                AdminCode.UNAUTHENTICATED,
                "this sign-in link was used already or is older than ten minutes",
                hint="`lineclear console` prints a new one",
            )
        return session

    def open(self, principal: Principal) -> Session:
        """Sign in somebody who proved otherwise who they are."""
        with self._database.write() as tx:
            return self._open(tx, principal, self._clock.unix_us())

    def find(self, token: str) -> Session | None:
        """The session of a cookie, None if it ended; using one moves its end on, unless nothing can be written."""
        if not token or len(token) > TOKEN_CHARS_MAX:
            return None
        now_us = self._clock.unix_us()
        with self._database.read() as tx:
            row = rows.read_session(tx, _hash(token))
        if row is None or row.expires_us <= now_us:
            return None
        principal = self._principal_of(row.principal)
        if principal is None:
            return None
        if now_us - row.seen_us >= SEEN_STEP_S * 1_000_000:
            ends_us = _end_us(row.created_us, now_us)
            note_use(self._database, lambda tx: rows.move_session(tx, row.hash, now_us, ends_us))
        return Session(principal, Secret(token))

    def sign_out(self, session: Session) -> None:
        """End a session everywhere its cookie is."""
        token_hash = _hash(session.token.reveal())
        with self._database.write() as tx:
            rows.remove_session(tx, token_hash)
            self._record(tx, session.principal.name, AuditAction.SIGNED_OUT, token_hash)

    def facts(self) -> list[SessionFacts]:
        """Who is signed in, newest first."""
        with self._database.read() as tx:
            return [_facts(row) for row in rows.list_sessions(tx, self._clock.unix_us())]

    def end(self, actor: str, session_id: str, reason: str = "") -> SessionFacts:
        """End a session by its id, wherever its cookie is.

        Raises:
            Refused: `not_found` if nobody is signed in with it.
        """
        with self._database.write() as tx:
            named = [row for row in rows.list_sessions(tx, self._clock.unix_us()) if _facts(row).id == session_id]
            self._end(tx, actor, named, reason)
        if not named:
            raise Refused(
                AdminCode.NOT_FOUND,
                f"no session {session_id!r} is open",
                hint="`lineclear sessions list` shows those that are",
            )
        return _facts(named[0])

    def end_all(self, actor: str, reason: str = "") -> EndedSessions:
        """End every session, and take back every link that would open another one."""
        now_us = self._clock.unix_us()
        with self._database.write() as tx:
            open_ones, links = rows.list_sessions(tx, now_us), rows.take_links(tx, now_us)
            self._end(tx, actor, open_ones, reason)
            for link in links:
                self._record(tx, actor, AuditAction.SIGN_IN_LINK_TAKEN_BACK, link.hash, reason)
        return EndedSessions([_facts(row) for row in open_ones], len(links))

    def _end(self, tx: Connection, actor: str, ended: Sequence[SessionRow], reason: str) -> None:
        for row in ended:
            rows.remove_session(tx, row.hash)
            self._record(tx, actor, AuditAction.SESSION_ENDED, row.hash, reason)

    def _open(self, tx: Connection, principal: Principal, now_us: int) -> Session:
        token = secrets.token_urlsafe(TOKEN_BYTES)
        row = SessionRow(_hash(token), principal.name, now_us, now_us, _end_us(now_us, now_us))
        rows.add_session(tx, row)
        self._record(tx, principal.name, AuditAction.SIGNED_IN, row.hash)
        return Session(principal, Secret(token))

    def _record(self, tx: Connection, actor: str, action: AuditAction, token_hash: str, reason: str = "") -> None:
        event = AuditEvent(action, f"session/{token_hash[:ID_DIGITS]}", reason=reason)
        audit.record(tx, self._clock, actor, [event])


def _facts(row: SessionRow) -> SessionFacts:
    return SessionFacts(
        id=row.hash[:ID_DIGITS],
        principal=row.principal,
        created_at=_iso(row.created_us),
        seen_at=_iso(row.seen_us),
        expires_at=_iso(row.expires_us),
    )


def _end_us(created_us: int, now_us: int) -> int:
    return min(now_us + IDLE_LIFE_S * 1_000_000, created_us + LIFE_S_MAX * 1_000_000)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _iso(at_us: int) -> str:
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).isoformat().replace("+00:00", "Z")
