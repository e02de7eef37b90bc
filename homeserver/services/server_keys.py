"""The signing keys of other servers that we keep, so that old events can be checked when their server is gone.

Not here: how they are come by and whether they are believed (`federation.keyring`).
https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys
"""

from collections.abc import Mapping, Sequence

from homeserver.domain.server_keys import KeyAnswer, ServerKey, ServerKeys, merge_keys
from homeserver.services.persistence import Persistence
from homeserver.storage.store import Store


class KeptServerKeys:
    def __init__(self, database: Persistence) -> None:
        self._database = database

    async def keys(self, server_names: Sequence[str]) -> Mapping[str, Sequence[ServerKey]]:
        """By server; unknown servers are left out."""
        return await self._database.read(lambda store: store.server_keys.list_keys(server_names), single=True)

    async def answers(self, server_names: Sequence[str]) -> Mapping[str, KeyAnswer]:
        """The newest answer by server; unknown servers are left out."""
        return await self._database.read(lambda store: store.server_keys.list_answers(server_names), single=True)

    async def keep(self, told: ServerKeys, *, by_server: bool) -> Sequence[ServerKey]:
        """All keys of the server that are known now. `by_server`: it told so itself, no notary did."""

        def work(store: Store) -> Sequence[ServerKey]:
            known = store.server_keys.list_keys([told.server_name]).get(told.server_name, [])
            merged = merge_keys(known, told.keys, by_server=by_server)
            store.server_keys.set_keys(told.server_name, merged)
            store.server_keys.set_answer(told.server_name, told.answer)
            return merged

        return await self._database.write(work)
