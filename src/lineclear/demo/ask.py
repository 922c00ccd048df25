"""The first half of a simulated request: may it be asked, and of which targets? Up to the intent nothing is reserved.

In: a habit, a snapshot, the instant at which the clock stands. Out: Asked, or the record of a refusal. Grants, tasks,
cards and targets' health are looked up as steps `admit` and `plan` do it, in the snapshot that a gateway would hold.
"""

import random

import msgspec

from lineclear.demo.callers import Caller
from lineclear.demo.clock import HistoryClock
from lineclear.demo.tries import spread
from lineclear.domain.errors import CallerError, ErrorCode, LineclearError, PlatformFault
from lineclear.domain.exchange import OPERATION_DIALECT
from lineclear.domain.ledger import CandidateRecord, Refusal
from lineclear.domain.money import BYTES_PER_ESTIMATED_TOKEN, Usage, cost_nano_usd, estimated_tokens
from lineclear.gateway.plan import leave_out
from lineclear.gateway.reserve import OUTPUT_TOKENS_DEFAULT, STREAM_SLICE_TOKENS, UNKNOWN_OUTPUT_TOKENS
from lineclear.gateway.snapshot import Admission, AppView, Candidate, Order, RouteView, Snapshot
from lineclear.wire.problems import status_of

REFUSAL_US = 140
"""Median until a call is turned away."""


class Asked(msgspec.Struct, frozen=True, gc=False):
    """A call that is allowed, with the targets that are well enough to be tried."""

    id: str
    at_us: int
    caller: Caller
    app: AppView
    route: RouteView
    task: str
    data_class: str
    order: Order
    candidates: tuple[Candidate, ...]
    considered: tuple[CandidateRecord, ...]
    input_tokens: int
    is_stream: bool
    tokens: int
    nano_usd: int
    steps_us: list[int]


def ask(
    snapshot: Snapshot, caller: Caller, request_id: str, clock: HistoryClock, steps_us: list[int], chance: random.Random
) -> Asked:
    """A call that begins now.

    Raises:
        CallerError: it may not be made.
        PlatformFault: none of its targets can be tried.
    """
    app = snapshot.apps[caller.app]
    route = snapshot.routes.get((caller.environment, caller.route))
    if route is None or not (app.all_routes or route.name in app.granted):
        raise CallerError(ErrorCode.MODEL_NOT_FOUND, f"no route named {caller.route!r} that this key may call")
    if caller.task and caller.task not in route.tasks:
        raise CallerError(
            ErrorCode.TASK_NOT_ALLOWED, f"task {caller.task!r} is not one of them", rules=("task.not-listed",)
        )
    admission = _admission(route, caller)
    if admission.refusal is not None:
        raise admission.refusal.error(route.name)
    order = admission.orders[0]
    if len(admission.orders) > 1:
        order = chance.choices(admission.orders, admission.weights)[0]
    candidates, considered = order.candidates, order.considered
    if any(candidate.health.is_suspect or candidate.brownouts for candidate in candidates):
        candidates, considered = leave_out(route, admission, order, clock)
    input_tokens = max(3, int(spread(caller.input_tokens, chance, 0.55)))
    is_stream = chance.random() < caller.stream_share
    tokens, nano_usd = _bounds(app, route, order, input_tokens, is_stream)
    return Asked(
        request_id, clock.unix_us(), caller, app, route, _task(route, caller), _data_class(route, caller), order,
        candidates, considered, input_tokens, is_stream, tokens, nano_usd, steps_us,
    )  # fmt: skip


def refusal(
    snapshot: Snapshot,
    caller: Caller,
    request_id: str,
    key_id: str,
    clock: HistoryClock,
    error: LineclearError,
    chance: random.Random,
) -> Refusal:
    """The record of a call that was turned away before any intent, as step `refuse` writes it."""
    app = snapshot.apps[caller.app]
    route = snapshot.routes.get((caller.environment, caller.route))
    if error.code is ErrorCode.MODEL_NOT_FOUND:
        route = None
    task = ""
    considered: tuple[CandidateRecord, ...] = ()
    if route is not None and isinstance(error, PlatformFault):
        now_ns, admission = clock.monotonic_ns(), _admission(route, caller)
        ill = [CandidateRecord(one.model, 0.0, one.health.exclusion(now_ns)) for one in admission.orders[0].candidates]
        task, considered = _task(route, caller), (*ill, *admission.excluded)
    duration_us = int(spread(REFUSAL_US, chance))
    return Refusal(
        id=request_id,
        at_us=clock.unix_us() + duration_us,
        environment=caller.environment,
        team=app.team,
        app=app.name,
        key_id=key_id,
        route=caller.route,
        release="" if route is None else route.release,
        revision=snapshot.revision,
        operation=caller.operation.value,
        dialect=OPERATION_DIALECT[caller.operation].value,
        status=status_of(error),
        error_code=error.code.value,
        rules=error.rules,
        candidates=considered,
        task=task,
        duration_us=duration_us,
        inbound_id="",
        data_class="" if route is None else _data_class(route, caller),
    )


def _task(route: RouteView, caller: Caller) -> str:
    return caller.task or (route.tasks[0] if route.tasks else "")


def _data_class(route: RouteView, caller: Caller) -> str:
    return (caller.data_class or route.data_class).value


def _admission(route: RouteView, caller: Caller) -> Admission:
    return route.admissions[caller.operation, _task(route, caller), caller.data_class or route.data_class]


def _bounds(app: AppView, route: RouteView, order: Order, input_tokens: int, is_stream: bool) -> tuple[int, int]:
    """Tokens and nano-USD that step `reserve` would take for a caller who names no cap."""
    accounts = (app.accounts, route.accounts)
    has_budget = any(one.has_budget for one in accounts)
    if not (has_budget or any(one.has_tokens for one in accounts)):
        return 0, 0
    prompt_bytes = input_tokens * BYTES_PER_ESTIMATED_TOKEN
    if not has_budget:
        return estimated_tokens(prompt_bytes) + UNKNOWN_OUTPUT_TOKENS, 0
    cap = route.max_tokens or order.output_cap or OUTPUT_TOKENS_DEFAULT
    paid = min(cap, STREAM_SLICE_TOKENS) if is_stream else cap
    bound = Usage(input_tokens=prompt_bytes, output_tokens=paid)
    return estimated_tokens(prompt_bytes) + cap, cost_nano_usd(bound, order.dearest)
