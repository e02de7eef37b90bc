"""Pages of a room's history, and what stands around an event."""

from dataclasses import dataclass
from typing import Any

import orjson
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeserver.domain.errors import BadRequest, Forbidden, NotFound
from homeserver.domain.filters import EventFilter, parse_event_filter
from homeserver.services.rooms.pages import PageRequest
from tests.services.rooms.reader import expected_view
from tests.services.rooms.scene import ALICE, BOB, CAROL, DAVE, EVE, MEMBER, Scene, examples

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVERYTHING = EventFilter()
VISIBILITY = "m.room.history_visibility"


@dataclass
class Told:
    """A room with a long story, and the ids of its events that each of its readers may see, oldest first."""

    room_id: str
    visible: dict[str, list[str]]
    events: dict[str, dict[str, Any]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told(scene: Scene) -> Told:
    """Messages of all, topics, changes of visibility, a fork, a redaction; Carol left, Dave came late."""
    room_id = await scene.room("12", members=[BOB, CAROL])
    await scene.remote_join(room_id, EVE)
    for number in range(36):
        sender = (ALICE, BOB, CAROL)[number % 3]
        match number:
            case 4 | 20:
                await scene.put(
                    ALICE, room_id, VISIBILITY, {"history_visibility": "joined" if number == 4 else "shared"}
                )
            case 8:
                [fork] = (await scene.replay(room_id)).tips
            case 10 | 11:
                await scene.remote(room_id, EVE, "m.room.message", {"body": "late"}, prev=[fork])
            case 12:
                await scene.services.membership.join(DAVE, room_id)
            case 24:
                await scene.services.membership.leave(CAROL, room_id)
            case 30:
                await scene.redact(ALICE, room_id, (await scene.timeline(room_id))[-2])
            case _ if number % 5 == 0:
                await scene.put(ALICE, room_id, "m.room.topic", {"topic": f"{number}"})
            case _ if sender != CAROL or number < 24:
                more = {"url": "mxc://x/y"} if number % 4 == 0 else {}
                await scene.say(sender, room_id, f"{number}", **more)
    replay = await scene.replay(room_id)
    visible = {}
    for user_id in (ALICE, BOB, CAROL, DAVE):
        view = expected_view(replay, user_id) or set()
        visible[user_id] = [event_id for event_id, _ in replay.snapshots if event_id in view]
    events = {
        event_id: {"type": event.type, "sender": event.sender, "url": "url" in event.content}
        for event_id, event in replay.events.items()
    }
    assert len({len(ids) for ids in visible.values()}) > 2
    return Told(room_id, visible, events)


async def page(
    scene: Scene, user_id: str, room_id: str, *, backwards: bool = True, limit: int = 10, **more: Any
) -> dict[str, Any]:
    request = PageRequest(
        room_id, more.get("start"), more.get("stop"), backwards, limit, more.get("filter", EVERYTHING)
    )
    answer: dict[str, Any] = orjson.loads(await scene.services.history.page(user_id, "D", request))
    assert len(answer["chunk"]) <= limit
    assert "state" not in answer or request.filter.lazy_load_members
    return answer


def ids(answer: dict[str, Any], part: str = "chunk") -> list[str]:
    return [event["event_id"] for event in answer[part]]


async def walk(scene: Scene, user_id: str, room_id: str, **options: Any) -> list[str]:
    """All events, page by page, until there is no more `end`."""
    found: list[str] = []
    start = options.pop("start", None)
    for _ in range(200):
        answer = await page(scene, user_id, room_id, start=start, **options)
        assert start is None or answer["start"] == start
        found += ids(answer)
        start = answer.get("end")
        if start is None:
            return found
    raise AssertionError("the pages do not end")


# --- whole walks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 7, 1000, 5000])
@pytest.mark.parametrize("user_id", [ALICE, CAROL, DAVE])
async def test_pages_together_are_the_visible_history(scene: Scene, told: Told, user_id: str, limit: int) -> None:
    """From the end back and from the beginning on: each visible event once and in order, whatever the limit."""
    back = await walk(scene, user_id, told.room_id, limit=limit)
    assert back == list(reversed(told.visible[user_id]))
    assert await walk(scene, user_id, told.room_id, limit=limit, backwards=False) == told.visible[user_id]


@settings(max_examples=examples(25), deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
async def test_any_walk_equals_the_list(scene: Scene, told: Told, data: st.DataObject) -> None:
    """Any reader, direction, limit, filter and pair of tokens: what lies between the tokens, as the filter wants it."""
    user_id = data.draw(st.sampled_from([ALICE, BOB, CAROL, DAVE]))
    backwards, limit = data.draw(st.booleans()), data.draw(st.integers(1, 12))
    raw: dict[str, Any] = {}
    if data.draw(st.booleans()):
        raw["types"] = data.draw(st.sampled_from([["m.room.message"], ["m.room.*"], ["m.room.member"], []]))
    if data.draw(st.booleans()):
        raw["not_senders"] = [data.draw(st.sampled_from([ALICE, BOB, EVE]))]
    if data.draw(st.booleans()):
        raw["contains_url"] = data.draw(st.booleans())
    wanted = [one for one in told.visible[user_id] if is_wanted(told.events[one], raw)]
    assert set(wanted) <= set(told.visible[user_id])

    # A token of any place: where a page of some length ended.
    length = len(told.visible[user_id])
    options: dict[str, Any] = {}
    bounds = {}
    for name in ("start", "stop"):
        if data.draw(st.booleans()):
            bounds[name] = data.draw(st.integers(1, length - 1))
            there = await page(scene, user_id, told.room_id, limit=bounds[name], backwards=False)
            options[name] = there["end"]
    low = bounds.get("stop" if backwards else "start", 0)
    high = bounds.get("start" if backwards else "stop", length)
    between = [one for one in told.visible[user_id][low:high] if one in set(wanted)]
    found = await walk(
        scene, user_id, told.room_id, backwards=backwards, limit=limit, filter=parse_event_filter(raw), **options
    )
    assert found == (list(reversed(between)) if backwards else between)


def is_wanted(event: dict[str, Any], raw: dict[str, Any]) -> bool:
    """The filters of these tests, in other words."""
    if "types" in raw and not any(
        event["type"] == one or (one.endswith("*") and event["type"].startswith(one[:-1])) for one in raw["types"]
    ):
        return False
    if event["sender"] in raw.get("not_senders", ()):
        return False
    return "contains_url" not in raw or raw["contains_url"] == event["url"]


async def test_there_and_back_again(scene: Scene, told: Told) -> None:
    """From the end of each page the other way to its start: the same events."""
    start = None
    while True:
        there = await page(scene, BOB, told.room_id, start=start, limit=6)
        if "end" not in there:
            break
        back = await page(scene, BOB, told.room_id, backwards=False, start=there["end"], stop=there["start"], limit=50)
        assert ids(back) == list(reversed(ids(there)))
        assert "end" not in back
        start = there["end"]


async def test_tokens_are_stable_while_people_talk(scene: Scene) -> None:
    """New messages neither shift a page nor appear in it; going forward from where we began brings them."""
    room_id = await scene.room("12", members=[BOB])
    old = await scene.timeline(room_id)
    first = await page(scene, BOB, room_id, limit=3)
    found, end = ids(first), first.get("end")
    new = []
    while end is not None:
        new.append(await scene.say(ALICE, room_id, "new"))
        answer = await page(scene, BOB, room_id, start=end, limit=2)
        found, end = found + ids(answer), answer.get("end")
    assert found == list(reversed(old))
    assert await walk(scene, BOB, room_id, backwards=False, start=first["start"]) == new
    # A forward walk that came to the end goes on from its last token.
    last = await page(scene, BOB, room_id, backwards=False, limit=len(old) + len(new) - 1)
    assert await walk(scene, BOB, room_id, backwards=False, start=last["end"]) == new[-1:]


async def test_sync_token_is_a_place_in_the_history(scene: Scene) -> None:
    """`since` and `next_batch` of a sync may be given as `from` and `to`."""
    room_id = await scene.room("12", members=[BOB])
    before = await scene.say(ALICE, room_id, "before")
    token = f"epoch.{scene.built.positions.current()}.0"
    after = [await scene.say(ALICE, room_id, f"{n}") for n in range(3)]
    assert ids(await page(scene, BOB, room_id, start=token, limit=1)) == [before]
    assert await walk(scene, BOB, room_id, start=token, backwards=False) == after
    assert await walk(scene, BOB, room_id, stop=token) == after[::-1]


@pytest.mark.parametrize("token", ["", "h", "h1", "hx_y", "h1_2_3", "e.x.0", "h-1_0", "h1_99999999999", "h" + "9" * 30])
async def test_token_that_is_none(scene: Scene, told: Told, token: str) -> None:
    """400 for whatever we cannot have given out."""
    with pytest.raises(BadRequest):
        await page(scene, ALICE, told.room_id, start=token)
    with pytest.raises(BadRequest):
        await page(scene, ALICE, told.room_id, stop=token)


async def test_page_of_nothing(scene: Scene, told: Told) -> None:
    """A limit of 0 gives no events, and a token to go on from."""
    for backwards in (True, False):
        answer = await page(scene, ALICE, told.room_id, limit=0, backwards=backwards)
        assert answer["chunk"] == []
        rest = await walk(scene, ALICE, told.room_id, backwards=backwards, start=answer["end"], limit=50)
        assert len(rest) == len(told.visible[ALICE])


async def test_ignored_senders_say_nothing(scene: Scene) -> None:
    """Their messages are left out, their state is not."""
    reader = "@ignoring:test.example"
    room_id = await scene.room("12", members=[BOB, reader])
    await scene.set_levels(ALICE, room_id, users={BOB: 50})
    said = await scene.say(BOB, room_id)
    topic = await scene.put(BOB, room_id, "m.room.topic", {"topic": "x"})
    content = orjson.dumps({"ignored_users": {BOB: {}, reader: {}}}).decode()
    await scene.database.write(
        lambda store: store.account_data.put(reader, 0, "m.ignored_user_list", content, store.take_position())
    )
    own = await scene.say(reader, room_id)
    expected = [one for one in await scene.timeline(room_id) if one != said]
    assert topic in expected and own in expected
    assert await walk(scene, reader, room_id, limit=2) == expected[::-1]
    assert len(await walk(scene, ALICE, room_id)) == len(expected) + 1


async def test_narrow_filter_finds_what_is_far(scene: Scene) -> None:
    """One event among hundreds of others, back and forth."""
    room_id = await scene.room("12")
    far = await scene.send(ALICE, room_id, "org.example", {})
    for number in range(270):
        await scene.say(ALICE, room_id, f"{number}")
    near = await scene.send(ALICE, room_id, "org.example", {})
    filter = parse_event_filter({"types": ["org.example"]})
    for limit in (1, 5):
        assert await walk(scene, ALICE, room_id, filter=filter, limit=limit) == [near, far]
        assert await walk(scene, ALICE, room_id, filter=filter, limit=limit, backwards=False) == [far, near]


async def test_outsiders_have_no_pages(scene: Scene, told: Told) -> None:
    """Nor is an event there for them, so that they do not learn whether it is."""
    for room_id in (told.room_id, "!unknown:test.example"):
        with pytest.raises(Forbidden):
            await page(scene, "@nobody:test.example", room_id)
        with pytest.raises(NotFound):
            await scene.services.history.context(
                "@nobody:test.example", "D", room_id, told.visible[ALICE][-1], 5, EVERYTHING
            )


async def test_who_left_does_not_page_into_the_future(scene: Scene) -> None:
    """Forward pages end at the leaving, without a token, however much was said afterwards."""
    room_id = await scene.room("12", members=[BOB])
    await scene.services.membership.leave(BOB, room_id)
    length = len(await scene.timeline(room_id))
    for number in range(8):
        await scene.say(ALICE, room_id, f"{number}")
    answer = await page(scene, BOB, room_id, backwards=False, limit=length)
    assert len(answer["chunk"]) == length and "end" not in answer
    assert (await page(scene, BOB, room_id, limit=1))["chunk"][0]["content"] == {"membership": "leave"}


# --- lazy members --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backwards", [True, False])
async def test_lazy_members_are_those_who_speak(scene: Scene, told: Told, backwards: bool) -> None:
    """Of every sender of a page the member event of that time, and nobody else's; once each."""
    lazy = parse_event_filter({"lazy_load_members": True, "types": ["m.room.message"]})
    start = None
    while True:
        answer = await page(scene, ALICE, told.room_id, start=start, limit=3, filter=lazy, backwards=backwards)
        members = [event["state_key"] for event in answer.get("state", [])]
        assert all(event["type"] == MEMBER and event["room_id"] == told.room_id for event in answer.get("state", []))
        assert sorted(members) == sorted({event["sender"] for event in answer["chunk"]})
        start = answer.get("end")
        if start is None:
            break


# --- context -------------------------------------------------------------------------------------------------------


async def context(scene: Scene, user_id: str, room_id: str, event_id: str, limit: int, **raw: Any) -> dict[str, Any]:
    filter = parse_event_filter(raw)
    answer: dict[str, Any] = orjson.loads(
        await scene.services.history.context(user_id, "D", room_id, event_id, limit, filter)
    )
    return answer


@pytest.mark.parametrize("user_id", [ALICE, CAROL, DAVE])
@pytest.mark.parametrize("limit", [0, 1, 2, 5, 1000])
async def test_context_is_what_stands_around(scene: Scene, told: Told, user_id: str, limit: int) -> None:
    """The events before and after, `limit` together, and tokens from which pages go on without holes."""
    visible = told.visible[user_id]
    for place in (0, 1, len(visible) // 2, len(visible) - 1):
        answer = await context(scene, user_id, told.room_id, visible[place], limit)
        before, after = ids(answer, "events_before"), ids(answer, "events_after")
        assert answer["event"]["event_id"] == visible[place]
        assert before == visible[max(0, place - limit // 2) : place][::-1]
        assert after == visible[place + 1 : place + 1 + limit - limit // 2]
        assert len(before) + len(after) <= limit
        earlier = await walk(scene, user_id, told.room_id, start=answer["start"], limit=50)
        later = await walk(scene, user_id, told.room_id, start=answer["end"], limit=50, backwards=False)
        assert earlier == visible[: place - len(before)][::-1]
        assert later == visible[place + 1 + len(after) :]


async def test_context_has_the_state_at_its_last_event(scene: Scene, told: Told) -> None:
    """As the pure core computes it; with lazy members, only those of the people who speak there."""
    replay = await scene.replay(told.room_id)
    visible = told.visible[BOB]
    for place in range(0, len(visible), 5):
        answer = await context(scene, BOB, told.room_id, visible[place], 4)
        last = answer["events_after"][-1]["event_id"] if answer["events_after"] else visible[place]
        assert set(ids(answer, "state")) == set(replay.after[last].values())
        lazy = await context(scene, BOB, told.room_id, visible[place], 4, lazy_load_members=True)
        senders = {event["sender"] for event in (lazy["event"], *lazy["events_before"], *lazy["events_after"])}
        wanted = {one for key, one in replay.after[last].items() if key[0] != MEMBER or key[1] in senders}
        assert set(ids(lazy, "state")) == wanted


async def test_context_filters_what_stands_around(scene: Scene, told: Told) -> None:
    """Not the event itself."""
    topics = [one for one in told.visible[ALICE] if told.events[one]["type"] == "m.room.topic"]
    messages = [one for one in told.visible[ALICE] if told.events[one]["type"] == "m.room.message"]
    order = told.visible[ALICE].index
    for topic in topics:
        answer = await context(scene, ALICE, told.room_id, topic, 6, types=["m.room.message"])
        assert answer["event"]["event_id"] == topic
        assert ids(answer, "events_before") == [one for one in messages if order(one) < order(topic)][-3:][::-1]
        assert ids(answer, "events_after") == [one for one in messages if order(one) > order(topic)][:3]
