"""What relations cost a live client: nothing that it does not ask for."""

from typing import Any

from homeserver.storage.store import Store
from homeserver.telemetry.metrics import REGISTRY
from tests.builders.cluster import Cluster
from tests.services.sync.client_model import Client, Json, read_answer
from tests.services.sync.story import Story
from tests.services.sync.world import World, open_world


def statements() -> float:
    return REGISTRY.get_sample_value("parley_statements_total") or 0.0


def relation(rel_type: str, event_id: str) -> dict[str, Any]:
    return {"m.relates_to": {"rel_type": rel_type, "event_id": event_id, "key": "+"}, "body": "x", "msgtype": "m.text"}


async def synced(world: World, client: Client) -> tuple[Json, float]:
    """An answer, and how many statements it took."""
    await world.database.settle()
    before = statements()
    answer = read_answer(await world.house.sync(client.request()))
    client.hear(answer)
    return answer, statements() - before


async def test_a_live_client_hears_of_relations_without_any_statement(cluster: Cluster) -> None:
    """Messages, replies in threads, edits and reactions, and receipts for what is newest, in a room with threads: the
    counts of each thread follow, and no table is read."""
    async with open_world(cluster) as world:
        story = Story(world, 1)
        await story.begin()
        [room], (speaker, reader) = story.rooms, story.people[:2]
        client = Client(reader, "D0", {"room": {"timeline": {"unread_thread_notifications": True}}})
        root = await story.send(speaker, room, "m.room.message", {"body": "root", "msgtype": "m.text"})
        await story.send(speaker, room, "m.room.message", relation("m.thread", root))
        for _ in range(2):
            await synced(world, client)
        await story.send(speaker, room, "m.room.message", {"body": "hello", "msgtype": "m.text"})
        await synced(world, client)  # the first answer with counts reads them

        held = client.joined[room]
        main, thread = held.counts[0], held.threads[root][0]
        for content in (
            {"body": "plain", "msgtype": "m.text"},
            relation("m.thread", root),
            relation("m.replace", root),
            relation("m.annotation", root),
            relation("m.reference", root),
        ):
            last = await story.send(speaker, room, "m.room.message", content)
            answer, cost = await synced(world, client)
            assert [event["event_id"] for event in answer["rooms"]["join"][room]["timeline"]["events"]] == [last]
            assert "m.relations" not in answer["rooms"]["join"][room]["timeline"]["events"][0]["unsigned"]
            assert cost == 0, content
        assert (held.counts[0], held.threads[root][0]) == (main + 3, thread + 1)
        await world.house.receipts.set(reader, room, {"m.read": last}, "main")
        _, cost = await synced(world, client)
        assert (cost, held.counts, held.threads[root][0]) == (0, (0, 0), thread + 1)
        await world.house.receipts.set(reader, room, {"m.read": last}, None)
        _, cost = await synced(world, client)
        assert (cost, held.counts, held.threads) == (0, (0, 0), {})


async def test_counts_of_many_threads_take_few_statements(cluster: Cluster) -> None:
    """As many as those of one."""
    async with open_world(cluster) as world:
        story = Story(world, 2)
        await story.begin()
        [room], (speaker, reader) = story.rooms, story.people[:2]
        costs = []
        for _ in range(12):
            root = await story.send(speaker, room, "m.room.message", {"body": "root", "msgtype": "m.text"})
            await story.send(speaker, room, "m.room.message", relation("m.thread", root))

            def count(store: Store) -> int:
                unread = world.house.sync._unread(store, reader, [store.rooms.get(room).number])
                assert unread
                return store.statements

            costs.append(await world.database.read(count))
        assert max(costs) == costs[1]
