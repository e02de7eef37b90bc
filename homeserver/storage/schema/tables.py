"""All tables: importing this fills the metadata."""

from homeserver.storage.schema import (
    destinations,
    limits,
    moderation,
    notices,
    outgoing,
    people,
    presence,
    relations,
    rooms,
    search,
    server,
    server_keys,
    staged,
)
from homeserver.storage.schema.base import metadata

__all__ = [
    "destinations",
    "limits",
    "metadata",
    "moderation",
    "notices",
    "outgoing",
    "people",
    "presence",
    "relations",
    "rooms",
    "search",
    "server",
    "server_keys",
    "staged",
]
