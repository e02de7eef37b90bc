"""What other servers may know of a space and the rooms in it: one level of the tree, without pages.

A server may know of a room that one of its users could join, knock on or look into.
https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from homeserver.domain.errors import NotFound
from homeserver.services.persistence import Persistence
from homeserver.services.rooms.facts import RoomFacts, load_facts
from homeserver.services.rooms.spaces import load_children
from homeserver.storage.store import Store

# Rooms of a space that one answer tells of.
MAX_CHILDREN = 500


class ServingSpaces:
    """`server` is the name of the asking server, which has proven that it is the one."""

    def __init__(self, database: Persistence) -> None:
        self._database = database

    async def hierarchy(self, server: str, room_id: str, *, suggested_only: bool) -> dict[str, Any]:
        """Raises NotFound: "The room is not known to the server or the requesting server is unable to peek/join it"."""

        def work(store: Store) -> dict[str, Any]:
            root = _look(store, server, [room_id]).get(room_id)
            if root is None:
                raise NotFound("Room does not exist")
            children = []
            if root.is_space:
                children = load_children(store, [root], suggested_only)[room_id][:MAX_CHILDREN]
            wanted = list(dict.fromkeys(child.room_id for child in children if child.room_id != room_id))
            found = _look(store, server, wanted)
            return {
                "room": {**root.summary(), "children_state": [child.event for child in children]},
                "children": [facts.summary() for one in wanted if (facts := found.get(one)) is not None],
                "inaccessible_children": [one for one in wanted if one in found and found[one] is None],
            }

        return await self._database.read_long(work)


def _look(store: Store, server: str, room_ids: Sequence[str]) -> Mapping[str, RoomFacts | None]:
    """Those of `room_ids` that this server is in; None stands for those that the asking one may not know of."""
    rows = store.rooms.list_by_numbers(list(store.rooms.list_numbers(list(room_ids)).values()))
    resident = store.previews.list_resident([row.number for row in rows])
    found = load_facts(store, [row for row in rows if row.number in resident])
    closed = [facts for facts in found if not _is_open(facts)]
    inside = store.residents.list_rooms(server, [facts.row.number for facts in closed], ("join", "invite"))
    joined = _joined_among(store, server, closed)
    told: dict[str, RoomFacts | None] = {facts.row.room_id: facts for facts in found}
    for facts in closed:
        lets_in = facts.is_restricted and not joined.isdisjoint(facts.allowed_room_ids)
        if facts.row.number not in inside and not lets_in:
            told[facts.row.room_id] = None
    return told


def _is_open(facts: RoomFacts) -> bool:
    """To everybody."""
    return facts.world_readable or facts.join_rule == "public" or facts.is_knockable


def _joined_among(store: Store, server: str, restricted: Iterable[RoomFacts]) -> frozenset[str]:
    """The rooms with users of the server, of those whose members may join."""
    named = sorted({room_id for facts in restricted if facts.is_restricted for room_id in facts.allowed_room_ids})
    numbers = store.rooms.list_numbers(named) if named else {}
    joined = store.residents.list_rooms(server, list(numbers.values()), ("join",))
    return frozenset(room_id for room_id, number in numbers.items() if number in joined)
