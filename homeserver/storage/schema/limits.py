"""The table of the rate limits that the operator gave to single users."""

from sqlalchemy import Column, Double, Integer, Table, Text

from homeserver.storage.schema.base import metadata

user_limits = Table(
    "user_limits",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("name", Text, primary_key=True, comment="of a row of the table of limits; *: every row that counts by user"),
    Column("per_second", Double, comment="NULL: no limit"),
    Column("burst", Integer, comment="how many at once; NULL: no limit"),
)
