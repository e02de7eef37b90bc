"""What was said while somebody was not there: before they came, while their server was away, and on both sides of a
partition."""

import random

from tests.builders.allies import Ally
from tests.builders.waiting import until
from tests.interop.synapse.people import PATIENCE, Meeting, Person
from tests.interop.synapse.rooms import act, agree, open_room, read_the_same, set_power
from tests.netsplit.people import Crowd

V1 = "/_matrix/client/v1"
RANDOM_ACTS = 60
BEFORE = 150
# More than may be fetched on the way to a received event, and more than one page of a backfill.
MISSED = 130


async def backfill(meeting: Meeting) -> None:
    """Who comes late reads everything from before, each event once; and so does who was there."""
    alice, bob = await meeting.host.person("alice"), await meeting.guest.person("bob")
    room = await open_room(meeting, alice)
    texts: list[str] = []
    for number in range(BEFORE):
        texts.append(f"before {number}")
        said = await alice.client.send(room, texts[-1])
        if number % 10 == 5:
            await alice.client.set_state(room, "m.room.topic", {"topic": f"topic {number}"})
        if number == 20:
            redacted = said
    await alice.client.call("PUT", f"/_matrix/client/v3/rooms/{room}/redact/{redacted}/r1", {})
    texts.remove("before 20")
    await bob.client.join(room, via=[alice.server])
    assert await read_the_same(room, bob, alice) == texts
    history = list((await bob.page_back(room)).values())
    assert history[0]["type"] == "m.room.create"
    assert [event["content"]["body"] for event in history if "body" in event["content"]] == texts
    await bob.client.send(room, "after")
    texts.append("after")
    assert await read_the_same(room, bob, alice) == texts
    carol = await meeting.guest.person("carol")
    await carol.client.join(room, via=[alice.server])
    assert await read_the_same(room, carol, alice) == texts
    await agree(room, alice, bob)


async def hidden(meeting: Meeting) -> None:
    """Who may read only from their own join on is told no word from before, and the way to it ends."""
    alice, bob = await meeting.host.person("alice"), await meeting.guest.person("bob")
    visibility = {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "joined"}}
    room = await open_room(meeting, alice, initial_state=[visibility])
    for number in range(15):
        await alice.client.send(room, f"secret {number}")
    await bob.client.join(room, via=[alice.server])
    await bob.hears(room, await alice.client.send(room, "for all"))
    texts = [one["content"]["body"] for one in (await bob.page_back(room)).values() if "body" in one["content"]]
    assert texts == ["for all"]


async def coming_back(meeting: Meeting) -> None:
    """A server that was out of the room for a while has nothing of that time; it reads it all when it is back."""
    alice, bob = await meeting.host.person("alice"), await meeting.guest.person("bob")
    room = await open_room(meeting, alice, bob)
    texts = ["one"]
    await bob.hears(room, await alice.client.send(room, "one"))
    await act(bob, room, "leave")
    await alice.finds(room, "m.room.member", bob.user_id, {"membership": "leave"})
    for number in range(40):
        texts.append(f"alone {number}")
        await alice.client.send(room, texts[-1])
    await alice.client.set_state(room, "m.room.topic", {"topic": "lonely"})
    await bob.client.join(room, via=[alice.server])
    assert await read_the_same(room, bob, alice) == texts
    await agree(room, alice, bob)


async def going_and_coming(meeting: Meeting) -> None:
    """The room's own server is out of it; the other one goes on, lets it in again, and is asked for what it missed."""
    alice, bob = await meeting.host.person("alice"), await meeting.guest.person("bob")
    room = await open_room(meeting, alice, bob)
    await set_power(alice, room, bob.user_id, 50)
    await bob.learns(lambda: "m.room.power_levels" in _types(bob, room), "is a moderator")
    await agree(room, alice, bob)
    began = (await bob.hears(room, await alice.client.send(room, "goodbye")))["origin_server_ts"]
    await act(alice, room, "leave")
    await bob.finds(room, "m.room.member", alice.user_id, {"membership": "leave"})
    texts = ["goodbye"]
    for number in range(30):
        texts.append(f"without you {number}")
        await bob.client.send(room, texts[-1])
    await bob.client.set_state(room, "m.room.join_rules", {"join_rule": "invite"})
    await bob.client.invite(room, alice.user_id)
    await alice.is_invited(room)
    await act(alice, room, "leave", reason="not yet")
    await bob.finds(room, "m.room.member", alice.user_id, {"membership": "leave", "reason": "not yet"})
    await alice.learns(lambda: room not in alice.invites, "has refused")
    await bob.client.invite(room, alice.user_id)
    await alice.is_invited(room)
    await alice.client.join(room, via=[bob.server])
    await bob.finds(room, "m.room.member", alice.user_id, {"membership": "join"})
    assert await read_the_same(room, alice, bob) == texts
    await agree(room, alice, bob)
    found = await alice.client.call("GET", f"{V1}/rooms/{room}/timestamp_to_event", query={"ts": began + 1, "dir": "b"})
    assert found["origin_server_ts"] <= began + 1


async def outage(meeting: Meeting) -> None:
    """The guest's server is away for many messages. Afterwards it has all of them, though it was sent few."""
    await _away(meeting, meeting.host, meeting.guest)


async def outage_of_host(meeting: Meeting) -> None:
    """As `outage`, and it is the server that made the room which is away."""
    await _away(meeting, meeting.guest, meeting.host)


async def _away(meeting: Meeting, present: object, absent: object) -> None:
    alice, bob = await meeting.host.person("alice"), await meeting.guest.person("bob")
    room = await open_room(meeting, alice, bob)
    speaker, listener = (alice, bob) if present is meeting.host else (bob, alice)
    await listener.hears(room, await speaker.client.send(room, "before"))
    texts = ["before"]
    meeting.servers.cut()
    for number in range(MISSED):
        texts.append(f"missed {number}")
        await speaker.client.send(room, texts[-1])
    meeting.servers.heal()
    texts.append("after")
    said = await speaker.client.send(room, "after")
    await _wake(listener, speaker)
    await listener.hears(room, said)
    assert await read_the_same(room, listener, speaker) == texts
    await agree(room, alice, bob)


async def _wake(one: Person, other: Person) -> None:
    """Each server asks the other something: so it knows that it is there again."""
    for who, whom in ((one, other), (other, one)):
        path = f"/_matrix/client/v3/profile/{whom.user_id}"
        await until(lambda a=who, p=path: _answers(a, p), PATIENCE, f"{who.server} reaches {whom.server}")  # type: ignore[misc]


async def _answers(person: Person, path: str) -> bool:
    return (await person.client.ask("GET", path)).status == 200


async def fork(meeting: Meeting) -> None:
    """Parted, both sides talk and change the room in ways that do not go together. Joined again, they agree."""
    alice, bob = await meeting.host.person("alice"), await meeting.guest.person("bob")
    carol, dave = await meeting.host.person("carol"), await meeting.guest.person("dave")
    room = await open_room(meeting, alice, bob, carol, dave)
    await set_power(alice, room, bob.user_id, 50)
    await bob.learns(lambda: "m.room.power_levels" in _types(bob, room), "is a moderator")
    await agree(room, alice, bob)
    meeting.servers.cut()
    texts: list[str] = []
    for number in range(10):
        for speaker in (alice, bob):
            texts.append(f"{speaker.user_id} {number}")
            await speaker.client.send(room, texts[-1])
    await alice.client.set_state(room, "m.room.topic", {"topic": "of the host"})
    await bob.client.set_state(room, "m.room.topic", {"topic": "of the guest"})
    await bob.client.set_state(room, "m.room.name", {"name": "of the guest"})
    await act(bob, room, "kick", user_id=carol.user_id)
    await alice.client.set_state(room, "m.room.join_rules", {"join_rule": "invite"})
    # Two who do not hear of each other's last words.
    await act(alice, room, "ban", user_id=dave.user_id)
    unheard = await dave.client.send(room, "of a banned one")
    meeting.servers.heal()
    await alice.client.send(room, "healed, says the host")
    await bob.client.send(room, "healed, says the guest")
    texts += ["healed, says the host", "healed, says the guest"]
    await _wake(alice, bob)
    await agree(room, alice, bob)
    read = await read_the_same(room, alice, bob, but=frozenset({unheard}))
    assert sorted(text for text in read if text != "of a banned one") == sorted(texts)
    await bob.finds(room, "m.room.member", dave.user_id, {"membership": "ban"})


async def fork_of_powers(meeting: Meeting) -> None:
    """Parted, the host takes the moderator's power while the moderator uses it; what came of it is the same on both."""
    alice, bob = await meeting.host.person("alice"), await meeting.guest.person("bob")
    carol = await meeting.guest.person("carol")
    levels = {"events": {"m.room.power_levels": 50}}
    room = await open_room(meeting, alice, bob, carol, power_level_content_override=levels)
    await set_power(alice, room, bob.user_id, 50)
    await bob.learns(lambda: "m.room.power_levels" in _types(bob, room), "is a moderator")
    await agree(room, alice, bob)
    meeting.servers.cut()
    await set_power(alice, room, bob.user_id, None)
    await set_power(bob, room, carol.user_id, 50)
    await carol.client.set_state(room, "m.room.topic", {"topic": "of one who should not"})
    await bob.client.set_state(room, "m.room.name", {"name": "of one who may no more"})
    await alice.client.set_state(room, "m.room.topic", {"topic": "of the host"})
    meeting.servers.heal()
    await alice.client.send(room, "healed, says the host")
    await bob.client.send(room, "healed, says the guest")
    await _wake(alice, bob)
    await agree(room, alice, bob)
    assert (await bob.client.state(room, "m.room.topic"))["topic"] == "of the host"
    users = (await bob.client.state(room, "m.room.power_levels")).get("users", {})
    assert carol.user_id not in users and bob.user_id not in users


async def fork_at_random(meeting: Meeting) -> None:
    """Parted, people do whatever comes to their minds; joined again, both servers have the same state."""
    dice = random.Random(f"{meeting.host.title} {meeting.version} {meeting.seed}")
    hosts = [await meeting.host.person("host") for _ in range(3)]
    guests = [await meeting.guest.person("guest") for _ in range(3)]
    # Two to whom nothing is done can tell what came of it.
    creator, watcher = hosts[0], await meeting.guest.person("watcher")
    targets = [person.user_id for person in (*hosts[1:], *guests)]
    room = await open_room(meeting, creator, *hosts[1:], *guests, watcher)
    await set_power(creator, room, guests[0].user_id, 50)
    await agree(room, creator, watcher)
    sides = [Crowd([person.client for person in people]) for people in (hosts, guests)]
    meeting.servers.cut()
    for _ in range(RANDOM_ACTS):
        for side in sides:
            await side.act(dice, room, targets)
    meeting.servers.heal()
    for person in (creator, watcher):
        await person.client.send(room, "healed")
    await _wake(creator, watcher)
    await agree(room, creator, watcher)


async def killed(meeting: Meeting) -> None:
    """Parley is killed while both talk, and started again: nothing is lost, nothing is told twice."""
    alice, bob = await meeting.host.person("alice"), await meeting.guest.person("bob")
    room = await open_room(meeting, alice, bob)
    of_parley, other = (alice, bob) if meeting.host is meeting.servers.parley else (bob, alice)
    server = meeting.servers.parley.server
    assert isinstance(server, Ally)
    texts: list[str] = []
    for number in range(60):
        if number == 30:
            await server.kill9()
        if number == 50:
            await server.start()
        for person in (of_parley, other):
            if person is other or not server.has_ended():
                texts.append(f"{person.user_id} {number}")
                await person.client.send(room, texts[-1])
    await _wake(alice, bob)
    assert sorted(await read_the_same(room, alice, bob)) == sorted(texts)
    await agree(room, alice, bob)


def _types(person: Person, room: str) -> set[str]:
    return {event["type"] for event in person.events.get(room, {}).values()}
