"""A live client is answered from memory just as the tables would answer it, whatever was dropped from memory.

https://spec.matrix.org/v1.19/client-server-api/#syncing; architecture.md, section 6
"""

import asyncio
import random
from collections.abc import Mapping, Sequence

from homeserver.services.sync.answer import render
from tests.builders.cluster import Cluster
from tests.services.sync.client_model import Client, journals, read_answer, whole
from tests.services.sync.convergence import check_convergence, settle
from tests.services.sync.generator import FORKING_VERBS, REMOTE_VERBS, VERBS, Step, examples, plan, play_all
from tests.services.sync.story import Story
from tests.services.sync.world import World, open_world

LIMITS = (10, 10, 1, 2, 5, 50)
LENGTH = 40


class Pair:
    """A live client, and one that hears only what the tables say of the same tokens."""

    def __init__(self, world: World, story: Story, client: Client) -> None:
        self._world = world
        self._story = story
        self.live = client
        self.table = client.twin()
        self._heard: list[bytes] = []

    async def sync(self) -> None:
        raw = await self._ask()
        self.live.hear(read_answer(raw))
        if self.live.is_lazy:
            self.live.check_speakers(read_answer(raw), self._story.is_forked)
        self._heard.append(raw)

    async def _ask(self) -> bytes:
        """Without a task where that can be, as over a WebSocket."""
        request = self.live.request()
        told: list[bytes | None] = []
        self._world.house.sync.listen(request, str(request.since), lambda answer, _: told.append(answer))
        return (told and told[0]) or await self._world.house.sync(request)

    async def compare(self, meanwhile: Step = ()) -> None:
        """What the live client heard, with the tables. If nothing happened meanwhile, registers agree too."""
        verbs = {action.verb for action in meanwhile}
        for raw in self._heard:
            told = await self._from_tables(raw)
            if not meanwhile:
                lazy = self.live.is_lazy
                assert whole(read_answer(raw), lazy=lazy) == whole(read_answer(told), lazy=lazy)
            elif not verbs & {"ignore", "forget"}:  # what these say holds at once, and for the past
                lazy = self.live.is_lazy
                assert journals(read_answer(raw), lazy=lazy) == journals(read_answer(told), lazy=lazy)
        self._heard.clear()

    async def _from_tables(self, raw: bytes) -> bytes:
        request = self.table.request()
        after = None if request.since is None else request.since.position
        upto = self._world.position_of(read_answer(raw))
        answer = await self._world.house.sync._from_tables(request, after, upto)
        told = render(answer, "state_after" if request.use_state_after else "state")
        self.table.hear(read_answer(told))
        return told


def _pairs(world: World, story: Story, chance: random.Random) -> list[Pair]:
    """A client for everybody, and a second device for the first."""
    pairs: list[Pair] = []
    for person, device in [(story.people[0], "D1"), *((person, "D0") for person in story.people)]:
        room = {"timeline": {"limit": chance.choice(LIMITS)}, "state": {"lazy_load_members": chance.random() < 0.3}}
        client = Client(person, device, {"room": room}, use_state_after=chance.random() < 0.5)
        pairs.append(Pair(world, story, client))
    return pairs


async def _drop_something(world: World, chance: random.Random) -> None:
    """Memory is lost now and then, and the server is another process."""
    tail = world.streams.tail
    match chance.randrange(30):
        case 0:
            world.house.sync.drop_views()
        case 1:
            for _ in range(min(chance.randrange(20), tail.size[0])):
                tail.drop_oldest()
        case 2:
            tail.forget_all()
        case 3 | 4 as order:
            await world.restart(in_good_order=order == 3)


async def _play(world: World, seed: int, steps: Sequence[Step]) -> None:
    story = Story(world, seed)
    await story.begin()
    pairs = _pairs(world, story, random.Random(seed))
    for step in steps:
        chance = random.Random(hash(step[0].picks))
        await _drop_something(world, chance)
        hasty = [pair for pair in pairs if chance.random() < 0.15]
        await asyncio.gather(story.play(step), *(pair.sync() for pair in hasty))
        for pair in hasty:
            await pair.compare(step)
        for pair in pairs:
            if chance.random() < 0.4:
                await pair.sync()
                await pair.compare()
    for _ in range(3):
        await world.house.presence.tick()
    for pair in pairs:
        await settle(world, pair.live)
        await pair.sync()
        await settle(world, pair.table)
        for client in (pair.live, pair.table):
            await check_convergence(world, story, client)


async def _check(cluster: Cluster, verbs: Mapping[str, int], few: int) -> None:
    async with open_world(cluster) as world:
        for seed in examples(few):
            await play_all(world, _play, seed, plan(seed, LENGTH, verbs))


async def test_local_history_is_told_alike_from_memory_and_from_tables(cluster: Cluster) -> None:
    """What people of one server do."""
    await _check(cluster, VERBS, 5)


async def test_late_events_are_told_alike_from_memory_and_from_tables(cluster: Cluster) -> None:
    """With messages of another server that come late and merge branches."""
    await _check(cluster, {**VERBS, **REMOTE_VERBS}, 5)


async def test_forked_state_is_told_alike_from_memory_and_from_tables(cluster: Cluster) -> None:
    """With state that was set on another branch of the room, and is resolved."""
    await _check(cluster, {**VERBS, **REMOTE_VERBS, **FORKING_VERBS}, 5)
