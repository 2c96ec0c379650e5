"""Registered objectives, leases of clients, trials that a person retries, and checkpoints."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("study", sa.Column("objective", sa.String(length=128), nullable=True))
    op.add_column("trial", sa.Column("forgiven", sa.Integer(), server_default="0", nullable=False))
    op.add_column("attempt", sa.Column("token", sa.String(length=32), nullable=True))
    op.add_column("lease", sa.Column("seconds", sa.Double(), nullable=True))
    op.add_column("lease", sa.Column("stop", sa.String(length=64), nullable=True))
    op.add_column("worker", sa.Column("objectives", sa.JSON(), server_default="[]", nullable=False))
    op.create_table(
        "checkpoint",
        sa.Column("study_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("step", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("values", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id", "number"],
            ["trial.study_id", "trial.number"],
            name=op.f("fk_checkpoint_trial"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("study_id", "number", "attempt", "step", name=op.f("pk_checkpoint")),
    )


def downgrade() -> None:
    op.drop_table("checkpoint")
    for table, column in (
        ("worker", "objectives"),
        ("lease", "stop"),
        ("lease", "seconds"),
        ("attempt", "token"),
        ("trial", "forgiven"),
        ("study", "objective"),
    ):
        with op.batch_alter_table(table) as batch_op:
            batch_op.drop_column(column)
