"""The rooms in which the server speaks to its users."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_table(
        "notice_rooms",
        sa.Column("user_id", sa.Text(), nullable=False, comment="who is told notices there"),
        sa.Column("room", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("notice_rooms_pkey")),
    )
