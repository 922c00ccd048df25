"""Who could call a model at some instant: apps with a living key, their routes, the releases in force, who approved.

In: the audit trail's documents of that time, releases, keys, rollouts. Out: one row for each app and way to the model.
The trail is append-only and chained, so this is what stood then. Policies, limits and stops are not weighed.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from lineclear.control.audit import AuditAction
from lineclear.control.deployments.history import Stretch, deployment_object, in_force_at, stretches
from lineclear.control.releases import release_id
from lineclear.domain.manifest import Kind, model_version_id
from lineclear.store import control_rows as rows
from lineclear.store import rollout_rows
from lineclear.store.control_rows import AuditFilter, AuditRow

EVENTS_MAX: Final = 1_000_000
"""Events of one kind that are read; a trail that has more would answer of its newest alone."""
ROLLOUTS_MAX: Final = 100_000

MODEL_VERSION: Final = "model-version"
"""How the trail names a version that was blocked."""

Noun = Mapping[str, Any]
"""A noun's document as JSON. Any: its fields."""


@dataclass(frozen=True)
class ModelAccess:
    """One app and one way to the model."""

    app: str
    team: str
    keys: list[str]
    """Ids of its keys that were alive in the environment; nobody could call as the app without one."""
    route: str
    release: str
    way: str
    """target | fallback; `candidate` = of a rollout that was under way."""
    model: str
    """`name@version`"""
    status: str
    """The version's status then: a retired or blocked one was named and not called."""
    since: str
    """When the release came into force."""
    changed_by: str
    approved_by: str | None
    change: str
    audit_event: int
    """The event in the audit trail that brought it into force; 0 for a candidate."""


@dataclass(frozen=True)
class _Way:
    """How a route led to the model."""

    route: str
    release: str
    way: str
    model: str
    since_us: int
    changed_by: str
    approved_by: str
    change: str
    audit_event: int


class Then:
    """What stood at an instant."""

    def __init__(self, tx: Connection, environment: str, at_us: int) -> None:
        self._tx = tx
        self._environment = environment
        self._at_us = at_us
        self._manifests = {row.id: (row.route, json.loads(row.manifest)) for row in rows.read_releases(tx).values()}
        self._statuses = dict(self._read_statuses())

    def access(self, model: str) -> Iterator[tuple[_Way, str, str, list[str], str]]:
        """Way, app, team, keys and status, by route and app; `model` is a name, or `name@version`."""
        apps = {name: app for name, (_, app) in self._nouns(Kind.APP).items()}
        keys = self._living_keys()
        for way in sorted(self._ways(model), key=lambda one: (one.route, one.model, one.way)):
            for name, app in sorted(apps.items()):
                if "*" in app["routes"] or way.route in app["routes"]:
                    status = self._statuses.get(way.model, "")
                    yield way, name, str(app["team"]), keys.get(name, []), status

    def _nouns(self, kind: Kind) -> dict[str, tuple[int, Noun]]:
        """Every noun of a kind as the last event before the instant left it, with that event's number."""
        found: dict[str, tuple[int, Noun | None]] = {}
        for name, event in self._events(f"{kind.value}/", "manifest."):
            if name not in found:
                found[name] = (event.number, json.loads(event.after) if event.after else None)
        return {name: (number, noun) for name, (number, noun) in found.items() if noun is not None}

    def _read_statuses(self) -> Iterator[tuple[str, str]]:
        """The status of every model version: of its document, unless it was blocked after that was written."""
        blocked: dict[str, AuditRow] = {}
        for version, event in self._events(f"{MODEL_VERSION}/", AuditAction.MODEL_BLOCKED.value):
            blocked.setdefault(version, event)
        for name, (number, model) in self._nouns(Kind.MODEL).items():
            for version in model["versions"]:
                id_ = model_version_id(name, version["version"])
                block = blocked.get(id_)
                yield id_, block.after if block is not None and block.number > number else str(version["status"])

    def _events(self, prefix: str, action: str) -> Iterator[tuple[str, AuditRow]]:
        """Events up to the instant of objects that begin so, newest first, with the rest of the object's name."""
        wanted = AuditFilter(object=prefix, action=action, until_us=self._at_us)
        for event in rows.stream_audit_newest(self._tx, wanted, EVENTS_MAX):
            yield event.object.removeprefix(prefix), event

    def _living_keys(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for key in rows.read_keys(self._tx):
            is_expired = key.expires_at is not None and key.expires_at * 1_000_000 <= self._at_us
            is_revoked = key.revoked_us is not None and key.revoked_us <= self._at_us
            was_made = key.environment == self._environment and key.created_us <= self._at_us
            if was_made and not (is_expired or is_revoked):
                found.setdefault(key.app, []).append(key.id)
        return found

    def _ways(self, model: str) -> Iterator[_Way]:
        for route, stretch in self._in_force():
            if stretch.release is None:
                continue
            for way, named in self._named(stretch.release, model):
                yield _Way(
                    route,
                    stretch.release,
                    way,
                    named,
                    stretch.from_us,
                    stretch.changed_by,
                    stretch.approved_by,
                    stretch.change,
                    stretch.audit_number,
                )
        for row in rollout_rows.read_rollouts(self._tx, ROLLOUTS_MAX):
            was_open = row.created_us <= self._at_us and (not row.ended_us or row.ended_us > self._at_us)
            if row.environment == self._environment and was_open:
                candidate = release_id(row.candidate)
                approver = self._approver(row.change_id)
                for _, named in self._named(candidate, model):
                    yield _Way(
                        row.route, candidate, "candidate", named, row.created_us, row.created_by, approver,
                        row.change_id, 0,
                    )  # fmt: skip

    def _in_force(self) -> Iterator[tuple[str, Stretch]]:
        """The stable release of every route that was deployed there."""
        prefix = deployment_object(self._environment, "")
        events: dict[str, list[AuditRow]] = {}
        for route, event in self._events(prefix, "deployment."):
            events.setdefault(route, []).append(event)
        for route, mine in events.items():
            changes = {event.change_id for event in mine if event.change_id}
            held = in_force_at(stretches(reversed(mine), {id_: self._approver(id_) for id_ in changes}), self._at_us)
            if held is not None:
                yield route, held

    def _approver(self, change_id: str) -> str:
        change = rows.read_change(self._tx, change_id) if change_id else None
        # Where nobody else had to, the change holds its author as the one who approved it.
        return "" if change is None or change.approver == change.author else change.approver

    def _named(self, release: str, model: str) -> Iterator[tuple[str, str]]:
        """Where a release names the model: way and version."""
        _, manifest = self._manifests.get(release, ("", {"targets": [], "fallback": []}))
        named = [
            *(("target", str(target["model"])) for target in manifest["targets"]),
            *(("fallback", str(name)) for name in manifest["fallback"]),
        ]
        return ((way, name) for way, name in named if model in (name, name.partition("@")[0]))
