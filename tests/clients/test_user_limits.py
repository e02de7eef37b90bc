"""Administrators give single users limits of their own: wider, narrower or none, and they outlast the process."""

from typing import Any
from urllib.parse import quote

import pytest

from homeserver.domain.errors import BadRequest
from homeserver.services.accounts.user_limits import Rate, UserLimits
from tests.builders.house import TestHouse
from tests.clients.conftest import Served, serve
from tests.conformance.client import MatrixClient

V3 = "/_matrix/client/v3"
ROWS = {name: {"per_second": 0.001, "burst": 2} for name in ("messages", "profile", "state")}


def path_of(user_id: str) -> str:
    return f"/_synapse/admin/v1/users/{quote(user_id, safe='')}/override_ratelimit"


async def sent(client: MatrixClient, room: str, most: int = 20) -> int:
    """How many messages pass until one is refused."""
    for number in range(most):
        path = f"{V3}/rooms/{room}/send/m.room.message/{client.user_id}{number}"
        answer = await client.ask("PUT", path, {"msgtype": "m.text", "body": "Hi"})
        if answer.status == 429:
            assert answer.body["io.parley.limit"] == "messages"
            return number
    return most


async def test_a_bot_gets_a_wider_limit(house: TestHouse) -> None:
    """In Synapse's words: so many messages at once, and only for this user; taken away, the table's hold again."""
    async with serve(house, limits=True, rows=ROWS) as served:
        root, bot, alice = await served.admin("root"), await served.user("bot"), await served.user("alice")
        room = await bot.create_room(preset="public_chat")
        await alice.join(room)
        wanted = {"messages_per_second": 1, "burst_count": 10}
        assert await root.call("GET", path_of(bot.user_id)) == {}
        told = await root.call("POST", path_of(bot.user_id), wanted)
        assert told == wanted | {"io.parley.limits": {"messages": {"per_second": 1, "burst": 10}}}
        assert await root.call("GET", path_of(bot.user_id)) == told
        assert await sent(bot, room) >= 10
        assert await sent(alice, room) == 2
        assert await root.call("DELETE", path_of(bot.user_id)) == {}
        assert await root.call("GET", path_of(bot.user_id)) == {}
        assert await sent(bot, room, 30) == 2


@pytest.mark.parametrize("body", [{}, {"messages_per_second": 0, "burst_count": 0}, {"io.parley.limits": {"*": None}}])
async def test_nought_is_no_limit(house: TestHouse, body: dict[str, Any]) -> None:
    """Then nothing that counts by user stops this user."""
    async with serve(house, limits=True, rows=ROWS) as served:
        root, bot = await served.admin("root"), await served.user("bot")
        room = await bot.create_room()
        told = await root.call("POST", path_of(bot.user_id), body)
        assert told == {"messages_per_second": 0, "burst_count": 0, "io.parley.limits": {"*": None}}
        assert await sent(bot, room) == 20
        for number in range(5):
            name = {"displayname": str(number)}
            await bot.call("PUT", f"{V3}/profile/{quote(bot.user_id)}/displayname", name)


async def test_any_row_that_counts_by_user(house: TestHouse) -> None:
    """In our own words, as in the settings; what is not named stays."""
    async with serve(house, limits=True, rows=ROWS) as served:
        root, bot = await served.admin("root"), await served.user("bot")
        room = await bot.create_room()
        more = {"profile": None, "state": {"per_second": 0.001, "burst": 3}}
        assert await root.call("POST", path_of(bot.user_id), {"io.parley.limits": more}) == {"io.parley.limits": more}
        assert await sent(bot, room) == 2
        for number in range(5):
            name = {"displayname": str(number)}
            await bot.call("PUT", f"{V3}/profile/{quote(bot.user_id)}/displayname", name)
        for number in range(3):
            await bot.call("PUT", f"{V3}/rooms/{room}/state/m.room.topic/", {"topic": str(number)})
        refused = await bot.call("PUT", f"{V3}/rooms/{room}/state/m.room.topic/", {"topic": "x"}, expect=429)
        assert refused["io.parley.limit"] == "state"


async def test_it_outlasts_the_process(house: TestHouse) -> None:
    """A server that starts knows what was set before."""
    async with serve(house, limits=True, rows=ROWS) as served:
        root, bot = await served.admin("root"), await served.user("bot")
        await root.call("POST", path_of(bot.user_id), {"messages_per_second": 2.5, "burst_count": 7})
    again = UserLimits(house.database)
    assert again.of(bot.user_id) is None
    await again.load()
    assert await again.find(bot.user_id) == {"messages": Rate(2.5, 7)}
    of_bot = again.of(bot.user_id)
    assert of_bot is not None and of_bot["messages"] is not None


MISTAKES: tuple[dict[str, Any], ...] = (
    {"messages_per_second": -1},
    {"messages_per_second": "5"},
    {"messages_per_second": True},
    {"messages_per_second": 5, "burst_count": -1},
    {"messages_per_second": 5, "burst_count": 1.5},
    {"messages_per_second": 5, "burst_count": 10**12},
    {"messages_per_second": None},
    {"io.parley.limits": []},
    {"io.parley.limits": {"mesages": None}},
    {"io.parley.limits": {"general_address": None}},
    {"io.parley.limits": {"messages_room": {"per_second": 1}}},
    {"io.parley.limits": {"*": {"per_second": 1}}},
    {"io.parley.limits": {"messages": 5}},
    {"io.parley.limits": {"messages": {"brust": 5}}},
    {"io.parley.limits": {"messages": {"burst": 0}}},
    {"io.parley.limits": {"messages": {"per_second": 0}}},
)


async def test_mistakes_are_told(served: Served) -> None:
    """What makes no sense is refused, and nothing is set."""
    root = await served.admin("root")
    for body in MISTAKES:
        await root.call("POST", path_of(root.user_id), body, expect=400)
    assert await root.call("GET", path_of(root.user_id)) == {}


async def test_only_administrators_and_only_users_of_this_server(served: Served, alice: MatrixClient) -> None:
    """Nobody widens their own limits, and nobody else's can be set."""
    root = await served.admin("root")
    for method in ("GET", "POST", "DELETE"):
        await alice.call(method, path_of(alice.user_id), expect=403)
        for stranger in ("@nobody:test.example", "@alice:elsewhere.example", "nonsense"):
            assert (await root.call(method, path_of(stranger), expect=404))["errcode"] == "M_NOT_FOUND"


async def test_not_for_everybody(house: TestHouse) -> None:
    """There is a bound to how many users may have limits of their own, for they stand in memory."""
    async with serve(house) as served:
        alice, bob = await served.user("alice"), await served.user("bob")
    limits = UserLimits(house.database, max_users=1)
    await limits.set(alice.user_id, {"messages": None})
    with pytest.raises(BadRequest, match="Too many users"):
        await limits.set(bob.user_id, {"messages": None})
    await limits.set(alice.user_id, {"messages": Rate(1, 1)})
    await limits.set(alice.user_id, {})
    await limits.set(bob.user_id, {"messages": None})
