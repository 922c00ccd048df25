"""Which routes' releases a caller may see: those of a route or of one of its deployments in the scope of a grant.

In: a call, the state. Out: yes or no, or what was deployed. A route that is gone belongs to no team.
"""

from sqlalchemy import Connection

from lineclear.control.deployments.history import Stretch, read_history
from lineclear.control.desired import Desired
from lineclear.control.endpoint import AdminCode, Call, Refused
from lineclear.control.publish import read_desired
from lineclear.control.scopes import scope_of_noun, scopes_of_route
from lineclear.domain.access import PLATFORM, Scope
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


def seen_history(call: Call, tx: Connection, environment: str, route: str) -> list[Stretch]:
    """What was in force of a route in an environment, newest first; at least one stretch.

    Raises:
        Refused: `not_found` if it was never deployed there or the caller may not see it, in the same words.
    """
    unknown = Refused(
        AdminCode.NOT_FOUND, f"route {route!r} was never deployed in {environment!r}",
        hint="`lineclear routes list` shows where routes are",
    )  # fmt: skip
    known = read_desired(tx).routes.get(route)
    call.require(Permission.ROUTE_READ, Scope(known.team if known else "", environment, route), unknown)
    found = read_history(tx, environment, route)
    if not found:
        raise unknown
    return found
