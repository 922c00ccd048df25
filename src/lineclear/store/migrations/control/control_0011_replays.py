"""Datasets, and replays of them with their results."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Text

revision = "control_0011"
down_revision = "control_0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "datasets",
        Column("name", Text, primary_key=True),
        Column("digest", Text, primary_key=True),
        Column("team", Text, nullable=False),
        Column("cases", Integer, nullable=False),
        Column("content_bytes", BigInteger, nullable=False),
        Column("created_us", BigInteger, nullable=False),
        Column("created_by", Text, nullable=False),
        Column("sealed", LargeBinary, nullable=False),
    )
    op.create_table(
        "replays",
        Column("id", Text, primary_key=True),
        Column("purpose", Text, nullable=False),
        Column("environment", Text, nullable=False),
        Column("route", Text, nullable=False),
        Column("app", Text, nullable=False),
        Column("dataset", Text, nullable=False),
        Column("dataset_digest", Text, nullable=False),
        Column("dataset_team", Text, nullable=False),
        Column("cases", Integer, nullable=False),
        Column("sides", Text, nullable=False),
        Column("spend_cap_nano_usd", BigInteger, nullable=False),
        Column("rollout", Text, nullable=False),
        Column("state", Text, nullable=False),
        Column("reason", Text, nullable=False),
        Column("report", Text, nullable=False),
        Column("created_us", BigInteger, nullable=False),
        Column("created_by", Text, nullable=False),
        Column("ended_us", BigInteger, nullable=False),
    )
    op.create_table(
        "replay_results",
        Column("replay_id", Text, primary_key=True),
        Column("number", Integer, primary_key=True),
        Column("arm", Text, primary_key=True),
        Column("status", Integer, nullable=False),
        Column("error_code", Text, nullable=False),
        Column("digest", Text, nullable=False),
        Column("text_bytes", BigInteger, nullable=False),
        Column("is_cut", Integer, nullable=False),
        Column("cost_nano_usd", BigInteger, nullable=True),
        Column("cost_basis", Text, nullable=False),
        Column("duration_us", BigInteger, nullable=False),
        Column("request_id", Text, nullable=False),
        Column("model", Text, nullable=False),
        Column("sealed", LargeBinary, nullable=False),
    )
