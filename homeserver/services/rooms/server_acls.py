"""Which server ACLs stand in rooms now.

Not here: what they say about a server (`homeserver.domain.server_acl`), and who asks (`federation.acl`).
https://spec.matrix.org/v1.19/server-server-api/#server-access-control-lists-acls
"""

from collections.abc import Mapping, Sequence

from homeserver.services.persistence import Persistence
from homeserver.storage.server_acls import StandingAcl


class StandingAcls:
    def __init__(self, database: Persistence) -> None:
        self._database = database

    async def find(self, room_ids: Sequence[str], known: Sequence[str]) -> Mapping[str, StandingAcl]:
        """By room id; rooms that have none, or are unknown, are left out. `known`: versions that the caller has."""
        return await self._database.read(lambda store: store.server_acls.list_standing(room_ids, known), single=True)
