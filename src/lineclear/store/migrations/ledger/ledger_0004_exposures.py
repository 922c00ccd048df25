"""Requests of rollouts, a small row each, so that evidence is read without the entries of everybody else."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, SmallInteger, Text

revision = "ledger_0004"
down_revision = "ledger_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "exposures",
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
