"""Writes the dated price file from the genai-prices package: `make prices` runs this at build time, never at run time.

In: the installed package. Out: src/lineclear/control/prices/genai-prices.json with its version and a digest.
A price that is not one flat rate per bucket (steps by context length, times of day) is left out: unpriced.
"""

import hashlib
import json
import sys
from datetime import date
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

from genai_prices.data import providers

from lineclear.base.clock import SystemClock

TARGET = Path(__file__).parent.parent / "src/lineclear/control/prices/genai-prices.json"
NANO_USD = Decimal("0.000000001")
BUCKETS = {
    "input_mtok": "input_per_mtok",
    "output_mtok": "output_per_mtok",
    "cache_read_mtok": "cache_read_per_mtok",
    "cache_write_mtok": "cache_write_per_mtok",
    "cache_write_1h_mtok": "cache_write_1h_per_mtok",
    "input_audio_mtok": "audio_input_per_mtok",
    "output_audio_mtok": "audio_output_per_mtok",
}


def main() -> None:
    """Write the file; says on standard output what is in it and what was left out."""
    today = SystemClock().now().date()
    book: dict[str, Any] = {}
    left_out = 0
    for provider in providers:
        models: dict[str, dict[str, str]] = {}
        prefixes: dict[str, dict[str, str]] = {}
        for model in provider.models:
            row = _row(model.prices, today)
            if row is None:
                left_out += 1
                continue
            for name in _exact_names(model):
                models.setdefault(name, row)
            for prefix in _prefixes(model):
                prefixes.setdefault(prefix, row)
        book[provider.id] = {
            "hosts": provider.api_pattern,
            "models": dict(sorted(models.items())),
            "prefixes": dict(sorted(prefixes.items())),
        }
    content = {
        "version": f"genai-prices/{version('genai-prices')}",
        "licence": "MIT",
        "source": "https://github.com/pydantic/genai-prices",
        "date": today.isoformat(),
        "sha256": hashlib.sha256(json.dumps(book, sort_keys=True).encode()).hexdigest(),
        "providers": dict(sorted(book.items())),
    }
    TARGET.write_text(json.dumps(content, indent=0, sort_keys=False) + "\n", encoding="utf-8")
    count = sum(len(entry["models"]) for entry in book.values())
    sys.stdout.write(f"{TARGET.name}: {count} names of {len(book)} providers; {left_out} models left out\n")


def _row(prices: Any, today: date) -> dict[str, str] | None:
    """The flat rates of one model in force today, None if they are not flat or one direction is not known."""
    if isinstance(prices, list):
        if any(item.constraint is not None and not hasattr(item.constraint, "start_date") for item in prices):
            return None
        active = [item.prices for item in prices if _in_force(item.constraint, today)]
        if not active:
            return None
        # The package's own rule: the last one whose constraint holds.
        prices = active[-1]
    row: dict[str, str] = {}
    for theirs, ours in BUCKETS.items():
        rate = getattr(prices, theirs, None)
        if rate is None:
            continue
        if not isinstance(rate, Decimal):
            return None
        row[ours] = _text(rate)
    per_thousand = getattr(prices, "requests_kcount", None)
    if isinstance(per_thousand, Decimal):
        row["per_request"] = _text(per_thousand / 1000)
    return row if {"input_per_mtok", "output_per_mtok"} <= row.keys() else None


def _text(rate: Decimal) -> str:
    """A rate in whole nano-USD; the source holds a few that went through binary floats."""
    return format(rate.quantize(NANO_USD).normalize(), "f")


def _in_force(constraint: Any, today: date) -> bool:
    if constraint is None:
        return True
    start = getattr(constraint, "start_date", None)
    return start is not None and start <= today


def _exact_names(model: Any) -> list[str]:
    return [model.id, *(item.equals for item in _clauses(model) if hasattr(item, "equals"))]


def _prefixes(model: Any) -> list[str]:
    return [item.starts_with for item in _clauses(model) if hasattr(item, "starts_with")]


def _clauses(model: Any) -> list[Any]:
    return list(getattr(model.match, "or_", [model.match]))


if __name__ == "__main__":
    main()
