"""Tables about the signing keys of other servers."""

from sqlalchemy import BigInteger, Column, LargeBinary, Table, Text

from homeserver.storage.schema.base import metadata

server_keys = Table(
    "server_keys",
    metadata,
    Column("server_name", Text, primary_key=True),
    Column("key_id", Text, primary_key=True, comment="ed25519:a_1"),
    Column("key", LargeBinary, nullable=False, comment="32 bytes"),
    Column("valid_until_ts", BigInteger, nullable=False, comment="ms; at most seven days after it was last told"),
    Column("expired_ts", BigInteger, comment="ms; since when the server does not use it any more; NULL: it does"),
)

server_key_answers = Table(
    "server_key_answers",
    metadata,
    Column("server_name", Text, primary_key=True),
    Column("document", Text, nullable=False, comment="JSON: its newest answer, with its own signatures alone"),
    Column("valid_until_ts", BigInteger, nullable=False, comment="ms; as it counts for its keys"),
    Column("fetched_ts", BigInteger, nullable=False, comment="ms"),
)
