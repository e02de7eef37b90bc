"""Tables about the server itself."""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Table, Text

from homeserver.storage.schema.base import metadata

server = Table(
    "server",
    metadata,
    Column("id", Integer, primary_key=True, comment="always 1"),
    Column("product", Text, nullable=False, comment="PRODUCT of schema.base: whose database this is"),
    Column("server_name", Text, nullable=False, comment="the Matrix server name; never changes"),
    Column("positions_reserved", BigInteger, nullable=False, comment="the highest position ever reserved"),
    Column("numbers_reserved", BigInteger, nullable=False, comment="the highest internal number ever reserved"),
)

write_log = Table(
    "write_log",
    metadata,
    Column(
        "position",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        comment="the first position of a write that leaves no event: proof that it was committed",
    ),
)

# Written when the server stops in good order, and taken away when it starts: without them, memory was lost.
silences = Table(
    "silences",
    metadata,
    Column("room", BigInteger, primary_key=True, autoincrement=False, comment="0: all rooms without a row"),
    Column("position", BigInteger, nullable=False, comment="whoever synced before may still see somebody typing"),
)

followers = Table(
    "followers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("position", BigInteger, nullable=False, comment="everything up to here was acted upon"),
)

registration_tokens = Table(
    "registration_tokens",
    metadata,
    Column("token", Text, primary_key=True),
    Column("uses_allowed", Integer, comment="NULL: any number"),
    Column("pending", Integer, nullable=False, server_default="0", comment="registrations under way"),
    Column("completed", Integer, nullable=False, server_default="0"),
    Column("expires_ts", BigInteger, comment="ms; NULL: never"),
)

interactive_sessions = Table(
    "interactive_sessions",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("operation", Text, nullable=False, comment="what is being authorised: endpoint and user"),
    Column("request_digest", LargeBinary, nullable=False, comment="sha256 of the request body without `auth`"),
    Column("completed", Text, nullable=False, comment="JSON list of the completed stages"),
    Column("details", Text, nullable=False, comment="JSON object: what stages remember (a registration token)"),
    Column("created_ts", BigInteger, nullable=False, index=True, comment="ms"),
)
