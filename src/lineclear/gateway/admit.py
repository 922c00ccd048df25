"""Step `admit`: may this caller send this to that route, and which of its models may see it?

In: Parsed. Out: Admitted. Pure: reads the snapshot in hand, nothing else. Every refusal names its rule.
Which models may serve was judged when the snapshot was compiled (`domain.admission`); a call is a lookup.
"""

from typing import Never

import msgspec

from lineclear.domain.catalogue import DataClass, data_class_rank
from lineclear.domain.errors import CallerError, ErrorCode
from lineclear.domain.ledger import CandidateRecord
from lineclear.domain.stopped import stopped_error
from lineclear.gateway.entry import Parsed
from lineclear.gateway.identify import Identified
from lineclear.gateway.snapshot import Admission, RouteView, Snapshot
from lineclear.gateway.split import CANDIDATE, UNMONITORED, Assigned, Split, assign

KNOWN_NAMES_SHOWN = 20
"""How many callable route names a `model_not_found` lists."""


class Admitted(msgspec.Struct, frozen=True, gc=False):
    """The call is allowed; at least one model may serve it."""

    parsed: Parsed
    route: RouteView
    task: str
    data_class: DataClass
    admission: Admission
    flags: tuple[str, ...] = ()
    """Rules that flagged the request: guardrails, and `UNMONITORED`."""
    assigned: Assigned | None = None
    """Its arm; None where the route has no rollout. `route` is that arm's."""


def admit(snapshot: Snapshot, parsed: Parsed) -> Admitted:
    """Check grants, task, data class, and the status and approvals of every model of the route.

    Raises:
        CallerError: MODEL_NOT_FOUND, TASK_REQUIRED, TASK_NOT_ALLOWED, or the exclusion found
            where no model is left.
        PlatformFault: STOPPED.
    """
    identified = parsed.identified
    route = snapshot.routes.get((identified.environment, parsed.view.model))
    if route is None or not (identified.app.all_routes or route.name in identified.app.granted):
        _refuse_unknown(snapshot, identified, parsed.view.model)
    stop = route.stop or identified.app.stop
    if stop is not None:
        raise stopped_error(stop)
    if route.split is not None:
        return _admit_dealt(parsed, route, route.split)
    task, data_class, admission = _admission(route, parsed)
    return Admitted(parsed, route, task, data_class, admission)


def _admit_dealt(parsed: Parsed, route: RouteView, split: Split) -> Admitted:
    assigned = assign(split, parsed.identified.head)
    arm = arm_view(route, assigned)
    task, data_class, admission = _admission(arm, parsed)
    flags = () if assigned.weight_bp else (UNMONITORED,)
    return Admitted(parsed, arm, task, data_class, admission, flags, assigned)


def arm_view(route: RouteView, assigned: Assigned) -> RouteView:
    """The route with the release of an arm."""
    return route.candidate if assigned.arm is CANDIDATE and route.candidate is not None else route


def _admission(route: RouteView, parsed: Parsed) -> tuple[str, DataClass, Admission]:
    head = parsed.identified.head
    task = head.task if head.task in route.tasks else _task(route, head.task)
    data_class = head.data_class
    if data_class is not route.data_class:
        data_class = _data_class(route, data_class)
    admission = route.admissions[head.operation, task, data_class]
    if admission.refusal is not None:
        raise admission.refusal.error(route.name)
    return task, data_class, admission


def excluded_targets(route: RouteView | None, parsed: Parsed) -> tuple[CandidateRecord, ...]:
    """Every target of a route that had none left for this call, with its reason; empty if it ended before that."""
    head = parsed.identified.head
    task = head.task or (route.tasks[0] if route is not None and len(route.tasks) == 1 else "")
    if route is None or task not in (route.tasks or ("",)):
        return ()
    return route.admissions[head.operation, task, _data_class(route, head.data_class)].excluded


def callable_names(snapshot: Snapshot, identified: Identified) -> tuple[str, ...]:
    """The routes this caller may call, sorted."""
    names = snapshot.route_names.get(identified.environment, ())
    return names if identified.app.all_routes else tuple(name for name in names if name in identified.app.granted)


def _refuse_unknown(snapshot: Snapshot, identified: Identified, name: str) -> Never:
    # A route the key may not call looks exactly like one that does not exist (decision 28).
    names = callable_names(snapshot, identified)[:KNOWN_NAMES_SHOWN]
    known = ", ".join(names) if names else "none yet; ask for a grant on a route"
    raise CallerError(
        ErrorCode.MODEL_NOT_FOUND,
        f"no route named {name!r} that this key may call in environment {identified.environment!r}",
        hint=f"routes this key may call: {known}",
        param="model",
        known_names=names,
    )


def _task(route: RouteView, asked: str) -> str:
    if asked:
        if asked in route.tasks:
            return asked
        listed = ", ".join(route.tasks) or "none; leave the header out"
        raise CallerError(
            ErrorCode.TASK_NOT_ALLOWED,
            f"task {asked!r} is not a task of route {route.name!r}",
            hint=f"tasks of this route: {listed}",
            rules=("task.not-listed",),
            param="x-lineclear-task",
        )
    if len(route.tasks) > 1:
        raise CallerError(
            ErrorCode.TASK_REQUIRED,
            f"route {route.name!r} serves several tasks; say which one this call is for",
            hint=f"send x-lineclear-task with one of: {', '.join(route.tasks)}",
            param="x-lineclear-task",
        )
    return route.tasks[0] if route.tasks else ""


def _data_class(route: RouteView, asked: DataClass | None) -> DataClass:
    if asked is None or data_class_rank(asked) <= data_class_rank(route.data_class):
        return route.data_class  # a caller may raise the class of its data, never lower it (decision 30)
    return asked
