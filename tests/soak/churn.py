"""People who come and go: they join, leave and forget, talk in threads and beside them, edit, react, redact, search,
read, type, change their rules, log in and out, and sync with tokens old and new, by long-poll and over WebSockets that
break.

Each does one thing after the other until told to stop. Nothing may be refused but what is refused on purpose. What can
be named is of a bounded number (threads, rules, tags), so that only what is said grows.
"""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from urllib.parse import quote

from tests.builders.websocket import Closed, WebSocketClient
from tests.conformance.client import MatrixClient, v3

PEOPLE = 20
# Every third of them syncs over a WebSocket.
ON_WEBSOCKETS = 3
THREADS = 3
DATA_TYPES = 5
ROOMS = 8
# Requests of one person follow each other after this long on average, in seconds.
PAUSE = 0.2
POLL_MS = 5_000
STRANGERS_PER_SECOND = 10
# What a race between two people may be answered with: not in the room any more, or not there yet.
RACES = (403, 404)
WORDS = ("fish", "ship", "harbour")
TAGS = ("m.favourite", "m.lowpriority", "u.work")
FILTER = {"room": {"timeline": {"limit": 5, "unread_thread_notifications": True}, "state": {"lazy_load_members": True}}}


class Churn:
    """`done` counts what was asked, by kind."""

    def __init__(self, url: str, dice: random.Random) -> None:
        self._url = url
        self._dice = dice
        self._rooms: list[str] = []
        self._sent: dict[str, list[str]] = {}
        self._own: dict[tuple[str, str], str] = {}
        self._roots: dict[str, list[str]] = {}
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
            for number, client in enumerate(self.people[1:]):
                group.create_task(self._live(client, until))
                listening = self._listen_live if number % ON_WEBSOCKETS == 0 else self._listen
                group.create_task(listening(client, until))
            group.create_task(self._try_to_register(until))

    async def _live(self, client: MatrixClient, until: asyncio.Event) -> None:
        acts = [self._talk] * 8 + [self._redact, self._read, self._read, self._type, self._come_and_go]
        acts += [self._describe, self._remember, self._edit, self._edit, self._reply, self._reply, self._react]
        acts += [self._read_thread, self._search, self._look_back, self._tell_presence, self._change_rules, self._tag]
        acts += [self._ignore]
        while not until.is_set():
            act = self._dice.choice(acts)
            await act(client, self._dice.choice(self._rooms))
            self.done[act.__name__.strip("_")] += 1
            await asyncio.sleep(self._dice.expovariate(1 / PAUSE))

    async def _ask(
        self,
        client: MatrixClient,
        method: str,
        path: str,
        body: object = None,
        races: tuple[int, ...] = RACES,
        query: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        answer = await client.ask(method, path, body, query=query)
        assert answer.status == 200 or answer.status in races, (method, path, answer.status, answer.raw)
        return answer.body if answer.status == 200 else {}

    async def _say(
        self, client: MatrixClient, room: str, content: Mapping[str, object], type: str = "m.room.message"
    ) -> str | None:
        path = v3("rooms", room, "send", type, f"t{next(self._numbers)}")
        # An event that is redacted meanwhile can be related to no more.
        sent = await self._ask(client, "PUT", path, content, (*RACES, 400))
        if not sent:
            return None
        event_id = sent["event_id"]
        self._sent.setdefault(room, []).append(event_id)
        del self._sent[room][:-50]
        return event_id

    def _text(self) -> dict[str, object]:
        words = self._dice.choices((*WORDS, "gull", "x" * 40), k=self._dice.randrange(2, 40))
        mentions = {"user_ids": [self._dice.choice(self.people).user_id]} if self._dice.random() < 0.2 else {}
        return {"msgtype": "m.text", "body": " ".join(words), "m.mentions": mentions}

    async def _talk(self, client: MatrixClient, room: str) -> None:
        event_id = await self._say(client, room, self._text())
        if event_id is not None:
            self._own[room, client.user_id] = event_id
            if len(self._roots.setdefault(room, [])) < THREADS:
                self._roots[room].append(event_id)

    async def _edit(self, client: MatrixClient, room: str) -> None:
        if own := self._own.get((room, client.user_id)):
            relation = {"rel_type": "m.replace", "event_id": own}
            await self._say(client, room, {**self._text(), "m.new_content": self._text(), "m.relates_to": relation})

    async def _reply(self, client: MatrixClient, room: str) -> None:
        if roots := self._roots.get(room):
            relation = {"rel_type": "m.thread", "event_id": self._dice.choice(roots)}
            await self._say(client, room, {**self._text(), "m.relates_to": relation})

    async def _react(self, client: MatrixClient, room: str) -> None:
        """The same reaction a second time is refused."""
        if sent := self._sent.get(room):
            relation = {"rel_type": "m.annotation", "event_id": self._dice.choice(sent), "key": self._dice.choice("+-")}
            await self._say(client, room, {"m.relates_to": relation}, "m.reaction")

    async def _read_thread(self, client: MatrixClient, room: str) -> None:
        if roots := self._roots.get(room):
            root = self._dice.choice(roots)
            body = {"thread_id": root}
            await self._ask(client, "POST", v3("rooms", room, "receipt", "m.read", root), body, (*RACES, 400))

    async def _search(self, client: MatrixClient, room: str) -> None:
        term = " ".join(self._dice.sample(WORDS, 2))
        wanted: dict[str, object] = {
            "search_term": term,
            "order_by": self._dice.choice(("rank", "recent")),
            "event_context": {},
        }
        await client.call("POST", v3("search"), {"search_categories": {"room_events": wanted}})

    async def _look_back(self, client: MatrixClient, room: str) -> None:
        """Through the room's history, its threads, and what an event is related to."""
        v1 = f"/_matrix/client/v1/rooms/{quote(room, safe='')}"
        await self._ask(client, "GET", v3("rooms", room, "messages"), query={"dir": "b"})
        await self._ask(client, "GET", f"{v1}/threads")
        if sent := self._sent.get(room):
            await self._ask(client, "GET", f"{v1}/relations/{quote(self._dice.choice(sent), safe='')}")
            await self._ask(client, "GET", v3("rooms", room, "context", self._dice.choice(sent)))

    async def _tell_presence(self, client: MatrixClient, room: str) -> None:
        presence = self._dice.choice(("online", "unavailable", "offline"))
        body = {"presence": presence, "status_msg": self._dice.choice(WORDS)}
        await client.call("PUT", v3("presence", client.user_id, "status"), body)

    async def _change_rules(self, client: MatrixClient, room: str) -> None:
        """A keyword more, or one less."""
        word = self._dice.choice(WORDS)
        path = v3("pushrules", "global", "content", word)
        if self._dice.random() < 0.5:
            await client.call("PUT", path, {"pattern": word, "actions": ["notify", {"set_tweak": "highlight"}]})
        else:
            await self._ask(client, "DELETE", path)

    async def _tag(self, client: MatrixClient, room: str) -> None:
        path = v3("user", client.user_id, "rooms", room, "tags", self._dice.choice(TAGS))
        await self._ask(client, self._dice.choice(("PUT", "DELETE")), path)

    async def _ignore(self, client: MatrixClient, room: str) -> None:
        """Somebody, or nobody any more."""
        ignored = [self.people[1].user_id] if self._dice.random() < 0.5 and client is not self.people[1] else []
        path = v3("user", client.user_id, "account_data", "m.ignored_user_list")
        await client.call("PUT", path, {"ignored_users": {user_id: {} for user_id in ignored}})

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
        path = v3("user", client.user_id, "account_data", f"org.example.{self._dice.randrange(DATA_TYPES)}")
        await client.call("PUT", path, {"word": self._word()})

    def _word(self) -> str:
        return f"word {self._dice.randrange(1000)}"

    async def _listen(self, client: MatrixClient, until: asyncio.Event) -> None:
        """Long-polls, with lost answers, old tokens, new devices, and from the beginning now and then."""
        since: str | None = None
        older: str | None = None
        while not until.is_set():
            chance = self._dice.random()
            if chance < 0.02:
                since = None
            elif chance < 0.06:
                since = older
            elif chance < 0.07:
                await self._visit(client)
            poll = asyncio.create_task(client.sync(since, timeout=POLL_MS, filter=FILTER))
            if self._dice.random() < 0.05:
                await asyncio.wait([poll], timeout=self._dice.random() / 2)
                poll.cancel()
            await asyncio.wait([poll])
            if poll.cancelled():
                self.done["sync given up"] += 1
            else:
                older, since = since, poll.result()["next_batch"]
                self.done["sync"] += 1

    async def _listen_live(self, client: MatrixClient, until: asyncio.Event) -> None:
        """Over WebSockets, each of which breaks after a while: with a word, without one, or by logging out."""
        while not until.is_set():
            if self._dice.random() < 0.2:
                await self._visit(client)
            since = (await client.sync(filter=FILTER))["next_batch"]
            try:
                async with await WebSocketClient.open(client.base_url, client.token) as line:
                    await self._hear(line, since, until)
                    if self._dice.random() < 0.5:
                        await line.goodbye()
                        await line.closed()
            except Closed as closed:
                self.done[f"closed {closed.code}"] += 1
            self.done["websocket"] += 1

    async def _hear(self, line: WebSocketClient, since: str, until: asyncio.Event) -> None:
        """Some answers; the last one is often not waited for."""
        await line.told("hello")
        for _ in range(self._dice.randrange(1, 60)):
            if until.is_set():
                return
            heard = await line.ask(sync={"since": since, "timeout": POLL_MS, "filter": FILTER})
            assert heard.status == 200, heard
            since = heard.body["next_batch"]
            self.done["sync over a websocket"] += 1
        await line.begin(sync={"since": since, "timeout": POLL_MS, "filter": FILTER})

    async def _visit(self, client: MatrixClient) -> None:
        """On another device: log in, look around, say something, log out."""
        async with MatrixClient(self._url) as other:
            await other.login(client.user_id)
            since = (await other.sync(set_presence="unavailable"))["next_batch"]
            await self._talk(other, self._dice.choice(self._rooms))
            await other.sync(since)
            if self._dice.random() < 0.5:
                async with await WebSocketClient.open(other.base_url, other.token) as line:
                    await line.told("hello")
                    await line.begin(sync={"since": since, "timeout": POLL_MS})
                    await other.call("POST", v3("logout"))
                    assert (await line.closed()).code == 4401
            else:
                await other.call("POST", v3("logout"))
        self.done["visit"] += 1

    async def _try_to_register(self, until: asyncio.Event) -> None:
        """Strangers who begin to register and never end it."""
        async with MatrixClient(self._url) as stranger:
            while not until.is_set():
                await stranger.call("POST", v3("register"), {"username": f"s{next(self._numbers)}"}, expect=401)
                self.done["unfinished registration"] += 1
                await asyncio.sleep(1 / STRANGERS_PER_SECOND)
