"""What other servers are told: whom an event concerns, in which order it comes, and what an outage leaves of it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from config.compose.sending import Sending
from config.compose.storage import Streams
from federation.outbound.destination import MAX_WAITING
from homeserver.domain.signing import generate_key
from homeserver.services.rooms.remote.outgoing import Outgoing
from homeserver.telemetry.metrics import REGISTRY
from tests.builders.cluster import SERVER_NAME
from tests.builders.waiting import until
from tests.federation.outbound.peers import Peers, sending
from tests.services.rooms.scene import ALICE, BOB, EVE, FRANK, MEMBER, OTHER_SERVER, Scene

THIRD = "third.example"
GRACE = f"@grace:{THIRD}"


@pytest.fixture
async def outbox(scene: Scene, streams: Streams, peers: Peers) -> AsyncIterator[Sending]:
    scene.keys[THIRD] = generate_key(b"3" * 32, "third")
    async with sending(scene.database, streams, peers, SERVER_NAME) as opened:
        yield opened


async def shared_room(scene: Scene, *users: str) -> str:
    """A room of ALICE in which these users of other servers are."""
    room_id = await scene.room()
    for user_id in users or (EVE,):
        await scene.remote_join(room_id, user_id)
    return room_id


async def test_a_message_goes_to_the_servers_of_the_room_once(scene: Scene, outbox: Sending, peers: Peers) -> None:
    """To each one time, however many of its users are in, as the PDU that was signed; to nobody else."""
    room_id = await shared_room(scene, EVE, FRANK)
    elsewhere = await scene.room()
    await scene.say(ALICE, elsewhere, "not for you")
    event_id = await scene.say(ALICE, room_id, "hello")
    await until(lambda: peers.texts(OTHER_SERVER) == ["hello"])
    assert peers.pdus(OTHER_SERVER)[-1] == dict((await scene.event(room_id, event_id)).pdu)
    assert set(peers.bodies) == {OTHER_SERVER}


@pytest.mark.parametrize("version", ["1", "3", "6", "11", "12"])
async def test_every_room_version(scene: Scene, outbox: Sending, peers: Peers, version: str) -> None:
    """What goes out is what the event's id and signature are of."""
    room_id = await scene.room(version)
    await scene.remote_join(room_id, EVE)
    event_id = await scene.put(ALICE, room_id, "m.room.topic", {"topic": "ünïcödé"})
    await until(lambda: any(pdu["type"] == "m.room.topic" for pdu in peers.pdus(OTHER_SERVER)))
    assert peers.pdus(OTHER_SERVER)[-1] == dict((await scene.event(room_id, event_id)).pdu)


async def test_a_busy_server_gets_the_rest_together_and_in_order(scene: Scene, outbox: Sending, peers: Peers) -> None:
    """The first goes out at once; what comes while it is under way goes in transactions of at most fifty."""
    room_id = await shared_room(scene)
    peers.held[OTHER_SERVER] = asyncio.Event()
    await scene.say(ALICE, room_id, "0")
    await until(lambda: peers.attempts[OTHER_SERVER] == 1)
    for number in range(1, 121):
        await scene.say(ALICE, room_id, str(number))
    await until(lambda: outbox.outbox.waiting == 121)
    peers.held.pop(OTHER_SERVER).set()
    await until(lambda: len(peers.texts(OTHER_SERVER)) == 121)
    assert peers.texts(OTHER_SERVER) == [str(number) for number in range(121)]
    assert [len(body["pdus"]) for body in peers.bodies[OTHER_SERVER]] == [1, 50, 50, 20]


async def test_the_kicked_server_hears_of_its_kick_and_of_nothing_more(
    scene: Scene, outbox: Sending, peers: Peers
) -> None:
    room_id = await shared_room(scene, EVE, GRACE)
    kick = None
    await scene.services.membership.kick(ALICE, room_id, EVE, "no")
    await scene.say(ALICE, room_id, "they are gone")
    await until(lambda: peers.texts(THIRD) == ["they are gone"])
    (kick,) = peers.pdus(OTHER_SERVER)
    assert kick["state_key"] == EVE and kick["content"]["membership"] == "leave"
    assert [pdu["type"] for pdu in peers.pdus(THIRD)] == [MEMBER, "m.room.message"]


async def test_who_comes_later_is_not_told_what_was_before(scene: Scene, streams: Streams, peers: Peers) -> None:
    """Also if the outbox comes to it only when they are in: each event concerns the servers of its own time."""
    scene.keys[THIRD] = generate_key(b"3" * 32, "third")
    async with sending(scene.database, streams, peers, SERVER_NAME):
        room_id = await shared_room(scene)
    await scene.say(ALICE, room_id, "before")
    await scene.remote_join(room_id, GRACE)
    await scene.say(ALICE, room_id, "both")
    await scene.remote(room_id, EVE, MEMBER, {"membership": "leave"}, EVE)
    await scene.say(ALICE, room_id, "after")
    async with sending(scene.database, streams, peers, SERVER_NAME):
        await until(lambda: peers.texts(THIRD) == ["both", "after"])
    assert peers.texts(OTHER_SERVER) == ["before", "both"]


async def test_the_end_of_an_invite_is_told(scene: Scene, outbox: Sending, peers: Peers) -> None:
    """Although nobody of the invited user's server is in the room; the invite itself went another way."""
    room_id = await scene.room()
    await scene.put(ALICE, room_id, MEMBER, {"membership": "invite"}, EVE)
    await scene.services.membership.kick(ALICE, room_id, EVE)
    await scene.say(ALICE, room_id, "alone")
    (told,) = await until(lambda: peers.pdus(OTHER_SERVER))
    assert told["content"]["membership"] == "leave"
    assert not peers.texts(OTHER_SERVER)


async def test_relayed_events_go_to_the_others(scene: Scene, outbox: Sending, peers: Peers) -> None:
    """What other servers send us we pass on only if it came in through us, and not to where it came from."""
    room_id = await shared_room(scene, EVE, GRACE)
    await scene.remote(room_id, EVE, "m.room.message", {"body": "not relayed"})
    join = await scene.draft(room_id, FRANK, MEMBER, {"membership": "join"}, FRANK)
    await scene.services.remote.events.append(room_id, [join], relay=True)
    await until(lambda: [pdu["state_key"] for pdu in peers.pdus(THIRD)] == [FRANK])
    await scene.say(ALICE, room_id, "done")
    await until(lambda: peers.texts(OTHER_SERVER) == ["done"])
    assert len(peers.pdus(OTHER_SERVER)) == 1


async def test_an_outage_loses_nothing(scene: Scene, outbox: Sending, peers: Peers) -> None:
    """A server that comes back gets everything, in order; others wait for nothing meanwhile, and it costs no memory."""
    room_id = await shared_room(scene, EVE, GRACE)
    peers.away.add(OTHER_SERVER)
    await scene.say(ALICE, room_id, "0")
    await until(lambda: peers.attempts[OTHER_SERVER])
    for number in range(1, 130):
        await scene.say(ALICE, room_id, str(number))
    await until(lambda: len(peers.texts(THIRD)) == 130)
    assert not peers.texts(OTHER_SERVER)
    await until(lambda: outbox.outbox.waiting <= 1)
    peers.up(OTHER_SERVER)
    await until(lambda: len(peers.texts(OTHER_SERVER)) >= 130)
    assert peers.texts(OTHER_SERVER) == [str(number) for number in range(130)]
    await scene.say(ALICE, room_id, "live again")
    await until(lambda: peers.texts(OTHER_SERVER)[-1] == "live again")
    await until(lambda: scene.sql("SELECT 1 WHERE NOT EXISTS (SELECT FROM unsent)"))


async def test_metrics_say_at_once_who_waits_for_what(scene: Scene, outbox: Sending, peers: Peers) -> None:
    """Not only when progress is written down: whoever waits until nothing is left to send believes them."""
    room_id = await shared_room(scene)
    peers.away.add(OTHER_SERVER)
    await scene.say(ALICE, room_id, "hello")
    await until(lambda: outbox.outbox.behind)
    assert _figures() == (1, outbox.outbox.waiting)
    peers.up(OTHER_SERVER)
    await until(lambda: not outbox.outbox.behind)
    assert _figures() == (0, outbox.outbox.waiting)


def _figures() -> tuple[float | None, float | None]:
    names = ("parley_destinations_behind", "parley_pdus_waiting")
    return REGISTRY.get_sample_value(names[0]), REGISTRY.get_sample_value(names[1])


async def test_an_attempt_is_made_again_as_it_was(scene: Scene, outbox: Sending, peers: Peers) -> None:
    """With the same id, so that a server that took it already knows it again."""
    room_id = await shared_room(scene)
    peers.away.add(OTHER_SERVER)
    await scene.say(ALICE, room_id, "hello")
    await until(lambda: peers.attempts[OTHER_SERVER] > 2)
    peers.up(OTHER_SERVER)
    await until(lambda: peers.texts(OTHER_SERVER) == ["hello"])
    assert len(set(peers.ids[OTHER_SERVER])) == 1


async def test_who_is_left_alone_is_not_called(scene: Scene, outbox: Sending, peers: Peers) -> None:
    """The shared memory of outages decides when to try; it says when the server is back."""
    room_id = await shared_room(scene)
    peers.left_alone[OTHER_SERVER] = 3_600_000
    await scene.say(ALICE, room_id, "1")
    await scene.say(ALICE, room_id, "2")
    await until(lambda: scene.sql("SELECT 1 FROM unsent"))
    assert not peers.attempts[OTHER_SERVER]
    peers.up(OTHER_SERVER)
    await until(lambda: peers.texts(OTHER_SERVER) == ["1", "2"])


@pytest.mark.parametrize("crash", [False, True])
async def test_a_restart_loses_nothing(scene: Scene, streams: Streams, peers: Peers, crash: bool) -> None:
    """What was not taken goes out afterwards, in order, for servers that were away and for others; what was taken may
    come again after a crash."""
    scene.keys[THIRD] = generate_key(b"3" * 32, "third")
    async with sending(scene.database, streams, peers, SERVER_NAME, crash=crash):
        room_id = await shared_room(scene, EVE, GRACE)
        peers.away.add(OTHER_SERVER)
        peers.held[THIRD] = asyncio.Event()
        for number in range(3):
            await scene.say(ALICE, room_id, str(number))
        await until(lambda: peers.attempts[THIRD] and peers.attempts[OTHER_SERVER])
    peers.held.clear()
    await scene.say(ALICE, room_id, "3")
    peers.away.clear()
    expected = ["0", "1", "2", "3"]
    async with sending(scene.database, streams, peers, SERVER_NAME):
        await until(lambda: peers.texts(OTHER_SERVER)[-4:] == expected and peers.texts(THIRD)[-4:] == expected)
    assert peers.texts(OTHER_SERVER) == expected


async def test_too_much_for_memory_is_read_from_the_tables(scene: Scene, outbox: Sending, peers: Peers) -> None:
    """A server that takes its time holds a bounded number of events in memory, and gets all of them in the end."""
    room_id = await shared_room(scene)
    peers.held[OTHER_SERVER] = asyncio.Event()
    count = MAX_WAITING + 60
    await scene.say(ALICE, room_id, "0")
    await until(lambda: peers.attempts[OTHER_SERVER])
    for number in range(1, count):
        await scene.say(ALICE, room_id, str(number))
    newest = scene.published[-1].position
    await until(lambda: outbox.outbox.handed.events >= newest)
    assert outbox.outbox.waiting <= MAX_WAITING + 1
    peers.held.pop(OTHER_SERVER).set()
    await until(lambda: len(peers.texts(OTHER_SERVER)) >= count)
    assert peers.texts(OTHER_SERVER) == [str(number) for number in range(count)]


async def test_after_a_long_outage_only_the_newest_of_a_room_are_told(scene: Scene) -> None:
    """Of what lies too far back, the newest event of each room: what is before it the server asks for itself."""
    outgoing = Outgoing(scene.database, SERVER_NAME, page=5, most_missed=6)
    old, busy = await shared_room(scene), await shared_room(scene)
    ids = {await scene.say(ALICE, old, f"old {number}"): f"old {number}" for number in range(4)}
    for number in range(12):
        ids[await scene.say(ALICE, busy, f"busy {number}")] = f"busy {number}"
    told: list[str] = []
    reached, newest = 0, scene.published[-1].position
    while reached < newest:
        missed = await outgoing.list_missed(OTHER_SERVER, reached, newest)
        assert missed.upto > reached and len(missed.pdus) <= 5
        told += [ids[pdu.event_id] for pdu in missed.pdus]
        reached = missed.upto
    assert told == ["old 3", "busy 5", *(f"busy {number}" for number in range(6, 12))]


async def test_a_server_that_is_not_allowed_gets_nothing(scene: Scene, outbox: Sending, peers: Peers) -> None:
    room_id = await shared_room(scene, EVE, GRACE)
    peers.denied.add(OTHER_SERVER)
    await scene.say(ALICE, room_id, "hello")
    await until(lambda: peers.texts(THIRD) == ["hello"])
    assert not peers.attempts[OTHER_SERVER]


async def test_a_message_writes_nothing(scene: Scene, outbox: Sending, peers: Peers) -> None:
    """However many servers take it: it is read once, and the cursor is written down once a second at most."""
    room_id = await shared_room(scene, EVE, GRACE)
    await scene.say(ALICE, room_id, "first")
    await until(lambda: peers.texts(THIRD) == peers.texts(OTHER_SERVER) == ["first"])
    for number in range(20):
        await scene.say(ALICE, room_id, str(number))
    await until(lambda: len(peers.texts(THIRD)) == len(peers.texts(OTHER_SERVER)) == 21)
    assert await scene.sql("SELECT server FROM unsent") == []
    await until(
        lambda: scene.sql(
            "SELECT 1 FROM followers WHERE name = 'outbox' AND position >= %s", outbox.outbox.handed.events
        )
    )


async def test_a_room_of_ours_alone_wakes_nobody(scene: Scene, outbox: Sending, peers: Peers) -> None:
    """The outbox does not look at what no other server can be told of."""
    lonely = await scene.room(members=[BOB])
    await scene.say(ALICE, lonely, "just us")
    item = scene.event_items(lonely)[-1]
    assert not outbox.servers.may_concern(item)
    room_id = await shared_room(scene)
    await scene.say(ALICE, room_id, "hello")
    assert outbox.servers.may_concern(scene.event_items(room_id)[-1])
