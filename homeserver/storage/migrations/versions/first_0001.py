"""The first tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "account_data",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("room", sa.BigInteger(), autoincrement=False, nullable=False, comment="0: global"),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=True, comment="JSON object; NULL: deleted"),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "room", "type", name=op.f("account_data_pkey")),
    )
    op.create_index("account_data_user_position", "account_data", ["user_id", "position"], unique=False)
    op.create_table(
        "aliases",
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("room", sa.BigInteger(), nullable=False),
        sa.Column("creator", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("alias", name=op.f("aliases_pkey")),
    )
    op.create_index(op.f("aliases_room"), "aliases", ["room"], unique=False)
    op.create_table(
        "count_exceptions",
        sa.Column("room", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "anchor", sa.BigInteger(), autoincrement=False, nullable=False, comment="of the event that it is about"
        ),
        sa.Column(
            "slot", sa.SmallInteger(), autoincrement=False, nullable=False, comment="of rooms.classes; -1: one user"
        ),
        sa.Column("user_id", sa.Text(), nullable=False, comment="empty: everybody of the slot"),
        sa.Column("thread_id", sa.Text(), nullable=False, comment="empty: the main timeline"),
        sa.Column("notify", sa.SmallInteger(), nullable=False, comment="added to what the ordinals say"),
        sa.Column("highlight", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("room", "anchor", "slot", "user_id", name=op.f("count_exceptions_pkey")),
    )
    op.create_table(
        "current_state",
        sa.Column("room", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("event", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False, comment="since when it stands here"),
        sa.PrimaryKeyConstraint("room", "generation", "key", name=op.f("current_state_pkey")),
    )
    op.create_table(
        "devices",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=True),
        sa.Column("created_ts", sa.BigInteger(), nullable=False, comment="ms"),
        sa.Column("last_seen_ts", sa.BigInteger(), nullable=True, comment="ms; written at most once a minute"),
        sa.Column("last_seen_ip", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("user_id", "device_id", name=op.f("devices_pkey")),
    )
    op.create_table(
        "events",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("room", sa.BigInteger(), nullable=False),
        sa.Column(
            "position",
            sa.BigInteger(),
            nullable=True,
            comment="NULL: staged, rejected, soft-failed or an outlier: seen by nobody",
        ),
        sa.Column(
            "anchor",
            sa.BigInteger(),
            nullable=True,
            comment="history order (anchor, rank): a live event has (position, 0)",
        ),
        sa.Column(
            "rank",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="negative: fetched to fill a gap before anchor",
        ),
        sa.Column(
            "live", sa.Boolean(), server_default="true", nullable=False, comment="false: back-filled; syncs skip it"
        ),
        sa.Column(
            "gap_before", sa.Boolean(), server_default="false", nullable=False, comment="earlier events are missing"
        ),
        sa.Column("depth", sa.BigInteger(), nullable=False),
        sa.Column("origin_server_ts", sa.BigInteger(), nullable=False, comment="ms"),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("key", sa.Integer(), nullable=True, comment="number in state_keys; NULL: a message event"),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=True, comment="which device of ours sent it, for the echo"),
        sa.Column("txn_id", sa.Text(), nullable=True, comment="with which transaction id"),
        sa.Column(
            "prev",
            postgresql.ARRAY(sa.BigInteger()),
            nullable=False,
            comment="events it refers to, as far as we hold them",
        ),
        sa.Column(
            "auth",
            postgresql.ARRAY(sa.BigInteger()),
            nullable=False,
            comment="events that authorise it, as far as we hold them",
        ),
        sa.Column(
            "state_before", sa.BigInteger(), nullable=True, comment="state group before it; NULL: unknown (an outlier)"
        ),
        sa.Column(
            "state_after", sa.BigInteger(), nullable=True, comment="state group after it; NULL: the same as before it"
        ),
        sa.Column(
            "partial_state",
            sa.Boolean(),
            server_default="false",
            nullable=False,
            comment="judged on an incomplete state",
        ),
        sa.Column("rejected", sa.Text(), nullable=True, comment="why it was rejected"),
        sa.Column("soft_failed", sa.Text(), nullable=True, comment="why it was soft-failed"),
        sa.Column("redacted_by", sa.Text(), nullable=True, comment="event id of the redaction that took its content"),
        sa.Column(
            "replaces",
            sa.BigInteger(),
            nullable=True,
            comment="of a state event: the event that stood at its key before",
        ),
        sa.Column("thread_id", sa.Text(), nullable=True, comment="event id of the root of the thread it belongs to"),
        sa.Column(
            "ordinals",
            postgresql.ARRAY(sa.Integer()),
            nullable=False,
            comment="rooms.ordinals (or the thread's) with it counted",
        ),
        sa.Column(
            "client", sa.Text(), nullable=False, comment="the PDU's members that clients see: JSON without outer braces"
        ),
        sa.Column("wire", sa.Text(), nullable=False, comment="the PDU's other members: JSON without outer braces"),
        sa.PrimaryKeyConstraint("number", name=op.f("events_pkey")),
        sa.UniqueConstraint("event_id", name=op.f("events_event_id_key")),
    )
    op.create_index(
        "events_history",
        "events",
        ["room", "anchor", "rank"],
        unique=False,
        postgresql_where=sa.text("anchor IS NOT NULL"),
    )
    op.create_index(
        "events_position", "events", ["position"], unique=False, postgresql_where=sa.text("position IS NOT NULL")
    )
    op.create_index(
        "events_room_sender",
        "events",
        ["room", "sender", "anchor"],
        unique=False,
        postgresql_where=sa.text("anchor IS NOT NULL"),
    )
    op.create_index(
        "events_txn", "events", ["txn_id", "room"], unique=False, postgresql_where=sa.text("txn_id IS NOT NULL")
    )
    op.create_table(
        "filters",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column(
            "filter_id", sa.Text(), nullable=False, comment="hash of the definition, so that the same filter is one row"
        ),
        sa.Column("definition", sa.Text(), nullable=False, comment="JSON object"),
        sa.PrimaryKeyConstraint("user_id", "filter_id", name=op.f("filters_pkey")),
    )
    op.create_table(
        "followers",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False, comment="everything up to here was acted upon"),
        sa.PrimaryKeyConstraint("name", name=op.f("followers_pkey")),
    )
    op.create_table(
        "forgotten",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("room", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ts", sa.BigInteger(), server_default=sa.text("0"), nullable=False, comment="ms"),
        sa.PrimaryKeyConstraint("user_id", "room", name=op.f("forgotten_pkey")),
    )
    op.create_table(
        "interactive_sessions",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False, comment="what is being authorised: endpoint and user"),
        sa.Column(
            "request_digest", sa.LargeBinary(), nullable=False, comment="sha256 of the request body without `auth`"
        ),
        sa.Column("completed", sa.Text(), nullable=False, comment="JSON list of the completed stages"),
        sa.Column(
            "details", sa.Text(), nullable=False, comment="JSON object: what stages remember (a registration token)"
        ),
        sa.Column("created_ts", sa.BigInteger(), nullable=False, comment="ms"),
        sa.PrimaryKeyConstraint("session_id", name=op.f("interactive_sessions_pkey")),
    )
    op.create_index(op.f("interactive_sessions_created_ts"), "interactive_sessions", ["created_ts"], unique=False)
    op.create_table(
        "invite_states",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("room", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "events", sa.Text(), nullable=False, comment="JSON list of stripped state, as the inviting server gave it"
        ),
        sa.PrimaryKeyConstraint("user_id", "room", name=op.f("invite_states_pkey")),
    )
    op.create_table(
        "memberships",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("room", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "membership", sa.Text(), nullable=False, comment="of the current state (or of an invite from outside)"
        ),
        sa.Column("event", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False, comment="since when"),
        sa.Column("sender", sa.Text(), nullable=False, comment="who made it so"),
        sa.Column("local", sa.Boolean(), nullable=False, comment="a user of this server"),
        sa.Column("display_name", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("user_id", "room", name=op.f("memberships_pkey")),
    )
    op.create_index("memberships_room", "memberships", ["room", "membership", "position"], unique=False)
    op.create_table(
        "profiles",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False, comment="displayname, avatar_url, m.tz, ..."),
        sa.Column("content", sa.Text(), nullable=False, comment="JSON value"),
        sa.PrimaryKeyConstraint("user_id", "field", name=op.f("profiles_pkey")),
    )
    op.create_table(
        "receipts",
        sa.Column("room", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False, comment="m.read or m.read.private"),
        sa.Column("thread_id", sa.Text(), nullable=False, comment="empty: unthreaded; main; or the thread's root"),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column(
            "anchor",
            sa.BigInteger(),
            nullable=True,
            comment="where that event stands in the room's history; NULL: event unknown",
        ),
        sa.Column("ts", sa.BigInteger(), nullable=False, comment="ms"),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("room", "user_id", "type", "thread_id", name=op.f("receipts_pkey")),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index("receipts_room_position", "receipts", ["room", "position"], unique=False)
    op.create_table(
        "registration_tokens",
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("uses_allowed", sa.Integer(), nullable=True, comment="NULL: any number"),
        sa.Column("pending", sa.Integer(), server_default="0", nullable=False, comment="registrations under way"),
        sa.Column("completed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("expires_ts", sa.BigInteger(), nullable=True, comment="ms; NULL: never"),
        sa.PrimaryKeyConstraint("token", name=op.f("registration_tokens_pkey")),
    )
    op.create_table(
        "rooms",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False, comment="room version"),
        sa.Column(
            "extremities",
            postgresql.ARRAY(sa.BigInteger()),
            nullable=False,
            comment="events that nothing accepted refers to yet",
        ),
        sa.Column(
            "extremity_ids", postgresql.ARRAY(sa.Text()), nullable=False, comment="their event ids, in the same order"
        ),
        sa.Column("depth", sa.BigInteger(), nullable=False, comment="the greatest depth of the extremities"),
        sa.Column("state_group", sa.BigInteger(), nullable=False, comment="the group of the current state; 0: empty"),
        sa.Column(
            "state_version", sa.BigInteger(), nullable=False, comment="grows with every change of the current state"
        ),
        sa.Column(
            "state_generation", sa.Integer(), nullable=False, comment="which rows of current_state are the current ones"
        ),
        sa.Column(
            "state_complete",
            sa.Boolean(),
            server_default="true",
            nullable=False,
            comment="false: a fast join is under way",
        ),
        sa.Column("joined", sa.Integer(), nullable=False, comment="joined members"),
        sa.Column("invited", sa.Integer(), nullable=False, comment="invited members"),
        sa.Column(
            "open_history",
            sa.Boolean(),
            nullable=False,
            comment="history_visibility was always shared or world_readable",
        ),
        sa.Column("published", sa.Boolean(), server_default="false", nullable=False, comment="in the room directory"),
        sa.Column(
            "last_anchor",
            sa.BigInteger(),
            nullable=False,
            comment="the anchor of the newest event of the timeline; 0: none",
        ),
        sa.Column(
            "classes", postgresql.ARRAY(sa.Text()), nullable=False, comment="at most 8 classes of push rules, by slot"
        ),
        sa.Column(
            "ordinals",
            postgresql.ARRAY(sa.Integer()),
            nullable=False,
            comment="notifying main-timeline events so far, by slot",
        ),
        sa.Column("created_ts", sa.BigInteger(), nullable=False, comment="ms"),
        sa.PrimaryKeyConstraint("number", name=op.f("rooms_pkey")),
        sa.UniqueConstraint("room_id", name=op.f("rooms_room_id_key")),
        postgresql_with={"fillfactor": "40"},
    )
    op.create_table(
        "rule_classes",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("room", sa.BigInteger(), autoincrement=False, nullable=False, comment="0: all rooms"),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False, comment="from here on"),
        sa.Column("class", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "room", "position", name=op.f("rule_classes_pkey")),
    )
    op.create_table(
        "rule_sets",
        sa.Column("class", sa.Text(), nullable=False, comment="hash of the rules with the user's own id left out"),
        sa.Column("rules", sa.Text(), nullable=False, comment="JSON of the rules of one user of this class"),
        sa.Column("user_id", sa.Text(), nullable=False, comment="whose rules these are"),
        sa.PrimaryKeyConstraint("class", name=op.f("rule_sets_pkey")),
    )
    op.create_table(
        "server",
        sa.Column("id", sa.Integer(), nullable=False, comment="always 1"),
        sa.Column("product", sa.Text(), nullable=False, comment="PRODUCT of schema.base: whose database this is"),
        sa.Column("server_name", sa.Text(), nullable=False, comment="the Matrix server name; never changes"),
        sa.Column("positions_reserved", sa.BigInteger(), nullable=False, comment="the highest position ever reserved"),
        sa.Column(
            "numbers_reserved", sa.BigInteger(), nullable=False, comment="the highest internal number ever reserved"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("server_pkey")),
    )
    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False, comment="sha256 of the access token"),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("created_ts", sa.BigInteger(), nullable=False, comment="ms"),
        sa.Column("expires_ts", sa.BigInteger(), nullable=True, comment="ms; NULL: never"),
        sa.Column(
            "refresh_hash", sa.LargeBinary(), nullable=True, comment="sha256 of the refresh token, if there is one"
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("sessions_pkey")),
        sa.UniqueConstraint("refresh_hash", name=op.f("sessions_refresh_hash_key")),
    )
    op.create_index("sessions_user_device", "sessions", ["user_id", "device_id"], unique=False)
    op.create_table(
        "state_changes",
        sa.Column("room", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("before", sa.BigInteger(), nullable=True, comment="event; NULL: the key was not set"),
        sa.Column("after", sa.BigInteger(), nullable=True, comment="event; NULL: the key is gone"),
        sa.PrimaryKeyConstraint("room", "position", "key", name=op.f("state_changes_pkey")),
    )
    op.create_index("state_changes_key", "state_changes", ["key", "room", "position"], unique=False)
    op.create_table(
        "state_groups",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("room", sa.BigInteger(), nullable=False),
        sa.Column("parent", sa.BigInteger(), nullable=True, comment="the group beneath; NULL: none"),
        sa.Column(
            "entries",
            sa.LargeBinary(),
            nullable=False,
            comment="sorted (key: 4 bytes, event: 8 bytes), big-endian; event 0: no such key",
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("state_groups_pkey")),
    )
    op.create_index(op.f("state_groups_room"), "state_groups", ["room"], unique=False)
    op.create_table(
        "state_keys",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("state_key", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("state_keys_pkey")),
    )
    op.create_index("state_keys_state_key_type", "state_keys", ["state_key", "type"], unique=True)
    op.create_table(
        "state_merges",
        sa.Column(
            "parents",
            postgresql.ARRAY(sa.BigInteger()),
            nullable=False,
            comment="sorted state groups that were resolved",
        ),
        sa.Column("state_group", sa.BigInteger(), nullable=False, comment="the result"),
        sa.PrimaryKeyConstraint("parents", name=op.f("state_merges_pkey")),
    )
    op.create_table(
        "state_resets",
        sa.Column("room", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("before_group", sa.BigInteger(), nullable=False, comment="0: empty"),
        sa.Column("after_group", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("room", "position", name=op.f("state_resets_pkey")),
    )
    op.create_table(
        "users",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True, comment="argon2id in PHC form; NULL: no password"),
        sa.Column("admin", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("deactivated", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("locked", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("suspended", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("created_ts", sa.BigInteger(), nullable=False, comment="ms"),
        sa.PrimaryKeyConstraint("user_id", name=op.f("users_pkey")),
    )
    op.create_table(
        "write_log",
        sa.Column(
            "position",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="the first position of a write that leaves no event: proof that it was committed",
        ),
        sa.PrimaryKeyConstraint("position", name=op.f("write_log_pkey")),
    )
