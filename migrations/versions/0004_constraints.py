"""Constraints: by how much each trial violates those of its study."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_CHECK = "violation IS NULL OR (violation >= 0 AND violation <= 1.7976931348623157e308)"
_BEFORE = ["study_id", "state", "score", "number"]
_AFTER = ["study_id", "state", "violation", "score", "number"]


def upgrade() -> None:
    check = sa.CheckConstraint(_CHECK, name=op.f("ck_trial_measured"))
    op.add_column("trial", sa.Column("violation", sa.Double(), check, nullable=True))
    # No study has had constraints so far, so whatever has a result is feasible.
    op.execute("UPDATE trial SET violation = 0 WHERE score IS NOT NULL")
    _exchange(_BEFORE, _AFTER)


def downgrade() -> None:
    _exchange(_AFTER, _BEFORE)
    with op.batch_alter_table("trial") as batch_op:
        batch_op.drop_constraint(op.f("ck_trial_measured"), type_="check")
        batch_op.drop_column("violation")


def _exchange(old: list[str], new: list[str]) -> None:
    op.drop_index(f"ix_trial_{'_'.join(old)}", "trial")
    op.create_index(f"ix_trial_{'_'.join(new)}", "trial", new)
