"""What a change touches in environments that are protected: who has to approve it, and whether it has to wait.

In: the state before and wanted, deployments. Out: approvals needed and windows in the way. Pure. What protects is the
environment as it stood before: a change cannot lift the protection that it would need.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from lineclear.config.manifest import Document
from lineclear.control.changes.served import Key, changed_keys, served_in, team_of, used_versions
from lineclear.control.desired import Desired
from lineclear.control.releases import named_versions
from lineclear.domain.access import Scope
from lineclear.domain.catalogue import EnvironmentClass, ModelStatus
from lineclear.domain.change_request import Need
from lineclear.domain.findings import Finding
from lineclear.domain.manifest import Environment, Kind
from lineclear.store.control_rows import DeploymentRow


@dataclass(frozen=True)
class Touch:
    """One thing of an environment that a change makes different."""

    key: Key
    scope: Scope
    words: str


@dataclass(frozen=True)
class Frozen:
    """A freeze window that a change runs into."""

    environment: str
    until: str
    """As the manifest says it."""
    reason: str


@dataclass(frozen=True)
class Move:
    """Where a change leads: what protection is judged by."""

    before: Desired
    wanted: Desired
    deployments: Mapping[tuple[str, str], DeploymentRow]
    releases: Mapping[str, str]
    """Stored release manifests by digest."""
    moving: Mapping[tuple[str, str], str]
    """Manifests of the releases that are deployed by it, by (environment, route)."""
    removed: Iterable[tuple[str, str]]


def touches_in(move: Move, environment: Environment) -> list[Touch]:
    """Everything that changes for calls in one environment."""
    name = environment.name
    stable = {
        version
        for (where, _), row in move.deployments.items()
        if where == name
        for version in named_versions(move.releases[row.stable])
    }
    used = stable | used_versions(move.before, name)
    before, wanted = (served_in(state, name, used) for state in (move.before, move.wanted))
    keys = dict.fromkeys(changed_keys(before, wanted), "")
    keys |= {(Kind.ROUTE, route): "" for where, route in (*move.moving, *move.removed) if where == name}
    keys |= {(Kind.MODEL, model): words for model, words in _newly_approved(move, environment)}
    return [touch for key, words in sorted(keys.items()) for touch in _touches(move, name, key, words)]


def needs_of(move: Move) -> tuple[Need, ...]:
    """The approvals that the change needs, one for each part of a protected environment."""
    needs: list[Need] = []
    for environment in move.before.environments.values():
        if environment.approvals < 1:
            continue
        words: dict[Scope, list[str]] = {}
        wanted = move.before.approvers(environment.name)
        for touch in touches_in(move, environment):
            words.setdefault(touch.scope, []).append(touch.words)
        needs += [
            Need(environment.name, scope, environment.approvals, tuple(dict.fromkeys(found)), wanted)
            for scope, found in sorted(words.items())
        ]
    return tuple(needs)


def frozen_by(move: Move, now_us: int) -> tuple[Frozen, ...]:
    """The freeze windows that are open now and in the way. Lifting one is no change of what serves."""
    now = datetime.fromtimestamp(now_us / 1e6, UTC)
    found: list[Frozen] = []
    for environment in move.before.environments.values():
        open_now = [
            window
            for window in environment.freeze
            if datetime.fromisoformat(window.from_) <= now < datetime.fromisoformat(window.to)
        ]
        if open_now and any(touch.key[0] is not Kind.ENVIRONMENT for touch in touches_in(move, environment)):
            found += [Frozen(environment.name, window.to, window.reason) for window in open_now]
    return tuple(found)


def check_statuses(move: Move, documents: Iterable[Document]) -> Iterator[Finding]:
    """New releases in environments that do not allow the status of what they name."""
    written = {document.name: document for document in documents if document.kind is Kind.ROUTE}
    versions = move.wanted.versions
    for (where, route), text in sorted(move.moving.items()):
        environment = move.wanted.environments.get(where)
        if environment is None or not environment.allowed_statuses:
            continue
        allowed = ", ".join(status.value for status in environment.allowed_statuses)
        for id_ in sorted(named_versions(text) & versions.keys()):
            status = versions[id_][1].status
            if status in environment.allowed_statuses:
                continue
            words = f"{id_} has status {status.value}; environment {where!r} allows {allowed}"
            document = written.get(route)
            if document is not None and where in getattr(document.manifest, "environments", {}):
                yield document.finding(("environments", where), "status_not_allowed", words)
            else:
                yield Finding("status_not_allowed", words, path=f"Route/{route}.environments.{where}")


def _newly_approved(move: Move, environment: Environment) -> Iterator[tuple[str, str]]:
    """Versions that calls here may reach from now on because of their status."""
    if environment.class_ is not EnvironmentClass.LIVE and not environment.allowed_statuses:
        return
    known = move.before.versions
    for id_, (model, version) in move.wanted.versions.items():
        was = known[id_][1].status if id_ in known else None
        if version.status is ModelStatus.APPROVED and was is not ModelStatus.APPROVED:
            yield model.name, f"status of {id_}: {was.value if was else 'none'} → approved"


def _touches(move: Move, environment: str, key: Key, words: str) -> Iterator[Touch]:
    kind, name = key
    route = name if kind is Kind.ROUTE else ""
    teams = {team_of(state.nouns[key]) for state in (move.before, move.wanted) if key in state.nouns} or {""}
    for team in sorted(teams):
        yield Touch(key, Scope(team, environment, route), words or f"{kind.value}/{name}")
