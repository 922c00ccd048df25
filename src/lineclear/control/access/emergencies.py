"""Breaking the glass: a sealed role in force for at most an hour, with a reason and an incident, seen by everybody.

In: who opens which sealed grant and why. Out: facts. It gives no way to the audit trail and no lasting access. Every
opening has to be reviewed by somebody else; until then status tells of it.
"""

from dataclasses import dataclass

from sqlalchemy import Connection

from lineclear.base.clock import Clock
from lineclear.base.ids import random_id
from lineclear.control import audit
from lineclear.control.access.principals import iso, subjects_of
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.endpoint import AdminCode, Call, Refused
from lineclear.domain.access import PrincipalKind
from lineclear.store import access_rows as rows
from lineclear.store.access_rows import OpeningRow
from lineclear.store.database import Database

MINUTES_MAX = 60
"""Source: release governance §4."""
MINUTE_US = 60_000_000
REASON_CHARS_MAX = 1_000
INCIDENT_CHARS_MAX = 100
SHOWN_MAX = 500


@dataclass(frozen=True)
class OpeningFacts:
    """One time that somebody broke the glass. Times are ISO 8601 UTC."""

    id: str
    principal: str
    role: str
    scope: str
    incident: str
    reason: str
    opened_at: str
    ends_at: str
    state: str
    """open | to-review | reviewed"""
    reviewed_by: str
    review: str


@dataclass(frozen=True)
class NewOpening:
    """What to open and why."""

    grant: str
    """Id of a sealed grant of one's own."""
    reason: str
    incident: str
    minutes: int = 30


class Emergencies:
    """Opens, closes, reviews."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def open(self, call: Call, new: NewOpening) -> OpeningFacts:
        """Put a sealed grant of one's own in force for some minutes.

        Raises:
            Refused: `invalid_request`, `not_found`, `conflict` if it is open, `forbidden` for who is no person.
        """
        _demand_words(new)
        now_us = self._clock.unix_us()
        with self._database.write() as tx:
            person = rows.read_principal(tx, call.principal.name)
            if person is None or person.kind != PrincipalKind.PERSON.value:
                raise Refused(AdminCode.FORBIDDEN, "only a person breaks the glass")
            grant = rows.read_grant(tx, new.grant)
            is_own = grant is not None and grant.principal in subjects_of(tx, person) and bool(grant.is_sealed)
            if grant is None or not is_own or (grant.expires_us is not None and grant.expires_us <= now_us):
                raise Refused(
                    AdminCode.NOT_FOUND,
                    f"you have no sealed grant {new.grant!r}",
                    hint="`lineclear access me` shows yours; an administrator seals one beforehand",
                )
            if any(item.grant_id == grant.id and item.principal == person.name for item in self._open(tx, now_us)):
                raise Refused(AdminCode.CONFLICT, f"{new.grant!r} is open already")
            row = OpeningRow(
                id=random_id("brk_"),
                grant_id=grant.id,
                principal=person.name,
                role=grant.role,
                scope=grant.scope,
                incident=new.incident.strip(),
                reason=new.reason.strip(),
                opened_us=now_us,
                ends_us=now_us + new.minutes * MINUTE_US,
                reviewed_us=None,
                reviewed_by="",
                review="",
            )
            rows.add_opening(tx, row)
            self._record(tx, call.principal.name, AuditAction.GLASS_BROKEN, row, row.reason)
        return _facts(row, now_us)

    def close(self, call: Call, opening_id: str) -> OpeningFacts:
        """End one's own opening before its time.

        Raises:
            Refused: `not_found` if none of one's own is open under that id.
        """
        now_us = self._clock.unix_us()
        with self._database.write() as tx:
            mine = [row for row in self._open(tx, now_us) if row.id == opening_id]
            if not mine or mine[0].principal != call.principal.name:
                raise Refused(AdminCode.NOT_FOUND, f"no opening {opening_id!r} of yours is in force")
            rows.end_opening(tx, opening_id, now_us)
            self._record(tx, call.principal.name, AuditAction.GLASS_CLOSED, mine[0], "")
            return _facts(_row(tx, opening_id), now_us)

    def review(self, call: Call, opening_id: str, words: str) -> OpeningFacts:
        """Say what was found out about an opening that has ended; never about one's own.

        Raises:
            Refused: `not_found`, `invalid_request` without words, `conflict` while it is open or when it was reviewed,
                `forbidden` for one's own.
        """
        if not 1 <= len(words.strip()) <= REASON_CHARS_MAX:
            raise Refused(AdminCode.INVALID_REQUEST, f"a review has 1 to {REASON_CHARS_MAX} characters")
        now_us = self._clock.unix_us()
        with self._database.write() as tx:
            row = _row(tx, opening_id)
            if row.principal == call.principal.name:
                raise Refused(AdminCode.FORBIDDEN, "somebody else than who broke the glass reviews it")
            if row.ends_us > now_us or row.reviewed_us is not None:
                state = _facts(row, now_us).state
                raise Refused(AdminCode.CONFLICT, f"{opening_id!r} is {state}; it is reviewed once, when it has ended")
            rows.review_opening(tx, opening_id, call.principal.name, now_us, words.strip())
            self._record(tx, call.principal.name, AuditAction.GLASS_REVIEWED, row, words.strip())
            return _facts(_row(tx, opening_id), now_us)

    def facts(self) -> list[OpeningFacts]:
        """Every opening, newest first."""
        with self._database.read() as tx:
            found = rows.list_openings(tx)[:SHOWN_MAX]
        return [_facts(row, self._clock.unix_us()) for row in found]

    def announced(self) -> list[OpeningFacts]:
        """What everybody is told of: what is open, and what waits for its review."""
        return [item for item in self.facts() if item.state != "reviewed"]

    def _open(self, tx: Connection, now_us: int) -> list[OpeningRow]:
        return rows.openings_in_force(tx, now_us)

    def _record(self, tx: Connection, actor: str, action: AuditAction, row: OpeningRow, reason: str) -> None:
        words = f"{row.principal}: {row.role} on {row.scope} until {iso(row.ends_us)}, {row.incident}"
        event = AuditEvent(action, f"break-glass/{row.id}", after=words, reason=reason)
        audit.record(tx, self._clock, actor, [event])


def _demand_words(new: NewOpening) -> None:
    if not 1 <= new.minutes <= MINUTES_MAX:
        raise Refused(AdminCode.INVALID_REQUEST, f"the glass stays broken for 1 to {MINUTES_MAX} minutes")
    if not 1 <= len(new.reason.strip()) <= REASON_CHARS_MAX:
        raise Refused(AdminCode.INVALID_REQUEST, "say why; the reason is read by everybody")
    if not 1 <= len(new.incident.strip()) <= INCIDENT_CHARS_MAX:
        raise Refused(AdminCode.INVALID_REQUEST, "name the incident that this is for")


def _row(tx: Connection, opening_id: str) -> OpeningRow:
    for row in rows.list_openings(tx):
        if row.id == opening_id:
            return row
    raise Refused(AdminCode.NOT_FOUND, f"there is no opening {opening_id!r}")


def _facts(row: OpeningRow, now_us: int) -> OpeningFacts:
    state = "open" if row.ends_us > now_us else "to-review" if row.reviewed_us is None else "reviewed"
    return OpeningFacts(
        id=row.id,
        principal=row.principal,
        role=row.role,
        scope=row.scope,
        incident=row.incident,
        reason=row.reason,
        opened_at=iso(row.opened_us) or "",
        ends_at=iso(row.ends_us) or "",
        state=state,
        reviewed_by=row.reviewed_by,
        review=row.review,
    )
