"""What it costs to come into a room of another server: statements by the thousand events, not by the member."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from config.system import SystemClock
from homeserver.domain.errors import RemoteError
from homeserver.domain.event import Event
from homeserver.services.rooms.append import Append
from homeserver.services.rooms.remote.entering import BATCH, Entering, in_order
from tests.builders.cluster import Cluster
from tests.builders.counting import CountingDatabase
from tests.services.rooms.remote.pair import HERE, THERE, Pair, open_pair


@pytest.fixture
async def pair(cluster: Cluster) -> AsyncIterator[Pair]:
    async with open_pair(cluster) as opened:
        yield opened


async def _told(pair: Pair, members: int) -> tuple[Event, list[Event]]:
    """ALICE's join to a new room over there with so many members, and the state before it."""
    await pair.begin(0)
    names = [f"@member{number}:{THERE}" for number in range(members)]
    await asyncio.gather(*(pair.there.services.membership.join(name, pair.room_id) for name in names))
    join = await pair.draft_join()
    return join, await pair.state_before(join)


async def _enter(pair: Pair, join: Event, state: Sequence[Event]) -> list[int]:
    """How many statements each transaction took."""
    counting = CountingDatabase(pair.here.database)
    append = Append(HERE, pair.here.services.rule_book)
    entering = Entering(counting, pair.here.services.writer, append, SystemClock())
    await entering.enter(pair.version, join.room_id, join, state, state)
    return counting.statements


async def test_statements_do_not_grow_with_members(pair: Pair) -> None:
    """A room of 60 members is entered with as many statements as one of three, all in one transaction."""
    # Who has never entered any costs one more: the number of her own state key is made.
    await _enter(pair, *await _told(pair, 1))
    few = await _enter(pair, *await _told(pair, 3))
    assert await pair.state_ids(pair.here) == await pair.state_ids(pair.there)
    many = await _enter(pair, *await _told(pair, 60))
    assert await pair.state_ids(pair.here) == await pair.state_ids(pair.there)
    assert len(few) == len(many) == 1
    assert many == few


async def test_a_large_state_is_staged_in_batches(pair: Pair) -> None:
    """Of a state larger than a batch the rest comes before, in transactions of its own, whatever its order."""
    join, state = await _told(pair, BATCH + 20)
    counted = await _enter(pair, join, state[::-1])
    assert len(counted) == 2
    assert await pair.state_ids(pair.here) == await pair.state_ids(pair.there)


async def test_nothing_is_left_of_a_room_that_is_none(pair: Pair) -> None:
    """If what is cited is not told, no event is kept; told the whole truth by the next server, we come in."""
    join, state = await _told(pair, 3)
    lacking = [event for event in state if event.type != "m.room.power_levels"]
    with pytest.raises(RemoteError, match="not in the auth chain"):
        await _enter(pair, join, lacking)
    assert await pair.here.services.remote.events.held([event.event_id for event in state]) == {}
    await _enter(pair, join, state)
    assert await pair.state_ids(pair.here) == await pair.state_ids(pair.there)


async def test_circles_are_no_room(pair: Pair) -> None:
    """Events that cite each other, as old room versions could name them, are refused before anything is stored."""
    _, state = await _told(pair, 2)
    first, second = [event for event in state if event.type == "m.room.member"][:2]
    circle = [replace(first, auth_events=(second.event_id,)), replace(second, auth_events=(first.event_id,))]
    with pytest.raises(RemoteError, match="in a circle"):
        in_order(pair.version, {event.event_id: event for event in [*state, *circle]})


async def test_order_puts_authority_first(pair: Pair) -> None:
    """Each event comes after those of its auth events that are told, whichever way they were told."""
    _, state = await _told(pair, 5)
    ordered = in_order(pair.version, {event.event_id: event for event in reversed(state)})
    places = {event.event_id: place for place, event in enumerate(ordered)}
    assert len(ordered) == len(state)
    for event in ordered:
        assert all(places[cited] < places[event.event_id] for cited in event.auth_events if cited in places)
