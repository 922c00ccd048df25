"""The life of a key: created for an app in an environment, acknowledged by gateways, revoked.

In: names and times. Out: key facts; the text only from `create`. Must not store or log a key's text.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from lineclear.config.manifest_fields import near_words
from lineclear.control import audit
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.control.folding import Overrides
from lineclear.control.keys.key_text import key_mac, make_key
from lineclear.control.publish import Acknowledgement, Publisher, read_desired
from lineclear.control.scopes import scope_of_app
from lineclear.domain.access import PLATFORM, Scope
from lineclear.store import control_rows as rows
from lineclear.store.control_rows import KeyRow

DAY_S = 86_400
EXPIRES_DAYS_MAX = 3_650


@dataclass(frozen=True)
class KeyFacts:
    """What may be told about a key."""

    id: str
    app: str
    environment: str
    created_at: str
    created_by: str
    expires_at: str | None
    """ISO 8601 UTC; None = does not expire."""
    revoked_at: str | None
    state: str
    """active | expired | revoked"""


@dataclass(frozen=True)
class CreatedKey:
    """A new key, shown once."""

    id: str
    key: str
    app: str
    environment: str
    expires_at: str | None
    gateways: Acknowledgement


@dataclass(frozen=True)
class RevokedKey:
    """A key that no gateway takes any more, apart from silent ones."""

    id: str
    app: str
    environment: str
    revoked_at: str
    gateways: Acknowledgement
    cut_streams: bool = False
    """Its open answers were ended too."""


class Keys:
    """Creates, lists and revokes."""

    def __init__(self, publisher: Publisher, overrides: Overrides) -> None:
        self._publisher = publisher
        self._overrides = overrides

    def create(self, actor: str, app: str, environment: str, expires_days: int | None = None) -> CreatedKey:
        """A new key; it works at every gateway that acknowledged by the time this returns.

        Raises:
            Refused: `not_found` if the app or the environment does not exist, `invalid_request` for the days.
        """
        if expires_days is not None and not 1 <= expires_days <= EXPIRES_DAYS_MAX:
            raise Refused(AdminCode.INVALID_REQUEST, f"expires_in_days must be from 1 to {EXPIRES_DAYS_MAX}")

        def work(tx: Connection) -> tuple[KeyRow, str]:
            return self.add(tx, actor, app, environment, expires_days)

        (row, text), revision = self._publisher.commit("key created", work)
        gateways = self._publisher.wait_acknowledged(revision)
        return CreatedKey(row.id, text, row.app, row.environment, _iso_of_seconds(row.expires_at), gateways)

    def add(
        self, tx: Connection, actor: str, app: str, environment: str, expires_days: int | None = None
    ) -> tuple[KeyRow, str]:
        """Write a new key inside a change that the caller commits; returns its row and its text."""
        desired = read_desired(tx)
        if app not in desired.apps:
            raise _unknown("app", app, list(desired.apps))
        if environment not in desired.environments:
            raise _unknown("environment", environment, list(desired.environments))
        made = make_key(environment)
        now_us = self._publisher.clock.unix_us()
        row = KeyRow(
            id=made.id,
            mac=key_mac(self._publisher.vault.pepper(tx), made.text),
            app=app,
            environment=environment,
            created_us=now_us,
            created_by=actor,
            expires_at=None if expires_days is None else now_us // 1_000_000 + expires_days * DAY_S,
            revoked_us=None,
        )
        rows.add_key(tx, row)
        event = AuditEvent(AuditAction.KEY_CREATED, f"key/{row.id}", after=f"{app} {environment}")
        audit.record(tx, self._publisher.clock, actor, [event])
        return row, made.text.reveal()

    def revoke(self, actor: str, key_id: str, reason: str = "", *, cut_streams: bool = False) -> RevokedKey:
        """Take a key out of every gateway, with the database unusable too; revoking it again changes nothing.

        With `cut_streams` its open answers end too, also those of a key that was revoked before, however
        long ago.

        Raises:
            Refused: `not_found` if there is no such key.
        """
        try:
            done = self._overrides.do(lambda desk: desk.revoke(key_id, actor, reason, cut_streams=cut_streams))
        except Refused as error:
            if error.code is not AdminCode.NOT_FOUND:
                raise
            if not cut_streams or not any(self._owner(key_id)):
                return self._revoked_before(key_id)
            # The snapshot holds only keys in force, and the journal those that were revoked since it began anew.
            done = self._overrides.do(lambda desk: desk.revoke(key_id, actor, reason, cut_streams=True, is_known=True))
        answers = done.gateways
        gateways = Acknowledgement(self._publisher.last_revision, answers.acknowledged, answers.silent)
        app, environment = done.before.split(" ") if done.before else self._owner(key_id)
        at = _iso_of_us(self._publisher.clock.unix_us()) or ""
        return RevokedKey(key_id, app, environment, at, gateways, cut_streams)

    def _owner(self, key_id: str) -> tuple[str, str]:
        """App and environment of a key that is out of force; empty while the database cannot be read."""
        try:
            with self._publisher.database.read() as tx:
                row = rows.read_key(tx, key_id)
        except SQLAlchemyError:
            return "", ""
        return ("", "") if row is None else (row.app, row.environment)

    def _revoked_before(self, key_id: str) -> RevokedKey:
        with self._publisher.database.read() as tx:
            row = rows.read_key(tx, key_id)
        if row is None or row.revoked_us is None:
            raise Refused(AdminCode.NOT_FOUND, f"there is no key {key_id!r}", hint="`lineclear keys list` shows ids")
        gateways = self._publisher.acknowledgement(self._publisher.last_revision)
        return RevokedKey(row.id, row.app, row.environment, _iso_of_us(row.revoked_us) or "", gateways)

    def facts(self, app: str | None = None, environment: str | None = None) -> list[KeyFacts]:
        """Every key, revoked ones included, oldest first; only of one app or environment if named."""
        with self._publisher.database.read() as tx:
            found = rows.read_keys(tx)
        now_s = self._publisher.clock.unix_us() // 1_000_000
        return [
            KeyFacts(
                row.id,
                row.app,
                row.environment,
                _iso_of_us(row.created_us) or "",
                row.created_by,
                _iso_of_seconds(row.expires_at),
                _iso_of_us(row.revoked_us),
                _state(row, now_s),
            )
            for row in found
            if app in (None, row.app) and environment in (None, row.environment)
        ]

    def scopes(self) -> Callable[[str, str], Scope]:
        """Where keys lie, by app and environment, as it stands now."""
        with self._publisher.database.read() as tx:
            desired = read_desired(tx)
        return lambda app, environment: scope_of_app(desired, app, environment)

    def scope_of_app(self, app: str, environment: str) -> Scope:
        """Where a key of an app lies."""
        return self.scopes()(app, environment)

    def scope_of_key(self, key_id: str) -> Scope:
        """Where a key lies; one that is not there belongs to no team. Asks the database only of keys out of force."""
        scope = self._overrides.scope_of_key(key_id)
        if scope is not None:
            return scope
        with self._publisher.database.read() as tx:
            row = rows.read_key(tx, key_id)
        return PLATFORM if row is None else self.scope_of_app(row.app, row.environment)


def _state(row: KeyRow, now_s: int) -> str:
    if row.revoked_us is not None:
        return "revoked"
    return "expired" if row.expires_at is not None and row.expires_at <= now_s else "active"


def _unknown(what: str, name: str, known: list[str]) -> Refused:
    hint = near_words(name, known) or f"known: {', '.join(sorted(known))}"
    return Refused(AdminCode.NOT_FOUND, f"there is no {what} {name!r}", hint=hint)


def _iso_of_us(at_us: int | None) -> str | None:
    return None if at_us is None else _iso_of_seconds(at_us // 1_000_000)


def _iso_of_seconds(at_s: int | None) -> str | None:
    return None if at_s is None else datetime.fromtimestamp(at_s, UTC).isoformat().replace("+00:00", "Z")
