"""A call turned away before any intent: the problem goes out, and a refusal on record if the caller is known.

Unknown callers are only counted, so that guessing keys cannot fill the ledger.
"""

from dataclasses import dataclass
from typing import Final

from lineclear.base.clock import Clock
from lineclear.domain.admission import data_class_of
from lineclear.domain.errors import CallerError, ErrorCode, LineclearError
from lineclear.domain.exchange import OPERATION_DIALECT, Operation
from lineclear.domain.ledger import CandidateRecord, Refusal
from lineclear.gateway.admit import Admitted, arm_view, excluded_targets, judged
from lineclear.gateway.deprecation import brownout_end_s, brownout_words, date_fields, successor_link
from lineclear.gateway.entry import Parsed
from lineclear.gateway.fields import id_fields, limit_fields, policy_fields, refusal_fields, snapshot_fields
from lineclear.gateway.head import read_key
from lineclear.gateway.identify import Identified
from lineclear.gateway.parts import Parts
from lineclear.gateway.snapshot import Candidate, RouteView, Snapshot
from lineclear.gateway.split import Assigned, assign
from lineclear.gateway.trace import Trace
from lineclear.handover.inner_door import InnerPrincipal
from lineclear.net.server import Reply, Request
from lineclear.wire.problems import problem

OF_THE_HEAD: Final = frozenset({ErrorCode.INVALID_HEADER, ErrorCode.SIMULATE_FORBIDDEN})
"""Refusals of a head whose key may be known all the same."""
BEFORE_ARMS: Final = frozenset({ErrorCode.STOPPED, ErrorCode.TASK_REQUIRED, ErrorCode.TASK_NOT_ALLOWED})
"""Refusals of a route that its releases have no part in, so that they belong to no arm."""


@dataclass(slots=True)
class Reached:
    """How far a walk came before it ended; None = not reached."""

    operation: Operation
    request_id: str
    request: Request
    snapshot: Snapshot | None = None
    identified: Identified | None = None
    parsed: Parsed | None = None
    admitted: Admitted | None = None


def refuse(parts: Parts, reached: Reached, error: LineclearError, trace: Trace, reply: Reply) -> None:
    """Tell the caller, and put a known caller's refusal on record."""
    told = problem(OPERATION_DIALECT[reached.operation], error, reached.request_id)
    if reached.snapshot is not None and error.code in OF_THE_HEAD:
        reached.identified = known_caller(
            parts, reached.snapshot, reached.request, reached.operation, reached.request_id
        )
    if reached.identified is None:
        kind = "unidentified_refused" if isinstance(error, CallerError) else "unidentified_failed"
        parts.counters[kind] += 1
    else:
        parts.ledger.append(_record(reached, reached.identified, error, told.status, trace, parts.clock))
    fields = id_fields(reached.request_id) + refusal_fields(trace.elapsed_us()) + policy_fields(error.rules)
    route = _route(reached, error)
    if route is not None:
        fields += route.fields
    elif reached.identified is not None and reached.snapshot is not None:
        fields += snapshot_fields(reached.snapshot.revision, reached.identified.environment)
    if error.left is not None:
        fields += limit_fields(error.left, OPERATION_DIALECT[reached.operation], 0, parts.clock.unix_us())
    if error.code is ErrorCode.MODEL_RETIRED and route is not None:
        fields += _retirement(reached, route, parts.clock)
    if error.successor is not None:
        fields += f"link: {successor_link(error.successor)}\r\n"
    reply.whole(told.status, told.head + fields.encode(), told.body)


def known_caller(
    parts: Parts, snapshot: Snapshot, request: Request, operation: Operation, request_id: str
) -> Identified | None:
    """Who sent a request that was refused before anybody asked; None if the key is none either."""
    try:
        return parts.identify(snapshot, read_key(request, operation, request_id), parts.clock)
    except CallerError:
        return None


def _retirement(reached: Reached, route: RouteView, clock: Clock) -> str:
    """Since when the version is deprecated and when its end was, as far as its card says."""
    if reached.snapshot is None or reached.parsed is None:
        return ""
    admission = judged(route, reached.parsed, clock)
    refusal = admission.refusal if admission is not None else None
    version = reached.snapshot.versions.get(refusal.version) if refusal is not None else None
    return "" if version is None else date_fields(version)


def _asked_route(reached: Reached, error: LineclearError) -> RouteView | None:
    """The route asked for, unless the caller must not learn that it exists."""
    if reached.snapshot is None or reached.parsed is None or error.code is ErrorCode.MODEL_NOT_FOUND:
        return None
    parsed = reached.parsed
    return reached.snapshot.routes.get((parsed.identified.environment, parsed.view.model))


def _route(reached: Reached, error: LineclearError) -> RouteView | None:
    """The same with the release of the call's arm, or with the one that control named."""
    route = _asked_route(reached, error)
    if route is not None and reached.identified is not None and reached.identified.inner is not None:
        return _inner_route(route, reached.identified.inner)
    assigned = _assigned(reached, route, error)
    return route if route is None or assigned is None else arm_view(route, assigned)


def _inner_route(route: RouteView, inner: InnerPrincipal) -> RouteView:
    """As `admit` chose it; where the named release is not there, the route stands for itself."""
    named = route.candidate
    return named if named is not None and named.digest == inner.release else route


def _assigned(reached: Reached, route: RouteView | None, error: LineclearError) -> Assigned | None:
    """The arm that the refused call was on. Who is refused by an arm's release counts in that arm (decision 40)."""
    if reached.admitted is not None:
        return reached.admitted.assigned
    if reached.identified is not None and reached.identified.inner is not None:
        return None
    if route is None or route.split is None or reached.parsed is None or error.code in BEFORE_ARMS:
        return None
    # `admit` dealt it in this same moment; nothing that decides can have changed since.
    return assign(route.split, reached.parsed.identified.head)


def _considered(reached: Reached, error: LineclearError, trace: Trace, clock: Clock) -> tuple[CandidateRecord, ...]:
    """Every target of the route and why it was left out, for `explain`."""
    admitted = reached.admitted
    if admitted is None:
        if reached.snapshot is None or reached.parsed is None or error.code is ErrorCode.MODEL_NOT_FOUND:
            return ()
        return excluded_targets(_route(reached, error), reached.parsed, clock)
    now_ns, now_s = trace.started_ns, trace.started_us // 1_000_000
    ill = [
        CandidateRecord(candidate.model, 0.0, _why_not(candidate, now_ns, now_s))
        for candidate in admitted.admission.orders[0].candidates
    ]
    return (*ill, *admitted.admission.excluded)


def _why_not(candidate: Candidate, now_ns: int, now_s: int) -> str:
    ends_s = brownout_end_s(candidate.brownouts, now_s)
    return candidate.health.exclusion(now_ns) or ("" if ends_s is None else brownout_words(ends_s))


def _record(
    reached: Reached, identified: Identified, error: LineclearError, status: int, trace: Trace, clock: Clock
) -> Refusal:
    head = identified.head
    admitted = reached.admitted
    route = _route(reached, error)
    assigned = _assigned(reached, _asked_route(reached, error), error)
    duration_us = trace.elapsed_us()
    return Refusal(
        id=reached.request_id,
        at_us=trace.started_us + duration_us,
        environment=identified.environment,
        team=identified.app.team,
        app=identified.app.name,
        key_id=identified.key_id,
        route=reached.parsed.view.model[:256] if reached.parsed is not None else "",
        release=route.release if route is not None else "",
        revision=reached.snapshot.revision if reached.snapshot is not None else 0,
        operation=reached.operation.value,
        dialect=OPERATION_DIALECT[reached.operation].value,
        status=status,
        error_code=error.code.value,
        rules=error.rules,
        candidates=_considered(reached, error, trace, clock),
        task=admitted.task if admitted is not None else "",
        duration_us=duration_us,
        inbound_id=head.inbound_id,
        arm=assigned.arm if assigned is not None else "",
        rollout=assigned.rollout if assigned is not None else "",
        weight_bp=assigned.weight_bp if assigned is not None else 0,
        unit_hash=assigned.unit_hash if assigned is not None else "",
        data_class=data_class_of(route.data_class, head.data_class).value if route is not None else "",
    )
