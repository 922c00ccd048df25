"""The admin API's endpoints for runs of evals: list, show, start, stop.

In: calls. Out: facts. Figures are for whoever sees the route; whoever starts a run has to be allowed to run evaluations
wherever it asks and pays. The answers themselves are the replay's.
"""

from dataclasses import dataclass
from typing import ClassVar, Final

from lineclear.control.endpoint import (
    API_ROOT,
    AdminCode,
    Call,
    Endpoint,
    QueryParameter,
    Reach,
    Refused,
    row_limit,
)
from lineclear.control.evals.facts import EvalRunDetail, EvalRunFacts, run_detail, run_facts
from lineclear.control.evals.runs import EvalAsked, EvalRuns, EvalStanding, unknown
from lineclear.control.replays.service import Replays
from lineclear.domain.access import Scope
from lineclear.domain.permissions import Permission
from lineclear.domain.rollout import StepKind
from lineclear.store.eval_rows import LIST_ROWS_MAX

LIST_DEFAULT: Final = 50


@dataclass(frozen=True)
class NewEvalRun:
    """Which Eval two releases of a route are held to."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    eval: str
    route: str
    environment: str
    candidate_from: str = ""
    """The environment whose release is the candidate; empty = the candidate of the rollout under way."""


@dataclass(frozen=True)
class StopEvalRun:
    """Why it is stopped."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    reason: str = ""


@dataclass(frozen=True)
class EvalRunList:
    runs: list[EvalRunFacts]


def endpoints(runs: EvalRuns, replays: Replays) -> tuple[Endpoint, ...]:
    """Every endpoint of runs."""

    def start(call: Call) -> EvalRunDetail:
        asked: NewEvalRun = call.body
        nothing = Refused(
            AdminCode.NOT_FOUND,
            f"there is no eval {asked.eval!r} of route {asked.route!r} for you in {asked.environment}",
        )
        spec = runs.spec(asked.eval)
        if spec is None:
            raise nothing
        # Who does not see the Eval's team is told nothing more about it.
        call.require(Permission.EVALUATION_RUN, Scope(team=spec.team), nothing)
        environments = [asked.environment, *([asked.candidate_from] if asked.candidate_from else [])]
        for scope in runs.scopes(spec, asked.route, environments):
            call.require(Permission.EVALUATION_RUN, scope, nothing)
        alone = replays.alone(asked.environment, asked.route, asked.candidate_from)
        if alone is not None and spec.at_least is None:
            raise Refused(
                AdminCode.CONFLICT,
                f"route {asked.route!r} has no release in {asked.environment} to compare with, and eval {spec.name!r} "
                "does not say what a release has to reach by itself",
                hint="write `at_least` into the Eval, e.g. 0.95",
            )
        stable, candidate = (
            (None, alone) if alone is not None else replays.sides(asked.environment, asked.route, asked.candidate_from)
        )
        id_ = runs.begin(
            EvalAsked(
                "",
                StepKind.EVAL,
                spec,
                asked.environment,
                asked.route,
                stable,
                candidate,
                "",
                call.principal.name,
            )
        )
        return run_detail(runs.show(id_))

    def list_runs(call: Call) -> EvalRunList:
        only = {name: call.query[name] for name in ("environment", "route", "state", "eval") if name in call.query}
        limit = row_limit(call, LIST_DEFAULT, LIST_ROWS_MAX)
        found = call.only(Permission.ROUTE_READ, runs.listed(LIST_ROWS_MAX), lambda one: one.scope)
        facts = [run_facts(one) for one in found]
        return EvalRunList([one for one in facts if all(getattr(one, name) == only[name] for name in only)][:limit])

    def show(call: Call) -> EvalRunDetail:
        return run_detail(_seen(call, runs, Permission.ROUTE_READ))

    def stop(call: Call) -> EvalRunDetail:
        standing = _seen(call, runs, Permission.EVALUATION_RUN)
        return run_detail(runs.stop(standing.row.id, call.principal.name, call.body.reason))

    run, read = Permission.EVALUATION_RUN, Permission.ROUTE_READ
    one = f"{API_ROOT}/eval-runs/{{run_id}}"
    return (
        Endpoint(
            "POST", f"{API_ROOT}/eval-runs", run, start, "Hold two releases of a route, or its first one, to an Eval",
            body=NewEvalRun, answer=EvalRunDetail, reach=Reach.OBJECT,
        ),
        Endpoint(
            "GET", f"{API_ROOT}/eval-runs", read, list_runs, "Runs of evals and of gates that replay, newest first",
            query=(
                QueryParameter("limit", f"1 to {LIST_ROWS_MAX}; default {LIST_DEFAULT}"),
                QueryParameter("environment", "only this environment"),
                QueryParameter("route", "only this route"),
                QueryParameter("state", "only this state, such as running"),
                QueryParameter("eval", "only runs of this Eval"),
            ),
            answer=EvalRunList, reach=Reach.OBJECT,
        ),
        Endpoint(
            "GET", one, read, show, "One run: its verdict, and what each check shows",
            answer=EvalRunDetail, reach=Reach.OBJECT,
        ),
        Endpoint(
            "POST", f"{one}/stops", run, stop, "End a run without a verdict",
            body=StopEvalRun, answer=EvalRunDetail, reach=Reach.OBJECT,
        ),
    )  # fmt: skip


def _seen(call: Call, runs: EvalRuns, permission: Permission) -> EvalStanding:
    """The run of the path, if the caller may do that to it; one of others looks like one that is not there."""
    run_id = call.path["run_id"]
    standing = runs.show(run_id)
    call.require(permission, standing.scope, unknown(run_id))
    return standing
