"""Sums of requests, tokens, money and latency by any of the rollups' dimensions, and by operation.

In: the ledger's rollups. Out: rows and a total that are the same figures as in logs and explain, because they
come from the same entries. Must not read single entries: ten million of them are a second's work this way only.
What of operations needs some is in `operations`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lineclear.domain.entry import HOUR_US
from lineclear.domain.histogram import Histogram, quantiles_us
from lineclear.domain.ledger import Outcome
from lineclear.domain.money import usd_text
from lineclear.domain.shadow import SHADOW_APP
from lineclear.observe.asked import asked_by_control
from lineclear.observe.entry import NO_ERROR
from lineclear.observe.operations import ENTRIES_READ_MAX, OPERATION, OperationSplit, Told
from lineclear.observe.period import Period, time_text
from lineclear.store.day_rollups import hours_of, read_day
from lineclear.store.ledger import Ledger, day_text
from lineclear.store.ledger_tables import DIMENSIONS, ROLLUP_SUMS
from lineclear.store.rollup import Rollup, RollupKey
from lineclear.store.standing_rollups import read_rollups

USAGE_NARROW_BY: tuple[str, ...] = (*DIMENSIONS, OPERATION)
"""What sums can be narrowed by."""
GROUPS: tuple[str, ...] = (*USAGE_NARROW_BY, "day", "hour")
"""What `usage --by` accepts."""

_PLACES = {name: place for place, name in enumerate(("hour", *DIMENSIONS, OPERATION, "day"))}
"""Where a name stands: a rollup's key, and what is known beside it."""
_OUTCOME, _APP = _PLACES["outcome"], _PLACES["app"]
_SUMS = {name: place for place, name in enumerate(ROLLUP_SUMS)}
_PERCENTS = (50, 95, 99)
_SHARES = tuple(percent / 100 for percent in _PERCENTS)
_QUANTILES = tuple(f"{name}_p{percent}" for name in ("latency_ms", "first_event_ms") for percent in _PERCENTS)
FIGURES: tuple[str, ...] = (
    "requests",
    "errors",
    "refused",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "cost_usd",
    "estimated_cost_usd",
    "waste_usd",
    "unpriced_requests",
    "estimated_requests",
    "attempts",
    "retried_requests",
    *_QUANTILES,
)
"""What is told of each group, in this order."""


@dataclass(frozen=True)
class UsageQuestion:
    """What to sum, over what, by what."""

    by: tuple[str, ...]
    """Names out of GROUPS, in the order wanted."""
    period: Period
    """Cut to full hours, outwards."""
    only: Mapping[str, str]
    """Out of USAGE_NARROW_BY, to the one value wanted."""
    entries_max: int = ENTRIES_READ_MAX
    """Entries read at most to tell operations apart."""
    figures: tuple[str, ...] = FIGURES
    """Those wanted. Without latencies among them the answer takes half the time."""
    is_of_apps: bool = False
    """Without copies that nobody gets the answer of, and without what control alone asked in an app's name."""


@dataclass(frozen=True)
class UsageReport:
    """The sums; each row has the names it was asked by and the same figures as the total."""

    since: str
    """ISO 8601: the beginning of the first hour counted."""
    until: str
    """ISO 8601: the end of the last hour counted."""
    rows: list[dict[str, Any]]
    """Dearest first. Any: names are text, counts int, money text, unknown latencies None."""
    total: dict[str, Any]
    """As a row, without names."""
    demo: bool = False
    """The history is invented; whoever answers with the report says so."""


def sum_usage(ledger: Ledger, question: UsageQuestion) -> UsageReport:
    """Answer a question about usage.

    Raises:
        ValueError: if a name in `by`, `only` or `figures` cannot be asked, or too many entries would be read.
    """
    _refuse_unknown(question)
    first_hour = question.period.since_us // HOUR_US
    last_hour = (question.period.until_us - 1) // HOUR_US
    groups: dict[tuple[str, ...], _Sum] = {}
    places, by_hour = [_PLACES[name] for name in question.by], "hour" in question.by
    split = OperationSplit(question.only, question.entries_max) if OPERATION in (*question.by, *question.only) else None
    for day in reversed(ledger.days()):
        day_name = day_text(day)
        for operation, key, rollup in _rollups_of(ledger, day, (first_hour, last_hour), question, split):
            hour = time_text(key[0] * HOUR_US) if by_hour else ""
            named = (hour, *key[1:], operation, day_name)
            names = tuple([named[place] for place in places])
            group = groups.get(names)
            if group is None:
                group = groups[names] = _Sum()
            group.add(key[_OUTCOME], rollup)
    total = _Sum()
    for group in groups.values():
        total.merge(group)
    ranked = sorted(groups.items(), key=lambda item: (-item[1].cost_nano_usd, -item[1].requests, item[0]))
    return UsageReport(
        since=time_text(first_hour * HOUR_US),
        until=time_text((last_hour + 1) * HOUR_US),
        rows=[
            {**dict(zip(question.by, names, strict=True)), **group.shown(question.figures)} for names, group in ranked
        ],
        total=total.shown(question.figures),
    )


def _rollups_of(
    ledger: Ledger, day: int, hours: tuple[int, int], question: UsageQuestion, split: OperationSplit | None
) -> Iterable[Told]:
    """What the question wants of a day: the day's own sums where all of it lies in these hours, else its hours'.

    The operation is empty where nothing is asked about it.
    """
    start, end = hours_of(day)
    first, last = max(start, hours[0]), min(end, hours[1])
    if first > last:
        return []
    only = {name: value for name, value in question.only.items() if name != OPERATION}
    with_histograms = any(name in _QUANTILES for name in question.figures)
    with ledger.read(day) as connection:
        found: Iterable[tuple[RollupKey, Rollup]] | None = None
        if (first, last) == (start, end) and "hour" not in question.by:
            found = read_day(connection, day, only, with_histograms=with_histograms)
        if found is None:
            found = read_rollups(connection, first, last, only, with_histograms=with_histograms)
        if question.is_of_apps:
            left_out = asked_by_control(connection, only)
            found = [(key, one) for key, one in found if key[_APP] != SHADOW_APP and key[1:] not in left_out]
        if split is not None:
            return list(split.of_day(connection, day, (first, last), found))
        return [("", key, rollup) for key, rollup in found]


class _Sum:
    """Rollups added up, and how they are shown."""

    def __init__(self) -> None:
        self.rollup = Rollup()
        self.by_outcome: dict[str, int] = {}

    def add(self, outcome: str, rollup: Rollup) -> None:
        self.rollup.add(rollup)
        requests = rollup.sums[_SUMS["requests"]]
        self.by_outcome[outcome] = self.by_outcome.get(outcome, 0) + requests

    def merge(self, other: "_Sum") -> None:
        """Add another sum to this one."""
        self.rollup.add(other.rollup)
        for outcome, requests in other.by_outcome.items():
            self.by_outcome[outcome] = self.by_outcome.get(outcome, 0) + requests

    @property
    def requests(self) -> int:
        return self._figure("requests")

    @property
    def cost_nano_usd(self) -> int:
        """What callers are charged, whatever the figure's basis."""
        return sum(self._figure(f"{basis}_nano_usd") for basis in ("reported", "priced", "estimated"))

    def shown(self, figures: Sequence[str]) -> dict[str, Any]:
        """The figures wanted. Any: as UsageReport.rows."""
        figure = self._figure
        audio_in, audio_out = figure("audio_input_tokens"), figure("audio_output_tokens")
        cached = figure("cache_read_tokens") + figure("cache_write_tokens") + figure("cache_write_1h_tokens")
        found: dict[str, Any] = {
            "requests": self.requests,
            "errors": sum(count for outcome, count in self.by_outcome.items() if outcome not in NO_ERROR),
            "refused": self.by_outcome.get(Outcome.REFUSED, 0),
            "input_tokens": figure("input_tokens") + cached + audio_in,
            "output_tokens": figure("output_tokens") + figure("reasoning_tokens") + audio_out,
            "cache_read_tokens": figure("cache_read_tokens"),
            "cache_write_tokens": figure("cache_write_tokens") + figure("cache_write_1h_tokens"),
            "reasoning_tokens": figure("reasoning_tokens"),
            "cost_usd": usd_text(self.cost_nano_usd),
            "estimated_cost_usd": usd_text(figure("estimated_nano_usd")),
            "waste_usd": usd_text(figure("waste_nano_usd")),
            "unpriced_requests": figure("unpriced_requests"),
            "estimated_requests": figure("estimated_requests"),
            "attempts": figure("attempts"),
            "retried_requests": figure("retried_requests"),
        }
        if any(name in _QUANTILES for name in figures):
            found |= _quantiles("latency_ms", self.rollup.durations)
            found |= _quantiles("first_event_ms", self.rollup.first_events)
        return {name: found[name] for name in FIGURES if name in figures}

    def _figure(self, name: str) -> int:
        return self.rollup.sums[_SUMS[name]]


def _quantiles(name: str, durations: Histogram) -> dict[str, float | None]:
    shown: dict[str, float | None] = {}
    for percent, found_us in zip(_PERCENTS, quantiles_us(durations, _SHARES), strict=True):
        shown[f"{name}_p{percent}"] = None if found_us is None else round(found_us / 1000, 3)
    return shown


def _refuse_unknown(question: UsageQuestion) -> None:
    for name in question.by:
        if name not in GROUPS:
            raise ValueError(f"usage cannot be asked by {name!r}; it can by {_listed(GROUPS)}")
    for name in question.only:
        if name not in USAGE_NARROW_BY:
            raise ValueError(f"usage cannot be narrowed by {name!r}; it can by {_listed(USAGE_NARROW_BY)}")
    for name in question.figures:
        if name not in FIGURES:
            raise ValueError(f"usage has no figure {name!r}; it has {_listed(FIGURES)}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
