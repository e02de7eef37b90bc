"""State groups that meet: what is computed, remembered and loaded equals the domain's resolution of the same states."""

from dataclasses import dataclass

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeserver.domain.resolution.state import resolve
from homeserver.services.rooms.merging import merge_groups
from homeserver.services.rooms.room import Heads, LockedRoom
from homeserver.storage.blocks import Blocks, Numbers
from homeserver.storage.store import Caches, Store
from tests.services.rooms.replay import Replay
from tests.services.rooms.scene import ALICE, BOB, CAROL, EVE, FRANK, MEMBER, Scene, examples

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOPIC, LEVELS, RULES = "m.room.topic", "m.room.power_levels", "m.room.join_rules"


@dataclass
class Tangle:
    """A room of many forks, replayed, and its rows' groups by event."""

    room_id: str
    replay: Replay
    groups: dict[str, int]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["1", "6", "12"])
async def tangle(scene: Scene, request: pytest.FixtureRequest) -> Tangle:
    """Power, rules, members and topics are changed on branches that do not know of each other."""
    room_id = await scene.room(request.param, members=[BOB])
    await scene.set_levels(ALICE, room_id, users={EVE: 60, FRANK: 50, BOB: 50})
    await scene.remote_join(room_id, EVE)
    await scene.remote_join(room_id, FRANK)
    [fork] = (await scene.replay(room_id)).tips
    levels = dict((await scene.state(room_id))[(LEVELS, "")].content)

    await scene.put(ALICE, room_id, TOPIC, {"topic": "a"})
    await scene.put(BOB, room_id, "m.room.name", {"name": "a"})
    await scene.set_levels(ALICE, room_id, users={FRANK: 0})
    await scene.services.membership.join(CAROL, room_id)

    async def branch(sender: str, prev: str, *changes: tuple[str, dict[str, object], str]) -> str:
        for type, content, state_key in changes:
            event = await scene.draft(room_id, sender, type, content, state_key, prev=[prev])
            await scene.receive(event)
            prev = event.event_id
        return prev

    one = await branch(
        FRANK,
        fork,
        (TOPIC, {"topic": "b"}, ""),
        (MEMBER, {"membership": "ban"}, BOB),
        (LEVELS, {**levels, "users": {**levels["users"], BOB: 0}}, ""),
    )
    two = await branch(
        EVE,
        fork,
        (RULES, {"join_rule": "invite"}, ""),
        (TOPIC, {"topic": "c"}, ""),
        (MEMBER, {"membership": "leave"}, FRANK),
    )
    await branch(EVE, one, (TOPIC, {"topic": "d"}, ""), ("org.example", {"x": 1}, ""))
    await branch(EVE, two, ("m.room.name", {"name": "d"}, ""), (MEMBER, {"membership": "leave"}, EVE))
    await scene.say(ALICE, room_id)
    await scene.put(ALICE, room_id, TOPIC, {"topic": "end"})
    replay = await scene.replay(room_id)
    rows = await scene.read(lambda store: store.events.list_by_ids(replay.events))
    groups = {one: row.state_after or row.state_before or 0 for one, row in rows.items()}
    assert len({frozenset(state.items()) for state in replay.after.values()}) > 12
    return Tangle(room_id, replay, groups)


def merged(store: Store, tangle: Tangle, ids: list[str]) -> dict[tuple[str, str], str]:
    """What merging the groups after these events gives, by event ids."""
    room = LockedRoom(store, store.rooms.lock(tangle.room_id), Heads())
    group = merge_groups(room, [tangle.groups[one] for one in ids])
    state = store.state.get_group(group)
    names = store.state.name_keys(state)
    events = room.events(state.values())
    return {names[key]: events[number].event.event_id for key, number in state.items()}


@settings(max_examples=examples(12), deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
async def test_merged_groups_are_the_resolution(scene: Scene, tangle: Tangle, data: st.DataObject) -> None:
    """Of any events of the room, in any order, with caches and without, for the first time and again."""
    ids = data.draw(st.lists(st.sampled_from(list(tangle.replay.events)), min_size=1, max_size=5))
    replay = tangle.replay
    expected = resolve(replay.version, [replay.after[one] for one in ids], replay.events, replay.rejected)
    assert await scene.database.write(lambda store: merged(store, tangle, ids)) == expected
    numbers = Numbers(Blocks(scene.built.engine, "numbers_reserved"))

    def cold(store: Store) -> dict[tuple[str, str], str]:
        """With nothing remembered, in memory or in the table."""
        store.transaction.text("DELETE FROM state_merges")
        empty = Store(store.transaction, scene.built.positions, numbers, Caches())
        return merged(empty, tangle, list(reversed(ids)))

    assert await scene.database.write(cold) == expected
    assert await scene.database.write(lambda store: merged(store, tangle, [*ids, *ids])) == expected


async def test_one_group_and_none_need_no_resolution(scene: Scene, tangle: Tangle) -> None:
    """A group alone is the answer; of no groups, the empty one."""

    def work(store: Store) -> None:
        room = LockedRoom(store, store.rooms.lock(tangle.room_id), Heads())
        group = next(iter(tangle.groups.values()))
        before = store.transaction.text("SELECT count(*) FROM state_merges")
        assert merge_groups(room, [group]) == merge_groups(room, [group, group]) == group
        assert merge_groups(room, []) == 0 and store.state.get_group(0) == {}
        assert store.transaction.text("SELECT count(*) FROM state_merges") == before

    await scene.database.write(work)
