"""Notices: what people are told, whom, and how far it got."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, Text, text

revision = "control_0010"
down_revision = "control_0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "notices",
        Column("id", Text, primary_key=True),
        Column("at_us", BigInteger, nullable=False),
        Column("kind", Text, nullable=False),
        Column("object", Text, nullable=False),
        Column("environment", Text, nullable=False),
        Column("route", Text, nullable=False),
        Column("title", Text, nullable=False),
        Column("facts", Text, nullable=False),
        Column("audit_number", BigInteger, nullable=False),
        Column("repeats", Integer, nullable=False),
    )
    op.create_index("notices_by_time", "notices", ["at_us"])
    op.create_index("notices_by_object", "notices", ["object", "at_us"])
    op.create_table(
        "notice_addresses",
        Column("notice_id", Text, primary_key=True),
        Column("team", Text, primary_key=True),
        Column("part", Text, nullable=False),
        Column("apps", Text, nullable=False),
        Column("acked_us", BigInteger, nullable=False),
        Column("acked_by", Text, nullable=False),
    )
    op.create_table(
        "notice_deliveries",
        Column("id", Text, primary_key=True),
        Column("notice_id", Text, nullable=False),
        Column("team", Text, nullable=False),
        Column("channel", Text, nullable=False),
        Column("state", Text, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("next_us", BigInteger, nullable=False),
        Column("created_us", BigInteger, nullable=False),
        Column("ended_us", BigInteger, nullable=False),
        Column("problem", Text, nullable=False),
    )
    op.create_index("notice_deliveries_by_state", "notice_deliveries", ["state", "next_us"])
    op.create_index("notice_deliveries_by_notice", "notice_deliveries", ["notice_id"])
    op.create_table(
        "notice_cursor",
        Column("name", Text, primary_key=True),
        Column("audit_number", BigInteger, nullable=False),
    )
    # What was done before there were notices is told to nobody.
    op.execute(text("INSERT INTO notice_cursor SELECT 'outbox', COALESCE(MAX(number), 0) FROM audit"))
