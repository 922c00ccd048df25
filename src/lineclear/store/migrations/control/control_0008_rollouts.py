"""Rollouts: what each is held to, where it stands, what was known of it last."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, Text

revision = "control_0008"
down_revision = "control_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rollouts",
        Column("id", Text, primary_key=True),
        Column("environment", Text, nullable=False),
        Column("route", Text, nullable=False),
        Column("stable", Text, nullable=False),
        Column("candidate", Text, nullable=False),
        Column("course", Text, nullable=False),
        Column("plan", Text, nullable=False),
        Column("progress", Text, nullable=False),
        Column("evidence", Text, nullable=False),
        Column("is_open", Integer, nullable=False),
        Column("created_us", BigInteger, nullable=False),
        Column("created_by", Text, nullable=False),
        Column("change_id", Text, nullable=False),
        Column("ended_us", BigInteger, nullable=False),
        Column("version", BigInteger, nullable=False),
    )
