"""Runs of evals, and the scores of those under way."""

from alembic import op
from sqlalchemy import BigInteger, Column, Float, Integer, Text

revision = "control_0012"
down_revision = "control_0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "eval_runs",
        Column("id", Text, primary_key=True),
        Column("kind", Text, nullable=False),
        Column("spec", Text, nullable=False),
        Column("environment", Text, nullable=False),
        Column("route", Text, nullable=False),
        Column("sides", Text, nullable=False),
        Column("rollout", Text, nullable=False),
        Column("replay", Text, nullable=False),
        Column("state", Text, nullable=False),
        Column("verdict", Text, nullable=False),
        Column("reason", Text, nullable=False),
        Column("report", Text, nullable=False),
        Column("spent_nano_usd", BigInteger, nullable=False),
        Column("created_us", BigInteger, nullable=False),
        Column("created_by", Text, nullable=False),
        Column("ended_us", BigInteger, nullable=False),
    )
    op.create_table(
        "eval_scores",
        Column("run", Text, primary_key=True),
        Column("number", Integer, primary_key=True),
        Column("check_id", Text, primary_key=True),
        Column("arm", Text, primary_key=True),
        Column("score", Float(53), nullable=True),
        Column("cost_nano_usd", BigInteger, nullable=False),
    )
