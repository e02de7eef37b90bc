"""Threads: their list, their unread counts, and their receipts.

https://spec.matrix.org/v1.19/client-server-api/#threading
"""

from typing import Any

from tests.clients.test_relations import ids, ignore, react, redact, reply, together, v1
from tests.conformance.client import MatrixClient, v3

Json = dict[str, Any]
BY_THREAD = {"room": {"timeline": {"unread_thread_notifications": True}}}


async def threads(client: MatrixClient, room: str, **query: Any) -> Json:
    body: Json = await client.call("GET", v1("rooms", room, "threads"), query=query)
    return body


async def read(client: MatrixClient, room: str, event: str, thread: str | None = None) -> None:
    body = {} if thread is None else {"thread_id": thread}
    await client.call("POST", v3("rooms", room, "receipt", "m.read", event), body)


def counts(counted: Json) -> tuple[int, int]:
    return counted["notification_count"], counted["highlight_count"]


def unread(sync: Json, room: str) -> tuple[tuple[int, int], dict[str, tuple[int, int]]]:
    part = sync["rooms"]["join"][room]
    by_thread = part.get("unread_thread_notifications", {})
    return counts(part["unread_notifications"]), {root: counts(one) for root, one in by_thread.items()}


# --- the list -------------------------------------------------------------------------------------------------------


async def test_list_of_threads(alice: MatrixClient, bob: MatrixClient) -> None:
    """Those with the newest replies first, in pages; all of them, or those in which one takes part."""
    room = await together(alice, bob)
    roots = [await alice.send(room, f"root {n}") for n in range(5)]
    for root in (*roots, roots[2]):
        await reply(alice, room, root)
    own = await bob.send(room, "own")
    await reply(alice, room, own)
    answered = await reply(bob, room, roots[0])
    newest_first = [roots[0], own, roots[2], roots[4], roots[3], roots[1]]

    assert ids((await threads(bob, room))["chunk"]) == newest_first
    assert ids((await threads(bob, room, include="participated"))["chunk"]) == [roots[0], own]
    assert ids((await threads(alice, room, include="participated"))["chunk"]) == newest_first
    for limit in (1, 2, 5):
        page = await threads(bob, room, limit=limit)
        found = ids(page["chunk"])
        while "next_batch" in page:
            assert len(page["chunk"]) == limit
            page = await threads(bob, room, limit=limit, **{"from": page["next_batch"]})
            found += ids(page["chunk"])
        assert found == newest_first, limit
    await redact(bob, room, answered)
    assert ids((await threads(bob, room))["chunk"]) == [own, roots[2], roots[4], roots[3], roots[1], roots[0]]
    assert ids((await threads(bob, room, include="participated"))["chunk"]) == [own]


async def test_threads_of_ignored_people(alice: MatrixClient, bob: MatrixClient, carol: MatrixClient) -> None:
    """Their roots are shown without content; a thread in which only they speak is none."""
    room = await together(alice, bob, carol)
    theirs, own = await bob.send(room, "secret"), await alice.send(room, "own")
    await reply(carol, room, theirs)
    await reply(bob, room, own)
    await ignore(alice, bob)
    [event] = (await threads(alice, room))["chunk"]

    assert (event["event_id"], event["content"]) == (theirs, {})
    assert event["unsigned"]["m.relations"]["m.thread"]["count"] == 1
    assert len((await threads(carol, room))["chunk"]) == 2


async def test_lists_of_threads_that_cannot_be_had(alice: MatrixClient, bob: MatrixClient) -> None:
    """Of rooms where one is not, and with parameters that are wrong."""
    room = await alice.create_room()
    for where in (room, "!no:where"):
        body = await bob.call("GET", v1("rooms", where, "threads"), expect=403)
        assert body["errcode"] == "M_FORBIDDEN"
    for query in ({"include": "some"}, {"limit": 0}, {"limit": "x"}, {"from": "there"}):
        body = await alice.call("GET", v1("rooms", room, "threads"), query=query, expect=400)
        assert body["errcode"] == "M_INVALID_PARAM", query


# --- unread ---------------------------------------------------------------------------------------------------------


async def test_threads_count_on_their_own(alice: MatrixClient, bob: MatrixClient) -> None:
    """For who asks for it; for others they count with the room. What relates to a reply counts in its thread."""
    room = await together(alice, bob)
    root, other = await alice.send(room, "root"), await alice.send(room, "other")
    mention = {"m.mentions": {"user_ids": [bob.user_id]}}
    relates_to = {"rel_type": "m.thread", "event_id": root}
    loud = await alice.send(room, {"msgtype": "m.text", "body": "Bob!", "m.relates_to": relates_to, **mention})
    await alice.send(room, {"msgtype": "m.text", "body": "?", "m.relates_to": {"rel_type": "x", "event_id": loud}})
    await react(alice, room, loud, "+")
    await reply(alice, room, other)

    assert unread(await bob.sync(filter=BY_THREAD), room) == ((2, 0), {root: (2, 1), other: (1, 0)})
    assert unread(await bob.sync(), room) == ((5, 1), {})


async def test_receipts_read_one_thread_or_all(alice: MatrixClient, bob: MatrixClient) -> None:
    """In the same answer as the receipt, for a live client too."""
    room = await together(alice, bob)
    root, other = await alice.send(room, "root"), await alice.send(room, "other")
    first, last = await reply(alice, room, root), await reply(alice, room, root)
    elsewhere = await reply(alice, room, other)
    sync = await bob.sync(filter=BY_THREAD)
    assert unread(sync, room) == ((2, 0), {root: (2, 0), other: (1, 0)})
    steps: tuple[tuple[str, str | None, tuple[int, int], dict[str, tuple[int, int]]], ...] = (
        (first, root, (2, 0), {root: (1, 0), other: (1, 0)}),
        (root, "main", (1, 0), {root: (1, 0), other: (1, 0)}),
        (other, "main", (0, 0), {root: (1, 0), other: (1, 0)}),
        (last, root, (0, 0), {other: (1, 0)}),
        (elsewhere, None, (0, 0), {}),
    )
    for event, thread, main, by_thread in steps:
        await read(bob, room, event, thread)
        sync = await bob.sync(sync["next_batch"], filter=BY_THREAD)
        assert unread(sync, room) == (main, by_thread)
        assert unread(await bob.sync(filter=BY_THREAD), room) == (main, by_thread)
    await reply(alice, room, root)
    sync = await bob.sync(sync["next_batch"], filter=BY_THREAD)
    assert unread(sync, room) == ((0, 0), {root: (1, 0)})
    await reply(bob, room, root)
    sync = await bob.sync(sync["next_batch"], filter=BY_THREAD)
    assert unread(sync, room) == ((0, 0), {})


async def test_speaking_reads_where_one_speaks(alice: MatrixClient, bob: MatrixClient) -> None:
    """Whoever answers in the room has not read its threads, nor the other way round."""
    room = await together(alice, bob)
    root = await alice.send(room, "root")
    await reply(alice, room, root)
    await bob.send(room, "here")
    assert unread(await bob.sync(filter=BY_THREAD), room) == ((0, 0), {root: (1, 0)})
    await alice.send(room, "there")
    await reply(bob, room, root)
    assert unread(await bob.sync(filter=BY_THREAD), room) == ((1, 0), {})


async def test_redacted_replies_do_not_count(alice: MatrixClient, bob: MatrixClient) -> None:
    """What was taken back before it was read is not unread in its thread."""
    room = await together(alice, bob)
    root = await alice.send(room, "root")
    first, last = await reply(alice, room, root), await reply(alice, room, root)
    await redact(alice, room, first)
    assert unread(await bob.sync(filter=BY_THREAD), room) == ((1, 0), {root: (1, 0)})
    await redact(alice, room, last)
    assert unread(await bob.sync(filter=BY_THREAD), room) == ((1, 0), {})


async def test_receipts_for_another_thread_are_refused(alice: MatrixClient, bob: MatrixClient) -> None:
    """An event is read in the thread in which it stands."""
    room = await together(alice, bob)
    root, plain = await alice.send(room, "root"), await alice.send(room, "plain")
    there = await reply(alice, room, root)
    for event, thread in ((there, "main"), (there, plain), (plain, root)):
        path = v3("rooms", room, "receipt", "m.read", event)
        assert (await bob.call("POST", path, {"thread_id": thread}, expect=400))["errcode"] == "M_INVALID_PARAM"
