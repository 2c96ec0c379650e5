"""Pruning by brackets and by promotion; studies that stop early, and a budget of device seconds."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("study", sa.Column("gpu_seconds", sa.Double(), nullable=True))
    op.add_column("study", sa.Column("gpu_spent", sa.Double(), nullable=False, server_default="0"))
    op.add_column("study", sa.Column("stopping", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("trial", sa.Column("waiting_step", sa.BigInteger(), nullable=True))
    op.add_column("rung", sa.Column("bracket", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("rung", sa.Column("promoted", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.drop_index("ix_rung_step_study_id_score", table_name="rung")
    op.create_index("ix_rung_step_study_id_bracket_score", "rung", ["step", "study_id", "bracket", "score"])


def downgrade() -> None:
    op.drop_index("ix_rung_step_study_id_bracket_score", table_name="rung")
    op.create_index("ix_rung_step_study_id_score", "rung", ["step", "study_id", "score"])
    # Never as a batch: SQLite would make the table anew, and drop the old one with all that refers to it.
    for table, column in (
        ("rung", "promoted"),
        ("rung", "bracket"),
        ("trial", "waiting_step"),
        ("study", "stopping"),
        ("study", "gpu_spent"),
        ("study", "gpu_seconds"),
    ):
        op.drop_column(table, column)
