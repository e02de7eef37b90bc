"""What a room of 1,000 members costs: as many statements as one of three, for whatever is said, read and counted.

architecture.md, section 7: "Unread counts without rows per member". Statements are counted, and no time is measured.
"""

from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from homeserver.services.messaging.receipts import Receipts
from homeserver.services.rooms.send import Send
from homeserver.services.sync.counts import Unread
from tests.builders.cluster import SERVER_NAME
from tests.builders.counting import CountingDatabase
from tests.services.rooms.scene import ALICE, BOB, CAROL, Scene

pytestmark = pytest.mark.asyncio(loop_scope="module")

MEMBERS = 1_000
# Of a plain message. Architecture.md, section 4, says of which rows.
PLAIN = 8


class Room:
    """A room in which things are done, and what each of them cost."""

    def __init__(self, scene: Scene, room_id: str) -> None:
        self.scene = scene
        self.room_id = room_id
        self.counting = CountingDatabase(scene.database)
        self._send = Send(self.counting, scene.services.writer, scene.services.aliases)
        self._receipts = Receipts(self.counting, scene.clock)
        self._unread = Unread(scene.services.rule_book, scene.services.slots)
        self._numbers = iter(range(1_000))

    async def say(self, **content: object) -> str:
        txn = f"large{next(self._numbers)}"
        said = {"msgtype": "m.text", "body": "x", **content}
        return await self._send.message(ALICE, "D", self.room_id, "m.room.message", txn, said)

    async def redact(self, event_id: str) -> None:
        await self._send.redaction(ALICE, "D", self.room_id, event_id, f"large{next(self._numbers)}", {})

    async def read(self, event_id: str, thread: str | None) -> None:
        await self._receipts.set(BOB, self.room_id, {"m.read": event_id}, thread)

    async def count(self, user_id: str) -> None:
        number = (await self.scene.row(self.room_id)).number
        await self.counting.read(partial(self._unread, user_id=user_id, rooms=[number]))

    async def costs(self, act: Callable[[], Awaitable[object]]) -> int:
        """In statements; of the third time, when all caches are warm."""
        for _ in range(3):
            self.counting.statements.clear()
            await act()
        return sum(self.counting.statements)

    async def all_costs(self) -> dict[str, int]:
        root = await self.say()
        in_thread = {"rel_type": "m.thread", "event_id": root}
        everybody, one = {"room": True}, {"user_ids": [BOB]}

        async def redact() -> None:
            said = await self.say(**{"m.mentions": everybody})
            self.counting.statements.clear()
            await self.redact(said)

        async def read() -> None:
            said = await self.say()
            self.counting.statements.clear()
            await self.read(said, None)

        async def read_thread() -> None:
            said = await self.say(**{"m.relates_to": in_thread})
            self.counting.statements.clear()
            await self.read(said, root)

        return {
            "a plain message": await self.costs(self.say),
            "a mention": await self.costs(partial(self.say, **{"m.mentions": one})),
            "a mention of all": await self.costs(partial(self.say, **{"m.mentions": everybody})),
            "a keyword": await self.costs(partial(self.say, body="a sword")),
            "a reply": await self.costs(partial(self.say, **{"m.relates_to": in_thread})),
            "a redaction": await self.costs(redact),
            "a receipt": await self.costs(read),
            "a receipt in a thread": await self.costs(read_thread),
            "counts": await self.costs(partial(self.count, BOB)),
            "counts by running": await self.costs(partial(self.count, CAROL)),
        }


async def test_statements_do_not_grow_with_members(scene: Scene) -> None:
    """Whatever is said, redacted, read and counted, with people of several rule sets in the room."""
    crowd = [f"@large{number}:{SERVER_NAME}" for number in range(MEMBERS - 3)]
    rules = scene.services.push_rules
    await rules.put(CAROL, "content", "sword", actions=["notify", {"set_tweak": "highlight"}], pattern="sword")
    small = Room(scene, await scene.room("12", members=[BOB, CAROL]))
    large = Room(scene, await scene.room("12", members=[BOB, CAROL, *crowd]))
    assert (await scene.row(large.room_id)).joined == MEMBERS
    costs = await small.all_costs()
    assert await large.all_costs() == costs
    assert costs["a plain message"] <= PLAIN
