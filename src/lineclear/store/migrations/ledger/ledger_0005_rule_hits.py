"""How often each rule of a policy had a say, one row for each rule and day."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, Text

revision = "ledger_0005"
down_revision = "ledger_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rule_hits",
        Column("day", Integer, primary_key=True, autoincrement=False),
        Column("rule", Text, primary_key=True),
        Column("hits", BigInteger, nullable=False),
        Column("refused", BigInteger, nullable=False),
        Column("last_us", BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
