"""What must be true of a client once all is quiet, whatever way it came."""

import orjson

from homeserver.domain.filters import EventFilter
from homeserver.services.rooms.pages import PageRequest
from tests.services.sync.client_model import Client, HeldRoom, Json, read_answer
from tests.services.sync.story import Story
from tests.services.sync.world import World

PAGE = 7


async def settle(world: World, client: Client) -> None:
    """Syncs until nothing is told any more."""
    for _ in range(20):
        answer = read_answer(await world.house.sync(client.request()))
        client.hear(answer)
        if not answer.get("rooms") and "account_data" not in answer and "presence" not in answer:
            return
    raise AssertionError("the answers do not end")


async def check_convergence(world: World, story: Story, client: Client) -> None:
    """The client holds what a new client of the same user is told, and every timeline without holes."""
    fresh = client.fresh()
    fresh.hear(read_answer(await world.house.sync(fresh.request())))
    assert set(client.joined) == set(fresh.joined)
    # Whoever ignores somebody keeps the invites that came before.
    assert set(client.invited) >= set(fresh.invited)
    assert set(client.invited) == set(fresh.invited) or story.ever_ignored(client.user_id)
    assert set(client.knocked) == set(fresh.knocked)
    ignored_data = "m.push_rules"
    assert {type: content for type, content in client.account_data.items() if type != ignored_data} == {
        type: content for type, content in fresh.account_data.items() if type != ignored_data
    }
    assert await _people(world, client) == await _people(world, fresh)
    for room_id, held in client.joined.items():
        new = fresh.joined[room_id]
        assert held.receipts == new.receipts
        assert held.typing == new.typing
        assert held.account_data == new.account_data
        if not story.changed_minds(client.user_id):
            assert (held.counts, held.threads) == (new.counts, new.threads)
        assert _summary(held) == _summary(new)
        for one in (held, new):
            await _check_state(world, story, client, room_id, one)
            await _check_timeline(world, story, client, room_id, one)
    for room_id, held in client.left.items():
        _check_nothing_leaked(story, client, room_id, held)


async def _people(world: World, client: Client) -> dict[str, Json]:
    """Whom the client takes for present, of the others of whom it is told."""
    ignored = client.account_data.get("m.ignored_user_list", {}).get("ignored_users", {})
    present = {
        user_id: content
        for user_id, content in client.presence.items()
        if content["presence"] != "offline" and user_id not in ignored and user_id != client.user_id
    }
    viewer = client.user_id
    shared = await world.database.read(
        lambda store: {other for other in present if store.presence.share_a_room(viewer, other)}
    )
    return {user_id: content for user_id, content in present.items() if user_id in shared}


def _summary(held: HeldRoom) -> Json:
    return {**held.summary, "m.heroes": sorted(held.summary.get("m.heroes", []))}


async def _check_state(world: World, story: Story, client: Client, room_id: str, held: HeldRoom) -> None:
    current = {
        (event["type"], event["state_key"]): event["event_id"]
        for event in orjson.loads(await world.house.state.all(client.user_id, room_id))
    }
    if story.is_forked(room_id) and not client.use_state_after:
        return  # it can be told of what stands now only by state_after
    known = held.state_ids
    if client.is_lazy:
        current = {key: event for key, event in current.items() if key[0] != "m.room.member" or key in known}
    if story.is_forked(room_id):
        known = {key: event for key, event in known.items() if key in current}  # nothing tells that a key is gone
    assert known == current


async def _check_timeline(world: World, story: Story, client: Client, room_id: str, held: HeldRoom) -> None:
    """Where nothing was left out, nothing is missing; where something was, `prev_batch` leads to just that."""
    mute = story.ever_ignored(client.user_id)

    def shown(events: list[Json]) -> list[str]:
        """Without messages of those who are or were ignored: some came before."""
        return [one["event_id"] for one in events if "state_key" in one or one["sender"] not in mute]

    everything = await _page(world, client, room_id, None, "")
    timeline = held.timeline
    filled: list[Json] = []
    place = 0
    for gap in held.gaps:
        filled += timeline[place : gap.place]
        place = gap.place
        last = (shown(filled) or [""])[-1]
        filled += await _page(world, client, room_id, gap.prev_batch, last)
    filled += timeline[place:]
    assert shown(filled) == shown(everything)


async def _page(world: World, client: Client, room_id: str, start: str | None, last: str) -> list[Json]:
    """The history before `start`, oldest first, as far as the event `last`."""
    found: list[Json] = []
    while True:
        request = PageRequest(room_id, start, None, True, PAGE, EventFilter())
        page = read_answer(await world.house.history.page(client.user_id, client.device_id, request))
        for event in page["chunk"]:
            if event["event_id"] == last:
                return found[::-1]
            found.append(event)
        start = page.get("end")
        if start is None:
            return found[::-1]


def _check_nothing_leaked(story: Story, client: Client, room_id: str, held: HeldRoom) -> None:
    """Whoever left was told nothing of what happened afterwards, but of their own standing."""
    end = story.end_of_stay(room_id, client.user_id)
    if end is None:
        return
    position = {item.event_id: place for place, item in story.log(room_id).events}
    for event in [*held.timeline, *held.state.values()]:
        if event.get("state_key") != client.user_id:
            assert position[event["event_id"]] <= end, f"{event['type']} came after the leaving"
