"""The audit trail: one row per change, chained by hash, written in the change's own transaction.

In: who did what to which object. Out: rows whose order and content cannot be altered unseen. Never updates a row.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

import msgspec
from sqlalchemy import Connection

from lineclear.base.clock import Clock
from lineclear.domain.audit_chain import GENESIS_HASH, AuditVerdict, verify_rows
from lineclear.domain.audit_chain import row_hash as hash_of
from lineclear.store import control_rows as rows
from lineclear.store.control_rows import AuditRow

AUDIT_FORMAT = 1


class AuditAction(StrEnum):
    """What can be done."""

    MANIFEST_CREATED = "manifest.created"
    MANIFEST_UPDATED = "manifest.updated"
    MANIFEST_DELETED = "manifest.deleted"
    DEPLOYMENT_MOVED = "deployment.moved"
    DEPLOYMENT_REMOVED = "deployment.removed"
    DEPLOYMENT_ROLLED_BACK = "deployment.rolled-back"
    ROLLBACK_DRILLED = "rollback.drilled"
    DRILL_PASSED = "drill.passed"
    DRILL_FAILED = "drill.failed"
    ROLLOUT_STARTED = "rollout.started"
    ROLLOUT_ADVANCED = "rollout.advanced"
    ROLLOUT_HELD = "rollout.held"
    ROLLOUT_RESUMED = "rollout.resumed"
    ROLLOUT_COMPLETED = "rollout.completed"
    ROLLOUT_ROLLED_BACK = "rollout.rolled-back"
    ROLLOUT_CANCELLED = "rollout.cancelled"
    DATASET_ADDED = "dataset.added"
    DATASET_REMOVED = "dataset.removed"
    REPLAY_STARTED = "replay.started"
    REPLAY_ENDED = "replay.ended"
    EVAL_STARTED = "eval.started"
    EVAL_ENDED = "eval.ended"
    MODEL_BLOCKED = "model.blocked"
    AI_STOPPED = "ai.stopped"
    AI_STARTED = "ai.started"
    CREDENTIAL_SET = "credential.set"
    SECRET_SET = "secret.set"  # noqa: S105 - an action's name
    SECRET_REMOVED = "secret.removed"  # noqa: S105 - as above
    PROVIDER_TESTED = "provider.tested"
    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"
    CHANGE_OPENED = "change.opened"
    CHANGE_APPROVED = "change.approved"
    CHANGE_APPLIED = "change.applied"
    AUDIT_READ = "audit.read"
    AUDIT_VERIFIED = "audit.verified"
    AUDIT_EXPORTED = "audit.exported"
    CHANGE_REJECTED = "change.rejected"
    CHANGE_WITHDRAWN = "change.withdrawn"
    CHANGE_EXPIRED = "change.expired"
    CHANGE_STALE = "change.stale"
    CHANGE_REBASED = "change.rebased"
    CHANGE_REOPENED = "change.reopened"
    SIGN_IN_LINK_CREATED = "sign-in-link.created"
    SIGNED_IN = "session.opened"
    SIGNED_OUT = "session.closed"
    SESSION_ENDED = "session.ended"
    SIGN_IN_LINK_TAKEN_BACK = "sign-in-link.taken-back"
    SIGN_IN_REFUSED = "sign-in.refused"
    MEMBER_ADDED = "member.added"
    MEMBER_DISABLED = "member.disabled"
    MEMBER_ENABLED = "member.enabled"
    MEMBER_INVITED = "member.invited"
    MEMBER_GROUPS_CHANGED = "member.groups-changed"
    PASSWORD_SET = "password.set"  # noqa: S105 - as above
    GRANT_GIVEN = "grant.given"
    GRANT_TAKEN = "grant.taken"
    TOKEN_CREATED = "token.created"  # noqa: S105 - as above
    TOKEN_REVOKED = "token.revoked"  # noqa: S105 - as above
    GLASS_BROKEN = "break-glass.opened"
    GLASS_CLOSED = "break-glass.closed"
    GLASS_REVIEWED = "break-glass.reviewed"
    NOTICE_ACKNOWLEDGED = "notice.acknowledged"
    NOTICE_SENT_AGAIN = "notice.sent-again"
    NOTICE_TESTED = "notice.tested"


@dataclass(frozen=True)
class AuditEvent:
    """One fact to write down. `before` and `after` never hold a secret."""

    action: AuditAction
    object: str
    """E.g. `Route/support-chat`, `key/abc`."""
    before: str = ""
    after: str = ""
    reason: str = ""
    change_id: str = ""


def record(tx: Connection, clock: Clock, actor: str, events: Iterable[AuditEvent], at_us: int | None = None) -> None:
    """Append events to the chain inside the transaction of the change they tell about.

    `at_us` is for what happened before it could be written down: an override that was in force already.
    """
    last = rows.last_audit(tx)
    number, previous = (last.number, last.hash) if last else (0, GENESIS_HASH)
    chained: list[AuditRow] = []
    for event in events:
        number += 1
        row = AuditRow(
            number=number,
            format=AUDIT_FORMAT,
            at_us=clock.unix_us() if at_us is None else at_us,
            actor=actor,
            action=event.action.value,
            object=event.object,
            before=event.before,
            after=event.after,
            reason=event.reason,
            change_id=event.change_id,
            previous_hash=previous,
            hash="",
        )
        row = replace(row, hash=row_hash(row))
        chained.append(row)
        previous = row.hash
    rows.add_audit(tx, chained)


def row_hash(row: AuditRow) -> str:
    """SHA-256 over every other column, the hash before it included."""
    return hash_of(msgspec.to_builtins(row))


def verify(chain: Iterable[AuditRow]) -> AuditVerdict:
    """Walk the rows in order: numbers without gaps, each hash over its row, each row naming the hash before it."""
    return verify_rows(msgspec.to_builtins(row) for row in chain)
