"""What other servers say of rooms reaches people as if it were ours, as far as they may see it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from homeserver.domain.errors import BadRequest, NotFound, RemoteError, RemoteUnreachable
from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.ports import RemoteSpace
from homeserver.services.rooms.aliases import Aliases
from homeserver.services.rooms.create import RoomRequest
from homeserver.services.rooms.directory import DirectoryQuery, RoomDirectory
from homeserver.services.rooms.spaces import MAX_QUESTIONS, HierarchyRequest, Spaces
from homeserver.services.rooms.summary import Summaries
from tests.builders.cluster import SERVER_NAME
from tests.builders.house import TestHouse

ALICE, BOB = f"@alice:{SERVER_NAME}", f"@bob:{SERVER_NAME}"
OTHER = "other.example"


@dataclass
class FakeDirectory:
    """Implements `RemoteDirectory`. What is not there is answered with None; `broken` gives no answer at all."""

    aliases: dict[str, str] = field(default_factory=dict)
    spaces: dict[str, RemoteSpace] = field(default_factory=dict)
    broken: bool = False
    asked: list[tuple[str, Sequence[str]]] = field(default_factory=list)
    queries: list[Mapping[str, Any]] = field(default_factory=list)

    async def resolve_alias(self, alias: str) -> tuple[str, Sequence[str]] | None:
        self._check()
        return (self.aliases[alias], [OTHER]) if alias in self.aliases else None

    async def public_rooms(self, server: str, query: Mapping[str, Any]) -> Mapping[str, Any]:
        self._check()
        self.queries.append(query)
        return {"chunk": []}

    async def space(self, room_id: str, via: Sequence[str], *, suggested_only: bool) -> RemoteSpace | None:
        self.asked.append((room_id, via))
        self._check()
        return self.spaces.get(room_id)

    def _check(self) -> None:
        if self.broken:
            raise RemoteUnreachable("nobody answers")


def summary(room_id: str, *children: str, **fields: Any) -> dict[str, Any]:
    events = [
        {
            "type": "m.space.child",
            "state_key": child,
            "content": {"via": [OTHER]},
            "sender": f"@x:{OTHER}",
            "origin_server_ts": number,
        }
        for number, child in enumerate(children)
    ]
    room = {"room_id": room_id, "num_joined_members": 3, "world_readable": False, "guest_can_join": False}
    return {**room, "join_rule": "public", "children_state": events, **fields}


async def new_room(house: TestHouse, *children: str, **options: Any) -> str:
    """A public room of Alice's; with children a space."""
    state = [
        {"type": "m.space.child", "state_key": child, "content": {"via": [OTHER], "order": f"{number:03}"}}
        for number, child in enumerate(children)
    ]
    creation = {"type": "m.space"} if children else {}
    request = RoomRequest(ROOM_VERSIONS["11"], "public_chat", creation_content=creation, initial_state=state, **options)
    return await house.services.create(ALICE, request)


async def tree(spaces: Spaces, user_id: str, room_id: str) -> list[str]:
    answer = await spaces.hierarchy(user_id, room_id, HierarchyRequest())
    return [room["room_id"] for room in answer["rooms"]]


async def test_an_alias_of_another_server_is_asked_for_there(house: TestHouse) -> None:
    """Found, unknown, and when nobody answers; aliases of ours are never asked for elsewhere."""
    remote = FakeDirectory({f"#a:{OTHER}": f"!a:{OTHER}", f"#a:{SERVER_NAME}": f"!trap:{OTHER}"})
    aliases = Aliases(house.database, house.services.writer, remote)
    found = await aliases.resolve(f"#a:{OTHER}")
    assert (found.room_id, list(found.servers)) == (f"!a:{OTHER}", [OTHER])
    for alias in (f"#b:{OTHER}", f"#a:{SERVER_NAME}"):
        with pytest.raises(NotFound):
            await aliases.resolve(alias)
    remote.broken = True
    with pytest.raises(NotFound):
        await aliases.resolve(f"#a:{OTHER}")


async def test_the_directory_of_another_server(house: TestHouse) -> None:
    """The query goes there as it came."""
    remote = FakeDirectory()
    directory = RoomDirectory(house.database, house.services.writer, remote)
    query = DirectoryQuery(5, "token", "word", (None, "m.space"))
    assert await directory.page(query, OTHER) == {"chunk": []}
    assert remote.queries == [
        {"limit": 5, "since": "token", "filter": {"generic_search_term": "word", "room_types": [None, "m.space"]}}
    ]
    with pytest.raises(BadRequest):
        await directory.page(query, "no server")
    remote.broken = True
    with pytest.raises(NotFound):
        await directory.page(query, OTHER)


async def test_the_summary_of_a_room_of_another_server(house: TestHouse) -> None:
    """By alias and by id with servers to ask; not for rooms that we are in, for strangers, or without servers."""
    room_id = f"!a:{OTHER}"
    remote = FakeDirectory({f"#a:{OTHER}": room_id}, {room_id: RemoteSpace(summary(room_id, name="There"))})
    aliases = Aliases(house.database, house.services.writer, remote)
    summaries = Summaries(house.database, aliases, remote)
    told = await summaries.get(ALICE, f"#a:{OTHER}")
    assert told["name"] == "There" and told["membership"] == "leave" and "children_state" not in told
    assert await summaries.get(ALICE, room_id, [OTHER]) == told
    private = await house.services.create(ALICE, RoomRequest(ROOM_VERSIONS["11"], "private_chat"))
    remote.spaces[private] = RemoteSpace(summary(private))
    for user_id, asked, via in ((None, room_id, [OTHER]), (ALICE, room_id, []), (BOB, private, [OTHER])):
        with pytest.raises(NotFound):
            await summaries.get(user_id, asked, via)
    remote.broken = True
    with pytest.raises(NotFound):
        await summaries.get(ALICE, room_id, [OTHER])


async def test_a_room_of_another_server_is_for_those_who_may_join_it(house: TestHouse) -> None:
    """The other server has decided about us as a whole: about each user we decide ourselves."""
    club, room_id = await new_room(house), f"!a:{OTHER}"
    remote = FakeDirectory()
    summaries = Summaries(house.database, Aliases(house.database, house.services.writer, remote), remote)

    async def seen(**fields: Any) -> list[bool]:
        remote.spaces[room_id] = RemoteSpace(summary(room_id, **fields))
        found = []
        for user_id in (ALICE, BOB):
            try:
                await summaries.get(user_id, room_id, [OTHER])
                found.append(True)
            except NotFound:
                found.append(False)
        return found

    assert await seen(join_rule="invite") == [False, False]
    assert await seen(join_rule="invite", world_readable=True) == [True, True]
    assert await seen(join_rule="knock") == [True, True]
    assert await seen(join_rule="restricted", allowed_room_ids=[club]) == [True, False]


async def test_a_walk_goes_on_at_other_servers(house: TestHouse) -> None:
    """Rooms of others stand where they belong; our own are told by us; what is not to be seen is left out; and what
    one answer told of the children is not asked for again."""
    own = await new_room(house)
    inner, leaf, hidden, space = (f"!{name}:{OTHER}" for name in ("inner", "leaf", "hidden", "space"))
    root = await new_room(house, inner, own)
    private = await house.services.create(ALICE, RoomRequest(ROOM_VERSIONS["11"], "private_chat"))
    remote = FakeDirectory(
        spaces={
            inner: RemoteSpace(
                summary(inner, leaf, hidden, space, private, root, room_type="m.space"),
                {leaf: summary(leaf), space: summary(space, room_type="m.space"), private: summary(private)},
                frozenset({hidden}),
            ),
            space: RemoteSpace(summary(space, leaf, inner, room_type="m.space")),
        }
    )
    spaces = Spaces(house.database, remote)
    assert await tree(spaces, BOB, root) == [root, inner, leaf, space, own]
    assert remote.asked == [(inner, [OTHER]), (space, [OTHER])]
    remote.broken = True
    assert await tree(spaces, BOB, root) == [root, own]
    assert await tree(Spaces(house.database, None), BOB, root) == [root, own]


async def test_a_walk_asks_a_bounded_number_of_times(house: TestHouse) -> None:
    """A space of 80 rooms that nobody knows costs 50 questions."""
    root = await new_room(house, *(f"!{number}:{OTHER}" for number in range(80)))
    remote = FakeDirectory()
    assert await tree(Spaces(house.database, remote), BOB, root) == [root]
    assert len(remote.asked) == MAX_QUESTIONS
    assert issubclass(RemoteUnreachable, RemoteError)
