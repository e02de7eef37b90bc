"""All tables: importing this fills the metadata."""

from homeserver.storage.schema import people, rooms, server
from homeserver.storage.schema.base import metadata

__all__ = ["metadata", "people", "rooms", "server"]
