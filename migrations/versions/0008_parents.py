"""Trials that go on from the checkpoint of another one."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("trial", sa.Column("parent", sa.Integer(), nullable=True))
    op.add_column("study", sa.Column("inherits", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    # Never as a batch: SQLite would make the table anew, and drop the old one with all that refers to it.
    op.drop_column("study", "inherits")
    op.drop_column("trial", "parent")
