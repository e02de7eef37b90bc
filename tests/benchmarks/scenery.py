"""What must stand on a server before anything is measured: people and rooms, built once and shared by scenarios.

A scenery can be written down (its people keep their tokens), so that a prepared data directory can be used again.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from tests.benchmarks.driver import Client
from tests.benchmarks.matrix import Session, at_most, register_many

BUILDERS_TOGETHER = 8


@dataclass(frozen=True)
class Scale:
    """How large everything is.  Targets hold at full scale; the small one only tries the benchmark out."""

    messages_alone: int
    messages_in_rooms: int
    messages_in_one_room: int
    messages_in_large_room: int
    senders: int
    large_room_members: int
    late_joiners: int
    followers: int
    steps: int
    idle_syncs: int
    rooms_created: int
    steady_seconds: int
    registrations: int
    account_rooms: int
    initial_syncs: int
    history: int
    member_lists: int


SCALES = {
    "full": Scale(
        messages_alone=300,
        messages_in_rooms=1500,
        messages_in_one_room=1000,
        messages_in_large_room=100,
        senders=20,
        large_room_members=1000,
        late_joiners=20,
        followers=100,
        steps=15,
        idle_syncs=1000,
        rooms_created=100,
        steady_seconds=20,
        registrations=20,
        account_rooms=100,
        initial_syncs=3,
        history=2000,
        member_lists=20,
    ),
    "small": Scale(
        messages_alone=20,
        messages_in_rooms=20,
        messages_in_one_room=20,
        messages_in_large_room=5,
        senders=5,
        large_room_members=20,
        late_joiners=3,
        followers=5,
        steps=3,
        idle_syncs=20,
        rooms_created=5,
        steady_seconds=1,
        registrations=2,
        account_rooms=5,
        initial_syncs=2,
        history=120,
        member_lists=3,
    ),
}


@dataclass
class Place:
    """People and the rooms where all of them are, each with the ids of its messages in their order."""

    people: list[Session]
    rooms: dict[str, list[str]]

    @property
    def room(self) -> str:
        """The only room of a place that has one."""
        (room,) = self.rooms
        return room


Scenery = dict[str, Place]


async def _room_of(people: list[Session]) -> str:
    room, _ = await people[0].create_room(preset="public_chat", name="benchmark")
    await at_most(BUILDERS_TOGETHER, lambda person: person.join(room), people[1:])
    return room


async def _talk(people: list[Session], room: str, count: int) -> list[str]:
    """Messages one after the other, so that their order is known."""
    return [(await people[number % len(people)].send(room, f"message {number}"))[0] for number in range(count)]


async def _crowd(client: Client, scale: Scale) -> Place:
    people = await register_many(client, scale.large_room_members)
    return Place(people, {await _room_of(people): []})


async def _followers(client: Client, scale: Scale) -> Place:
    people = await register_many(client, scale.followers + 1)
    return Place(people, {await _room_of(people): []})


async def _account(client: Client, scale: Scale) -> Place:
    people = await register_many(client, 5)

    async def furnished(_: int) -> tuple[str, list[str]]:
        room = await _room_of(people)
        return room, await _talk(people, room, 20)

    return Place(people, dict(await at_most(2, furnished, range(scale.account_rooms))))


async def _history(client: Client, scale: Scale) -> Place:
    people = await register_many(client, 4)
    room = await _room_of(people)
    return Place(people, {room: await _talk(people, room, scale.history)})


BUILDERS: dict[str, Callable[[Client, Scale], Awaitable[Place]]] = {
    "crowd": _crowd,
    "followers": _followers,
    "account": _account,
    "history": _history,
}


async def build(client: Client, scale: Scale, parts: Iterable[str]) -> Scenery:
    """Builds the named parts, one after the other."""
    return {part: await BUILDERS[part](client, scale) for part in sorted(parts)}


def written(scenery: Scenery) -> dict[str, Any]:
    """The scenery as JSON."""
    return {
        part: {
            "people": [
                {"user_id": person.user_id, "token": person.token, "password": person.password}
                for person in place.people
            ],
            "rooms": place.rooms,
        }
        for part, place in scenery.items()
    }


def read(client: Client, text: dict[str, Any]) -> Scenery:
    """The scenery that was written down, its people at this client."""
    return {
        part: Place([Session(client, **person) for person in place["people"]], place["rooms"])
        for part, place in text.items()
    }


def scale_key(scale: Scale) -> dict[str, int]:
    """The scale as plain values."""
    return asdict(scale)
