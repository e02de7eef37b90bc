"""Whom each event concerns, by the tables, as it follows from who was in the room at its time."""

import random

import pytest

from homeserver.domain.identifiers import domain_of
from homeserver.domain.signing import generate_key
from homeserver.services.rooms.remote.outgoing import Outgoing
from homeserver.services.rooms.remote.progress import Progress, Reached
from tests.builders.cluster import SERVER_NAME
from tests.services.rooms.scene import ALICE, BOB, CAROL, EVE, FRANK, MEMBER, OTHER_SERVER, Scene

pytestmark = pytest.mark.asyncio(loop_scope="module")

SERVERS = (OTHER_SERVER, "third.example", "fourth.example:8448")
GUESTS = [f"@{name}:{server}" for server in SERVERS for name in ("one", "two")]


class Story:
    """What happens in a room, and whom each event of ours must be told: by event id."""

    def __init__(self, scene: Scene, room_id: str) -> None:
        self.scene = scene
        self.room_id = room_id
        self.memberships: dict[str, str] = {}
        self.expected: dict[str, set[str]] = {}

    def present(self) -> set[str]:
        return {domain_of(user_id) for user_id, value in self.memberships.items() if value == "join"}

    async def say(self) -> None:
        self.expected[await self.scene.say(ALICE, self.room_id)] = self.present()

    async def change(self, sender: str, user_id: str, membership: str) -> None:
        """A member event, ours or the guest's own."""
        before, was = self.present(), self.memberships.get(user_id)
        content = {"membership": membership}
        if domain_of(sender) == SERVER_NAME:
            event_id = await self.scene.put(sender, self.room_id, MEMBER, content, user_id)
        else:
            event_id = (await self.scene.remote(self.room_id, sender, MEMBER, content, user_id)).event_id
        self.memberships[user_id] = membership
        if domain_of(sender) == SERVER_NAME:
            ended = {domain_of(user_id)} if was in ("invite", "knock") and membership in ("leave", "ban") else set()
            self.expected[event_id] = before | self.present() | ended

    async def act(self, choice: random.Random) -> None:
        user_id = choice.choice(GUESTS)
        match self.memberships.get(user_id, "leave"):
            case "leave":
                await self.change(*choice.choice([(user_id, user_id, "join"), (ALICE, user_id, "invite")]))
            case "invite" | "join":
                sender = choice.choice([user_id, ALICE])
                await self.change(sender, user_id, choice.choice(["leave", "ban" if sender == ALICE else "join"]))
            case "ban":
                await self.change(ALICE, user_id, "leave")


@pytest.mark.parametrize("seed", range(3))
async def test_events_concern_the_servers_of_their_time(scene: Scene, seed: int) -> None:
    """Read all at once when it is over, in small pages, and by each server that missed everything: the same."""
    for server in SERVERS:
        scene.keys.setdefault(server, generate_key(server.encode().ljust(32, b"."), "k"))
    start = scene.built.publisher.current()
    story, choice = Story(scene, await scene.room()), random.Random(seed)
    for _ in range(30):
        await story.act(choice)
        if choice.random() < 0.7:
            await story.say()
    end = scene.built.publisher.current()
    outgoing = Outgoing(scene.database, SERVER_NAME)
    told = await outgoing.list_events(start, end, 1000)
    assert [event.pdu.position for event in told] == sorted(event.pdu.position for event in told)
    found = {event.pdu.event_id: set(event.servers) for event in told}
    assert {event_id: servers for event_id, servers in found.items() if servers} == {
        event_id: servers for event_id, servers in story.expected.items() if servers
    }
    paged, after = [], start
    while page := await outgoing.list_events(after, end, 4):
        paged += page
        after = page[-1].pdu.position
    assert [(one.pdu, set(one.servers)) for one in paged] == [(one.pdu, set(one.servers)) for one in told]
    for server in SERVERS:
        missed = await outgoing.list_missed(server, start, end)
        assert missed.upto == end
        assert missed.pdus == [event.pdu for event in told if server in event.servers]


async def test_members_of_a_fork_are_counted(scene: Scene) -> None:
    """Servers whose join a merge of forks undoes are told of the event that undid it, and of nothing after it."""
    room_id = await scene.room("8", members=[BOB])
    await scene.set_levels(ALICE, room_id, users={EVE: 50})
    await scene.remote_join(room_id, EVE)
    guest = "@guest:fifth.example"
    scene.keys["fifth.example"] = generate_key(b"5" * 32, "k")
    [fork] = (await scene.replay(room_id)).tips
    await scene.remote_join(room_id, guest)
    await scene.remote(room_id, EVE, "m.room.join_rules", {"join_rule": "invite"}, "", prev=[fork])
    event_id = await scene.say(ALICE, room_id, "without the guest")
    number = (await scene.row(room_id)).number
    counts = await scene.sql("SELECT server, joined FROM room_servers WHERE room = %s ORDER BY server", number)
    assert counts == [("fifth.example", 0), (OTHER_SERVER, 1)]
    told = await Outgoing(scene.database, SERVER_NAME).list_events(0, scene.built.publisher.current(), 100_000)
    assert [one.servers for one in told if one.pdu.event_id == event_id] == [(OTHER_SERVER,)]


async def test_rooms_of_ours_leave_nothing(scene: Scene) -> None:
    """Who of us comes and goes writes no row about servers."""
    room_id = await scene.room(members=[BOB, CAROL])
    await scene.services.membership.leave(CAROL, room_id)
    number = (await scene.row(room_id)).number
    assert not await scene.sql("SELECT 1 FROM room_servers WHERE room = %s", number)
    assert not await scene.sql("SELECT 1 FROM room_server_changes WHERE room = %s", number)


async def test_the_journal_returns_to_its_plateau(scene: Scene) -> None:
    """Once everybody has everything, what was noted of comings and goings is forgotten."""
    room_id = await scene.room()
    for user_id in (EVE, FRANK):
        await scene.remote_join(room_id, user_id)
        await scene.remote(room_id, user_id, MEMBER, {"membership": "leave"}, user_id)
    progress, end = Progress(scene.database), scene.built.publisher.current()
    (first,) = await scene.sql("SELECT min(position) FROM room_server_changes")
    await progress.save(Reached(end, end), {OTHER_SERVER: Reached(first[0], first[0])}, [])
    await progress.prune()
    assert await scene.sql("SELECT count(*) > 0 FROM room_server_changes") == [(True,)]
    kept = await progress.load()
    assert kept.behind == {OTHER_SERVER: Reached(first[0], first[0])} and kept.events == end
    await progress.save(Reached(end, end), {}, [OTHER_SERVER])
    await progress.prune()
    assert await scene.sql("SELECT count(*) FROM room_server_changes") == [(0,)]
