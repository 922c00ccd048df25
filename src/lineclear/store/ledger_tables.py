"""The ledger's tables: entries, facets, hour and day rollups, read positions, anomalies, arrivals, exposures, and more.

In and out: names and columns only; `store.ledger` writes them, `observe` reads them. One SQLite file holds
one UTC day; in PostgreSQL `entries` is partitioned by day.
"""

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary, MetaData, SmallInteger, Table, Text

LEDGER = MetaData()

facets = Table(
    "facets",
    LEDGER,
    Column("facet", BigInteger, primary_key=True, autoincrement=False),
    Column("environment", Text, nullable=False),
    Column("team", Text, nullable=False),
    Column("app", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("release", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("operation", Text, nullable=False),
    Column("dialect", Text, nullable=False),
    Column("data_class", Text, nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("error_code", Text, nullable=False),
    Column("cost_basis", Text, nullable=False),
    Column("price_version", Text, nullable=False),
    Column("stop_reason", Text, nullable=False),
    # Few combinations, many entries: an entry names its combination by the first 63 bits of a digest of it,
    # so that no counter hands numbers out and every file can stand alone.
    sqlite_with_rowid=False,
)
"""Each distinct combination of what many entries have in common. The first nine are the rollups' dimensions."""

entries = Table(
    "entries",
    LEDGER,
    Column("id", Text, primary_key=True),
    Column("day", Integer, primary_key=True),
    Column("kind", SmallInteger, nullable=False),
    Column("facet", BigInteger, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("settled_us", BigInteger, nullable=False),
    Column("duration_us", BigInteger, nullable=False),
    Column("first_event_us", BigInteger, nullable=False),
    Column("attempts", SmallInteger, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("cache_read_tokens", BigInteger, nullable=False),
    Column("cache_write_tokens", BigInteger, nullable=False),
    Column("cache_write_1h_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("audio_input_tokens", BigInteger, nullable=False),
    Column("audio_output_tokens", BigInteger, nullable=False),
    Column("reported_cost_nano_usd", BigInteger, nullable=True),
    Column("cost_nano_usd", BigInteger, nullable=False),
    Column("waste_nano_usd", BigInteger, nullable=False),
    Column("request_bytes", BigInteger, nullable=False),
    Column("response_bytes", BigInteger, nullable=False),
    Column("detail", LargeBinary, nullable=False),
    Column("check_number", BigInteger, nullable=False),
    # Ids sort by time, so the primary key is also the order of the log and needs no second index.
    sqlite_with_rowid=False,
    postgresql_partition_by="LIST (day)",
)
"""One row per exchange or refusal."""


def _dimensions_and_sums() -> list[Column[Any]]:
    """What each rollup has, whatever its period. Any: a table's columns are of several types."""
    return [
        Column("environment", Text, primary_key=True),
        Column("team", Text, primary_key=True),
        Column("app", Text, primary_key=True),
        Column("task", Text, primary_key=True),
        Column("route", Text, primary_key=True),
        Column("release", Text, primary_key=True),
        Column("model", Text, primary_key=True),
        Column("provider", Text, primary_key=True),
        Column("outcome", Text, primary_key=True),
        Column("requests", BigInteger, nullable=False),
        Column("attempts", BigInteger, nullable=False),
        Column("retried_requests", BigInteger, nullable=False),
        Column("input_tokens", BigInteger, nullable=False),
        Column("cache_read_tokens", BigInteger, nullable=False),
        Column("cache_write_tokens", BigInteger, nullable=False),
        Column("cache_write_1h_tokens", BigInteger, nullable=False),
        Column("output_tokens", BigInteger, nullable=False),
        Column("reasoning_tokens", BigInteger, nullable=False),
        Column("audio_input_tokens", BigInteger, nullable=False),
        Column("audio_output_tokens", BigInteger, nullable=False),
        Column("reported_nano_usd", BigInteger, nullable=False),
        Column("priced_nano_usd", BigInteger, nullable=False),
        Column("estimated_nano_usd", BigInteger, nullable=False),
        Column("waste_nano_usd", BigInteger, nullable=False),
        Column("unpriced_requests", BigInteger, nullable=False),
        Column("estimated_requests", BigInteger, nullable=False),
        Column("duration_us", BigInteger, nullable=False),
        Column("first_event_us", BigInteger, nullable=False),
        Column("duration_histogram", LargeBinary, nullable=False),
        Column("first_event_histogram", LargeBinary, nullable=False),
    ]


rollups = Table(
    "rollups",
    LEDGER,
    Column("hour", Integer, primary_key=True),
    *_dimensions_and_sums(),
    sqlite_with_rowid=False,
)
"""Sums over the entries settled in one UTC hour (hours since 1970)."""

day_rollups = Table(
    "day_rollups",
    LEDGER,
    Column("day", Integer, primary_key=True),
    *_dimensions_and_sums(),
    sqlite_with_rowid=False,
)
"""The same sums over a whole UTC day (days since 1970), once it is over. A day has all of them, or none."""

positions = Table(
    "positions",
    LEDGER,
    Column("segment", Text, primary_key=True),
    Column("low", BigInteger, nullable=False),
    Column("high", BigInteger, nullable=False),
    Column("intents", BigInteger, nullable=False),
    Column("settles", BigInteger, nullable=False),
    Column("refusals", BigInteger, nullable=False),
    Column("orphans", BigInteger, nullable=False),
    Column("watermark_us", BigInteger, nullable=False),
    Column("closed", Boolean, nullable=False),
)
"""How far each spool segment has been read; written in the transaction that writes what was read."""

anomalies = Table(
    "anomalies",
    LEDGER,
    Column("segment", Text, primary_key=True),
    Column("at", BigInteger, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("exchange", Text, nullable=False),
    Column("detail", Text, nullable=False),
)
"""Records that should not be there, for `ledger check`."""

arrivals = Table(
    "arrivals",
    LEDGER,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("ids", LargeBinary, nullable=False),
)
"""In which order a day's entries came in: one row for each batch, numbered from 1, with its ids (`packed_ids`)."""

exposures = Table(
    "exposures",
    LEDGER,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("rollout", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("id", Text, primary_key=True),
    Column("arm", Text, nullable=False),
    Column("weight_bp", SmallInteger, nullable=False),
    Column("unit_hash", Text, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("duration_us", BigInteger, nullable=False),
    Column("cost_nano_usd", BigInteger, nullable=False),
    Column("marks", SmallInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""What evidence reads of each entry that has a rollout; `number` is the batch it arrived in, as in `arrivals`."""

rule_hits = Table(
    "rule_hits",
    LEDGER,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("rule", Text, primary_key=True),
    Column("hits", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),
    Column("last_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""How many of a day's entries a policy's rule stands in, how many of them policies refused, and when the last ended."""

reviews = Table(
    "reviews",
    LEDGER,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("rollout", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("received_us", BigInteger, nullable=False),
    Column("environment", Text, nullable=False),
    Column("app", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("reviewer", Text, nullable=False),
    Column("team", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("release", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("arm", Text, nullable=False),
    Column("weight_bp", SmallInteger, nullable=False),
    Column("unit_hash", Text, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("other_release", Boolean, nullable=False),
    sqlite_with_rowid=False,
)
"""What people said of outputs. `number` is 0 and the facts of the request are empty until the request is found; then it
counts, from 1, what was found of a rollout on that day. Rows are added and never change what was said."""

mirrored = Table(
    "mirrored",
    LEDGER,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("run", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("environment", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("stable_outcome", Text, nullable=False),
    Column("stable_status", SmallInteger, nullable=False),
    Column("candidate_outcome", Text, nullable=False),
    Column("error_code", Text, nullable=False),
    Column("stable_bytes", BigInteger, nullable=False),
    Column("candidate_bytes", BigInteger, nullable=False),
    Column("stable_nano_usd", BigInteger, nullable=False),
    Column("candidate_nano_usd", BigInteger, nullable=False),
    Column("is_unpriced", Boolean, nullable=False),
    Column("stable_us", BigInteger, nullable=False),
    Column("candidate_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""How the answers to a call of stable's and to its copy for a candidate compare; no text of either."""

DIMENSIONS: tuple[str, ...] = tuple(column.name for column in rollups.primary_key.columns if column.name != "hour")
"""What `usage` can be asked by, in the order of the first columns of a facet."""
FACET_COLUMNS: tuple[str, ...] = tuple(column.name for column in facets.columns if column.name != "facet")
ENTRY_COLUMNS: tuple[str, ...] = tuple(column.name for column in entries.columns)
ROLLUP_SUMS: tuple[str, ...] = tuple(
    column.name
    for column in rollups.columns
    if not column.primary_key and column.name not in ("duration_histogram", "first_event_histogram")
)
