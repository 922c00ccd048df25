"""What drills of rollbacks showed."""

from alembic import op
from sqlalchemy import BigInteger, Column, Float, Integer, Text

revision = "control_0014"
down_revision = "control_0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "drills",
        Column("environment", Text, primary_key=True),
        Column("route", Text, primary_key=True),
        Column("at_us", BigInteger, primary_key=True, autoincrement=False),
        Column("actor", Text, nullable=False),
        Column("release", Text, nullable=False),
        Column("has_passed", Integer, nullable=False),
        Column("in_s", Float(53), nullable=False),
        Column("acknowledged", Integer, nullable=False),
        Column("silent", Integer, nullable=False),
        Column("reason", Text, nullable=False),
    )
