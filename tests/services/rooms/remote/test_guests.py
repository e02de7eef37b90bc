"""A guest of ours comes into a room of another server: it stays if the room is for guests, and else it has left again.

https://spec.matrix.org/v1.19/client-server-api/#guest-access
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import nullcontext
from typing import Any

import pytest

from homeserver.domain.errors import Forbidden, RemoteError, RemoteUnreachable
from homeserver.ports import RemoteSpace
from homeserver.services.rooms.guest_access import GUEST_ACCESS, check_abroad
from homeserver.services.rooms.guest_departures import GuestDepartures
from homeserver.storage.store import Store
from homeserver.storage.stream import StateStream
from tests.builders.cluster import Cluster
from tests.builders.house import TestHouse
from tests.services.rooms.remote.pair import ALICE, EVE, HERE, Pair, open_pair

OPEN, CLOSED = {"guest_access": "can_join"}, {"guest_access": "forbidden"}


@pytest.fixture
async def pair(cluster: Cluster) -> AsyncIterator[Pair]:
    """EVE has a public room over there; ALICE is a guest here."""
    async with open_pair(cluster) as opened:
        await opened.begin()
        await add_guest(opened.here, ALICE)
        yield opened


async def add_guest(house: TestHouse, user_id: str) -> None:
    await house.database.write(lambda store: store.users.add(user_id, None, False, 0, guest=True))


async def standing(pair: Pair) -> tuple[str, str, bool] | None:
    """ALICE's membership here, whose event says so, and whether she has forgotten the room."""

    def work(store: Store) -> tuple[str, str, bool] | None:
        row = store.rooms.get(pair.room_id)
        found = store.memberships.find(ALICE, row.number)
        forgotten = row.number in store.memberships.list_forgotten(ALICE)
        return None if found is None else (found.membership, found.sender, forgotten)

    return await pair.here.database.read(work)


async def test_a_guest_enters_a_room_for_guests(pair: Pair) -> None:
    """Nothing is different from anybody else."""
    await pair.put(*GUEST_ACCESS, OPEN)
    await pair.enter()
    assert await standing(pair) == ("join", ALICE, False)


@pytest.mark.parametrize("content", [CLOSED, {}])
async def test_a_guest_who_came_in_wrongly_is_out(pair: Pair, content: dict[str, str]) -> None:
    """The other server let the guest in, and here it is found that it may not be there: it leaves by its own event,
    in the transaction of the join, and reads nothing of the room."""
    await pair.put(*GUEST_ACCESS, content)
    await pair.enter()
    assert await standing(pair) == ("leave", ALICE, True)
    with pytest.raises(Forbidden):
        await pair.here.services.state.all(ALICE, pair.room_id)
    with pytest.raises(Forbidden):
        await pair.texts()


async def test_members_enter_any_room(pair: Pair) -> None:
    """What a room says of guests is not for others."""
    await pair.put(*GUEST_ACCESS, CLOSED)
    await pair.here.database.write(lambda store: store.users.set_no_guest(ALICE, "hash"))
    await pair.enter()
    assert await standing(pair) == ("join", ALICE, False)


async def test_the_other_server_closes_its_room(pair: Pair) -> None:
    """Its event arrives, our guest leaves, and our user stays; to be told of the room twice does no harm."""
    here, bob = pair.here, f"@bob:{HERE}"
    await pair.put(*GUEST_ACCESS, OPEN)
    await pair.enter()
    await here.services.membership.join(bob, pair.room_id)
    closed = await pair.put(*GUEST_ACCESS, CLOSED)
    assert await changed(pair) == 1
    await here.services.remote.events.append(pair.room_id, [closed])
    rooms = await here.database.read(lambda store: [store.rooms.get(pair.room_id).number] * 2)
    departures = GuestDepartures(here.database, here.services.writer)
    await departures.act(rooms)
    assert await standing(pair) == ("leave", ALICE, False)
    assert await here.services.membership.joined_rooms(bob) == [pair.room_id]
    assert await changed(pair) == 2
    await departures.act(rooms)


async def test_one_guest_after_the_other(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, page by page; a room that is gone holds up nobody."""
    monkeypatch.setattr("homeserver.services.rooms.guest_departures.PAGE", 2)
    here = pair.here
    await pair.put(*GUEST_ACCESS, OPEN)
    await pair.enter()
    guests = [f"@guest{number}:{HERE}" for number in range(4)]
    for guest in guests:
        await add_guest(here, guest)
        await here.services.membership.join(guest, pair.room_id)
    closed = await pair.put(*GUEST_ACCESS, CLOSED)
    await here.services.remote.events.append(pair.room_id, [closed])
    room = await here.database.read(lambda store: store.rooms.get(pair.room_id).number)
    await GuestDepartures(here.database, here.services.writer).act([2**40, room])
    joined = await here.database.read(lambda store: store.memberships.list_of_room(room, ["join"]))
    assert [row.user_id for row in joined] == [EVE]


async def test_rooms_come_with_whatever_changed_their_state(pair: Pair) -> None:
    """A room that is entered changes as a whole, and no m.room.guest_access comes by: its join tells of it."""
    assert await changed(pair) == 0
    await pair.put(*GUEST_ACCESS, OPEN)
    join = await pair.enter()
    stream = StateStream(pair.here.database, GUEST_ACCESS)
    ((position, room),) = await stream.list_batch(0, 2**62, 10)
    row = await pair.here.database.read(lambda store: store.events.get(join.event_id))
    assert (position, room) == (row.position, row.room)
    assert await stream.list_batch(position, 2**62, 10) == []
    assert await stream.list_batch(0, position - 1, 10) == []


class Telling:
    """What another server says of a room, or RemoteError; `asked` are the servers that were to be asked."""

    def __init__(self, told: dict[str, Any] | RemoteError | None) -> None:
        self._told = told
        self.asked: list[str] = []

    async def space(self, room_id: str, via: Sequence[str], *, suggested_only: bool) -> RemoteSpace | None:
        self.asked += via
        if isinstance(self._told, RemoteError):
            raise self._told
        return None if self._told is None else RemoteSpace({"room_id": room_id, **self._told})


@pytest.mark.parametrize(
    ("told", "is_refused"),
    [
        ({"guest_can_join": False}, True),
        ({}, True),
        ({"guest_can_join": True}, False),
        (None, False),
        (RemoteUnreachable("away"), False),
    ],
)
async def test_what_other_servers_say_before(told: dict[str, Any] | RemoteError | None, is_refused: bool) -> None:
    """A room that its server shows, and not as one for guests, is not even asked to let one in. Who does not answer
    says nothing."""
    rooms = Telling(told)
    with pytest.raises(Forbidden) if is_refused else nullcontext():
        await check_abroad(rooms, "!room:far.example", ["there.example"])
    assert rooms.asked == ["there.example", "far.example"]


async def changed(pair: Pair) -> int:
    """How often the guest access of the room changed here."""
    return len(await StateStream(pair.here.database, GUEST_ACCESS).list_batch(0, 2**62, 10))
