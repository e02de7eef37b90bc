"""People who come and go: they join, talk, redact, read, type, leave, log in and out, and sync with tokens old and new.

Each does one thing after the other until told to stop. Nothing may be refused but what is refused on purpose.
"""

import asyncio
import itertools
import random
from collections import Counter
from contextlib import AsyncExitStack

from tests.conformance.client import MatrixClient, v3

PEOPLE = 20
ROOMS = 8
# Requests of one person follow each other after this long on average, in seconds.
PAUSE = 0.2
POLL_MS = 5_000
STRANGERS_PER_SECOND = 10
# What a race between two people may be answered with: not in the room any more, or not there yet.
RACES = (403, 404)


class Churn:
    """`done` counts what was asked, by kind."""

    def __init__(self, url: str, dice: random.Random) -> None:
        self._url = url
        self._dice = dice
        self._rooms: list[str] = []
        self._sent: dict[str, list[str]] = {}
        self._numbers = itertools.count(1)
        self.people: list[MatrixClient] = []
        self.done: Counter[str] = Counter()

    async def begin(self, stack: AsyncExitStack) -> None:
        for number in range(PEOPLE):
            client = await stack.enter_async_context(MatrixClient(self._url))
            await client.register(f"person{number}")
            self.people.append(client)
        for _ in range(ROOMS):
            room = await self.people[0].create_room(preset="public_chat")
            self._rooms.append(room)
            for client in self.people[1:]:
                await client.join(room)

    async def run(self, until: asyncio.Event) -> None:
        """Returns when `until` is set and everybody has finished what they were at."""
        async with asyncio.TaskGroup() as group:
            for client in self.people[1:]:
                group.create_task(self._live(client, until))
                group.create_task(self._listen(client, until))
            group.create_task(self._try_to_register(until))

    async def _live(self, client: MatrixClient, until: asyncio.Event) -> None:
        acts = [self._talk] * 8 + [self._redact, self._read, self._read, self._type, self._come_and_go]
        acts += [self._describe, self._remember]
        while not until.is_set():
            act = self._dice.choice(acts)
            await act(client, self._dice.choice(self._rooms))
            self.done[act.__name__.strip("_")] += 1
            await asyncio.sleep(self._dice.expovariate(1 / PAUSE))

    async def _ask(self, client: MatrixClient, method: str, path: str, body: object = None) -> dict[str, str]:
        answer = await client.ask(method, path, body)
        assert answer.status == 200 or answer.status in RACES, (method, path, answer.status, answer.raw)
        return answer.body if answer.status == 200 else {}

    async def _talk(self, client: MatrixClient, room: str) -> None:
        path = v3("rooms", room, "send", "m.room.message", f"t{next(self._numbers)}")
        text = "x" * self._dice.randrange(10, 500)
        sent = await self._ask(client, "PUT", path, {"msgtype": "m.text", "body": text})
        if sent:
            self._sent.setdefault(room, []).append(sent["event_id"])
            del self._sent[room][:-50]

    async def _redact(self, client: MatrixClient, room: str) -> None:
        if sent := self._sent.get(room):
            path = v3("rooms", room, "redact", self._dice.choice(sent), f"t{next(self._numbers)}")
            await self._ask(client, "PUT", path)

    async def _read(self, client: MatrixClient, room: str) -> None:
        if sent := self._sent.get(room):
            await self._ask(client, "POST", v3("rooms", room, "receipt", "m.read", sent[-1]))

    async def _type(self, client: MatrixClient, room: str) -> None:
        body = {"typing": self._dice.random() < 0.5, "timeout": 2_000}
        await self._ask(client, "PUT", v3("rooms", room, "typing", client.user_id), body)

    async def _come_and_go(self, client: MatrixClient, room: str) -> None:
        await self._ask(client, "POST", v3("rooms", room, "leave"))
        if self._dice.random() < 0.3:
            await self._ask(client, "POST", v3("rooms", room, "forget"))
        await client.join(room)

    async def _describe(self, client: MatrixClient, room: str) -> None:
        await client.call("PUT", v3("profile", client.user_id, "displayname"), {"displayname": self._word()})

    async def _remember(self, client: MatrixClient, room: str) -> None:
        path = v3("user", client.user_id, "account_data", f"org.example.{self._dice.randrange(5)}")
        await client.call("PUT", path, {"word": self._word()})

    def _word(self) -> str:
        return f"word {self._dice.randrange(1000)}"

    async def _listen(self, client: MatrixClient, until: asyncio.Event) -> None:
        """Long-polls, with lost answers, old tokens, new devices, and from the beginning now and then."""
        since: str | None = None
        older: str | None = None
        filter = {"room": {"timeline": {"limit": 5}, "state": {"lazy_load_members": True}}}
        while not until.is_set():
            chance = self._dice.random()
            if chance < 0.02:
                since = None
            elif chance < 0.06:
                since = older
            elif chance < 0.07:
                await self._visit(client)
            poll = asyncio.create_task(client.sync(since, timeout=POLL_MS, filter=filter))
            if self._dice.random() < 0.05:
                await asyncio.wait([poll], timeout=self._dice.random() / 2)
                poll.cancel()
            await asyncio.wait([poll])
            if poll.cancelled():
                self.done["sync given up"] += 1
            else:
                older, since = since, poll.result()["next_batch"]
                self.done["sync"] += 1

    async def _visit(self, client: MatrixClient) -> None:
        """On another device: log in, look around, say something, log out."""
        async with MatrixClient(self._url) as other:
            await other.login(client.user_id)
            since = (await other.sync())["next_batch"]
            await self._talk(other, self._dice.choice(self._rooms))
            await other.sync(since)
            await other.call("POST", v3("logout"))
        self.done["visit"] += 1

    async def _try_to_register(self, until: asyncio.Event) -> None:
        """Strangers who begin to register and never end it."""
        async with MatrixClient(self._url) as stranger:
            while not until.is_set():
                await stranger.call("POST", v3("register"), {"username": f"s{next(self._numbers)}"}, expect=401)
                self.done["unfinished registration"] += 1
                await asyncio.sleep(1 / STRANGERS_PER_SECOND)
