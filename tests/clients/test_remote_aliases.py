"""Aliases of other servers in m.room.canonical_alias: each is asked for at its server before the room carries it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from homeserver.domain.errors import RemoteUnreachable
from homeserver.ports import RemoteSpace
from tests.builders.cluster import Cluster
from tests.builders.house import open_house
from tests.clients.conftest import Served, serve
from tests.conformance.client import MatrixClient, v3

KIND = "m.room.canonical_alias"


@dataclass
class Directories:
    """`homeserver.ports.RemoteDirectory` with a table of aliases; servers called silent do not answer."""

    aliases: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def resolve_alias(self, alias: str) -> tuple[str, Sequence[str]] | None:
        self.asked.append(alias)
        if alias.endswith(":silent.example"):
            raise RemoteUnreachable("it does not answer")
        room_id = self.aliases.get(alias)
        return None if room_id is None else (room_id, ["other.example"])

    async def public_rooms(self, server: str, query: Mapping[str, Any]) -> Mapping[str, Any]:
        raise RemoteUnreachable("nobody asks for it here")

    async def space(self, room_id: str, via: Sequence[str], *, suggested_only: bool) -> RemoteSpace | None:
        raise RemoteUnreachable("nobody asks for it here")


@pytest.fixture
def directories() -> Directories:
    return Directories()


@pytest.fixture
async def connected(cluster: Cluster, directories: Directories) -> AsyncIterator[Served]:
    """A server that asks others for aliases."""
    async with open_house(cluster, directory_of_others=directories) as house, serve(house) as served:
        yield served


async def put(client: MatrixClient, room: str, expect: int = 200, **content: Any) -> str | None:
    """The errcode, if it is refused."""
    answer: dict[str, Any] = await client.call("PUT", v3("rooms", room, "state", KIND), content, expect=expect)
    return answer.get("errcode")


async def test_an_alias_of_another_server_leads_here(connected: Served, directories: Directories) -> None:
    """It is taken as the name, and as a further one; what stands there is not asked for again."""
    alice = await connected.user("alice")
    room = await alice.create_room()
    directories.aliases = {"#tea:other.example": room, "#chai:other.example": room}
    await put(alice, room, alias="#tea:other.example", alt_aliases=["#chai:other.example"])
    assert sorted(directories.asked) == ["#chai:other.example", "#tea:other.example"]
    directories.aliases.clear()
    await put(alice, room, alias="#chai:other.example", alt_aliases=["#tea:other.example"])
    assert len(directories.asked) == 2


@pytest.mark.parametrize("alias", ["#coffee:other.example", "#nothing:other.example", "#tea:silent.example"])
async def test_an_alias_that_does_not_lead_here(connected: Served, directories: Directories, alias: str) -> None:
    """Of another room, of none, or of a server that does not say: M_BAD_ALIAS, and the room goes on as it was."""
    alice = await connected.user("alice")
    room = await alice.create_room()
    directories.aliases = {"#coffee:other.example": "!other:other.example", "#tea:other.example": room}
    assert await put(alice, room, expect=400, alias=alias) == "M_BAD_ALIAS"
    assert await put(alice, room, expect=400, alias="#tea:other.example", alt_aliases=[alias]) == "M_BAD_ALIAS"
    await alice.call("GET", v3("rooms", room, "state", KIND), expect=404)


async def test_others_are_asked_for_nobody_who_may_not_name_the_room(
    connected: Served, directories: Directories
) -> None:
    """A member without the power, or somebody outside, makes this server ask nobody; and nobody makes it ask many."""
    alice, bob = await connected.user("alice"), await connected.user("bob")
    room = await alice.create_room(preset="public_chat")
    assert await put(bob, room, expect=403, alias="#tea:other.example") == "M_FORBIDDEN"
    await bob.join(room)
    await put(bob, room, expect=400, alias="#tea:other.example")
    many = [f"#a{number}:s{number}.example" for number in range(11)]
    assert await put(alice, room, expect=400, alt_aliases=many) == "M_INVALID_PARAM"
    assert directories.asked == []


async def test_a_new_room_has_no_names_but_its_own(connected: Served) -> None:
    """What createRoom is given as state is checked as what is set later."""
    alice = await connected.user("alice")
    await alice.create_room(room_alias_name="taken")
    for alias in ("#taken:test.example", "#tea:other.example"):
        body = {"initial_state": [{"type": KIND, "content": {"alias": alias}}]}
        assert (await alice.call("POST", v3("createRoom"), body, expect=400))["errcode"] == "M_BAD_ALIAS"
    named = [{"type": KIND, "content": {"alias": "#mine:test.example", "alt_aliases": ["#mine:test.example"]}}]
    await alice.create_room(room_alias_name="mine", initial_state=named)
