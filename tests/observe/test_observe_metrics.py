"""Metrics: one list in the code, the docs and the exposition; sums that never fall."""

import re
from collections import Counter
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from lineclear.control.ingest.ingest import Ingest
from lineclear.domain.histogram import bucket_of, quantile_us, upper_us
from lineclear.observe.metrics import METRICS, SERIES_MAX, Metrics
from lineclear.store.ledger import Ledger
from lineclear.store.ledger_tables import DIMENSIONS
from lineclear.store.rollup import Rollup
from lineclear.testing.clock import TestClock
from lineclear.testing.records import Spool, heartbeat, intent, refusal, settle

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"


def sample(text: str, name: str, **labels: str) -> float:
    total = 0.0
    for family in text_string_to_metric_families(text):
        for found in family.samples:
            if found.name == name and labels.items() <= found.labels.items():
                total += found.value
    return total


def test_metrics_follow_what_is_ingested(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    ledger = Ledger.open(tmp_path / "ledger")
    metrics = Metrics(spool.clock, "1.2.3", lambda: 7)
    ingest = Ingest(ledger, spool.directory, spool.clock, accountant_positions=dict, listener=metrics)
    spool.write(intent(1), settle(1), refusal(2), heartbeat(exchanges_open=3, connections=5, body_too_large=2))
    ingest.catch_up()
    text = metrics.text()
    assert sample(text, "lineclear_requests_total", outcome="ok", route="support-chat") == 1
    assert sample(text, "lineclear_requests_total", outcome="refused") == 1
    assert sample(text, "lineclear_tokens_total", direction="input") == 121
    assert sample(text, "lineclear_cost_usd_total", basis="priced") == 0.00002415
    assert sample(text, "lineclear_request_duration_seconds_count") == 2
    assert sample(text, "lineclear_request_duration_seconds_bucket", le="0.131072") == 1
    assert sample(text, "lineclear_request_duration_seconds_bucket", le="0.262144") == 2
    assert sample(text, "lineclear_inflight_requests") == 3
    assert sample(text, "lineclear_gateway_connections") == 5
    assert sample(text, "lineclear_gateway_events_total", event="body_too_large") == 2
    assert sample(text, "lineclear_config_revision") == 7
    spool.clock.advance(60)
    spool.die()
    ingest.catch_up()
    text = metrics.text()
    assert sample(text, "lineclear_inflight_requests") == 0
    assert sample(text, "lineclear_gateway_events_total", event="body_too_large") == 2
    ledger.close()


def test_docs_list_exactly_these_metrics() -> None:
    rows = re.findall(
        r"^\| `(lineclear_[a-z_]+)` \| (\w+) \| ([^|]*) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE
    )
    documented = {(name, kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert documented == {(row.name, row.kind, row.labels) for row in METRICS}


def test_exposition_has_exactly_these_metrics() -> None:
    text = Metrics(TestClock(), "1", lambda: 0).text()
    exposed = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
    assert exposed == {row.name for row in METRICS}


def test_series_are_bounded() -> None:
    metrics = Metrics(TestClock(), "1", lambda: 0)
    one = Rollup()
    one.sums[0] = 1
    # One route's many releases: short to render, and as many combinations as any other.
    fixed = dict.fromkeys(DIMENSIONS, "x")
    keys = [(0, *{**fixed, "release": f"rel_{number}"}.values()) for number in range(SERIES_MAX + 5)]
    metrics.committed(dict.fromkeys(keys, one))
    lines = [line for line in metrics.text().splitlines() if line.startswith("lineclear_requests_total{")]
    assert len(lines) == SERIES_MAX + 1
    assert next(line for line in lines if 'release="(other)"' in line).endswith(" 5.0")


def test_histograms_bound_their_error() -> None:
    for duration in (1, 2, 3, 1024, 1025, 999_999, 10**9):
        bucket = bucket_of(duration)
        assert upper_us(bucket) >= duration * (1 - 1e-12)
        assert bucket == 0 or upper_us(bucket - 1) < duration
    counts = Counter(bucket_of(duration) for duration in range(1000, 2000))
    median = quantile_us(counts, 0.5)
    assert median is not None
    assert abs(median - 1500) / 1500 < 0.05
    assert quantile_us({}, 0.5) is None
