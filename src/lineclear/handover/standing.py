"""What stands at the gateways now, read from disk: the snapshot with the override journal over it.

In: the data directory. Out: decoded sections, which releases could be gone back to. Needs neither control nor database,
so that an emergency can be judged without them. Must not write.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from lineclear.base.seal import Keys
from lineclear.domain.overlay import Ground, overlay
from lineclear.domain.readiness import Fitness, Ready, automatic, readiness
from lineclear.domain.snapshot import (
    ACCESS_SHARDS,
    AccessShard,
    AppsSection,
    CatalogueSection,
    EnvironmentsSection,
    KeyEntry,
    ProvidersSection,
    RouteSection,
    RuntimesSection,
    Section,
    StopsSection,
    access_section_name,
    access_shard,
    route_section_name,
)
from lineclear.handover.overrides import JournalReader, journal_path
from lineclear.handover.snapshot_dir import SEALED_PREFIX, LoadedSnapshot, SnapshotReader, SnapshotRefused

RUNTIME_READY: Final = "ready"

SectionT = TypeVar("SectionT", bound=Section)


@dataclass(frozen=True)
class Standing:
    """The sections in force, as far as overrides need them."""

    revision: int
    folded: int
    """The last entry of the journal that is part of the revision."""
    ground: Ground
    apps: AppsSection
    environments: EnvironmentsSection
    providers: ProvidersSection
    runtimes: RuntimesSection
    problem: str
    """Why not everything in the journal is in force; empty if it is."""

    def route(self, environment: str, name: str) -> RouteSection | None:
        return self.ground.routes.get(route_section_name(environment, name))

    def key(self, key_id: str) -> KeyEntry | None:
        return self.ground.access[access_section_name(access_shard(key_id))].keys.get(key_id)

    def drill_every_s(self, environment: str) -> int | None:
        """How often rollbacks there are drilled; None = never by themselves."""
        entry = self.environments.environments.get(environment)
        return None if entry is None else entry.drill_every_s

    def readiness(self, section: RouteSection, parts: Mapping[str, str] | None) -> tuple[Ready, ...]:
        """The releases that a rollback of a route could take; `parts` as `runtime_states` says."""

        def gap(model: str) -> str:
            if parts is None:
                # Nothing runs: what the snapshot wants is what the next start brings up.
                wanted = any(spec.model == model for spec in self.runtimes.runtimes)
                return "" if wanted else f"{model} is not among the runtimes that would be started"
            if parts.get(model) == RUNTIME_READY:
                return ""
            return f"no runtime of {model} is up: a release that serves has to name it for it to run"

        fitness = Fitness(self.ground.catalogue.versions, self.ground.stops.stops, gap)
        environment = self.environments.environments[section.environment]
        return readiness(section, environment.environment_class, fitness)


@dataclass(frozen=True)
class DrillFacts:
    """What control knows of the drills of one deployment."""

    last_at: str | None
    """When it was drilled last; None = never."""
    last_release: str
    """What that drill prepared; empty if no earlier release was ready, or there was no drill."""
    last_passed: bool | None
    last_words: str
    """How many gateways said in which time that they could serve it, and why it failed if it did."""
    passed_at: str | None
    """When a drill passed last."""
    due_at: str | None
    """When the next one is due by itself; None if none is."""


@dataclass(frozen=True)
class DeploymentReadiness:
    """Whether a route could go back at once, and to what."""

    environment: str
    route: str
    stable: str
    rolled_back_from: str
    """The release that was asked for and rolled back; empty if the one asked for serves."""
    rollback_ready: bool
    rollback_to: str | None
    """What `lineclear rollback` would take; None if nothing is ready or it went back already."""
    reason: str
    """Why it is not ready; empty if it is."""
    previous: tuple[Ready, ...]
    drill: DrillFacts | None = None
    """None where only the data directory is asked, which does not know."""


class Standings:
    """Reads what stands; remembers the last good snapshot."""

    def __init__(self, data_dir: Path, keys: Keys) -> None:
        # The secrets of providers have no part in an emergency.
        self._reader = SnapshotReader(
            data_dir / "snapshot", keys, wanted=lambda name: not name.startswith(SEALED_PREFIX)
        )
        self._journal = JournalReader(journal_path(data_dir))
        self._loaded: LoadedSnapshot | None = None
        self._standing: Standing | None = None

    @property
    def sequence(self) -> int:
        """The last entry of the journal seen."""
        return self._journal.sequence

    def read(self) -> Standing:
        """What stands now.

        Raises:
            SnapshotRefused: there is no snapshot that may be used, and none was read before.
        """
        if self._standing is not None and not self._reader.changed() and not self._journal.changed():
            return self._standing
        if self._reader.changed():
            try:
                self._loaded = self._reader.load()
            except SnapshotRefused:
                if self._loaded is None:
                    raise
        if self._loaded is None:
            self._loaded = self._reader.load()
        manifest, sections = self._loaded.manifest, self._loaded.sections
        entries = self._journal.read(manifest.overrides_folded)
        ground, complaints = overlay(_ground(sections), entries)
        self._standing = Standing(
            manifest.revision,
            manifest.overrides_folded,
            ground,
            _decode(sections, "apps", AppsSection),
            _decode(sections, "environments", EnvironmentsSection),
            _decode(sections, "providers", ProvidersSection),
            _decode(sections, "runtimes", RuntimesSection),
            "; ".join(filter(None, (self._journal.problem, *complaints))),
        )
        self._journal.forget(manifest.overrides_folded)
        return self._standing


def deployment_readiness(standing: Standing, parts: Mapping[str, str] | None) -> tuple[DeploymentReadiness, ...]:
    """Every deployment, by route and environment."""
    rows = sorted(standing.ground.routes.values(), key=lambda row: (row.route, row.environment))
    return tuple(_deployment(standing, row, parts) for row in rows)


def _deployment(standing: Standing, row: RouteSection, parts: Mapping[str, str] | None) -> DeploymentReadiness:
    previous = standing.readiness(row, parts)
    chosen = automatic(row, previous)
    reason = ""
    if chosen is None:
        gaps = "; ".join(f"{item.release}: {item.reason}" for item in previous if item.reason)
        reason = gaps or "there is no earlier release"
    return DeploymentReadiness(
        environment=row.environment,
        route=row.route,
        stable=row.stable.id,
        rolled_back_from=row.rolled_back_from,
        rollback_ready=chosen is not None,
        rollback_to=None if chosen is None or row.rolled_back_from else chosen.release,
        reason=reason,
        previous=previous,
    )


def runtime_states(run_dir: Path) -> dict[str, str] | None:
    """The best state of each hosted version's processes by `name@version`; None while no supervisor tells."""
    try:
        state: Any = json.loads((run_dir / "state.json").read_bytes())  # Any: the supervisor's file, judged below
    except (OSError, ValueError):
        return None
    found: dict[str, str] = {}
    parts = state.get("parts") if isinstance(state, dict) else None
    for part in parts or ():
        if isinstance(part, dict) and part.get("role") == "runtime" and found.get(str(part.get("model"))) != "ready":
            found[str(part.get("model"))] = str(part.get("state"))
    return found


def _ground(sections: Mapping[str, bytes]) -> Ground:
    return Ground(
        catalogue=_decode(sections, "catalogue", CatalogueSection),
        routes={name: _decode(sections, name, RouteSection) for name in sections if name.startswith("routes/")},
        access={name: _decode(sections, name, AccessShard) for name in map(access_section_name, range(ACCESS_SHARDS))},
        # Revisions of before stops were built have no such section.
        stops=_decode(sections, "stops", StopsSection) if "stops" in sections else StopsSection({}),
    )


def _decode(sections: Mapping[str, bytes], name: str, section_type: type[SectionT]) -> SectionT:
    try:
        return msgspec.json.decode(sections[name], type=section_type)
    except (KeyError, msgspec.DecodeError) as error:
        raise SnapshotRefused(f"section {name!r} of the snapshot cannot be used: {error}") from error
