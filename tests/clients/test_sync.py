"""GET /sync: what is asked of it, and two people who follow each other through it."""

import asyncio
import json
from typing import Any

from tests.clients.conftest import Served
from tests.conformance.client import MatrixClient, v3
from tests.http.driver import until

SYNC = v3("sync")


def joined(sync: dict[str, Any], room: str) -> dict[str, Any]:
    found: dict[str, Any] = sync["rooms"]["join"][room]
    return found


def texts(room: dict[str, Any]) -> list[str]:
    return [event["content"]["body"] for event in room["timeline"]["events"] if event["type"] == "m.room.message"]


async def test_parameters_that_make_no_sense(alice: MatrixClient, bob: MatrixClient) -> None:
    """Every parameter of the query with a wrong value."""
    (filter_id,) = (await bob.call("POST", v3("user", bob.user_id, "filter"), {"room": {}})).values()
    for query in (
        {"since": "yesterday"},
        {"since": ""},
        {"since": "a.b.c"},
        {"since": "x.1"},
        {"since": f"x.{'9' * 40}.0"},
        {"timeout": "soon"},
        {"timeout": "-1"},
        {"timeout": "1.5"},
        {"full_state": "yes"},
        {"use_state_after": "1"},
        {"org.matrix.msc4222.use_state_after": "1"},
        {"set_presence": "away"},
        {"filter": "unknown"},
        {"filter": "0"},
        {"filter": "a/b c"},
        {"filter": filter_id},
        {"filter": json.dumps({"room": {"timeline": {"limit": 0}}})},
    ):
        assert (await alice.call("GET", SYNC, query=query, expect=400))["errcode"] == "M_INVALID_PARAM", query
    for broken, errcode in (
        ("{", "M_NOT_JSON"),
        ('{"room": []}', "M_BAD_JSON"),
        ('{"room": {}, "room": {}}', "M_BAD_JSON"),
    ):
        assert (await alice.call("GET", SYNC, query={"filter": broken}, expect=400))["errcode"] == errcode
    for presence in ("online", "offline", "unavailable"):
        await alice.sync(set_presence=presence)


async def test_a_token_of_another_life_starts_anew(alice: MatrixClient) -> None:
    """A well-formed token that we did not give out is treated as none: everything is told."""
    room = await alice.create_room(name="Tea")
    for since in ("otherepoch.5.0", (await alice.sync())["next_batch"].split(".")[0] + ".999999999999.0"):
        state = joined(await alice.sync(since), room)["state"]["events"]
        timeline = joined(await alice.sync(since), room)["timeline"]["events"]
        assert "m.room.create" in {event["type"] for event in [*state, *timeline]}


async def test_a_sync_waits_for_news(alice: MatrixClient, bob: MatrixClient) -> None:
    """It answers at once with nothing, or later with something; another one of the same device ends it."""
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    since = (await bob.sync())["next_batch"]
    empty = await bob.sync(since)
    assert "rooms" not in empty
    waiting = asyncio.ensure_future(bob.sync(empty["next_batch"], timeout=60_000))
    said = await alice.send(room, "news")
    told = await waiting
    assert [event["event_id"] for event in joined(told, room)["timeline"]["events"]] == [said]

    first = asyncio.ensure_future(bob.sync(told["next_batch"], timeout=60_000))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(bob.sync(told["next_batch"], timeout=60_000))
    await alice.send(room, "more")
    answers = await asyncio.gather(first, second)
    assert ["more"] in [texts(joined(answer, room)) for answer in answers if "rooms" in answer]


async def test_a_short_timeout_ends_empty(alice: MatrixClient) -> None:
    """With a token for the next try, and whatever its size; the account data comes only once."""
    since = (await alice.sync())["next_batch"]
    answer = await alice.sync(since, timeout=30)
    assert not answer.keys() - {"next_batch", "device_one_time_keys_count", "device_unused_fallback_key_types"}


async def test_stopping_answers_whoever_waits(served: Served, alice: MatrixClient) -> None:
    """A server that stops lets nobody hang."""
    since = (await alice.sync())["next_batch"]
    waiting = asyncio.ensure_future(alice.sync(since, timeout=60_000))
    await until(lambda: served.house.services.sync.size[0] > 0)
    served.house.services.sync.stop()
    assert "rooms" not in await waiting


async def test_state_or_state_after(alice: MatrixClient, bob: MatrixClient) -> None:
    """`state` leads to the start of the timeline, `state_after` to its end; each under the name that was asked for."""
    room = await alice.create_room(preset="public_chat", name="One")
    await bob.join(room)
    plain = joined(await bob.sync(), room)
    after = joined(await bob.sync(use_state_after="true"), room)
    unstable = joined(await bob.sync(**{"org.matrix.msc4222.use_state_after": "true"}), room)
    both = joined(await bob.sync(use_state_after="true", **{"org.matrix.msc4222.use_state_after": "true"}), room)
    neither = joined(await bob.sync(use_state_after="false", **{"org.matrix.msc4222.use_state_after": "false"}), room)

    names = {"state", "state_after", "org.matrix.msc4222.state_after"}
    assert plain.keys() & names == neither.keys() & names == {"state"}
    assert after.keys() & names == both.keys() & names == {"state_after"}
    assert unstable.keys() & names == {"org.matrix.msc4222.state_after"}
    assert bob.user_id in {event["state_key"] for event in after["state_after"]["events"]}
    assert unstable["org.matrix.msc4222.state_after"]["events"]


async def test_state_after_goes_on_in_live_syncs(alice: MatrixClient, bob: MatrixClient) -> None:
    """Also while nothing changes it is there, and left rooms have it too."""
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    since = (await bob.sync(use_state_after="true"))["next_batch"]
    await alice.send(room, "text")
    first = await bob.sync(since, use_state_after="true")
    await alice.set_state(room, "m.room.name", {"name": "Two"})
    second = await bob.sync(first["next_batch"], use_state_after="true")
    await bob.leave(room)
    third = await bob.sync(second["next_batch"], use_state_after="true")
    left = third["rooms"]["leave"][room]

    assert joined(first, room)["state_after"] == {"events": []}
    assert [event["content"] for event in joined(second, room)["state_after"]["events"]] == [{"name": "Two"}]
    assert [event["content"]["membership"] for event in left["state_after"]["events"]] == ["leave"]
    assert "state" not in left


async def test_filters_by_id_and_inline(alice: MatrixClient) -> None:
    """The same filter in both ways; by its id again and again."""
    room = await alice.create_room()
    for text in ("one", "two", "three"):
        await alice.send(room, text)
    definition = {"room": {"timeline": {"limit": 2}, "state": {"types": ["m.room.create"]}}}
    filter_id = (await alice.call("POST", v3("user", alice.user_id, "filter"), definition))["filter_id"]
    inline, named = await alice.sync(filter=definition), await alice.sync(filter=filter_id)
    again = await alice.sync(filter=filter_id)

    for sync in (inline, named, again):
        told = joined(sync, room)
        assert texts(told) == ["two", "three"]
        assert told["timeline"]["limited"] is True
        assert [event["type"] for event in told["state"]["events"]] == ["m.room.create"]


async def test_narrow_filters_keep_back(alice: MatrixClient, bob: MatrixClient) -> None:
    """Rooms, types, senders, account data, ephemeral events: what is not wanted does not come, live or not."""
    room, other = await alice.create_room(preset="public_chat"), await alice.create_room()
    await bob.join(room)
    definition = {
        "account_data": {"types": []},
        "room": {
            "rooms": [room],
            "timeline": {"types": ["m.room.message"], "not_senders": [bob.user_id]},
            "ephemeral": {"not_types": ["m.receipt"]},
            "account_data": {"types": []},
        },
    }
    first = await alice.sync(filter=definition)
    assert first["rooms"]["join"].keys() == {room}
    assert "account_data" not in first
    await alice.send(other, "elsewhere")
    said = await alice.send(room, "wanted")
    await bob.send(room, "unwanted")
    await alice.send(room, {}, "org.example")
    await bob.call("POST", v3("rooms", room, "receipt", "m.read", said))
    second = await alice.sync(first["next_batch"], filter=definition)

    assert second["rooms"]["join"].keys() == {room}
    assert texts(joined(second, room)) == ["wanted"]
    assert len(joined(second, room)["timeline"]["events"]) == 1
    assert joined(second, room)["ephemeral"]["events"] == []


async def test_full_state_answers_at_once_with_all_state(alice: MatrixClient) -> None:
    """The timeline still begins after `since`; the timeout does not matter."""
    room = await alice.create_room(name="Tea")
    since = (await alice.sync())["next_batch"]
    answer = await alice.sync(since, full_state="true", timeout=60_000)
    told = joined(answer, room)

    assert {"m.room.create", "m.room.name"} <= {event["type"] for event in told["state"]["events"]}
    assert told["timeline"]["events"] == []


async def test_lazy_members(alice: MatrixClient, bob: MatrixClient, carol: MatrixClient) -> None:
    """A lazy client is told of those who speak, and of itself."""
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    await carol.join(room)
    await bob.send(room, "I speak")
    lazy = {"room": {"state": {"lazy_load_members": True}, "timeline": {"limit": 1}}}
    sync = await alice.sync(filter=lazy)
    members = {e["state_key"] for e in joined(sync, room)["state"]["events"] if e["type"] == "m.room.member"}
    assert {alice.user_id, bob.user_id} <= members

    await carol.send(room, "me too")
    more = joined(await alice.sync(sync["next_batch"], filter=lazy), room)
    assert carol.user_id in {e["state_key"] for e in more["state"]["events"] if e["type"] == "m.room.member"}


async def test_a_whole_story(alice: MatrixClient, bob: MatrixClient) -> None:
    """Invited, joined, talked to, redacted, kicked, banned, forgotten, back again: bob's syncs tell it in order."""
    since = (await bob.sync())["next_batch"]

    async def next_sync() -> dict[str, Any]:
        nonlocal since
        answer = await bob.sync(since, timeout=30_000)
        since = answer["next_batch"]
        return answer

    room = await alice.create_room(name="Tea", topic="Milk?", invite=[bob.user_id])
    invite = (await next_sync())["rooms"]["invite"][room]["invite_state"]["events"]
    assert {"m.room.name", "m.room.create", "m.room.member"} <= {event["type"] for event in invite}

    await bob.join(room)
    there = joined(await next_sync(), room)
    state = {event["type"] for event in [*there["state"]["events"], *there["timeline"]["events"]]}
    assert {"m.room.create", "m.room.topic", "m.room.power_levels"} <= state
    assert there["summary"]["m.joined_member_count"] == 2
    assert there["summary"]["m.heroes"] == [alice.user_id]

    said = await alice.send(room, "hello")
    told = joined(await next_sync(), room)
    assert texts(told) == ["hello"]
    assert told["unread_notifications"] == {"notification_count": 1, "highlight_count": 0}

    await alice.call("PUT", v3("rooms", room, "redact", said, "t"))
    redacted = joined(await next_sync(), room)
    assert [event["redacts"] for event in redacted["timeline"]["events"]] == [said]
    assert redacted["unread_notifications"]["notification_count"] == 0

    await alice.call("POST", v3("rooms", room, "kick"), {"user_id": bob.user_id, "reason": "Cold"})
    left = (await next_sync())["rooms"]["leave"][room]
    assert left["timeline"]["events"][-1]["content"] == {"membership": "leave", "reason": "Cold"}
    await alice.send(room, "he is gone")
    assert "rooms" not in await bob.sync(since)

    await alice.invite(room, bob.user_id)
    assert room in (await next_sync())["rooms"]["invite"]
    await bob.join(room)
    back = joined(await next_sync(), room)
    assert back["timeline"]["limited"] is True or "he is gone" in texts(back)

    await alice.call("POST", v3("rooms", room, "ban"), {"user_id": bob.user_id})
    banned = (await next_sync())["rooms"]["leave"][room]
    assert banned["timeline"]["events"][-1]["content"]["membership"] == "ban"
    include_leave = {"room": {"include_leave": True}}
    assert room in (await bob.sync(filter=include_leave))["rooms"]["leave"]
    assert "rooms" not in await bob.sync()
    await bob.call("POST", v3("rooms", room, "forget"))
    assert "rooms" not in await bob.sync(filter=include_leave)

    await alice.call("POST", v3("rooms", room, "unban"), {"user_id": bob.user_id})
    await alice.invite(room, bob.user_id)
    assert room in (await bob.sync(since))["rooms"]["invite"]
    await bob.join(room)
    assert room in (await bob.sync())["rooms"]["join"]


async def test_account_data_and_echoes(alice: MatrixClient) -> None:
    """What one device sets and sends, it and the others are told; the transaction id only the sender."""
    room = await alice.create_room()
    since = (await alice.sync())["next_batch"]
    await alice.send(room, "hello", txn="mine")
    await alice.call("PUT", v3("user", alice.user_id, "account_data", "org.example"), {"a": 1})
    await alice.call("PUT", v3("user", alice.user_id, "rooms", room, "account_data", "m.tag"), {"tags": {}})
    sync = await alice.sync(since)
    event = joined(sync, room)["timeline"]["events"][0]

    assert event["unsigned"]["transaction_id"] == "mine"
    assert sync["account_data"]["events"] == [{"type": "org.example", "content": {"a": 1}}]
    assert joined(sync, room)["account_data"]["events"] == [{"type": "m.tag", "content": {"tags": {}}}]
    await alice.login("alice")
    other = joined(await alice.sync(since), room)["timeline"]["events"][0]
    assert "transaction_id" not in other["unsigned"]
