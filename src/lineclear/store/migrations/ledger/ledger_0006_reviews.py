"""What people said of outputs."""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Integer, SmallInteger, Text

revision = "ledger_0006"
down_revision = "ledger_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "reviews",
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
