"""The index of search. The follower "search" fills it from the events that are there."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"

PENDING = {"fastupdate": "on", "gin_pending_list_limit": "512"}


def upgrade() -> None:
    op.create_table(
        "search",
        sa.Column(
            "event",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="the event that is found; not an edit",
        ),
        sa.Column("room", sa.BigInteger(), nullable=False),
        sa.Column("anchor", sa.BigInteger(), nullable=False, comment="its place in the room's history"),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("key", sa.SmallInteger(), nullable=False, comment="where the text stands: 0 body, 1 name, 2 topic"),
        sa.Column(
            "edit", sa.BigInteger(), comment="the event that has the text, if it is not its own: its newest edit"
        ),
        sa.Column("edit_anchor", sa.BigInteger(), comment="the anchor of that event"),
        sa.Column("words", postgresql.TSVECTOR(), nullable=False, comment="its words, without places"),
        sa.Column(
            "grams",
            postgresql.ARRAY(sa.Integer()),
            nullable=False,
            comment="hashes of its n-grams, and its marks (storage/search.py)",
        ),
        sa.PrimaryKeyConstraint("event", name=op.f("search_pkey")),
    )
    op.create_index("search_words", "search", ["words"], postgresql_using="gin", postgresql_with=PENDING)
    op.create_index("search_grams", "search", ["grams"], postgresql_using="gin", postgresql_with=PENDING)
    op.create_index("search_edit", "search", ["edit"], postgresql_where=sa.text("edit IS NOT NULL"))
