"""Rooms of every kind that a request may meet, each made by a few plain requests of people of the fuzzer's world.

Of the people, alice has everything made, bob is in it or was, dora knocks and stays outside, emil is banned.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from tests.conformance.client import MatrixClient, v3

# Of the events of a room so many are remembered, the newest.
REMEMBERED = 30


@dataclass
class Place:
    """A room, and events of it. `mark` is a token of its timeline."""

    room_id: str
    events: deque[str] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    mark: str = ""


@dataclass
class Company:
    """Who takes part. `talk` is a room in which alice and bob are, `version` that of the rooms that may be old."""

    alice: MatrixClient
    bob: MatrixClient
    dora: MatrixClient
    emil: MatrixClient
    version: str
    talk: str = ""

    async def make(self, **options: object) -> Place:
        """A public room of the current default version with alice in it."""
        return Place(await self.alice.create_room(preset="public_chat", **options))

    async def say(self, place: Place, client: MatrixClient, **content: object) -> str:
        event_id = await client.send(place.room_id, {"msgtype": "m.text", "body": "Zoë said a word", **content})
        place.events.append(event_id)
        return event_id


async def talk(company: Company) -> Place:
    """Everything that is said in a room: a thread, an edit, a reaction, a reference, what was redacted, receipts."""
    alice, bob = company.alice, company.bob
    place = await company.make(room_version=company.version, name="word", topic="word")
    await bob.join(place.room_id)
    for client in (alice, bob):
        root = await company.say(place, client)
        for rel_type in ("m.thread", "m.thread", "m.reference"):
            await company.say(place, client, **{"m.relates_to": {"rel_type": rel_type, "event_id": root}})
        edit = {"rel_type": "m.replace", "event_id": root}
        new = {"msgtype": "m.text", "body": "edited"}
        await company.say(place, client, **{"m.new_content": new, "m.relates_to": edit})
        reaction = {"m.relates_to": {"rel_type": "m.annotation", "event_id": root, "key": "+"}}
        place.events.append(await client.send(place.room_id, reaction, "m.reaction"))
        gone = await company.say(place, client)
        await client.call("PUT", v3("rooms", place.room_id, "redact", gone, f"r-{gone[:20]}"))
        await bob.call("POST", v3("rooms", place.room_id, "receipt", "m.read", root), {"thread_id": "main"})
    place.events.append(await alice.set_state(place.room_id, "m.room.topic", {"topic": "x"}))
    place.mark = (await alice.sync(filter={"room": {"rooms": [place.room_id]}}))["next_batch"]
    return place


async def invited(company: Company) -> Place:
    place = Place(await company.alice.create_room(preset="private_chat", invite=[company.bob.user_id]))
    await company.say(place, company.alice)
    return place


async def left(company: Company) -> Place:
    """Things were said before bob left, and after."""
    place = await company.make()
    await company.bob.join(place.room_id)
    await company.say(place, company.bob)
    await company.bob.leave(place.room_id)
    await company.say(place, company.alice)
    return place


async def forgotten(company: Company) -> Place:
    place = await left(company)
    await company.bob.call("POST", v3("rooms", place.room_id, "forget"))
    return place


async def deserted(company: Company) -> Place:
    """Nobody is in it."""
    place = await company.make()
    await company.say(place, company.alice)
    await company.alice.leave(place.room_id)
    return place


async def banned(company: Company) -> Place:
    place = await company.make()
    await company.bob.join(place.room_id)
    await company.emil.join(place.room_id)
    await company.say(place, company.emil)
    await company.alice.call("POST", v3("rooms", place.room_id, "ban"), {"user_id": company.emil.user_id})
    await company.say(place, company.alice)
    return place


async def knocked(company: Company) -> Place:
    """Dora waits for an answer; others may knock."""
    rule = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
    place = await company.make(initial_state=[rule])
    await company.dora.call("POST", v3("knock", place.room_id))
    return place


async def restricted(company: Company) -> Place:
    """Whoever is in the talk may join, and others may knock."""
    allow = [{"type": "m.room_membership", "room_id": company.talk}]
    content = {"join_rule": "knock_restricted", "allow": allow}
    return await company.make(initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": content}])


async def space(company: Company) -> Place:
    """With the talk, with a space that holds it in turn, and with a child that is not there."""
    place = await company.make(creation_content={"type": "m.space"})
    inner = await company.make(creation_content={"type": "m.space"})
    children = ((place, inner.room_id), (inner, place.room_id), (place, company.talk), (place, "!gone:test.example"))
    for parent, child in children:
        content = {"via": ["test.example"], "order": "a", "suggested": child == company.talk}
        place.events.append(await company.alice.set_state(parent.room_id, "m.space.child", content, child))
    return place


async def upgraded(company: Company) -> Place:
    place = await company.make(room_version="10")
    await company.say(place, company.alice)
    await company.alice.call("POST", v3("rooms", place.room_id, "upgrade"), {"new_version": "12"})
    return place


async def readable(company: Company) -> Place:
    """By everybody, also by those who never joined; guests may join."""
    content = {"history_visibility": "world_readable"}
    state = [
        {"type": "m.room.history_visibility", "state_key": "", "content": content},
        {"type": "m.room.guest_access", "state_key": "", "content": {"guest_access": "can_join"}},
    ]
    place = await company.make(initial_state=state)
    await company.say(place, company.alice)
    return place


async def closed_past(company: Company) -> Place:
    """Bob may not read what was said before he came."""
    content = {"history_visibility": "joined"}
    state = [{"type": "m.room.history_visibility", "state_key": "", "content": content}]
    place = await company.make(initial_state=state)
    await company.say(place, company.alice)
    await company.bob.join(place.room_id)
    await company.say(place, company.alice)
    return place


async def encrypted(company: Company) -> Place:
    content = {"algorithm": "m.megolm.v1.aes-sha2"}
    place = await company.make(initial_state=[{"type": "m.room.encryption", "state_key": "", "content": content}])
    secret = {**content, "ciphertext": "x", "sender_key": "x", "device_id": "x", "session_id": "x"}
    place.events.append(await company.alice.send(place.room_id, secret, "m.room.encrypted"))
    return place


# All but `talk`, which the others may be about.
KINDS: Mapping[str, Callable[[Company], Awaitable[Place]]] = {
    make.__name__: make
    for make in (
        invited, left, forgotten, deserted, banned, knocked, restricted, space, upgraded, readable, closed_past,
        encrypted,
    )
}  # fmt: skip
