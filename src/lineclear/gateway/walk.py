"""One request, from its head to its settled entry. Reads like docs/walk-request.md, and is tested against it.

In: net's Request and Reply. Out: an answer and one entry. Each step takes the frozen result of the one
before; the only loop is attempt ⇄ recover.
"""

from lineclear.domain.errors import ClientGone, LineclearError, UpstreamError
from lineclear.domain.exchange import Operation
from lineclear.domain.ledger import Checkpoint
from lineclear.domain.money import NO_USAGE
from lineclear.gateway.admit import admit
from lineclear.gateway.attempt import Opened, attempt, total_deadline_ns
from lineclear.gateway.copies import Carried
from lineclear.gateway.entry import entry
from lineclear.gateway.finish import finish
from lineclear.gateway.guard import guard_input
from lineclear.gateway.head import read_head
from lineclear.gateway.parts import Parts
from lineclear.gateway.plan import Planned, plan
from lineclear.gateway.recover import Left, Move, final_error, recover
from lineclear.gateway.refuse import Reached, refuse
from lineclear.gateway.relay import DEFECT, GONE, Line, relay, unanswered
from lineclear.gateway.reserve import Reserved, reserve
from lineclear.gateway.settle import settle
from lineclear.gateway.snapshot import Snapshot
from lineclear.gateway.trace import Trace
from lineclear.net.server import Reply, Request


async def walk(parts: Parts, operation: Operation, request: Request, reply: Reply, request_id: str) -> None:
    """Answer one request. What goes wrong is answered, recorded, or both; a defect of ours is raised."""
    trace = Trace(parts.clock, request.started_ns)
    reply.on_gone = trace.on_gone
    reached = Reached(operation, request_id, request)
    try:
        snapshot = reached.snapshot = parts.current.snapshot()
        head = read_head(request, operation, reached.request_id)
        trace.mark()
        reached.identified = parts.identify(snapshot, head, parts.clock)
        trace.mark()
        reached.parsed = await entry(reached.identified, request, parts.large_bodies)
        trace.mark()
        reached.admitted = admit(snapshot, reached.parsed, parts.clock)
        if reached.admitted.route.guardrails is not None:
            reached.admitted = await guard_input(parts, snapshot, reached.admitted)
        trace.mark()
        planned = plan(reached.admitted, parts.clock)
        trace.mark()
    except LineclearError as error:
        refuse(parts, reached, error, trace, reply)
    except ClientGone:
        parts.counters["gone_before_intent"] += 1
    else:
        carried = await carry(parts, snapshot, planned, trace, reply)
        if planned.admitted.route.shadow is not None:
            parts.copies.offer(planned.admitted.route.shadow, carried, trace, parts.counters)


async def carry(parts: Parts, snapshot: Snapshot, planned: Planned, trace: Trace, reply: Reply) -> Carried:
    """The part of the walk that has an intent, and therefore exactly one settle."""
    reserved: Reserved | None = None
    opened: Opened | None = None
    relayed = DEFECT
    parsed = planned.admitted.parsed
    parts.current.exchanges.enter(trace, planned, snapshot)
    try:
        reserved = await reserve(planned, snapshot, parts.ledger, parts.accountant, trace)
        trace.mark()
        opened = await _open(parts, reserved, trace)
        trace.mark()
        relayed = await relay(opened, Line(reply, parts.ledger, parts.accountant, parts.clock, trace))
        trace.mark()
    except LineclearError as error:
        trace.fail_attempt(error, planned.prompt_bytes)
        relayed = unanswered(error, parsed.codec.dialect, parsed.identified.head.request_id)
    except ClientGone:
        trace.fail_attempt(None, planned.prompt_bytes)
        relayed = GONE
    finally:
        if relayed is DEFECT and trace.call is not None:
            trace.call.abort()
        parts.current.exchanges.leave(trace)
        settled = settle(planned, reserved, opened, relayed, trace, parts.ledger, parts.accountant)
    await finish(planned, opened, relayed, settled, reply, parts.ledger, trace, parts.clock)
    return Carried(planned, opened, relayed, settled)


async def _open(parts: Parts, reserved: Reserved, trace: Trace) -> Opened:
    """Try candidates until one answers; the one owner of retries."""
    candidates = reserved.planned.candidates
    prompt_bytes = reserved.planned.prompt_bytes
    errors: list[UpstreamError] = []
    place, fresh = 0, False
    while True:
        candidate, number = candidates[place], len(errors) + 1
        if number > 1:
            # On record before it is dispatched, so that the vendor's log and ours can be joined (decision 54).
            await parts.ledger.flushed(parts.ledger.append(_next_attempt(parts, reserved, place, number)))
        trace.begin_attempt(candidate, number)
        try:
            return await attempt(reserved, candidate, number, fresh, parts.pool, parts.clock, trace)
        except UpstreamError as error:
            trace.fail_attempt(error, prompt_bytes)
            errors.append(error)
            left_ms = (total_deadline_ns(reserved, trace) - parts.clock.monotonic_ns()) // 1_000_000
            recovery = recover(errors, Left(place + 1 < len(candidates), place > 0, left_ms))
            if recovery.move is Move.STOP or (recovery.counts_as_retry and not candidate.health.take_retry()):
                raise final_error(errors) from error
        if recovery.wait_ms:
            await trace.pause(recovery.wait_ms)
        fresh = recovery.fresh
        place = {Move.NEXT: place + 1, Move.FIRST: 0}.get(recovery.move, place)


def _next_attempt(parts: Parts, reserved: Reserved, place: int, number: int) -> Checkpoint:
    candidate = reserved.planned.candidates[place]
    request_id = reserved.planned.admitted.parsed.identified.head.request_id
    return Checkpoint(request_id, parts.clock.unix_us(), number, candidate.model, candidate.provider, NO_USAGE, 0)
