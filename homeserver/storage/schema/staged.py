"""Tables about what other servers sent and what cannot be let in yet."""

from sqlalchemy import BigInteger, Column, Index, SmallInteger, Table, Text

from homeserver.storage.schema.base import metadata

staged_pdus = Table(
    "staged_pdus",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False, comment="order of arrival"),
    Column("room_id", Text, nullable=False),
    Column("event_id", Text, nullable=False, unique=True),
    Column("origin", Text, nullable=False, comment="the server that sent it"),
    Column("pdu", Text, nullable=False, comment="JSON; its signatures and hash were checked"),
    Column("tries", SmallInteger, nullable=False, server_default="0", comment="how often it was in vain"),
    Index("staged_pdus_room", "room_id", "number"),
)
