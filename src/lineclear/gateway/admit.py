"""Step `admit`: may this caller send this to that route, and which of its models may see it?

In: Parsed. Out: Admitted. Reads the snapshot in hand and, where a policy looks at the time, the clock. Every refusal
names its rule. Which models may serve was judged when the snapshot was compiled (`domain.admission`,
`domain.policy`); a call is a lookup, unless a policy of its route looks at the caller.
"""

import difflib
from collections.abc import Sequence
from typing import Never

import msgspec

from lineclear.base.clock import Clock
from lineclear.domain.admission import data_class_of, task_of
from lineclear.domain.catalogue import DataClass
from lineclear.domain.errors import CallerError, ErrorCode
from lineclear.domain.ledger import CandidateRecord
from lineclear.domain.policy import Caller, tags_of
from lineclear.domain.stopped import stopped_error
from lineclear.gateway.entry import Parsed
from lineclear.gateway.identify import Identified
from lineclear.gateway.inner import inner_route
from lineclear.gateway.snapshot import Admission, RouteView, Snapshot
from lineclear.gateway.split import CANDIDATE, UNMONITORED, Assigned, Split, assign

SHADOW = "rollout.shadow"
"""The rule by which a copy of a call is asked of a candidate; nobody gets its answer."""
KNOWN_NAMES_SHOWN = 20
"""How many callable route names a `model_not_found` lists."""
NAMES_TOLD = 3
"""How many of them stand in its message, which is all that some clients show."""
NAMES_COMPARED = 50
NAME_CHARS_COMPARED = 40
"""What is looked at for a name that was nearly right."""


class Admitted(msgspec.Struct, frozen=True, gc=False):
    """The call is allowed; at least one model may serve it."""

    parsed: Parsed
    route: RouteView
    task: str
    data_class: DataClass
    admission: Admission
    flags: tuple[str, ...] = ()
    """Rules that took part and did not refuse: policies, guardrails that flagged it, and `UNMONITORED`."""
    assigned: Assigned | None = None
    """Its arm; None where the route has no rollout. `route` is that arm's."""


def admit(snapshot: Snapshot, parsed: Parsed, clock: Clock) -> Admitted:
    """Check grants, task, data class, and of every model of the route its status, its approvals and the policies.

    Raises:
        CallerError: MODEL_NOT_FOUND, TASK_REQUIRED, TASK_NOT_ALLOWED, or the exclusion found
            where no model is left; NOT_FOUND if control names a release that serves nobody.
        PlatformFault: STOPPED.
    """
    identified = parsed.identified
    route = snapshot.routes.get((identified.environment, parsed.view.model))
    if route is None or not (identified.app.all_routes or route.name in identified.app.granted):
        _refuse_unknown(snapshot, identified, parsed.view.model)
    stop = route.stop or identified.app.stop
    if stop is not None:
        raise stopped_error(stop)
    if identified.inner is not None:
        route = inner_route(route, identified.inner)
    elif route.split is not None:
        return _admit_dealt(snapshot, parsed, route, route.split, clock)
    task, data_class, admission = _admission(route, parsed, clock, snapshot)
    return Admitted(parsed, route, task, data_class, admission, admission.rules)


def _admit_dealt(snapshot: Snapshot, parsed: Parsed, route: RouteView, split: Split, clock: Clock) -> Admitted:
    assigned = assign(split, parsed.identified.head)
    arm = arm_view(route, assigned)
    task, data_class, admission = _admission(arm, parsed, clock, snapshot)
    flags = admission.rules if assigned.weight_bp else (*admission.rules, UNMONITORED)
    return Admitted(parsed, arm, task, data_class, admission, flags, assigned)


def admit_copy(candidate: RouteView, parsed: Parsed, clock: Clock) -> Admitted:
    """The same of a call that is asked of a rollout's candidate beside its own answer; no arm is dealt.

    Raises:
        CallerError: as `admit`, where the candidate may not serve what stable may.
        PlatformFault: STOPPED.
    """
    if candidate.stop is not None:
        raise stopped_error(candidate.stop)
    task, data_class, admission = _admission(candidate, parsed, clock, None)
    return Admitted(parsed, candidate, task, data_class, admission, (*admission.rules, SHADOW))


def arm_view(route: RouteView, assigned: Assigned) -> RouteView:
    """The route with the release of an arm."""
    return route.candidate if assigned.arm is CANDIDATE and route.candidate is not None else route


def _admission(
    route: RouteView, parsed: Parsed, clock: Clock, snapshot: Snapshot | None
) -> tuple[str, DataClass, Admission]:
    """The snapshot is for what a refusal advises; None where nobody reads it."""
    head = parsed.identified.head
    task = head.task if head.task in route.tasks else task_of(route.name, route.tasks, head.task)
    data_class = head.data_class
    if data_class is not route.data_class:
        data_class = data_class_of(route.data_class, data_class)
    admission = route.admissions[head.operation, task, data_class]
    if admission.varying is not None:
        admission = admission.varying.admission(_caller(parsed.identified, clock))
    if admission.refusal is not None:
        successor = admission.refusal.successor
        instead = () if successor is None or snapshot is None else _serving(snapshot, parsed, successor)
        raise admission.refusal.error(route.name, instead)
    return task, data_class, admission


def _serving(snapshot: Snapshot, parsed: Parsed, model: str) -> tuple[str, ...]:
    """The routes of this caller that name a model version and answer such a call."""
    identified = parsed.identified
    operation = identified.head.operation
    routes = (snapshot.routes[identified.environment, name] for name in callable_names(snapshot, identified))
    return tuple(
        route.name
        for route in routes
        if model in route.models
        and route.name != parsed.view.model
        and route.stop is None
        and any(route.admissions[operation, task, route.data_class].refusal is None for task in route.tasks or ("",))
    )


def _caller(identified: Identified, clock: Clock) -> Caller:
    return Caller(identified.app.team, identified.app.name, tags_of(identified.head.tags), clock.unix_us())


def excluded_targets(route: RouteView | None, parsed: Parsed, clock: Clock) -> tuple[CandidateRecord, ...]:
    """Every target of a route that had none left for this call, with its reason; empty if it ended before that."""
    admission = judged(route, parsed, clock)
    return () if admission is None else admission.excluded


def judged(route: RouteView | None, parsed: Parsed, clock: Clock) -> Admission | None:
    """What was judged of a call that was refused; None if it ended before that."""
    head = parsed.identified.head
    task = head.task or (route.tasks[0] if route is not None and len(route.tasks) == 1 else "")
    if route is None or task not in (route.tasks or ("",)):
        return None
    admission = route.admissions[head.operation, task, data_class_of(route.data_class, head.data_class)]
    if admission.varying is not None:
        admission = admission.varying.admission(_caller(parsed.identified, clock))
    return admission


def callable_names(snapshot: Snapshot, identified: Identified) -> tuple[str, ...]:
    """The routes this caller may call, sorted."""
    names = snapshot.route_names.get(identified.environment, ())
    return names if identified.app.all_routes else tuple(name for name in names if name in identified.app.granted)


def _refuse_unknown(snapshot: Snapshot, identified: Identified, name: str) -> Never:
    # A route the key may not call looks exactly like one that does not exist (decision 28).
    may = callable_names(snapshot, identified)
    names = may[:KNOWN_NAMES_SHOWN]
    known = ", ".join(names) if names else "none yet; ask for a grant on a route"
    raise CallerError(
        ErrorCode.MODEL_NOT_FOUND,
        f"no route named {name!r} that this key may call in environment {identified.environment!r}; "
        + instead_words(name, may),
        hint=f"routes this key may call: {known}",
        param="model",
        known_names=names,
    )


def instead_words(name: str, may: Sequence[str]) -> str:
    """What to call instead of a route that is not there, in a few words."""
    near = difflib.get_close_matches(name[:NAME_CHARS_COMPARED], may[:NAMES_COMPARED], n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    if not may:
        return "it may call none yet"
    more = len(may) - NAMES_TOLD
    return f"it may call {', '.join(may[:NAMES_TOLD])}" + (f" and {more} more" if more > 0 else "")
