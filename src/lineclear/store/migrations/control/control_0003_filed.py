"""What files said last about each noun and deployment, so that a change made elsewhere can be told as drift."""

from alembic import op
from sqlalchemy import Column, Text

revision = "control_0003"
down_revision = "control_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("manifests", Column("filed", Text, nullable=False, server_default=""))
    op.execute("UPDATE manifests SET filed = document WHERE owner = 'file'")
    op.add_column("deployments", Column("asked", Text, nullable=False, server_default=""))
    op.execute("UPDATE deployments SET asked = stable")
