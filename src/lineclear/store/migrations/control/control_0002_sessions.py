"""Sign-in links and sessions of the console."""

from alembic import op
from sqlalchemy import BigInteger, Column, Text

revision = "control_0002"
down_revision = "control_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name, times in (
        ("sign_in_links", ("created_us", "expires_us")),
        ("sessions", ("created_us", "seen_us", "expires_us")),
    ):
        op.create_table(
            name,
            Column("hash", Text, primary_key=True),
            Column("principal", Text, nullable=False),
            *(Column(time, BigInteger, nullable=False) for time in times),
        )
