"""Events that wait for what they follow."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "staged_pdus",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False, comment="order of arrival"),
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False, comment="the server that sent it"),
        sa.Column("pdu", sa.Text(), nullable=False, comment="JSON; its signatures and hash were checked"),
        sa.Column("tries", sa.SmallInteger(), server_default="0", nullable=False, comment="how often it was in vain"),
        sa.PrimaryKeyConstraint("number", name=op.f("staged_pdus_pkey")),
        sa.UniqueConstraint("event_id", name=op.f("staged_pdus_event_id_key")),
    )
    op.create_index("staged_pdus_room", "staged_pdus", ["room_id", "number"], unique=False)
