"""A house with people of two servers: what the tests of rooms act with and look through.

Ours is driven through its services. The other server is a pen: it drafts and signs events as a remote server would,
and `Scene.receive` appends them, without the door that would check their signatures.
"""

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import orjson
from signedjson.types import SigningKey

from config.compose.house import Abroad, House, Remote, build_house
from config.compose.storage import Streams
from homeserver.domain.authorization.selection import auth_state_keys
from homeserver.domain.draft import Reference, build_pdu
from homeserver.domain.event import Event, StateKey
from homeserver.domain.hashing import reference_hash
from homeserver.domain.signing import generate_key
from homeserver.domain.verdict import Accepted, Rejected, SoftFailed
from homeserver.domain.versions import ROOM_VERSIONS, EventIdFormat, RoomVersion
from homeserver.services.rooms.append import Append
from homeserver.services.rooms.create import RoomRequest
from homeserver.storage.events import EventRow
from homeserver.storage.rooms import RoomRow
from homeserver.storage.store import Store
from homeserver.streams.publications import EventItem, Publication
from tests.builders.abroad import consenting
from tests.builders.cluster import SERVER_NAME, Cluster
from tests.builders.database import BuiltDatabase, build_database
from tests.builders.machine import HandClock, SeededRandomness
from tests.services.rooms.replay import Replay

T = TypeVar("T")

OTHER_SERVER = "other.example"
ALICE, BOB, CAROL, DAVE = (f"@{name}:{SERVER_NAME}" for name in ("alice", "bob", "carol", "dave"))
EVE, FRANK = f"@eve:{OTHER_SERVER}", f"@frank:{OTHER_SERVER}"
MEMBER = "m.room.member"


def examples(few: int) -> int:
    """How many random histories to try: few in CI, as many as PARLEY_TEST_EXAMPLES says for a long run."""
    return int(os.environ.get("PARLEY_TEST_EXAMPLES", few))


class Scene:
    """`clock` moves by a millisecond with every draft of the other server, and when a test moves it."""

    def __init__(self, built: BuiltDatabase) -> None:
        self.built = built
        self.database = built.database
        self.clock, self.randomness = HandClock(), SeededRandomness()
        self.keys: dict[str, SigningKey] = {
            SERVER_NAME: generate_key(b"o" * 32, "ours"),
            OTHER_SERVER: generate_key(b"t" * 32, "theirs"),
        }
        streams = Streams(built.positions, built.tail, built.notifier, built.publisher, "epoch")
        self.services: House = build_house(
            built.database,
            streams,
            SERVER_NAME,
            self.keys[SERVER_NAME],
            self.clock,
            self.randomness,
            go_abroad=self.go_abroad,
        )
        self.append = Append(SERVER_NAME, self.services.rule_book)
        self.published: list[Publication] = []
        built.publisher.listen(self.published.append)
        self._txn = 0

    def go_abroad(self, remote: Remote) -> Abroad:
        """What asks other servers: here they consent to every invite, and answer nothing else."""
        return consenting(remote)

    # --- acting ---------------------------------------------------------------------------------------------------

    async def room(
        self,
        version: str = "12",
        preset: str = "public_chat",
        creator: str = ALICE,
        members: Sequence[str] = (),
        **more: Any,
    ) -> str:
        """A new room; `members` are people of ours who join it (they are invited first if they must be)."""
        invite = [] if preset == "public_chat" else list(members)
        request = RoomRequest(ROOM_VERSIONS[version], preset, **{"invite": invite, **more})
        room_id = await self.services.create(creator, request)
        for user_id in members:
            await self.services.membership.join(user_id, room_id)
        return room_id

    async def say(self, sender: str, room_id: str, body: str = "hello", **more: Any) -> str:
        return await self.send(sender, room_id, "m.room.message", {"msgtype": "m.text", "body": body, **more})

    async def send(self, sender: str, room_id: str, type: str, content: Mapping[str, Any]) -> str:
        self._txn += 1
        return await self.services.send.message(sender, "DEVICE", room_id, type, f"t{self._txn}", content)

    async def put(self, sender: str, room_id: str, type: str, content: Mapping[str, Any], state_key: str = "") -> str:
        return await self.services.send.state(sender, room_id, type, state_key, content)

    async def redact(self, sender: str, room_id: str, target: str) -> str:
        self._txn += 1
        return await self.services.send.redaction(sender, "DEVICE", room_id, target, f"t{self._txn}", {})

    async def set_levels(self, sender: str, room_id: str, **levels: Any) -> str:
        """Changes some keys of the power levels; `users` is merged."""
        content = dict((await self.state(room_id))[("m.room.power_levels", "")].content)
        if "users" in levels:
            levels["users"] = {**content.get("users", {}), **levels["users"]}
        return await self.put(sender, room_id, "m.room.power_levels", {**content, **levels})

    # --- the other server -----------------------------------------------------------------------------------------

    async def draft(
        self,
        room_id: str,
        sender: str,
        type: str,
        content: Mapping[str, Any],
        state_key: str | None = None,
        *,
        prev: Sequence[str] | None = None,
        auth: Sequence[str] | None = None,
        redacts: str | None = None,
    ) -> Event:
        """An event of the other server after `prev` (or at the ends of the room), as that server would make it."""
        replay = await self.replay(room_id)
        version = replay.version
        before = replay.tips if prev is None else list(prev)
        self.clock.ms += 1
        if auth is None:
            state = replay.state_at(before)
            auth = [state[key] for key in auth_state_keys(version, type, sender, state_key, content) if key in state]
        server = sender.partition(":")[2]
        return build_pdu(
            version,
            room_id=room_id,
            sender=sender,
            type=type,
            state_key=state_key,
            content=content,
            prev_events=self._references(version, replay, before),
            auth_events=self._references(version, replay, auth),
            depth=1 + max((replay.events[one].depth for one in before if one in replay.events), default=0),
            origin_server_ts=self.clock.ms,
            server_name=server,
            key=self.keys[server],
            event_id_suffix=self.randomness.token(12) if version.event_ids is EventIdFormat.CHOSEN else None,
            redacts=redacts,
        )

    @staticmethod
    def _references(version: RoomVersion, replay: Replay, ids: Sequence[str]) -> list[Reference]:
        if not version.reference_pairs:
            return list(ids)
        return [
            (one, reference_hash(version, replay.events[one].pdu) if one in replay.events else b"unknown")
            for one in ids
        ]

    async def receive(self, *events: Event) -> Accepted | SoftFailed | Rejected:
        """Appends events, one after the other in one transaction; the last one's verdict."""

        def work(store: Store) -> Accepted | SoftFailed | Rejected:
            room = self.services.writer.open(store, events[0].room_id)
            verdicts = [self.append(room, event) for event in events]
            room.save()
            return verdicts[-1]

        return await self.database.write(work, room=events[0].room_id)

    async def remote(
        self, room_id: str, sender: str, type: str, content: Mapping[str, Any], *args: Any, **more: Any
    ) -> Event:
        """Drafts and receives; the event must be accepted."""
        event = await self.draft(room_id, sender, type, content, *args, **more)
        verdict = await self.receive(event)
        assert isinstance(verdict, Accepted), verdict
        return event

    async def remote_join(self, room_id: str, user_id: str = EVE, **more: Any) -> Event:
        return await self.remote(room_id, user_id, MEMBER, {"membership": "join"}, user_id, **more)

    # --- looking --------------------------------------------------------------------------------------------------

    async def read(self, work: Callable[[Store], T]) -> T:
        return await self.database.read(work)

    async def sql(self, statement: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """The rows of a statement, parameters are %s."""
        return await self.database.read(lambda store: store.transaction.text(statement, *arguments))

    async def row(self, room_id: str) -> RoomRow:
        return await self.database.read(lambda store: store.rooms.get(room_id))

    async def event_row(self, event_id: str) -> EventRow:
        return await self.database.read(lambda store: store.events.get(event_id))

    async def replay(self, room_id: str) -> Replay:
        """The room computed anew from the PDUs that the database holds."""
        return await self.database.read(lambda store: Replay.load(store, room_id))

    async def check(self, room_id: str) -> None:
        """Asserts that the tables say of the room, now and at every position, what follows from its PDUs."""
        replay = await self.replay(room_id)
        await self.database.read(partial(replay.check, server_name=SERVER_NAME))

    async def check_now(self, room_id: str) -> None:
        """As `check`, of now only."""
        replay = await self.replay(room_id)
        await self.database.read(partial(replay.check_now, server_name=SERVER_NAME))

    async def events(self, room_id: str) -> list[Event]:
        """All events of the room as the database gives them back, in the order of their arrival."""
        return list((await self.replay(room_id)).events.values())

    async def event(self, room_id: str, event_id: str) -> Event:
        return (await self.replay(room_id)).events[event_id]

    async def state(self, room_id: str) -> dict[StateKey, Event]:
        """The current state, as the table of it says."""

        def work(store: Store) -> dict[StateKey, Event]:
            room = store.rooms.get(room_id)
            rows = store.transaction.text(
                "SELECT event FROM current_state WHERE room = %s AND generation = %s",
                room.number,
                room.state_generation,
            )
            stored = store.events.list_stored(ROOM_VERSIONS[room.version], room_id, [row[0] for row in rows])
            return {one.event.key: one.event for one in stored.values()}

        return await self.database.read(work)

    async def membership(self, user_id: str, room_id: str) -> str | None:
        """As the table of memberships says."""

        def work(store: Store) -> str | None:
            row = store.memberships.find(user_id, store.rooms.get(room_id).number)
            return None if row is None else row.membership

        return await self.database.read(work)

    async def timeline(self, room_id: str) -> list[str]:
        """Ids of the events in the room's history, oldest first."""
        room = await self.row(room_id)
        rows = await self.sql(
            "SELECT event_id FROM events WHERE room = %s AND anchor IS NOT NULL ORDER BY anchor, rank", room.number
        )
        return [row[0] for row in rows]

    def event_items(self, room_id: str) -> list[EventItem]:
        """What was published of a room's timeline."""
        return [one.item for one in self.published if isinstance(one.item, EventItem) and one.item.room_id == room_id]

    async def get_content(self, user_id: str, room_id: str, type: str, state_key: str = "") -> Any:
        return orjson.loads(await self.services.state.get(user_id, room_id, type, state_key))


@asynccontextmanager
async def open_scene(cluster: Cluster) -> AsyncIterator[Scene]:
    """A scene on a database of its own."""
    url = cluster.new_database()
    built = build_database(url, SERVER_NAME)
    scene = Scene(built)
    try:
        yield scene
    finally:
        scene.services.typing.stop()
        await built.close()
        cluster.drop(url)
