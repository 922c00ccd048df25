"""Everything that is known of one request: who, why there, what happened, what it cost and how that adds up.

In: an entry with its detail, the price it was charged by, what control's database adds. Out: one nested value for CLI,
API and page, with its words. No prompts and no answers: the ledger has none.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from lineclear.domain.entry import EntryDetail, EntryKind, exchange_of
from lineclear.domain.explained import BUCKETS, advice_on, attempt_words, basis_words, outcome_words
from lineclear.domain.ledger import STEPS, AttemptRecord, Intent
from lineclear.domain.money import TOKENS_PER_PRICE_UNIT, CostBasis, Price, Usage, cost_nano_usd, usd_text
from lineclear.observe.background import Background
from lineclear.observe.checks import checks_of
from lineclear.observe.entry import Entry, find_by_other_id, find_entries
from lineclear.observe.logs import LOG_FACTS, cost_basis, cost_text, milliseconds
from lineclear.observe.period import time_text
from lineclear.observe.summary import summary_of, worked_on
from lineclear.store.ledger import Ledger

PriceOf = Callable[[str], Price | None]
"""The price in force of a model version (`name@version`); None if it has none."""

STILL_OPEN = "open"
"""The outcome shown for an exchange that has not ended."""


def find_request(ledger: Ledger, request: str) -> Entry | None:
    """A request's entry, by our id, an attempt's or one that the caller or the vendor gave it; None if none is."""
    found = find_entries(ledger, exchange_of(request)) or find_by_other_id(ledger, request)
    return found[0] if found else None


def explain_entry(entry: Entry, price_of: PriceOf, background: Background | None = None) -> dict[str, Any]:
    """One entry with its detail, and with what control knows beside it unless that is not to be told.

    Any: nested text, int, float, bool, None, lists and dicts, ready for JSON.
    """
    detail = entry.detail()
    advice = advice_on(entry.facts["error_code"])
    return {
        "summary": summary_of(entry, detail, background),
        "id": entry.id,
        "kind": entry.kind.name.lower(),
        "at": time_text(entry.started_us),
        "settled_at": time_text(entry.settled_us),
        **{name: entry.facts[name] for name in LOG_FACTS},
        "outcome_words": outcome_words(entry.facts["outcome"], entry.facts["error_code"], worked_on(entry, detail)),
        "error_words": advice.meaning if advice is not None else None,
        "next_step": advice.next_step if advice is not None else None,
        "data_class": entry.facts["data_class"],
        "asked": detail.asked or None,
        "echoed_release": detail.echo or None,
        "checks": [asdict(row) for row in checks_of(entry, detail)],
        "rules": list(detail.rules),
        "candidates": [
            {"model": one.model, "score": one.score, "exclusion": one.exclusion or None} for one in detail.candidates
        ],
        "attempts": [_attempt(one, is_unpriced=cost_text(entry) is None) for one in detail.attempts],
        "attempt_count": entry.attempts,
        "usage": usage_shown(entry.usage),
        "cost_usd": cost_text(entry),
        "cost_basis": cost_basis(entry),
        "cost_words": basis_words(cost_basis(entry) or "") or None,
        "cost_lines": _cost_lines(entry, price_of),
        "price_version": entry.facts["price_version"] or None,
        "waste_usd": usd_text(entry.waste_nano_usd),
        "reserved_usd": usd_text(detail.reserved_nano_usd),
        "reserved_tokens": detail.reserved_tokens,
        "accounts": list(detail.accounts),
        "duration_ms": milliseconds(entry.duration_us),
        "first_event_ms": milliseconds(entry.first_event_us) if entry.first_event_us else None,
        "steps_us": dict(zip(STEPS, detail.steps_us, strict=False)),
        "request_bytes": entry.request_bytes,
        "response_bytes": entry.response_bytes,
        "malformed_events": detail.malformed_events,
        "rollout": _rollout(detail),
        **_names_elsewhere(detail),
        **(asdict(background) if background is not None else {}),
    }


def explain_open(intent: Intent) -> dict[str, Any]:
    """An exchange that is under way: only its intent is known. Any: as `explain`."""
    return {
        "id": intent.id,
        "kind": STILL_OPEN,
        "at": time_text(intent.at_us),
        "settled_at": None,
        "summary": [f"It is still under way: app {intent.app} asked {intent.route}; {intent.model} is first in line."],
        "outcome": STILL_OPEN,
        "outcome_words": "it is still under way",
        **{name: getattr(intent, name) for name in LOG_FACTS if hasattr(intent, name)},
        "data_class": intent.data_class,
        "reserved_usd": usd_text(intent.reserved_nano_usd),
        "reserved_tokens": intent.reserved_tokens,
        "accounts": list(intent.accounts),
        "inbound_id": intent.inbound_id or None,
        "traceparent": intent.traceparent or None,
        "rollout": _rollout(intent),
    }


def _rollout(of: EntryDetail | Intent) -> dict[str, Any] | None:
    """The arm that the request was dealt; None without a rollout. Any: as `explain`."""
    if not of.rollout:
        return None
    return {"id": of.rollout, "arm": of.arm, "weight_percent": of.weight_bp / 100, "is_monitored": of.weight_bp > 0}


def usage_shown(usage: Usage) -> dict[str, Any]:
    """Tokens as a bill shows them: `input_tokens` and `output_tokens` are totals, the others are parts of them.

    Any: counts, and text or None for a cost that the vendor stated.
    """
    reported = usage.reported_cost_nano_usd
    return {
        "input_tokens": usage.total_input_tokens,
        "output_tokens": usage.total_output_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "cache_write_1h_tokens": usage.cache_write_1h_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "audio_input_tokens": usage.audio_input_tokens,
        "audio_output_tokens": usage.audio_output_tokens,
        "reported_cost_usd": None if reported is None else usd_text(reported),
    }


def _attempt(record: AttemptRecord, *, is_unpriced: bool) -> dict[str, Any]:
    # In an unpriced exchange an attempt that cost something went to another model, which has a price.
    is_known = record.cost_nano_usd or not is_unpriced
    return {
        "attempt": record.attempt,
        "model": record.model,
        "provider": record.provider,
        "attempt_class": record.attempt_class,
        "attempt_words": attempt_words(record.attempt_class),
        "status": record.status or None,
        "error_code": record.error_code or None,
        "start_ms": milliseconds(record.start_us),
        "duration_ms": milliseconds(record.duration_us),
        "upstream_id": record.upstream_id or None,
        "cost_usd": usd_text(record.cost_nano_usd) if is_known else None,
    }


def _names_elsewhere(detail: EntryDetail) -> dict[str, str | None]:
    return {
        "response_id": detail.response_id or None,
        "model_echo": detail.model_echo or None,
        "inbound_id": detail.inbound_id or None,
        "traceparent": detail.traceparent or None,
        "user_hash": detail.user_hash or None,
        "tags": detail.tags or None,
    }


def _cost_lines(entry: Entry, price_of: PriceOf) -> list[dict[str, Any]] | None:
    """Tokens times rate per bucket; None where the price is gone or does not lead to the entry's own figure."""
    if entry.kind is EntryKind.REFUSAL or entry.facts["cost_basis"] not in (CostBasis.PRICED, CostBasis.ESTIMATED):
        return None
    price = price_of(entry.facts["model"])
    if price is None or price.version != entry.facts["price_version"]:
        return None
    if cost_nano_usd(entry.usage, price) != entry.cost_nano_usd:
        # The price has changed since under the same name: lines that do not add up would mislead.
        return None
    lines = [
        _cost_line(bucket, tokens, usd_text(rate), _line_cost(tokens, rate))
        for bucket, tokens, rate in _priced_buckets(entry.usage, price)
        if tokens
    ]
    if price.per_request:
        lines.append(_cost_line("request", None, None, usd_text(price.per_request)))
    return lines


def _cost_line(bucket: str, tokens: int | None, usd_per_mtok: str | None, cost_usd: str) -> dict[str, Any]:
    # Any: as `explain_entry`.
    return {
        "bucket": bucket,
        "words": BUCKETS[bucket],
        "tokens": tokens,
        "usd_per_mtok": usd_per_mtok,
        "cost_usd": cost_usd,
    }


def _line_cost(tokens: int, rate: int) -> str:
    """A line's share before the one rounding of the sum, with six digits below the nano-USD where they matter."""
    whole, rest = divmod(tokens * rate, TOKENS_PER_PRICE_UNIT)
    return usd_text(whole) + (f"{rest:06d}".rstrip("0") if rest else "")


def _priced_buckets(usage: Usage, price: Price) -> list[tuple[str, int, int]]:
    """(bucket, tokens, nano-USD per million). Source: the fall-backs of `domain.money.cost_nano_usd`."""
    rate_in, rate_out = price.input_per_mtok, price.output_per_mtok
    write = _or(price.cache_write_per_mtok, rate_in)
    return [
        ("input", usage.input_tokens, rate_in),
        ("cache_read", usage.cache_read_tokens, _or(price.cache_read_per_mtok, rate_in)),
        ("cache_write", usage.cache_write_tokens, write),
        ("cache_write_1h", usage.cache_write_1h_tokens, _or(price.cache_write_1h_per_mtok, write)),
        ("output", usage.output_tokens, rate_out),
        ("reasoning", usage.reasoning_tokens, rate_out),
        ("audio_input", usage.audio_input_tokens, _or(price.audio_input_per_mtok, rate_in)),
        ("audio_output", usage.audio_output_tokens, _or(price.audio_output_per_mtok, rate_out)),
    ]


def _or(rate: int | None, otherwise: int) -> int:
    return otherwise if rate is None else rate
