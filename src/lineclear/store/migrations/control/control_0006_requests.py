"""Change requests that wait for approval: their life, approvals, and the sealed documents they came with."""

from alembic import op
from sqlalchemy import BigInteger, Column, LargeBinary, Text

revision = "control_0006"
down_revision = "control_0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("content_digest", "closed_by", "reason"):
        op.add_column("changes", Column(name, Text, nullable=False, server_default=""))
    for name in ("needs", "scopes", "co_authors", "owners"):
        op.add_column("changes", Column(name, Text, nullable=False, server_default="[]"))
    for name in ("expires_us", "closed_us"):
        op.add_column("changes", Column(name, BigInteger, nullable=False, server_default="0"))
    op.execute("UPDATE changes SET closed_us = created_us, closed_by = author")
    op.create_table(
        "change_approvals",
        Column("change_id", Text, primary_key=True),
        Column("principal", Text, primary_key=True),
        Column("at_us", BigInteger, nullable=False),
        Column("content_digest", Text, nullable=False),
        Column("scopes", Text, nullable=False),
        Column("note", Text, nullable=False),
        Column("mac", Text, nullable=False),
    )
    op.create_table(
        "change_contents",
        Column("change_id", Text, primary_key=True),
        Column("sealed", LargeBinary, nullable=False),
    )
