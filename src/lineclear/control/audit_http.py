"""The admin API's endpoints for the audit trail: read it, verify it, export it. Each of them is an event itself."""

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass

from lineclear.base.clock import Clock
from lineclear.base.transparency import MerkleTree, NoteInvalid, open_checkpoint
from lineclear.control import audit
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.audit_checkpoints import ORIGIN, Checkpoints
from lineclear.control.audit_feed import FEED_QUERY, AuditFeed, read_feed
from lineclear.control.endpoint import API_ROOT, AdminCode, Call, Endpoint, QueryParameter, Refused
from lineclear.domain.audit_chain import AuditVerdict, verify_rows
from lineclear.domain.permissions import Permission
from lineclear.store import audit_rows
from lineclear.store import control_rows as rows
from lineclear.store.control_rows import AuditRow
from lineclear.store.database import Database

PAGE_ROWS = 500
NUMBER_DIGITS_MAX = 18


@dataclass(frozen=True)
class AuditPage:
    """Audit rows in order."""

    events: list[AuditRow]
    next_after: int | None
    """Pass as `after` for the next page; None at the end."""


@dataclass(frozen=True)
class ExportFacts:
    """An export that was begun: what its rows are held to."""

    origin: str
    number: int
    """Of the newest row in it: the event of this export itself."""
    public_key: str
    checkpoint: str
    """Signed note over every row of it."""


@dataclass(frozen=True)
class ExportPage:
    """Rows of an export with the checkpoints that were made among them."""

    events: list[AuditRow]
    checkpoints: dict[str, str]
    """Signed notes by the number of the row they follow."""
    next_after: int | None


def endpoints(database: Database, clock: Clock, checkpoints: Checkpoints) -> tuple[Endpoint, ...]:
    """List, verify, key, export."""

    def note(call: Call, action: AuditAction, words: str = "") -> None:
        with database.write() as tx:
            audit.record(tx, clock, call.principal.name, [AuditEvent(action, "audit", after=words)])

    def page(call: Call) -> AuditPage:
        after = _after(call)
        note(call, AuditAction.AUDIT_READ, f"after {after}")
        with database.read() as tx:
            found = rows.read_audit(tx, after, PAGE_ROWS)
        return AuditPage(found, found[-1].number if len(found) == PAGE_ROWS else None)

    def feed(call: Call) -> AuditFeed:
        asked = ", ".join(f"{name} {value}" for name, value in sorted(call.query.items()))
        note(call, AuditAction.AUDIT_READ, f"newest first{', ' + asked if asked else ''}")
        return read_feed(database, call)

    def verdict(call: Call) -> AuditVerdict:
        note(call, AuditAction.AUDIT_VERIFIED)
        return verify_stored(database, checkpoints)

    def export(call: Call) -> ExportFacts:
        with database.write() as tx:
            event = AuditEvent(AuditAction.AUDIT_EXPORTED, "audit")
            audit.record(tx, clock, call.principal.name, [event])
            made = checkpoints.make(tx)
        if made is None:
            raise Refused(AdminCode.CONFLICT, "the trail is empty; there is nothing to export")
        return ExportFacts(ORIGIN, made.number, checkpoints.verifier, made.note)

    def export_rows(call: Call) -> ExportPage:
        text = call.path["number"]
        number = int(text) if text.isascii() and text.isdigit() and len(text) <= NUMBER_DIGITS_MAX else 0
        after = _after(call)
        with database.read() as tx:
            begun = rows.read_audit(tx, number - 1, 1) if number else []
            is_export = bool(begun) and (begun[0].action, begun[0].actor, begun[0].number) == (
                AuditAction.AUDIT_EXPORTED.value, call.principal.name, number
            )  # fmt: skip
            if not is_export:
                raise Refused(AdminCode.NOT_FOUND, f"{call.principal.name!r} began no export {text!r}")
            found = [row for row in rows.read_audit(tx, after, PAGE_ROWS) if row.number <= number]
            last = found[-1].number if found else after
            signed = audit_rows.read_checkpoints(tx, after, last)
        return ExportPage(
            found, {str(item.number): item.note for item in signed}, last if last < number and found else None
        )

    return (
        Endpoint(
            "GET", f"{API_ROOT}/audit-events", Permission.AUDIT_READ, page, "The audit trail in order",
            answer=AuditPage, query=(QueryParameter("after", "Only events with a higher number."),),
        ),
        Endpoint(
            "GET", f"{API_ROOT}/audit-feed", Permission.AUDIT_READ, feed,
            "The audit trail newest first, with what each event changed", answer=AuditFeed, query=FEED_QUERY,
        ),
        Endpoint(
            "GET", f"{API_ROOT}/audit-events/verdict", Permission.AUDIT_READ, verdict,
            "Whether the audit trail is whole", answer=AuditVerdict,
        ),
        Endpoint(
            "GET", f"{API_ROOT}/audit-key", Permission.AUDIT_READ, lambda _call: {"public_key": checkpoints.verifier},
            "The public key that checkpoints of the audit trail are verified with",
        ),
        Endpoint(
            "POST", f"{API_ROOT}/audit-exports", Permission.AUDIT_EXPORT, export,
            "Begin an export of the audit trail and sign what is in it", answer=ExportFacts,
        ),
        Endpoint(
            "GET", f"{API_ROOT}/audit-exports/{{number}}", Permission.AUDIT_EXPORT, export_rows,
            "Rows of an export that was begun", answer=ExportPage,
            query=(QueryParameter("after", "Only rows with a higher number."),),
        ),
    )  # fmt: skip


def verify_stored(database: Database, checkpoints: Checkpoints) -> AuditVerdict:
    """Hold the stored rows to their chain, and to every checkpoint that was signed: those that the database has, and
    those that are kept beside it, which a trail that was written anew does not meet.
    """
    verdict = verify_rows(asdict(row) for row in _all(database))
    if not verdict.ok:
        return verdict
    with database.read() as tx:
        stored = audit_rows.read_checkpoints(tx, 0, 2**62)
    signed = {*((row.number, row.note) for row in stored), *checkpoints.kept()}
    problem = _flaw_of_checkpoints(database, signed, checkpoints.verifier)
    return AuditVerdict(not problem, verdict.events, problem, verdict.head, len(signed))


def _flaw_of_checkpoints(database: Database, signed: Collection[tuple[int, str]], verifier: str) -> str:
    waiting: dict[int, list[str]] = {}
    for number, note in signed:
        waiting.setdefault(number, []).append(note)
    tree = MerkleTree()
    for row in _all(database):
        tree.append(bytes.fromhex(row.hash))
        for note in waiting.pop(tree.size, ()):
            try:
                head = open_checkpoint(note, verifier)
            except NoteInvalid as error:
                return f"the checkpoint at row {tree.size}: {error}"
            if (head.size, head.root) != (tree.size, tree.root()):
                return f"the rows up to {tree.size} are not those that were signed"
    return f"the tail is cut off: {max(waiting)} rows were signed, {tree.size} are left" if waiting else ""


def _after(call: Call) -> int:
    after = call.query.get("after", "0")
    if not after.isascii() or not after.isdigit() or len(after) > NUMBER_DIGITS_MAX:
        raise Refused(AdminCode.INVALID_REQUEST, f"after must be the number of an event, not {after!r}")
    return int(after)


def _all(database: Database) -> Iterator[AuditRow]:
    after = 0
    while True:
        with database.read() as tx:
            found = rows.read_audit(tx, after, PAGE_ROWS)
        yield from found
        if len(found) < PAGE_ROWS:
            return
        after = found[-1].number
