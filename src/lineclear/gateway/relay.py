"""Step `relay`: the answer goes out as it comes in, everything but its last bytes.

In: Opened. Out: Relayed: how it ended and the bytes still to send once the settle is on record. After the
first byte nothing is replayed and no error becomes a response; a hang-up is an outcome.
"""

from typing import Final

import msgspec

from lineclear.base.clock import Clock
from lineclear.domain.accounts import Denied, Extend
from lineclear.domain.errors import (
    AttemptClass,
    CallerError,
    ClientGone,
    ErrorCode,
    LineclearError,
    PlatformFault,
    Sent,
    UpstreamError,
)
from lineclear.domain.exchange import Dialect
from lineclear.domain.ledger import Checkpoint, LedgerSink, Outcome
from lineclear.domain.money import cost_nano_usd, usd_text
from lineclear.gateway.accounts import AccountantClient
from lineclear.gateway.attempt import Opened, fold_whole, name_deadline, total_deadline_ns
from lineclear.gateway.fields import (
    JSON_FIELDS,
    STREAM_FIELDS,
    exchange_fields,
    limit_fields,
    policy_fields,
    upstream_rate_fields,
)
from lineclear.gateway.passage import UNLIMITED, Passage
from lineclear.gateway.plan import Planned
from lineclear.gateway.reserve import STREAM_SLICE_TOKENS, cost_bound_nano_usd, denial
from lineclear.gateway.trace import Trace
from lineclear.net.server import Reply
from lineclear.wire.problems import problem

OK: Final = Outcome.OK
"""Reading an enum member through its class costs ten times a module name on Python 3.11."""
CHECKPOINT_NS = 1_000_000_000
"""Progress of a stream is on record at least this often. Source: reliability-security.md §2, row S9."""

_NS_PER_S = 1_000_000_000


class Relayed(msgspec.Struct, frozen=True, gc=False):
    """How an exchange ended, before it is settled."""

    outcome: Outcome
    error: LineclearError | None
    status: int
    """HTTP status that went or goes to the caller; 0 if nothing does."""
    tail: bytes
    """The last bytes, held back: a whole answer, a problem, a stream's terminator or its error frame."""
    first_event_us: int = 0
    response_bytes: int = 0
    problem_fields: bytes = b""
    """Header lines of the problem, where `tail` is one."""


GONE = Relayed(Outcome.CLIENT_GONE, None, 0, b"")
"""The caller hung up before anything was sent to it."""

DEFECT = Relayed(Outcome.FAULT, PlatformFault(ErrorCode.INTERNAL_ERROR, "the walk ended unexpectedly"), 500, b"")
"""What is on record when the walk itself breaks; the exception goes on to the process edge."""


class Line(msgspec.Struct, frozen=True, gc=False):
    """What a relay needs beside the answer."""

    reply: Reply
    ledger: LedgerSink
    accountant: AccountantClient
    clock: Clock
    trace: Trace


async def relay(opened: Opened, line: Line) -> Relayed:
    """Pass the answer on. Never raises for what the target or the caller does."""
    guard = opened.watch.guard
    withheld = line.trace.cut or (guard.blocked if guard is not None else None)
    if withheld is not None:
        if not opened.is_whole:
            opened.call.abort()
        parsed = opened.reserved.planned.admitted.parsed
        return unanswered(withheld, parsed.codec.dialect, parsed.identified.head.request_id)
    if opened.is_whole:
        return Relayed(OK, None, 200, opened.body, line.trace.elapsed_us(), len(opened.body))
    first_event_us = line.trace.elapsed_us()
    error: LineclearError | None = None
    try:
        if opened.reader is None:
            await _pass_long_answer(opened, line)
        else:
            await _pass_stream(opened, line)
    except ClientGone:
        opened.call.abort()
        return Relayed(Outcome.CLIENT_GONE, None, 200, b"", first_event_us, line.reply.bytes_out)
    except LineclearError as failure:
        opened.call.abort()
        error = failure
        if isinstance(error, UpstreamError):
            name_deadline(error, opened.reserved)
    return _end(opened, line, error, first_event_us)


def rules_of(planned: Planned, opened: Opened | None, error: LineclearError | None) -> tuple[str, ...]:
    """Ids of the rules that refused, redacted or flagged so far."""
    refused = error.rules if error is not None else ()
    flags = planned.admitted.flags
    if planned.admitted.route.guardrails is None and not flags:
        return refused
    guard = opened.watch.guard if opened is not None else None
    return tuple(dict.fromkeys((*refused, *flags, *(guard.flags if guard is not None else ()))))


def waste_field(planned: Planned, trace: Trace) -> str:
    """What attempts that failed may cost, told to control alone: its caps count it, an app's bill does not show it."""
    if not trace.waste_nano_usd or planned.admitted.parsed.identified.inner is None:
        return ""
    return f"x-lineclear-waste-usd: {usd_text(trace.waste_nano_usd)}\r\n"


def unanswered(error: LineclearError, dialect: Dialect, request_id: str) -> Relayed:
    """The end of an exchange whose caller gets a problem instead of an answer."""
    told = problem(dialect, error, request_id)
    return Relayed(_outcome(error), error, told.status, told.body, problem_fields=told.head)


def _outcome(error: LineclearError) -> Outcome:
    match error:
        case CallerError():
            return Outcome.REFUSED
        case UpstreamError():
            if error.attempt_class is AttemptClass.CLIENT_ERROR:
                return Outcome.REJECTED
            return Outcome.DEADLINE if error.phase == "total" else Outcome.FAILED
        case _ if error.code is ErrorCode.STOPPED:
            return Outcome.REFUSED
        case _:
            return Outcome.FAILED if error.code is ErrorCode.NO_HEALTHY_TARGET else Outcome.FAULT


def _end(opened: Opened, line: Line, error: LineclearError | None, first_event_us: int) -> Relayed:
    watch = opened.watch
    admitted = opened.reserved.planned.admitted
    response_bytes = line.reply.bytes_out
    if error is None and watch.failed is not None:
        # The vendor's own error frame goes out as it came; it is the end of this answer (row U11).
        vendor_error = UpstreamError(
            ErrorCode.UPSTREAM_ERROR,
            f"the target failed inside its stream with {watch.failed.native_type!r}",
            attempt_class=AttemptClass.PARTIAL,
            sent=Sent.YES,
        )
        return Relayed(Outcome.TRUNCATED, vendor_error, 200, watch.tail, first_event_us, response_bytes)
    if error is None and not watch.is_complete and opened.reader is not None:
        error = UpstreamError(
            ErrorCode.UPSTREAM_TRUNCATED,
            "the target's stream ended without its terminator",
            attempt_class=AttemptClass.PARTIAL,
            sent=Sent.YES,
        )
    if error is None:
        return Relayed(Outcome.OK, None, 200, watch.tail, first_event_us, response_bytes)
    tail = b""
    if opened.reader is not None:
        tail = admitted.parsed.codec.error_frame(error, admitted.parsed.identified.head.request_id)
    return Relayed(Outcome.TRUNCATED, error, 200, tail, first_event_us, response_bytes)


async def _pass_stream(opened: Opened, line: Line) -> None:
    """Pass a stream's frames on until its terminator, an error frame or its end."""
    if opened.reader is None:
        raise PlatformFault(ErrorCode.INTERNAL_ERROR, "a stream without a reader reached relay")
    reply, clock = line.reply, line.clock
    admitted = opened.reserved.planned.admitted
    reply.begin(200, _head(opened, line, STREAM_FIELDS), opened.first_bytes)
    is_single = admitted.parsed.view.choices == 1
    passage = Passage(opened.call, opened.reader, opened.watch, reply, clock.monotonic_ns, is_single=is_single)
    between_s = admitted.route.timeouts.between_events_s
    passage.begin(total_deadline_ns(opened.reserved, line.trace), int(between_s * _NS_PER_S))
    passage.look_up_ns = clock.monotonic_ns() + CHECKPOINT_NS
    paid_tokens = opened.reserved.slice_tokens
    passage.paid_bytes = _paid_bytes(opened, paid_tokens)
    while not passage.is_over:
        await opened.call.pass_on(passage.take)
        line.trace.demand_open()
        while opened.watch.output_bytes > passage.paid_bytes:
            paid_before, paid_tokens = paid_tokens, await _pay_next_slice(opened, line, paid_tokens)
            if paid_tokens == paid_before:
                break
            passage.paid_bytes = _paid_bytes(opened, paid_tokens)
        if passage.held:
            reply.chunk(passage.held)
            passage.held = b""
        if reply.is_behind:
            await line.trace.drained(reply)
        if clock.monotonic_ns() >= passage.look_up_ns:
            line.ledger.append(_checkpoint(opened, line))
            passage.look_up_ns = clock.monotonic_ns() + CHECKPOINT_NS


def _paid_bytes(opened: Opened, paid_tokens: int) -> int:
    """Output up to which no more has to be paid for: half a slice less than is paid, since bytes bound tokens."""
    if not 0 < paid_tokens < opened.reserved.output_bound:
        return UNLIMITED
    return paid_tokens - STREAM_SLICE_TOKENS // 2


async def _pass_long_answer(opened: Opened, line: Line) -> None:
    """A whole answer too long to be held goes out as it comes, without its cost in the head."""
    reply, call = line.reply, opened.call
    reply.begin(200, _head(opened, line, JSON_FIELDS), opened.body)
    call.deadline(total_deadline_ns(opened.reserved, line.trace), "total")
    parts = [opened.body]
    while data := await call.read():
        parts.append(data)
        line.trace.demand_open()
        reply.chunk(data)
        await line.trace.drained(reply)
    call.release()
    codec = opened.reserved.planned.admitted.parsed.codec
    fold_whole(opened.watch, codec.read_whole, b"".join(parts), call.status)


async def _pay_next_slice(opened: Opened, line: Line, paid_tokens: int) -> int:
    """Reserve the next slice ahead of the output counted so far; bytes bound tokens.

    Raises:
        CallerError: if the budget does not cover it: the stream is cut, what was sent is billed.
    """
    planned = opened.reserved.planned
    slice_tokens = min(STREAM_SLICE_TOKENS, opened.reserved.output_bound - paid_tokens)
    nano_usd = cost_bound_nano_usd(planned, 0, slice_tokens)
    head = planned.admitted.parsed.identified.head
    reply = await line.accountant.extend(Extend(head.request_id, 0, nano_usd))
    if isinstance(reply, Denied):
        if opened.watch.output_bytes < paid_tokens:
            return paid_tokens  # what is paid for is not used up yet; ask again with the next event
        raise denial(reply, nano_usd)
    return paid_tokens + slice_tokens


def _checkpoint(opened: Opened, line: Line) -> Checkpoint:
    planned = opened.reserved.planned
    usage, _ = opened.watch.billed_usage(planned.prompt_bytes)
    price = opened.candidate.price
    return Checkpoint(
        id=planned.admitted.parsed.identified.head.request_id,
        at_us=line.clock.unix_us(),
        attempt=opened.attempt,
        model=opened.candidate.model,
        provider=opened.candidate.provider,
        usage=usage,
        cost_nano_usd=cost_nano_usd(usage, price) if price is not None else 0,
    )


def _head(opened: Opened, line: Line, content_fields: bytes) -> bytes:
    reserved = opened.reserved
    parsed = reserved.planned.admitted.parsed
    elapsed_us = line.trace.elapsed_us()
    upstream_us = line.trace.upstream_until_us(elapsed_us)
    fields = exchange_fields(
        reserved.planned, opened.attempt, opened.candidate, elapsed_us, upstream_us
    ) + limit_fields(reserved.granted, parsed.codec.dialect, 0, line.trace.started_us + elapsed_us)
    fields += policy_fields(rules_of(reserved.planned, opened, None)) + waste_field(reserved.planned, line.trace)
    return content_fields + fields.encode() + upstream_rate_fields(opened.call.headers)
