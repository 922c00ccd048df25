"""How answers to calls and to their copies for a candidate compare."""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Integer, SmallInteger, Text

revision = "ledger_0007"
down_revision = "ledger_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "mirrored",
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
