"""Takes the override journal over into the database and the audit trail, as it was written: actor, time, reason.

In: entries that gateways apply already. Out: the same facts as state, so that the next snapshot holds them. An entry
that names what is not there is recorded with that and changes nothing: it must not keep later ones out.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import msgspec
from sqlalchemy import Connection

from lineclear.base.clock import Clock
from lineclear.control import audit
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.desired import decode, encode, noun_digest
from lineclear.control.releases import PREVIOUS_MAX, release_id
from lineclear.control.under_way import PLATFORM_ACTOR, end_open
from lineclear.domain.catalogue import ModelStatus
from lineclear.domain.cut import cutting
from lineclear.domain.manifest import Kind, ManagedBy, Model, model_version_id
from lineclear.domain.overlay import after_rollback
from lineclear.domain.overrides import Block, Drill, OverrideEntry, Revoke, Rollback, Start, Stop, object_of
from lineclear.domain.rollout import Progress, rolled_back
from lineclear.store import control_rows as rows
from lineclear.store import override_rows
from lineclear.store.control_rows import DeploymentRow, ManifestRow
from lineclear.store.override_rows import OverrideRow, StopRow

CHANGE_PREFIX = "ovr_"
"""What stands as the change of what an override moved: `ovr_` and the entry's sequence."""


@dataclass(frozen=True)
class _Done:
    """What one entry did."""

    action: AuditAction
    before: str
    after: str
    problem: str = ""


def fold_entries(tx: Connection, clock: Clock, entries: Sequence[OverrideEntry]) -> int:
    """Take over the entries above those that were taken over before, in order.

    Returns:
        The highest sequence that is taken over now.
    """
    folded = override_rows.last_override(tx)
    for entry in entries:
        if entry.sequence <= folded:
            continue
        done = _apply(tx, clock, entry)
        folded = entry.sequence
        object_ = object_of(entry.override)
        override_rows.add_override(
            tx,
            OverrideRow(
                entry.sequence,
                entry.at_us,
                entry.actor,
                entry.reason,
                type(entry.override).__name__.lower(),
                object_,
                done.before,
                done.after if cutting(entry) is None else f"{done.after}, open answers ended".lstrip(", "),
                done.problem,
                entry.digest,
            ),
        )
        reason = entry.reason
        if done.problem:
            reason = f"{reason} (changed nothing: {done.problem})".strip()
        elif cutting(entry) is not None:
            reason = f"{reason} (open answers were ended)".strip()
        event = AuditEvent(done.action, object_, done.before, done.after, reason, change_of(entry))
        audit.record(tx, clock, entry.actor, [event], at_us=entry.at_us)
    return folded


def change_of(entry: OverrideEntry) -> str:
    """The id that stands where a change request's would."""
    return f"{CHANGE_PREFIX}{entry.sequence}"


def _apply(tx: Connection, clock: Clock, entry: OverrideEntry) -> _Done:
    fact = entry.override
    match fact:
        case Rollback():
            return _roll_back(tx, clock, fact, entry)
        case Drill():
            stable = rows.read_deployments(tx).get((fact.environment, fact.route))
            return _Done(AuditAction.ROLLBACK_DRILLED, release_id(stable.stable) if stable else "", fact.release)
        case Block():
            return _block(tx, fact, entry)
        case Revoke():
            key = rows.read_key(tx, fact.key_id)
            if key is None:
                return _Done(AuditAction.KEY_REVOKED, "", "", "there is no such key")
            rows.revoke_key(tx, fact.key_id, entry.at_us)
            return _Done(AuditAction.KEY_REVOKED, f"{key.app} {key.environment}", "")
        case Stop():
            if any(row.scope == fact.scope for row in override_rows.read_stops(tx)):
                return _Done(AuditAction.AI_STOPPED, "stopped", "stopped")
            override_rows.put_stop(tx, StopRow(fact.scope, entry.at_us, entry.actor, entry.reason))
            return _Done(AuditAction.AI_STOPPED, "running", "stopped")
        case Start():
            was = override_rows.delete_stop(tx, fact.scope)
            return _Done(AuditAction.AI_STARTED, "stopped" if was else "running", "running")
        case _:
            assert_never(fact)


def _roll_back(tx: Connection, clock: Clock, fact: Rollback, entry: OverrideEntry) -> _Done:
    """Move the pointer whatever its generation is: the entry is newer than what a change that was under way wrote."""
    action = AuditAction.DEPLOYMENT_ROLLED_BACK
    row = rows.read_deployments(tx).get((fact.environment, fact.route))
    if row is None:
        return _Done(action, "", fact.release, "the route is not deployed there")
    before = release_id(row.stable)
    ended = end_open(
        tx,
        clock,
        (fact.environment, fact.route),
        lambda progress: _rolled_back(progress, entry),
        entry.actor,
        entry.at_us,
    )
    if fact.release == before:
        if ended is not None:
            moved = dataclasses.replace(row, generation=row.generation + 1, change_id=change_of(entry))
            rows.move_deployment(tx, dataclasses.replace(moved, updated_us=entry.at_us))
            return _Done(action, release_id(ended.row.candidate), before)
        return _Done(action, before, before)
    target = next((digest for digest in row.previous if release_id(digest) == fact.release), None)
    if target is None:
        return _Done(action, before, before, f"{fact.release} is none of its earlier releases")
    rest = [digest for digest in row.previous if digest != target]
    previous = after_rollback(row.stable, rest, is_undo=target == row.asked)
    moved = DeploymentRow(
        fact.environment,
        fact.route,
        row.generation + 1,
        target,
        previous[:PREVIOUS_MAX],
        change_of(entry),
        entry.at_us,
        row.asked,
    )
    if not rows.move_deployment(tx, moved):
        return _Done(action, before, before, "the deployment was moved meanwhile")
    return _Done(action, before, fact.release)


def _rolled_back(progress: Progress, entry: OverrideEntry) -> Progress:
    """A guard writes the journal where the database cannot be used; otherwise it is a person."""
    if entry.actor == PLATFORM_ACTOR:
        return msgspec.structs.replace(rolled_back(progress, entry.reason), by_guard=True)
    return rolled_back(progress, f"by {entry.actor}: {entry.reason or 'no reason was given'}")


def _block(tx: Connection, fact: Block, entry: OverrideEntry) -> _Done:
    action = AuditAction.MODEL_BLOCKED
    for row in rows.read_manifests(tx):
        if row.kind != Kind.MODEL.value:
            continue
        model = decode(row.kind, row.document)
        if not isinstance(model, Model):
            continue
        for version in model.versions:
            if model_version_id(model.name, version.version) == fact.model:
                if version.status is ModelStatus.BLOCKED:
                    return _Done(action, ModelStatus.BLOCKED.value, ModelStatus.BLOCKED.value)
                blocked = dataclasses.replace(
                    model,
                    versions=tuple(
                        dataclasses.replace(item, status=ModelStatus.BLOCKED) if item is version else item
                        for item in model.versions
                    ),
                )
                rows.put_manifest(tx, _kept_here(row, blocked, entry))
                return _Done(action, version.status.value, ModelStatus.BLOCKED.value)
    return _Done(action, "", "", "there is no such model version")


def _kept_here(row: ManifestRow, model: Model, entry: OverrideEntry) -> ManifestRow:
    """The card with its version blocked; files that say otherwise are drift from now on and undo nothing."""
    return dataclasses.replace(
        row,
        document=encode(model),
        digest=noun_digest(model),
        owner=ManagedBy.CLI.value,
        change_id=change_of(entry),
        updated_us=entry.at_us,
    )
