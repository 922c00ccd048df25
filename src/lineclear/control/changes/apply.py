"""Carries out a change: nouns, releases, deployments, audit and the change request in one transaction, then publishes.

In: manifest files or plain documents. Out: what was done and which gateways have it. Must not delete anything.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath

import msgspec
from sqlalchemy import Connection

from lineclear.base.ids import random_id
from lineclear.base.secret import Secret
from lineclear.config.manifest import Document, InvalidManifest, ManifestFile, read_manifests
from lineclear.control import audit
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.changes.plan import Before, Plan, Prepared, prepare
from lineclear.control.credentials import flaw_of
from lineclear.control.desired import Desired, encode, noun_digest
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.control.publish import Acknowledgement, Publisher, read_desired
from lineclear.control.releases import move, release_id
from lineclear.domain.manifest import Manifest, kind_of
from lineclear.store import control_rows as rows
from lineclear.store.control_rows import ChangeRow, ManifestRow, ReleaseRow

CHANGE_PREFIX = "chg_"
NOTE_CHARS_MAX = 2_000


class Owner(StrEnum):
    """Where a noun is kept."""

    BOOTSTRAP = "bootstrap"
    FILE = "file"


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
    """Who asks for a change and where its documents are kept."""

    name: str
    owner: Owner = Owner.FILE


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

    def read(self, files: Sequence[ManifestFile]) -> tuple[Document, ...]:
        """The documents of files.

        Raises:
            Refused: `invalid_manifest` with all findings.
        """
        try:
            return read_manifests(files)
        except InvalidManifest as error:
            raise refusal(error) from error

    def plan(self, documents: Sequence[Document], variables: Mapping[str, Secret]) -> Plan:
        """What applying the documents would do now.

        Raises:
            Refused: `invalid_manifest` with all findings.
        """
        with self._publisher.database.read() as tx:
            return self._prepare(tx, documents, variables).plan

    def apply(
        self,
        documents: Sequence[Document],
        variables: Mapping[str, Secret],
        author: Author,
        *,
        note: str = "",
        plan_digest: str | None = None,
    ) -> Applied:
        """Carry the documents out and wait for gateways.

        Args:
            documents: checked one by one already.
            variables: credential values that came with the request.
            author: who asks; approves the change as well, since no environment asks for another person yet.
            note: why; file names and digest if empty.
            plan_digest: the plan that was looked at; another one now is refused.

        Raises:
            Refused: `invalid_manifest`, `stale_plan`, or `conflict` if the result does not compile.
        """

        def work(tx: Connection) -> tuple[str, Plan]:
            prepared = self._prepare(tx, documents, variables)
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
            self._write(tx, prepared, author, change_id, _note(note, documents, plan))
            return change_id, plan

        try:
            (change_id, plan), revision = self._publisher.commit(f"change by {author.name}", work)
        except NothingToDo as nothing:
            revision = self._publisher.revision()
            gateways = self._publisher.wait_acknowledged(revision)
            return Applied(None, ChangeState.UNCHANGED, revision, nothing.plan, gateways)
        return Applied(change_id, ChangeState.APPLIED, revision, plan, self._publisher.wait_acknowledged(revision))

    def _prepare(self, tx: Connection, documents: Sequence[Document], variables: Mapping[str, Secret]) -> Prepared:
        last = rows.last_revision(tx)
        before = Before(
            read_desired(tx),
            rows.read_deployments(tx),
            self._publisher.vault.variables(tx),
            last.revision if last else 0,
        )
        # As at the start of control: a value of the server's own that cannot be sent does not displace a good one.
        own = {
            name: value
            for name, value in ((name, Secret(text)) for name, text in self._environment.items())
            if name not in before.variables or not flaw_of(value)
        }
        try:
            return prepare(before, documents, {**own, **variables}, self._publisher.prices)
        except InvalidManifest as error:
            raise refusal(error) from error

    def _write(self, tx: Connection, prepared: Prepared, author: Author, change_id: str, note: str) -> None:
        now_us = self._publisher.clock.unix_us()
        before = read_desired(tx)
        for noun in prepared.changed:
            row = ManifestRow(
                kind_of(noun).value, noun.name, encode(noun), noun_digest(noun), author.owner.value, change_id, now_us
            )
            rows.put_manifest(tx, row)
        for name, value in prepared.variables.items():
            self._publisher.vault.put_variable(tx, name, value)
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
            *(AuditEvent(AuditAction.CREDENTIAL_SET, f"variable/{name}") for name in sorted(prepared.variables)),
            *moved,
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


def _noun_event(before: Desired, noun: Manifest) -> AuditEvent:
    kind = kind_of(noun)
    was = before.get(kind, noun.name)
    action = AuditAction.MANIFEST_CREATED if was is None else AuditAction.MANIFEST_UPDATED
    return AuditEvent(action, f"{kind.value}/{noun.name}", encode(was) if was else "", encode(noun))


def _with_cause(event: AuditEvent, note: str, change_id: str) -> AuditEvent:
    return AuditEvent(event.action, event.object, event.before, event.after, note, change_id)


def _note(note: str, documents: Sequence[Document], plan: Plan) -> str:
    if note:
        return note[:NOTE_CHARS_MAX]
    names = dict.fromkeys(PurePath(document.file).name for document in documents if document.file)
    return f"{', '.join(names) or 'documents'} {plan.digest[:16]}"[:NOTE_CHARS_MAX]
