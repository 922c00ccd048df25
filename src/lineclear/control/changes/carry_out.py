"""Writes a change that was worked out: nouns, releases, deployments, credentials, audit and the request's own row.

In: a prepared change and who stands behind it, inside the publisher's transaction. Out: rows. Decides nothing.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec
from sqlalchemy import Connection

from lineclear.base.clock import Clock
from lineclear.base.secret import Secret
from lineclear.config.manifest_names import secret_name
from lineclear.control import audit
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.changes.plan import Plan, Prepared
from lineclear.control.changes.reach import scopes_of
from lineclear.control.credentials import flaw_of
from lineclear.control.desired import Desired, encode, noun_digest
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.control.publish import Publisher
from lineclear.control.releases import move, release_id
from lineclear.control.under_way import Beginning, begin, end_open
from lineclear.domain.change_request import ChangeState
from lineclear.domain.manifest import ManagedBy, Manifest, Rollout, kind_of
from lineclear.domain.rollout import cancelled
from lineclear.store import control_rows as rows
from lineclear.store.control_rows import ChangeRow, ManifestRow, ReleaseRow


@dataclass(frozen=True)
class Cause:
    """Who changes what is about to be written, and why."""

    change_id: str
    actor: str
    """Who carries it out."""
    author: str
    approvers: tuple[str, ...]
    """Empty where nobody else had to approve."""
    note: str
    managed_by: ManagedBy
    co_authors: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    """Who owns what it came with; like co-authors they approve no step of a rollout that it begins."""


def carry_out(
    tx: Connection, publisher: Publisher, prepared: Prepared, said: Mapping[str, Secret], cause: Cause
) -> None:
    """Write everything but the request's own row.

    Args:
        tx: the publisher's transaction.
        publisher: whose clock and vault are used.
        prepared: what to write.
        said: what the server's own environment says, so that it is not taken a second time.
        cause: who and why.

    Raises:
        Refused: `conflict` if a deployment was moved by somebody else.
    """
    now_us = publisher.clock.unix_us()
    before = {(row.kind, row.name): row for row in rows.read_manifests(tx)}
    for noun in prepared.changed:
        was = before.get((kind_of(noun).value, noun.name))
        rows.put_manifest(tx, _row(noun, was, cause.managed_by, cause.change_id, now_us))
    for noun in prepared.deleted:
        rows.delete_manifest(tx, kind_of(noun).value, noun.name)
    for environment, route in prepared.removed:
        _end_rollout(tx, publisher.clock, (environment, route), "its deployment was removed", cause, now_us)
        rows.delete_deployment(tx, environment, route)
    for name, value in prepared.variables.items():
        publisher.vault.put_credential(tx, name, value, cause.author)
    for name, value in said.items():
        if name in prepared.named and not flaw_of(value):
            publisher.vault.mark_taken(tx, name, value, cause.author)
    moved = list(_deploy(tx, publisher.clock, prepared, cause, now_us))
    events = [
        *(_noun_event(before, noun) for noun in prepared.changed),
        *(
            AuditEvent(AuditAction.MANIFEST_DELETED, f"{kind_of(noun).value}/{noun.name}", encode(noun))
            for noun in prepared.deleted
        ),
        *(_credential_event(reference) for reference in sorted(prepared.variables)),
        *moved,
        *(
            AuditEvent(AuditAction.DEPLOYMENT_REMOVED, f"deployment/{item.environment}/{item.route}", item.before or "")
            for item in prepared.plan.releases
            if item.after is None
        ),
        AuditEvent(
            AuditAction.CHANGE_APPLIED,
            f"change/{cause.change_id}",
            before=f"approved by {', '.join(cause.approvers)}" if cause.approvers else "self-approved",
            after=prepared.plan.digest,
        ),
    ]
    chained = [replace(event, reason=cause.note, change_id=cause.change_id) for event in events]
    audit.record(tx, publisher.clock, cause.actor, chained)


def applied_row(prepared: Prepared, cause: Cause, now_us: int) -> ChangeRow:
    """The row of a change that needed nobody else."""
    plan = prepared.plan
    return ChangeRow(
        id=cause.change_id,
        created_us=now_us,
        author=cause.author,
        approver=cause.author,
        state=ChangeState.APPLIED.value,
        note=cause.note,
        plan_digest=plan.digest,
        plan=plan_text(plan),
        base_revision=plan.base_revision,
        revision=plan.base_revision + 1,
        content_digest=plan.content,
        scopes=scopes_text(prepared),
        co_authors=json.dumps(sorted(cause.co_authors)),
        owners=json.dumps(sorted(cause.owners)),
        closed_us=now_us,
        closed_by=cause.actor,
    )


def plan_text(plan: Plan) -> str:
    """A plan as it is stored with a change."""
    return msgspec.json.encode(plan).decode()


def scopes_text(prepared: Prepared) -> str:
    """Where everything lies that a change touches, as it is stored."""
    found: Sequence[Sequence[str]] = sorted({(item.team, item.environment, item.route) for item in scopes_of(prepared)})
    return json.dumps(found)


def _deploy(tx: Connection, clock: Clock, prepared: Prepared, cause: Cause, now_us: int) -> Iterator[AuditEvent]:
    deployments = rows.read_deployments(tx)
    for (environment, route), release in sorted(prepared.releases.items()):
        was = deployments.get((environment, route))
        row = move(was, environment, release, cause.change_id, now_us)
        if row is None:
            continue
        stored = ReleaseRow(release.digest, release.id, release.route, release.manifest, now_us, cause.change_id)
        rows.add_release(tx, stored)
        _end_rollout(tx, clock, (environment, route), f"{release.id} takes its place", cause, now_us)
        rollout = _rollout_of(prepared.wanted, environment, route)
        beginning = None
        if was is not None and was.stable != release.digest and rollout is not None:
            # Stable stays; what was asked for is tried first.
            row = replace(
                was, generation=row.generation, asked=release.digest, change_id=cause.change_id, updated_us=now_us
            )
            beginning = Beginning(
                environment,
                route,
                was.stable,
                release.digest,
                rollout,
                prepared.wanted.evals,
                cause.author,
                cause.change_id,
                now_us,
            )
        if not rows.move_deployment(tx, row):
            raise Refused(
                AdminCode.CONFLICT, f"route {route!r} in {environment} was moved meanwhile", hint="plan again"
            )
        if beginning is not None:
            yield begin(tx, beginning)
            continue
        yield AuditEvent(
            AuditAction.DEPLOYMENT_MOVED,
            f"deployment/{environment}/{route}",
            before=release_id(was.stable) if was else "",
            after=release.id,
        )


def _rollout_of(wanted: Desired, environment: str, route: str) -> Rollout | None:
    """How changes of a route reach its callers there; None = at once."""
    return wanted.rollouts.get(wanted.routes[route].environments[environment].rollout)


def _end_rollout(
    tx: Connection, clock: Clock, deployment: tuple[str, str], words: str, cause: Cause, now_us: int
) -> None:
    end_open(tx, clock, deployment, lambda progress: cancelled(progress, words), cause.actor, now_us)


def _row(noun: Manifest, was: ManifestRow | None, managed_by: ManagedBy, change_id: str, now_us: int) -> ManifestRow:
    document = encode(noun)
    filed = document if managed_by is ManagedBy.FILE else was.filed if was else ""
    return ManifestRow(
        kind_of(noun).value, noun.name, document, noun_digest(noun), managed_by.value, change_id, now_us, filed
    )


def _noun_event(before: Mapping[tuple[str, str], ManifestRow], noun: Manifest) -> AuditEvent:
    kind = kind_of(noun).value
    was = before.get((kind, noun.name))
    action = AuditAction.MANIFEST_CREATED if was is None else AuditAction.MANIFEST_UPDATED
    return AuditEvent(action, f"{kind}/{noun.name}", was.document if was else "", encode(noun))


def _credential_event(reference: str) -> AuditEvent:
    """What came is named, the value is nowhere."""
    secret = secret_name(reference)
    if secret is not None:
        return AuditEvent(AuditAction.SECRET_SET, f"secret/{secret}")
    return AuditEvent(AuditAction.CREDENTIAL_SET, f"variable/{reference}")
