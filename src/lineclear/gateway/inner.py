"""Who calls through the inner door: control, in the name of an app, for one route and perhaps one release of it.

In: the signed principal of a call's head. Out: Identified, as `identify` makes it of a key, and the one release that
may answer. The rest of the walk is everybody's. No rollout deals such a call, and none of it is evidence.
"""

from collections.abc import Callable

from lineclear.base.clock import Clock
from lineclear.base.seal import Keys
from lineclear.domain.errors import CallerError, ErrorCode
from lineclear.domain.ledger import INNER_KEY_PREFIX
from lineclear.gateway.head import Head
from lineclear.gateway.identify import Identified, demand_simulation_allowed
from lineclear.gateway.snapshot import RouteView, Snapshot
from lineclear.handover.inner_door import InnerPrincipal, opened_principal


def identify_inner(keys: Keys) -> Callable[[Snapshot, Head, Clock], Identified]:
    """The step `identify` of the inner door.

    The step raises CallerError: INVALID_API_KEY for what control did not sign, what is too old, or an app or
    environment that is not there; SIMULATE_FORBIDDEN as `identify`.
    """

    def identify(snapshot: Snapshot, head: Head, clock: Clock) -> Identified:
        principal = opened_principal(keys, head.key, clock.unix_us())
        if principal is None:
            raise _unknown("control has not signed this principal, or its time is over")
        app = snapshot.apps.get(principal.app)
        if app is None or principal.environment not in snapshot.environments:
            raise _unknown(f"there is no app {principal.app!r} or no environment {principal.environment!r} here")
        demand_simulation_allowed(snapshot, head, principal.environment)
        return Identified(head, INNER_KEY_PREFIX + principal.purpose.value, app, principal.environment, principal)

    return identify


def inner_route(route: RouteView, inner: InnerPrincipal) -> RouteView:
    """The route with the release that the principal names.

    Raises:
        CallerError: NOT_FOUND if it is neither the stable one nor the candidate of a rollout, or if the principal is
            for another route.
    """
    if inner.route != route.name:
        raise CallerError(ErrorCode.NOT_FOUND, f"this principal is for route {inner.route!r} only", param="model")
    if inner.release in ("", route.digest):
        return route
    if route.candidate is not None and inner.release == route.candidate.digest:
        return route.candidate
    raise CallerError(
        ErrorCode.NOT_FOUND,
        f"release {inner.release[:16]!r} is neither stable nor candidate of route {route.name!r} in "
        f"{route.environment!r} now",
        hint="`lineclear history` shows what became of it",
    )


def _unknown(why: str) -> CallerError:
    return CallerError(ErrorCode.INVALID_API_KEY, why, hint="nothing but control calls here")
