"""The index follows the events, in whatever order it is told of them, and can be made anew while it is used."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from homeserver.services.search.index import SearchIndex
from homeserver.services.search.rebuild import BATCH, CURSOR, FOLLOWER, Rebuild
from homeserver.storage.events import EventRow, NewEvent, split
from homeserver.storage.store import Store
from homeserver.storage.stream import WholeStream
from homeserver.streams.follower import Follower
from tests.builders.search import END, index_everything
from tests.builders.waiting import until
from tests.services.rooms.scene import ALICE, BOB, Scene
from tests.services.search.asking import ask, ask_all, event_ids

pytestmark = pytest.mark.asyncio(loop_scope="module")

Edits = dict[str, Any]


def edit(event_id: str, text: str) -> Edits:
    return {
        "m.new_content": {"msgtype": "m.text", "body": text},
        "m.relates_to": {"rel_type": "m.replace", "event_id": event_id},
    }


async def contents(scene: Scene) -> list[tuple[Any, ...]]:
    """The whole index."""
    sql = "SELECT event, room, anchor, rank, key, edit, edit_anchor, words::text, grams FROM search ORDER BY event"
    rows = await scene.database.read(lambda store: store.transaction.text(sql))
    return [(*row[:-1], sorted(row[-1])) for row in rows]


async def empty(scene: Scene) -> None:
    await scene.database.write(lambda store: store.transaction.text("DELETE FROM search"))


async def forget_cursors(scene: Scene) -> None:
    await scene.database.write(lambda store: store.transaction.text("DELETE FROM followers"))


async def everything(scene: Scene) -> list[EventRow]:
    return [row for _, row in await WholeStream(scene.database).list_batch(0, END, 1_000_000)]


class Keeping:
    """A follower and a rebuild at work."""

    def __init__(self, scene: Scene) -> None:
        self.index = SearchIndex(scene.database)
        self.stream = WholeStream(scene.database)
        self.follower: Follower[EventRow] = Follower(FOLLOWER, self.stream, scene.built.publisher, self.index.act)
        self.rebuild: Rebuild[EventRow] = Rebuild(self.stream, self.index.act, first_pause=0.001)


@asynccontextmanager
async def keeping(scene: Scene) -> AsyncIterator[Keeping]:
    kept = Keeping(scene)
    tasks = [asyncio.create_task(kept.follower.run()), asyncio.create_task(kept.rebuild.run())]
    try:
        yield kept
    finally:
        kept.follower.stop()
        kept.rebuild.stop()
        await asyncio.wait_for(asyncio.gather(*tasks), 20)


async def busy_room(scene: Scene) -> str:
    """Messages, edits of them, edits of edits, redactions of both."""
    room = await scene.room(members=[BOB], name="a room", topic="its topic")
    sent = [await scene.say(ALICE, room, f"message number {n}") for n in range(12)]
    for n, event_id in enumerate(sent):
        edits = []
        for turn in range(n % 3):
            scene.clock.ms += 1
            edits.append(await scene.say(ALICE, room, "* edit", **edit(event_id, f"turn {turn} of {n}")))
        if edits and n % 2:
            await scene.redact(ALICE, room, edits[-1])
        if n % 5 == 4:
            await scene.redact(ALICE, room, event_id)
    await scene.say(BOB, room, "* slander", **edit(sent[0], "slander"))
    await scene.say(ALICE, room, "* lost", **edit("$unknown", "an edit of nothing"))
    return room


async def test_order_does_not_matter(scene: Scene) -> None:
    """One event after the other, all at once, twice, backwards, shuffled: the index is the same."""
    await busy_room(scene)
    rows = await everything(scene)
    index = SearchIndex(scene.database)
    await empty(scene)
    for row in rows:
        await index.act([row])
    wanted = await contents(scene)
    assert len(wanted) > 10
    choose = random.Random(7)

    for order in (rows, [*rows, *rows], rows[::-1], choose.sample(rows, len(rows)), choose.sample(rows, len(rows))):
        await empty(scene)
        for begin in range(0, len(order), 17):
            await index.act(order[begin : begin + 17])
        assert await contents(scene) == wanted


async def test_follower_and_rebuild_cover_everything(scene: Scene) -> None:
    """What was said before the index was ever kept, meanwhile and afterwards, is found."""
    await empty(scene)
    await forget_cursors(scene)
    room = await scene.room()
    before = [await scene.say(ALICE, room, f"walrus {n}") for n in range(2 * BATCH + 10)]
    async with keeping(scene) as kept:
        after = [await scene.say(ALICE, room, f"walrus {n}") for n in range(5)]

        async def all_found() -> bool:
            return await ask_all(scene, ALICE, "walrus") == [*before, *after][::-1]

        await until(all_found)
        await until(kept.rebuild.is_complete)


async def test_rebuild_goes_on_after_a_restart(scene: Scene) -> None:
    """What was stopped in the middle is finished by the next start, newest first."""
    room = await scene.room()
    sent = [await scene.say(ALICE, room, f"puffin {n}") for n in range(2 * BATCH)]
    await empty(scene)
    await forget_cursors(scene)
    stream, index = WholeStream(scene.database), SearchIndex(scene.database)
    await stream.save_cursor(FOLLOWER, scene.built.publisher.current())
    batches: list[Sequence[EventRow]] = []

    async def act_once(rows: Sequence[EventRow]) -> None:
        batches.append(rows)
        await index.act(rows)
        first.stop()

    first: Rebuild[EventRow] = Rebuild(stream, act_once, first_pause=0.001)
    await asyncio.wait_for(first.run(), 20)
    assert len(batches) == 1 and batches[0][0].event_id == sent[-1]
    assert await ask_all(scene, ALICE, "puffin") == [row.event_id for row in batches[0] if row.event_id in sent]
    async with keeping(scene) as kept:
        await until(kept.rebuild.is_complete)
    assert await ask_all(scene, ALICE, "puffin") == sent[::-1]


async def test_index_is_made_anew_while_it_is_used(scene: Scene) -> None:
    """Somebody asks for it: what was wrong or missing is right again; new messages are found all the time."""
    room = await scene.room()
    sent = [await scene.say(ALICE, room, f"lemming {n}") for n in range(20)]
    await index_everything(scene.database)
    async with keeping(scene) as kept:
        await until(kept.rebuild.is_complete)
        wanted = await contents(scene)
        spoil = "DELETE FROM search WHERE event %% 3 = 0; UPDATE search SET grams = '{1}' WHERE event %% 3 = 1"
        await scene.database.write(lambda store: store.transaction.text(spoil))
        await kept.rebuild.start_over()
        new = await scene.say(ALICE, room, "lemming at last")

        async def is_found() -> bool:
            return new in event_ids(await ask(scene, ALICE, "lemming"))

        await until(is_found)
        await until(kept.rebuild.is_complete)
        assert [row for row in await contents(scene) if row[0] <= wanted[-1][0]] == wanted
        assert await ask_all(scene, ALICE, "lemming") == [new, *sent[::-1]]


async def test_what_is_right_is_not_written_again(scene: Scene) -> None:
    """A rebuild of a good index leaves its rows where they are."""
    await busy_room(scene)
    await index_everything(scene.database)
    places = "SELECT event, ctid::text FROM search ORDER BY event"
    before = await scene.database.read(lambda store: store.transaction.text(places))
    await index_everything(scene.database)

    assert await scene.database.read(lambda store: store.transaction.text(places)) == before


async def test_failed_batch_comes_again(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """A rebuild that meets an error says so, and goes on with the same batch."""
    await scene.room()
    stream = WholeStream(scene.database)
    await stream.save_cursor(FOLLOWER, 0)
    await stream.save_cursor(CURSOR, END)
    told: list[Sequence[EventRow]] = []

    async def fail_once(rows: Sequence[EventRow]) -> None:
        told.append(rows)
        if len(told) == 1:
            raise ConnectionError("the database is away")

    rebuild: Rebuild[EventRow] = Rebuild(stream, fail_once, first_pause=0.001)
    task = asyncio.create_task(rebuild.run())
    await until(rebuild.is_complete)
    rebuild.stop()
    await asyncio.wait_for(task, 20)
    assert told[0] == told[1] and "the database is away" in caplog.text


async def test_back_filled_history_is_found(scene: Scene) -> None:
    """What was fetched to fill a gap is told to the index with all others, also if it shares a position, and is found
    where it stands in the history."""
    room = await scene.room()
    live = await scene.say(ALICE, room, "ostrich live")
    older = [f"$older{n}" for n in range(3)]
    drafts = [
        await scene.draft(room, "@eve:other.example", "m.room.message", {"body": f"ostrich {n}"}) for n in range(3)
    ]

    def fill(store: Store) -> None:
        row = store.rooms.get(room)
        place = store.events.get(live)
        position = store.take_position()
        for n, event in enumerate(drafts):
            client, wire = split(event.pdu)
            older[n] = event.event_id
            store.events.add(
                NewEvent(
                    number=store.take_number(), event=event, room=row.number, position=position, anchor=place.anchor,
                    client=client, wire=wire, prev=[], auth=[], state_before=row.state_group, state_after=None,
                    key=None, replaces=None, ordinals=[], rank=-1 - n, live=False,
                )
            )  # fmt: skip

    await scene.database.write(fill)
    upto = scene.built.publisher.current()
    stream = WholeStream(scene.database)
    batch = await stream.list_batch(upto - 1, upto, 1)
    assert {row.event_id for _, row in batch} == set(older)
    assert {row.event_id for _, row in await stream.list_before(upto + 1, 1)} == set(older)
    await index_everything(scene.database)
    assert await ask_all(scene, ALICE, "ostrich", limit=2) == [live, *older]
