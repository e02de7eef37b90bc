"""What people do in a room while both servers hear each other."""

import asyncio
from typing import Any

from tests.conformance.client import v3
from tests.interop.synapse.people import Meeting, Person
from tests.interop.synapse.rooms import act, agree, invited_room, open_room, read_the_same, set_power


async def talk(meeting: Meeting) -> None:
    """By invite; messages both ways; an edit, a reaction, a redaction and a thread of each."""
    alice, bob = await meeting.host.person("alice"), await meeting.guest.person("bob")
    room = await invited_room(meeting, alice, bob, name="Tea")
    for speaker, listener in ((alice, bob), (bob, alice)):
        texts = [f"{speaker.user_id} says {number}" for number in range(5)]
        said = [await speaker.client.send(room, text) for text in texts]
        heard = [await listener.hears(room, event_id) for event_id in said]
        assert [event["content"]["body"] for event in heard] == texts
        kept = list(listener.events[room])
        assert [event_id for event_id in kept if event_id in said] == said, "in the sender's order"
        await _relate(room, speaker, listener, said[0])
        redaction = await speaker.client.call("PUT", v3("rooms", room, "redact", said[1], "r1"), {"reason": "a slip"})
        told = await listener.hears(room, redaction["event_id"])
        assert told["content"]["reason"] == "a slip"
        left = await listener.client.call("GET", v3("rooms", room, "event", said[1]))
        assert left["content"] == {}
    await agree(room, alice, bob)
    await read_the_same(room, alice, bob)


async def _relate(room: str, speaker: Person, listener: Person, event_id: str) -> None:
    """The event is edited, reacted to, and begins a thread: the other server counts these."""
    new = {"msgtype": "m.text", "body": "edited"}
    edit = {
        **new,
        "body": "* edited",
        "m.new_content": new,
        "m.relates_to": {"rel_type": "m.replace", "event_id": event_id},
    }
    reaction = {"m.relates_to": {"rel_type": "m.annotation", "event_id": event_id, "key": "👍"}}
    answer = {"msgtype": "m.text", "body": "aside", "m.relates_to": {"rel_type": "m.thread", "event_id": event_id}}
    sent = [
        await speaker.client.send(room, edit),
        await speaker.client.send(room, reaction, "m.reaction"),
        await speaker.client.send(room, answer),
    ]
    for one in sent:
        await listener.hears(room, one)
    for rel_type, relation in zip(("m.replace", "m.annotation", "m.thread"), sent, strict=True):
        path = f"/_matrix/client/v1/rooms/{room}/relations/{event_id}/{rel_type}"
        assert [one["event_id"] for one in (await listener.client.call("GET", path))["chunk"]] == [relation]


async def crosstalk(meeting: Meeting) -> None:
    """Both talk at once: both hear all of it, each speaker's words in their order."""
    alice, bob = await meeting.host.person("alice"), await meeting.guest.person("bob")
    room = await open_room(meeting, alice, bob)
    said: dict[str, list[str]] = {}

    async def speak(person: Person) -> None:
        said[person.user_id] = [await person.client.send(room, f"{person.user_id} {number}") for number in range(40)]

    await asyncio.gather(speak(alice), speak(bob))
    for listener in (alice, bob):
        for event_ids in said.values():
            for event_id in event_ids:
                await listener.hears(room, event_id)
            assert [one for one in listener.events[room] if one in event_ids] == event_ids, "in the sender's order"
    await read_the_same(room, alice, bob)
    await agree(room, alice, bob)


async def signs_of_life(meeting: Meeting) -> None:
    """Typing, receipts, presence and profiles, both ways."""
    alice, bob = await meeting.host.person("alice"), await meeting.guest.person("bob")
    room = await open_room(meeting, alice, bob)
    for one, other in ((alice, bob), (bob, alice)):
        typing = v3("rooms", room, "typing", one.user_id)
        await one.client.call("PUT", typing, {"typing": True, "timeout": 30_000})
        await other.learns(lambda a=one, b=other: b.typing.get(room) == [a.user_id], "sees typing")  # type: ignore[misc]
        await one.client.call("PUT", typing, {"typing": False})
        await other.learns(lambda b=other: b.typing.get(room) == [], "sees that typing ends")  # type: ignore[misc]
        said = await other.client.send(room, "Are you there?")
        await one.hears(room, said)
        await one.client.call("POST", v3("rooms", room, "receipt", "m.read", said))
        await _sees_receipt(other, one, room, said)
        await one.client.call("PUT", v3("profile", one.user_id, "displayname"), {"displayname": "Called otherwise"})
        await other.finds(room, "m.room.member", one.user_id, {"displayname": "Called otherwise"})
        profile = await other.client.call("GET", v3("profile", one.user_id))
        assert profile["displayname"] == "Called otherwise"
        words = {"presence": "unavailable", "status_msg": f"at tea: {one.user_id}"}
        await one.client.call("PUT", v3("presence", one.user_id, "status"), words)
        await _sees_presence(other, one, words)


async def _sees_receipt(who: Person, other: Person, room: str, event_id: str) -> None:
    await who.learns(lambda: who.read.get(room, {}).get(other.user_id) == event_id, "sees the receipt")


async def _sees_presence(who: Person, other: Person, words: dict[str, str]) -> None:
    def seen() -> bool:
        told = who.presence.get(other.user_id, {})
        return {name: told.get(name) for name in words} == words

    await who.learns(seen, "sees the other's presence")


async def powers(meeting: Meeting) -> None:
    """The guest is made a moderator, uses it, may not do more than that, and loses it again."""
    alice, bob = await meeting.host.person("alice"), await meeting.guest.person("bob")
    room = await open_room(meeting, alice, bob)
    topic: dict[str, Any] = {"topic": "Assam"}
    path = v3("rooms", room, "state", "m.room.topic", "")
    await bob.client.call("PUT", path, topic, expect=403)
    await set_power(alice, room, bob.user_id, 50)
    await bob.finds(room, "m.room.power_levels", "", {"users_default": 0})
    await bob.learns(lambda: _level(bob, room) == 50, "is a moderator")
    await bob.client.call("PUT", path, topic)
    await alice.finds(room, "m.room.topic", "", topic)
    carol, dave = await meeting.guest.person("carol"), await meeting.host.person("dave")
    for one in (carol, dave):
        await one.client.join(room, via=[alice.server])
        await bob.finds(room, "m.room.member", one.user_id, {"membership": "join"})
    await act(bob, room, "kick", user_id=dave.user_id, reason="noise")
    assert (await dave.is_out(room))["content"] == {"membership": "leave", "reason": "noise"}
    await act(bob, room, "ban", user_id=alice.user_id, expect=403)
    said = await alice.client.send(room, "Oops")
    await bob.hears(room, said)
    await bob.client.call("PUT", v3("rooms", room, "redact", said, "r1"), {})
    await alice.learns(lambda: _is_redacted(alice, room, said), "sees the redaction")
    await set_power(alice, room, bob.user_id, None)
    await bob.learns(lambda: _level(bob, room) == 0, "is no moderator")
    await bob.client.call("PUT", path, {"topic": "Ceylon"}, expect=403)
    await agree(room, alice, bob)


def _level(person: Person, room: str) -> int | None:
    """As the newest power levels of the timeline say."""
    found = [event for event in person.events.get(room, {}).values() if event["type"] == "m.room.power_levels"]
    level: int | None = found[-1]["content"].get("users", {}).get(person.user_id, 0) if found else None
    return level


def _is_redacted(person: Person, room: str, event_id: str) -> bool:
    for event in person.events.get(room, {}).values():
        if event["type"] == "m.room.redaction":
            return event_id in (event.get("redacts"), event["content"].get("redacts"))
    return False
