"""Overrides over a snapshot's sections, and which release a rollback takes. Pure: gateways, control and CLI agree.

In: decoded sections, entries of the journal above what the snapshot holds. Out: sections, and what could not be
applied. Narrow: a rollback moves one pointer and leaves keys, statuses and limits as they are.
"""

from collections.abc import Sequence
from typing import TypeVar, assert_never

import msgspec

from lineclear.domain.catalogue import ModelStatus
from lineclear.domain.overrides import Block, Drill, OverrideEntry, Revoke, Rollback, Start, Stop
from lineclear.domain.snapshot import (
    AccessShard,
    CatalogueSection,
    ReleaseEntry,
    RouteSection,
    StopEntry,
    StopsSection,
    access_section_name,
    access_shard,
    route_section_name,
)

T = TypeVar("T")


class Ground(msgspec.Struct, frozen=True, gc=False):
    """The sections that overrides change."""

    catalogue: CatalogueSection
    routes: dict[str, RouteSection]
    """By section name."""
    access: dict[str, AccessShard]
    """By section name."""
    stops: StopsSection


def overlay(ground: Ground, entries: Sequence[OverrideEntry], *, rehearse: bool = False) -> tuple[Ground, list[str]]:
    """The sections with the entries applied in order.

    Args:
        ground: as the snapshot has them; not changed.
        entries: only those that are not part of the snapshot.
        rehearse: a drill counts as the rollback that it prepares.

    Returns:
        New sections, and in words each entry that names what is not there.
    """
    versions = dict(ground.catalogue.versions)
    routes, access, stops = dict(ground.routes), dict(ground.access), dict(ground.stops.stops)
    complaints: list[str] = []
    for entry in entries:
        match entry.override:
            case Rollback(environment=environment, route=route, release=release):
                complaints += _roll_back(routes, environment, route, release, entry.sequence)
            case Drill(environment=environment, route=route, release=release):
                if rehearse:
                    complaints += _roll_back(routes, environment, route, release, entry.sequence)
            case Block(model=model):
                if model in versions:
                    versions[model] = msgspec.structs.replace(versions[model], status=ModelStatus.BLOCKED)
                else:
                    complaints.append(f"override {entry.sequence} blocks {model}, which is not in the catalogue")
            case Revoke(key_id=key_id):
                name = access_section_name(access_shard(key_id))
                kept = {id_: key for id_, key in access[name].keys.items() if id_ != key_id}
                access[name] = AccessShard(kept)
            case Stop(scope=scope):
                # Said again, to end open answers as well, a stop stays what it was, and whose.
                stops.setdefault(scope, StopEntry(scope, entry.actor, entry.reason, entry.at_us))
            case Start(scope=scope):
                stops.pop(scope, None)
            case _:
                assert_never(entry.override)
    return Ground(CatalogueSection(versions), routes, access, StopsSection(stops)), complaints


def _roll_back(routes: dict[str, RouteSection], environment: str, route: str, release: str, sequence: int) -> list[str]:
    name = route_section_name(environment, route)
    section = routes.get(name)
    moved = None if section is None else rolled_back(section, release)
    if moved is None:
        return [f"override {sequence} names release {release}, which route {route!r} in {environment} does not have"]
    routes[name] = moved
    return []


def rolled_back(section: RouteSection, release: str) -> RouteSection | None:
    """The route with `release` serving everybody; None if it is none of its releases. A rollout under way ends."""
    if section.candidate is not None:
        section = msgspec.structs.replace(without_candidate(section), rolled_back_from=section.candidate.id)
    stable = section.stable
    if release == stable.id:
        return section
    target = next((entry for entry in section.previous if entry.id == release), None)
    if target is None:
        return None
    is_undo = release == section.rolled_back_from
    rest = [entry for entry in section.previous if entry.id != release]
    return msgspec.structs.replace(
        section,
        stable=target,
        previous=after_rollback(stable, rest, is_undo=is_undo),
        rolled_back_from="" if is_undo else section.rolled_back_from or stable.id,
    )


def without_candidate(section: RouteSection) -> RouteSection:
    """The route with all of its traffic on `stable`."""
    if section.candidate is None:
        return section
    return msgspec.structs.replace(section, candidate=None, weight_bp=0, rollout="")


def after_rollback(left: T, rest: Sequence[T], *, is_undo: bool) -> tuple[T, ...]:
    """The previous releases once one of them serves again.

    What was rolled back from goes last, so that no later rollback takes it before all others. Undoing a rollback puts
    the release that stood in back to the front, where it came from.
    """
    return (left, *rest) if is_undo else (*rest, left)


def served_versions(release: ReleaseEntry) -> tuple[str, ...]:
    """The model versions that get calls when all is well: `name@version`, without drained ones and fallbacks."""
    named = [target.model for target in release.targets if target.weight > 0]
    return tuple(dict.fromkeys(named or [target.model for target in release.targets]))
