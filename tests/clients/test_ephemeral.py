"""Typing, receipts and read markers."""

from typing import Any

from tests.conformance.client import MatrixClient, v3


def ephemeral(sync: dict[str, Any], room: str, type: str) -> dict[str, Any] | None:
    events = sync.get("rooms", {}).get("join", {}).get(room, {}).get("ephemeral", {}).get("events", [])
    return next((event["content"] for event in events if event["type"] == type), None)


def unread(sync: dict[str, Any], room: str) -> tuple[int, int]:
    counts = sync["rooms"]["join"][room]["unread_notifications"]
    return counts["notification_count"], counts["highlight_count"]


async def together(alice: MatrixClient, bob: MatrixClient) -> str:
    """A room with both."""
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    return room


# --- typing ---------------------------------------------------------------------------------------------------------


async def test_typing_is_told_and_ends(alice: MatrixClient, bob: MatrixClient) -> None:
    """It reaches the others while they wait, and is over when said so, or after its time."""
    room = await together(alice, bob)
    since = (await alice.sync())["next_batch"]
    typing = v3("rooms", room, "typing", bob.user_id)
    await bob.call("PUT", typing, {"typing": True})
    first = await alice.sync(since, timeout=30_000)
    await bob.call("PUT", typing, {"typing": False, "timeout": 5_000})
    second = await alice.sync(first["next_batch"], timeout=30_000)
    await bob.call("PUT", typing, {"typing": True, "timeout": 50})
    third = await alice.sync(second["next_batch"], timeout=30_000)
    fourth = await alice.sync(third["next_batch"], timeout=30_000)

    told = [ephemeral(sync, room, "m.typing") for sync in (first, second, third, fourth)]
    assert told == [{"user_ids": [bob.user_id]}, {"user_ids": []}, {"user_ids": [bob.user_id]}, {"user_ids": []}]


async def test_typing_that_cannot_be(alice: MatrixClient, bob: MatrixClient) -> None:
    """For others, where one is not, and with wrong bodies."""
    room = await alice.create_room()
    own = v3("rooms", room, "typing", alice.user_id)
    for timeout in (2**53, 10**400):
        await alice.call("PUT", own, {"typing": True, "timeout": timeout})
    for client, path, body, status, errcode in (
        (alice, v3("rooms", room, "typing", bob.user_id), {"typing": True}, 403, "M_FORBIDDEN"),
        (bob, v3("rooms", room, "typing", bob.user_id), {"typing": True}, 403, "M_FORBIDDEN"),
        (bob, v3("rooms", "!no:where", "typing", bob.user_id), {"typing": True}, 403, "M_FORBIDDEN"),
        (alice, own, {}, 400, "M_MISSING_PARAM"),
        (alice, own, {"typing": None}, 400, "M_MISSING_PARAM"),
        (alice, own, {"typing": 1}, 400, "M_BAD_JSON"),
        (alice, own, {"typing": True, "timeout": "1"}, 400, "M_BAD_JSON"),
        (alice, own, {"typing": True, "timeout": 1.5}, 400, "M_BAD_JSON"),
        (alice, own, {"typing": True, "timeout": True}, 400, "M_BAD_JSON"),
        (alice, own, {"typing": True, "timeout": -1}, 400, "M_INVALID_PARAM"),
    ):
        answer = await client.ask("PUT", path, body)
        assert (answer.status, answer.body["errcode"]) == (status, errcode), (path, body)


# --- receipts -------------------------------------------------------------------------------------------------------


async def test_receipts_are_told_and_clear_counts(alice: MatrixClient, bob: MatrixClient) -> None:
    """Unread counts grow with every message, and a receipt takes them away; the others see who has read."""
    room = await together(alice, bob)
    bobs, alices = await bob.sync(), await alice.sync()
    await alice.send(room, "one")
    await alice.send(room, {"msgtype": "m.text", "body": "two", "m.mentions": {"user_ids": [bob.user_id]}})
    last = await alice.send(room, "three")
    counted = await bob.sync(bobs["next_batch"])
    await bob.call("POST", v3("rooms", room, "receipt", "m.read", last))
    cleared = await bob.sync(counted["next_batch"], timeout=30_000)
    seen = await alice.sync(alices["next_batch"])

    assert unread(counted, room) == (3, 1)
    assert unread(cleared, room) == (0, 0)
    assert unread(await bob.sync(), room) == (0, 0)
    receipt = ephemeral(seen, room, "m.receipt")
    assert receipt is not None
    assert set(receipt[last]["m.read"]) == {bob.user_id}


async def test_a_receipt_in_the_middle_leaves_what_came_after(alice: MatrixClient, bob: MatrixClient) -> None:
    """And it never goes back; whoever speaks has read everything."""
    room = await together(alice, bob)
    events = [await alice.send(room, f"m{n}") for n in range(5)]
    for event, left in ((events[2], 2), (events[0], 2), (events[4], 0)):
        await bob.call("POST", v3("rooms", room, "receipt", "m.read", event))
        assert unread(await bob.sync(), room) == (left, 0)
    await alice.send(room, "more")
    await bob.send(room, "I know")
    assert unread(await bob.sync(), room) == (0, 0)


async def test_private_receipts_stay_private(alice: MatrixClient, bob: MatrixClient) -> None:
    """They clear the counts, and nobody but oneself sees them."""
    room = await together(alice, bob)
    said = await alice.send(room, "psst")
    since = (await alice.sync())["next_batch"]
    await bob.call("POST", v3("rooms", room, "receipt", "m.read.private", said))
    own = await bob.sync()

    assert unread(own, room) == (0, 0)
    receipt = ephemeral(own, room, "m.receipt")
    assert receipt is not None
    assert bob.user_id in receipt[said]["m.read.private"]
    assert ephemeral(await alice.sync(since), room, "m.receipt") is None
    assert ephemeral(await alice.sync(), room, "m.receipt") is None


async def test_threads_have_receipts_of_their_own(alice: MatrixClient, bob: MatrixClient) -> None:
    """A receipt names its thread, and says so to others."""
    room = await together(alice, bob)
    root = await alice.send(room, "root")
    since = (await alice.sync())["next_batch"]
    await bob.call("POST", v3("rooms", room, "receipt", "m.read", root), {"thread_id": "main"})
    receipt = ephemeral(await alice.sync(since), room, "m.receipt")

    assert receipt is not None
    assert receipt[root]["m.read"][bob.user_id]["thread_id"] == "main"
    await bob.call("POST", v3("rooms", room, "receipt", "m.read", root), {"thread_id": root})


async def test_receipts_that_cannot_be(alice: MatrixClient, bob: MatrixClient) -> None:
    """Unknown types, things that are no event ids, threads that are none, rooms where one is not."""
    room = await alice.create_room()
    said = await alice.send(room, "x")
    for client, type, event, body, status, errcode in (
        (alice, "m.seen", said, {}, 400, "M_INVALID_PARAM"),
        (alice, "m.read", "event", {}, 400, "M_INVALID_PARAM"),
        (alice, "m.read", said, {"thread_id": ""}, 400, "M_INVALID_PARAM"),
        (alice, "m.read", said, {"thread_id": None}, 400, "M_INVALID_PARAM"),
        (alice, "m.read", said, {"thread_id": 1}, 400, "M_INVALID_PARAM"),
        (alice, "m.read", said, {"thread_id": "side"}, 400, "M_INVALID_PARAM"),
        (alice, "m.fully_read", said, {"thread_id": "main"}, 400, "M_INVALID_PARAM"),
        (bob, "m.read", said, {}, 403, "M_FORBIDDEN"),
    ):
        answer = await client.ask("POST", v3("rooms", room, "receipt", type, event), body)
        assert (answer.status, answer.body["errcode"]) == (status, errcode), (type, event, body)


async def test_read_markers(alice: MatrixClient, bob: MatrixClient) -> None:
    """All three at once: the marker is account data of the room, the others are receipts; each may lack."""
    room = await together(alice, bob)
    first, second = await alice.send(room, "one"), await alice.send(room, "two")
    since = (await bob.sync())["next_batch"]
    markers = v3("rooms", room, "read_markers")
    await bob.call("POST", markers, {"m.fully_read": first, "m.read": second, "m.read.private": second})
    await bob.call("POST", markers, {})
    sync = await bob.sync(since)
    marker = {"type": "m.fully_read", "content": {"event_id": first}}

    assert sync["rooms"]["join"][room]["account_data"]["events"] == [marker]
    assert unread(sync, room) == (0, 0)
    await bob.call("POST", v3("rooms", room, "receipt", "m.fully_read", second))
    path = v3("user", bob.user_id, "rooms", room, "account_data", "m.fully_read")
    assert await bob.call("GET", path) == {"event_id": second}
    assert (await bob.call("PUT", path, {"event_id": first}, expect=405))["errcode"]


async def test_read_markers_that_cannot_be(alice: MatrixClient, bob: MatrixClient) -> None:
    """Wrong types, wrong ids, wrong people."""
    room = await alice.create_room()
    markers = v3("rooms", room, "read_markers")
    for key in ("m.fully_read", "m.read", "m.read.private"):
        assert (await alice.call("POST", markers, {key: 1}, expect=400))["errcode"] == "M_BAD_JSON"
        assert (await alice.call("POST", markers, {key: "x"}, expect=400))["errcode"] == "M_INVALID_PARAM"
    assert (await bob.call("POST", markers, {"m.read": "$x"}, expect=403))["errcode"] == "M_FORBIDDEN"


async def test_redacted_messages_do_not_count(alice: MatrixClient, bob: MatrixClient) -> None:
    """What was taken back before it was read is not unread."""
    room = await together(alice, bob)
    said = await alice.send(room, "oops")
    await alice.send(room, "hello")
    assert unread(await bob.sync(), room) == (2, 0)
    await alice.call("PUT", v3("rooms", room, "redact", said, "t"))
    assert unread(await bob.sync(), room) == (1, 0)
