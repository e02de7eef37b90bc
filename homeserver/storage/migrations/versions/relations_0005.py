"""Events that relate to others, threads and their unread counts, and looking up events by time."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"

RELATIONS = """
    INSERT INTO relations
        (event, room, event_id, relates_to, rel_type, key, type, sender, ts, anchor, rank, may_replace)
    SELECT number, room, event_id, r ->> 'event_id', r ->> 'rel_type',
        CASE WHEN json_typeof(r -> 'key') = 'string' THEN r ->> 'key' END, type, sender, origin_server_ts, anchor, rank,
        key IS NULL AND (type = 'm.room.encrypted' OR json_typeof(content -> 'm.new_content') = 'object') IS TRUE
    FROM (
        SELECT *, ('{' || client || '}')::json -> 'content' AS content,
            ('{' || client || '}')::json -> 'content' -> 'm.relates_to' AS r
        FROM events
        WHERE anchor IS NOT NULL AND position('"m.relates_to":{' in client) > 0 AND position('\\u0000' in client) = 0
    ) e
    WHERE json_typeof(r) = 'object' AND json_typeof(r -> 'event_id') = 'string'
        AND json_typeof(r -> 'rel_type') = 'string' AND left(r ->> 'event_id', 1) = '$' AND r ->> 'rel_type' <> ''
"""
# What happened in threads before was counted with the rest of the room; from now on it counts on its own.
THREADS = """
    INSERT INTO threads (room, root, anchor, ordinals, latest_anchor, latest_rank)
    SELECT DISTINCT ON (room, relates_to) room, relates_to, anchor, '{}'::int[], anchor, rank
    FROM relations WHERE rel_type = 'm.thread' ORDER BY room, relates_to, anchor DESC, rank DESC
"""


def upgrade() -> None:
    op.create_table(
        "relations",
        sa.Column("event", sa.BigInteger(), autoincrement=False, nullable=False, comment="that relates to another"),
        sa.Column("room", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column(
            "relates_to", sa.Text(), nullable=False, comment="event id; of an event that may be unknown, or elsewhere"
        ),
        sa.Column("rel_type", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=True, comment="of an annotation"),
        sa.Column("type", sa.Text(), nullable=False, comment="of the event"),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False, comment="ms; its origin_server_ts"),
        sa.Column("anchor", sa.BigInteger(), nullable=False, comment="its place in the room's history"),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("may_replace", sa.Boolean(), nullable=False, comment="of an m.replace: holds what an edit must hold"),
        sa.PrimaryKeyConstraint("event", name=op.f("relations_pkey")),
    )
    op.create_index("relations_history", "relations", ["room", "relates_to", "anchor", "rank"], unique=False)
    op.create_index(
        "relations_kinds", "relations", ["room", "relates_to", "rel_type", "sender", "anchor"], unique=False
    )
    op.create_table(
        "threads",
        sa.Column("room", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("root", sa.Text(), nullable=False, comment="event id"),
        sa.Column("anchor", sa.BigInteger(), nullable=False, comment="of the newest event, also if that was redacted"),
        sa.Column(
            "ordinals",
            postgresql.ARRAY(sa.Integer()),
            nullable=False,
            comment="notifying events so far, by slot of rooms.classes",
        ),
        sa.Column(
            "latest_anchor",
            sa.BigInteger(),
            nullable=True,
            comment="the place of its newest reply; NULL: all are redacted",
        ),
        sa.Column("latest_rank", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("room", "root", name=op.f("threads_pkey")),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index("threads_room_anchor", "threads", ["room", "anchor"], unique=False)
    op.create_index("threads_latest", "threads", ["room", "latest_anchor", "latest_rank"], unique=False)
    op.create_table(
        "thread_events",
        sa.Column("room", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("root", sa.Text(), nullable=False, comment="event id"),
        sa.Column("anchor", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event", sa.BigInteger(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column(
            "ordinals",
            postgresql.ARRAY(sa.Integer()),
            nullable=False,
            comment="threads.ordinals with it counted",
        ),
        sa.PrimaryKeyConstraint("room", "root", "anchor", name=op.f("thread_events_pkey")),
    )
    op.create_index("thread_events_sender", "thread_events", ["room", "root", "sender", "anchor"], unique=False)
    op.create_index(
        "count_exceptions_thread", "count_exceptions", ["room", "thread_id", "user_id", "anchor"], unique=False
    )
    main_timeline = sa.text("anchor IS NOT NULL AND thread_id IS NULL")
    op.drop_index("events_room_sender", "events")
    op.create_index(
        "events_room_sender", "events", ["room", "sender", "anchor"], unique=False, postgresql_where=main_timeline
    )
    op.create_index(
        "events_room_ts",
        "events",
        ["room", "origin_server_ts"],
        unique=False,
        postgresql_where=sa.text("anchor IS NOT NULL"),
    )
    op.alter_column(
        "events",
        "ordinals",
        existing_type=postgresql.ARRAY(sa.Integer()),
        existing_nullable=False,
        existing_comment="rooms.ordinals (or the thread's) with it counted",
        comment="rooms.ordinals with it counted",
    )
    op.get_bind().exec_driver_sql(RELATIONS)
    op.get_bind().exec_driver_sql(THREADS)
