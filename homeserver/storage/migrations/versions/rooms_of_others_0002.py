"""Rooms that other servers are in too: gaps, early redactions, events that we pass on."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_index(
        "events_gaps", "events", ["room", "anchor", "rank"], unique=False, postgresql_where=sa.text("gap_before")
    )
    op.create_index(
        "memberships_local",
        "memberships",
        ["room"],
        unique=False,
        postgresql_where=sa.text("local AND membership = 'join'"),
    )
    op.create_table(
        "early_redactions",
        sa.Column("target", sa.Text(), nullable=False, comment="id of an event that is not here yet"),
        sa.Column("redaction", sa.BigInteger(), nullable=False, comment="event"),
        sa.PrimaryKeyConstraint("target", "redaction", name=op.f("early_redactions_pkey")),
    )
    op.create_table(
        "relays",
        sa.Column("event", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("event", name=op.f("relays_pkey")),
    )
