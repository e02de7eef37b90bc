"""The rooms in which the server speaks to its users."""

from sqlalchemy import BigInteger, Column, Table, Text

from homeserver.storage.schema.base import metadata

notice_rooms = Table(
    "notice_rooms",
    metadata,
    Column("user_id", Text, primary_key=True, comment="who is told notices there"),
    Column("room", BigInteger, nullable=False),
)
