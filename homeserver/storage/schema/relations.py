"""Tables about events that relate to others, and about threads."""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY

from homeserver.storage.schema.base import metadata

# The relation of each visible event that has one. A redacted event has none any more.
relations = Table(
    "relations",
    metadata,
    Column("event", BigInteger, primary_key=True, autoincrement=False, comment="that relates to another"),
    Column("room", BigInteger, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("relates_to", Text, nullable=False, comment="event id; of an event that may be unknown, or elsewhere"),
    Column("rel_type", Text, nullable=False),
    Column("key", Text, comment="of an annotation"),
    Column("type", Text, nullable=False, comment="of the event"),
    Column("sender", Text, nullable=False),
    Column("ts", BigInteger, nullable=False, comment="ms; its origin_server_ts"),
    Column("anchor", BigInteger, nullable=False, comment="its place in the room's history"),
    Column("rank", Integer, nullable=False),
    Column("may_replace", Boolean, nullable=False, comment="of an m.replace: holds what an edit must hold"),
    Index("relations_history", "room", "relates_to", "anchor", "rank"),
    Index("relations_kinds", "room", "relates_to", "rel_type", "sender", "anchor"),
)

threads = Table(
    "threads",
    metadata,
    Column("room", BigInteger, primary_key=True, autoincrement=False),
    Column("root", Text, primary_key=True, comment="event id"),
    Column("anchor", BigInteger, nullable=False, comment="of the newest event, also if that was redacted"),
    Column("ordinals", ARRAY(Integer), nullable=False, comment="notifying events so far, by slot of rooms.classes"),
    Column("latest_anchor", BigInteger, comment="the place of its newest reply; NULL: all are redacted"),
    Column("latest_rank", Integer),
    Index("threads_room_anchor", "room", "anchor"),
    Index("threads_latest", "room", "latest_anchor", "latest_rank"),
    # Updated by every reply.
    postgresql_with={"fillfactor": "70"},
)

# Every live event that stands in a thread, be it a reply, or an edit of one, or a reaction to one.
thread_events = Table(
    "thread_events",
    metadata,
    Column("room", BigInteger, primary_key=True, autoincrement=False),
    Column("root", Text, primary_key=True, comment="event id"),
    Column("anchor", BigInteger, primary_key=True, autoincrement=False),
    Column("event", BigInteger, nullable=False),
    Column("sender", Text, nullable=False),
    Column("ordinals", ARRAY(Integer), nullable=False, comment="threads.ordinals with it counted"),
    Index("thread_events_sender", "room", "root", "sender", "anchor"),
)
