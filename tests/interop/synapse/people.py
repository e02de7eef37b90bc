"""Two servers beside each other, and people on them who speak to their own server as any client does.

    async with two_servers(place) as servers:
        alice = await servers.parley.person("alice")

What a person's syncs told is kept, so that a story can ask for it later: nothing depends on which sync brought it.
"""

import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.builders.allies import Ally
from tests.builders.certificate import CertificateAuthority
from tests.builders.process import disposed
from tests.builders.relay import running_relay
from tests.builders.waiting import until
from tests.conformance.client import MatrixClient, v3
from tests.conformance.facts import SpecFacts
from tests.interop.synapse.server import Synapse, running_synapse

# A server that was parted is called again after a pause; and the machine is busy.
PATIENCE = 120.0
SYNC_MS = 500
WHOLE_TIMELINE = {"room": {"timeline": {"limit": 200}}}
MAX_PAGES = 200

Event = Mapping[str, Any]


class Unchecked(SpecFacts):
    """Whether Synapse conforms is not our concern."""

    def response_problems(self, method: str, path: str, status: int, body: Any) -> list[str]:
        return []


class Person:
    """A user with one device. `events`: by room, in the order in which syncs told them."""

    def __init__(self, client: MatrixClient) -> None:
        self.client = client
        self.events: dict[str, dict[str, Event]] = {}
        self.typing: dict[str, list[str]] = {}
        self.read: dict[str, dict[str, str]] = {}
        self.presence: dict[str, Mapping[str, Any]] = {}
        self.invites: dict[str, list[Event]] = {}
        self.left: dict[str, Event] = {}
        self._since: str | None = None

    @property
    def user_id(self) -> str:
        return self.client.user_id

    @property
    def server(self) -> str:
        return self.user_id.partition(":")[2]

    async def listen(self) -> None:
        """One sync; what it tells is kept."""
        answer = await self.client.sync(self._since, timeout=SYNC_MS, filter=WHOLE_TIMELINE)
        self._since = answer["next_batch"]
        rooms = answer.get("rooms", {})
        for room, told in rooms.get("join", {}).items():
            self.left.pop(room, None)
            self.invites.pop(room, None)
            self._keep(room, told)
            for event in told.get("ephemeral", {}).get("events", []):
                self._keep_ephemeral(room, event)
        for room, told in rooms.get("invite", {}).items():
            self.invites[room] = told["invite_state"]["events"]
        for room, told in rooms.get("leave", {}).items():
            self.invites.pop(room, None)
            self._keep(room, told)
            own = [one for one in self._told(told) if one["type"] == "m.room.member" and self._is_own(one)]
            self.left[room] = own[-1] if own else {}
        for event in answer.get("presence", {}).get("events", []):
            self.presence[event["sender"]] = event["content"]

    def _is_own(self, event: Event) -> bool:
        return event.get("state_key") == self.user_id

    @staticmethod
    def _told(room: Mapping[str, Any]) -> list[Event]:
        state, timeline = room.get("state", {}).get("events", []), room.get("timeline", {}).get("events", [])
        return [*state, *timeline]

    def _keep(self, room: str, told: Mapping[str, Any]) -> None:
        kept = self.events.setdefault(room, {})
        for event in told.get("timeline", {}).get("events", []):
            kept.setdefault(event["event_id"], event)

    def _keep_ephemeral(self, room: str, event: Event) -> None:
        if event["type"] == "m.typing":
            self.typing[room] = event["content"]["user_ids"]
        if event["type"] == "m.receipt":
            for event_id, by_type in event["content"].items():
                for user_id in by_type.get("m.read", {}):
                    self.read.setdefault(room, {})[user_id] = event_id

    async def learns(self, condition: Callable[[], object], what: str) -> Any:
        """Syncs until `condition`, which asks what is kept, is true; returns its value."""

        async def once() -> object:
            found = condition()
            if not found:
                await self.listen()
                found = condition()
            return found

        return await until(once, PATIENCE, f"{self.user_id}: {what}")

    async def hears(self, room: str, event_id: str) -> Event:
        """The event, once a sync has told it."""
        found: Event = await self.learns(lambda: self.events.get(room, {}).get(event_id), f"hears {event_id}")
        return found

    async def is_invited(self, room: str) -> list[Event]:
        """What is told of a room with the invite."""
        told: list[Event] = await self.learns(lambda: self.invites.get(room), "is invited")
        return told

    async def is_out(self, room: str) -> Event:
        """The event that took the room away; `{}` if it was not told."""
        await self.learns(lambda: room in self.left, "is out of the room")
        return self.left[room]

    async def finds(self, room: str, kind: str, key: str, content: Mapping[str, Any], what: str = "") -> None:
        """Waits until the room's state has this in an event's content."""

        async def found() -> bool:
            answer = await self.client.ask("GET", v3("rooms", room, "state", kind, key))
            body = answer.body if answer.status == 200 else {}
            return all(body.get(name) == value for name, value in content.items())

        await until(found, PATIENCE, what or f"{self.user_id} finds {kind} {key!r} {content}")

    async def state_ids(self, room: str) -> dict[tuple[str, str], str]:
        """The ids of the events of the room's state; none if it is not for this person to see."""
        answer = await self.client.ask("GET", v3("rooms", room, "state"))
        state = answer.body if answer.status == 200 else []
        return {(event["type"], event["state_key"]): event["event_id"] for event in state}

    async def page_back(self, room: str, limit: int = 20) -> dict[str, Event]:
        """All that /messages tells from the room's end to where it says that there is no more, oldest first."""
        found: dict[str, Event] = {}
        start = None
        for _ in range(MAX_PAGES):
            page = await self.client.messages(room, start, limit=limit)
            for event in page["chunk"]:
                assert event["event_id"] not in found, f"/messages tells {event['event_id']} twice"
                found[event["event_id"]] = event
            start = page.get("end")
            if start is None:
                return dict(reversed(found.items()))
        raise AssertionError(f"/messages has not ended after {MAX_PAGES} pages")


class Side:
    """One of the two servers."""

    def __init__(self, title: str, server: Ally | Synapse, stack: AsyncExitStack, facts: SpecFacts | None) -> None:
        self.title = title
        self.server = server
        self._stack = stack
        self._facts = facts
        self._numbers = itertools.count(1)

    @property
    def name(self) -> str:
        return self.server.name

    async def person(self, name: str) -> Person:
        """Registered anew: the name gets a number."""
        client = await self._stack.enter_async_context(MatrixClient(self.server.url, self._facts))
        await client.register(f"{name}{next(self._numbers)}")
        return Person(client)


@dataclass(frozen=True)
class Servers:
    parley: Side
    synapse: Side

    def cut(self) -> None:
        """Neither hears the other any more."""
        for side in (self.parley, self.synapse):
            side.server.cut()

    def heal(self) -> None:
        for side in (self.parley, self.synapse):
            side.server.heal()


@dataclass(frozen=True)
class Meeting:
    """`host` has made the room and `guest` comes in from the other server; `version` is the room's. `seed`: what is
    random depends on it."""

    servers: Servers
    host: Side
    guest: Side
    version: str
    seed: int = 0


@asynccontextmanager
async def two_servers(place: Path) -> AsyncIterator[Servers]:
    """A Parley and a Synapse, started and healthy. The log of Parley is read at the end."""
    authority = CertificateAuthority.make(place / "authority")
    async with AsyncExitStack() as stack:
        ally = Ally(place / "parley", authority)
        ally.relay = await stack.enter_async_context(running_relay(ally.federation_port, ally.behind_port))
        await stack.enter_async_context(disposed(ally))
        await ally.start()
        synapse = await stack.enter_async_context(running_synapse(place / "synapse", authority))
        async with AsyncExitStack() as clients:
            yield Servers(Side("Parley", ally, clients, None), Side("Synapse", synapse, clients, Unchecked()))
