"""Sums of whole days beside those of hours, so that a month is thirty small reads.

The table begins empty: whoever keeps the ledger folds each closed day that has none, of whatever version it is.
"""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Text

revision = "ledger_0003"
down_revision = "ledger_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    dimensions = ("environment", "team", "app", "task", "route", "release", "model", "provider", "outcome")
    op.create_table(
        "day_rollups",
        Column("day", Integer, primary_key=True, autoincrement=False),
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


def _numbers(*names: str) -> list[Column[int]]:
    return [Column(name, BigInteger, nullable=False) for name in names]
