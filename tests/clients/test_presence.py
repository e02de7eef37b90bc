"""GET and PUT /presence, and `set_presence` of a sync.

https://spec.matrix.org/v1.19/client-server-api/#presence
"""

from typing import Any

import pytest

from tests.clients.conftest import Served
from tests.conformance.client import MatrixClient, v3


def status(client: MatrixClient) -> str:
    return v3("presence", client.user_id, "status")


def people(sync: dict[str, Any]) -> dict[str, str]:
    return {event["sender"]: event["content"]["presence"] for event in sync.get("presence", {}).get("events", [])}


async def together(alice: MatrixClient, bob: MatrixClient) -> str:
    """A room with both."""
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    return room


async def test_set_presence_reaches_others(alice: MatrixClient, bob: MatrixClient) -> None:
    """While they wait; the status goes with it; and whoever asks is told the same."""
    await together(alice, bob)
    since = (await bob.sync(set_presence="offline"))["next_batch"]
    assert await alice.call("PUT", status(alice), {"presence": "unavailable", "status_msg": "out"}) == {}
    told = await bob.sync(since, timeout=30_000, set_presence="offline")
    asked = await bob.call("GET", status(alice))

    [event] = told["presence"]["events"]
    assert (event["type"], event["sender"]) == ("m.presence", alice.user_id)
    for content in (event["content"], asked):
        assert (content["presence"], content["status_msg"], content["currently_active"]) == (
            "unavailable",
            "out",
            False,
        )
        assert 0 <= content["last_active_ago"] < 60_000
    await alice.call("PUT", status(alice), {"presence": "online", "status_msg": None})
    assert "status_msg" not in await bob.call("GET", status(alice))


async def test_a_sync_brings_online_unless_it_says_otherwise(
    served: Served, alice: MatrixClient, bob: MatrixClient
) -> None:
    """`offline` changes nothing, `unavailable` is idle, and without the parameter it is `online`."""
    await together(alice, bob)
    since = (await bob.sync(set_presence="offline"))["next_batch"]
    for parameters, presence in (
        ({"set_presence": "offline"}, "offline"),
        ({"set_presence": "unavailable"}, "unavailable"),
        ({}, "online"),
        ({"set_presence": "online"}, "online"),
    ):
        await alice.sync(**parameters)
        assert (await bob.call("GET", status(alice)))["presence"] == presence
    await served.house.services.presence.tick()
    assert people(await bob.sync(since, set_presence="offline")) == {alice.user_id: "online"}


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({}, "M_MISSING_PARAM"),
        ({"presence": None}, "M_MISSING_PARAM"),
        ({"presence": 1}, "M_BAD_JSON"),
        ({"presence": "busy"}, "M_INVALID_PARAM"),
        ({"presence": "online", "status_msg": 1}, "M_BAD_JSON"),
        ({"presence": "online", "status_msg": "x" * 1_025}, "M_INVALID_PARAM"),
        ({"presence": "online", "status_msg": "a\0b"}, "M_INVALID_PARAM"),
    ],
)
async def test_presence_that_cannot_be(alice: MatrixClient, body: dict[str, Any], errcode: str) -> None:
    answer = await alice.ask("PUT", status(alice), body)
    assert (answer.status, answer.body["errcode"]) == (400, errcode)


async def test_whose_presence_may_be_had(alice: MatrixClient, bob: MatrixClient) -> None:
    """One's own, and that of people in the same room; and nobody sets that of somebody else."""
    assert await alice.call("GET", status(alice)) == {"presence": "offline"}
    for method, path, body, code, errcode in (
        ("GET", status(bob), None, 403, "M_FORBIDDEN"),
        ("GET", v3("presence", "@nobody:nowhere.example", "status"), None, 403, "M_FORBIDDEN"),
        ("GET", v3("presence", "nobody", "status"), None, 400, "M_INVALID_PARAM"),
        ("PUT", status(bob), {"presence": "online"}, 403, "M_FORBIDDEN"),
    ):
        answer = await alice.ask(method, path, body)
        assert (answer.status, answer.body["errcode"]) == (code, errcode)
    answer = await alice.ask("GET", v3("sync"), query={"set_presence": "busy"})
    assert (answer.status, answer.body["errcode"]) == (400, "M_INVALID_PARAM")
    await together(alice, bob)
    assert await alice.call("GET", status(bob)) == {"presence": "offline"}
