"""Which routes' releases a caller may see: those of a route or of one of its deployments in the scope of a grant.

In: a call, the state. Out: yes or no. A route that is gone belongs to no team.
"""

from lineclear.control.desired import Desired
from lineclear.control.endpoint import Call
from lineclear.control.scopes import scope_of_noun, scopes_of_route
from lineclear.domain.access import PLATFORM
from lineclear.domain.permissions import Permission


def sees_route(call: Call, desired: Desired, name: str, environment: str = "") -> bool:
    """Whether the caller sees a route, in one environment if that is named."""
    call.asked.append(Permission.ROUTE_READ)
    may, route = call.principal.may, desired.routes.get(name)
    if route is None:
        return may(Permission.ROUTE_READ, PLATFORM)
    scopes = scopes_of_route(route)
    held = [scopes[environment]] if environment in scopes else list(scopes.values())
    return may(Permission.ROUTE_READ, scope_of_noun(route)) or any(may(Permission.ROUTE_READ, item) for item in held)
