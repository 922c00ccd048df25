"""What a set of documents would change, said before it is done and digested so that the doing can be held to it.

In: the state now, checked documents, credential values at hand. Out: a Plan, or all findings. Pure.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from lineclear.base.canonical import JSONValue, digest_hex
from lineclear.base.secret import Secret
from lineclear.config.manifest import Document, InvalidManifest
from lineclear.control.compile import credential_variables, price_of_version
from lineclear.control.credentials import flaw_of, named_variables
from lineclear.control.desired import Desired, kept_parts, noun_digest, plain
from lineclear.control.prices.book import PriceBook
from lineclear.control.references import check_references
from lineclear.control.releases import Release, build_releases, release_id
from lineclear.domain.catalogue import EnvironmentClass, ModelStatus
from lineclear.domain.findings import Finding
from lineclear.domain.manifest import Kind, Manifest, kind_of
from lineclear.store.control_rows import DeploymentRow


class Action(StrEnum):
    """What happens to a noun."""

    CREATE = "create"
    UPDATE = "update"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class FieldChange:
    """One field; None stands for "not there"."""

    path: str
    before: Any  # Any: a JSON value
    after: Any  # Any: a JSON value


@dataclass(frozen=True)
class NounChange:
    """What happens to one noun."""

    action: Action
    kind: str
    name: str
    fields: tuple[FieldChange, ...] = ()
    kept: tuple[str, ...] = ()
    """Parts that the file leaves out and that stay: applying never deletes."""


@dataclass(frozen=True)
class ReleaseChange:
    """A deployment that moves to another release."""

    environment: str
    route: str
    before: str | None
    """Release id; None for a first deployment."""
    after: str


@dataclass(frozen=True)
class Plan:
    """Everything that applying would do."""

    digest: str
    """SHA-256 over the rest and the base revision."""
    base_revision: int
    has_changes: bool
    objects: tuple[NounChange, ...]
    releases: tuple[ReleaseChange, ...]
    credentials: tuple[str, ...]
    """Variables whose value is new; the values are nowhere in here."""
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Before:
    """The state that a plan starts from."""

    desired: Desired
    deployments: Mapping[tuple[str, str], DeploymentRow]
    variables: Mapping[str, Secret]
    """Values remembered from earlier changes."""
    revision: int


@dataclass(frozen=True)
class Prepared:
    """A plan with what is needed to carry it out."""

    plan: Plan
    wanted: Desired
    changed: tuple[Manifest, ...]
    """Nouns to write."""
    releases: Mapping[tuple[str, str], Release]
    """Releases to deploy, by (environment, route); only those that move."""
    variables: Mapping[str, Secret] = field(repr=False)
    """Values to remember."""


def prepare(
    before: Before, documents: Sequence[Document], variables: Mapping[str, Secret], prices: PriceBook
) -> Prepared:
    """Work out the plan.

    Args:
        before: the state now.
        documents: checked one by one already.
        variables: credential values at hand, newer than those remembered.
        prices: tells which vendor models have a known price.

    Raises:
        InvalidManifest: with every dangling name, forbidden change and credential without a value that can be sent.
    """
    wanted = before.desired.merged(document.manifest for document in documents)
    values = {**before.variables, **variables}
    findings = [*_broken(before.desired, wanted, documents), *_credentials(before, wanted, documents, values)]
    if findings:
        raise InvalidManifest(findings)
    changes = tuple(_noun_change(before.desired, wanted, document.manifest) for document in documents)
    changed = tuple(
        noun
        for change, noun in ((change, wanted.get(Kind(change.kind), change.name)) for change in changes)
        if noun is not None and change.action is not Action.UNCHANGED
    )
    moving = {
        key: release
        for key, release in build_releases(wanted).items()
        if key not in before.deployments or before.deployments[key].stable != release.digest
    }
    rotated = {name: values[name] for name in _named_variables(wanted) if values[name] != before.variables.get(name)}
    plan = _plan(before, changes, moving, tuple(sorted(rotated)), tuple(_warnings(wanted, documents, prices)))
    return Prepared(plan, wanted, changed, moving, rotated)


def _plan(
    before: Before,
    changes: tuple[NounChange, ...],
    moving: Mapping[tuple[str, str], Release],
    credentials: tuple[str, ...],
    warnings: tuple[str, ...],
) -> Plan:
    releases = tuple(
        ReleaseChange(
            environment,
            route,
            release_id(before.deployments[environment, route].stable)
            if (environment, route) in before.deployments
            else None,
            release.id,
        )
        for (environment, route), release in sorted(moving.items())
    )
    has_changes = bool(credentials or releases or any(change.action is not Action.UNCHANGED for change in changes))
    content: JSONValue = {
        "base_revision": before.revision,
        "objects": [[item.action.value, item.kind, item.name, _fields_text(item)] for item in changes],
        "releases": [[item.environment, item.route, item.before, item.after] for item in releases],
        "credentials": list(credentials),
    }
    return Plan(digest_hex(content), before.revision, has_changes, changes, releases, credentials, warnings)


def _fields_text(change: NounChange) -> list[JSONValue]:
    return [f"{item.path}: {item.before!r} -> {item.after!r}" for item in change.fields]


def _noun_change(before: Desired, wanted: Desired, written: Manifest) -> NounChange:
    kind = kind_of(written)
    was, will_be = before.get(kind, written.name), wanted.get(kind, written.name)
    if will_be is None:
        raise ValueError(f"{kind.value}/{written.name} got lost while merging")
    kept = tuple(kept_parts(was, written))
    if was is None:
        return NounChange(Action.CREATE, kind.value, written.name, tuple(_fields(None, will_be)), kept)
    if noun_digest(was) == noun_digest(will_be):
        return NounChange(Action.UNCHANGED, kind.value, written.name, (), kept)
    return NounChange(Action.UPDATE, kind.value, written.name, tuple(_fields(was, will_be)), kept)


def _fields(before: Manifest | None, after: Manifest) -> Iterator[FieldChange]:
    old = dict(_flat("", plain(before))) if before is not None else {}
    new = dict(_flat("", plain(after)))
    for path in [*new, *(path for path in old if path not in new)]:
        if path not in ("kind", "name") and old.get(path) != new.get(path):
            yield FieldChange(path, old.get(path), new.get(path))


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Leaves by dotted path; list items that have a name of their own are told apart by it, not by their place."""
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _flat(f"{path}.{name}" if path else name, item)
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        for at, item in enumerate(value):
            label = item.get("version") or item.get("model") or at
            yield from _flat(f"{path}[{label}]", item)
    elif value not in ("", None, [], {}):
        yield path, value


def _broken(before: Desired, wanted: Desired, documents: Sequence[Document]) -> Iterator[Finding]:
    written = {(document.kind, document.name): document for document in documents}
    for broken in check_references(before, wanted):
        document = written.get((broken.kind, broken.name))
        if document is not None:
            yield document.finding(broken.path, broken.code, broken.message)
        else:
            path = ".".join([f"{broken.kind.value}/{broken.name}", *map(str, broken.path)])
            yield Finding(broken.code, f"{broken.message} (in {path}, which is not in these files)", path=path)


def _credentials(
    before: Before, wanted: Desired, documents: Sequence[Document], values: Mapping[str, Secret]
) -> Iterator[Finding]:
    """Credentials without a value, and new values that no header can carry. Words about a value never repeat it."""
    written = {document.name: document for document in documents if document.kind is Kind.PROVIDER}
    for provider in wanted.providers.values():
        for variable, path in named_variables(provider, wanted.environments):
            found = _credential(variable, values.get(variable), before.variables.get(variable))
            if found is None:
                continue
            document = written.get(provider.name)
            if document is not None:
                yield document.finding(path, *found)
            else:
                yield Finding(*found, path=".".join([f"Provider/{provider.name}", *map(str, path)]))


def _credential(variable: str, value: Secret | None, remembered: Secret | None) -> tuple[str, str] | None:
    """Code and message of what is wrong with a variable's value; None if nothing is."""
    if value is None:
        return "unset_variable", f"the variable {variable} is set neither here nor at the server"
    flaw = "" if value == remembered else flaw_of(value)
    if not flaw:
        return None
    return (
        "invalid_credential",
        f"the variable {variable} cannot be sent as a credential: its value {flaw}; set it to the key alone, "
        "visible ASCII characters without spaces, quotes or a line end",
    )


def _named_variables(wanted: Desired) -> set[str]:
    return {
        variable
        for provider in wanted.providers.values()
        for variable in credential_variables(provider, wanted.environments).values()
    }


def _warnings(wanted: Desired, documents: Sequence[Document], prices: PriceBook) -> Iterator[str]:
    versions = wanted.versions
    for document in documents:
        if document.kind is Kind.MODEL:
            for id_, (model, version) in versions.items():
                if model.name == document.name and price_of_version(version, wanted.providers, prices) is None:
                    yield f"{id_} has no price and the price file does not know it: its calls are unpriced"
        if document.kind is Kind.ROUTE:
            yield from _route_warnings(wanted, document.name)


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
