"""Studies that can start nothing for now: as of which `seq` no trial fitted into what is left."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("study", sa.Column("full_seq", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("study", "full_seq")
