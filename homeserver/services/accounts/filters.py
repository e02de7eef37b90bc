"""Filters that clients upload once and then name by their id.

The id is the hash of the definition: the same filter is one row however often it is uploaded, and an id never changes
its meaning. https://spec.matrix.org/v1.19/client-server-api/#filtering
"""

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from homeserver.domain.errors import BadRequest, NotFound
from homeserver.domain.filters import parse_sync_filter
from homeserver.domain.identifiers import is_opaque_id
from homeserver.services.kept_json import kept_json
from homeserver.services.persistence import Persistence
from homeserver.storage.store import Store

ID_BYTES = 12
MAX_FILTER_BYTES = 64 * 1024
MAX_FILTERS = 1_000


class Filters:
    def __init__(self, database: Persistence) -> None:
        self._database = database

    async def add(self, user_id: str, definition: Mapping[str, Any]) -> str:
        """The id of the filter. Raises BadRequest, naming the key, if it is none, or if there are too many."""
        parse_sync_filter(definition)
        encoded = kept_json(definition).encode()
        if len(encoded) > MAX_FILTER_BYTES:
            raise BadRequest(f"A filter may have at most {MAX_FILTER_BYTES} bytes")
        filter_id = base64.urlsafe_b64encode(hashlib.sha256(encoded).digest()[:ID_BYTES]).decode()

        def work(store: Store) -> None:
            if store.filters.find(user_id, filter_id) is not None:
                return
            if store.filters.count(user_id) >= MAX_FILTERS:
                raise BadRequest(f"A user may have at most {MAX_FILTERS} filters", "M_UNKNOWN")
            store.filters.add(user_id, filter_id, encoded.decode())

        await self._database.write(work)
        return filter_id

    async def get(self, user_id: str, filter_id: str) -> str:
        """The definition, a JSON object. Raises NotFound."""
        definition = None
        if is_opaque_id(filter_id):
            definition = await self._database.read(lambda store: store.filters.find(user_id, filter_id), single=True)
        if definition is None:
            raise NotFound("There is no such filter")
        return definition
