"""How figures, times and foreign text are shown; the exact value stands beside it or in the JSON twin.

In: values as the API gives them. Out: short text. Pure; nothing here marks text as safe.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from lineclear.control.release_diff import Passage, diff_texts

TEXT_CHARS_SHORT = 80
TEXT_CHARS_COMPARED = 40_000
NOTHING = "\N{EN DASH}"
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
"""Characters that change how others are shown without being seen themselves: controls, direction marks."""
_UNITS = ((1_000_000_000, "B"), (1_000_000, "M"), (10_000, "k"))

OUTCOME_MARKS: Mapping[str, str] = {
    "ok": "good",
    "refused": "warn",
    "rejected": "warn",
    "client_gone": "calm",
    "open": "calm",
    "unknown": "calm",
    "deadline": "bad",
    "failed": "bad",
    "truncated": "bad",
    "fault": "bad",
}
VERDICT_MARKS: Mapping[str, str] = {
    "passed": "good",
    "refused": "bad",
    "left_out": "warn",
    "not_reached": "calm",
    "not_applicable": "calm",
    "not_known": "calm",
}
STATUS_MARKS: Mapping[str, str] = {
    "test": "calm",
    "approved": "good",
    "deprecated": "warn",
    "retired": "bad",
    "blocked": "bad",
}
STATE_MARKS: Mapping[str, str] = {
    "ready": "good",
    "active": "good",
    "applied": "good",
    "draining": "calm",
    "unloaded": "calm",
    "queued": "calm",
    "waiting": "calm",
    "starting": "calm",
    "verifying": "calm",
    "loading": "calm",
    "warming": "calm",
    "expired": "warn",
    "revoked": "calm",
    "failed": "bad",
    "down": "bad",
}


def visible(value: Any) -> Any:
    """Text with its invisible characters written out, everything else as it is; every template passes through."""
    if value is None:
        return NOTHING
    if type(value) is str and _HIDDEN.search(value):
        return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", value)
    return value


class AsWritten(str):
    """Text that is sent back as it came, as a field to edit has to: `visible` leaves it, escaping does not."""

    __slots__ = ()


def unseen(text: str, most: int) -> list[dict[str, Any]]:
    """Where invisible characters stand in a text of lines, the first `most` of them."""
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        for hit in _HIDDEN.finditer(line):
            found.append({"line": number, "column": hit.start() + 1, "character": f"U+{ord(hit[0]):04X}"})
            if len(found) == most:
                return found
    return found


def usd(text: str | None, digits: int | None = None) -> str:
    """Money with as many digits as its size needs, or as its column has; None is said, never shown as nothing."""
    if text is None:
        return "unpriced"
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return text
    if amount == 0:
        return "$0"
    size = abs(amount)
    if digits is not None:
        least_shown = Decimal(1).scaleb(-digits)
        return f"<${least_shown}" if size < least_shown else f"${amount:,.{digits}f}"
    for least, digits in ((Decimal(1), 2), (Decimal("0.01"), 4), (Decimal("0.0001"), 6)):
        if size >= least:
            return f"${amount:,.{digits}f}"
    return f"${amount:.9f}".rstrip("0")


def usd_digits(texts: Sequence[str | None]) -> int:
    """Digits for a whole column of money, so that its points stand below each other: by its largest amount."""
    amounts = [abs(Decimal(text)) for text in texts if text is not None]
    largest = max(amounts, default=Decimal(0))
    return 2 if largest >= 1 else 4 if largest >= Decimal("0.01") else 6


def rate(text: str | None) -> str:
    """A price per million tokens, whole: a rate is written down by somebody, so no digit of it is rounded away."""
    if text is None:
        return "unpriced"
    whole, _, rest = text.partition(".")
    rest = rest.rstrip("0")
    return f"${whole}.{rest.ljust(2, '0')}" if rest or whole != "0" else "$0"


def count(number: int | None) -> str:
    """A whole number with its thousands apart."""
    return NOTHING if number is None else f"{number:,}"


def short_count(number: int | None) -> str:
    """A whole number for a tile: 1,234 · 56.7k · 8.9M."""
    if number is None:
        return NOTHING
    for least, unit in _UNITS:
        if number >= least:
            scale = 1000 if unit == "k" else least
            return f"{number / scale:,.1f}{unit}"
    return f"{number:,}"


def duration(milliseconds: float | None) -> str:
    """A time span from microseconds to minutes."""
    if milliseconds is None:
        return NOTHING
    if milliseconds < 1:
        return f"{milliseconds * 1000:.0f} µs"
    if milliseconds < 100:
        return f"{milliseconds:.1f} ms"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    return f"{milliseconds / 1000:.2f} s" if milliseconds < 120_000 else f"{milliseconds / 60_000:.1f} min"


def share(part: float | None, digits: int = 1) -> str:
    """A share of 0 to 1 as a percentage."""
    return NOTHING if part is None else f"{part * 100:.{digits}f} %"


def moment(text: str | None) -> str:
    """An ISO 8601 instant as a person reads it, in UTC; the page's script puts it into local time."""
    if not text:
        return NOTHING
    try:
        at = datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return text
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")


def moment_short(text: str) -> str:
    """A day as it is, an hour without its minutes' seconds; UTC."""
    return text if len(text) <= len("2026-11-22") else text[:16].replace("T", " ")


def axis_usd(amount: float) -> str:
    """A figure of a money axis: as many digits as its quarter steps need."""
    return "$0" if amount == 0 else f"${amount:,.10f}".rstrip("0").rstrip(".")


def pretty(value: Any) -> str:
    """JSON for reading."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def span_words(text: str) -> str:
    """A span such as `24h` as it is said; a point in time as it is."""
    units = {"m": "minute", "h": "hour", "d": "day", "w": "week"}
    number, unit = text[:-1], text[-1:]
    if not number.isdigit() or unit not in units:
        return f"since {text}"
    return f"last {units[unit]}" if number == "1" else f"last {number} {units[unit]}s"


def several(names: Sequence[str], most: int = 2) -> str:
    """The first few names, and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def of(number: int, noun: str) -> str:
    """A number with its noun, in the plural where it is one: 1 key, 1,200 keys."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def sentence(text: str) -> str:
    """Words as the beginning of a sentence; a name that begins them is left as it is written."""
    first = text.partition(" ")[0]
    return text[:1].upper() + text[1:] if first.isalpha() else text


def after(text: str, step: str) -> str:
    """The ISO 8601 instant one hour or day (`step`) after another; a day alone is its midnight."""
    at = datetime.fromisoformat(text).replace(tzinfo=UTC) + (
        timedelta(hours=1) if step == "hour" else timedelta(days=1)
    )
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def short_release(release: str | None) -> str:
    """A release id cut to what tells it apart in a table."""
    return release[:10] if release else NOTHING


def percent(number: float) -> str:
    """A percentage with the digits that it needs: 5 %, 0.5 %."""
    return f"{round(number, 4):g} %"


def plain(value: Any) -> Any:
    """A value of a manifest as a person reads it: text as it is, texts with commas, the rest as JSON on one line."""
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def middle(text: str, most: int = 160) -> str:
    """Text that did not change, without its middle where it is long."""
    return text if len(text) <= most else f"{text[: most // 2]} \N{HORIZONTAL ELLIPSIS} {text[-most // 2 :]}"


def passages_of(before: Any, after: Any) -> Sequence[Passage]:
    """Two long texts word by word; nothing for short ones, which are read faster side by side, and for endless ones."""
    if not isinstance(before, str) or not isinstance(after, str):
        return ()
    is_long = "\n" in before + after or max(len(before), len(after)) > TEXT_CHARS_SHORT
    return diff_texts(before, after) if is_long and len(before) + len(after) <= TEXT_CHARS_COMPARED else ()


def groupby_day(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Events with a time `at` by their day in UTC, in the order in which they come."""
    days: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        days.setdefault(str(event["at"])[:10], []).append(event)
    return [{"day": day, "events": found} for day, found in days.items()]
