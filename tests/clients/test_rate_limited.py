"""Every endpoint that the spec has rate-limited is, by the row that it declares, and says so as the spec wants it."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from clients.limits import LIMITS, SCOPES
from homeserver.domain.errors import LimitExceeded
from homeserver.http.routing import Route
from homeserver.telemetry.metrics import REGISTRY
from tests.builders.house import TestHouse
from tests.clients.conftest import Served, serve
from tests.conformance.client import Answer, MatrixClient
from tests.conformance.facts import spec_facts
from tests.fuzz.routes import declared_routes

V3 = "/_matrix/client/v3"
GENERAL = ("general", "general_address")
# Of what the spec has rate-limited: that which costs next to nothing and tells the asker about itself only.
GENERAL_IS_ENOUGH = {
    f"GET {V3}/capabilities",
    f"GET {V3}/login",
    f"GET {V3}/account/whoami",
    f"GET {V3}/rooms/{{}}/aliases",
}
# Tested apart: what only guests meet, below, and rooms of other servers, in test_limited_rooms.py.
ELSEWHERE = ("guests", "joins_remote")


def nameless(path: str) -> str:
    return re.sub(r"\{[^/]+?\}", "{}", path)


def limited_by_the_spec() -> dict[str, Route]:
    """The routes that we serve, of those that the spec has rate-limited."""
    ours = {f"{route.method} {nameless(route.path)}": route for route in declared_routes()}
    names = {
        f"{one.method} {nameless(one.path)}"
        for one in spec_facts().endpoints()
        if one.api == "client-server" and one.rate_limited
    }
    return {name: ours[name] for name in sorted(names & ours.keys())}


def test_every_endpoint_that_the_spec_has_limited_names_a_row() -> None:
    """A new endpoint that is missing here needs `limit=` at its door: see clients/limits.py for the rows."""
    routes = limited_by_the_spec()
    assert not [name for name, route in routes.items() if not route.limits], "these have no limit at all"
    merely_general = {name for name, route in routes.items() if set(route.limits) <= {*GENERAL, "guests"}}
    assert merely_general - GENERAL_IS_ENOUGH == set(), "these need a row of their own, or a reason in this test"
    assert GENERAL_IS_ENOUGH - merely_general == set(), "these have a row by now, or are not served"


def test_every_route_has_a_limit() -> None:
    """Nothing at the client door may be asked without end: what has no row of its own has a general one."""
    without = {f"{route.method} {route.path}" for route in declared_routes() if not route.limits}
    assert without == set()


def test_every_row_limits_something() -> None:
    """A row that no route declares would be a promise that nobody keeps."""
    declared = {name for route in declared_routes() for name in route.limits}
    assert declared == {row.name for row in LIMITS}


@pytest.fixture
async def slow(house: TestHouse) -> AsyncIterator[Served]:
    """A server that hardly ever gives a token back."""
    rows = {row.name: {"per_second": 0.001} for row in LIMITS}
    async with serve(house, limits=True, rows=rows) as served:
        yield served


def drain(served: Served, name: str, subject: str) -> None:
    """Uses up a row for one subject."""
    assert served.limits is not None
    with pytest.raises(LimitExceeded):
        while True:
            served.limits.take(name, subject)


def refused(answer: Answer, row: str) -> None:
    """The whole of what a 429 has to be."""
    assert answer.status == 429, (row, answer)
    assert answer.body["errcode"] == "M_LIMIT_EXCEEDED"
    assert answer.body["io.parley.limit"] == row
    assert answer.body["retry_after_ms"] > 0
    assert int(answer.headers["Retry-After"]) * 1000 >= answer.body["retry_after_ms"]


def refusals(row: str) -> float:
    return REGISTRY.get_sample_value("parley_limited_total", {"limit": row}) or 0.0


async def test_whoever_asks_too_often_is_told_which_limit_it_was(slow: Served) -> None:
    """Each route whose first row is used up answers 429 with the name of the row and the time to wait."""
    alice, stranger = await slow.user("alice"), await slow.stranger()
    before = {row.name: refusals(row.name) for row in LIMITS}
    # Whose subject the door knows, the general ones last: a request without a good token takes from them.
    by_the_door = [row for row in LIMITS if row.scope in ("user", "address")]
    for row in by_the_door:
        drain(slow, row.name, alice.user_id if row.scope == "user" else "127.0.0.1")
    asked = dict.fromkeys(before, 0)
    for route in declared_routes():
        name = route.limits[0]
        client = alice if SCOPES[name] == "user" or route.path.startswith(f"{V3}/account/") else stranger
        path = re.sub(r"\{.+?\}", "x", route.path)
        if "websocket" not in path:
            refused(await client.ask(route.method, path), name)
            asked[name] += 1
    assert {name: refusals(name) - count for name, count in before.items()} == asked


def body_of(row: str, alice: MatrixClient, bob: MatrixClient) -> dict[str, Any]:
    if row == "registration":
        return {"username": "carol", "password": "correct horse", "auth": {"type": "m.login.dummy"}}
    if row == "login_failures":
        return {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": alice.user_id},
            "password": "guessed",
            "new_password": "mine now, all of it",
            "auth": {"type": "m.login.password", "password": "guessed"},
        }
    return {"user_id": bob.user_id, "invite": [bob.user_id], "msgtype": "m.text", "body": "Hi"}


FURTHER = [(route, row) for route in declared_routes() for row in route.limits[1:] if row not in ELSEWHERE]


@pytest.mark.parametrize(("route", "row"), FURTHER, ids=lambda one: one if isinstance(one, str) else one.label)
async def test_the_further_rows_of_an_endpoint(slow: Served, route: Route, row: str) -> None:
    """What is declared beside the first row stops the endpoint too."""
    alice, bob = await slow.user("alice"), await slow.user("bob")
    room = await alice.create_room()
    subjects = {"user": alice.user_id, "account": alice.user_id, "target": bob.user_id, "room": room}
    drain(slow, row, subjects.get(SCOPES[row], "127.0.0.1"))
    path = re.sub(r"\{.+?\}", "x", route.path.replace("{room_id}", room))
    refused(await alice.ask(route.method, path, body_of(row, alice, bob)), row)


async def test_guests_may_do_little(slow: Served) -> None:
    """Whatever a guest does beside reading takes from one row more."""
    guest = await slow.guest()
    drain(slow, "guests", guest.user_id)
    refused(await guest.ask("PUT", f"{V3}/profile/{guest.user_id}/displayname", {"displayname": "A"}), "guests")
    await guest.sync()


async def test_retry_after_is_true(house: TestHouse) -> None:
    """Whoever waits as long as they were told is let in."""
    rows = {"profile": {"per_second": 20.0, "burst": 2}}
    async with serve(house, limits=True, rows=rows) as served:
        alice = await served.user("alice")
        path = f"{V3}/profile/{alice.user_id}/displayname"
        answer = await alice.ask("PUT", path, {"displayname": "A"})
        while answer.status == 200:
            answer = await alice.ask("PUT", path, {"displayname": "A"})
        refused(answer, "profile")
        assert answer.body["retry_after_ms"] <= 50
        assert answer.headers["Retry-After"] == "1"


async def test_one_room_is_not_flooded_by_many(house: TestHouse) -> None:
    """What all say together in one room is limited; other rooms are free, and who clears up is not stopped."""
    rows = {"messages_room": {"per_second": 0.001, "burst": 5}}
    async with serve(house, limits=True, rows=rows) as served:
        alice, bob = await served.user("alice"), await served.user("bob")
        room = await alice.create_room(preset="public_chat")
        await bob.join(room)
        flood = [await bob.send(room, "spam", txn=str(number)) for number in range(4)]
        await alice.send(room, "Stop that")
        for client in (alice, bob):
            path = f"{V3}/rooms/{room}/send/m.room.message/more"
            refused(await client.ask("PUT", path, {"msgtype": "m.text", "body": "spam"}), "messages_room")
        await alice.call("PUT", f"{V3}/rooms/{room}/redact/{flood[0]}/t1", {})
        await alice.call("POST", f"{V3}/rooms/{room}/kick", {"user_id": bob.user_id})
        await alice.call("PUT", f"{V3}/rooms/{room}/state/m.room.topic/", {"topic": "Closed"})
        await alice.send(await alice.create_room(), "Here it is quiet")


async def test_a_refusal_takes_from_no_row(house: TestHouse) -> None:
    """What the room's limit refuses is not counted against the user: who comes again in time is not refused by that."""
    scarce = {"per_second": 0.001}
    rows = {
        "messages": {**scarce, "burst": 2},
        "messages_room": {**scarce, "burst": 1},
        "invites": {**scarce, "burst": 1},
    }
    async with serve(house, limits=True, rows=rows) as served:
        alice, bob = await served.user("alice"), await served.user("bob")
        rooms = [await alice.create_room() for _ in range(3)]
        hi = {"msgtype": "m.text", "body": "Hi"}
        await alice.send(rooms[0], "Hi")
        for number in range(5):
            path = f"{V3}/rooms/{rooms[0]}/send/m.room.message/{number}"
            refused(await alice.ask("PUT", path, hi), "messages_room")
        await alice.send(rooms[1], "Hi")
        refused(await alice.ask("PUT", f"{V3}/rooms/{rooms[2]}/send/m.room.message/x", hi), "messages")
        drain(served, "invites_target", bob.user_id)
        for _ in range(3):
            refused(await alice.ask("POST", f"{V3}/createRoom", {"invite": [bob.user_id]}), "invites_target")
            refused(
                await alice.ask("POST", f"{V3}/rooms/{rooms[0]}/invite", {"user_id": bob.user_id}), "invites_target"
            )
        await alice.create_room(invite=["@carol:test.example"])


async def test_strangers_do_not_use_up_what_is_a_rooms(house: TestHouse) -> None:
    """Whoever may not speak or invite in a room anyway takes nothing from those who may."""
    rows = {name: {"per_second": 0.001, "burst": 2} for name in ("messages_room", "invites_room", "invites_target")}
    async with serve(house, limits=True, rows=rows) as served:
        alice, bob, mallory = [await served.user(name) for name in ("alice", "bob", "mallory")]
        room = await alice.create_room()
        for number in range(10):
            path = f"{V3}/rooms/{room}/send/m.room.message/{number}"
            await mallory.call("PUT", path, {"msgtype": "m.text", "body": "spam"}, expect=403)
            await mallory.call("POST", f"{V3}/rooms/{room}/invite", {"user_id": bob.user_id}, expect=403)
        await alice.send(room, "Welcome")
        await alice.invite(room, bob.user_id)


async def test_guesses_at_once_are_no_more_than_guesses_in_turn(house: TestHouse) -> None:
    """A password that is being tried counts as wrong until it is known: many connections win nothing."""
    rows = {"login_failures": {"per_second": 0.001, "burst": 3}, "login_address": None}
    async with serve(house, limits=True, rows=rows) as served:
        alice, stranger = await served.user("alice"), await served.stranger()
        guess = body_of("login_failures", alice, alice)
        answers = await asyncio.gather(*(stranger.ask("POST", f"{V3}/login", guess) for _ in range(12)))
        assert sorted(answer.status for answer in answers) == [403] * 3 + [429] * 9
        refused(answers[[answer.status for answer in answers].index(429)], "login_failures")


async def test_limits_are_off_in_one_setting(house: TestHouse) -> None:
    """`limits.enabled: false`: nobody is refused, and what stands in `overrides` does not matter."""
    async with serve(house, limits=False, rows={"profile": {"per_second": 0.001, "burst": 1}}) as served:
        alice = await served.user("alice")
        for _ in range(5):
            await alice.call("PUT", f"{V3}/profile/{alice.user_id}/displayname", {"displayname": "A"})
