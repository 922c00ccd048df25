"""Step `attempt`: one try at one target, up to the commit point.

In: Reserved and a candidate. Out: Opened: a whole answer, or a stream whose first content is here. Every
failure is an UpstreamError that says what it was and whether bytes were sent; `recover` decides. Until this
step returns, nothing has gone out to the caller.
"""

from collections.abc import Callable
from typing import Final, Never

import msgspec

from lineclear.base.clock import Clock
from lineclear.domain.capability import CONVERSATIONS
from lineclear.domain.errors import AttemptClass, ErrorCode, Sent, UpstreamError
from lineclear.domain.exchange import OPERATION_DIALECT, Dialect, Event, Operation
from lineclear.gateway.live import TargetHealth
from lineclear.gateway.replicas import GONE_PHASES
from lineclear.gateway.reserve import Reserved
from lineclear.gateway.snapshot import Candidate
from lineclear.gateway.status import error_of_status, retry_after_ms
from lineclear.gateway.trace import Trace
from lineclear.gateway.watch import FOLDS, Watch
from lineclear.gateway.withhold import Withheld
from lineclear.net.upstream import Pool, UpstreamCall
from lineclear.providers.address import ANTHROPIC_VERSION, Address
from lineclear.wire.codec import Patch, StreamReader

UNARY_HOLD_BYTES = 1024 * 1024
"""A whole answer up to this is held, so that its head can carry the cost (decision 51)."""
PREAMBLE_BYTES_MAX = 256 * 1024
"""What a stream may send before its first content. Source: research/protocols.md §3.3, commit point."""
ERROR_BODY_BYTES_MAX = 64 * 1024
FIRST_EVENT_S_WITH_OTHERS = 12.0
FIRST_EVENT_S_ALONE = 60.0
"""Wait for a stream's first event, with and without another candidate (decision 26)."""

SPEAKING: Final = frozenset({Operation.CHAT, Operation.MESSAGES, Operation.COMPLETIONS})
"""Operations whose answers are text; output rules have nothing to read in a number, a vector or a label."""
ANTHROPIC_FIELD = b"anthropic-version"
CHAT: Final = Operation.CHAT
ANTHROPIC: Final = Dialect.ANTHROPIC
"""Reading an enum member through its class costs ten times a module name on Python 3.11."""
_NS_PER_S = 1_000_000_000


class Opened(msgspec.Struct, frozen=True, gc=False):
    """A target answers. For a stream the first content is in `first_bytes`; a whole answer is in `body`."""

    reserved: Reserved
    candidate: Candidate
    attempt: int
    call: UpstreamCall
    watch: Watch
    reader: StreamReader | None
    """Set for a stream."""
    first_bytes: bytes
    body: bytes
    is_whole: bool
    """The body is here to its end."""


def total_deadline_ns(reserved: Reserved, trace: Trace) -> int:
    """The exchange's own end: the route's total, or less if the caller asked for less."""
    admitted = reserved.planned.admitted
    total_ns = int(admitted.route.timeouts.total_s * _NS_PER_S)
    asked_ms = admitted.parsed.identified.head.timeout_ms
    if asked_ms is not None:
        total_ns = min(total_ns, asked_ms * 1_000_000)
    return trace.started_ns + total_ns


def name_deadline(error: UpstreamError, reserved: Reserved) -> None:
    """Says whose deadline it was where the exchange's own end came, so that nobody looks for a fault in the target."""
    if error.phase != "total":
        return
    admitted = reserved.planned.admitted
    total_s, asked_ms = admitted.route.timeouts.total_s, admitted.parsed.identified.head.timeout_ms
    if asked_ms is not None and asked_ms < total_s * 1000:
        error.message = f"the answer was not complete within the {asked_ms} ms that x-lineclear-timeout-ms allows"
        error.hint = "allow more, or leave x-lineclear-timeout-ms out"
    else:
        route = admitted.route.name
        error.message = f"the answer was not complete within the {total_s:g} s that route {route!r} allows"
        error.hint = "ask for a shorter answer, or the route's team for a longer `timeouts.total_s`"


async def attempt(
    reserved: Reserved,
    candidate: Candidate,
    number: int,
    fresh: bool,
    pool: Pool,
    clock: Clock,
    trace: Trace,
) -> Opened:
    """Call one target.

    Raises:
        UpstreamError: with the class that `recover` reads; the connection is closed or released.
        ClientGone: if the caller hangs up; the connection is closed.
    """
    parsed = reserved.planned.admitted.parsed
    health = candidate.health
    where = _address(candidate, parsed.identified.head.operation, health, clock, pool)
    body = _body(reserved, candidate)
    call = pool.call(where.origin, where.credential_id, _head(reserved, candidate, where, number, len(body)), body)
    trace.call = call
    if parsed.view.stream:
        call.deadline(*_first_deadline(reserved, candidate, trace, clock))
    else:
        call.deadline(total_deadline_ns(reserved, trace), "total")
    health.begin()
    try:
        await call.open(fresh=fresh, connect_s=reserved.planned.admitted.route.timeouts.connect_s)
        if call.status != 200:
            await _raise_refused(call, reserved, clock)
        if parsed.view.stream:
            return await _open_stream(reserved, candidate, number, call)
        return await _open_whole(reserved, candidate, number, call)
    except BaseException as error:
        call.abort()
        health.end()
        if isinstance(error, UpstreamError):
            name_deadline(error, reserved)
            _blame(error, reserved, candidate, where)
        raise


async def _open_whole(reserved: Reserved, candidate: Candidate, number: int, call: UpstreamCall) -> Opened:
    codec = reserved.planned.admitted.parsed.codec
    whole = call.rest()
    body = whole or b""
    is_whole = whole is not None
    while not is_whole and len(body) <= UNARY_HOLD_BYTES:
        more = await call.read()
        body += more
        is_whole = not more
    watch = Watch(drop_usage_frame=False, guard=_output_guard(reserved))
    if is_whole:
        call.release()
        events = fold_whole(watch, codec.read_whole, body, call.status)
        if watch.guard is not None:
            body = await watch.guard.whole(body, events)
    elif watch.guard is not None:
        watch.guard.block_unread()
    return Opened(reserved, candidate, number, call, watch, None, b"", body, is_whole)


def _output_guard(reserved: Reserved) -> Withheld | None:
    admitted = reserved.planned.admitted
    guardrails = admitted.route.guardrails
    if guardrails is None or guardrails.output is None:
        return None
    if admitted.parsed.identified.head.operation not in SPEAKING:
        return None
    return Withheld(guardrails.output, admitted.parsed.codec.dialect)


def fold_whole(
    watch: Watch, read_whole: Callable[[bytes], tuple[Event, ...]], body: bytes, status: int
) -> tuple[Event, ...]:
    """Fold a whole answer into the watch; returns its events.

    Raises:
        UpstreamError: UPSTREAM_BAD_RESPONSE if it is no answer of the dialect, UPSTREAM_ERROR if it is an
            error in a 200's clothes.
    """
    try:
        events = read_whole(body)
    except ValueError as error:
        raise bad_response("the target's answer is not one of its dialect", status) from error
    for event in events:
        FOLDS[type(event)](watch, event)
    if watch.failed is not None:
        raise UpstreamError(
            ErrorCode.UPSTREAM_ERROR,
            f"the target answered with an error of type {watch.failed.native_type!r}",
            attempt_class=AttemptClass.REJECTED,
            sent=Sent.YES,
            status=status,
        )
    return events


def bad_response(message: str, status: int) -> UpstreamError:
    """A 200 that cannot be used; its body is never shown to the caller (row U12).

    The work was done and will be billed, so it is not asked for again at the same target.
    """
    return UpstreamError(
        ErrorCode.UPSTREAM_BAD_RESPONSE,
        message,
        attempt_class=AttemptClass.AMBIGUOUS,
        sent=Sent.YES,
        status=status,
        phase="body",
    )


async def _open_stream(reserved: Reserved, candidate: Candidate, number: int, call: UpstreamCall) -> Opened:
    parsed = reserved.planned.admitted.parsed
    content_type = call.headers.get(b"content-type", b"")
    if not content_type.startswith(b"text/event-stream"):
        raise bad_response("the target answered a streaming request with something that is not a stream", call.status)
    watch = Watch(drop_usage_frame=not parsed.view.wants_stream_usage, guard=_output_guard(reserved))
    reader = parsed.codec.stream_reader()
    first_bytes = b""
    while not watch.committed:
        data = await call.read()
        first_bytes += watch.take(reader.feed(data) if data else reader.end())
        if watch.committed:
            break  # what came before an error in the same read is the caller's, and is paid for
        if watch.failed is not None:
            raise UpstreamError(
                ErrorCode.UPSTREAM_ERROR,
                f"the target's stream began with an error of type {watch.failed.native_type!r}",
                attempt_class=AttemptClass.REJECTED,
                sent=Sent.YES,
                status=call.status,
                phase="first_event",
                hint="try again after a moment",
            )
        if not data:
            raise bad_response("the target's stream ended before any content", call.status)
        if len(first_bytes) > PREAMBLE_BYTES_MAX:
            raise bad_response(f"the target's stream had no content in {PREAMBLE_BYTES_MAX} bytes", call.status)
    return Opened(
        reserved=reserved,
        candidate=candidate,
        attempt=number,
        call=call,
        watch=watch,
        reader=reader,
        first_bytes=first_bytes,
        body=b"",
        is_whole=False,
    )


async def _raise_refused(call: UpstreamCall, reserved: Reserved, clock: Clock) -> Never:
    """The target's refusal as one of ours, its body read as far as it may be passed on."""
    body = b""
    while len(body) <= ERROR_BODY_BYTES_MAX:
        more = await call.read()
        if not more:
            call.release()
            break
        body += more
    codec = reserved.planned.admitted.parsed.codec
    raise error_of_status(call.status, body, codec.read_error(body)[0], retry_after_ms(call.headers, clock))


def _blame(error: UpstreamError, reserved: Reserved, candidate: Candidate, where: Address) -> None:
    """Notes a failure against whom it speaks: one process of the target, the whole of it, or nobody but the caller."""
    is_callers = is_callers_doing(error, reserved, candidate)
    # Nobody can ask for a process that is gone.
    if candidate.replicas is not None and (error.phase in GONE_PHASES or not is_callers):
        operation = reserved.planned.admitted.parsed.identified.head.operation
        if candidate.replicas.takes_blame(candidate.addresses[operation], where, error):
            return
    if not is_callers:
        _learn(error, candidate.health, where.credential_id)


def is_callers_doing(error: UpstreamError, reserved: Reserved, candidate: Candidate) -> bool:
    """A fault or a deadline that the caller asked for says nothing of the target, and must not cost others anything."""
    head = reserved.planned.admitted.parsed.identified.head
    if error.status == 403 and head.operation not in CONVERSATIONS:
        return True  # vendors forbid embeddings of a chat model so: a verdict on the call, not on the credential
    return (candidate.is_hosted and head.simulate != "") or (error.phase == "total" and head.timeout_ms is not None)


def _learn(error: UpstreamError, health: TargetHealth, credential_id: str) -> None:
    """What a failure says about the target's or the credential's health."""
    match error.code:
        case ErrorCode.UPSTREAM_AUTH | ErrorCode.UPSTREAM_QUOTA:
            if error.status != 403 or health.doubt(credential_id):
                # One 403 may be a verdict on one request; twice in a row it is the credential.
                health.park(credential_id, error.retry_after_ms)
        case ErrorCode.UPSTREAM_RATE_LIMITED:
            if error.retry_after_ms is not None:
                health.throttled(error.retry_after_ms)
        case ErrorCode.UPSTREAM_REFUSED:
            health.succeeded()  # it answered, and the request was at fault
        case _:
            health.failed()
            if error.retry_after_ms is not None and error.code is ErrorCode.UPSTREAM_OVERLOADED:
                health.throttled(error.retry_after_ms)


def _address(candidate: Candidate, operation: Operation, health: TargetHealth, clock: Clock, pool: Pool) -> Address:
    addresses = candidate.addresses[operation]
    if candidate.replicas is not None:
        return candidate.replicas.choose(addresses, pool.in_flight)
    if not health.parked_until_ns:
        return addresses[0]
    now_ns = clock.monotonic_ns()
    for where in addresses:
        if health.parked_until_ns.get(where.credential_id, 0) <= now_ns:
            return where
    raise UpstreamError(
        ErrorCode.UPSTREAM_AUTH,
        f"every credential for {candidate.model} was refused by its provider or is out of quota",
        attempt_class=AttemptClass.REJECTED,
        sent=Sent.NO,
        hint="an operator has to renew the provider's credential",
    )


def _body(reserved: Reserved, candidate: Candidate) -> bytes:
    planned = reserved.planned
    parsed = planned.admitted.parsed
    view = parsed.view
    prompt = planned.admitted.route.prompt
    patch = Patch(
        candidate.upstream_id,
        view.stream and not view.wants_stream_usage,
        reserved.output_cap,
        planned.prompt_text,
        prompt.mode if prompt is not None else "prepend",
        planned.admitted.admission.defaults,
        planned.admitted.admission.tools,
        planned.admitted.admission.tools_replace,
    )
    return parsed.codec.patch(parsed.body, parsed.tree, patch)


def _head(reserved: Reserved, candidate: Candidate, where: Address, number: int, body_bytes: int) -> bytes:
    head = reserved.planned.admitted.parsed.identified.head
    extra = head.passed_on
    if head.operation is not CHAT and OPERATION_DIALECT[head.operation] is ANTHROPIC and ANTHROPIC_FIELD not in extra:
        extra += b"anthropic-version: " + ANTHROPIC_VERSION.encode() + b"\r\n"
    if head.simulate and candidate.is_hosted:
        extra += b"x-lineclear-simulate: " + head.simulate.encode() + b"\r\n"
    return b"%bx-request-id: %b.%d\r\ncontent-length: %d\r\n%b\r\n" % (
        where.head,
        head.request_id.encode(),
        number,
        body_bytes,
        extra,
    )


def _first_deadline(reserved: Reserved, candidate: Candidate, trace: Trace, clock: Clock) -> tuple[int, str]:
    """When the target must have sent the first event of a stream, and what that limit is called."""
    total_ns = total_deadline_ns(reserved, trace)
    wait_s = reserved.planned.admitted.route.timeouts.first_event_s
    if wait_s is None:
        has_others = len(reserved.planned.candidates) > 1 and not candidate.slow
        wait_s = FIRST_EVENT_S_WITH_OTHERS if has_others else FIRST_EVENT_S_ALONE
    first_ns = clock.monotonic_ns() + int(wait_s * _NS_PER_S)
    return (first_ns, "first_event") if first_ns < total_ns else (total_ns, "total")
