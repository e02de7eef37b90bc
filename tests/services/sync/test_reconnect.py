"""Clients that lose answers, come back with old tokens, start over, or hold two connections, end where all others do.

https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

import asyncio
import random
from collections.abc import Sequence

from tests.builders.cluster import Cluster
from tests.services.sync.client_model import Client, read_answer
from tests.services.sync.convergence import check_convergence, settle
from tests.services.sync.generator import FORKING_VERBS, REMOTE_VERBS, VERBS, Step, examples, plan, play_all
from tests.services.sync.story import Story
from tests.services.sync.world import World, open_world

LENGTH = 40
WAKE = "org.example.wake"


class Connection:
    """One way in which one client goes on from its token. Several connections may belong to one device."""

    def __init__(self, world: World, story: Story, client: Client) -> None:
        self._world = world
        self._story = story
        self.client = client
        # What its storage held at earlier tokens.
        self._backups: list[Client] = []

    async def go_on(self, chance: random.Random) -> None:
        """A sync, or what may happen to one."""
        fate = chance.randrange(20)
        if fate < 4:
            await self._world.house.sync(self.client.request())  # the answer is lost
        elif fate == 4 and self._backups:
            self.client = chance.choice(self._backups).twin()
        elif fate == 5:
            self.client = self.client.fresh()
        else:
            await self.sync()

    async def sync(self, timeout: float = 0.0) -> None:
        answer = await self._world.house.sync(self.client.request(timeout))
        if self.client.since is not None:
            self._backups = [*self._backups[-3:], self.client.twin()]
        self.client.hear(read_answer(answer))
        if self.client.is_lazy:
            self.client.check_speakers(read_answer(answer), self._story.is_forked)


def _connections(world: World, story: Story, chance: random.Random) -> list[list[Connection]]:
    """By device: everybody has one, with one connection or two."""
    devices: list[list[Connection]] = []
    for person in story.people:
        lazy = chance.random() < 0.4
        room = {"timeline": {"limit": chance.choice((1, 2, 5, 10))}, "state": {"lazy_load_members": lazy}}
        client = Client(person, "D0", {"room": room}, use_state_after=chance.random() < 0.5)
        devices.append([Connection(world, story, client.twin()) for _ in range(chance.choice((1, 2)))])
    return devices


async def _wait_together(story: Story, device: list[Connection], step: Step) -> None:
    """All connections of a device wait while the step happens; something at the end wakes those that still do."""
    waiting = [asyncio.create_task(connection.sync(60.0)) for connection in device]
    await story.play(step)
    await story.set_data(device[0].client.user_id, WAKE, {"step": step[0].picks[0]})
    await asyncio.gather(*waiting)


async def _play(world: World, seed: int, steps: Sequence[Step]) -> None:
    story = Story(world, seed)
    await story.begin()
    devices = _connections(world, story, random.Random(seed))
    for step in steps:
        chance = random.Random(hash(step[0].picks))
        if chance.random() < 0.05:
            world.house.sync.drop_views()
        elif chance.random() < 0.05:
            await world.restart(in_good_order=chance.random() < 0.5)
        if chance.random() < 0.2:
            # A connection that has nothing to wait for would not wait.
            device = chance.choice(devices)
            for connection in device:
                await settle(world, connection.client)
            await _wait_together(story, device, step)
        else:
            hasty = [one for device in devices for one in device if chance.random() < 0.2]
            await asyncio.gather(story.play(step), *(connection.go_on(chance) for connection in hasty))
        for device in devices:
            for connection in device:
                if chance.random() < 0.3:
                    await connection.go_on(chance)
    for device in devices:
        for connection in device:
            await settle(world, connection.client)
            await check_convergence(world, story, connection.client)


async def test_clients_that_reconnect_at_random_end_where_all_others_do(cluster: Cluster) -> None:
    """Same rooms, same state, timelines without holes or repetitions."""
    async with open_world(cluster) as world:
        for seed in examples(3):
            steps = plan(seed, LENGTH, {**VERBS, **REMOTE_VERBS})
            await play_all(world, _play, seed, steps)


async def test_clients_that_reconnect_follow_forked_state(cluster: Cluster) -> None:
    """The same with state that was set on another branch."""
    async with open_world(cluster) as world:
        for seed in examples(3):
            steps = plan(seed, LENGTH, {**VERBS, **REMOTE_VERBS, **FORKING_VERBS})
            await play_all(world, _play, seed, steps)
