"""Tables about the users of this server, their devices and their data."""

from sqlalchemy import BigInteger, Boolean, Column, Index, LargeBinary, Table, Text, text

from homeserver.storage.schema.base import metadata

users = Table(
    "users",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("password_hash", Text, comment="argon2id in PHC form; NULL: no password"),
    Column("admin", Boolean, nullable=False, server_default="false"),
    Column("deactivated", Boolean, nullable=False, server_default="false"),
    Column("locked", Boolean, nullable=False, server_default="false"),
    Column("suspended", Boolean, nullable=False, server_default="false"),
    Column("created_ts", BigInteger, nullable=False, comment="ms"),
    Column("guest", Boolean, nullable=False, server_default="false", comment="no password; may do little"),
)

profiles = Table(
    "profiles",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("field", Text, primary_key=True, comment="displayname, avatar_url, m.tz, ..."),
    Column("content", Text, nullable=False, comment="JSON value"),
)

devices = Table(
    "devices",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("device_id", Text, primary_key=True),
    Column("display_name", Text),
    Column("created_ts", BigInteger, nullable=False, comment="ms"),
    Column("last_seen_ts", BigInteger, comment="ms; written at most once a minute"),
    Column("last_seen_ip", Text),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True, comment="sha256 of the access token"),
    Column("user_id", Text, nullable=False),
    Column("device_id", Text, nullable=False),
    Column("created_ts", BigInteger, nullable=False, comment="ms"),
    Column("expires_ts", BigInteger, comment="ms; NULL: never"),
    Column("refresh_hash", LargeBinary, unique=True, comment="sha256 of the refresh token, if there is one"),
    Index("sessions_user_device", "user_id", "device_id"),
)

account_data = Table(
    "account_data",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("room", BigInteger, primary_key=True, autoincrement=False, comment="0: global"),
    Column("type", Text, primary_key=True),
    Column("content", Text, comment="JSON object; NULL: deleted"),
    Column("position", BigInteger, nullable=False),
    Index("account_data_user_position", "user_id", "position"),
)

filters = Table(
    "filters",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("filter_id", Text, primary_key=True, comment="hash of the definition, so that the same filter is one row"),
    Column("definition", Text, nullable=False, comment="JSON object"),
)

rule_sets = Table(
    "rule_sets",
    metadata,
    Column("class", Text, primary_key=True, comment="hash of the rules with the user's own id left out"),
    Column("rules", Text, nullable=False, comment="JSON of the rules of one user of this class"),
    Column("user_id", Text, nullable=False, comment="whose rules these are"),
)

rule_classes = Table(
    "rule_classes",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("room", BigInteger, primary_key=True, autoincrement=False, comment="0: all rooms"),
    Column("position", BigInteger, primary_key=True, autoincrement=False, comment="from here on"),
    Column("class", Text, nullable=False),
)

receipts = Table(
    "receipts",
    metadata,
    Column("room", BigInteger, primary_key=True, autoincrement=False),
    Column("user_id", Text, primary_key=True),
    Column("type", Text, primary_key=True, comment="m.read or m.read.private"),
    Column("thread_id", Text, primary_key=True, comment="empty: unthreaded; main; or the thread's root"),
    Column("event_id", Text, nullable=False),
    Column("anchor", BigInteger, comment="where that event stands in the room's history; NULL: event unknown"),
    Column("ts", BigInteger, nullable=False, comment="ms"),
    Column("position", BigInteger, nullable=False),
    Index("receipts_room_position", "room", "position"),
    postgresql_with={"fillfactor": "70"},
)

# The sender's own last event needs no row here: it is found through events_room_sender.
forgotten = Table(
    "forgotten",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("room", BigInteger, primary_key=True, autoincrement=False),
    Column("ts", BigInteger, nullable=False, server_default=text("0"), comment="ms"),
)
