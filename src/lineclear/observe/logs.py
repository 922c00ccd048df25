"""Entries as log lines: one flat row per exchange, newest first.

In: the ledger's entries. Out: rows of plain values. No prompts and no answers: the ledger has none.
"""

from typing import Any

import msgspec

from lineclear.domain.entry import EntryKind
from lineclear.domain.money import CostBasis, usd_text
from lineclear.observe.entry import Entry, EntryQuestion, list_entries
from lineclear.observe.period import time_text
from lineclear.store.ledger import Ledger

LOG_FACTS = (
    "environment",
    "team",
    "app",
    "key_id",
    "route",
    "release",
    "revision",
    "task",
    "operation",
    "dialect",
    "stream",
    "model",
    "provider",
    "outcome",
    "status",
    "error_code",
    "stop_reason",
)


def list_logs(ledger: Ledger, question: EntryQuestion) -> list[dict[str, Any]]:
    """Log lines. Any: values are text, int, float, bool and None.

    Raises:
        ValueError: as `list_entries`.
    """
    return [log_line(entry) for entry in list_entries(ledger, question)]


def log_line(entry: Entry) -> dict[str, Any]:
    """One exchange in one flat row. Any: as `list_logs`."""
    return {
        "id": entry.id,
        "at": time_text(entry.started_us),
        **{name: entry.facts[name] for name in LOG_FACTS},
        "route": entry.facts["route"] or _asked_route(entry),
        "attempts": entry.attempts,
        "input_tokens": entry.usage.total_input_tokens,
        "output_tokens": entry.usage.total_output_tokens,
        "cost_usd": cost_text(entry),
        "cost_basis": cost_basis(entry),
        "waste_usd": usd_text(entry.waste_nano_usd),
        "duration_ms": milliseconds(entry.duration_us),
        "first_event_ms": milliseconds(entry.first_event_us) if entry.first_event_us else None,
    }


def cost_basis(entry: Entry) -> str | None:
    """Where the cost comes from; None for a refusal, which called nothing."""
    return None if entry.kind is EntryKind.REFUSAL else str(entry.facts["cost_basis"])


def cost_text(entry: Entry) -> str | None:
    """The cost charged, in USD; None where no price is known, which is not the same as nothing."""
    is_unpriced = cost_basis(entry) == CostBasis.UNPRICED
    return None if is_unpriced else usd_text(entry.cost_nano_usd)


def _asked_route(entry: Entry) -> str:
    """What a caller who was turned away called the route that there is not; sums leave it out, a log line tells it."""
    if entry.kind is not EntryKind.REFUSAL:
        return ""
    try:
        return entry.detail().asked
    except msgspec.DecodeError:
        # A damaged detail is for `ledger check` to find; the other lines are wanted all the same.
        return ""


def milliseconds(duration_us: int) -> float:
    """Microseconds as milliseconds with three digits."""
    return round(duration_us / 1000, 3)
