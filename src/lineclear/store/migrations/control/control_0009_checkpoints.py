"""Signed checkpoints of the audit trail."""

from alembic import op
from sqlalchemy import BigInteger, Column, Text

revision = "control_0009"
down_revision = "control_0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_checkpoints",
        Column("number", BigInteger, primary_key=True, autoincrement=False),
        Column("at_us", BigInteger, nullable=False),
        Column("note", Text, nullable=False),
        Column("peaks", Text, nullable=False),
    )
