"""Tables about what we send to other servers: who is in which room, and who has not taken everything yet.

Events that wait for a server are not copied: they stand in the table of events, and a server that lies behind has one
row here that says from where on.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, SmallInteger, Table, Text

from homeserver.storage.schema.base import metadata

room_servers = Table(
    "room_servers",
    metadata,
    Column("room", BigInteger, primary_key=True, autoincrement=False),
    Column("server", Text, primary_key=True, comment="not this one"),
    Column("joined", Integer, nullable=False, comment="its joined users; 0: the room concerned it once"),
    Index("room_servers_server", "server", "room"),
)

# A journal, pruned up to where every server has taken everything.
room_server_changes = Table(
    "room_server_changes",
    metadata,
    Column("room", BigInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("server", Text, primary_key=True),
    Column(
        "change",
        SmallInteger,
        nullable=False,
        comment="1: its first user joined; -1: its last one left; 0: it is told of this event all the same",
    ),
    Index("room_server_changes_server", "server", "room", "position"),
)

unsent = Table(
    "unsent",
    metadata,
    Column("server", Text, primary_key=True, comment="has not taken everything; no row: the followers' cursors hold"),
    Column("position", BigInteger, nullable=False, comment="it has the events up to here"),
    Column("receipts", BigInteger, nullable=False, comment="and the receipts up to here"),
)
