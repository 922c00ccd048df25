"""The admin API's endpoints for rollouts: list, show, plan; pause, resume, advance, run again, roll back.

In: calls. Out: facts. Whether somebody may is asked on the scope of the route.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from lineclear.control.endpoint import (
    API_ROOT,
    AdminCode,
    Call,
    Endpoint,
    QueryParameter,
    Reach,
    Refused,
    forbidden,
    row_limit,
)
from lineclear.control.rollouts.facts import RolloutDetail, RolloutFacts, detail_of, facts_of
from lineclear.control.rollouts.planner import RoutePlan
from lineclear.control.rollouts.service import Rollouts, Standing, unknown
from lineclear.domain.access import Principal, Scope
from lineclear.domain.permissions import Permission
from lineclear.domain.rollout import awaits_approval
from lineclear.store.rollout_rows import LIST_ROWS_MAX

LIST_DEFAULT = 50

RefuseFollowUp = Callable[[str, Principal, Scope], str]
"""Why somebody may not approve what follows from a change, by its id; empty if they may."""


@dataclass(frozen=True)
class RolloutAction:
    """Why somebody does it."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    reason: str = ""


@dataclass(frozen=True)
class RolloutList:
    rollouts: list[RolloutFacts]


def endpoints(
    rollouts: Rollouts, refuse_follow_up: RefuseFollowUp, catch_up: Callable[[], object] = lambda: None
) -> tuple[Endpoint, ...]:
    """Every endpoint of rollouts.

    Args:
        rollouts: what they answer from.
        refuse_follow_up: knows who stands behind changes.
        catch_up: brings what gateways wrote into the ledger; called before a plan is made of it.
    """

    def list_rollouts(call: Call) -> RolloutList:
        only = {name: call.query[name] for name in ("environment", "route", "state") if name in call.query}
        limit = row_limit(call, LIST_DEFAULT, LIST_ROWS_MAX)
        found = call.only(Permission.ROUTE_READ, rollouts.listed(LIST_ROWS_MAX), lambda one: one.scope)
        facts = [facts_of(one) for one in found]
        return RolloutList([one for one in facts if all(getattr(one, name) == only[name] for name in only)][:limit])

    def show(call: Call) -> RolloutDetail:
        return detail_of(_seen(call, rollouts, Permission.ROUTE_READ))

    def plan(call: Call) -> RoutePlan:
        environment, route = call.query["environment"], call.query["route"]
        scope, made = rollouts.plan(environment, route, call.query.get("rollout"))
        call.require(
            Permission.ROUTE_READ, scope, Refused(AdminCode.NOT_FOUND, f"there is no route {route!r} in {environment}")
        )
        catch_up()
        return made()

    def acting(act: Callable[[str, str, str], Standing]) -> Callable[[Call], RolloutDetail]:
        def handle(call: Call) -> RolloutDetail:
            standing = _seen(call, rollouts, Permission.ROLLOUT_OPERATE)
            return detail_of(act(standing.stored.row.id, call.principal.name, call.body.reason))

        return handle

    def advance(call: Call) -> RolloutDetail:
        standing = rollouts.show(call.path["rollout_id"])
        one = standing.stored
        if awaits_approval(one.course, one.progress):
            call.require(Permission.CHANGE_APPROVE, standing.scope, unknown(one.row.id))
            flaw = refuse_follow_up(one.row.change_id, call.principal, standing.scope)
            if flaw:
                raise Refused(
                    AdminCode.FORBIDDEN,
                    f"{call.principal.name!r} may not approve the step of rollout {one.row.id}: {flaw}",
                    hint="somebody else with the role approver advances it",
                ) from forbidden(call.principal, Permission.CHANGE_APPROVE, standing.scope)
        else:
            call.require(Permission.ROLLOUT_OPERATE, standing.scope, unknown(one.row.id))
        return detail_of(rollouts.advance(standing, call.principal.name, call.body.reason))

    one = f"{API_ROOT}/rollouts/{{rollout_id}}"
    operate = Permission.ROLLOUT_OPERATE
    actions = (
        ("pauses", operate, acting(rollouts.pause), "Hold a rollout"),
        ("resumptions", operate, acting(rollouts.resume), "Go on with a rollout that is held"),
        ("advances", Permission.ROUTE_READ, advance, "Take the next step now, or approve it"),
        ("reruns", operate, acting(rollouts.run_again), "Run the gate once more that holds a rollout"),
        ("rollbacks", operate, acting(rollouts.roll_back), "End a rollout: stable alone serves"),
    )
    return (
        Endpoint(
            "GET", f"{API_ROOT}/rollouts", Permission.ROUTE_READ, list_rollouts, "Rollouts, newest first",
            query=(
                QueryParameter("limit", f"1 to {LIST_ROWS_MAX}; default {LIST_DEFAULT}"),
                QueryParameter("environment", "only this environment"),
                QueryParameter("route", "only this route"),
                QueryParameter("state", "only this state, such as running"),
            ),
            answer=RolloutList, reach=Reach.OBJECT,
        ),
        Endpoint(
            "GET", f"{API_ROOT}/rollout-previews", Permission.ROUTE_READ, plan,
            "What each step of a rollout finds out at a route's traffic",
            query=(
                QueryParameter("environment", "the route's environment", required=True),
                QueryParameter("route", "the route", required=True),
                QueryParameter("rollout", "a Rollout; default: the one that the route names"),
            ),
            answer=RoutePlan, reach=Reach.OBJECT,
        ),
        Endpoint(
            "GET", one, Permission.ROUTE_READ, show, "One rollout with its evidence, and why it does not go on",
            answer=RolloutDetail, reach=Reach.OBJECT,
        ),
        *(
            Endpoint(
                "POST", f"{one}/{name}", permission, handler, summary,
                body=RolloutAction, answer=RolloutDetail, reach=Reach.OBJECT,
            )
            for name, permission, handler, summary in actions
        ),
    )  # fmt: skip


def _seen(call: Call, rollouts: Rollouts, permission: Permission) -> Standing:
    """The rollout of the path, if the caller may do that to it; one of others looks like one that is not there."""
    standing = rollouts.show(call.path["rollout_id"])
    call.require(permission, standing.scope, unknown(standing.stored.row.id))
    return standing
