"""Jumping to a date. https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event"""

import pytest

from homeserver.services.rooms.timestamps import Timestamps
from tests.clients.conftest import Served
from tests.clients.test_relations import together, v1
from tests.conformance.client import MatrixClient, v3


async def times(client: MatrixClient, room: str) -> list[tuple[int, str]]:
    """All events that one sees, oldest first."""
    page = await client.messages(room, dir="f", limit=100)
    return sorted((event["origin_server_ts"], event["event_id"]) for event in page["chunk"])


async def test_the_closest_event(alice: MatrixClient) -> None:
    """At every event, just beside it, and beyond both ends."""
    room = await alice.create_room()
    for number in range(3):
        await alice.send(room, f"{number}")
    known = await times(alice, room)
    path = v1("rooms", room, "timestamp_to_event")
    for moment in sorted({ts + by for ts, _ in known for by in (-1, 0, 1)}):
        for direction in "bf":
            beside = [ts for ts, _ in known if (ts <= moment if direction == "b" else ts >= moment)]
            answer = await alice.ask("GET", path, query={"ts": moment, "dir": direction})
            if not beside:
                assert (answer.status, answer.body["errcode"]) == (404, "M_NOT_FOUND")
                continue
            closest = max(beside) if direction == "b" else min(beside)
            assert answer.body["origin_server_ts"] == closest
            assert (closest, answer.body["event_id"]) in known


async def test_hidden_events_are_not_found(alice: MatrixClient, bob: MatrixClient) -> None:
    """What was said before one came, where that is hidden, and after one left."""
    state = [{"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}]
    room = await alice.create_room(preset="public_chat", initial_state=state)
    hidden = await alice.send(room, "hidden")
    await bob.join(room)
    await alice.send(room, "seen")
    path = v1("rooms", room, "timestamp_to_event")
    [ts] = [ts for ts, event in await times(alice, room) if event == hidden]
    first = await bob.call("GET", path, query={"ts": ts, "dir": "f"})
    own = await bob.call("GET", v3("rooms", room, "event", first["event_id"]))
    assert own["state_key"] == bob.user_id
    await bob.leave(room)
    left = await bob.call("GET", path, query={"ts": 2**52, "dir": "b"})
    await alice.send(room, "later")
    assert await bob.call("GET", path, query={"ts": 2**52, "dir": "b"}) == left


async def test_dates_that_cannot_be_asked_for(alice: MatrixClient, bob: MatrixClient) -> None:
    """Missing or wrong parameters, and rooms where one is not."""
    room = await alice.create_room()
    path = v1("rooms", room, "timestamp_to_event")
    for query, errcode in (
        ({"dir": "f"}, "M_MISSING_PARAM"),
        ({"ts": 1}, "M_MISSING_PARAM"),
        ({"ts": "now", "dir": "f"}, "M_INVALID_PARAM"),
        ({"ts": 1, "dir": "x"}, "M_INVALID_PARAM"),
    ):
        assert (await alice.call("GET", path, query=query, expect=400))["errcode"] == errcode
    body = await bob.call("GET", path, query={"ts": 1, "dir": "f"}, expect=403)
    assert body["errcode"] == "M_FORBIDDEN"


class OtherServers:
    """Implements `MissingHistory`: closes the gap, and notes what it was asked."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self.asked: list[tuple[int, bool]] = []

    async def fetch_near(self, room_id: str, ts: int, backwards: bool) -> bool:
        self.asked.append((ts, backwards))
        await gap(self._served, "UPDATE events SET gap_before = false, origin_server_ts = origin_server_ts - 500")
        return True


async def gap(served: Served, sql: str) -> None:
    await served.house.database.write(lambda store: store.transaction.text(f"{sql} WHERE type = 'org.example.gap'"))


@pytest.mark.parametrize("backwards", [True, False])
async def test_others_are_asked_near_a_gap(
    served: Served, alice: MatrixClient, bob: MatrixClient, backwards: bool
) -> None:
    """Only where events are missing between the moment and what was found."""
    room = await together(alice, bob)
    await alice.send(room, "before")
    event_id = await alice.send(room, {}, "org.example.gap")
    ts = max(await times(alice, room))[0] + 10000 - 600
    await gap(served, "UPDATE events SET gap_before = true, origin_server_ts = origin_server_ts + 10000")
    others = OtherServers(served)
    service = Timestamps(served.house.database, others)

    await service.closest(alice.user_id, room, 0, False)
    assert others.asked == []
    found, at = await service.closest(alice.user_id, room, ts, backwards)
    assert others.asked == [(ts, backwards)]
    assert (found == event_id) == (not backwards)
    assert at <= ts if backwards else at == ts + 100
    await service.closest(alice.user_id, room, ts, backwards)
    assert len(others.asked) == 1
