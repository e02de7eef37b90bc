"""Tables about the servers to which we send."""

from sqlalchemy import BigInteger, Column, Table, Text

from homeserver.storage.schema.base import metadata

destinations = Table(
    "destinations",
    metadata,
    Column("server_name", Text, primary_key=True, comment="a server that does not answer; no row: it does"),
    Column("since_ts", BigInteger, nullable=False, comment="ms; when an attempt failed first"),
    Column("failed_ts", BigInteger, nullable=False, index=True, comment="ms; when an attempt failed last"),
    Column("retry_ts", BigInteger, nullable=False, comment="ms; no attempt before this"),
    Column("pause_ms", BigInteger, nullable=False, comment="the pause after the last failure; doubles with the next"),
)
