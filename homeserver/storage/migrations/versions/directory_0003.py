"""The room directory, spaces and reports."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_index("rooms_published", "rooms", ["number"], unique=False, postgresql_where=sa.text("published"))
    op.create_table(
        "reports",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("reporter", sa.Text(), nullable=False, comment="the user who reported"),
        sa.Column("room_id", sa.Text(), nullable=False, comment="empty: a user was reported"),
        sa.Column("event_id", sa.Text(), nullable=False, comment="empty: a room or a user was reported"),
        sa.Column("user_id", sa.Text(), nullable=False, comment="of an event: its sender; empty: a room was reported"),
        sa.Column("reason", sa.Text(), nullable=False, comment="in the words of the reporter; may be empty"),
        sa.Column("ts", sa.BigInteger(), nullable=False, comment="ms"),
        sa.PrimaryKeyConstraint("number", name=op.f("reports_pkey")),
        sa.UniqueConstraint(
            "reporter", "room_id", "event_id", "user_id", name=op.f("reports_reporter_room_id_event_id_user_id_key")
        ),
    )
    op.create_index("reports_ts", "reports", ["ts", "number"], unique=False)
