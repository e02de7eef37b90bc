"""The endpoints by which other servers read this one, asked over real sockets with signed requests."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from config.compose.reading import build_reading
from federation.acl import RoomAcls
from federation.authentication import PeerDoor
from federation.partners import Partners
from homeserver.domain.hashing import event_id
from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.http.server import HttpServer
from homeserver.services.accounts.profile import Profiles
from homeserver.services.rooms.server_acls import StandingAcls
from tests.builders.cluster import SERVER_NAME, Cluster
from tests.builders.identity import Peer
from tests.conformance.client import PATH_CHARACTERS, MatrixClient, query_text
from tests.federation.conftest import Bench
from tests.services.rooms.scene import ALICE, BOB, EVE, OTHER_SERVER, Scene, open_scene

pytestmark = pytest.mark.asyncio(loop_scope="module")

V1 = "/_matrix/federation/v1"
ALIAS = f"#hall:{SERVER_NAME}"


class Asker:
    """A server that asks, signing what it asks for; answers must conform to the spec."""

    def __init__(self, client: MatrixClient, peer: Peer) -> None:
        self._client = client
        self._peer = peer

    async def get(self, path: str, expect: int = 200, **query: Any) -> Any:
        return await self._ask("GET", path, None, expect, query)

    async def post(self, path: str, body: Mapping[str, Any], expect: int = 200) -> Any:
        return await self._ask("POST", path, body, expect, {})

    async def _ask(self, method: str, path: str, body: Any, expect: int, query: Mapping[str, Any]) -> Any:
        uri = quote(V1 + path, safe=PATH_CHARACTERS) + (f"?{query_text(query)}" if query else "")
        headers = {"Authorization": self._peer.authorization(method, uri, SERVER_NAME, body)}
        answer = await self._client.ask(method, V1 + path, body, query=query, headers=headers)
        assert answer.status == expect, answer.body
        return answer.body


@dataclass
class Library:
    """A server with a published room in which a user of `inside` is, and `outside`, a server that is not."""

    scene: Scene
    room_id: str
    inside: Asker
    outside: Asker


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def library(cluster: Cluster) -> AsyncIterator[Library]:
    bench = Bench()
    inside, outside = Peer(OTHER_SERVER), Peer("outside.example")
    bench.online(inside, outside)
    async with open_scene(cluster) as scene:
        door = PeerDoor(SERVER_NAME, bench.keyring, Partners(), bench.clock)
        profiles = Profiles(scene.database, scene.services.membership, SERVER_NAME)
        acls = RoomAcls(StandingAcls(scene.database))
        routes = build_reading(SERVER_NAME, scene.database, scene.clock, scene.services, profiles, acls, door)
        server = HttpServer(routes, clock=scene.clock, stopping=asyncio.Event())
        await server.listen("127.0.0.1", 0)
        room_id = await scene.room("11", members=[BOB], published=True, name="Hall")
        await scene.remote_join(room_id, EVE)
        await scene.services.aliases.add(ALICE, ALIAS, room_id)
        address, port = server.addresses[0]
        async with MatrixClient(f"http://{address}:{port}") as client:
            yield Library(scene, room_id, Asker(client, inside), Asker(client, outside))
        await server.drain(5)
    await bench.lookups.close()
    bench.threads.close()


async def test_events_and_state(library: Library) -> None:
    """The same room by every way, in the shapes of the spec."""
    scene, room_id, ask = library.scene, library.room_id, library.inside
    last = await scene.say(ALICE, room_id, "for all")
    version, timeline = ROOM_VERSIONS["11"], await scene.timeline(room_id)

    def named(pdus: list[dict[str, Any]]) -> list[str]:
        return [event_id(version, pdu) for pdu in pdus]

    assert named((await ask.get(f"/event/{last}"))["pdus"]) == [last]
    assert named((await ask.get(f"/backfill/{room_id}", v=[last], limit=100))["pdus"]) == timeline[::-1]
    assert len((await ask.get(f"/backfill/{room_id}", v=[last]))["pdus"]) == 10
    state = await ask.get(f"/state/{room_id}", event_id=last)
    told = await ask.get(f"/state_ids/{room_id}", event_id=last)
    assert named(state["pdus"]) == told["pdu_ids"] and named(state["auth_chain"]) == told["auth_chain_ids"]
    assert set(told["pdu_ids"]) == {one.event_id for one in (await scene.state(room_id)).values()}
    chain = await ask.get(f"/event_auth/{room_id}/{last}")
    assert set(named(chain["auth_chain"])) < set(told["pdu_ids"])
    missing = {"latest_events": [last], "earliest_events": timeline[:-3]}
    assert named((await ask.post(f"/get_missing_events/{room_id}", missing))["events"]) == timeline[-3:-1]
    found = await ask.get(f"/timestamp_to_event/{room_id}", ts=scene.clock.ms + 1000, dir="b")
    assert found["event_id"] in timeline


async def test_attack_40_every_way_is_closed_to_strangers(library: Library) -> None:
    """A server that signs well and is not in the room."""
    room_id, ask = library.room_id, library.outside
    last = await library.scene.say(ALICE, room_id, "for us")
    await ask.get(f"/event/{last}", 403)
    await ask.get(f"/backfill/{room_id}", 403, v=[last], limit=1)
    await ask.get(f"/state/{room_id}", 403, event_id=last)
    await ask.get(f"/state_ids/{room_id}", 403, event_id=last)
    await ask.get(f"/event_auth/{room_id}/{last}", 403)
    await ask.post(f"/get_missing_events/{room_id}", {"latest_events": [last], "earliest_events": []}, 403)
    await ask.get(f"/timestamp_to_event/{room_id}", 403, ts=0, dir="f")


async def test_server_acl_shuts_a_member_out(library: Library) -> None:
    """A server that the room's ACL denies is refused although a user of it is joined."""
    scene, ask = library.scene, library.inside
    room_id = await scene.room("11")
    await scene.remote_join(room_id, EVE)
    await scene.put(ALICE, room_id, "m.room.server_acl", {"allow": ["*"], "deny": [OTHER_SERVER]})
    last = await scene.say(ALICE, room_id)
    await ask.get(f"/backfill/{room_id}", 403, v=[last], limit=1)
    await ask.get(f"/state/{room_id}", 403, event_id=last)
    await ask.get(f"/state_ids/{room_id}", 403, event_id=last)
    await ask.get(f"/event_auth/{room_id}/{last}", 403)
    await ask.post(f"/get_missing_events/{room_id}", {"latest_events": [last], "earliest_events": []}, 403)
    await ask.get(f"/timestamp_to_event/{room_id}", 403, ts=0, dir="f")


async def test_bad_questions(library: Library) -> None:
    """What is missing or wrong is named."""
    room_id, ask = library.room_id, library.inside
    for path, query in (
        (f"/backfill/{room_id}", {"limit": 1}),
        (f"/backfill/{room_id}", {"v": ["none"]}),
        (f"/backfill/{room_id}", {"v": ["$x"], "limit": "many"}),
        ("/backfill/room", {"v": ["$x"]}),
        ("/event/none", {}),
        (f"/state/{room_id}", {}),
        (f"/state_ids/{room_id}", {"event_id": "none"}),
        (f"/event_auth/{room_id}/none", {}),
        (f"/timestamp_to_event/{room_id}", {"ts": "now", "dir": "f"}),
        (f"/timestamp_to_event/{room_id}", {"ts": 1, "dir": "up"}),
        (f"/timestamp_to_event/{room_id}", {"ts": 1}),
        ("/query/directory", {}),
        ("/query/directory", {"room_alias": "hall"}),
        ("/query/profile", {"user_id": "alice"}),
        ("/publicRooms", {"since": "yesterday"}),
    ):
        await ask.get(path, 400, **query)
    for body in (
        {},
        {"latest_events": ["$x"]},
        {"latest_events": "$x", "earliest_events": []},
        {"latest_events": ["x"], "earliest_events": []},
        {"latest_events": ["$x"] * 1001, "earliest_events": []},
        {"latest_events": [], "earliest_events": [], "limit": -1},
        {"latest_events": [], "earliest_events": [], "min_depth": 1.5},
    ):
        await ask.post(f"/get_missing_events/{room_id}", body, 400)
    filters: list[Any] = [[], {"room_types": [1]}, {"generic_search_term": "x" * 501}]
    for filter in filters:
        await ask.post("/publicRooms", {"filter": filter}, 400)
    await ask.get("/query/unknown", 404)


async def test_missing_events_of_any_depth(library: Library) -> None:
    """Numbers that no database holds are numbers all the same."""
    room_id, ask = library.room_id, library.inside
    last = await library.scene.say(ALICE, room_id)
    asked = {"latest_events": [last], "earliest_events": [], "limit": 2**62, "min_depth": 2**80}
    assert (await ask.post(f"/get_missing_events/{room_id}", asked))["events"] == []


async def test_directory_and_alias(library: Library) -> None:
    """Published rooms and where an alias leads, for any server."""
    ask = library.outside
    [room] = (await ask.get("/publicRooms"))["chunk"]
    assert (room["room_id"], room["name"]) == (library.room_id, "Hall")
    for term, rooms in (("hall", 1), ("cellar", 0)):
        found = await ask.post("/publicRooms", {"limit": 5, "filter": {"generic_search_term": term}})
        assert len(found["chunk"]) == rooms
    assert len((await ask.post("/publicRooms", {"filter": {"room_types": [None]}}))["chunk"]) == 1
    assert len((await ask.post("/publicRooms", {"filter": {"room_types": ["m.space"]}}))["chunk"]) == 0
    found = await ask.get("/query/directory", room_alias=ALIAS)
    assert found == {"room_id": library.room_id, "servers": [SERVER_NAME, OTHER_SERVER]}
    await ask.get("/query/directory", 404, room_alias=f"#cellar:{SERVER_NAME}")


async def test_profiles_of_our_users(library: Library) -> None:
    """All fields, or the one that is asked for."""
    ask = library.outside
    await library.scene.database.write(lambda store: store.profiles.set(ALICE, "displayname", '"Alice"'))
    await library.scene.database.write(lambda store: store.profiles.set(ALICE, "org.example.mood", '{"is":"good"}'))
    whole = {"displayname": "Alice", "org.example.mood": {"is": "good"}}
    assert await ask.get("/query/profile", user_id=ALICE) == whole
    assert await ask.get("/query/profile", user_id=ALICE, field="displayname") == {"displayname": "Alice"}
    assert await ask.get("/query/profile", user_id=ALICE, field="avatar_url") == {}
    await ask.get("/query/profile", 404, user_id=f"@nobody:{SERVER_NAME}")
    await ask.get("/query/profile", 404, user_id=EVE)


async def test_hierarchy(library: Library) -> None:
    """A space with a public and a private room."""
    scene = library.scene
    space = await scene.room("11", creation_content={"type": "m.space"})
    private = await scene.room("11", preset="private_chat")
    for child in (library.room_id, private):
        await scene.put(ALICE, space, "m.space.child", {"via": [SERVER_NAME]}, child)
    answer = await library.outside.get(f"/hierarchy/{space}")
    assert answer["room"]["room_id"] == space and len(answer["room"]["children_state"]) == 2
    assert [one["room_id"] for one in answer["children"]] == [library.room_id]
    assert answer["inaccessible_children"] == [private]
    await library.outside.get(f"/hierarchy/{private}", 404)
