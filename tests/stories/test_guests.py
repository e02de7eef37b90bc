"""A guest of one server in the rooms of another: let in, kept out, and sent away.

https://spec.matrix.org/v1.19/client-server-api/#guest-access
"""

from typing import Any

from tests.builders.ears import Ears
from tests.builders.two import Two
from tests.conformance.client import MatrixClient, v3

GUEST_ACCESS = "m.room.guest_access"
OPEN, CLOSED = {"guest_access": "can_join"}, {"guest_access": "forbidden"}


async def guest_there(two: Two) -> MatrixClient:
    guest = await two.stack.enter_async_context(MatrixClient(two.there.url))
    await guest.register_guest()
    return guest


async def enter(two: Two, guest: MatrixClient, room: str, expect: int = 200) -> Any:
    """The guest joins through Alice's server, in the way that is open to guests."""
    return await guest.call("POST", v3("rooms", room, "join"), {}, query={"via": [two.here.name]}, expect=expect)


async def test_a_guest_among_two_servers(two: Two) -> None:
    """Alice's room admits guests: one of another server comes in and talks. She closes it, and the guest leaves, while
    Bob stays; and there is no way back."""
    state = [{"type": GUEST_ACCESS, "state_key": "", "content": OPEN}]
    room = await two.alice.create_room(preset="public_chat", initial_state=state)
    await two.rejoin(room)
    guest = await guest_there(two)
    ears = await Ears.of(guest)
    await enter(two, guest, room)
    await two.alice_ears.member(room, guest.user_id, "join")
    said = await guest.send(room, "Is this the garden?")
    assert (await two.alice_ears.event(room, said))["content"]["body"] == "Is this the garden?"
    await ears.event(room, await two.alice.send(room, "It is"))

    await two.alice.set_state(room, GUEST_ACCESS, CLOSED)
    gone = await two.alice_ears.member(room, guest.user_id, "leave")
    assert gone["sender"] == guest.user_id
    await ears.stands(room, "leave")
    assert (await enter(two, guest, room, 403))["errcode"] == "M_GUEST_ACCESS_FORBIDDEN"
    assert (await two.bob.state(room, "m.room.member", two.bob.user_id))["membership"] == "join"
    await two.agree(room)


async def test_a_guest_stays_outside(two: Two) -> None:
    """A public room that is not for guests: its server says so before anybody joins, and nobody there hears of it."""
    room = await two.alice.create_room(preset="public_chat")
    guest = await guest_there(two)
    assert (await enter(two, guest, room, 403))["errcode"] == "M_GUEST_ACCESS_FORBIDDEN"
    await two.bob.join(room, via=[two.here.name])
    await two.alice_ears.member(room, two.bob.user_id, "join")
    assert (await enter(two, guest, room, 403))["errcode"] == "M_GUEST_ACCESS_FORBIDDEN"
    members = (await two.alice.call("GET", v3("rooms", room, "members")))["chunk"]
    assert {event["state_key"] for event in members} == {two.alice.user_id, two.bob.user_id}


async def test_a_guest_is_invited_where_no_guest_may_be(two: Two) -> None:
    """The server of a private room tells ours as much as those who are invited may know: the guest stays invited, reads
    nothing of the room, and can reject the invite."""
    room = await two.alice.create_room(preset="private_chat", name="The cellar")
    await two.alice.set_state(room, GUEST_ACCESS, CLOSED)
    guest = await guest_there(two)
    ears = await Ears.of(guest)
    await two.alice.invite(room, guest.user_id)
    await ears.invited(room)
    assert (await enter(two, guest, room, 403))["errcode"] == "M_GUEST_ACCESS_FORBIDDEN"
    await guest.call("GET", v3("rooms", room, "state"), expect=403)
    assert (await two.alice.state(room, "m.room.member", guest.user_id))["membership"] == "invite"
    await guest.leave(room)
    await two.alice_ears.member(room, guest.user_id, "leave")


async def test_a_guest_is_invited_to_a_private_room(two: Two) -> None:
    """Private rooms are for guests unless somebody says otherwise: the invite opens the door."""
    room = await two.alice.create_room(preset="private_chat")
    guest = await guest_there(two)
    ears = await Ears.of(guest)
    await two.alice.invite(room, guest.user_id)
    await ears.invited(room)
    await enter(two, guest, room)
    await two.alice_ears.member(room, guest.user_id, "join")
    await two.alice_ears.event(room, await guest.send(room, "Thank you"))
