"""Trials that share a trainer: with how many an attempt ran, and how a trial's result was made."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attempt", sa.Column("population", sa.Integer(), nullable=True))
    op.add_column("attempt", sa.Column("seconds", sa.Double(), nullable=True))
    op.add_column("trial", sa.Column("execution", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    for table, column in (("trial", "execution"), ("attempt", "seconds"), ("attempt", "population")):
        with op.batch_alter_table(table) as batch_op:
            batch_op.drop_column(column)
