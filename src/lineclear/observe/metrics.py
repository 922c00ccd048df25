"""Prometheus metrics, derived from what ingest commits and from the workers' heartbeats; no gateway counts for this.

In: rollup differences and heartbeats. Out: the text of `/metrics`. Counters begin at 0 when control starts, as
Prometheus expects. Never a user, key or request id as a label. Must not touch the database.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from lineclear.base.clock import Clock
from lineclear.domain.histogram import BUCKETS_PER_OCTAVE, Histogram
from lineclear.domain.ledger import Heartbeat
from lineclear.domain.money import NANO_PER_USD
from lineclear.store.ledger_tables import DIMENSIONS, ROLLUP_SUMS
from lineclear.store.rollup import Rollup, RollupKey

SERIES_MAX = 5_000
"""Combinations of labels kept; what comes after them is counted under OVERFLOW in every label."""
EVENTS_MAX = 200
"""Names of worker counters kept; later ones are dropped."""
OVERFLOW = "(other)"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

WORKER_SILENT_S = 10
"""A worker that has not been heard of for this long is not counted as alive."""
OCTAVES = range(10, 31)
"""Histogram edges: powers of two of microseconds, from 1 ms to 18 minutes. They are edges of ours, so exact."""

_US_PER_S = 1_000_000
_DIRECTIONS = {
    "input_tokens": ("input", "uncached"),
    "cache_read_tokens": ("input", "cache_read"),
    "cache_write_tokens": ("input", "cache_write"),
    "cache_write_1h_tokens": ("input", "cache_write_1h"),
    "audio_input_tokens": ("input", "audio"),
    "output_tokens": ("output", "text"),
    "reasoning_tokens": ("output", "reasoning"),
    "audio_output_tokens": ("output", "audio"),
}
_MONEY = {"reported_nano_usd": "reported", "priced_nano_usd": "priced", "estimated_nano_usd": "estimated"}


@dataclass(frozen=True)
class MetricRow:
    """One metric as docs/metrics.md lists it."""

    name: str
    kind: str
    """counter | gauge | histogram."""
    labels: tuple[str, ...]
    meaning: str


_FULL = ("environment", "team", "app", "route", "release", "model", "provider", "outcome")
_CALLER = ("environment", "team", "app", "route", "model", "provider")
_TARGET = ("environment", "route", "model", "provider")
_ROUTE = ("environment", "route")

METRICS: tuple[MetricRow, ...] = (
    MetricRow("lineclear_requests_total", "counter", _FULL, "Exchanges that ended, refusals included."),
    MetricRow("lineclear_request_duration_seconds", "histogram", _ROUTE, "From the request's head to its end."),
    MetricRow("lineclear_time_to_first_token_seconds", "histogram", _ROUTE, "Until the first content event."),
    MetricRow("lineclear_upstream_attempts_total", "counter", _TARGET, "Tries at targets, under the one that served."),
    MetricRow("lineclear_retried_requests_total", "counter", _TARGET, "Exchanges that needed more than one attempt."),
    MetricRow("lineclear_tokens_total", "counter", (*_CALLER, "direction", "kind"), "Tokens in disjoint kinds."),
    MetricRow("lineclear_cost_usd_total", "counter", (*_CALLER, "basis"), "Cost charged to callers, in USD."),
    MetricRow("lineclear_waste_usd_total", "counter", _TARGET, "Cost of abandoned attempts, nobody's, in USD."),
    MetricRow("lineclear_unpriced_requests_total", "counter", _CALLER, "Exchanges whose model has no price."),
    MetricRow("lineclear_inflight_requests", "gauge", (), "Exchanges under way in all workers."),
    MetricRow("lineclear_gateway_connections", "gauge", (), "Open connections of callers in all workers."),
    MetricRow("lineclear_gateway_workers", "gauge", (), "Workers heard of in the last ten seconds."),
    MetricRow("lineclear_gateway_events_total", "counter", ("event",), "Limits met and faults seen, by name."),
    MetricRow("lineclear_ledger_lag_seconds", "gauge", (), "Age of the instant up to which all is read."),
    MetricRow("lineclear_config_revision", "gauge", (), "Revision of the newest published snapshot."),
    MetricRow("lineclear_rollback_drill_age_seconds", "gauge", _ROUTE, "Since a rollback passed a drill; +Inf: never."),
    MetricRow("lineclear_build_info", "gauge", ("version",), "Always 1; the label says which version runs."),
)
"""Every metric there is; docs/metrics.md holds the same set."""

GAUGE_COUNTERS = {"exchanges_open": "lineclear_inflight_requests", "connections": "lineclear_gateway_connections"}
"""Heartbeat figures that are a present state and no running count."""


class Metrics(Collector):
    """An `IngestListener` that renders itself. Safe to share between threads."""

    def __init__(
        self,
        clock: Clock,
        version: str,
        revision: Callable[[], int],
        drill_ages: Callable[[], Mapping[tuple[str, str], float]] = dict,
    ) -> None:
        """Nothing is counted yet.

        Args:
            clock: to tell live workers from silent ones.
            version: of the program.
            revision: the newest published snapshot's.
            drill_ages: seconds since the rollback of each deployment last passed a drill.
        """
        self._clock = clock
        self._version = version
        self._revision = revision
        self._drill_ages = drill_ages
        self._lock = threading.Lock()
        self._series: dict[tuple[str, ...], Rollup] = {}
        self._workers: dict[str, Heartbeat] = {}
        self._past_events: dict[str, int] = {}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> str:
        """The exposition in Prometheus' text format; send it with CONTENT_TYPE."""
        return generate_latest(self._registry).decode()

    # IngestListener

    def committed(self, rollups: Mapping[RollupKey, Rollup]) -> None:
        with self._lock:
            for key, rollup in rollups.items():
                labels = key[1:]
                series = self._series.get(labels)
                if series is None:
                    if len(self._series) >= SERIES_MAX:
                        labels = (OVERFLOW,) * len(DIMENSIONS)
                    series = self._series.setdefault(labels, Rollup())
                series.add(rollup)

    def heartbeat(self, source: str, beat: Heartbeat) -> None:
        with self._lock:
            self._workers[source] = beat

    def gone(self, source: str) -> None:
        with self._lock:
            beat = self._workers.pop(source, None)
            for name, count in _events(beat):
                # Kept, so that the sum over all workers never falls.
                if name in self._past_events or len(self._past_events) < EVENTS_MAX:
                    self._past_events[name] = self._past_events.get(name, 0) + count

    # Collector

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            yield self._count("lineclear_requests_total", _FULL, "requests")
            yield from self._durations()
            yield self._count("lineclear_upstream_attempts_total", _TARGET, "attempts")
            yield self._count("lineclear_retried_requests_total", _TARGET, "retried_requests")
            yield self._tokens()
            yield self._cost()
            yield self._count("lineclear_waste_usd_total", _TARGET, "waste_nano_usd", NANO_PER_USD)
            yield self._count("lineclear_unpriced_requests_total", _CALLER, "unpriced_requests")
            yield from self._pulse()
            yield _gauge("lineclear_config_revision", self._revision())
            yield self._drills()
            build = GaugeMetricFamily("lineclear_build_info", _meaning("lineclear_build_info"), labels=["version"])
            build.add_metric([self._version], 1)
            yield build

    def _grouped(self, labels: tuple[str, ...]) -> dict[tuple[str, ...], Rollup]:
        places = [DIMENSIONS.index(name) for name in labels]
        groups: dict[tuple[str, ...], Rollup] = {}
        for key, rollup in self._series.items():
            groups.setdefault(tuple(key[place] for place in places), Rollup()).add(rollup)
        return groups

    def _count(self, name: str, labels: tuple[str, ...], column: str, unit: int = 1) -> Metric:
        family = CounterMetricFamily(name, _meaning(name), labels=labels)
        for values, rollup in self._grouped(labels).items():
            family.add_metric(values, _figure(rollup, column) / unit)
        return family

    def _tokens(self) -> Metric:
        name = "lineclear_tokens_total"
        family = CounterMetricFamily(name, _meaning(name), labels=(*_CALLER, "direction", "kind"))
        for values, rollup in self._grouped(_CALLER).items():
            for column, direction in _DIRECTIONS.items():
                if count := _figure(rollup, column):
                    family.add_metric((*values, *direction), count)
        return family

    def _cost(self) -> Metric:
        name = "lineclear_cost_usd_total"
        family = CounterMetricFamily(name, _meaning(name), labels=(*_CALLER, "basis"))
        for values, rollup in self._grouped(_CALLER).items():
            for column, basis in _MONEY.items():
                if nano_usd := _figure(rollup, column):
                    family.add_metric((*values, basis), nano_usd / NANO_PER_USD)
        return family

    def _durations(self) -> Iterator[Metric]:
        duration, first = "lineclear_request_duration_seconds", "lineclear_time_to_first_token_seconds"
        durations = HistogramMetricFamily(duration, _meaning(duration), labels=_ROUTE)
        firsts = HistogramMetricFamily(first, _meaning(first), labels=_ROUTE)
        for values, rollup in self._grouped(_ROUTE).items():
            durations.add_metric(values, _buckets(rollup.durations), _figure(rollup, "duration_us") / _US_PER_S)
            if rollup.first_events:
                firsts.add_metric(values, _buckets(rollup.first_events), _figure(rollup, "first_event_us") / _US_PER_S)
        yield durations
        yield firsts

    def _drills(self) -> Metric:
        name = "lineclear_rollback_drill_age_seconds"
        family = GaugeMetricFamily(name, _meaning(name), labels=_ROUTE)
        for deployment, age_s in sorted(self._drill_ages().items())[:SERIES_MAX]:
            family.add_metric(deployment, age_s)
        return family

    def _pulse(self) -> Iterator[Metric]:
        now_us = self._clock.unix_us()
        alive = [beat for beat in self._workers.values() if now_us - beat.at_us < WORKER_SILENT_S * _US_PER_S]
        for counter, name in GAUGE_COUNTERS.items():
            yield _gauge(name, sum(beat.counters.get(counter, 0) for beat in alive))
        yield _gauge("lineclear_gateway_workers", len(alive))
        name = "lineclear_gateway_events_total"
        family = CounterMetricFamily(name, _meaning(name), labels=["event"])
        events = dict(self._past_events)
        for beat in self._workers.values():
            for event, count in _events(beat):
                events[event] = events.get(event, 0) + count
        for event in sorted(events)[:EVENTS_MAX]:
            family.add_metric([event], events[event])
        yield family
        lag_us = now_us - min((beat.at_us for beat in self._workers.values()), default=now_us)
        yield _gauge("lineclear_ledger_lag_seconds", max(0, lag_us) / _US_PER_S)


def _events(beat: Heartbeat | None) -> list[tuple[str, int]]:
    counters = beat.counters if beat else {}
    return [(name, count) for name, count in counters.items() if name not in GAUGE_COUNTERS]


def _gauge(name: str, value: float) -> Metric:
    return GaugeMetricFamily(name, _meaning(name), value=value)


def _meaning(name: str) -> str:
    return next(row.meaning for row in METRICS if row.name == name)


def _figure(rollup: Rollup, column: str) -> int:
    return rollup.sums[ROLLUP_SUMS.index(column)]


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Cumulative counts by upper edge in seconds, as Prometheus wants them."""
    edges: list[tuple[str, float]] = []
    for octave in OCTAVES:
        last = octave * BUCKETS_PER_OCTAVE
        count = sum(count for bucket, count in histogram.items() if bucket <= last)
        edges.append((str(2**octave / _US_PER_S), count))
    return [*edges, ("+Inf", sum(histogram.values()))]
