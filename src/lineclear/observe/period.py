"""A stretch of time that a question is about: `24h`, `7d`, an ISO instant, and what each resolves to.

In: text as a person wrote it and the present. Out: Unix microseconds. Pure.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from lineclear.domain.entry import DAY_US, HOUR_US

DEFAULT_SINCE = "30d"
SPAN_MAX_DAYS = 3_660
"""Longer spans are cut; the ledger is younger than that."""

_SPAN = re.compile(r"(?P<count>\d{1,6})(?P<unit>[mhdw])")
_UNIT_US = {"m": HOUR_US // 60, "h": HOUR_US, "d": DAY_US, "w": 7 * DAY_US}


@dataclass(frozen=True)
class Period:
    """From `since_us` (included) to `until_us` (not included), Unix microseconds."""

    since_us: int
    until_us: int


def instant_us(text: str, now_us: int) -> int:
    """A point in time: a span back from now (`90m`, `24h`, `7d`, `2w`) or ISO 8601 (UTC if it names no zone).

    Raises:
        ValueError: if it is neither.
    """
    span = _SPAN.fullmatch(text)
    if span:
        return now_us - min(int(span["count"]) * _UNIT_US[span["unit"]], SPAN_MAX_DAYS * DAY_US)
    try:
        found = datetime.fromisoformat(text)
        # In UTC here, not where it is told: what lies outside the years 1 to 9999 there is refused.
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is neither a span such as 24h or 7d nor a time such as 2026-11-22T10:00") from None
    return int(found.timestamp() * 1_000_000)


def period_of(since: str | None, until: str | None, now_us: int) -> Period:
    """The period between two texts; not given means the last 30 days up to and including now.

    Raises:
        ValueError: if a text is no time, or `until` is not after `since`.
    """
    since_us = instant_us(since or DEFAULT_SINCE, now_us)
    until_us = instant_us(until, now_us) if until else now_us + HOUR_US
    if until_us <= since_us:
        raise ValueError(f"the period is empty: {until!r} is not after {since or DEFAULT_SINCE!r}")
    return Period(max(since_us, until_us - SPAN_MAX_DAYS * DAY_US), until_us)


def time_text(at_us: int) -> str:
    """An instant as ISO 8601 UTC with milliseconds, e.g. `2026-11-22T10:00:00.250Z`."""
    return (
        datetime.fromtimestamp(at_us / 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_us // 1000 % 1000:03d}Z"
    )
