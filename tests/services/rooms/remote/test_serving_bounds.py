"""What may be asked of this server by others costs a bounded amount, whatever rooms they make."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from homeserver.domain.errors import LimitExceeded, TooLarge
from homeserver.services.rooms.remote import serving, serving_state
from homeserver.services.rooms.remote.turns import MAX_WAITING, Turns
from homeserver.storage.store import Store
from tests.services.rooms.remote.asking import Asking, ids
from tests.services.rooms.remote.test_serving import shared_room
from tests.services.rooms.scene import ALICE, Scene

pytestmark = pytest.mark.asyncio(loop_scope="module")

LINKS = 100_000
# One more statement begins the transaction.
MOST_STATEMENTS = 2


async def test_answers_are_bounded(scene: Scene) -> None:
    """However much is asked for."""
    room_id = await shared_room(scene)
    for number in range(serving.MAX_BACKFILL + 5):
        last = await scene.say(ALICE, room_id, f"{number}")
    asking = Asking(scene, room_id)
    assert len(await asking.backfill([last], 10**9)) == serving.MAX_BACKFILL
    assert len(await asking.missing([last], limit=10**9)) == serving.MAX_MISSING


async def test_state_too_large_for_one_answer(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused while it is put together."""
    room_id = await shared_room(scene)
    last = await scene.say(ALICE, room_id)
    asking = Asking(scene, room_id)
    monkeypatch.setattr(serving_state, "MAX_CHARACTERS", 1000)
    with pytest.raises(TooLarge):
        await asking.state(last)
    monkeypatch.setattr(serving_state, "MAX_CHAIN", 2)
    with pytest.raises(TooLarge):
        await asking.state_ids(last)


@pytest.mark.parametrize("width", [1, 10])
async def test_attack_17_an_auth_chain_of_100_000_links(scene: Scene, width: int) -> None:
    """One statement walks it, each event once; it stops where it is told to."""
    room_id = await scene.room()
    room = (await scene.row(room_id)).number
    first = await scene.database.write(lambda store: _add_chain(store, room, width))
    last = first + LINKS - 1

    def walk(store: Store, limit: int) -> tuple[list[int], int]:
        return store.graph.walk_auth_chain(room, [last], limit), store.statements

    chain, statements = await scene.database.read_long(lambda store: walk(store, 2 * LINKS))
    assert statements <= MOST_STATEMENTS
    assert sorted(chain) == list(range(first, last))
    chain, statements = await scene.database.read_long(lambda store: walk(store, 1000))
    assert len(chain) == 1000 and statements <= MOST_STATEMENTS


def _add_chain(store: Store, room: int, width: int) -> int:
    """Events of which each cites the `width` ones before it; the number of the first one."""
    first = 10**12 * width
    store.transaction.text(
        "INSERT INTO events (number, event_id, room, depth, origin_server_ts, type, sender, prev, auth, ordinals,"
        " client, wire) SELECT n, '$' || n, %s, 1, 1, 'm.room.member', '@x:y', '{}', ARRAY(SELECT m FROM"
        " generate_series(greatest(n - %s, %s), n - 1) m), '{}', '', '' FROM generate_series(%s, %s) n",
        room,
        width,
        first,
        first,
        first + LINKS - 1,
    )
    return first


async def test_backfill_stops_in_a_wide_graph(scene: Scene) -> None:
    """Where everything follows everything, each event comes once."""
    room_id = await shared_room(scene)
    asking = Asking(scene, room_id)
    tips = [(await scene.row(room_id)).extremity_ids[0]]
    for _ in range(3):
        layer = [await scene.draft(room_id, "@eve:other.example", "m.room.message", {}, prev=tips) for _ in range(6)]
        for event in layer:
            await scene.receive(event)
        tips = ids(layer)
    found = ids(await asking.backfill(tips))
    assert len(found) == len(set(found)) == len(await scene.timeline(room_id))
    assert set(found[:6]) == set(tips)


async def test_servers_wait_for_their_own_turn_only() -> None:
    """One answer at a time for each; a bounded number waits; nothing is kept of who asks no more."""
    turns = Turns()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(turns.of("one.example"))
        waiting = [asyncio.ensure_future(_take(turns, "one.example")) for _ in range(MAX_WAITING)]
        await _take(turns, "two.example")
        await asyncio.sleep(0)
        assert not any(one.done() for one in waiting)
        with pytest.raises(LimitExceeded):
            await _take(turns, "one.example")
        waiting.pop().cancel()
        await asyncio.sleep(0)
        waiting.append(asyncio.ensure_future(_take(turns, "one.example")))
    await asyncio.gather(*waiting)
    assert len(turns) == 0


async def _take(turns: Turns, server: str) -> None:
    async with turns.of(server):
        pass
