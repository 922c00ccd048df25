"""First tables of the ledger: facets, entries, rollups, positions, anomalies."""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary, SmallInteger, Text

revision = "ledger_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_facets()
    _create_entries()
    _create_rollups()
    _create_reading()


def _texts(*names: str) -> list[Column[str]]:
    return [Column(name, Text, nullable=False) for name in names]


def _numbers(*names: str) -> list[Column[int]]:
    return [Column(name, BigInteger, nullable=False) for name in names]


def _create_facets() -> None:
    op.create_table(
        "facets",
        Column("facet", BigInteger, primary_key=True, autoincrement=False),
        *_texts("environment", "team", "app", "task", "route", "release", "model", "provider", "outcome", "key_id"),
        *_numbers("revision"),
        *_texts("operation", "dialect", "data_class"),
        Column("stream", Boolean, nullable=False),
        Column("status", SmallInteger, nullable=False),
        *_texts("error_code", "cost_basis", "price_version", "stop_reason"),
        sqlite_with_rowid=False,
    )


def _create_entries() -> None:
    op.create_table(
        "entries",
        Column("id", Text, primary_key=True),
        Column("day", Integer, primary_key=True, autoincrement=False),
        Column("kind", SmallInteger, nullable=False),
        *_numbers("facet", "started_us", "settled_us", "duration_us", "first_event_us"),
        Column("attempts", SmallInteger, nullable=False),
        *_numbers("input_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens"),
        *_numbers("output_tokens", "reasoning_tokens", "audio_input_tokens", "audio_output_tokens"),
        Column("reported_cost_nano_usd", BigInteger, nullable=True),
        *_numbers("cost_nano_usd", "waste_nano_usd", "request_bytes", "response_bytes"),
        Column("detail", LargeBinary, nullable=False),
        *_numbers("check_number"),
        sqlite_with_rowid=False,
        postgresql_partition_by="LIST (day)",
    )


def _create_rollups() -> None:
    dimensions = ("environment", "team", "app", "task", "route", "release", "model", "provider", "outcome")
    op.create_table(
        "rollups",
        Column("hour", Integer, primary_key=True, autoincrement=False),
        *(Column(name, Text, primary_key=True) for name in dimensions),
        *_numbers("requests", "attempts", "retried_requests"),
        *_numbers("input_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens"),
        *_numbers("output_tokens", "reasoning_tokens", "audio_input_tokens", "audio_output_tokens"),
        *_numbers("reported_nano_usd", "priced_nano_usd", "estimated_nano_usd", "waste_nano_usd"),
        *_numbers("unpriced_requests", "estimated_requests", "duration_us", "first_event_us"),
        Column("duration_histogram", LargeBinary, nullable=False),
        Column("first_event_histogram", LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )


def _create_reading() -> None:
    op.create_table(
        "positions",
        Column("segment", Text, primary_key=True),
        *_numbers("low", "high", "intents", "settles", "refusals", "orphans", "watermark_us"),
        Column("closed", Boolean, nullable=False),
    )
    op.create_table(
        "anomalies",
        Column("segment", Text, primary_key=True),
        Column("at", BigInteger, primary_key=True, autoincrement=False),
        Column("kind", Text, primary_key=True),
        *_texts("exchange", "detail"),
    )
