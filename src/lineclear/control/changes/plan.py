"""What a set of documents would change, said before it is done and digested so that the doing can be held to it.

In: the state now, what was read, credential values at hand. Out: a Plan, or all findings. Pure.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from lineclear.base.canonical import JSONValue, digest_hex
from lineclear.base.secret import Secret
from lineclear.config.manifest import Document, InvalidManifest, Reading, in_order
from lineclear.config.manifest_fields import near_words
from lineclear.config.manifest_names import credentials_of
from lineclear.config.manifest_rules import BUILT_IN_ENVIRONMENTS
from lineclear.control.changes.check import (
    check_channels,
    check_credentials,
    check_data_classes,
    check_evals,
    check_keys,
    check_schemas,
    missing_entry_points,
)
from lineclear.control.changes.drift import Drift, deployment_drift, deployment_object, held_drift, went_back
from lineclear.control.changes.protection import Frozen, Move, check_statuses, needs_of
from lineclear.control.changes.radius import RouteRadius
from lineclear.control.changes.served import rests_on
from lineclear.control.compile import price_of_version
from lineclear.control.desired import Desired, kept_parts, noun_digest, without_other_parts
from lineclear.control.noun_fields import FieldChange, field_changes
from lineclear.control.pins import check_pins
from lineclear.control.prices.book import PriceBook
from lineclear.control.references import check_references
from lineclear.control.releases import Release, build_releases, named_versions, release_id
from lineclear.control.scopes import scope_of_noun
from lineclear.control.statuses import check_status_moves
from lineclear.domain.access import Scope
from lineclear.domain.catalogue import EnvironmentClass, ModelStatus
from lineclear.domain.change_request import Need
from lineclear.domain.findings import Finding
from lineclear.domain.manifest import Kind, ManagedBy, Manifest, Route, kind_of
from lineclear.store.control_rows import DeploymentRow

Key = tuple[Kind, str]

ELSEWHERE = frozenset({ManagedBy.CONSOLE, ManagedBy.CLI})
"""Nouns kept there are not changed by a file unless it takes them over."""


class Action(StrEnum):
    """What happens to a noun."""

    CREATE = "create"
    UPDATE = "update"
    UNCHANGED = "unchanged"
    DELETE = "delete"


@dataclass(frozen=True)
class NounChange:
    """What happens to one noun."""

    action: Action
    kind: str
    name: str
    fields: tuple[FieldChange, ...] = ()
    kept: tuple[str, ...] = ()
    """Parts that the file leaves out and that stay."""


@dataclass(frozen=True)
class ReleaseChange:
    """A deployment that moves to another release, or goes with its route."""

    environment: str
    route: str
    before: str | None
    """Release id; None for a first deployment. The same as `after` where files follow a rollback."""
    after: str | None
    """Release id; None if the deployment goes."""
    rollout: str = ""
    """The Rollout by whose steps it reaches callers; empty = all of them at once."""


@dataclass(frozen=True)
class Plan:
    """Everything that applying would do."""

    digest: str
    """SHA-256 over the rest and over the state that it starts from."""
    base_revision: int
    has_changes: bool
    objects: tuple[NounChange, ...]
    releases: tuple[ReleaseChange, ...]
    credentials: tuple[str, ...]
    """Variables whose value is new; the values are nowhere in here."""
    warnings: tuple[str, ...]
    drift: tuple[Drift, ...] = ()
    """What stands otherwise than the files say and stays so: it was changed elsewhere."""
    content: str = ""
    """SHA-256 over what it does and over everything that this rests on, whatever else moved. Approvals sign it."""
    needs: tuple[Need, ...] = ()
    """Approvals by somebody else that it needs; empty = it is carried out at once."""
    frozen: tuple[Frozen, ...] = ()
    """Freeze windows that are open now and in its way."""
    radius: tuple[RouteRadius, ...] = ()
    """Who feels it, as the ledger knows them."""


@dataclass(frozen=True)
class ChangeTerms:
    """How a change is meant."""

    managed_by: ManagedBy = ManagedBy.FILE
    """Where what it writes is kept."""
    take_ownership: bool = False
    """Files win over what was changed elsewhere."""
    prune: Scope | None = None
    """What files keep there and these leave out goes; None = nothing does."""


FILE_TERMS = ChangeTerms()
"""A plain `apply` of files."""


@dataclass(frozen=True)
class Before:
    """The state that a plan starts from."""

    desired: Desired
    managers: Mapping[Key, ManagedBy]
    filed: Mapping[Key, Manifest]
    """What a file said last about a noun."""
    deployments: Mapping[tuple[str, str], DeploymentRow]
    releases: Mapping[str, str]
    """Release manifests by digest."""
    keys: Mapping[tuple[str, str], int]
    """Keys that are not revoked, counted by (app, environment)."""
    variables: Mapping[str, Secret]
    """Values remembered from earlier changes."""
    revision: int
    tried: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Digests of the candidates of rollouts under way, by (environment, route)."""

    def digest(self) -> JSONValue:
        """What a plan rests on: nouns with who keeps them, and deployments. Keys and rotated values move neither."""
        nouns: list[JSONValue] = [
            [kind.value, name, noun_digest(noun), self.managers[kind, name].value]
            for (kind, name), noun in sorted(self.desired.nouns.items())
        ]
        moves: list[JSONValue] = [[*key, row.generation] for key, row in sorted(self.deployments.items())]
        return [*nouns, *moves]


@dataclass(frozen=True)
class Prepared:
    """A plan with what is needed to carry it out."""

    plan: Plan
    wanted: Desired
    changed: tuple[Manifest, ...]
    """Nouns to write."""
    deleted: tuple[Manifest, ...]
    releases: Mapping[tuple[str, str], Release]
    """Releases to deploy, by (environment, route); only those that move."""
    removed: tuple[tuple[str, str], ...]
    """Deployments that go."""
    named: frozenset[str]
    """Credentials that providers of this change name; a change does not touch others."""
    variables: Mapping[str, Secret] = field(repr=False)
    """Values to remember."""
    move: Move
    """What protection is judged by."""


@dataclass(frozen=True)
class _Taken:
    """What is taken from the documents."""

    documents: tuple[Document, ...]
    """To be applied."""
    held: tuple[Document, ...]
    """Left aside: their nouns are kept elsewhere and say something else."""
    wanted: Desired
    pruned: tuple[Manifest, ...]
    stays: tuple[str, ...]
    """In words, what pruning leaves and why."""


def prepare(
    before: Before,
    reading: Reading,
    variables: Mapping[str, Secret],
    prices: PriceBook,
    terms: ChangeTerms,
) -> Prepared:
    """Work out the plan.

    Args:
        before: the state now.
        reading: what the files hold, mistakes included.
        variables: credential values at hand, newer than those remembered.
        prices: tells which vendor models have a known price.
        terms: how the change is meant.

    Raises:
        InvalidManifest: with every mistake of the files, every dangling name, forbidden change and credential without
            a value that can be sent; without these, with every version that a new release may not name.
    """
    taken = _take(before, reading, terms)
    values = {**before.variables, **variables}
    findings = [*reading.findings, *_findings(before, taken, values)]
    if findings:
        raise InvalidManifest(in_order(findings, reading.files))
    moving, gone_back = _moving(before, taken.wanted, terms)
    removed = tuple(key for key in sorted(before.deployments) if not _is_deployed(taken.wanted, key))
    manifests = {key: release.manifest for key, release in moving.items()}
    move = Move(before.desired, taken.wanted, before.deployments, before.releases, manifests, removed)
    findings = [
        *check_statuses(move, taken.documents),
        *check_pins(before.desired, taken.wanted, _new_releases(before, moving), taken.documents),
    ]
    if findings:
        raise InvalidManifest(in_order(findings, reading.files))
    changes = [_noun_change(before, taken.wanted, document.manifest, terms) for document in taken.documents]
    changes += [NounChange(Action.DELETE, kind_of(noun).value, noun.name, field_changes(noun, None))
                for noun in taken.pruned]  # fmt: skip
    changed = tuple(
        noun
        for change, noun in ((change, taken.wanted.get(Kind(change.kind), change.name)) for change in changes)
        if noun is not None and change.action is not Action.UNCHANGED
    )
    named = _named(taken.wanted, taken.documents)
    rotated = {name: values[name] for name in named & values.keys() if values[name] != before.variables.get(name)}
    plan = _plan(
        before,
        tuple(changes),
        (*_moves(before, taken.wanted, moving), *(_removal(before, key) for key in removed)),
        tuple(sorted(rotated)),
        (
            *taken.stays,
            *_warnings(taken.wanted, taken.documents, prices),
            *_handed_over(before, changes, terms),
            *_without_secret(taken.wanted, values),
        ),
        (
            *(held_drift(before.desired, item, before.managers[item.kind, item.name]) for item in taken.held),
            *_of_this_change(before, taken.wanted, gone_back, terms),
        ),
    )
    if plan.has_changes:
        plan = replace(plan, content=_content(before, plan), needs=needs_of(move))
    return Prepared(plan, taken.wanted, changed, taken.pruned, moving, removed, named, rotated, move)


def _take(before: Before, reading: Reading, terms: ChangeTerms) -> _Taken:
    documents = [document for document in reading.documents if not document.is_muted(("name",))]
    held = [document for document in documents if _is_held(before, document, terms)]
    documents = [document for document in documents if document not in held]
    wanted = before.desired.merged(document.manifest for document in documents)
    if terms.prune is None:
        return _Taken(tuple(documents), tuple(held), wanted, (), ())
    return _prune(before, documents, held, wanted, terms.prune)


def _is_held(before: Before, document: Document, terms: ChangeTerms) -> bool:
    key = (document.kind, document.name)
    if terms.managed_by is not ManagedBy.FILE or terms.take_ownership or before.managers.get(key) not in ELSEWHERE:
        return False
    merged = before.desired.merged([document.manifest])
    return noun_digest(merged.nouns[key]) != noun_digest(before.desired.nouns[key])


def _prune(
    before: Before, documents: Sequence[Document], held: Sequence[Document], wanted: Desired, scope: Scope
) -> _Taken:
    """Leave out what files keep in a scope and these do not name, but for versions a deployment may go back to."""
    written = {(document.kind, document.name): document for document in (*documents, *held)}
    nouns = dict(wanted.nouns)
    for key, document in written.items():
        if document not in held and scope.covers(scope_of_noun(document.manifest)):
            nouns[key] = document.manifest
    gone = [
        key
        for key in before.desired.nouns
        if key not in written
        and before.managers[key] is ManagedBy.FILE
        and not (key[0] is Kind.ENVIRONMENT and key[1] in BUILT_IN_ENVIRONMENTS)
        and scope.covers(scope_of_noun(before.desired.nouns[key]))
    ]
    for key in gone:
        del nouns[key]
    pinned = _pinned(before, Desired(nouns))
    stays = []
    for (kind, name), noun in before.desired.nouns.items():
        kept = without_other_parts(noun, pinned)
        if kept is None:
            continue
        if (kind, name) in gone:
            gone.remove((kind, name))
            nouns[kind, name] = kept
            stays.append(f"Model/{name} stays: releases that routes may go back to name its versions")
        elif (kind, name) in written and written[kind, name] not in held:
            nouns[kind, name] = Desired({(kind, name): kept}).merged([written[kind, name].manifest]).nouns[kind, name]
    return _Taken(
        tuple(documents), tuple(held), Desired(nouns), tuple(before.desired.nouns[key] for key in gone), tuple(stays)
    )


def _pinned(before: Before, wanted: Desired) -> set[str]:
    """Model versions named by releases of deployments that stay."""
    rows = [row for key, row in before.deployments.items() if _is_deployed(wanted, key)]
    return {
        version
        for row in rows
        for digest in (row.stable, *row.previous, *_tried(before, row))
        for version in named_versions(before.releases[digest])
    }


def _tried(before: Before, row: DeploymentRow) -> tuple[str, ...]:
    digest = before.tried.get((row.environment, row.route))
    return () if digest is None else (digest,)


def _is_deployed(wanted: Desired, key: tuple[str, str]) -> bool:
    environment, name = key
    route = wanted.get(Kind.ROUTE, name)
    return isinstance(route, Route) and environment in route.environments


def _findings(before: Before, taken: _Taken, values: Mapping[str, Secret]) -> Iterator[Finding]:
    yield from check_references(before.desired, taken.wanted, taken.documents, taken.held)
    yield from check_status_moves(before.desired, taken.documents)
    yield from check_data_classes(taken.wanted, taken.documents)
    yield from check_schemas(taken.documents)
    yield from check_evals(taken.wanted, taken.documents)
    yield from check_channels(taken.documents, before.variables)
    yield from check_credentials(taken.wanted, taken.documents, values, before.variables)
    yield from check_keys(Desired({(kind_of(noun), noun.name): noun for noun in taken.pruned}), before.keys)


def _moving(before: Before, wanted: Desired, terms: ChangeTerms) -> tuple[dict[tuple[str, str], Release], list[Drift]]:
    """Releases to deploy, and deployments that went back and are left where they are."""
    moving: dict[tuple[str, str], Release] = {}
    gone_back: list[Drift] = []
    for key, release in sorted(build_releases(wanted).items()):
        row = before.deployments.get(key)
        if row is not None and row.asked == release.digest == before.tried.get(key, row.stable):
            continue
        is_under_way = key in before.tried
        if row is not None and not is_under_way and went_back(row, release) and not terms.take_ownership:
            gone_back.append(deployment_drift(key, row, release))
        else:
            moving[key] = release
    return moving, gone_back


def _of_this_change(before: Before, wanted: Desired, gone_back: Sequence[Drift], terms: ChangeTerms) -> Iterator[Drift]:
    """Deployments that went back, as far as a change has to do with them.

    Files say what all of them should be. Another change has its say where it changes what a deployment should serve.
    """
    if terms.managed_by is ManagedBy.FILE or not gone_back:
        yield from gone_back
        return
    stood, says = build_releases(before.desired), build_releases(wanted)
    moved = {key for key, release in says.items() if key not in stood or stood[key].digest != release.digest}
    objects = {deployment_object(key) for key in moved}
    yield from (drift for drift in gone_back if drift.object in objects)


def _new_releases(before: Before, moving: Mapping[tuple[str, str], Release]) -> list[tuple[str, str]]:
    """Deployments that get a release which they do not have, nor had when they were last rolled back."""
    rows = {key: before.deployments.get(key) for key in moving}
    known = {key: {row.stable, row.asked, *row.previous} for key, row in rows.items() if row is not None}
    return [key for key, release in moving.items() if release.digest not in known.get(key, ())]


def _moves(before: Before, wanted: Desired, moving: Mapping[tuple[str, str], Release]) -> Iterator[ReleaseChange]:
    for (environment, route), release in moving.items():
        row = before.deployments.get((environment, route))
        if row is None:
            yield ReleaseChange(environment, route, None, release.id)
            continue
        named = wanted.routes[route].environments[environment].rollout
        has_steps = named in wanted.rollouts and row.stable != release.digest
        yield ReleaseChange(environment, route, release_id(row.stable), release.id, named if has_steps else "")


def _removal(before: Before, key: tuple[str, str]) -> ReleaseChange:
    return ReleaseChange(*key, release_id(before.deployments[key].stable), None)


def _plan(
    before: Before,
    changes: tuple[NounChange, ...],
    releases: tuple[ReleaseChange, ...],
    credentials: tuple[str, ...],
    warnings: tuple[str, ...],
    drift: tuple[Drift, ...],
) -> Plan:
    has_changes = bool(credentials or releases or any(change.action is not Action.UNCHANGED for change in changes))
    content: JSONValue = {
        "base": digest_hex(before.digest()),
        "objects": [[item.action.value, item.kind, item.name, _fields_text(item)] for item in changes],
        "releases": [[item.environment, item.route, item.before, item.after] for item in releases],
        "credentials": list(credentials),
        "drift": [item.object for item in drift],
    }
    return Plan(digest_hex(content), before.revision, has_changes, changes, releases, credentials, warnings, drift)


def _content(before: Before, plan: Plan) -> str:
    """What is approved: every step of the plan, and the state of all that these steps name and touch."""
    keys = [(Kind(item.kind), item.name) for item in plan.objects if item.action is not Action.UNCHANGED]
    keys += [(Kind.ROUTE, item.route) for item in plan.releases]
    keys += [(Kind.ENVIRONMENT, item.environment) for item in plan.releases]
    moves = {(item.environment, item.route) for item in plan.releases}
    return digest_hex(
        {
            "objects": [
                [item.action.value, item.kind, item.name, _fields_text(item)]
                for item in plan.objects
                if item.action is not Action.UNCHANGED
            ],
            "releases": [[item.environment, item.route, item.before, item.after] for item in plan.releases],
            "credentials": list(plan.credentials),
            "rests_on": dict(rests_on(before.desired, keys)),
            "generations": [[*key, row.generation] for key, row in sorted(before.deployments.items()) if key in moves],
        }
    )


def _fields_text(change: NounChange) -> list[JSONValue]:
    return [f"{item.path}: {item.before!r} -> {item.after!r}" for item in change.fields]


def _noun_change(before: Before, wanted: Desired, written: Manifest, terms: ChangeTerms) -> NounChange:
    key = (kind_of(written), written.name)
    was, will_be = before.desired.get(*key), wanted.nouns[key]
    kept = tuple(part for part in kept_parts(was, written) if part in kept_parts(will_be, written))
    if was is None:
        return NounChange(Action.CREATE, key[0].value, key[1], field_changes(None, will_be), kept)
    fields = field_changes(was, will_be)
    manager = before.managers[key]
    if _changes_hands(before, key, terms, differs=bool(fields)):
        fields = (*fields, FieldChange("managed_by", manager.value, terms.managed_by.value))
    return NounChange(Action.UPDATE if fields else Action.UNCHANGED, key[0].value, key[1], fields, kept)


def _changes_hands(before: Before, key: Key, terms: ChangeTerms, *, differs: bool) -> bool:
    """Whether a noun that stood already is kept elsewhere from now on.

    A change takes the noun along. A file that says the same takes it only if it is asked to, or if it said something
    else before: then it has followed what was changed elsewhere.
    """
    manager = before.managers[key]
    if manager is terms.managed_by:
        return False
    if differs or terms.managed_by is not ManagedBy.FILE:
        return differs
    filed = before.filed.get(key)
    followed = filed is not None and noun_digest(filed) != noun_digest(before.desired.nouns[key])
    return manager in ELSEWHERE and (terms.take_ownership or followed)


def _handed_over(before: Before, changes: Sequence[NounChange], terms: ChangeTerms) -> Iterator[str]:
    if terms.managed_by not in ELSEWHERE:
        return
    for change in changes:
        key = (Kind(change.kind), change.name)
        if change.action is Action.UPDATE and before.managers.get(key) is ManagedBy.FILE:
            yield f"{change.kind}/{change.name} is managed by a file, which will show this change as drift"


def _without_secret(wanted: Desired, values: Mapping[str, Secret]) -> Iterator[str]:
    for provider in wanted.providers.values():
        for reference in credentials_of(provider):
            if reference not in values:
                yield f"Provider/{provider.name}: {reference} was removed, so its calls go without a credential"


def _named(wanted: Desired, documents: Sequence[Document]) -> frozenset[str]:
    written = {document.name for document in documents if document.kind is Kind.PROVIDER}
    return frozenset(reference for name in written for reference in credentials_of(wanted.providers[name]))


def _warnings(wanted: Desired, documents: Sequence[Document], prices: PriceBook) -> Iterator[str]:
    yield from missing_entry_points(documents)
    versions = wanted.versions
    for document in documents:
        if document.kind is Kind.MODEL:
            for id_, (model, version) in versions.items():
                if model.name == document.name and price_of_version(version, wanted.providers, prices) is None:
                    yield f"{id_} has no price and the price file does not know it: its calls are unpriced"
        if document.kind is Kind.ROUTE:
            yield from _route_warnings(wanted, document.name)
            yield from _task_warnings(wanted, document.name)


def _route_warnings(wanted: Desired, name: str) -> Iterator[str]:
    route = wanted.routes[name]
    for environment, deployed in route.environments.items():
        is_live = wanted.environments[environment].class_ is EnvironmentClass.LIVE
        models = dict.fromkeys(
            [*(item.model for item in deployed.targets), *(item.model for item in deployed.fallback)]
        )
        for id_ in models:
            status = wanted.versions[id_][1].status
            if status in (ModelStatus.RETIRED, ModelStatus.BLOCKED) or (status is ModelStatus.TEST and is_live):
                yield f"route {name!r} in {environment}: {id_} has status {status.value} and will not be called"


def _task_warnings(wanted: Desired, name: str) -> Iterator[str]:
    """Tasks for which none of a route's models is approved: such calls would all be refused."""
    route = wanted.routes[name]
    for environment, deployed in route.environments.items():
        named = [*(item.model for item in deployed.targets), *(item.model for item in deployed.fallback)]
        cards = [wanted.versions[id_][0] for id_ in named]
        uses = {use for card in cards for use in card.approved_uses}
        for task in route.tasks:
            if all(card.approved_uses and task not in card.approved_uses for card in cards):
                near = near_words(task, uses)
                also = f"; {near}" if near else ""
                yield f"route {name!r} in {environment}: none of its models is approved for the task {task!r}{also}"
