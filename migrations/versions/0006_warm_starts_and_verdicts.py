"""Warm starts and verdicts: a study's fingerprint, and the part of its budget that is kept for replicates."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


_CHECK = "reserved >= 0 AND allocated + reserved <= budget"


def upgrade() -> None:
    # Never as a batch: SQLite would make the table anew, and drop the old one with all that refers to it.
    check = sa.CheckConstraint(_CHECK, name=op.f("ck_study_reserved"))
    op.add_column("study", sa.Column("reserved", sa.Integer(), check, server_default="0", nullable=False))
    op.add_column("study", sa.Column("fingerprint", sa.String(length=64), nullable=True))
    op.create_index("ix_study_project_id_fingerprint", "study", ["project_id", "fingerprint"])


def downgrade() -> None:
    op.drop_index("ix_study_project_id_fingerprint", table_name="study")
    op.drop_column("study", "fingerprint")
    op.drop_column("study", "reserved")
