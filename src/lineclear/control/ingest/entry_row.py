"""Makes one ledger row of an exchange: intent and settle, a refusal, or an intent whose worker died.

In: records. Out: the row in the order of `ENTRY_COLUMNS` with the values of its facet. Pure; it runs for
every request there is, so it counts microseconds.
"""

import sys
from typing import Any

import msgspec

from lineclear.domain.entry import DAY_US, DETAIL_VERSION, EntryDetail, EntryKind, check_number
from lineclear.domain.errors import ErrorCode
from lineclear.domain.exchange import StopReason
from lineclear.domain.ledger import AttemptRecord, Checkpoint, Intent, Outcome, Refusal, Settle
from lineclear.domain.money import NO_USAGE, CostBasis
from lineclear.store.ledger import facet_id
from lineclear.store.rollup import EntryRow, FacetValues

ASKED_CHARS_MAX = 256
"""Characters kept of a route or task that a caller made up; twice what a route's name may have."""
FACETS_CACHED_MAX = 200_000
"""Facet numbers kept in memory; when there are more, the cache begins anew."""

_encode_detail = msgspec.msgpack.Encoder().encode
_EXCHANGE = EntryKind.EXCHANGE.value
_NOTHING_USED = msgspec.structs.astuple(NO_USAGE)


class FacetNumbers:
    """Facets already seen with their numbers, so that a digest is made once for each."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[FacetValues, tuple[int, FacetValues]] = {}

    def number(self, values: FacetValues) -> tuple[int, FacetValues]:
        """The facet's number, and its values as every database takes them."""
        found = self._known.get(values)
        if found is None:
            if len(self._known) >= FACETS_CACHED_MAX:
                self._known.clear()
            # Thousands of facets share few texts: one object each stays in a core's cache, and comparing is quick.
            key = tuple(sys.intern(value) if isinstance(value, str) else value for value in values)
            stored = tuple(storable(value) if isinstance(value, str) else value for value in key)
            found = self._known[key] = (facet_id(stored), stored)
        return found


def storable(text: str) -> str:
    """A text without U+0000, which PostgreSQL cannot store: U+FFFD stands in its place."""
    return text.replace("\0", "\ufffd") if "\0" in text else text


def settled_row(
    intent: Intent, settle: Settle, numbers: FacetNumbers, kind: int = _EXCHANGE, attempts_begun: int = 0
) -> tuple[EntryRow, FacetValues]:
    """The row of an exchange that ended. `attempts_begun` is told where not all of them are listed; 0 = they are."""
    facet = (
        intent.environment,
        intent.team,
        intent.app,
        intent.task,
        intent.route,
        intent.release,
        settle.model,
        settle.provider,
        settle.outcome,
        intent.key_id,
        intent.revision,
        intent.operation,
        intent.dialect,
        intent.data_class,
        intent.stream,
        settle.status,
        settle.error_code,
        settle.cost_basis,
        settle.price_version,
        settle.stop_reason,
    )
    number, facet = numbers.number(facet)
    attempts = settle.attempts
    # The fields of EntryDetail by place: naming them costs more than all the rest of the row.
    detail: tuple[Any, ...] = (  # Any: as EntryRow
        DETAIL_VERSION,
        "",
        intent.inbound_id,
        intent.traceparent,
        intent.user_hash,
        intent.tags,
        intent.accounts,
        intent.reserved_nano_usd,
        intent.reserved_tokens,
        settle.rules,
        attempts,
        settle.candidates,
        settle.steps_us,
        settle.model_echo,
        settle.response_id,
        settle.malformed_events,
        intent.echo,
    )
    if intent.rollout:
        detail += (intent.arm, storable(intent.rollout), intent.weight_bp, intent.unit_hash)
    usage = settle.usage
    at_us = settle.at_us
    row = (
        intent.id,
        at_us // DAY_US,
        kind,
        number,
        intent.at_us,
        at_us,
        settle.duration_us,
        settle.first_event_us,
        attempts_begun or len(attempts),
        usage.input_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.cache_write_1h_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
        usage.audio_input_tokens,
        usage.audio_output_tokens,
        usage.reported_cost_nano_usd,
        settle.cost_nano_usd,
        settle.waste_nano_usd,
        settle.request_bytes,
        settle.response_bytes,
        _encode_detail(detail),
    )
    return (*row, check_number(row)), facet


def refused_row(refusal: Refusal, numbers: FacetNumbers) -> tuple[EntryRow, FacetValues]:
    """The row of a caller turned away. A route or task that nobody declared is kept in the detail only, cut.

    Otherwise a caller could fill the rollups with names of its own. Only a route that was found has a release.
    """
    route, task, asked = refusal.route, refusal.task, ""
    if not refusal.release or refusal.error_code == ErrorCode.MODEL_NOT_FOUND:
        route, task, asked = "", "", refusal.route[:ASKED_CHARS_MAX]
    elif refusal.error_code == ErrorCode.TASK_NOT_ALLOWED:
        task, asked = "", refusal.task[:ASKED_CHARS_MAX]
    facet = (
        refusal.environment,
        refusal.team,
        refusal.app,
        task,
        route,
        refusal.release,
        "",
        "",
        Outcome.REFUSED.value,
        refusal.key_id,
        refusal.revision,
        refusal.operation,
        refusal.dialect,
        refusal.data_class,
        False,
        refusal.status,
        refusal.error_code,
        # Nothing was called, so nothing was unpriced: the cost is known to be 0.
        CostBasis.PRICED.value,
        "",
        "",
    )
    detail = EntryDetail(
        DETAIL_VERSION,
        asked,
        refusal.inbound_id,
        "",
        "",
        "",
        (),
        0,
        0,
        refusal.rules,
        (),
        refusal.candidates,
        (),
        "",
        "",
        0,
        "",
        refusal.arm,
        storable(refusal.rollout),
        refusal.weight_bp,
        refusal.unit_hash,
    )
    number, facet = numbers.number(facet)
    settled_us = refusal.at_us + refusal.duration_us
    row: tuple[Any, ...] = (  # Any: as EntryRow
        refusal.id,
        settled_us // DAY_US,
        EntryKind.REFUSAL.value,
        number,
        refusal.at_us,
        settled_us,
        refusal.duration_us,
        0,
        0,
        *_NOTHING_USED,
        0,
        0,
        0,
        0,
        _encode_detail(detail),
    )
    return (*row, check_number(row)), facet


def orphan_row(
    intent: Intent, checkpoint: Checkpoint | None, at_us: int, numbers: FacetNumbers
) -> tuple[EntryRow, FacetValues]:
    """The row of an exchange whose worker died: unknown, at its last checkpoint. Source: design decision 54."""
    model = checkpoint.model if checkpoint else intent.model
    provider = checkpoint.provider if checkpoint else intent.provider
    usage = checkpoint.usage if checkpoint else NO_USAGE
    cost = checkpoint.cost_nano_usd if checkpoint else 0
    last_us = checkpoint.at_us if checkpoint else intent.at_us
    attempts = checkpoint.attempt if checkpoint else 1
    attempt = AttemptRecord(attempts, model, provider, "ambiguous", 0, "", 0, max(0, last_us - intent.at_us), "", cost)
    settle = Settle(
        id=intent.id,
        at_us=at_us,
        outcome=Outcome.UNKNOWN.value,
        status=0,
        error_code="",
        model=model,
        provider=provider,
        attempts=(attempt,),
        candidates=(),
        rules=(),
        usage=usage,
        cost_nano_usd=cost,
        cost_basis=CostBasis.ESTIMATED.value,
        waste_nano_usd=0,
        price_version=intent.price_version,
        stop_reason=StopReason.UNKNOWN.value,
        model_echo="",
        response_id="",
        duration_us=max(0, last_us - intent.at_us),
        first_event_us=0,
        steps_us=(),
        request_bytes=0,
        response_bytes=0,
        malformed_events=0,
    )
    return settled_row(intent, settle, numbers, EntryKind.ORPHAN.value, attempts)
