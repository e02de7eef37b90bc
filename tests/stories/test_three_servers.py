"""Three people of three servers in one room, over TLS: what one server tells of another, and who tells whom.

Alice, Bob and Carol are each on a server of their own. https://spec.matrix.org/v1.19/server-server-api/
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from tests.builders.allies import Ally
from tests.builders.ears import Ears
from tests.builders.people import person, state_ids, told_ids
from tests.builders.waiting import until
from tests.conformance.client import MatrixClient, v3

# The first one, the last one whose room ids name a server, and the newest one.
VERSIONS = ("1", "11", "12")
in_some_versions = pytest.mark.parametrize("version", VERSIONS)


@dataclass
class Three:
    """Servers by the letter of their person, the people, and what they hear."""

    a: Ally
    b: Ally
    c: Ally
    alice: MatrixClient
    bob: MatrixClient
    carol: MatrixClient
    ears: dict[str, Ears]

    @property
    def people(self) -> Sequence[MatrixClient]:
        return (self.alice, self.bob, self.carol)

    def hears(self, listener: MatrixClient) -> Ears:
        return self.ears[listener.user_id]

    async def all_hear(self, room: str, event_id: str) -> None:
        for one in self.people:
            await self.hears(one).event(room, event_id)

    async def enter(self, room: str, who: MatrixClient, via: Ally, *others: MatrixClient) -> None:
        """Joins through a server; the `others`, who are in the room, hear of it, and so does the one who joins."""
        await who.join(room, via=[via.name])
        for one in (*others, who):
            await self.hears(one).member(room, who.user_id, "join")

    async def agree(self, room: str) -> None:
        """All three show their clients the same state."""

        async def same() -> bool:
            first, *others = [await state_ids(one, room) for one in self.people]
            return all(other == first for other in others)

        await until(same, what="three servers have the same state")


@pytest.fixture
async def three(allies: list[Ally]) -> AsyncIterator[Three]:
    async with AsyncExitStack() as stack:
        a, b, c = allies
        alice, bob, carol = [await person(stack, ally, name) for ally, name in ((a, "alice"), (b, "bob"), (c, "carol"))]
        ears = {one.user_id: await Ears.of(one) for one in (alice, bob, carol)}
        yield Three(a, b, c, alice, bob, carol, ears)


@in_some_versions
async def test_who_joined_through_another_server_hears_everybody(three: Three, version: str) -> None:
    """Carol joined through Bob's server, which tells Alice's of her; then each hears the others directly, and all have
    the same state and the same history, from before they came, too."""
    alice, bob, carol = three.people
    room = await alice.create_room(preset="public_chat", room_version=version)
    await alice.send(room, "Before all others")
    await three.enter(room, bob, three.a, alice)
    await bob.send(room, "Before Carol")
    await three.enter(room, carol, three.b, alice, bob)
    for one in three.people:
        await three.all_hear(room, await one.send(room, f"Here is {one.user_id}"))
    await three.agree(room)
    ours = await told_ids(alice, room)
    for other in (bob, carol):
        assert await told_ids(other, room) == ours


@in_some_versions
async def test_a_join_is_told_to_those_who_were_not_asked(three: Three, version: str) -> None:
    """Alice comes into Bob's room through his server, which tells Carol's; when she is made to leave, all hear of it,
    and what is said then is not for her."""
    alice, bob, carol = three.people
    room = await bob.create_room(preset="public_chat", room_version=version)
    await three.enter(room, carol, three.b, bob)
    await three.enter(room, alice, three.b, bob, carol)
    await three.all_hear(room, await alice.send(room, "Hello, all of you"))
    await three.agree(room)
    await bob.call("POST", v3("rooms", room, "kick"), {"user_id": alice.user_id})
    for one in three.people:
        await three.hears(one).member(room, alice.user_id, "leave")
    await three.hears(alice).stands(room, "leave")
    unheard = await carol.send(room, "She is gone")
    await three.hears(bob).event(room, unheard)
    await three.enter(room, alice, three.c, bob, carol)
    assert unheard not in three.hears(alice).events[room]
    await three.all_hear(room, await alice.send(room, "No, I am not"))
    await three.agree(room)
    assert await told_ids(alice, room) == await told_ids(bob, room)


async def test_an_invite_by_one_who_came_later(three: Three) -> None:
    """Bob, a guest in Alice's room, invites Carol; her server asks his to let her in, and Alice's hears of all that. An
    invite of Carol's that she rejects is told to all by the server that invited her."""
    alice, bob, carol = three.people
    room = await alice.create_room(preset="private_chat", invite=[bob.user_id])
    await three.hears(bob).invited(room)
    await three.enter(room, bob, three.a, alice)
    await bob.call("POST", v3("rooms", room, "invite"), {"user_id": carol.user_id})
    await three.hears(carol).invited(room)
    await three.hears(alice).member(room, carol.user_id, "invite")
    await carol.leave(room)
    for one in (alice, bob):
        await three.hears(one).member(room, carol.user_id, "leave")
    await three.hears(carol).stands(room, "leave")
    await bob.call("POST", v3("rooms", room, "invite"), {"user_id": carol.user_id})
    await three.hears(carol).stands(room, "invite")
    await carol.join(room)
    for one in three.people:
        await three.hears(one).member(room, carol.user_id, "join")
    await three.all_hear(room, await carol.send(room, "Thank you, Bob"))
    await three.agree(room)


async def test_the_server_that_made_the_room_leaves_it(three: Three) -> None:
    """Alice, who made the room, is gone; Bob and Carol go on without her server, and she finds back through Carol's."""
    alice, bob, carol = three.people
    room = await alice.create_room(preset="public_chat")
    await three.enter(room, bob, three.a, alice)
    await three.enter(room, carol, three.a, alice, bob)
    await alice.leave(room)
    for one in (bob, carol):
        await three.hears(one).member(room, alice.user_id, "leave")
    said = await bob.send(room, "Just we two")
    await three.hears(carol).event(room, said)
    await three.hears(alice).stands(room, "leave")
    await three.enter(room, alice, three.c, bob, carol)
    await three.all_hear(room, await alice.send(room, "I am back"))
    await three.agree(room)
    ours = await told_ids(alice, room)
    assert said in ours
    assert await told_ids(carol, room) == ours
