"""Tables about what users want the administrators to look at."""

from sqlalchemy import BigInteger, Column, Identity, Index, Table, Text, UniqueConstraint

from homeserver.storage.schema.base import metadata

reports = Table(
    "reports",
    metadata,
    Column("number", BigInteger, Identity(), primary_key=True),
    Column("reporter", Text, nullable=False, comment="the user who reported"),
    Column("room_id", Text, nullable=False, comment="empty: a user was reported"),
    Column("event_id", Text, nullable=False, comment="empty: a room or a user was reported"),
    Column("user_id", Text, nullable=False, comment="of an event: its sender; empty: a room was reported"),
    Column("reason", Text, nullable=False, comment="in the words of the reporter; may be empty"),
    Column("ts", BigInteger, nullable=False, comment="ms"),
    UniqueConstraint("reporter", "room_id", "event_id", "user_id"),
    Index("reports_ts", "ts", "number"),
)
