"""A first sync of somebody in many rooms, over HTTP: it goes out as it is read.

https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.services.rooms.create import RoomRequest
from tests.clients.conftest import Served
from tests.conformance.client import MatrixClient, v3


async def test_many_rooms_come_in_chunks_and_few_at_once(served: Served, alice: MatrixClient) -> None:
    """Every room is there once, and what comes later follows from the token; `full_state` is told in the same way."""
    rooms: set[str] = set()
    for count in (2, 55):
        while len(rooms) < count:
            request = RoomRequest(ROOM_VERSIONS["12"], "private_chat")
            rooms.add(await served.house.services.create(alice.user_id, request))
        for query in ({}, {"full_state": "true", "since": (await alice.sync())["next_batch"]}):
            answer = await alice.ask("GET", v3("sync"), query=query)
            assert answer.body["rooms"]["join"].keys() == rooms
            told = answer.body["rooms"]["join"].values()
            assert all(room["timeline"]["events"] + room["state"]["events"] for room in told)
            assert ("Content-Length" in answer.headers) == (count == 2)
            assert (answer.headers.get("Transfer-Encoding") == "chunked") == (count == 55)
        event_id = await alice.send(min(rooms), "news")
        news = await alice.sync(answer.body["next_batch"])
        assert [event["event_id"] for event in news["rooms"]["join"][min(rooms)]["timeline"]["events"]] == [event_id]
