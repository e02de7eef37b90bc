"""What another server may read of a room: the events of its graph, and its state."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from homeserver.domain.errors import Forbidden, NotFound
from homeserver.domain.event import Event
from homeserver.domain.verdict import Rejected, SoftFailed
from homeserver.services.rooms.remote.outliers import add_outliers
from homeserver.storage.store import Store
from tests.services.rooms.remote.asking import Asking, ids
from tests.services.rooms.replay import Replay
from tests.services.rooms.scene import ALICE, BOB, EVE, FRANK, MEMBER, OTHER_SERVER, Scene

pytestmark = pytest.mark.asyncio(loop_scope="module")

VERSIONS = ("1", "2", "3", "6", "11", "12")
STRANGER = "stranger.example"
VISIBILITY = "m.room.history_visibility"


async def shared_room(scene: Scene, version: str = "12", visibility: str = "shared") -> str:
    """Alice and Bob spoke, named the room and changed their mind, before Eve of the other server joined."""
    room_id = await scene.room(version, members=[BOB])
    await scene.put(ALICE, room_id, VISIBILITY, {"history_visibility": visibility})
    await scene.say(ALICE, room_id, "before")
    await scene.put(ALICE, room_id, "m.room.topic", {"topic": "old"})
    await scene.put(ALICE, room_id, "m.room.topic", {"topic": "new"})
    await scene.say(BOB, room_id, "before too")
    await scene.remote_join(room_id, EVE)
    return room_id


async def stored_outlier(scene: Scene, event: Event) -> None:
    """Holds an event without a place in the graph."""

    def work(store: Store) -> None:
        room = store.rooms.get(event.room_id)
        assert not add_outliers(store, event.version, room.number, event.room_id, [event])

    await scene.database.write(work, room=event.room_id)


def chain_of(replay: Replay, *event_ids: str) -> set[str]:
    """What authorises these events, directly or not."""
    found: set[str] = set()
    pending = list(event_ids)
    while pending:
        for cited in replay.events[pending.pop()].auth_events:
            if cited not in found:
                found.add(cited)
                pending.append(cited)
    return found


Reading = Callable[[Asking, str], Awaitable[Any]]
READINGS: dict[str, Reading] = {
    "event": lambda asking, event_id: asking.event(event_id),
    "event_auth": lambda asking, event_id: asking.event_auth(event_id),
    "state": lambda asking, event_id: asking.state(event_id),
    "state_ids": lambda asking, event_id: asking.state_ids(event_id),
    "backfill": lambda asking, event_id: asking.backfill([event_id]),
    "missing": lambda asking, event_id: asking.missing([event_id]),
}


@pytest.mark.parametrize("version", VERSIONS)
async def test_whole_history_and_state_reach_a_server_in_the_room(scene: Scene, version: str) -> None:
    """Under `shared` every event comes as it was signed, by whichever way it is asked for."""
    room_id = await shared_room(scene, version)
    last = await scene.say(ALICE, room_id, "after")
    asking, replay = Asking(scene, room_id), await scene.replay(room_id)
    timeline = await scene.timeline(room_id)
    assert ids(await asking.backfill([last])) == timeline[::-1]
    assert ids(await asking.missing([last])) == timeline[:-1]
    assert (await asking.event(last)).content["body"] == "after"
    assert set(ids(await asking.event_auth(last))) == chain_of(replay, last)
    before = set(replay.before[last].values())
    state, chain = await asking.state(last)
    assert set(ids(state)) == before and set(ids(chain)) == chain_of(replay, *before)
    state_ids, chain_ids = await asking.state_ids(last)
    assert (state_ids, chain_ids) == (ids(state), ids(chain))
    assert not asking.redacted


async def test_state_is_that_before_the_event(scene: Scene) -> None:
    """A topic is not part of the state at itself; before the create event there is none."""
    room_id = await shared_room(scene)
    asking, timeline = Asking(scene, room_id), await scene.timeline(room_id)
    topic = await scene.put(ALICE, room_id, "m.room.topic", {"topic": "newest"})
    state, _ = await asking.state(topic)
    assert [event.content["topic"] for event in state if event.type == "m.room.topic"] == ["new"]
    assert await asking.state(timeline[0]) == ([], [])
    assert await asking.state_ids(timeline[0]) == ([], [])


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("who", [STRANGER, "invited", "kicked", "example", "r.example"])
async def test_attack_40_servers_outside_the_room_read_nothing(scene: Scene, reading: str, who: str) -> None:
    """Not a stranger, not one whose user is only invited or was thrown out, not one whose name ends like a member's."""
    room_id = await shared_room(scene)
    if who in ("invited", "kicked"):
        await scene.services.membership.kick(ALICE, room_id, EVE)
    if who == "invited":
        await scene.services.membership.invite(ALICE, room_id, EVE)
    server = OTHER_SERVER if who in ("invited", "kicked") else who
    last = await scene.say(ALICE, room_id, "secret")
    with pytest.raises(Forbidden):
        await READINGS[reading](Asking(scene, room_id, server), last)


@pytest.mark.parametrize("reading", ["event", "backfill", "missing"])
@pytest.mark.parametrize("visibility", ["joined", "invited"])
async def test_attack_40_what_was_said_before_the_join_comes_redacted(
    scene: Scene, visibility: str, reading: str
) -> None:
    """Messages and what was set and is not so any more; not what authorises others, and not what stands now."""
    room_id = await shared_room(scene, "6", visibility)
    replay = await scene.replay(room_id)
    last = await scene.say(ALICE, room_id, "after")
    asking = Asking(scene, room_id)
    if reading == "event":
        for event_id in replay.events:
            await asking.event(event_id)
    elif reading == "backfill":
        assert len(await asking.backfill([last])) == len(replay.events) + 1
    else:
        assert len(await asking.missing([last])) == len(replay.events)
    contents = [replay.events[one].content for one in replay.events if one in asking.redacted]
    assert [one.get("body", one.get("topic")) for one in contents] == ["before", "old", "before too"]


async def test_attack_40_old_state_comes_redacted_where_the_event_is_hidden(scene: Scene) -> None:
    """Who may not see an event may not see the state it met, except what is needed and what stands now."""
    room_id = await shared_room(scene, "12", "joined")
    asking = Asking(scene, room_id)
    replay = await scene.replay(room_id)
    [hidden] = [one for one in replay.events.values() if one.content.get("topic") == "new"]
    state, _ = await asking.state(hidden.event_id)
    [old] = [one for one in state if one.type == "m.room.topic"]
    assert old.content == {} and asking.redacted == {old.event_id}
    # The same topic stands where the server was inside, and there it is whole.
    join = (await scene.timeline(room_id))[-1]
    state, _ = await asking.state(join)
    assert asking.redacted == {old.event_id}


async def test_invited_users_server_sees_what_came_since_the_invite(scene: Scene) -> None:
    """Under `invited`: from the invite on; once its user is inside."""
    room_id = await scene.room("12", preset="private_chat")
    await scene.put(ALICE, room_id, VISIBILITY, {"history_visibility": "invited"})
    before = await scene.say(ALICE, room_id, "before")
    await scene.services.membership.invite(ALICE, room_id, EVE)
    since = await scene.say(ALICE, room_id, "since")
    await scene.remote_join(room_id, EVE)
    asking = Asking(scene, room_id)
    await asking.backfill([since])
    assert asking.redacted == {before}


async def test_many_users_of_a_server(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """With many users the state is read as a whole, with the same result."""
    monkeypatch.setattr("homeserver.services.server_access.FEW_USERS", 1)
    room_id = await shared_room(scene, "12", "joined")
    said = [await scene.say(ALICE, room_id, "to Eve")]
    await scene.remote_join(room_id, FRANK)
    await scene.remote(room_id, EVE, MEMBER, {"membership": "leave"}, EVE)
    said.append(await scene.say(ALICE, room_id, "to Frank"))
    asking = Asking(scene, room_id)
    events = await asking.backfill(said[-1:])
    assert not asking.redacted & set(said)
    assert {one.content.get("body") for one in events if one.type == "m.room.message"} == {
        None,
        "to Eve",
        "to Frank",
    }


@pytest.mark.parametrize("reading", READINGS)
async def test_attack_40_outliers_never_leak(scene: Scene, reading: str) -> None:
    """An event without a place in the graph: nobody knows who may see it, so no content of it goes out."""
    room_id = await shared_room(scene, "12", "joined")
    outlier = await scene.draft(room_id, ALICE, "m.room.topic", {"topic": "lone"}, "")
    await stored_outlier(scene, outlier)
    asking = Asking(scene, room_id)
    try:
        found = await READINGS[reading](asking, outlier.event_id)
    except NotFound:
        found = None
    if reading == "event":
        assert found.content == {}
    elif reading == "event_auth":
        assert outlier.event_id not in ids(found)
    else:
        assert found in (None, [])


async def test_world_readable_room_is_open_to_strangers_as_far_as_it_is(scene: Scene) -> None:
    """What was said while the room was open; nothing redacted, nothing else, no state of other times."""
    room_id = await scene.room("12")
    closed = await scene.say(ALICE, room_id, "closed")
    await scene.put(ALICE, room_id, VISIBILITY, {"history_visibility": "world_readable"})
    said = await scene.say(ALICE, room_id, "open")
    asking = Asking(scene, room_id, STRANGER)
    assert ids(await asking.backfill([said]))[0] == said
    assert closed not in ids(await asking.backfill([said]))
    assert (await asking.event(said)).content["body"] == "open"
    assert len((await asking.state(said))[0]) == len(await scene.state(room_id))
    for reading in ("event", "event_auth", "state", "state_ids"):
        with pytest.raises(Forbidden):
            await READINGS[reading](asking, closed)
    assert not asking.redacted
    await scene.put(ALICE, room_id, VISIBILITY, {"history_visibility": "shared"})
    with pytest.raises(Forbidden):
        await asking.event(said)


@pytest.mark.parametrize("reading", ["event_auth", "state", "state_ids", "backfill", "missing"])
async def test_attack_40_events_of_another_room_are_not_found_through_this_one(scene: Scene, reading: str) -> None:
    """Being in one room opens no other."""
    own = await shared_room(scene)
    other = await scene.room("12")
    secret = await scene.say(ALICE, other, "secret")
    asking = Asking(scene, own)
    try:
        found = await READINGS[reading](asking, secret)
    except NotFound:
        found = []
    assert found == []


@pytest.mark.parametrize("reading", READINGS)
async def test_unknown_events(scene: Scene, reading: str) -> None:
    """Not found, or nothing."""
    room_id = await shared_room(scene)
    ask = partial(READINGS[reading], Asking(scene, room_id), "$nobody-knows")
    if reading in ("backfill", "missing"):
        assert await ask() == []
    else:
        with pytest.raises(NotFound):
            await ask()


async def test_rejected_events_are_passed_over(scene: Scene) -> None:
    """They are never told, but what lies behind them is."""
    room_id = await shared_room(scene)
    behind = await scene.say(ALICE, room_id, "behind")
    rejected = await scene.draft(room_id, EVE, "m.room.topic", {"topic": "by Eve"}, "")
    assert isinstance(await scene.receive(rejected), Rejected)
    said = await scene.draft(room_id, EVE, "m.room.message", {"body": "on top"}, prev=[rejected.event_id])
    await scene.receive(said)
    asking = Asking(scene, room_id)
    assert ids(await asking.backfill([said.event_id], 2)) == [said.event_id, behind]
    assert ids(await asking.missing([said.event_id], limit=1)) == [behind]
    for reading in ("event", "event_auth"):
        with pytest.raises(NotFound):
            await READINGS[reading](asking, rejected.event_id)


async def test_soft_failed_events_by_name_only(scene: Scene) -> None:
    """A soft-failed event comes to who names it; others do not meet it."""
    room_id = await shared_room(scene)
    await scene.remote_join(room_id, FRANK)
    [fork] = (await scene.replay(room_id)).tips
    await scene.services.membership.ban(ALICE, room_id, EVE)
    late = await scene.draft(room_id, EVE, "m.room.message", {"body": "late"}, prev=[fork])
    assert isinstance(await scene.receive(late), SoftFailed)
    last = await scene.say(ALICE, room_id)
    asking = Asking(scene, room_id)
    assert (await asking.event(late.event_id)).content == {"body": "late"}
    assert late.event_id not in ids(await asking.backfill([last]))
    assert ids(await asking.backfill([late.event_id], 2)) == [late.event_id, fork]
    on_top = await scene.draft(room_id, FRANK, "m.room.message", {"body": "on top"}, prev=[late.event_id, last])
    await scene.receive(on_top)
    assert late.event_id in ids(await asking.backfill([on_top.event_id]))


async def test_redacted_events_stay_redacted(scene: Scene) -> None:
    """Content that was taken away is gone for everybody."""
    room_id = await shared_room(scene)
    said = await scene.say(ALICE, room_id, "oops")
    await scene.redact(ALICE, room_id, said)
    asking = Asking(scene, room_id)
    assert (await asking.event(said)).content == {}
    assert asking.redacted == {said}


async def test_missing_events_between_two_places(scene: Scene) -> None:
    """Both branches of a fork, the nearest first if there are too many, none that is known and none less deep."""
    room_id = await shared_room(scene)
    [fork] = (await scene.replay(room_id)).tips
    ours = [await scene.say(ALICE, room_id, f"{number}") for number in range(3)]
    theirs = (await scene.remote(room_id, EVE, "m.room.message", {"body": "fork"}, prev=[fork])).event_id
    merge = await scene.say(BOB, room_id, "merge")
    asking = Asking(scene, room_id)
    assert set(ids(await asking.missing([merge], [fork]))) == {*ours, theirs}
    found = ids(await asking.missing([merge], [fork]))
    assert [one for one in found if one in ours] == ours
    assert set(ids(await asking.missing([merge], [fork], limit=2))) == {ours[-1], theirs}
    depth = (await scene.event(room_id, ours[1])).depth
    assert ids(await asking.missing([merge], [fork], min_depth=depth)) == ours[1:]
    assert await asking.missing([merge], [fork], min_depth=2**70) == []
    assert set(ids(await asking.missing([merge, ours[-1]], [fork]))) == {theirs, *ours[:2]}
    assert await asking.missing([merge], [fork], limit=0) == []


async def test_closest_event_in_time(scene: Scene) -> None:
    """From a time on, or up to it; only what may be seen."""
    room_id = await shared_room(scene, "12", "joined")
    join = (await scene.timeline(room_id))[-1]
    said: list[tuple[str, int]] = []
    for number in range(3):
        scene.clock.ms += 1000
        said.append((await scene.say(ALICE, room_id, f"{number}"), scene.clock.ms))
    asking = Asking(scene, room_id)
    for event_id, ts in said:
        assert await asking.closest(ts, forwards=True) == await asking.closest(ts, forwards=False) == event_id
        assert await asking.closest(ts - 500, forwards=True) == event_id
        assert await asking.closest(ts + 500, forwards=False) == event_id
    assert await asking.closest(0, forwards=True) in (await scene.timeline(room_id))[:7]
    assert await asking.closest(said[0][1] - 500, forwards=False) == join
    for ts, forwards in ((said[-1][1] + 1, True), (1, False)):
        with pytest.raises(NotFound):
            await asking.closest(ts, forwards=forwards)
    with pytest.raises(Forbidden):
        await Asking(scene, room_id, STRANGER).closest(0, forwards=True)


async def test_attack_40_time_tells_nothing_of_what_is_hidden(scene: Scene) -> None:
    """A message from before the join is not found by its time."""
    room_id = await scene.room()
    await scene.put(ALICE, room_id, VISIBILITY, {"history_visibility": "joined"})
    scene.clock.ms += 1000
    await scene.say(ALICE, room_id, "secret")
    since = scene.clock.ms
    scene.clock.ms += 1000
    join = (await scene.remote_join(room_id, EVE)).event_id
    assert await Asking(scene, room_id).closest(since, forwards=True) == join
