"""Step `reserve`: take limits and budget at the price of the dearest candidate, and write the intent.

In: Planned. Out: Reserved. All accounts or none, in one frame. The intent goes into the same tick's spool
write and must be in the file before a target is called; if either says no, nothing is sent.
"""

import hmac
from typing import Final

import msgspec

from lineclear.domain.accounts import Binding, Denied, Granted, Reply, Reserve
from lineclear.domain.errors import CallerError, ErrorCode, LineclearError, PlatformFault
from lineclear.domain.explained import limit_rule
from lineclear.domain.ledger import Intent, LedgerSink
from lineclear.domain.money import TOKENS_PER_PRICE_UNIT, estimated_tokens, usd_text
from lineclear.gateway.accounts import AccountantClient
from lineclear.gateway.fields import instant
from lineclear.gateway.plan import Planned
from lineclear.gateway.snapshot import Snapshot
from lineclear.gateway.split import Assigned
from lineclear.gateway.trace import Trace

OUTPUT_TOKENS_DEFAULT = 4_096
"""Output cap sent upstream where a budget needs an upper bound and neither caller, route nor card names one."""
UNKNOWN_OUTPUT_TOKENS = 256
"""Output assumed for a token rate when nothing bounds it; corrected at settle. Source: reliability-security.md §4."""
STREAM_SLICE_TOKENS = 1_024
"""Output reserved for a stream at first and with each extension (decision 23)."""

NO_ARM: Final = ("", "", 0, "")

ALONE = Granted(txn="")
"""What a call without any limited account is granted: nothing to count."""


class Reserved(msgspec.Struct, frozen=True, gc=False):
    """The call is paid for and on record; it may be dispatched."""

    planned: Planned
    snapshot: Snapshot
    accounts: tuple[str, ...]
    granted: Granted
    output_cap: int | None
    """Cap to put into the upstream request; None leaves the caller's as it is."""
    slice_tokens: int
    """Output tokens paid for at first, if this is a stream paid for in slices; else 0."""
    output_bound: int
    """The most output tokens the call may bring; 0 where nothing bounds it."""
    tokens: int
    nano_usd: int


async def reserve(
    planned: Planned, snapshot: Snapshot, ledger: LedgerSink, accountant: AccountantClient, trace: Trace
) -> Reserved:
    """Reserve and record.

    Raises:
        CallerError: BUDGET_EXCEEDED, RATE_LIMITED or CONCURRENCY_LIMITED, naming the account that binds.
        PlatformFault: ACCOUNTANT_UNAVAILABLE, LEDGER_UNAVAILABLE.
    """
    reserved = _estimate(planned, snapshot)
    position = ledger.append(_intent(reserved, trace))
    trace.has_intent = True
    reply: Reply = ALONE
    if reserved.accounts:
        request_id = planned.admitted.parsed.identified.head.request_id
        reply = await accountant.reserve(Reserve(request_id, reserved.accounts, reserved.tokens, reserved.nano_usd))
    try:
        await ledger.flushed(position)
    except PlatformFault:
        trace.has_intent = False
        raise
    if isinstance(reply, Denied):
        raise denial(reply, reserved.nano_usd)
    return reserved if reply is ALONE else with_grant(reserved, reply)


def _estimate(planned: Planned, snapshot: Snapshot) -> Reserved:
    admitted = planned.admitted
    view = admitted.parsed.view
    own, routed = admitted.parsed.identified.app.accounts, admitted.route.accounts
    accounts = own.ids + routed.ids
    has_budget = own.has_budget or routed.has_budget
    cap, added_cap = view.max_output_tokens, None
    if cap is None:
        cap = added_cap = admitted.admission.output_default
    if not (has_budget or own.has_tokens or routed.has_tokens):
        return Reserved(planned, snapshot, accounts, ALONE, added_cap, 0, 0, 0, 0)
    if cap is None and has_budget:
        cap = added_cap = bounded_output_tokens(planned)
    nano_usd = slice_tokens = 0
    output_bound = cap * view.choices if cap is not None else 0
    if has_budget and cap is not None:
        output_tokens = output_bound
        if view.stream and output_tokens > STREAM_SLICE_TOKENS:
            output_tokens = slice_tokens = STREAM_SLICE_TOKENS
        nano_usd = cost_bound_nano_usd(planned, planned.prompt_bytes, output_tokens)
    tokens = estimated_tokens(planned.prompt_bytes) + (UNKNOWN_OUTPUT_TOKENS if cap is None else cap) * view.choices
    return Reserved(planned, snapshot, accounts, ALONE, added_cap, slice_tokens, output_bound, tokens, nano_usd)


def bounded_output_tokens(planned: Planned) -> int:
    """The most output tokens of one answer, where money needs a bound: the caller's, the release's, or our own."""
    admitted = planned.admitted
    cap = admitted.parsed.view.max_output_tokens
    if cap is None:
        cap = admitted.admission.output_default
    if cap is None:
        cap = admitted.route.max_tokens or planned.order.output_cap or OUTPUT_TOKENS_DEFAULT
    return cap


def with_grant(reserved: Reserved, granted: Granted) -> Reserved:
    """The same reservation with the accountant's answer."""
    return Reserved(
        reserved.planned,
        reserved.snapshot,
        reserved.accounts,
        granted,
        reserved.output_cap,
        reserved.slice_tokens,
        reserved.output_bound,
        reserved.tokens,
        reserved.nano_usd,
    )


def cost_bound_nano_usd(planned: Planned, input_tokens: int, output_tokens: int) -> int:
    """The most that any candidate could charge for this many tokens; unpriced candidates count as 0."""
    dearest = planned.order.dearest
    total = input_tokens * dearest.input_per_mtok + output_tokens * dearest.output_per_mtok
    return -(-total // TOKENS_PER_PRICE_UNIT) + dearest.per_request


def _intent(reserved: Reserved, trace: Trace) -> Intent:
    admitted = reserved.planned.admitted
    identified = admitted.parsed.identified
    head = identified.head
    first = reserved.planned.candidates[0]
    app, route = identified.app, admitted.route
    # By place: naming this many fields costs ten times the rest of making the record.
    return Intent(
        head.request_id,
        trace.started_us,
        identified.environment,
        app.team,
        app.name,
        identified.key_id,
        route.name,
        route.release,
        reserved.snapshot.revision,
        head.operation,
        admitted.parsed.codec.dialect,
        admitted.task,
        admitted.data_class,
        admitted.parsed.view.stream,
        reserved.accounts,
        reserved.nano_usd,
        reserved.tokens,
        first.model,
        first.provider,
        first.price_version,
        head.inbound_id,
        head.traceparent,
        user_hash(reserved.snapshot, head.user) if head.user else "",
        head.tags,
        head.echo,
        *(NO_ARM if admitted.assigned is None else _arm_facts(admitted.assigned)),
    )


def _arm_facts(assigned: Assigned) -> tuple[str, str, int, str]:
    """The last fields of an intent."""
    return assigned.arm, assigned.rollout, assigned.weight_bp, assigned.unit_hash


def user_hash(snapshot: Snapshot, user: str) -> str:
    """A user's name as the ledger keeps it: keyed, so that it joins and does not tell (decision 47)."""
    return hmac.digest(snapshot.pepper, b"user:" + user.encode(), "sha256").hex()[:32] if user else ""


def denial(denied: Denied, needed_nano_usd: int | None = None) -> LineclearError:
    """The refusal that a denied reservation means to the caller, who may not know what was to be reserved.

    Source: decision 28.
    """
    kind, _, name = denied.account.partition(":")
    where = f"{kind} {name!r}"
    rules = (limit_rule(denied.binding, denied.account),)
    left = denied.left
    if left is not None and left.budget_remaining_nano_usd is not None and left.budget_remaining_nano_usd < 0:
        left = msgspec.structs.replace(left, budget_remaining_nano_usd=0)  # a call may cost more than was reserved
    if denied.binding == Binding.BUDGET:
        rest = left.budget_remaining_nano_usd if left is not None else None
        needs = "" if needed_nano_usd is None else f", which needs up to {usd_text(needed_nano_usd)} USD"
        has = "" if rest is None else f"{usd_text(rest)} USD are left of "
        smaller = "a lower max_tokens needs less; " if rest and needed_nano_usd is not None else ""
        return CallerError(
            ErrorCode.BUDGET_EXCEEDED,
            f"the budget of {where} does not cover this call{needs}: {has}{usd_text(denied.limit)} USD this month",
            hint=f"{smaller}the budget starts anew at {instant(denied.resets_at)}; an operator can raise it",
            rules=rules,
            left=left,
        )
    if denied.binding == Binding.CONCURRENCY:
        return CallerError(
            ErrorCode.CONCURRENCY_LIMITED,
            f"{where} already has {denied.limit} calls under way",
            hint="wait for one to end",
            rules=rules,
            left=left,
            retry_after_ms=denied.retry_after_ms or 1_000,
        )
    return CallerError(
        ErrorCode.RATE_LIMITED,
        f"{where} may use {denied.limit} {denied.binding} a minute",
        hint="try again after the time in retry-after",
        rules=rules,
        left=left,
        retry_after_ms=denied.retry_after_ms,
    )
