"""Unread counts, of the tables and of live clients, equal a recount from nothing after every step.

https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications; architecture.md, section 7
"""

import random
from collections.abc import Mapping, Sequence

from homeserver.services.sync.counts import RoomCounts, Unread
from homeserver.storage.store import Store
from tests.builders.cluster import Cluster
from tests.services.sync.client_model import Client, Json, read_answer
from tests.services.sync.generator import Step, examples, plan, play_all
from tests.services.sync.recount import Recount
from tests.services.sync.story import Story, change_rules
from tests.services.sync.world import World, open_world

VERBS: Mapping[str, int] = {
    "message": 20, "reply": 16, "mention": 12, "state": 4, "power": 2, "receipt": 8, "thread_receipt": 6,
    "redact": 8, "join": 4, "leave": 3, "kick": 1, "ban": 1, "unban": 1, "invite": 1, "rename": 1, "forget": 1,
    "fully_read": 1, "rule": 5, "ignore": 2, "remote": 4,
}  # fmt: skip
PEOPLE = 12
LENGTH = 60


async def _counts(world: World, person: str, rooms: Sequence[str]) -> dict[str, RoomCounts]:
    unread = Unread(world.house.rule_book, world.house.slots)

    def work(store: Store) -> dict[str, RoomCounts]:
        numbers = {store.rooms.get(room).number: room for room in rooms}
        return {numbers[number]: counts for number, counts in unread(store, person, list(numbers)).items()}

    return await world.database.read(work)


async def _check(
    world: World, story: Story, recount: Recount, clients: Sequence[Client], chance: random.Random
) -> None:
    for person in story.people:
        found = await _counts(world, person, story.rooms)
        for room in story.rooms:
            if recount.is_joined(room, person):
                assert found[room] == recount.unread(room, person), f"{person} in {room}"
    for client in clients:
        if chance.random() < 0.5:
            answer = read_answer(await world.house.sync(client.request()))
            client.hear(answer)
            for room in answer.get("rooms", {}).get("join", {}):
                held, unread = client.joined[room], recount.unread(room, client.user_id)
                assert held.counts == (unread.main if client.by_thread else unread.total), f"{client.user_id}, live"
                assert held.threads == (unread.threads if client.by_thread else {}), f"{client.user_id}, live"


async def _play(world: World, seed: int, steps: Sequence[Step]) -> None:
    story = Story(world, seed, PEOPLE)
    recount = Recount(world, story)
    await recount.learn_rules()
    await story.begin()
    for number, person in enumerate(story.people[1:]):
        await change_rules(story.rules, person, number, story.rooms[0], story.people[0])
        await recount.learn_rules()
    wants: tuple[Json, Json] = ({"room": {"timeline": {"unread_thread_notifications": True}}}, {})
    clients = [Client(person, "D0", wants[number % 2]) for number, person in enumerate(story.people)]
    for action in (action for step in steps for action in step):
        chance = random.Random(hash(action.picks))
        await story.play((action,))
        await recount.learn_rules()
        if chance.random() < 0.2:
            await world.house.slots.grant()
        await _check(world, story, recount, clients, chance)


async def test_counts_equal_a_recount_with_twelve_rule_sets_in_one_room(cluster: Cluster) -> None:
    """Mentions, keywords, muted rooms and senders, threads, redactions, receipts of all kinds, ignored senders, leaving
    and coming back, by oneself or not; more classes than a room has slots."""
    async with open_world(cluster) as world:
        for seed in examples(3):
            await play_all(world, _play, seed, plan(seed, LENGTH, VERBS))
