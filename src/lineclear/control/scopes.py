"""Where objects lie: the scope of each noun, app, key and exchange, from what stands in the database.

In: nouns and names. Out: scopes for `Call.require` and `Call.only`. What belongs to no team, such as a provider or
a prompt, lies on the platform. Must not decide anything.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lineclear.control.desired import Desired
from lineclear.domain.access import PLATFORM, Scope, parse_scope
from lineclear.domain.manifest import App, Environment, Eval, Manifest, Model, Route, Team


def scope_of_noun(noun: Manifest) -> Scope:
    """Of a route as a whole; `scopes_of_route` has those of its deployments."""
    if isinstance(noun, Team):
        return Scope(team=noun.name)
    if isinstance(noun, App | Eval):
        return Scope(team=noun.team)
    if isinstance(noun, Model):
        return Scope(team=noun.owner)
    if isinstance(noun, Route):
        return Scope(team=noun.team, route=noun.name)
    if isinstance(noun, Environment):
        return Scope(environment=noun.name)
    return PLATFORM


def scopes_of_route(route: Route) -> dict[str, Scope]:
    """Of each of its deployments, by environment."""
    return {name: Scope(route.team, name, route.name) for name in route.environments}


def scope_of_route(desired: Desired, environment: str, route: str) -> Scope:
    """Of a deployment; one whose route is gone belongs to no team."""
    known = desired.routes.get(route)
    return Scope(known.team if known is not None else "", environment, route)


def scope_of_app(desired: Desired, app: str, environment: str = "") -> Scope:
    """Of what an app has in an environment, such as a key; an app that is gone belongs to no team."""
    known = desired.apps.get(app)
    return Scope(known.team if known is not None else "", environment)


def scope_of_exchange(facts: Mapping[str, Any]) -> Scope:  # Any: columns of the ledger
    """Of an entry of the ledger, by the team, environment and route that it names itself."""
    return Scope(*(str(facts.get(name) or "") for name in ("team", "environment", "route")))


def whole(desired: Desired, scope: Scope) -> Scope:
    """A grant's scope with the team of its route, so that the team's own administrator may give it."""
    if scope.route and not scope.team:
        return replace(scope, team=scope_of_route(desired, scope.environment, scope.route).team)
    return scope


def scope_of_object(desired: Desired, text: str) -> Scope | None:
    """Of what a person names: a grant's scope, `app:NAME` or `model:NAME`; None if there is no such thing.

    Raises:
        ValueError: it is no name of an object.
    """
    kind, _, name = text.partition(":")
    if kind == "app":
        return scope_of_app(desired, name) if name in desired.apps else None
    if kind == "model":
        model = desired.models.get(name.partition("@")[0])
        return None if model is None else scope_of_noun(model)
    scope = whole(desired, parse_scope(text))
    is_there = (
        (not scope.environment or scope.environment in desired.environments)
        and (not scope.route or scope.route in desired.routes)
        and (not scope.team or scope.team in desired.teams)
    )
    return scope if is_there else None
