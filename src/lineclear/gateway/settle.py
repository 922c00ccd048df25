"""Step `settle`: usage → cost → accounts → record. Synchronous, runs however the exchange ended.

In: what the walk reached and Relayed. Out: Settled. Exactly once for each intent. Must not: wait, or send to
the caller; the walk sends the last bytes after the record is in the file (decision 14).
"""

from typing import Final

import msgspec

from lineclear.domain.accounts import Granted, SettleAccount, Void
from lineclear.domain.errors import AttemptClass, CallerError, ErrorCode, LineclearError, UpstreamError
from lineclear.domain.ledger import LedgerSink, Outcome, Settle
from lineclear.domain.money import NO_USAGE, CostBasis, Usage, cost_nano_usd
from lineclear.gateway.accounts import AccountantClient
from lineclear.gateway.attempt import Opened, is_callers_doing
from lineclear.gateway.plan import Planned
from lineclear.gateway.relay import Relayed, rules_of
from lineclear.gateway.reserve import Reserved
from lineclear.gateway.trace import DELIVERED, Trace

# Reading an enum member through its class costs ten times a module name on Python 3.11.
OK: Final = Outcome.OK
PRICED: Final = CostBasis.PRICED
ESTIMATED: Final = CostBasis.ESTIMATED


class Charge(msgspec.Struct, frozen=True, gc=False):
    """What an exchange used and costs."""

    usage: Usage
    cost_nano_usd: int
    basis: CostBasis


NO_CHARGE = Charge(NO_USAGE, 0, CostBasis.PRICED)


class Settled(msgspec.Struct, frozen=True, gc=False):
    """The exchange is closed; once `position` is flushed the last bytes may go out."""

    position: int
    charge: Charge
    given_back_nano_usd: int
    granted: Granted | None


def charge(opened: Opened | None, relayed: Relayed) -> Charge:
    """The price of what was delivered, at the price row reserved with. Source: decision 53."""
    if opened is None or relayed.outcome not in _BILLED:
        return NO_CHARGE
    prompt_bytes = opened.reserved.planned.prompt_bytes
    usage, is_estimated = opened.watch.billed_usage(prompt_bytes)
    if usage.reported_cost_nano_usd is not None:
        return Charge(usage, usage.reported_cost_nano_usd, CostBasis.REPORTED)
    price = opened.candidate.price
    if price is None:
        return Charge(usage, 0, CostBasis.UNPRICED)
    basis = ESTIMATED if is_estimated else PRICED
    return Charge(usage, cost_nano_usd(usage, price), basis)


_BILLED: Final = frozenset({Outcome.OK, Outcome.TRUNCATED, Outcome.CLIENT_GONE, Outcome.REFUSED})
"""Refused once a target answered: a guardrail or an override kept the answer back, and the target bills it."""


def _is_withheld(relayed: Relayed) -> bool:
    """A guardrail kept the answer back."""
    return relayed.error is not None and relayed.error.code is ErrorCode.GUARDRAIL_BLOCKED


def settle(
    planned: Planned,
    reserved: Reserved | None,
    opened: Opened | None,
    relayed: Relayed,
    trace: Trace,
    ledger: LedgerSink,
    accountant: AccountantClient,
) -> Settled:
    """Close an exchange that has an intent."""
    billed = charge(opened, relayed)
    if opened is not None:
        opened.candidate.health.end()
        if relayed.outcome is OK:
            opened.candidate.health.succeeded()
        elif isinstance(relayed.error, UpstreamError) and not is_callers_doing(
            relayed.error, opened.reserved, opened.candidate
        ):
            opened.candidate.health.failed()
        error = relayed.error
        trace.end_attempt(
            DELIVERED if error is None else AttemptClass.POLICY if _is_withheld(relayed) else AttemptClass.PARTIAL,
            opened.call.status,
            error.code.value if error is not None else "",
            billed.cost_nano_usd,
        )
    granted = _resolve(planned, reserved, billed, relayed.error, accountant)
    # An intent that never reached the file has no settle either; there is nothing to close.
    position = ledger.append(_record(planned, opened, relayed, billed, trace)) if trace.has_intent else 0
    given_back_nano_usd = reserved.nano_usd - billed.cost_nano_usd if reserved is not None else 0
    return Settled(position, billed, given_back_nano_usd, granted)


def _resolve(
    planned: Planned,
    reserved: Reserved | None,
    billed: Charge,
    error: LineclearError | None,
    accountant: AccountantClient,
) -> Granted | None:
    """Resolve the reservation exactly once."""
    request_id = planned.admitted.parsed.identified.head.request_id
    if reserved is None:
        if not isinstance(error, CallerError):
            # The reservation's own answer never came: if it was granted after all, give it back.
            accountant.resolve(Void(request_id))
        return None
    if reserved.accounts:
        used = billed.usage.total_input_tokens + billed.usage.total_output_tokens
        if billed is NO_CHARGE:
            accountant.resolve(Void(request_id))
        else:
            accountant.resolve(SettleAccount(request_id, used, billed.cost_nano_usd))
    return reserved.granted


def _record(planned: Planned, opened: Opened | None, relayed: Relayed, billed: Charge, trace: Trace) -> Settle:
    watch = opened.watch if opened is not None else None
    candidate = opened.candidate if opened is not None else None
    parsed = planned.admitted.parsed
    error = relayed.error
    trace.mark()
    duration_us = trace.elapsed_us()
    # By place: naming this many fields costs ten times the rest of making the record.
    return Settle(
        parsed.identified.head.request_id,
        trace.started_us + duration_us,
        relayed.outcome,
        relayed.status,
        error.code if error is not None else "",
        candidate.model if candidate is not None else "",
        candidate.provider if candidate is not None else "",
        tuple(trace.attempts),
        planned.considered,
        rules_of(planned, opened, error),
        billed.usage,
        billed.cost_nano_usd,
        billed.basis,
        trace.waste_nano_usd,
        candidate.price_version if candidate is not None else "",
        watch.native_stop if watch is not None else "",
        watch.model_echo if watch is not None else "",
        watch.response_id if watch is not None else "",
        duration_us,
        relayed.first_event_us,
        trace.steps_us(),
        len(parsed.body),
        relayed.response_bytes,
        watch.malformed if watch is not None else 0,
    )
