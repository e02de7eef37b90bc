"""Tables about rooms, their events and their state.

Rooms, events and (type, state_key) pairs have internal numbers. Journals carry no foreign key to rooms: it would make
every insert wait for the room's row (architecture.md, section 3).
"""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, SmallInteger, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY

from homeserver.storage.schema.base import metadata

rooms = Table(
    "rooms",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("room_id", Text, nullable=False, unique=True),
    Column("version", Text, nullable=False, comment="room version"),
    Column("extremities", ARRAY(BigInteger), nullable=False, comment="events that nothing accepted refers to yet"),
    Column("extremity_ids", ARRAY(Text), nullable=False, comment="their event ids, in the same order"),
    Column("depth", BigInteger, nullable=False, comment="the greatest depth of the extremities"),
    Column("state_group", BigInteger, nullable=False, comment="the group of the current state; 0: empty"),
    Column("state_version", BigInteger, nullable=False, comment="grows with every change of the current state"),
    Column("state_generation", Integer, nullable=False, comment="which rows of current_state are the current ones"),
    Column("state_complete", Boolean, nullable=False, server_default="true", comment="false: a fast join is under way"),
    Column("joined", Integer, nullable=False, comment="joined members"),
    Column("invited", Integer, nullable=False, comment="invited members"),
    Column("open_history", Boolean, nullable=False, comment="history_visibility was always shared or world_readable"),
    Column("published", Boolean, nullable=False, server_default="false", comment="in the room directory"),
    Column(
        "last_anchor", BigInteger, nullable=False, comment="the anchor of the newest event of the timeline; 0: none"
    ),
    Column("classes", ARRAY(Text), nullable=False, comment="at most 8 classes of push rules, by slot"),
    Column("ordinals", ARRAY(Integer), nullable=False, comment="notifying main-timeline events so far, by slot"),
    Column("created_ts", BigInteger, nullable=False, comment="ms"),
    # Of a column that messages do not change, so that they write no index.
    Index("rooms_published", "number", postgresql_where=text("published")),
    # Updated by every message: room for the new version of the row on the same page.
    postgresql_with={"fillfactor": "40"},
)

state_keys = Table(
    "state_keys",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("type", Text, nullable=False),
    Column("state_key", Text, nullable=False),
    Index("state_keys_state_key_type", "state_key", "type", unique=True),
)

events = Table(
    "events",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("event_id", Text, nullable=False, unique=True),
    Column("room", BigInteger, nullable=False),
    Column("position", BigInteger, comment="NULL: staged, rejected, soft-failed or an outlier: seen by nobody"),
    Column("anchor", BigInteger, comment="history order (anchor, rank): a live event has (position, 0)"),
    Column(
        "rank", Integer, nullable=False, server_default="0", comment="negative: fetched to fill a gap before anchor"
    ),
    Column("live", Boolean, nullable=False, server_default="true", comment="false: back-filled; syncs skip it"),
    Column("gap_before", Boolean, nullable=False, server_default="false", comment="earlier events are missing"),
    Column("depth", BigInteger, nullable=False),
    Column("origin_server_ts", BigInteger, nullable=False, comment="ms"),
    Column("type", Text, nullable=False),
    Column("key", Integer, comment="number in state_keys; NULL: a message event"),
    Column("sender", Text, nullable=False),
    Column("device_id", Text, comment="which device of ours sent it, for the echo"),
    Column("txn_id", Text, comment="with which transaction id"),
    Column("prev", ARRAY(BigInteger), nullable=False, comment="events it refers to, as far as we hold them"),
    Column("auth", ARRAY(BigInteger), nullable=False, comment="events that authorise it, as far as we hold them"),
    Column("state_before", BigInteger, comment="state group before it; NULL: unknown (an outlier)"),
    Column("state_after", BigInteger, comment="state group after it; NULL: the same as before it"),
    Column("partial_state", Boolean, nullable=False, server_default="false", comment="judged on an incomplete state"),
    Column("rejected", Text, comment="why it was rejected"),
    Column("soft_failed", Text, comment="why it was soft-failed"),
    Column("redacted_by", Text, comment="event id of the redaction that took its content"),
    Column("replaces", BigInteger, comment="of a state event: the event that stood at its key before"),
    Column("thread_id", Text, comment="event id of the root of the thread it belongs to"),
    Column("ordinals", ARRAY(Integer), nullable=False, comment="rooms.ordinals with it counted"),
    Column("client", Text, nullable=False, comment="the PDU's members that clients see: JSON without outer braces"),
    Column("wire", Text, nullable=False, comment="the PDU's other members: JSON without outer braces"),
    Index("events_history", "room", "anchor", "rank", postgresql_where=text("anchor IS NOT NULL")),
    Index(
        "events_room_sender",
        "room",
        "sender",
        "anchor",
        postgresql_where=text("anchor IS NOT NULL AND thread_id IS NULL"),
    ),
    Index("events_room_ts", "room", "origin_server_ts", postgresql_where=text("anchor IS NOT NULL")),
    Index("events_position", "position", postgresql_where=text("position IS NOT NULL")),
    Index("events_txn", "txn_id", "room", postgresql_where=text("txn_id IS NOT NULL")),
    Index("events_gaps", "room", "anchor", "rank", postgresql_where=text("gap_before")),
)

state_groups = Table(
    "state_groups",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("room", BigInteger, nullable=False, index=True),
    Column("parent", BigInteger, comment="the group beneath; NULL: none"),
    Column(
        "entries",
        LargeBinary,
        nullable=False,
        comment="sorted (key: 4 bytes, event: 8 bytes), big-endian; event 0: no such key",
    ),
)

state_merges = Table(
    "state_merges",
    metadata,
    Column("parents", ARRAY(BigInteger), primary_key=True, comment="sorted state groups that were resolved"),
    Column("state_group", BigInteger, nullable=False, comment="the result"),
)

current_state = Table(
    "current_state",
    metadata,
    Column("room", BigInteger, primary_key=True, autoincrement=False),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("key", Integer, primary_key=True, autoincrement=False),
    Column("event", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False, comment="since when it stands here"),
)

state_changes = Table(
    "state_changes",
    metadata,
    Column("room", BigInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("key", Integer, primary_key=True, autoincrement=False),
    Column("before", BigInteger, comment="event; NULL: the key was not set"),
    Column("after", BigInteger, comment="event; NULL: the key is gone"),
    Index("state_changes_key", "key", "room", "position"),
)

state_resets = Table(
    "state_resets",
    metadata,
    Column("room", BigInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("before_group", BigInteger, nullable=False, comment="0: empty"),
    Column("after_group", BigInteger, nullable=False),
)

memberships = Table(
    "memberships",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("room", BigInteger, primary_key=True, autoincrement=False),
    Column("membership", Text, nullable=False, comment="of the current state (or of an invite from outside)"),
    Column("event", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False, comment="since when"),
    Column("sender", Text, nullable=False, comment="who made it so"),
    Column("local", Boolean, nullable=False, comment="a user of this server"),
    Column("display_name", Text),
    Index("memberships_room", "room", "membership", "position"),
    Index("memberships_local", "room", postgresql_where=text("local AND membership = 'join'")),
)

invite_states = Table(
    "invite_states",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("room", BigInteger, primary_key=True, autoincrement=False),
    Column("events", Text, nullable=False, comment="JSON list of stripped state, as the inviting server gave it"),
)

aliases = Table(
    "aliases",
    metadata,
    Column("alias", Text, primary_key=True),
    Column("room", BigInteger, nullable=False, index=True),
    Column("creator", Text, nullable=False),
)

count_exceptions = Table(
    "count_exceptions",
    metadata,
    Column("room", BigInteger, primary_key=True, autoincrement=False),
    Column("anchor", BigInteger, primary_key=True, autoincrement=False, comment="of the event that it is about"),
    Column("slot", SmallInteger, primary_key=True, autoincrement=False, comment="of rooms.classes; -1: one user"),
    Column("user_id", Text, primary_key=True, comment="empty: everybody of the slot"),
    Column("thread_id", Text, nullable=False, comment="empty: the main timeline"),
    Column("notify", SmallInteger, nullable=False, comment="added to what the ordinals say"),
    Column("highlight", SmallInteger, nullable=False),
    Index("count_exceptions_thread", "room", "thread_id", "user_id", "anchor"),
)

early_redactions = Table(
    "early_redactions",
    metadata,
    Column("target", Text, primary_key=True, comment="id of an event that is not here yet"),
    Column("redaction", BigInteger, primary_key=True, autoincrement=False, comment="event"),
)

relays = Table(
    "relays",
    metadata,
    # Events of other servers' users that we send to the rest of the room, because they entered it through us.
    Column("event", BigInteger, primary_key=True, autoincrement=False),
)
