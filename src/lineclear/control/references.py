"""Whether everything that is named exists, and whether what must not change has not.

In: the state before and the state wanted. Out: (kind, name, path, code, message) per mistake. Pure.
"""

import difflib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from lineclear.config.manifest_rules import BUILT_IN_ENVIRONMENTS
from lineclear.control.desired import Desired
from lineclear.domain.manifest import Kind, Model, ModelVersion, Route

Path: TypeAlias = tuple[str | int, ...]

RUNTIMES_MAX = 64
"""Hosted model versions of one machine; the supervisor refuses more."""


@dataclass(frozen=True)
class Broken:
    """One mistake in the state as a whole."""

    kind: Kind
    name: str
    path: Path
    message: str
    code: str = "unknown_reference"


def check_references(before: Desired, wanted: Desired) -> list[Broken]:
    """Every dangling name and every forbidden change of the wanted state."""
    return [*_apps(wanted), *_providers(wanted), *_models(wanted), *_routes(wanted), *_immutable(before, wanted)]


def _apps(wanted: Desired) -> Iterator[Broken]:
    for app in wanted.apps.values():
        yield from _named(Kind.APP, app.name, ("team",), "team", app.team, wanted.teams)
        for at, route in enumerate(app.routes):
            if route != "*":
                yield from _named(Kind.APP, app.name, ("routes", at), "route", route, wanted.routes)


def _providers(wanted: Desired) -> Iterator[Broken]:
    for provider in wanted.providers.values():
        if isinstance(provider.credential, dict):
            for name in provider.credential:
                path = ("credential", name)
                yield from _named(Kind.PROVIDER, provider.name, path, "environment", name, wanted.environments)


def _models(wanted: Desired) -> Iterator[Broken]:
    versions = wanted.versions
    for model in wanted.models.values():
        yield from _named(Kind.MODEL, model.name, ("owner",), "team", model.owner, wanted.teams)
        for at, version in enumerate(model.versions):
            if version.provider is not None:
                path: Path = ("versions", at, "provider")
                yield from _named(Kind.MODEL, model.name, path, "provider", version.provider, wanted.providers)
            if version.successor is not None:
                path = ("versions", at, "successor")
                yield from _named(Kind.MODEL, model.name, path, "model version", version.successor, versions)
    hosted = [version for _, version in versions.values() if version.engine is not None]
    if len(hosted) > RUNTIMES_MAX:
        name = next(model.name for model in wanted.models.values() if hosted[-1] in model.versions)
        yield Broken(Kind.MODEL, name, ("versions",), f"more than {RUNTIMES_MAX} hosted model versions", "too_large")


def _routes(wanted: Desired) -> Iterator[Broken]:
    versions = wanted.versions
    for route in wanted.routes.values():
        yield from _named(Kind.ROUTE, route.name, ("team",), "team", route.team, wanted.teams)
        for name in route.environments:
            path: Path = ("environments", name)
            yield from _named(Kind.ROUTE, route.name, path, "environment", name, wanted.environments)
            yield from _deployed(route, name, wanted, versions)


def _deployed(route: Route, environment: str, wanted: Desired, versions: Collection[str]) -> Iterator[Broken]:
    deployed = route.environments[environment]
    root: Path = ("environments", environment)
    targets = [target.model for target in deployed.targets]
    fallback = [entry.model for entry in deployed.fallback]
    for field, models in (("targets", targets), ("fallback", fallback)):
        for at, model in enumerate(models):
            yield from _named(Kind.ROUTE, route.name, (*root, field, at, "model"), "model version", model, versions)
    if deployed.prompt is not None:
        yield from _named(Kind.ROUTE, route.name, (*root, "prompt"), "prompt", deployed.prompt, wanted.prompts)


def _named(kind: Kind, name: str, path: Path, what: str, wanted: str, known: Collection[str]) -> Iterator[Broken]:
    if wanted in known:
        return
    near = difflib.get_close_matches(wanted, known, n=1)
    also = f"; did you mean {near[0]!r}?" if near else ""
    yield Broken(kind, name, path, f"there is no {what} {wanted!r}{also}")


def _immutable(before: Desired, wanted: Desired) -> Iterator[Broken]:
    for model in wanted.models.values():
        known = before.models.get(model.name)
        if known is not None:
            yield from _changed_versions(known, model)
    for environment in wanted.environments.values():
        was = before.environments.get(environment.name)
        if was is not None and was.class_ is not environment.class_ and environment.name not in BUILT_IN_ENVIRONMENTS:
            message = f"the class of {environment.name!r} is {was.class_.value}; keys and statuses rest on it"
            yield Broken(Kind.ENVIRONMENT, environment.name, ("class",), message, "immutable")


def _changed_versions(known: Model, model: Model) -> Iterator[Broken]:
    earlier = {version.version: version for version in known.versions}
    for at, version in enumerate(model.versions):
        was = earlier.get(version.version)
        if was is None:
            continue
        for field in ("provider", "upstream_id", "engine", "sha256"):
            if _fact(was, field) != _fact(version, field):
                message = (
                    f"{model.name}@{version.version} is immutable: its {field} is {_fact(was, field)!r};"
                    " give the new one a version of its own"
                )
                yield Broken(Kind.MODEL, model.name, ("versions", at, field), message, "immutable")


def _fact(version: ModelVersion, field: str) -> str | None:
    value = getattr(version, field)
    return None if value is None else str(value)
