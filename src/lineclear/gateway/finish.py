"""The last bytes: sent only once the settle is in the file, so whoever has the whole answer has an entry."""

from typing import Final

from lineclear.base.clock import Clock
from lineclear.domain.errors import ClientGone, ErrorCode, LineclearError, PlatformFault
from lineclear.domain.ledger import LedgerSink, Outcome
from lineclear.domain.money import usd_text
from lineclear.gateway.attempt import Opened
from lineclear.gateway.fields import (
    JSON_FIELDS,
    UNPRICED,
    cost_fields,
    exchange_fields,
    limit_fields,
    policy_fields,
    unanswered_fields,
    upstream_rate_fields,
)
from lineclear.gateway.plan import Planned
from lineclear.gateway.relay import Relayed, rules_of, waste_field
from lineclear.gateway.settle import Settled
from lineclear.gateway.trace import Trace
from lineclear.net.server import Reply

CLIENT_GONE: Final = Outcome.CLIENT_GONE
"""Reading an enum member through its class costs ten times a module name on Python 3.11."""
LINGER_NS = 100_000_000
"""How long a target may take from its last event to the end of its body before its connection is closed."""


async def finish(
    planned: Planned,
    opened: Opened | None,
    relayed: Relayed,
    settled: Settled,
    reply: Reply,
    ledger: LedgerSink,
    trace: Trace,
    clock: Clock,
) -> None:
    """Wait for the record, then send what was held back.

    Raises:
        PlatformFault: LEDGER_UNAVAILABLE if the settle could not be written; the answer is then withheld.
    """
    await ledger.flushed(settled.position)
    if reply.gone or relayed.outcome is CLIENT_GONE:
        return
    if reply.begun:
        _end_stream(planned, opened, relayed, settled, reply)
        if opened is not None:
            await _give_back(opened, clock)
        return
    fields = _whole_fields(planned, opened, relayed, settled, trace)
    reply.whole(relayed.status, fields, relayed.tail)


def _end_stream(planned: Planned, opened: Opened | None, relayed: Relayed, settled: Settled, reply: Reply) -> None:
    if opened is None:
        raise PlatformFault(ErrorCode.INTERNAL_ERROR, "an answer began without a target")
    if opened.reader is not None:
        charge = settled.charge
        cost_text = "" if charge.basis is UNPRICED else usd_text(charge.cost_nano_usd)
        reply.end(planned.admitted.parsed.codec.cost_comment(cost_text, charge.basis.value) + relayed.tail)
    elif relayed.error is None:
        reply.end()
    else:
        reply.abort()  # a long answer that broke off: the caller must see a cut, not an end


async def _give_back(opened: Opened, clock: Clock) -> None:
    """Let the target finish its framing after its last event, so that the connection can serve again."""
    call = opened.call
    call.deadline(clock.monotonic_ns() + LINGER_NS, "linger")
    try:
        while await call.read():
            continue  # nothing that follows the end of an answer is part of it
    except (LineclearError, ClientGone):
        call.abort()  # also what ended the stream before: a rule, or an override
    else:
        call.release()


def _whole_fields(planned: Planned, opened: Opened | None, relayed: Relayed, settled: Settled, trace: Trace) -> bytes:
    parsed = planned.admitted.parsed
    duration_us = trace.elapsed_us()
    candidate = opened.candidate if opened is not None else None
    fields = exchange_fields(planned, len(trace.attempts), candidate, duration_us, trace.upstream_us) + cost_fields(
        settled.charge.cost_nano_usd, settled.charge.basis
    )
    if opened is None and trace.attempts:
        fields += unanswered_fields(planned, trace.attempts)
    granted = settled.granted
    if granted is None and relayed.error is not None:
        granted = relayed.error.left
    if granted is not None:
        now_us = trace.started_us + duration_us
        fields += limit_fields(granted, parsed.codec.dialect, settled.given_back_nano_usd, now_us)
    fields += policy_fields(rules_of(planned, opened, relayed.error)) + waste_field(planned, trace)
    if opened is not None and relayed.error is None:
        upstream_fields = upstream_rate_fields(opened.call.headers)
        return fields.encode() + JSON_FIELDS + upstream_fields
    return fields.encode() + relayed.problem_fields
