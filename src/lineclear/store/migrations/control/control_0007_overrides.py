"""Which entries of the override journal were taken over, and what is stopped."""

from alembic import op
from sqlalchemy import BigInteger, Column, Text

revision = "control_0007"
down_revision = "control_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "overrides",
        Column("sequence", BigInteger, primary_key=True, autoincrement=False),
        Column("at_us", BigInteger, nullable=False),
        Column("actor", Text, nullable=False),
        Column("reason", Text, nullable=False),
        Column("kind", Text, nullable=False),
        Column("object", Text, nullable=False),
        Column("before", Text, nullable=False),
        Column("after", Text, nullable=False),
        Column("problem", Text, nullable=False),
        Column("digest", Text, nullable=False),
    )
    op.create_table(
        "stops",
        Column("scope", Text, primary_key=True),
        Column("at_us", BigInteger, nullable=False),
        Column("actor", Text, nullable=False),
        Column("reason", Text, nullable=False),
    )
