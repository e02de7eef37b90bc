"""Two people whose clients sync over WebSockets: plain, over TLS, and behind nginx as the documentation has it.

docs/reference/websocket.md
"""

import asyncio
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.builders.nginx import WEBSOCKET, running_nginx
from tests.builders.node import node
from tests.builders.process import ServerProcess, running_server
from tests.builders.waiting import until
from tests.builders.websocket import Answer, WebSocketClient
from tests.conformance.client import MatrixClient, v3
from tests.stories.test_two_people import TrustingClient, tls_settings

LONG_MS = 60_000


class Place:
    """A running server, and how it is reached."""

    def __init__(self, server: ServerProcess, url: str, context: ssl.SSLContext | None, stack: AsyncExitStack) -> None:
        self.server = server
        self.url = url
        self._context = context
        self._stack = stack

    async def stranger(self) -> MatrixClient:
        client = MatrixClient(self.url) if self._context is None else TrustingClient(self.url, self._context)
        return await self._stack.enter_async_context(client)

    async def user(self, name: str) -> MatrixClient:
        client = await self.stranger()
        await client.register(name)
        return client

    async def socket(self, client: MatrixClient, **how: Any) -> WebSocketClient:
        """Opened with the client's token, and greeted."""
        opened = await WebSocketClient.open(self.url, client.token, context=self._context, **how)
        socket = await self._stack.enter_async_context(opened)
        assert (await socket.told("hello"))["device_id"] == client.device_id
        return socket


@pytest.fixture(params=["plain", "tls", "nginx"])
async def way(request: pytest.FixtureRequest, place: Path) -> AsyncIterator[Place]:
    """A server of its own, reached in one of three ways."""
    async with AsyncExitStack() as stack:
        if request.param == "plain":
            server = await stack.enter_async_context(running_server(place))
            yield Place(server, server.url, None, stack)
        elif request.param == "tls":
            options, context = tls_settings(place)
            server = await stack.enter_async_context(running_server(place, **options))
            yield Place(server, server.url, context, stack)
        else:
            behind = {"PARLEY_HTTP_TRUSTED_PROXIES": "loopback"}
            server = await stack.enter_async_context(running_server(place, variables=behind))
            authority, context = trustme.CA(), ssl.create_default_context()
            authority.configure_trust(context)
            url = await stack.enter_async_context(running_nginx(place / "nginx", server.port, authority))
            yield Place(server, url, context, stack)


def said(answer: Answer, room: str) -> list[str]:
    assert answer.status == 200, answer
    events = answer.body.get("rooms", {}).get("join", {}).get(room, {}).get("timeline", {}).get("events", [])
    return [event["content"]["body"] for event in events if event["type"] == "m.room.message"]


def message(room: str, txn: str, body: str) -> dict[str, Any]:
    path = v3("rooms", room, "send", "m.room.message", txn)
    return {"method": "PUT", "path": path, "body": {"msgtype": "m.text", "body": body}}


async def test_a_day_on_websockets(way: Place) -> None:
    """They talk, one gets a new token in mid-sync, the server is restarted, one logs out elsewhere."""
    alice, bob = await way.user("alice"), await way.user("bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    since = {one.user_id: (await one.sync())["next_batch"] for one in (alice, bob)}
    mine, theirs = await way.socket(alice), await way.socket(bob, browser=True)

    async def hears(client: MatrixClient, socket: WebSocketClient, id: str) -> list[str]:
        answer = await socket.answer(id)
        since[client.user_id] = answer.body["next_batch"]
        return said(answer, room)

    async def listens(client: MatrixClient, socket: WebSocketClient) -> str:
        # Who comes and goes is another story: it would answer whenever it likes.
        silent = {"presence": {"types": []}}
        return await socket.begin(sync={"since": since[client.user_id], "timeout": LONG_MS, "filter": silent})

    # They talk.
    for number, (speaker, words) in enumerate([(mine, "Hey Bob"), (theirs, "Hey Alice"), (mine, "x" * 30_000)]):
        ids = [await listens(alice, mine), await listens(bob, theirs)]
        assert (await speaker.ask(request=message(room, f"t{number}", words))).status == 200
        assert await hears(alice, mine, ids[0]) == await hears(bob, theirs, ids[1]) == [words]

    # Bob's device logs in again in the middle of its sync, as it would refresh its token.
    id = await listens(bob, theirs)
    await bob.login("bob", device_id=bob.device_id)
    ended = await theirs.answer(id)
    assert (ended.status, ended.body["soft_logout"]) == (401, True)
    assert (await theirs.ask(auth={"token": bob.token})).status == 200
    id = await listens(bob, theirs)
    await mine.ask(request=message(room, "t3", "Are you there?"))
    assert await hears(bob, theirs, id) == ["Are you there?"]

    # The server is restarted while both wait, and Alice does not know whether her message was taken.
    await listens(alice, mine), await listens(bob, theirs)
    way.server.signal(signal.SIGTERM)
    for socket in (mine, theirs):
        assert (await socket.told("bye"))["retry_ms"] >= 1_000
        assert (await socket.closed()).code == 1001
    assert await way.server.ended() == 0
    way.server.check_log()
    await way.server.start()
    mine, theirs = await way.socket(alice), await way.socket(bob)
    assert (await mine.ask(request=message(room, "t3", "Are you there?"))).status == 200
    assert (await mine.ask(request=message(room, "t4", "Back again"))).status == 200
    assert await hears(alice, mine, await listens(alice, mine)) == ["Are you there?", "Back again"]
    assert await hears(bob, theirs, await listens(bob, theirs)) == ["Back again"]

    # Bob logs out everywhere from another device; Alice is not touched by it.
    await listens(bob, theirs)
    other = await way.stranger()
    await other.login("bob")
    await other.call("POST", v3("logout", "all"))
    assert (await theirs.closed()).code == 4401
    assert (await mine.ask(request=message(room, "t5", "Bye"))).status == 200


async def test_a_stalled_reader_disturbs_nobody(way: Place) -> None:
    """Somebody does not read megabytes; others are served, and they are told it all when they come back."""
    alice, bob = await way.user("alice"), await way.user("bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    since = (await alice.sync())["next_batch"]
    stalled, quick = await way.socket(alice, buffer=65_536), await way.socket(bob)
    words = [f"{number:02}" + "x" * 50_000 for number in range(60)]
    for number, text in enumerate(words):
        assert (await quick.ask(request=message(room, f"t{number}", text))).status == 200
    wanted = {"since": since, "timeout": 0, "filter": {"room": {"timeline": {"limit": 100}}}}
    await stalled.begin("all", sync=wanted)
    for number in range(10):
        assert (await quick.ask(request=message(room, f"u{number}", "still here"))).status == 200
    assert said(await stalled.answer("all"), room)[: len(words)] == words


@pytest.mark.parametrize(("language", "file"), [("python", "live.py"), ("javascript", "live.mjs")])
async def test_the_examples_of_the_documentation(
    server: ServerProcess, tmp_path: Path, language: str, file: str
) -> None:
    """Each says its word, hears others, and comes back by itself after a restart."""
    (text,) = re.findall(rf"^```{language}\n(.*?)^```", WEBSOCKET.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / file).write_text(text)
    async with MatrixClient(server.url) as alice:
        await alice.register(f"reader-of-{language}")
        room = await alice.create_room(preset="public_chat")
        command = sys.executable if language == "python" else node()
        output = tmp_path / "output"
        with output.open("wb") as out:
            example = await asyncio.create_subprocess_exec(
                command, str(tmp_path / file), server.url, alice.token, room, stdout=out, stderr=subprocess.STDOUT
            )
        try:
            await until(lambda: "Hello from" in output.read_text() or example.returncode is not None)
            await alice.send(room, "before")
            await until(lambda: "before" in output.read_text() or example.returncode is not None)
            assert await server.stop() == 0
            server.check_log()
            await server.start()
            alice.base_url = server.url
            await alice.send(room, "after")
            await alice.send(room, "goodbye")
            assert await asyncio.wait_for(example.wait(), 60) == 0, output.read_text()
        finally:
            if example.returncode is None:
                example.kill()
                await example.wait()
        heard = [line for line in output.read_text().splitlines() if line in ("before", "after", "goodbye")]
        assert heard == ["before", "after", "goodbye"], output.read_text()
        assert sum(line.startswith("Hello from") for line in output.read_text().splitlines()) == 1
