"""Relations: pages of them, what of them is bundled with events, and which may not be made.

https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events
"""

from typing import Any

import pytest

from tests.conformance.client import MatrixClient, v3

Json = dict[str, Any]


def v1(*parts: str) -> str:
    return v3(*parts).replace("/v3/", "/v1/", 1)


def relation(rel_type: str, event: str, **more: Any) -> Json:
    return {"m.relates_to": {"rel_type": rel_type, "event_id": event, **more}}


def text(body: str, **more: Any) -> Json:
    return {"msgtype": "m.text", "body": body, **more}


async def reply(client: MatrixClient, room: str, root: str, body: str = "reply") -> str:
    return await client.send(room, text(body, **relation("m.thread", root)))


async def edit(client: MatrixClient, room: str, event: str, body: str) -> str:
    return await client.send(room, text("* " + body, **{"m.new_content": text(body)}, **relation("m.replace", event)))


async def react(client: MatrixClient, room: str, event: str, key: str) -> str:
    return await client.send(room, relation("m.annotation", event, key=key), "m.reaction")


async def redact(client: MatrixClient, room: str, event: str) -> None:
    await client.call("PUT", v3("rooms", room, "redact", event, "r" + event[1:]))


async def ignore(client: MatrixClient, *others: MatrixClient) -> None:
    content: Json = {"ignored_users": {other.user_id: {} for other in others}}
    await client.call("PUT", v3("user", client.user_id, "account_data", "m.ignored_user_list"), content)


async def together(alice: MatrixClient, *others: MatrixClient, **options: Any) -> str:
    room = await alice.create_room(preset="public_chat", **options)
    for other in others:
        await other.join(room)
    return room


async def related(client: MatrixClient, room: str, event: str, *kinds: str, **query: Any) -> Json:
    body: Json = await client.call("GET", v1("rooms", room, "relations", event, *kinds), query=query)
    return body


async def bundled(client: MatrixClient, room: str, event: str) -> Json:
    """What comes with the event itself."""
    found: Json = await client.call("GET", v3("rooms", room, "event", event))
    relations: Json = found["unsigned"].get("m.relations", {})
    return relations


def ids(events: list[Json]) -> list[str]:
    return [event["event_id"] for event in events]


# --- pages ----------------------------------------------------------------------------------------------------------


async def test_pages_of_relations(alice: MatrixClient, bob: MatrixClient) -> None:
    """All of them, of one kind, of one type of event; both ways; whatever the size of a page, each comes once."""
    room = await together(alice, bob)
    parent = await alice.send(room, "parent")
    reactions = [await react(one, room, parent, key) for one in (alice, bob) for key in "abc"]
    edited = await edit(alice, room, parent, "better")
    sticker = await bob.send(room, relation("m.annotation", parent, key="a"), "org.example.sticker")
    await alice.send(room, text("plain", **{"m.relates_to": {"m.in_reply_to": {"event_id": parent}}}))
    everything = [*reactions, edited, sticker]

    assert ids((await related(alice, room, parent))["chunk"]) == everything[::-1]
    assert ids((await related(alice, room, parent, dir="f"))["chunk"]) == everything
    annotations = await related(alice, room, parent, "m.annotation")
    assert ids(annotations["chunk"]) == [sticker, *reactions[::-1]]
    assert ids((await related(alice, room, parent, "m.annotation", "m.reaction"))["chunk"]) == reactions[::-1]
    assert ids((await related(alice, room, parent, "m.thread"))["chunk"]) == []
    for direction, expected in (("b", everything[::-1]), ("f", everything)):
        for limit in (1, 3, 8, 50):
            page = await related(alice, room, parent, dir=direction, limit=limit)
            assert "prev_batch" not in page and "recursion_depth" not in page
            found = ids(page["chunk"])
            while "next_batch" in page:
                page = await related(alice, room, parent, dir=direction, limit=limit, **{"from": page["next_batch"]})
                found += ids(page["chunk"])
            assert found == expected, (direction, limit)


async def test_pages_of_relations_take_other_tokens(alice: MatrixClient) -> None:
    """Those of sync and of /messages are places too; `to` ends a page."""
    room = await alice.create_room()
    parent = await alice.send(room, "parent")
    early = await react(alice, room, parent, "early")
    since = (await alice.sync())["next_batch"]
    late = await react(alice, room, parent, "late")
    page = await alice.messages(room, limit=1)

    assert ids((await related(alice, room, parent, to=since))["chunk"]) == [late]
    assert ids((await related(alice, room, parent, **{"from": since}))["chunk"]) == [early]
    assert ids((await related(alice, room, parent, **{"from": since, "dir": "f"}))["chunk"]) == [late]
    assert ids((await related(alice, room, parent, **{"from": page["end"]}))["chunk"]) == [early]


async def test_recursion(alice: MatrixClient) -> None:
    """Three generations, filtered at each; the depth is told if it was asked for."""
    room = await alice.create_room()
    root = await alice.send(room, "root")
    child = await reply(alice, room, root)
    grandchild = await edit(alice, room, child, "better")
    great = await react(alice, room, grandchild, "+")
    await react(alice, room, great, "too deep")
    other = await react(alice, room, root, "+")
    page = await related(alice, room, root, recurse=True)

    assert ids(page["chunk"]) == [other, great, grandchild, child]
    assert page["recursion_depth"] == 3
    assert ids((await related(alice, room, root, recurse=True, dir="f", limit=2))["chunk"]) == [child, grandchild]
    assert ids((await related(alice, room, root, "m.thread", recurse=True))["chunk"]) == [child]
    assert ids((await related(alice, room, root, "m.annotation", recurse=True))["chunk"]) == [other]
    unstable = await related(alice, room, root, **{"org.matrix.msc3981.recurse": True})
    assert ids(unstable["chunk"]) == ids(page["chunk"])
    shallow = await related(alice, room, root, recurse=False)
    assert (ids(shallow["chunk"]), shallow["recursion_depth"]) == ([other, child], 1)


async def test_relations_that_cannot_be_had(alice: MatrixClient, bob: MatrixClient) -> None:
    """Of events that one may not see, or that are not there; and every parameter with a wrong value."""
    room, other = await alice.create_room(), await alice.create_room()
    parent = await alice.send(room, "parent")
    for client, where, event in (
        (bob, room, parent),
        (alice, other, parent),
        (alice, room, "$no"),
        (alice, room, "no"),
    ):
        body = await client.call("GET", v1("rooms", where, "relations", event), expect=404)
        assert body["errcode"] == "M_NOT_FOUND"
    path = v1("rooms", room, "relations", parent)
    for query in ({"dir": "x"}, {"limit": 0}, {"limit": "x"}, {"from": "here"}, {"to": ""}, {"recurse": "1"}):
        answer = await alice.ask("GET", path, query=query)
        assert (answer.status, answer.body["errcode"]) == (400, "M_INVALID_PARAM"), query
    assert (await alice.ask("GET", f"{path}/%00")).status == 400
    assert (await alice.call("GET", path, token="", expect=401))["errcode"] == "M_MISSING_TOKEN"


# --- bundles --------------------------------------------------------------------------------------------------------


async def test_the_newest_valid_edit_is_bundled(alice: MatrixClient, bob: MatrixClient) -> None:
    """Whole, with the original left as it is; not that of others, of another type, without new content, of an edit."""
    room = await together(alice, bob)
    original = await alice.send(room, "original")
    await edit(alice, room, original, "first")
    second = await edit(alice, room, original, "second")
    await edit(bob, room, original, "of another")
    await alice.send(room, text("no new content", **relation("m.replace", original)))
    content = {"m.new_content": text("type"), **relation("m.replace", original)}
    await alice.send(room, content, "org.example.other")
    await edit(alice, room, second, "edit of an edit")
    event = await bob.call("GET", v3("rooms", room, "event", original))

    assert event["content"]["body"] == "original"
    newest = event["unsigned"]["m.relations"]["m.replace"]
    assert (newest["event_id"], newest["content"]["m.new_content"]["body"]) == (second, "second")
    assert (newest["sender"], newest["room_id"], newest["type"]) == (alice.user_id, room, "m.room.message")
    assert await bundled(bob, room, second) == {}
    await redact(alice, room, second)
    assert (await bundled(bob, room, original))["m.replace"]["content"]["m.new_content"]["body"] == "first"
    await redact(alice, room, original)
    assert await bundled(bob, room, original) == {}


async def test_state_is_not_edited_and_bundles_nothing(alice: MatrixClient) -> None:
    """Neither is a state event an edit."""
    room = await alice.create_room()
    topic = await alice.set_state(room, "m.room.topic", {"topic": "old"})
    await alice.send(room, {"m.new_content": {"topic": "x"}, **relation("m.replace", topic)}, "m.room.topic")
    message = await alice.send(room, {"body": "x"}, "org.example")
    await alice.set_state(room, "org.example", {"m.new_content": {"body": "y"}, **relation("m.replace", message)})

    assert await bundled(alice, room, topic) == {}
    assert await bundled(alice, room, message) == {}
    assert len((await related(alice, room, message))["chunk"]) == 1


async def test_encrypted_edits_are_bundled(alice: MatrixClient) -> None:
    """Whatever they hold: the server cannot look. What is encrypted is not edited in the clear."""
    room = await alice.create_room()
    secret = {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "AAAA", "session_id": "x"}
    original = await alice.send(room, secret, "m.room.encrypted")
    edited = await alice.send(room, {**secret, **relation("m.replace", original)}, "m.room.encrypted")
    await edit(alice, room, original, "in the clear")

    assert (await bundled(alice, room, original))["m.replace"]["event_id"] == edited


async def test_references_are_bundled_and_reactions_are_not(alice: MatrixClient, bob: MatrixClient) -> None:
    """In the order of their coming; without those that were redacted, or sent by ignored people."""
    room = await together(alice, bob)
    parent = await alice.send(room, "parent")
    await react(bob, room, parent, "+")
    assert await bundled(alice, room, parent) == {}
    references = [
        await client.send(room, relation("m.reference", parent), "org.example.vote") for client in (alice, bob, alice)
    ]
    expected = {"m.reference": {"chunk": [{"event_id": event} for event in references]}}
    assert await bundled(alice, room, parent) == expected
    await redact(alice, room, references[0])
    await ignore(alice, bob)
    assert await bundled(alice, room, parent) == {"m.reference": {"chunk": [{"event_id": references[2]}]}}


async def test_threads_are_bundled(alice: MatrixClient, bob: MatrixClient, carol: MatrixClient) -> None:
    """Their newest reply with what is bundled with it, their number, and whether one takes part oneself."""
    room = await together(alice, bob, carol)
    root = await alice.send(room, "root")
    await reply(bob, room, root, "one")
    last = await reply(bob, room, root, "two")
    corrected = await edit(bob, room, last, "2")
    thread = (await bundled(carol, room, root))["m.thread"]

    assert (thread["count"], thread["current_user_participated"]) == (2, False)
    assert thread["latest_event"]["event_id"] == last
    assert thread["latest_event"]["unsigned"]["m.relations"]["m.replace"]["event_id"] == corrected
    for client in (alice, bob):
        assert (await bundled(client, room, root))["m.thread"]["current_user_participated"] is True
    await ignore(carol, bob)
    assert await bundled(carol, room, root) == {}
    await reply(alice, room, root, "three")
    thread = (await bundled(carol, room, root))["m.thread"]
    assert (thread["count"], thread["latest_event"]["content"]["body"]) == (1, "three")


async def test_threads_of_redacted_roots_and_replies(alice: MatrixClient, bob: MatrixClient) -> None:
    """A redacted reply is none; a root that was redacted keeps its thread, but no edit."""
    room = await together(alice, bob)
    root = await alice.send(room, "root")
    await edit(alice, room, root, "better")
    kept, gone = await reply(bob, room, root), await reply(bob, room, root)
    await redact(bob, room, gone)
    await redact(alice, room, root)
    relations = await bundled(bob, room, root)

    assert relations.keys() == {"m.thread"}
    assert (relations["m.thread"]["count"], relations["m.thread"]["latest_event"]["event_id"]) == (1, kept)
    await redact(bob, room, kept)
    assert await bundled(bob, room, root) == {}
    assert (await alice.call("GET", v1("rooms", room, "threads")))["chunk"] == []


async def test_every_answer_that_bundles(alice: MatrixClient, bob: MatrixClient) -> None:
    """/messages, /context, /event, /relations, /threads, and /sync where its timeline is limited; a live client is told
    of the edit itself."""
    room = await together(alice, bob)
    root = await alice.send(room, "root")
    first = await reply(alice, room, root)
    since = (await bob.sync())["next_batch"]
    newest = await edit(alice, room, first, "better")
    live = (await bob.sync(since))["rooms"]["join"][room]["timeline"]
    assert (live["limited"], ids(live["events"])) == (False, [newest])

    page = (await bob.messages(room))["chunk"]
    context = await bob.call("GET", v3("rooms", room, "context", first))
    cut = (await bob.sync(filter={"room": {"timeline": {"limit": 2}}}))["rooms"]["join"][room]["timeline"]
    assert cut["limited"] is True
    answers = {
        "messages": page,
        "context": [context["event"]],
        "event": [await bob.call("GET", v3("rooms", room, "event", first))],
        "relations": (await related(bob, room, root))["chunk"],
        "threads": [
            (await bob.call("GET", v1("rooms", room, "threads")))["chunk"][0]["unsigned"]["m.relations"]["m.thread"][
                "latest_event"
            ]
        ],
        "sync": cut["events"],
    }
    for name, events in answers.items():
        [event] = [event for event in events if event["event_id"] == first]
        assert event["unsigned"]["m.relations"]["m.replace"]["event_id"] == newest, name
    around = await bob.call("GET", v3("rooms", room, "context", newest))
    assert around["events_before"][0]["unsigned"]["m.relations"]["m.replace"]["event_id"] == newest
    whole = (await bob.sync())["rooms"]["join"][room]["timeline"]
    assert whole["limited"] is False or "m.relations" in str(whole)


@pytest.mark.parametrize("visibility", ["shared", "joined"])
async def test_bundles_hold_what_may_be_seen(alice: MatrixClient, bob: MatrixClient, visibility: str) -> None:
    """Whoever left is bundled nothing that came later; nor is what was said before one came, where that is hidden."""
    state = [{"type": "m.room.history_visibility", "content": {"history_visibility": visibility}}]
    room = await alice.create_room(preset="public_chat", initial_state=state)
    await bob.join(room)
    root = await alice.send(room, "root")
    seen = await reply(alice, room, root, "seen")
    await edit(alice, room, root, "seen")
    await alice.send(room, relation("m.reference", root), "org.example")
    before = await bundled(bob, room, root)
    assert before.keys() == {"m.thread", "m.replace", "m.reference"}
    await bob.leave(room)
    await edit(alice, room, root, "unseen")
    await reply(alice, room, root, "unseen")
    await alice.send(room, relation("m.reference", root), "org.example")

    after = await bundled(bob, room, root)
    assert after["m.replace"]["event_id"] == before["m.replace"]["event_id"]
    assert after["m.reference"] == before["m.reference"]
    assert (after["m.thread"]["count"], after["m.thread"]["latest_event"]["event_id"]) == (1, seen)
    assert len((await related(bob, room, root))["chunk"]) == 3
    [listed] = (await bob.call("GET", v1("rooms", room, "threads")))["chunk"]
    assert listed["unsigned"]["m.relations"]["m.thread"]["count"] == 1
    await bob.join(room)
    count = (await bundled(bob, room, root))["m.thread"]["count"]
    assert count == (2 if visibility == "shared" else 1)
    assert len((await related(bob, room, root))["chunk"]) == (6 if visibility == "shared" else 3)


# --- what may not be sent ---------------------------------------------------------------------------------------------


async def test_nobody_reacts_twice_alike(alice: MatrixClient, bob: MatrixClient) -> None:
    """The same key on the same event: refused, unless the first one was redacted; repeated requests are answered."""
    room = await together(alice, bob)
    one, other = await alice.send(room, "one"), await alice.send(room, "other")
    first = await react(alice, room, one, "+")
    content = relation("m.annotation", one, key="+")
    path = v3("rooms", room, "send", "m.reaction", "again")
    assert (await alice.call("PUT", path, content, expect=400))["errcode"] == "M_DUPLICATE_ANNOTATION"
    for client, event, key in ((alice, one, "-"), (alice, other, "+"), (bob, one, "+"), (alice, one, "\0")):
        await react(client, room, event, key)
    await alice.send(room, content, "org.example.sticker")
    await redact(alice, room, first)
    again = await alice.send(room, content, "m.reaction", txn="t")
    assert await alice.send(room, content, "m.reaction", txn="t") == again
    body = await alice.call("PUT", path, relation("m.annotation", one, key="\0"), expect=400)
    assert body["errcode"] == "M_DUPLICATE_ANNOTATION"


async def test_threads_do_not_nest(alice: MatrixClient) -> None:
    """None begins at a reply in a thread, an edit, a reaction or a reference; at a plain reply it may."""
    room = await alice.create_room()
    root = await alice.send(room, "root")
    plain = await alice.send(room, text("reply", **{"m.relates_to": {"m.in_reply_to": {"event_id": root}}}))
    await reply(alice, room, plain)
    related_events = [
        await reply(alice, room, root),
        await edit(alice, room, root, "better"),
        await react(alice, room, root, "+"),
        await alice.send(room, relation("m.reference", root), "org.example"),
    ]
    path = v3("rooms", room, "send", "m.room.message", "t")
    for event in related_events:
        body = await alice.call("PUT", path, text("x", **relation("m.thread", event)), expect=400)
        assert body["errcode"] == "M_UNKNOWN"
    await reply(alice, room, "$unknown")


async def test_relations_that_are_none(alice: MatrixClient) -> None:
    """What does not match the schema is ignored, and what points into another room does nothing there."""
    room, other = await alice.create_room(), await alice.create_room()
    parent = await alice.send(room, "parent")
    nothing: tuple[Any, ...] = (
        None, 1, [], {}, {"rel_type": "m.thread"}, {"event_id": parent}, {"rel_type": 1, "event_id": parent},
        {"rel_type": "", "event_id": parent}, {"rel_type": "x" * 300, "event_id": parent},
        {"rel_type": "\0", "event_id": parent}, {"rel_type": "m.thread", "event_id": "no"},
    )  # fmt: skip
    for relates_to in nothing:
        await alice.send(room, text("x", **{"m.relates_to": relates_to}))
    await reply(alice, other, parent)
    await edit(alice, other, parent, "from elsewhere")

    assert (await related(alice, room, parent))["chunk"] == []
    assert await bundled(alice, room, parent) == {}
    for where in (room, other):
        assert (await alice.call("GET", v1("rooms", where, "threads")))["chunk"] == []
