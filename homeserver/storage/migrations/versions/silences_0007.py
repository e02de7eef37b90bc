"""Since when rooms are silent, from one process to the next."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "silences",
        sa.Column("room", sa.BigInteger(), autoincrement=False, nullable=False, comment="0: all rooms without a row"),
        sa.Column(
            "position", sa.BigInteger(), nullable=False, comment="whoever synced before may still see somebody typing"
        ),
        sa.PrimaryKeyConstraint("room", name=op.f("silences_pkey")),
    )
