"""Another server that asks this one about a room, and checks what it is told as a receiver would."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from homeserver.domain.canonical import parse_json
from homeserver.domain.event import Event, read_event
from homeserver.domain.hashing import check_content_hash, event_id
from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.services.rooms.remote.serving import Serving
from homeserver.services.rooms.remote.serving_state import ServingState
from tests.builders.cluster import SERVER_NAME
from tests.services.rooms.scene import OTHER_SERVER, Scene
from tests.services.rooms.wire import assert_intact


class Asking:
    """Asks as `server`. Every event of an answer must be fit to be received; redacted ones are told apart."""

    def __init__(self, scene: Scene, room_id: str, server: str = OTHER_SERVER) -> None:
        self._scene = scene
        self._room_id = room_id
        self.server = server
        self._serving = Serving(scene.database, scene.clock, SERVER_NAME)
        self._state = ServingState(scene.database)
        # Ids of events that came without all their content.
        self.redacted: set[str] = set()

    async def event(self, event_id: str) -> Event:
        [event] = await self._transaction(await self._serving.event(self.server, event_id))
        return event

    async def backfill(self, latest: Sequence[str], limit: int = 100) -> list[Event]:
        return await self._transaction(await self._serving.backfill(self.server, self._room_id, latest, limit))

    async def missing(
        self, latest: Sequence[str], earliest: Sequence[str] = (), limit: int = 100, min_depth: int = 0
    ) -> list[Event]:
        answer = _parse(
            await self._serving.missing_events(self.server, self._room_id, latest, earliest, limit, min_depth)
        )
        assert answer.keys() == {"events"}
        return await self._events(answer["events"])

    async def event_auth(self, event_id: str) -> list[Event]:
        answer = _parse(await self._state.event_auth(self.server, self._room_id, event_id))
        assert answer.keys() == {"auth_chain"}
        return await self._events(answer["auth_chain"])

    async def state(self, event_id: str) -> tuple[list[Event], list[Event]]:
        """The state and its auth chain."""
        answer = _parse(await self._state.state(self.server, self._room_id, event_id))
        assert answer.keys() == {"auth_chain", "pdus"}
        return await self._events(answer["pdus"]), await self._events(answer["auth_chain"])

    async def state_ids(self, event_id: str) -> tuple[list[str], list[str]]:
        answer = _parse(await self._state.state_ids(self.server, self._room_id, event_id))
        assert answer.keys() == {"auth_chain_ids", "pdu_ids"}
        return answer["pdu_ids"], answer["auth_chain_ids"]

    async def closest(self, ts: int, *, forwards: bool) -> str:
        """The id of the event closest to a time."""
        answer = _parse(await self._serving.closest_event(self.server, self._room_id, ts, forwards=forwards))
        event_id: str = answer["event_id"]
        event = await self._scene.event(self._room_id, event_id)
        assert answer == {"event_id": event_id, "origin_server_ts": event.origin_server_ts}
        return event_id

    async def _transaction(self, body: bytes) -> list[Event]:
        answer = _parse(body)
        assert answer.keys() == {"origin", "origin_server_ts", "pdus"}
        assert answer["origin"] == SERVER_NAME and answer["origin_server_ts"] == self._scene.clock.ms
        return await self._events(answer["pdus"])

    async def _events(self, pdus: Iterable[Mapping[str, Any]]) -> list[Event]:
        version = ROOM_VERSIONS[(await self._scene.row(self._room_id)).version]
        events = [read_event(version, event_id(version, pdu), pdu, self._room_id) for pdu in pdus]
        for event in events:
            whole = check_content_hash(event.pdu)
            assert_intact(event, self._scene.keys, redacted=not whole)
            if not whole:
                self.redacted.add(event.event_id)
        return events


def ids(events: Iterable[Event]) -> list[str]:
    return [event.event_id for event in events]


def _parse(body: bytes) -> dict[str, Any]:
    answer: dict[str, Any] = parse_json(body, strict=False)
    return answer
