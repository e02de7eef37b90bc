"""Room aliases: names of this server that lead to rooms.

Whose an alias is follows from its server part alone: names of other servers are asked for there, and never made here.
What a room says of its aliases (`m.room.canonical_alias`) is state, and checked when it is sent (`local_rules`).
https://spec.matrix.org/v1.19/client-server-api/#room-aliases
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from homeserver.domain.errors import BadRequest, Conflict, Forbidden, NotFound, RemoteError
from homeserver.domain.identifiers import domain_of, is_room_alias
from homeserver.ports import RemoteDirectory
from homeserver.services.access import joined_room, readable_room
from homeserver.services.persistence import Persistence
from homeserver.services.rooms.local_rules import CANONICAL_ALIAS, MAX_ALIASES
from homeserver.services.rooms.room import LockedRoom
from homeserver.services.rooms.writer import Writer
from homeserver.storage.store import Store

MAX_SERVERS = 20
# Of how many members the servers are looked at.
MAX_MEMBERS = 1_000


@dataclass(frozen=True, slots=True)
class Resolved:
    """Where an alias leads, and servers that know the room."""

    room_id: str
    servers: Sequence[str]


class Aliases:
    """`remote` is None where this server talks to no other."""

    def __init__(self, database: Persistence, writer: Writer, remote: RemoteDirectory | None) -> None:
        self._database = database
        self._writer = writer
        self._remote = remote

    async def resolve(self, alias: str) -> Resolved:
        """Raises NotFound; BadRequest for what is no alias."""
        if self._is_local(alias):
            found = await self.resolve_local(alias)
        else:
            found = await self._resolve_remote(alias)
        if found is None:
            raise NotFound(f"Room alias {alias} not found")
        return found

    async def resolve_local(self, alias: str) -> Resolved | None:
        """As `resolve`, of an alias of this server: what other servers may ask for."""
        own = self._writer.server_name

        def work(store: Store) -> Resolved | None:
            row = store.directory.find_alias(alias)
            if row is None:
                return None
            return Resolved(row.room_id, [own, *store.directory.list_servers(row.room, MAX_MEMBERS, MAX_SERVERS)])

        return await self._database.read(work)

    async def confirm(self, aliases: Sequence[str], room_id: str) -> frozenset[str]:
        """Those of some aliases of other servers that lead to a room; not those whose server does not answer."""

        async def leads_there(alias: str) -> bool:
            with suppress(NotFound):
                found = await self._resolve_remote(alias)
                return found is not None and found.room_id == room_id
            return False

        answers = await asyncio.gather(*map(leads_there, aliases))
        return frozenset(alias for alias, leads in zip(aliases, answers, strict=True) if leads)

    async def add(self, user_id: str, alias: str, room_id: str) -> None:
        """Raises Conflict if the alias is somebody's, Forbidden for a room that the user is not in, BadRequest."""
        if not self._is_local(alias):
            raise BadRequest("Aliases of other servers are made there")
        localpart = alias[1:].partition(":")[0]
        if not localpart or any(character.isspace() for character in localpart):
            raise BadRequest("An alias has something between # and :, without white space")

        def work(store: Store) -> None:
            room = joined_room(store, user_id, room_id)
            if store.directory.count_aliases(room.number) >= MAX_ALIASES:
                raise BadRequest(f"A room can have at most {MAX_ALIASES} aliases")
            if not store.directory.add_alias(alias, room.number, user_id):
                raise Conflict(f"Room alias {alias} already exists")

        await self._database.write(work, room=room_id)

    async def remove(self, user_id: str, alias: str, *, is_admin: bool) -> None:
        """Whoever made the alias may, whoever may say how the room is called, and administrators.

        The room says no more that this is its name, if the user may say so. Raises NotFound, Forbidden.
        """
        known = await self.resolve_local(alias) if self._is_local(alias) else None
        if known is None:
            raise NotFound(f"Room alias {alias} not found")

        def work(store: Store) -> None:
            row = store.directory.find_alias(alias)
            if row is None or row.room_id != known.room_id:
                raise NotFound(f"Room alias {alias} not found")
            room = self._writer.open(store, row.room_id)
            may_name = room.membership(user_id) == "join" and room.power.of_user(user_id) >= room.power.for_event(
                CANONICAL_ALIAS, True
            )
            if row.creator != user_id and not may_name and not is_admin:
                raise Forbidden("This alias was made by somebody else")
            store.directory.remove_alias(alias)
            if may_name:
                self._take_back(room, user_id, alias)

        await self._database.write(work, room=known.room_id)

    async def list_local(self, user_id: str, room_id: str) -> list[str]:
        """The aliases of this server that lead to a room. Raises Forbidden."""

        def work(store: Store) -> list[str]:
            room = readable_room(store, user_id, room_id)
            if room.left_at is not None:
                raise Forbidden("You are not in this room")
            return store.directory.list_aliases(room.row.number)

        return await self._database.read(work)

    def _take_back(self, room: LockedRoom, user_id: str, alias: str) -> None:
        standing = room.lookup((CANONICAL_ALIAS, ""))
        if standing is None:
            return
        content = without_aliases(standing.content, frozenset((alias,)))
        if content != standing.content:
            self._writer.put(room, sender=user_id, type=CANONICAL_ALIAS, content=content, state_key="")
            room.save()

    async def _resolve_remote(self, alias: str) -> Resolved | None:
        if self._remote is None:
            return None
        try:
            found = await self._remote.resolve_alias(alias)
        except RemoteError as error:
            raise NotFound(f"Room alias {alias} could not be asked for at {domain_of(alias)}") from error
        return None if found is None else Resolved(*found)

    def _is_local(self, alias: str) -> bool:
        if not is_room_alias(alias):
            raise BadRequest("This is not a room alias")
        return domain_of(alias) == self._writer.server_name


def without_aliases(content: Mapping[str, Any], gone: frozenset[str]) -> dict[str, Any]:
    """The content of an m.room.canonical_alias without some of the aliases."""
    kept = dict(content)
    alias, others = kept.get("alias"), kept.get("alt_aliases")
    if isinstance(alias, str) and alias in gone:
        del kept["alias"]
    if isinstance(others, list):
        left = [one for one in others if not (isinstance(one, str) and one in gone)]
        if len(left) < len(others):
            kept["alt_aliases"] = left
    return kept
