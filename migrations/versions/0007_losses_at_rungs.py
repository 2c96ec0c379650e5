"""Pruning of studies with several objectives: all losses of a trial at a rung."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rung", sa.Column("losses", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    op.drop_column("rung", "losses")
