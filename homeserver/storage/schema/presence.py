"""What users are said to be: online, unavailable or offline."""

from sqlalchemy import BigInteger, Boolean, Column, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY

from homeserver.storage.schema.base import metadata

# A register of those of whom anything was told lately: its bounds are those of `services.messaging.roster`.
presence = Table(
    "presence",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("presence", Text, nullable=False, comment="online, unavailable or offline, as it was told last"),
    Column("currently_active", Boolean, nullable=False),
    Column("status_msg", Text),
    Column("last_active_ts", BigInteger, nullable=False, comment="ms; 0: not known"),
    Column("position", BigInteger, nullable=False, comment="at which it was told"),
    Column("rooms", ARRAY(BigInteger), nullable=False, comment="in which it was told"),
    postgresql_with={"fillfactor": "70"},
)
