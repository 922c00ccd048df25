"""What of the catalogue a caller may see: what lies in the scope of a grant, and the cards of models that routes in it
use. What belongs to no team, such as a provider or an environment, everybody sees who may look at all.

In: a call, the state. Out: whether a noun is seen. Must not answer a call.
"""

from lineclear.control.desired import Desired
from lineclear.control.endpoint import Call
from lineclear.control.scopes import scope_of_noun, scopes_of_route
from lineclear.domain.access import PLATFORM
from lineclear.domain.manifest import Environment, Manifest, Model, Route
from lineclear.domain.permissions import Permission


class Seen:
    """The state as one caller sees it."""

    def __init__(self, call: Call, desired: Desired) -> None:
        self._call = call
        self._desired = desired
        self._is_all = bool(call.only(Permission.CATALOGUE_READ, [PLATFORM], lambda scope: scope))
        self._used = set() if self._is_all else self._models_of_seen_routes()

    def is_noun(self, noun: Manifest) -> bool:
        """Whether the caller sees it."""
        if isinstance(noun, Route):
            return bool(self.environments_of(noun))
        scope = scope_of_noun(noun)
        if self._is_all or scope == PLATFORM or isinstance(noun, Environment):
            return True
        if isinstance(noun, Model) and noun.name in self._used:
            return True
        return self._call.principal.may(Permission.CATALOGUE_READ, scope)

    def environments_of(self, route: Route) -> list[str]:
        """The environments in which the caller sees a route; all of them for who sees the route as a whole."""
        may, whole = self._call.principal.may, scope_of_noun(route)
        if may(Permission.ROUTE_READ, whole):
            return list(route.environments) or [""]
        return [name for name, scope in scopes_of_route(route).items() if may(Permission.ROUTE_READ, scope)]

    def is_deployment(self, environment: str, name: str) -> bool:
        """Whether the caller sees a route in an environment; one that is gone belongs to no team."""
        route = self._desired.routes.get(name)
        if route is None:
            return self._call.principal.may(Permission.ROUTE_READ, PLATFORM)
        return environment in self.environments_of(route)

    def is_route(self, name: str) -> bool:
        """Whether the caller sees a route anywhere."""
        route = self._desired.routes.get(name)
        return self._call.principal.may(Permission.ROUTE_READ, PLATFORM) if route is None else self.is_noun(route)

    def _models_of_seen_routes(self) -> set[str]:
        deployed = [
            route.environments[name]
            for route in self._desired.routes.values()
            for name in self.environments_of(route)
            if name in route.environments
        ]
        named = [item.model for one in deployed for item in one.targets]
        named += [item.model for one in deployed for item in one.fallback]
        return {model.partition("@")[0] for model in named}
