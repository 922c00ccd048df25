"""Carries out a change: nouns, releases, deployments, audit and the change request in one transaction, then publishes.

In: manifest files or plain documents. Out: what was done and which gateways have it. Deletes only what a plan with
`prune` names.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath

import msgspec
from sqlalchemy import Connection

from lineclear.base.ids import random_id
from lineclear.base.secret import Secret
from lineclear.config.manifest import InvalidManifest, ManifestFile, Reading, parse_manifests
from lineclear.config.manifest_names import secret_name
from lineclear.control import audit
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.changes.drift import Drift, deployment_drift, stored_drift, went_back
from lineclear.control.changes.plan import FILE_TERMS, Before, ChangeTerms, Plan, Prepared, prepare
from lineclear.control.credentials import flaw_of
from lineclear.control.desired import Desired, decode, encode, noun_digest
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.control.publish import Acknowledgement, Publisher
from lineclear.control.releases import build_releases, move, release_id
from lineclear.domain.manifest import Kind, ManagedBy, Manifest, kind_of
from lineclear.store import control_rows as rows
from lineclear.store.control_rows import ChangeRow, ManifestRow, ReleaseRow

CHANGE_PREFIX = "chg_"
NOTE_CHARS_MAX = 2_000


class ChangeState(StrEnum):
    """Where a change request stands."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    """There was nothing to do; no change request was kept."""


@dataclass(frozen=True)
class Applied:
    """What a change did."""

    change: str | None
    """The change request's id; None if there was nothing to do."""
    state: ChangeState
    revision: int
    plan: Plan
    gateways: Acknowledgement


@dataclass(frozen=True)
class Author:
    """Who asks for a change and how it is meant."""

    name: str
    terms: ChangeTerms = FILE_TERMS


class NothingToDo(Exception):
    """The plan is empty: leave the transaction without a new revision."""

    def __init__(self, plan: Plan) -> None:
        super().__init__("nothing to do")
        self.plan = plan


class Changes:
    """Plans and applies."""

    def __init__(self, publisher: Publisher, environment: Mapping[str, str]) -> None:
        """Change requests against one publisher; credential variables are also looked up in `environment`."""
        self._publisher = publisher
        self._environment = environment

    def read(self, files: Sequence[ManifestFile]) -> Reading:
        """What files hold; their mistakes are told with those that only the state shows, by `plan` or `apply`."""
        return parse_manifests(files)

    def plan(self, reading: Reading, variables: Mapping[str, Secret], terms: ChangeTerms = FILE_TERMS) -> Plan:
        """What applying would do now.

        Raises:
            Refused: `invalid_manifest` with all findings.
        """
        with self._publisher.database.read() as tx:
            return self._prepare(tx, reading, variables, terms).plan

    def drift(self) -> tuple[Drift, ...]:
        """What stands otherwise than files said last: nouns changed elsewhere, deployments that went back."""
        with self._publisher.database.read() as tx:
            before = self._before(tx)
        built = build_releases(before.desired)
        gone_back = (
            deployment_drift(key, row, built[key])
            for key, row in sorted(before.deployments.items())
            if key in built and went_back(row, built[key])
        )
        return (*stored_drift(before.desired, before.filed, before.managers), *gone_back)

    def apply(
        self,
        reading: Reading,
        variables: Mapping[str, Secret],
        author: Author,
        *,
        note: str = "",
        plan_digest: str | None = None,
    ) -> Applied:
        """Carry out what was read and wait for gateways.

        Args:
            reading: what the files hold, mistakes included.
            variables: credential values that came with the request.
            author: who asks; approves the change as well, since no environment asks for another person yet.
            note: why; file names and digest if empty.
            plan_digest: the plan that was looked at; another one now is refused.

        Raises:
            Refused: `invalid_manifest`, `stale_plan`, or `conflict` if the result does not compile.
        """

        def work(tx: Connection) -> tuple[str, Plan]:
            prepared = self._prepare(tx, reading, variables, author.terms)
            plan = prepared.plan
            if plan_digest is not None and plan_digest != plan.digest:
                raise Refused(
                    AdminCode.STALE_PLAN,
                    f"the plan {plan_digest[:16]} no longer holds: applying would now do {plan.digest[:16]}",
                    hint="look at the plan again, then apply that one",
                )
            if not plan.has_changes:
                raise NothingToDo(plan)
            change_id = random_id(CHANGE_PREFIX)
            self._write(tx, prepared, author, change_id, _note(note, reading, plan))
            return change_id, plan

        try:
            (change_id, plan), revision = self._publisher.commit(f"change by {author.name}", work)
        except NothingToDo as nothing:
            revision = self._publisher.revision()
            gateways = self._publisher.wait_acknowledged(revision)
            return Applied(None, ChangeState.UNCHANGED, revision, nothing.plan, gateways)
        return Applied(change_id, ChangeState.APPLIED, revision, plan, self._publisher.wait_acknowledged(revision))

    def _prepare(
        self, tx: Connection, reading: Reading, variables: Mapping[str, Secret], terms: ChangeTerms
    ) -> Prepared:
        before = self._before(tx)
        said = self._said()
        changed = self._publisher.vault.changed_values(tx, said)
        # As at the start of control: a value of the server's own displaces a known one only if it is another than
        # when it was last taken, and can be sent.
        own = {
            name: value
            for name, value in said.items()
            if name not in before.variables or (name in changed and not flaw_of(value))
        }
        try:
            return prepare(before, reading, {**own, **variables}, self._publisher.prices, terms)
        except InvalidManifest as error:
            raise refusal(error) from error

    def _said(self) -> dict[str, Secret]:
        """What the server's own environment says."""
        return {name: Secret(text) for name, text in self._environment.items() if secret_name(name) is None}

    def _before(self, tx: Connection) -> Before:
        last = rows.last_revision(tx)
        found = {(Kind(row.kind), row.name): row for row in rows.read_manifests(tx)}
        deployments = rows.read_deployments(tx)
        named = {digest for row in deployments.values() for digest in (row.stable, *row.previous)}
        return Before(
            desired=Desired({key: decode(row.kind, row.document) for key, row in found.items()}),
            managers={key: ManagedBy(row.owner) for key, row in found.items()},
            filed={key: decode(row.kind, row.filed) for key, row in found.items() if row.filed},
            deployments=deployments,
            releases={digest: row.manifest for digest, row in rows.read_releases(tx).items() if digest in named},
            keys=rows.count_keys(tx),
            variables=self._publisher.vault.credentials(tx),
            revision=last.revision if last else 0,
        )

    def _write(self, tx: Connection, prepared: Prepared, author: Author, change_id: str, note: str) -> None:
        now_us = self._publisher.clock.unix_us()
        before = {(row.kind, row.name): row for row in rows.read_manifests(tx)}
        for noun in prepared.changed:
            was = before.get((kind_of(noun).value, noun.name))
            rows.put_manifest(tx, _row(noun, was, author.terms.managed_by, change_id, now_us))
        for noun in prepared.deleted:
            rows.delete_manifest(tx, kind_of(noun).value, noun.name)
        for environment, route in prepared.removed:
            rows.delete_deployment(tx, environment, route)
        for name, value in prepared.variables.items():
            self._publisher.vault.put_credential(tx, name, value, author.name)
        for name, value in self._said().items():
            if name in prepared.named and not flaw_of(value):
                self._publisher.vault.mark_taken(tx, name, value, author.name)
        moved = list(self._deploy(tx, prepared, change_id, now_us))
        plan = prepared.plan
        rows.add_change(
            tx,
            ChangeRow(
                id=change_id,
                created_us=now_us,
                author=author.name,
                approver=author.name,
                state=ChangeState.APPLIED.value,
                note=note,
                plan_digest=plan.digest,
                plan=msgspec.json.encode(plan).decode(),
                base_revision=plan.base_revision,
                revision=plan.base_revision + 1,
            ),
        )
        events = [
            *(_noun_event(before, noun) for noun in prepared.changed),
            *(
                AuditEvent(AuditAction.MANIFEST_DELETED, f"{kind_of(noun).value}/{noun.name}", encode(noun))
                for noun in prepared.deleted
            ),
            *(_credential_event(reference) for reference in sorted(prepared.variables)),
            *moved,
            *(
                AuditEvent(
                    AuditAction.DEPLOYMENT_REMOVED, f"deployment/{item.environment}/{item.route}", item.before or ""
                )
                for item in plan.releases
                if item.after is None
            ),
            AuditEvent(AuditAction.CHANGE_APPLIED, f"change/{change_id}", after=plan.digest),
        ]
        chained = [_with_cause(event, note, change_id) for event in events]
        audit.record(tx, self._publisher.clock, author.name, chained)

    def _deploy(self, tx: Connection, prepared: Prepared, change_id: str, now_us: int) -> Iterator[AuditEvent]:
        deployments = rows.read_deployments(tx)
        for (environment, route), release in sorted(prepared.releases.items()):
            was = deployments.get((environment, route))
            row = move(was, environment, release, change_id, now_us)
            if row is None:
                continue
            rows.add_release(
                tx, ReleaseRow(release.digest, release.id, release.route, release.manifest, now_us, change_id)
            )
            if not rows.move_deployment(tx, row):
                raise Refused(
                    AdminCode.CONFLICT, f"route {route!r} in {environment} was moved meanwhile", hint="plan again"
                )
            yield AuditEvent(
                AuditAction.DEPLOYMENT_MOVED,
                f"deployment/{environment}/{route}",
                before=release_id(was.stable) if was else "",
                after=release.id,
            )


def refusal(error: InvalidManifest) -> Refused:
    """The admin API's answer to documents that cannot be accepted."""
    count = len(error.findings) + error.left_out
    more = f"; {error.left_out} more are not shown" if error.left_out else ""
    return Refused(
        AdminCode.INVALID_MANIFEST,
        f"{count} {'mistake' if count == 1 else 'mistakes'} in the manifests{more}",
        hint="nothing was changed",
        findings=error.findings,
    )


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


def _with_cause(event: AuditEvent, note: str, change_id: str) -> AuditEvent:
    return AuditEvent(event.action, event.object, event.before, event.after, note, change_id)


def _note(note: str, reading: Reading, plan: Plan) -> str:
    if note:
        return note[:NOTE_CHARS_MAX]
    names = dict.fromkeys(PurePath(document.file).name for document in reading.documents if document.file)
    return f"{', '.join(names) or 'documents'} {plan.digest[:16]}"[:NOTE_CHARS_MAX]
