"""Events of another server enter our rooms: with the room itself, one by one, after gaps, and out of history."""

from collections.abc import AsyncIterator

import pytest

from homeserver.domain.errors import Forbidden, RemoteError
from homeserver.domain.verdict import Accepted, SoftFailed
from homeserver.services.rooms.remote.receiving import Incomplete, Known
from homeserver.storage.history import Place
from homeserver.storage.store import Store
from tests.builders.cluster import Cluster
from tests.services.rooms.remote.pair import ALICE, EVE, Pair, open_pair

ALL = [str(number) for number in range(1, 13)]


@pytest.fixture
async def pair(cluster: Cluster) -> AsyncIterator[Pair]:
    async with open_pair(cluster) as opened:
        await opened.begin()
        yield opened


@pytest.mark.parametrize("version", ALL)
async def test_entering_takes_the_state_over(cluster: Cluster, version: str) -> None:
    """After the join both servers hold the same state, and messages go both ways."""
    async with open_pair(cluster, version) as pair:
        await pair.begin()
        join = await pair.enter()
        assert await pair.state_ids(pair.here) == await pair.state_ids(pair.there)
        assert await pair.here.services.membership.joined_rooms(ALICE) == [pair.room_id]
        message = await pair.say("hello")
        assert await pair.here.services.remote.events.append(pair.room_id, [message]) == [Accepted()]
        answer = await pair.say("hello back", pair.here, ALICE)
        assert answer.prev_events == (message.event_id,)
        assert await pair.there.services.remote.events.append(pair.room_id, [answer]) == [Accepted()]
        assert await pair.texts() == ["m.room.member", "hello", "hello back"]
        assert (await pair.texts(EVE, pair.there))[-3:] == ["m.room.member", "hello", "hello back"]
        assert (await pair.here.services.remote.events.append(pair.room_id, [join, message])) == [Known(), Known()]


async def test_a_room_that_makes_no_sense_is_not_entered(pair: Pair) -> None:
    """A state without create event, with two events at a place, or without what authorises it: nothing is shown."""
    join = await pair.draft_join()
    state = await pair.state_before(join)
    enter = pair.here.services.remote.entering.enter
    for wrong in (
        [event for event in state if event.type != "m.room.create"],
        [*state, next(event for event in state if event.type == "m.room.join_rules")],
        [event for event in state if event.type != "m.room.member"],
    ):
        with pytest.raises(RemoteError):
            await enter(pair.version, pair.room_id, join, wrong, wrong)
    assert await pair.here.services.membership.joined_rooms(ALICE) == []
    assert await pair.here.services.remote.events.version(pair.room_id) is None
    await enter(pair.version, pair.room_id, join, state, state)
    assert await pair.here.services.remote.events.version(pair.room_id) == pair.version


async def test_missing_events_are_named(pair: Pair) -> None:
    """What an event follows must be held before it; then it is let in."""
    await pair.enter()
    first, second = await pair.say("first"), await pair.say("second")
    events = pair.here.services.remote.events
    assert await events.append(pair.room_id, [second]) == [Incomplete(frozenset({first.event_id}), frozenset())]
    assert await events.append(pair.room_id, [first, second, first]) == [Accepted(), Accepted(), Known()]
    assert (await pair.texts())[-2:] == ["first", "second"]


async def test_an_event_after_a_gap_and_the_gap_filled(pair: Pair) -> None:
    """An event over an open gap brings its state; the history in between is put where it is missing."""
    join = await pair.enter()
    events, backfilling = pair.here.services.remote.events, pair.here.services.remote.backfilling
    missed = [await pair.say("missed 0"), await pair.say("missed 1")]
    missed.append(await pair.put("m.room.topic", "", {"topic": "changed unseen"}))
    missed += [await pair.say("missed 2"), await pair.say("missed 3")]
    late = await pair.say("late")
    state = await pair.state_before(late)
    assert await events.add_outliers(pair.room_id, pair.version, state) == []
    assert await events.append_after_gap(pair.room_id, late, [one.event_id for one in state]) == Accepted()
    # Nothing has followed our own end of the room yet, so it has two ends.
    assert set((await events.frontier(pair.room_id)).event_ids) == {join.event_id, late.event_id}
    assert await pair.state_ids(pair.here) == await pair.state_ids(pair.there)
    assert await pair.texts() == ["m.room.member", "late"]

    gap = await backfilling.find_gap(pair.room_id, Place(2**62), Place(0, 0))
    assert gap is not None
    assert gap.event_id == late.event_id
    assert gap.missing == (missed[-1].event_id,)
    everything = await pair.all_sent()
    start = next(index for index, one in enumerate(everything) if one.event_id == join.event_id)
    assert await backfilling.add(gap, everything[start + 1 : -1], {}) == 5
    topic = "m.room.topic"
    assert await pair.texts() == ["m.room.member", "missed 0", "missed 1", topic, "missed 2", "missed 3", "late"]

    before = await backfilling.find_gap(pair.room_id, Place(gap.place.anchor - 1), Place(0, 0))
    assert before is not None
    assert before.event_id == join.event_id
    assert await backfilling.add(before, everything[start - 2 : start], {}) == 0, "nobody told the state before them"
    oldest = everything[start - 2]
    told = {oldest.event_id: [one.event_id for one in await pair.state_before(oldest)]}
    assert await backfilling.add(before, everything[start - 2 : start], told) == 2
    assert (await pair.texts())[:3] == ["before 1", "before 2", "m.room.member"]
    again = await backfilling.find_gap(pair.room_id, Place(2**62), Place(0, 0))
    assert again is not None
    assert again.event_id == oldest.event_id
    assert await backfilling.add(again, everything[: start - 2], {}) == start - 2
    assert await backfilling.find_gap(pair.room_id, Place(2**62), Place(0, 0)) is None
    assert (await pair.texts())[0] == "m.room.create"
    assert len(await pair.texts()) == len(everything)


async def test_a_lie_about_the_state_does_not_undo_what_we_know(pair: Pair) -> None:
    """The state told for an event is resolved with the states of those events that it follows and that we hold."""
    await pair.enter()
    ban = await pair.put("m.room.member", "@mallory:there.example", {"membership": "ban"})
    events = pair.here.services.remote.events
    assert await events.append(pair.room_id, [ban]) == [Accepted()]
    unseen = await pair.say("unseen")
    late = await pair.say("late")
    old_state = [one for one in await pair.state_before(late) if one.event_id != ban.event_id]
    assert await events.append_after_gap(pair.room_id, late, [one.event_id for one in old_state]) == Accepted()
    assert ban.event_id in await pair.state_ids(pair.here)
    with pytest.raises(RemoteError):
        await events.append_after_gap(pair.room_id, await pair.say("later"), [unseen.event_id])


async def test_a_redaction_that_comes_first(pair: Pair) -> None:
    """Its target loses its content as soon as it comes, in the live room and in history."""
    join = await pair.enter()
    events = pair.here.services.remote.events
    target = await pair.say("to be redacted")
    redaction_id = await pair.there.services.send.redaction(EVE, "DEVICE", pair.room_id, target.event_id, "t1", {})
    redaction = await pair.event(pair.there, redaction_id)
    state = [one.event_id for one in await pair.state_before(redaction)]
    assert await events.append_after_gap(pair.room_id, redaction, state) == Accepted()
    gap = await pair.here.services.remote.backfilling.find_gap(pair.room_id, Place(2**62), Place(0, 0))
    assert gap is not None
    assert await pair.here.services.remote.backfilling.add(gap, [target], {}) == 1
    assert await pair.texts() == ["m.room.member", "m.room.message", "m.room.redaction"]
    assert gap.missing == (target.event_id,)
    assert join.event_id != target.event_id


async def test_soft_failed_and_no_more_in_the_room(pair: Pair) -> None:
    """A message of somebody who was kicked meanwhile, sent from an old place, is kept and not shown."""
    join = await pair.enter()
    message = await pair.say("from here", pair.here, ALICE)
    kick = await pair.put("m.room.member", ALICE, {"membership": "leave"})
    assert kick.prev_events == (join.event_id,)
    outcome = await pair.there.services.remote.events.append(pair.room_id, [message])
    assert [type(one) for one in outcome] == [SoftFailed]
    assert await pair.here.services.remote.events.append(pair.room_id, [kick]) == [Accepted()]
    with pytest.raises(Forbidden):
        await pair.say("again", pair.here, ALICE)
    assert await pair.here.services.remote.events.version(pair.room_id) is None, "nobody of us is there"


async def test_entering_again_after_everybody_has_left(pair: Pair) -> None:
    """What happened meanwhile is a gap; the state is that of now, and what was read before can still be read."""
    await pair.enter()
    kick = await pair.put("m.room.member", ALICE, {"membership": "leave"})
    await pair.here.services.remote.events.append(pair.room_id, [kick])
    await pair.put("m.room.name", "", {"name": "renamed"})
    await pair.say("unheard")
    await pair.enter()
    assert await pair.state_ids(pair.here) == await pair.state_ids(pair.there)
    assert await pair.texts() == ["m.room.member", "m.room.member", "m.room.member"]

    def memberships(store: Store) -> dict[str, str]:
        room = store.rooms.get(pair.room_id)
        assert room.joined == 2
        everybody = ("join", "leave", "invite", "ban", "knock")
        return {row.user_id: row.membership for row in store.memberships.list_of_room(room.number, everybody)}

    assert await pair.here.database.read(memberships) == {ALICE: "join", EVE: "join"}
