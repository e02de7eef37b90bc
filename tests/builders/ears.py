"""What a client hears by long-poll, from one token to the next, put together as an app would do it.

    ears = await Ears.of(bob)
    await ears.invited(room)
    await bob.join(room)
    event = await ears.event(room, event_id)

Nothing is ever forgotten, so that a test can also say what was never heard.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from tests.builders.waiting import until
from tests.conformance.client import MatrixClient

Json = dict[str, Any]
# A sync waits so long for news: only that a test that fails does not hang.
POLL_MS = 2_000
FILTER = {"room": {"timeline": {"limit": 100}}}


class Ears:
    """`standing`: the list of rooms in which a room came last (join, invite, knock, leave). `told`: what was told of a
    room that the user is not in."""

    def __init__(self, client: MatrixClient) -> None:
        self.client = client
        self.since: str | None = None
        self.standing: dict[str, str] = {}
        self.told: dict[str, list[Json]] = {}
        self.events: defaultdict[str, dict[str, Json]] = defaultdict(dict)
        self.ephemeral: defaultdict[str, list[Json]] = defaultdict(list)
        self.counts: dict[str, Json] = {}
        self.presence: list[Json] = []

    @classmethod
    async def of(cls, client: MatrixClient) -> "Ears":
        """They have heard what there is now."""
        ears = cls(client)
        await ears.listen(0)
        return ears

    async def listen(self, patience_ms: int = POLL_MS) -> None:
        """One sync."""
        answer = await self.client.sync(self.since, timeout=patience_ms, filter=FILTER)
        self.since = answer["next_batch"]
        self.presence += answer.get("presence", {}).get("events", [])
        for standing, rooms in answer.get("rooms", {}).items():
            for room, news in rooms.items():
                self._take(room, news, entered=self.standing.get(room) != standing)
                self.standing[room] = standing

    def _take(self, room: str, news: Mapping[str, Any], *, entered: bool) -> None:
        for key in ("invite_state", "knock_state"):
            if key in news:
                self.told[room] = news[key]["events"]
        for event in news.get("timeline", {}).get("events", []):
            # Who comes back into a room is shown how it ended, too.
            assert entered or event["event_id"] not in self.events[room], f"heard twice: {event}"
            self.events[room][event["event_id"]] = event
        self.ephemeral[room] += news.get("ephemeral", {}).get("events", [])
        self.counts[room] = news.get("unread_notifications", {})

    async def until(self, condition: Callable[[], Any], what: str) -> Any:
        """What `condition` returns once that is true; meanwhile it is listened."""

        async def listened() -> Any:
            if not (found := condition()):
                await self.listen()
                found = condition()
            return found

        return await until(listened, what=f"{self.client.user_id} hears {what}")

    async def event(self, room: str, event_id: str) -> Json:
        """An event of the timeline, as it came."""
        found: Json = await self.until(lambda: self.events[room].get(event_id), event_id)
        return found

    async def member(self, room: str, user_id: str, membership: str) -> Json:
        """The last event that says what the user is to the room, once it says this."""

        def find() -> Json | None:
            for event in reversed(self.events[room].values()):
                if (event["type"], event.get("state_key")) == ("m.room.member", user_id):
                    return event if event["content"]["membership"] == membership else None
            return None

        found: Json = await self.until(find, f"that {user_id} is now at {membership}")
        return found

    async def stands(self, room: str, standing: str) -> None:
        await self.until(lambda: self.standing.get(room) == standing, f"of {room} as {standing}")

    async def invited(self, room: str) -> dict[tuple[str, str], Json]:
        """What was told of the room to which the user is invited, by type and state key."""
        await self.stands(room, "invite")
        return {(event["type"], event["state_key"]): event for event in self.told[room]}

    async def typing(self, room: str, *user_ids: str) -> None:
        """Exactly these type."""

        def find() -> bool:
            said = [event["content"]["user_ids"] for event in self.ephemeral[room] if event["type"] == "m.typing"]
            return bool(said) and set(said[-1]) == set(user_ids)

        await self.until(find, f"that {user_ids} type")

    async def read(self, room: str, event_id: str, reader: str) -> None:
        await self.until(lambda: (event_id, "m.read", reader) in self.receipts(room), f"that {reader} has read")

    def receipts(self, room: str) -> set[tuple[str, str, str]]:
        """All that were heard: event id, type, reader."""
        return {
            (event_id, kind, reader)
            for event in self.ephemeral[room]
            if event["type"] == "m.receipt"
            for event_id, kinds in event["content"].items()
            for kind, readers in kinds.items()
            for reader in readers
        }
