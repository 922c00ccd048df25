"""Plans changes and carries them out in one transaction, or opens a change request where somebody else has to approve.

In: manifest files or plain documents. Out: what was done, or what it waits for, and which gateways have it. Deletes
only what a plan with `prune` names.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath

from sqlalchemy import Connection

from lineclear.base.ids import random_id
from lineclear.base.secret import Secret
from lineclear.config.manifest import InvalidManifest, ManifestFile, Reading, parse_manifests
from lineclear.config.manifest_names import secret_name
from lineclear.control.changes import opening
from lineclear.control.changes.carry_out import Cause, applied_row, carry_out
from lineclear.control.changes.check import new_channel_secrets
from lineclear.control.changes.content import Content
from lineclear.control.changes.drift import Drift, deployment_drift, stored_drift, went_back
from lineclear.control.changes.first_gates import first_gates, refuse_ungated
from lineclear.control.changes.plan import FILE_TERMS, Before, ChangeTerms, Plan, Prepared, prepare
from lineclear.control.changes.protection import frozen_by
from lineclear.control.changes.radius import Recorded
from lineclear.control.changes.reach import scopes_of, scopes_of_named, shown_drift
from lineclear.control.changes.recorded import callers_of, radius
from lineclear.control.credentials import flaw_of
from lineclear.control.desired import Desired, decode
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.control.publish import Acknowledgement, Publisher
from lineclear.control.releases import build_releases
from lineclear.control.statuses import status_moves
from lineclear.domain.access import PLATFORM, Principal, Scope
from lineclear.domain.catalogue import EnvironmentClass, ModelStatus
from lineclear.domain.change_request import ChangeState
from lineclear.domain.manifest import Kind, ManagedBy
from lineclear.domain.permissions import Permission
from lineclear.store import control_rows as rows
from lineclear.store import rollout_rows

CHANGE_PREFIX = "chg_"
NOTE_CHARS_MAX = 2_000


@dataclass(frozen=True)
class Applied:
    """What a change did, or that it waits."""

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
    co_authors: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    """Who owns the key, token or service account that it comes with; like co-authors, they may not approve it."""
    require: Callable[[Permission, Scope], None] | None = field(default=None, repr=False, compare=False)
    """Refuses what the author may not do where; None for the platform itself."""
    principal: Principal | None = field(default=None, repr=False, compare=False)
    """Who is told what stands; None for the platform itself."""

    def demand_named(self, permission: Permission, before: Desired, reading: Reading) -> None:
        """Go on only if it is allowed on a part of every noun that is named, whether or not it would change.

        What a plan says of a noun that stays, and what is wrong with it, tells of that noun too.

        Raises:
            Refused: as `Call.require`.
        """
        if self.require is None or self.principal is None:
            return
        for scopes in scopes_of_named(before, reading.documents):
            if not any(self.principal.may(permission, scope) for scope in scopes):
                self.require(permission, scopes[0])

    def shown(self, prepared: Prepared) -> Prepared:
        """With no more drift of others in its plan than the author may see."""
        if self.principal is None:
            return prepared
        drift = tuple(shown_drift(prepared.move.before, prepared.plan.drift, self.principal))
        return replace(prepared, plan=replace(prepared.plan, drift=drift))

    def demand(self, permission: Permission, prepared: Prepared) -> None:
        """Go on only if it is allowed on everything that the change touches.

        Raises:
            Refused: as `Call.require`.
        """
        if self.require is not None:
            for scope in sorted(scopes_of(prepared)):
                self.require(permission, scope)


class NothingToDo(Exception):
    """The plan is empty: leave the transaction without a new revision."""

    def __init__(self, plan: Plan) -> None:
        super().__init__("nothing to do")
        self.plan = plan


class MustWait(Exception):
    """Somebody else has to approve: leave the transaction without a new revision."""


class Changes:
    """Plans and applies."""

    def __init__(self, publisher: Publisher, environment: Mapping[str, str], recorded: Recorded | None = None) -> None:
        """Change requests against one publisher.

        Args:
            publisher: what carries changes out.
            environment: where credential variables are also looked up.
            recorded: what the ledger knows of the past; None where there is no ledger, as in a new directory.
        """
        self.publisher = publisher
        self._environment = environment
        self._recorded = recorded

    def read(self, files: Sequence[ManifestFile]) -> Reading:
        """What files hold; their mistakes are told with those that only the state shows, by `plan` or `apply`."""
        return parse_manifests(files)

    def plan(
        self, reading: Reading, variables: Mapping[str, Secret], terms: ChangeTerms = FILE_TERMS, *,
        author: Author | None = None,
    ) -> Plan:  # fmt: skip
        """What applying would do now, and who would feel it.

        Raises:
            Refused: `invalid_manifest` with all findings.
        """
        with self.publisher.database.read() as tx:
            if author is not None:
                author.demand_named(Permission.CHANGE_PLAN, self._before(tx).desired, reading)
            prepared = self.prepare(tx, Content(reading, variables, terms))
        if author is not None:
            author.demand(Permission.CHANGE_PLAN, prepared)
            prepared = author.shown(prepared)
        return self.with_radius(prepared)

    def drift(self) -> tuple[Drift, ...]:
        """What stands otherwise than files said last: nouns changed elsewhere, deployments that went back."""
        with self.publisher.database.read() as tx:
            before = self._before(tx)
        built = build_releases(before.desired)
        gone_back = (
            deployment_drift(key, row, built[key])
            for key, row in sorted(before.deployments.items())
            if key in built and key not in before.tried and went_back(row, built[key])
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
        is_forced: bool = False,
    ) -> Applied:
        """Carry out what was read and wait for gateways; where somebody else has to approve it, open a request.

        Args:
            reading: what the files hold, mistakes included.
            variables: credential values that came with the request.
            author: who asks; approves the change as well where no environment asks for another person.
            note: why; needed where somebody has to approve it, else file names and digest if empty.
            plan_digest: the plan that was looked at; another one now is refused.
            is_forced: delete also what apps called lately.

        Raises:
            Refused: `invalid_manifest`, `stale_plan`, `frozen`, or `conflict` if the result does not compile or what
                would be deleted is still called.
        """
        content = Content(reading, variables, author.terms, is_forced)
        change_id = random_id(CHANGE_PREFIX)

        def checked(tx: Connection) -> Prepared:
            author.demand_named(Permission.CHANGE_APPLY, self._before(tx).desired, reading)
            prepared = author.shown(self.prepare(tx, content))
            plan = prepared.plan
            if plan_digest is not None and plan_digest != plan.digest:
                raise Refused(
                    AdminCode.STALE_PLAN,
                    f"the plan {plan_digest[:16]} no longer holds: applying would now do {plan.digest[:16]}",
                    hint="look at the plan again, then apply that one",
                )
            if not plan.has_changes:
                raise NothingToDo(plan)
            author.demand(Permission.CHANGE_APPLY, prepared)
            if author.require is not None:
                demand_statuses(author.require, prepared, is_forced=is_forced)
                demand_secrets(author.require, prepared)
            if not is_forced:
                self.refuse_called(prepared)
            return prepared

        def work(tx: Connection) -> Plan:
            prepared = checked(tx)
            if prepared.plan.needs:
                raise MustWait
            refuse_frozen(prepared.plan)
            refuse_ungated(tx, prepared)
            cause = _cause(change_id, author, _note(note, reading, prepared.plan))
            self.carry_out(tx, prepared, cause)
            rows.add_change(tx, applied_row(prepared, cause, self.publisher.clock.unix_us()))
            return prepared.plan

        try:
            plan, revision = self.publisher.commit(f"change by {author.name}", work)
        except NothingToDo as nothing:
            revision = self.publisher.revision()
            gateways = self.publisher.wait_acknowledged(revision)
            return Applied(None, ChangeState.UNCHANGED, revision, nothing.plan, gateways)
        except MustWait:
            return self._open(change_id, content, author, note, checked)
        return Applied(change_id, ChangeState.APPLIED, revision, plan, self.publisher.wait_acknowledged(revision))

    def prepare(self, tx: Connection, content: Content) -> Prepared:
        """Work out what a content would do to the state that this transaction sees.

        Raises:
            Refused: `invalid_manifest` with all findings.
        """
        before = self._before(tx)
        said = self._said()
        changed = self.publisher.vault.changed_values(tx, said)
        # As at the start of control: a value of the server's own displaces a known one only if it is another than
        # when it was last taken, and can be sent.
        own = {
            name: value
            for name, value in said.items()
            if name not in before.variables or (name in changed and not flaw_of(value))
        }
        try:
            prepared = prepare(
                before, content.reading, {**own, **content.variables}, self.publisher.prices, content.terms
            )
        except InvalidManifest as error:
            raise refusal(error) from error
        if not prepared.plan.has_changes:
            return prepared
        frozen = frozen_by(prepared.move, self.publisher.clock.unix_us())
        warnings = (*prepared.plan.warnings, *(gate.words for gate in first_gates(tx, prepared)))
        return replace(prepared, plan=replace(prepared.plan, frozen=frozen, warnings=warnings))

    def carry_out(self, tx: Connection, prepared: Prepared, cause: Cause) -> None:
        """Write a prepared change; the request's own row is the caller's."""
        carry_out(tx, self.publisher, prepared, self._said(), cause)

    def with_radius(self, prepared: Prepared) -> Plan:
        """The plan with who feels it."""
        if self._recorded is None:
            return prepared.plan
        return replace(prepared.plan, radius=radius(prepared.move, self.publisher.prices, self._recorded))

    def _open(
        self,
        change_id: str,
        content: Content,
        author: Author,
        note: str,
        checked: Callable[[Connection], Prepared],
    ) -> Applied:
        """Keep a change that somebody else has to approve; the same one is kept once."""
        opener = opening.Opener(change_id, author.name, author.co_authors, author.owners, note.strip()[:NOTE_CHARS_MAX])
        kept: list[tuple[str, ChangeState, Plan]] = []

        def rehearsed(tx: Connection) -> Prepared:
            prepared = checked(tx)
            self.carry_out(tx, prepared, _cause(change_id, author, note))
            return prepared

        def keep(tx: Connection, prepared: Prepared) -> None:
            plan = self.with_radius(prepared)
            row = opening.open_request(tx, self.publisher, replace(prepared, plan=plan), content, opener)
            kept.append((row.id, ChangeState(row.state), plan))

        self.publisher.rehearse(rehearsed, keep)
        kept_id, state, plan = kept[0]
        revision = self.publisher.revision()
        gateways = self.publisher.acknowledgement(revision)
        return Applied(kept_id, state, revision, plan, gateways)

    def refuse_called(self, prepared: Prepared) -> None:
        """Let nothing be deleted or retired that apps called lately.

        Raises:
            Refused: `conflict`, naming the apps.
        """
        called = [] if self._recorded is None else callers_of(prepared.move, prepared.deleted, self._recorded)
        if called:
            raise Refused(
                AdminCode.CONFLICT,
                f"what would go is still called: {'; '.join(called)}",
                hint="move these apps first, or say `force` to let it go all the same",
            )

    def _said(self) -> dict[str, Secret]:
        """What the server's own environment says."""
        return {name: Secret(text) for name, text in self._environment.items() if secret_name(name) is None}

    def _before(self, tx: Connection) -> Before:
        last = rows.last_revision(tx)
        found = {(Kind(row.kind), row.name): row for row in rows.read_manifests(tx)}
        deployments = rows.read_deployments(tx)
        tried = {key: row.candidate for key, row in rollout_rows.open_rollouts(tx).items()}
        named = {digest for row in deployments.values() for digest in (row.stable, *row.previous)} | {*tried.values()}
        return Before(
            desired=Desired({key: decode(row.kind, row.document) for key, row in found.items()}),
            managers={key: ManagedBy(row.owner) for key, row in found.items()},
            filed={key: decode(row.kind, row.filed) for key, row in found.items() if row.filed},
            deployments=deployments,
            releases={digest: row.manifest for digest, row in rows.read_releases(tx).items() if digest in named},
            keys=rows.count_keys(tx),
            variables=self.publisher.vault.credentials(tx),
            revision=last.revision if last else 0,
            tried=tried,
        )


def demand_statuses(require: Callable[[Permission, Scope], None], prepared: Prepared, *, is_forced: bool) -> None:
    """Go on only if whoever `require` speaks for may move every version whose status changes.

    Where a live environment is protected, its approvers look at what serves there from now on.

    Raises:
        Refused: as `Call.require`.
    """
    environments = prepared.move.before.environments
    has_approvers = any(environments[need.environment].class_ is EnvironmentClass.LIVE for need in prepared.plan.needs)
    for move in status_moves(prepared.move.before, prepared.wanted):
        is_decided_there = has_approvers and move.after is ModelStatus.APPROVED
        if move.permission is not None and not is_decided_there:
            require(move.permission, Scope(team=move.team))
        if is_forced and move.after is ModelStatus.RETIRED:
            require(Permission.MODEL_APPROVE, Scope(team=move.team))


def demand_secrets(require: Callable[[Permission, Scope], None], prepared: Prepared) -> None:
    """Go on only if whoever `require` speaks for may handle secrets, where channels would use one of another's.

    A secret belongs to no team: without this, an author of any team could post with the key of every other.

    Raises:
        Refused: `forbidden`, naming the secret.
    """
    for team, secret in new_channel_secrets(prepared.move.before, prepared.wanted):
        try:
            require(Permission.SECRET_SET, PLATFORM)
        except Refused as error:
            needed = Permission.SECRET_SET.value
            raise Refused(
                AdminCode.FORBIDDEN,
                f"the team {team!r} does not use the secret {secret!r} yet, and to let its channels use it needs"
                f" {needed} on platform",
                hint=f"have this change made by somebody who may {needed}; secrets that the team's channels use"
                " already need no more than before",
            ) from error


def refuse_frozen(plan: Plan) -> None:
    """Let nothing through while a freeze window is open.

    Raises:
        Refused: `frozen`.
    """
    if plan.frozen:
        window = plan.frozen[0]
        why = f" ({window.reason})" if window.reason else ""
        raise Refused(
            AdminCode.FROZEN,
            f"environment {window.environment!r} is frozen until {window.until}{why}",
            hint="apply it again then; a rollback is possible all the time",
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


def _cause(change_id: str, author: Author, note: str) -> Cause:
    return Cause(
        change_id, author.name, author.name, (), note, author.terms.managed_by, author.co_authors, author.owners
    )


def _note(note: str, reading: Reading, plan: Plan) -> str:
    if note:
        return note[:NOTE_CHARS_MAX]
    names = dict.fromkeys(PurePath(document.file).name for document in reading.documents if document.file)
    return f"{', '.join(names) or 'documents'} {plan.digest[:16]}"[:NOTE_CHARS_MAX]
