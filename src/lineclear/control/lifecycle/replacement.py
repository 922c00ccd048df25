"""Puts one model version in another's place on a route. Pure."""

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

from lineclear.domain.manifest import Fallback, Route, RouteEnvironment, Target

T = TypeVar("T", Target, Fallback)


def with_successor(route: Route, old: str, new: str) -> Route:
    """The route with `new` wherever it names `old`; where it names both, their shares are added up."""
    return dataclasses.replace(
        route, environments={name: _replaced(deployed, old, new) for name, deployed in route.environments.items()}
    )


def _replaced(deployed: RouteEnvironment, old: str, new: str) -> RouteEnvironment:
    if old not in {*(item.model for item in deployed.targets), *(item.model for item in deployed.fallback)}:
        return deployed
    targets = _merged([_renamed(item, old, new) for item in deployed.targets])
    fallback = {item.model: item for item in (_renamed(item, old, new) for item in reversed(deployed.fallback))}
    if any(target.model == new for target in targets):
        fallback.pop(new, None)  # a fallback to what serves already falls nowhere
    return dataclasses.replace(deployed, targets=targets, fallback=tuple(reversed(fallback.values())))


def _renamed(item: T, old: str, new: str) -> T:
    return dataclasses.replace(item, model=new) if item.model == old else item


def _merged(targets: Sequence[Target]) -> tuple[Target, ...]:
    """One target for each model, in the order of their first mention."""
    found: dict[str, Target] = {}
    for target in targets:
        before = found.get(target.model)
        if before is None:
            found[target.model] = target
        elif before.weight is not None or target.weight is not None:
            found[target.model] = dataclasses.replace(before, weight=_share(before) + _share(target))
    return tuple(found.values())


def _share(target: Target) -> int:
    return 1 if target.weight is None else target.weight
