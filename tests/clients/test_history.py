"""Reading what was said: pages, single events, context; and who may."""

import json
from typing import Any

from tests.conformance.client import MatrixClient, v3


def bodies(events: list[dict[str, Any]]) -> list[str]:
    return [event["content"]["body"] for event in events if event["type"] == "m.room.message"]


async def say(client: MatrixClient, room: str, *texts: str) -> list[str]:
    return [await client.send(room, text) for text in texts]


async def everything(
    client: MatrixClient, room: str, limit: int, start: str | None = None, **query: Any
) -> list[dict[str, Any]]:
    """All pages, one after the other."""
    events: list[dict[str, Any]] = []
    page = await client.messages(room, start, limit=limit, **query)
    events += page["chunk"]
    while "end" in page:
        page = await client.messages(room, page["end"], limit=limit, **query)
        assert len(page["chunk"]) <= limit
        events += page["chunk"]
    return events


async def test_pages_cover_everything_once_both_ways(alice: MatrixClient) -> None:
    """Whatever the size of a page, each event comes once, in order; forwards is backwards turned round."""
    room = await alice.create_room()
    await say(alice, room, *(f"m{n}" for n in range(23)))
    back = [event["event_id"] for event in await everything(alice, room, 100)]

    for limit in (1, 7, 30, 100_000):
        assert [event["event_id"] for event in await everything(alice, room, limit)] == back
        forth = [event["event_id"] for event in await everything(alice, room, limit, dir="f")]
        assert forth == back[::-1]
    assert len((await alice.messages(room))["chunk"]) == 10
    assert len(set(back)) == len(back)


async def test_pages_go_on_from_a_sync(alice: MatrixClient, bob: MatrixClient) -> None:
    """`prev_batch` leads backwards without a gap; `next_batch` is a place, too; `to` ends a page."""
    room = await alice.create_room(preset="public_chat")
    await say(alice, room, *(f"m{n}" for n in range(20)))
    await bob.join(room)
    sync = await bob.sync(filter={"room": {"timeline": {"limit": 5}}})
    timeline = sync["rooms"]["join"][room]["timeline"]
    older = await everything(bob, room, 6, start=timeline["prev_batch"])
    told = [event["event_id"] for event in [*reversed(older), *timeline["events"]]]
    assert timeline["limited"] is True
    assert told == [event["event_id"] for event in await everything(bob, room, 100, dir="f")]

    await say(alice, room, "new 1", "new 2")
    newer = await bob.messages(room, sync["next_batch"], dir="f")
    assert bodies(newer["chunk"]) == ["new 1", "new 2"]
    only_new = await bob.messages(room, to=sync["next_batch"])
    assert bodies(only_new["chunk"]) == ["new 2", "new 1"]


async def test_filters_of_pages(alice: MatrixClient, bob: MatrixClient) -> None:
    """Types and senders; members for lazy clients; the limit of a filter, unless the query names one."""
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    await say(alice, room, "a1", "a2", "a3")
    await say(bob, room, "b1")
    from_bob = await alice.messages(room, filter={"senders": [bob.user_id], "types": ["m.room.message"]})
    lazy = await alice.messages(room, filter={"lazy_load_members": True, "types": ["m.room.message"]}, limit=3)

    assert bodies(from_bob["chunk"]) == ["b1"]
    assert {event["state_key"] for event in lazy["state"]} == {alice.user_id, bob.user_id}
    assert len((await alice.messages(room, filter={"limit": 2}))["chunk"]) == 2
    assert len((await alice.messages(room, filter={"limit": 2}, limit=3))["chunk"]) == 3


async def test_pages_that_cannot_be_had(alice: MatrixClient, bob: MatrixClient) -> None:
    """Every parameter of the query with a wrong value."""
    room = await alice.create_room()
    path = v3("rooms", room, "messages")
    assert (await alice.call("GET", path, expect=400))["errcode"] == "M_MISSING_PARAM"
    for query in (
        {"dir": "x"},
        {"dir": "b", "limit": "x"},
        {"dir": "b", "limit": 0},
        {"dir": "b", "limit": -1},
        {"dir": "b", "from": "here"},
        {"dir": "b", "from": "h1_x"},
        {"dir": "b", "from": "h99999999999999999999_0"},
        {"dir": "b", "from": ""},
        {"dir": "b", "to": "there"},
        {"dir": "b", "filter": json.dumps({"limit": 0})},
    ):
        assert (await alice.call("GET", path, query=query, expect=400))["errcode"] == "M_INVALID_PARAM", query
    for broken, errcode in (("{", "M_NOT_JSON"), ("[]", "M_BAD_JSON"), ('{"types": 1}', "M_BAD_JSON")):
        body = await alice.call("GET", path, query={"dir": "b", "filter": broken}, expect=400)
        assert body["errcode"] == errcode, broken
    for client, where in ((bob, room), (alice, "!no:where")):
        body = await client.call("GET", v3("rooms", where, "messages"), query={"dir": "b"}, expect=403)
        assert body["errcode"] == "M_FORBIDDEN"


async def test_single_events(alice: MatrixClient, bob: MatrixClient) -> None:
    """Whole, with the room; for whoever may not see it, it is not there."""
    room, other = await alice.create_room(), await alice.create_room()
    (said,) = await say(alice, room, "hello")
    event = await alice.call("GET", v3("rooms", room, "event", said))

    assert (event["event_id"], event["room_id"], event["content"]["body"]) == (said, room, "hello")
    for client, where, what in ((bob, room, said), (alice, other, said), (alice, room, "$no"), (alice, room, "no")):
        for kind in ("event", "context"):
            body = await client.call("GET", v3("rooms", where, kind, what), expect=404)
            assert body["errcode"] == "M_NOT_FOUND"


async def test_context(alice: MatrixClient) -> None:
    """Events on both sides, the state there, and tokens that lead on without gap or overlap."""
    room = await alice.create_room()
    events = await say(alice, room, *(f"m{n}" for n in range(9)))
    path = v3("rooms", room, "context", events[4])
    context = await alice.call("GET", path, query={"limit": 4})

    assert context["event"]["event_id"] == events[4]
    assert bodies(context["events_before"]) == ["m3", "m2"]
    assert bodies(context["events_after"]) == ["m5", "m6"]
    assert "m.room.create" in {event["type"] for event in context["state"]}
    before = await alice.messages(room, context["start"], limit=2)
    after = await alice.messages(room, context["end"], dir="f", limit=2)
    assert bodies(before["chunk"]) == ["m1", "m0"]
    assert bodies(after["chunk"]) == ["m7", "m8"]


async def test_limits_and_filters_of_context(alice: MatrixClient, bob: MatrixClient) -> None:
    """None, one, the default, and nonsense; a filter holds for what stands around and for the state."""
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    events = await say(alice, room, *(f"m{n}" for n in range(15)))
    path = v3("rooms", room, "context", events[7])

    async def around(**query: Any) -> int:
        body = await alice.call("GET", path, query=query)
        return len(body["events_before"]) + len(body["events_after"])

    assert [await around(limit=limit) for limit in (0, 1, 2, 5)] == [0, 1, 2, 5]
    assert await around() == 10
    filtered = await alice.call("GET", path, query={"filter": {"types": ["m.room.member"]}, "limit": 100})
    assert {event["type"] for event in [*filtered["events_before"], *filtered["state"]]} == {"m.room.member"}
    assert filtered["event"]["event_id"] == events[7]
    lazy = await alice.call("GET", path, query={"filter": {"lazy_load_members": True}, "limit": 2})
    assert [e["state_key"] for e in lazy["state"] if e["type"] == "m.room.member"] == [alice.user_id]
    for query in ({"limit": -1}, {"limit": "x"}):
        assert (await alice.call("GET", path, query=query, expect=400))["errcode"] == "M_INVALID_PARAM"
    assert (await alice.call("GET", path, query={"filter": "["}, expect=400))["errcode"] == "M_NOT_JSON"


# --- who may see what -----------------------------------------------------------------------------------------------


async def test_whoever_left_reads_up_to_there(alice: MatrixClient, bob: MatrixClient) -> None:
    """What was said before the leaving stays readable; what came after does not exist."""
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    (before,) = await say(alice, room, "before")
    await bob.leave(room)
    (after,) = await say(alice, room, "after")

    assert bodies((await bob.messages(room))["chunk"]) == ["before"]
    assert bodies(await everything(bob, room, 3, dir="f")) == ["before"]
    await bob.call("GET", v3("rooms", room, "event", before))
    await bob.call("GET", v3("rooms", room, "event", after), expect=404)
    context = await bob.call("GET", v3("rooms", room, "context", before))
    assert bodies(context["events_after"]) == []


async def test_whoever_was_kicked_reads_up_to_there_and_more_when_back(alice: MatrixClient, bob: MatrixClient) -> None:
    """Under shared visibility, a rejoining brings back what was said meanwhile."""
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    await alice.call("POST", v3("rooms", room, "kick"), {"user_id": bob.user_id})
    await say(alice, room, "meanwhile")
    page = await bob.messages(room)
    assert page["chunk"][0]["content"]["membership"] == "leave"
    assert bodies(page["chunk"]) == []
    await bob.join(room)
    assert bodies((await bob.messages(room))["chunk"]) == ["meanwhile"]


async def test_history_visibility(alice: MatrixClient, bob: MatrixClient) -> None:
    """What somebody who joins later sees of what was said before the invite, and between invite and join."""
    expected = {
        "world_readable": ["after", "between", "before"],
        "shared": ["after", "between", "before"],
        "invited": ["after", "between"],
        "joined": ["after"],
    }
    for visibility, seen in expected.items():
        state = [{"type": "m.room.history_visibility", "content": {"history_visibility": visibility}}]
        room = await alice.create_room(initial_state=state)
        (before,) = await say(alice, room, "before")
        await alice.invite(room, bob.user_id)
        await say(alice, room, "between")
        await bob.join(room)
        await say(alice, room, "after")

        assert bodies((await bob.messages(room, limit=50))["chunk"]) == seen, visibility
        assert bodies((await bob.sync())["rooms"]["join"][room]["timeline"]["events"]) == seen[::-1], visibility
        answer = await bob.ask("GET", v3("rooms", room, "event", before))
        assert answer.status == (200 if "before" in seen else 404), visibility
        await bob.leave(room)


async def test_strangers_read_only_what_is_open_to_the_world(alice: MatrixClient, bob: MatrixClient) -> None:
    """Neither a public room nor an invite opens the history; world_readable does."""
    public = await alice.create_room(preset="public_chat", invite=[bob.user_id])
    await bob.call("GET", v3("rooms", public, "messages"), query={"dir": "b"}, expect=403)
    state = [{"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}}]
    window = await alice.create_room(initial_state=state)
    await say(alice, window, "look")
    assert bodies((await bob.messages(window))["chunk"]) == ["look"]


async def test_ignored_people_are_left_out(alice: MatrixClient, bob: MatrixClient) -> None:
    """Their messages, not their state; nor is anything lost between the pages."""
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    for n in range(6):
        await say(bob if n % 2 else alice, room, f"m{n}")
    ignored: dict[str, Any] = {"ignored_users": {bob.user_id: {}}}
    await alice.call("PUT", v3("user", alice.user_id, "account_data", "m.ignored_user_list"), ignored)
    events = await everything(alice, room, 2)

    assert bodies(events) == ["m4", "m2", "m0"]
    assert bob.user_id in {event["sender"] for event in events}
