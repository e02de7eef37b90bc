"""Two people of one organisation chat, as their clients see it: one story, told over every kind of listener.

Every answer is checked against the spec by the client. https://spec.matrix.org/v1.19/client-server-api/
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest
import trustme

from tests.builders.process import ServerProcess, free_port, running_server
from tests.builders.waiting import until
from tests.conformance.client import PATIENCE, MatrixClient, v3

HISTORY = 60
TEXT = {"msgtype": "m.text", "body": "Hey"}


class TrustingClient(MatrixClient):
    """Speaks TLS to a server whose certificate `context` trusts."""

    def __init__(self, base_url: str, context: ssl.SSLContext) -> None:
        super().__init__(base_url)
        self._context = context

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._context)
        self._session = aiohttp.ClientSession(connector=connector, timeout=PATIENCE)
        return self


@pytest.fixture(params=["plain", "tls"])
async def two(request: pytest.FixtureRequest, place: Path) -> AsyncIterator[tuple[MatrixClient, MatrixClient]]:
    """Two clients of a running server, over plain HTTP or over TLS; nobody has an account yet."""
    if request.param == "tls":
        options, context = tls_settings(place)
        async with running_server(place, **options) as server:
            assert server.url.startswith("https://")
            async with TrustingClient(server.url, context) as alice, TrustingClient(server.url, context) as bob:
                yield alice, bob
    else:
        async with running_server(place) as server:
            assert server.url.startswith("http://")
            async with MatrixClient(server.url) as alice, MatrixClient(server.url) as bob:
                yield alice, bob


def tls_settings(place: Path) -> tuple[dict[str, Any], ssl.SSLContext]:
    """Options of a server with a TLS listener by a settings file, and what trusts it."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    certificate.private_key_pem.write_to_path(place / "key.pem")
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    (place / "certificate.pem").write_bytes(chain)
    settings = place / "parley.yaml"
    settings.write_text(
        "server_name: localhost\n"
        "listeners:\n"
        f"  - address: 127.0.0.1:{free_port()}\n"
        "    tls:\n"
        "      certificate: certificate.pem\n"
        "      key: key.pem\n"
    )
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return {"server_name": None, "listen": (), "arguments": ("--config", str(settings))}, context


async def test_two_people_chat(two: tuple[MatrixClient, MatrixClient]) -> None:
    """They register, meet in a room, talk, read back what was said, and part."""
    alice, bob = two
    await alice.register("alice")
    await bob.register("bob")
    room = await alice.create_room(name="The garden", preset="private_chat", invite=[bob.user_id])
    since = await accept_invitation(bob, room)
    since = await hear(alice, bob, room, since)
    await see_typing_and_receipts(alice, bob, room, since)
    await look_around(alice, bob, room)
    await page_back(alice, bob, room)
    await take_back(alice, bob, room)
    await part(alice, bob, room)


async def accept_invitation(bob: MatrixClient, room: str) -> str:
    """Bob learns of the room by his first sync and joins it. Returns his token."""
    first = await bob.sync()
    state = first["rooms"]["invite"][room]["invite_state"]["events"]
    assert {"type": "m.room.name", "content": {"name": "The garden"}}.items() <= named(state, "m.room.name").items()
    assert await bob.join(room) == room
    joined = await bob.sync(first["next_batch"])
    assert room in joined["rooms"]["join"]
    assert room not in joined["rooms"].get("invite", {})
    after: str = joined["next_batch"]
    return after


async def hear(alice: MatrixClient, bob: MatrixClient, room: str, since: str) -> str:
    """What one says the other hears, by long-poll. Returns Bob's token."""
    said = await alice.send(room, "Hello, Bob")
    heard = await bob.sync(since, timeout=30_000)
    timeline = heard["rooms"]["join"][room]["timeline"]
    assert [(event["event_id"], event["content"]["body"]) for event in timeline["events"]] == [(said, "Hello, Bob")]
    assert not timeline["limited"]
    assert heard["rooms"]["join"][room]["unread_notifications"]["notification_count"] == 1
    answered = await bob.send(room, "Hello, Alice", txn="mine")
    assert await bob.send(room, "Hello, Alice", txn="mine") == answered
    own = await bob.sync(heard["next_batch"], timeout=30_000)
    (event,) = own["rooms"]["join"][room]["timeline"]["events"]
    assert event["event_id"] == answered
    assert event["unsigned"]["transaction_id"] == "mine"
    token: str = own["next_batch"]
    return token


async def see_typing_and_receipts(alice: MatrixClient, bob: MatrixClient, room: str, since: str) -> None:
    """Who types and who has read is told to the other, and a receipt clears the count of unread messages."""
    last = await alice.send(room, "Have you read this?")
    await alice.call("PUT", v3("rooms", room, "typing", alice.user_id), {"typing": True, "timeout": 30_000})
    watcher = Ephemerals(bob, room, since)
    await until(lambda: watcher.told("m.typing", {"user_ids": [alice.user_id]}), what="Bob sees Alice type")
    await alice.call("PUT", v3("rooms", room, "typing", alice.user_id), {"typing": False})
    await until(lambda: watcher.told("m.typing", {"user_ids": []}), what="Bob sees Alice type no more")
    other = Ephemerals(alice, room, (await alice.sync())["next_batch"])
    await bob.call("POST", v3("rooms", room, "receipt", "m.read", last))
    await until(lambda: other.read(last, bob.user_id), what="Alice sees that Bob has read")
    counts = (await bob.sync())["rooms"]["join"][room]["unread_notifications"]
    assert counts["notification_count"] == 0


class Ephemerals:
    """What a client is told about a room besides its events, from `since` on."""

    def __init__(self, client: MatrixClient, room: str, since: str) -> None:
        self._client, self._room, self._since = client, room, since

    async def _next(self) -> list[dict[str, Any]]:
        body = await self._client.sync(self._since, timeout=1_000)
        self._since = body["next_batch"]
        events: list[dict[str, Any]]
        events = body.get("rooms", {}).get("join", {}).get(self._room, {}).get("ephemeral", {}).get("events", [])
        return events

    async def told(self, kind: str, content: dict[str, Any]) -> bool:
        return {"type": kind, "content": content} in await self._next()

    async def read(self, event_id: str, reader: str) -> bool:
        events = [event for event in await self._next() if event["type"] == "m.receipt"]
        return any(reader in event["content"].get(event_id, {}).get("m.read", {}) for event in events)


async def look_around(alice: MatrixClient, bob: MatrixClient, room: str) -> None:
    """State, members and single events are there for both."""
    for client in (alice, bob):
        joined = (await client.call("GET", v3("rooms", room, "joined_members")))["joined"]
        assert joined.keys() == {alice.user_id, bob.user_id}
        assert await client.state(room, "m.room.name") == {"name": "The garden"}
        assert named(await client.state(room), "m.room.create")["sender"] == alice.user_id
        members = (await client.call("GET", v3("rooms", room, "members"), query={"membership": "join"}))["chunk"]
        assert {event["state_key"] for event in members} == {alice.user_id, bob.user_id}
    topic = await alice.set_state(room, "m.room.topic", {"topic": "Roses"})
    assert (await bob.call("GET", v3("rooms", room, "event", topic)))["content"]["topic"] == "Roses"
    await bob.call("PUT", v3("rooms", room, "state", "m.room.topic"), {"topic": "Weeds"}, expect=403)


async def page_back(alice: MatrixClient, bob: MatrixClient, room: str) -> None:
    """Everything that was said is found again page by page, each thing once, newest first, and the same forwards."""
    said = [await (alice if number % 2 else bob).send(room, f"line {number}") for number in range(HISTORY)]
    body = await bob.sync()
    timeline = body["rooms"]["join"][room]["timeline"]
    assert timeline["limited"]
    shown = [event["event_id"] for event in timeline["events"]]
    older = await pages(bob, room, timeline["prev_batch"], "b")
    everything = list(reversed(older)) + shown
    assert len(everything) == len(set(everything))
    assert everything[-HISTORY:] == said
    first = await bob.call("GET", v3("rooms", room, "event", everything[0]))
    assert first["type"] == "m.room.create"
    assert await pages(bob, room, None, "f") == everything


async def pages(client: MatrixClient, room: str, start: str | None, way: str) -> list[str]:
    """The ids of all pages from `start` until there is no more."""
    page = await client.messages(room, start, dir=way, limit=25)
    found = [event["event_id"] for event in page["chunk"]]
    while "end" in page:
        page = await client.messages(room, page["end"], dir=way, limit=25)
        found += [event["event_id"] for event in page["chunk"]]
    return found


async def take_back(alice: MatrixClient, bob: MatrixClient, room: str) -> None:
    """What is redacted loses its content for both."""
    regretted = await alice.send(room, "I regret this")
    redacted = await alice.call("PUT", v3("rooms", room, "redact", regretted, "r1"), {"reason": "regret"})
    for client in (alice, bob):
        event = await client.call("GET", v3("rooms", room, "event", regretted))
        assert event["content"] == {}
        assert event["unsigned"]["redacted_because"]["event_id"] == redacted["event_id"]


async def part(alice: MatrixClient, bob: MatrixClient, room: str) -> None:
    """Leaving, being kicked and being banned each close the room, and an invitation opens it only to who is not."""
    await bob.leave(room)
    await bob.call("POST", v3("join", room), expect=403)
    await alice.invite(room, bob.user_id)
    await bob.join(room)
    since = (await bob.sync())["next_batch"]
    await alice.call("POST", v3("rooms", room, "kick"), {"user_id": bob.user_id, "reason": "noise"})
    told = await bob.sync(since, timeout=30_000)
    kick = named(told["rooms"]["leave"][room]["timeline"]["events"], "m.room.member")
    assert (kick["content"]["membership"], kick["content"]["reason"]) == ("leave", "noise")
    await bob.call("PUT", v3("rooms", room, "send", "m.room.message", "late"), TEXT, expect=403)
    await alice.call("POST", v3("rooms", room, "ban"), {"user_id": bob.user_id})
    await alice.call("POST", v3("rooms", room, "invite"), {"user_id": bob.user_id}, expect=403)
    await alice.call("POST", v3("rooms", room, "unban"), {"user_id": bob.user_id})
    await alice.invite(room, bob.user_id)
    await bob.join(room)
    joined = (await bob.call("GET", v3("joined_rooms")))["joined_rooms"]
    assert joined == [room]


def named(events: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The last event of a type."""
    return [event for event in events if event["type"] == kind][-1]


async def test_two_listeners_with_resources_of_their_own(place: Path) -> None:
    """A listener for metrics alone serves no client, and one for clients alone shows no metrics."""
    async with two_listeners(place) as server:
        clients, metrics = server.urls
        async with MatrixClient(clients) as alice:
            await alice.register("alice")
            await alice.call("GET", "/metrics", expect=404)
        async with aiohttp.ClientSession() as session:
            async with session.get(metrics + "/metrics") as response:
                assert response.status == 200
                assert "parley_write_transactions_total" in await response.text()
            for path in ("/_matrix/client/versions", "/_matrix/client/v3/sync", "/_synapse/admin/v1/register"):
                async with session.get(metrics + path) as response:
                    assert (response.status, (await response.json())["errcode"]) == (404, "M_UNRECOGNIZED")
            async with session.get(metrics + "/health") as response:
                assert response.status == 200


@asynccontextmanager
async def two_listeners(place: Path) -> AsyncIterator[ServerProcess]:
    """A server with a listener for clients and one for metrics."""
    settings = place / "parley.yaml"
    settings.write_text(
        "listeners:\n"
        f"  - address: 127.0.0.1:{free_port()}\n"
        "    resources: [client]\n"
        f"  - address: 127.0.0.1:{free_port()}\n"
        "    resources: [metrics]\n"
    )
    options: dict[str, Any] = {"listen": (), "arguments": ("--config", str(settings))}
    async with running_server(place, **options) as server:
        yield server
