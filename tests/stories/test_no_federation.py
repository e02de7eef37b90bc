"""A server whose operator wants no other: nothing of it can be asked from outside, and it asks nobody.

https://spec.matrix.org/v1.19/server-server-api/
"""

from pathlib import Path

import aiohttp

from tests.builders.process import running_server
from tests.conformance.client import MatrixClient, v3

STRANGER = "@stranger:elsewhere.test"
OFF = {"PARLEY_FEDERATION_ENABLED": "false"}


async def test_federation_switched_off(place: Path) -> None:
    """No route of the federation is there, and what would need another server is refused with a reason."""
    async with running_server(place, variables=OFF) as server:
        async with aiohttp.ClientSession() as session:
            for path in (
                "/_matrix/federation/v1/version",
                "/_matrix/key/v2/server",
                "/_matrix/federation/v1/publicRooms",
            ):
                async with session.get(server.url + path) as response:
                    assert (response.status, (await response.json())["errcode"]) == (404, "M_UNRECOGNIZED")
        async with MatrixClient(server.url) as alice, MatrixClient(server.url) as bob:
            await alice.register("alice")
            await bob.register("bob")
            room = await alice.create_room(preset="private_chat", invite=[bob.user_id])
            await bob.join(room)
            refused = await alice.call("POST", v3("rooms", room, "invite"), {"user_id": STRANGER}, expect=403)
            assert refused["errcode"] == "M_FORBIDDEN"
            assert "no other" in refused["error"]
            via = {"via": ["elsewhere.test"]}
            await alice.call("POST", v3("join", "!room:elsewhere.test"), query=via, expect=404)
            await alice.call("POST", v3("knock", "!room:elsewhere.test"), query=via, expect=404)
            await alice.call("POST", v3("join", "#room:elsewhere.test"), expect=404)
            await alice.call("GET", v3("profile", STRANGER), expect=404)
            assert await bob.send(room, "We are fine")
