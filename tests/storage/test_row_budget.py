"""What each kind of write leaves in the tables: nothing per member, and nothing that the design does not name."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import Engine, text

from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.services.rooms.create import RoomRequest
from homeserver.storage.schema.tables import metadata
from homeserver.telemetry.metrics import REGISTRY
from tests.builders.house import TestHouse

CREATOR = "@creator:test.example"
MEMBERS = [f"@member{number:02}:test.example" for number in range(50)]
Act = Callable[[], Awaitable[object]]


class Rows:
    """Counts row versions: each table's rows by the transaction that wrote them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sql = " UNION ALL ".join(
            f"SELECT '{table.name}', t.xmin::text, count(*) FROM {table.name} t GROUP BY t.xmin"
            for table in metadata.sorted_tables
        )

    def read(self) -> Counter[tuple[str, str]]:
        """How many rows by (table, transaction)."""
        with self._engine.connect() as connection:
            return Counter({(table, xmin): count for table, xmin, count in connection.execute(text(self._sql))})

    async def written_by(self, act: Act) -> dict[str, int]:
        """Rows inserted or updated, by table; rows that are gone count negative under `-table`."""
        before = self.read()
        await act()
        after = self.read()
        written: Counter[str] = Counter()
        for (table, xmin), count in after.items():
            if (table, xmin) not in before:
                written[table] += count
        for table in metadata.tables:
            difference = sum(n for (name, _), n in before.items() if name == table) - sum(
                n for (name, _), n in after.items() if name == table
            )
            if difference > 0:
                written[f"-{table}"] = difference
        return dict(written)


@pytest.fixture
async def room(house: TestHouse) -> str:
    """A public room with 51 members."""
    created = await house.services.create(CREATOR, RoomRequest(ROOM_VERSIONS["12"], "public_chat"))
    await asyncio.gather(*(house.services.membership.join(member, created) for member in MEMBERS))
    await house.database.settle()
    return created


async def test_rows_of_each_write(house: TestHouse, engine: Engine, room: str) -> None:
    """A message is an event and an update of its room; the rest follows from what it is."""
    rows, services = Rows(engine), house.services
    message: dict[str, object] = {"msgtype": "m.text", "body": "hello"}
    sent: list[str] = []

    async def send(content: dict[str, object], txn_id: str) -> None:
        sent.append(await services.send.message(MEMBERS[0], "D", room, "m.room.message", txn_id, content))

    plain = await rows.written_by(lambda: send(message, "1"))
    assert plain == {"events": 1, "rooms": 1}

    again = await rows.written_by(lambda: send(message, "1"))
    assert again == {}
    assert sent[0] == sent[1]

    mention = await rows.written_by(lambda: send({**message, "m.mentions": {"user_ids": [MEMBERS[1]]}}, "2"))
    assert mention == {"events": 1, "rooms": 1, "count_exceptions": 1}

    def related(rel_type: str) -> dict[str, object]:
        return {**message, "m.relates_to": {"rel_type": rel_type, "event_id": sent[0], "key": "+"}}

    reaction = await rows.written_by(lambda: send(related("m.annotation"), "3"))
    assert reaction == {"events": 1, "rooms": 1, "relations": 1}

    reply = await rows.written_by(lambda: send(related("m.thread"), "4"))
    assert reply == {"events": 1, "rooms": 1, "relations": 1, "threads": 1, "thread_events": 1}

    name = await rows.written_by(lambda: services.send.state(CREATOR, room, "m.room.name", "", {"name": "n"}))
    state = {"current_state": 1, "state_changes": 1, "state_groups": 1}
    assert name == {"events": 1, "rooms": 1, "state_keys": 1, **state}

    renamed = await rows.written_by(lambda: services.send.state(CREATOR, room, "m.room.name", "", {"name": "o"}))
    assert renamed == {"events": 1, "rooms": 1, **state}

    joined = await rows.written_by(lambda: services.membership.join("@new:test.example", room))
    assert joined == {"events": 1, "rooms": 1, "state_keys": 1, "memberships": 1, **state}

    left = await rows.written_by(lambda: services.membership.leave("@new:test.example", room))
    assert left == {"events": 1, "rooms": 1, "memberships": 1, **state}

    await services.receipts.set(MEMBERS[3], room, {"m.read": sent[0]}, None)
    await house.database.settle()  # the first row of write_log makes the house prune those of its earlier life
    receipt = await rows.written_by(lambda: services.receipts.set(MEMBERS[2], room, {"m.read": sent[0]}, None))
    assert receipt == {"receipts": 1, "write_log": 1}

    typing = await rows.written_by(lambda: services.typing.set(MEMBERS[2], room, 30.0))
    assert typing == {}

    refused = await rows.written_by(lambda: refuse(house, room))
    assert refused == {}


async def refuse(house: TestHouse, room: str) -> None:
    with pytest.raises(Exception, match="not in this room"):
        await house.services.send.message(
            "@stranger:test.example", "D", room, "m.room.message", "t", {"msgtype": "m.text", "body": "x"}
        )


async def test_message_takes_few_statements(house: TestHouse, room: str) -> None:
    """A plain send is at most 8 statements, BEGIN and COMMIT included, once its room and sender are known."""

    async def send(number: int) -> float:
        before = REGISTRY.get_sample_value("parley_statements_total") or 0.0
        content = {"msgtype": "m.text", "body": "hello"}
        await house.services.send.message(MEMBERS[3], "D", room, "m.room.message", f"t{number}", content)
        return (REGISTRY.get_sample_value("parley_statements_total") or 0.0) - before

    counts = [await send(number) for number in range(4)]
    assert max(counts[1:]) <= 8
