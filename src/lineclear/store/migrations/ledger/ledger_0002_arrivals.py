"""The order in which entries came in, so that whoever follows them misses none and gets none twice."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary

revision = "ledger_0002"
down_revision = "ledger_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "arrivals",
        Column("day", Integer, primary_key=True, autoincrement=False),
        Column("number", BigInteger, primary_key=True, autoincrement=False),
        Column("ids", LargeBinary, nullable=False),
    )
