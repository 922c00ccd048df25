"""What serves in one environment, and what a change rests on: nouns reached by name from routes and environments.

In: a state. Out: nouns by kind and name, cut down to what has to do with the environment. Pure. Teams and apps are
not among them: who pays and who calls is not what serves.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from lineclear.config.manifest_names import Named, mentions_of
from lineclear.control.desired import Desired, noun_digest
from lineclear.domain.manifest import Eval, Kind, Manifest, Model, Route, model_version_id

Key = tuple[Kind, str]

EVERYWHERE = frozenset({"Policy"})
"""Kinds that no route names and that hold for all."""

_KINDS: Mapping[Named, Kind] = {
    Named.TEAM: Kind.TEAM,
    Named.APP: Kind.APP,
    Named.MODEL: Kind.MODEL,
    Named.PROVIDER: Kind.PROVIDER,
    Named.PROMPT: Kind.PROMPT,
    Named.GUARDRAIL: Kind.GUARDRAIL,
    Named.EVAL: Kind.EVAL,
    Named.ROLLOUT: Kind.ROLLOUT,
    Named.ENVIRONMENT: Kind.ENVIRONMENT,
    Named.ROUTE: Kind.ROUTE,
}


def used_versions(desired: Desired, environment: str) -> set[str]:
    """Every `name@version` that manifests of routes name in the environment."""
    routes = [route for route in desired.routes.values() if environment in route.environments]
    return {
        mention.name
        for route in routes
        for mention in mentions_of(_here(route, environment))
        if mention.what is Named.MODEL_VERSION
    }


def served_in(desired: Desired, environment: str, versions: Collection[str]) -> dict[Key, Manifest]:
    """The environment, its routes, the models of `versions` cut down to these, and whatever they name."""
    found: dict[Key, Manifest] = {}
    own = desired.environments.get(environment)
    if own is not None:
        found[Kind.ENVIRONMENT, environment] = own
    for route in desired.routes.values():
        if environment in route.environments:
            found[Kind.ROUTE, route.name] = _here(route, environment)
    for model in desired.models.values():
        used = tuple(item for item in model.versions if model_version_id(model.name, item.version) in versions)
        if used:
            found[Kind.MODEL, model.name] = replace(model, versions=used)
    for key in _reached(desired, found):
        found.setdefault(key, desired.nouns[key])
    return found | {key: noun for key, noun in desired.nouns.items() if key[0].value in EVERYWHERE}


def changed_keys(before: Mapping[Key, Manifest], wanted: Mapping[Key, Manifest]) -> list[Key]:
    """What is not the same in both. What only comes into use, or goes out of it, shows by the route that names it."""
    own = {Kind.ROUTE, Kind.ENVIRONMENT}
    return sorted(
        key
        for key in before.keys() | wanted.keys()
        if before.get(key) != wanted.get(key)
        and ((key in before and key in wanted) or key[0] in own or key[0].value in EVERYWHERE)
    )


def rests_on(desired: Desired, keys: Iterable[Key]) -> dict[str, str]:
    """Digests of these nouns and of everything they name, however far, by `Kind/name`."""
    seen: set[Key] = set()
    left = [key for key in keys if key in desired.nouns]
    left += [key for key in desired.nouns if key[0].value in EVERYWHERE]
    while left:
        key = left.pop()
        if key not in seen:
            seen.add(key)
            left += _named_by(desired, desired.nouns[key])
    return {f"{kind.value}/{name}": noun_digest(desired.nouns[kind, name]) for kind, name in sorted(seen)}


def _reached(desired: Desired, found: Mapping[Key, Manifest]) -> set[Key]:
    reached: set[Key] = set()
    left = [key for noun in found.values() for key in _named_by(desired, noun)]
    while left:
        key = left.pop()
        if key in reached or key[0] in (Kind.TEAM, Kind.ENVIRONMENT, Kind.ROUTE, Kind.MODEL):
            continue
        reached.add(key)
        left += _named_by(desired, desired.nouns[key])
    return reached


def _named_by(desired: Desired, noun: Manifest) -> Iterator[Key]:
    for mention in mentions_of(noun):
        if mention.what in (Named.TASK, Named.REGION):
            continue  # words of nouns, and no nouns
        key = (
            (Kind.MODEL, mention.name.partition("@")[0])
            if mention.what is Named.MODEL_VERSION
            else (_KINDS[mention.what], mention.name)
        )
        if key in desired.nouns:
            yield key


def _here(route: Route, environment: str) -> Route:
    return replace(route, environments={environment: route.environments[environment]})


def team_of(noun: Manifest | None) -> str:
    """The team that a noun belongs to; empty if to none."""
    if isinstance(noun, Model):
        return noun.owner
    return noun.team if isinstance(noun, Route | Eval) else ""
