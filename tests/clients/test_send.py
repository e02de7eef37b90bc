"""Sending messages and redactions."""

import asyncio
from typing import Any

from tests.conformance.client import MatrixClient, v3

TEXT = {"msgtype": "m.text", "body": "hello"}


async def the_event(client: MatrixClient, room: str, event_id: str) -> dict[str, Any]:
    found: dict[str, Any] = await client.call("GET", v3("rooms", room, "event", event_id))
    return found


async def test_a_transaction_id_sends_once(alice: MatrixClient, bob: MatrixClient) -> None:
    """The same device, room, type and id: the first event, also when both come at once. Anything else: another one."""
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    path = v3("rooms", room, "send", "m.room.message", "same")
    answers = await asyncio.gather(*(alice.call("PUT", path, TEXT) for _ in range(5)))
    again = await alice.call("PUT", path, {**TEXT, "body": "changed"})
    others = [
        await bob.call("PUT", path, TEXT),
        await alice.call("PUT", v3("rooms", room, "send", "org.example", "same"), TEXT),
        await alice.call("PUT", v3("rooms", room, "send", "m.room.message", "other"), TEXT),
    ]
    first = again["event_id"]

    assert all(answer["event_id"] == first for answer in answers)
    assert len({first, *(other["event_id"] for other in others)}) == 4
    assert (await the_event(alice, room, first))["unsigned"]["transaction_id"] == "same"
    assert "transaction_id" not in (await the_event(bob, room, first))["unsigned"]


async def test_transaction_ids_belong_to_a_device(alice: MatrixClient) -> None:
    """Another device of the same user may use the same id for something else."""
    room = await alice.create_room()
    path = v3("rooms", room, "send", "m.room.message", "same")
    first = await alice.call("PUT", path, TEXT)
    await alice.login("alice")
    assert await alice.call("PUT", path, TEXT) != first


async def test_what_cannot_be_sent(alice: MatrixClient, bob: MatrixClient) -> None:
    """Wrong rooms, people, types, ids and contents, each with its errcode."""
    room = await alice.create_room()
    assert (await alice.send(room, {"a": 2**53 - 1, "b": -(2**53) + 1}, "org.example")).startswith("$")
    wrong: list[tuple[str, str, str, Any, int, str]] = [
        (room, "m.room.message", "t", {"body": "x"}, 400, "M_BAD_JSON"),
        (room, "m.room.message", "t", {"msgtype": "m.text"}, 400, "M_BAD_JSON"),
        (room, "m.room.message", "t", {"msgtype": 1, "body": "x"}, 400, "M_BAD_JSON"),
        (room, "m.room.message", "t", {"msgtype": "m.text", "body": {}}, 400, "M_BAD_JSON"),
        (room, "org.example", "t", {"a": 1.5}, 400, "M_BAD_JSON"),
        (room, "org.example", "t", {"a": 2**53}, 400, "M_BAD_JSON"),
        (room, "org.example", "t", {"a": "x" * 65_536}, 413, "M_TOO_LARGE"),
        (room, "x" * 256, "t", {}, 400, "M_INVALID_PARAM"),
        (room, "org.example", "t" * 256, {}, 400, "M_INVALID_PARAM"),
        (room, "m.room.member", "t", {"membership": "join"}, 403, "M_FORBIDDEN"),
        (room, "m.room.create", "t", {}, 403, "M_FORBIDDEN"),
        ("!no:where", "org.example", "t", {}, 404, "M_NOT_FOUND"),
    ]
    for where, type, txn, content, status, errcode in wrong:
        answer = await alice.ask("PUT", v3("rooms", where, "send", type, txn), content)
        assert (answer.status, answer.body["errcode"]) == (status, errcode), (type, content)
    refused = await bob.call("PUT", v3("rooms", room, "send", "org.example", "t"), {}, expect=403)
    assert refused["errcode"] == "M_FORBIDDEN"


async def test_the_largest_event_fits(alice: MatrixClient) -> None:
    """65,536 bytes with everything that the server adds: some body just below is sent, a longer one is not."""
    room = await alice.create_room()
    await alice.send(room, {"a": "x" * 64_500}, "org.example")
    answer = await alice.ask("PUT", v3("rooms", room, "send", "org.example", "big"), {"a": "x" * 65_400})
    assert (answer.status, answer.body["errcode"]) == (413, "M_TOO_LARGE")


async def test_a_muted_member_cannot_send(alice: MatrixClient, bob: MatrixClient) -> None:
    """Levels decide; a refused event leaves no trace in the timeline."""
    room = await alice.create_room(preset="public_chat", power_level_content_override={"events_default": 50})
    await bob.join(room)
    path = v3("rooms", room, "send", "m.room.message", "t")
    assert (await bob.call("PUT", path, TEXT, expect=403))["errcode"] == "M_FORBIDDEN"
    await alice.set_state(room, "m.room.power_levels", {"users": {bob.user_id: 50}, "events_default": 50})
    sent = (await bob.call("PUT", path, TEXT))["event_id"]

    senders = [event["sender"] for event in (await alice.messages(room, limit=2))["chunk"]]
    assert senders == [bob.user_id, alice.user_id]
    assert (await the_event(alice, room, sent))["content"] == TEXT


async def test_redacting(alice: MatrixClient, bob: MatrixClient) -> None:
    """The content goes, the redaction stays and says why; twice is once; power lets redact what others said."""
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    own, others = await bob.send(room, "mine"), await alice.send(room, "hers")
    path = v3("rooms", room, "redact", own, "t")
    redaction = (await bob.call("PUT", path, {"reason": "typo"}))["event_id"]
    assert (await bob.call("PUT", path, {"reason": "typo"}))["event_id"] == redaction
    seen = await the_event(alice, room, own)
    told = await the_event(alice, room, redaction)

    assert seen["content"] == {}
    assert seen["unsigned"]["redacted_because"]["event_id"] == redaction
    assert (told["redacts"], told["content"]) == (own, {"redacts": own, "reason": "typo"})
    assert (await bob.call("PUT", v3("rooms", room, "redact", others, "t"), expect=403))["errcode"] == "M_FORBIDDEN"
    await alice.call("PUT", v3("rooms", room, "redact", await bob.send(room, "again"), "t"))


async def test_a_transaction_id_redacts_each_target_once(alice: MatrixClient) -> None:
    """The target is part of the path, so the same id for another one is another request."""
    for version in ("10", "12"):
        room = await alice.create_room(room_version=version)
        targets = [await alice.send(room, f"m{n}") for n in range(3)]
        paths = [v3("rooms", room, "redact", target, "t") for target in targets]
        first = [(await alice.call("PUT", path))["event_id"] for path in paths]
        again = [(await alice.call("PUT", path))["event_id"] for path in paths]
        assert first == again
        assert len(set(first)) == 3


async def test_redacting_through_send(alice: MatrixClient) -> None:
    """Since version 1.18 of the spec, the same by an event of type m.room.redaction."""
    for version in ("10", "12"):
        room = await alice.create_room(room_version=version)
        said = await alice.send(room, "oops")
        content = {"redacts": said, "reason": "typo"}
        redaction = await alice.send(room, content, "m.room.redaction", "t")
        assert await alice.send(room, content, "m.room.redaction", "t") == redaction
        assert (await the_event(alice, room, said))["content"] == {}
        for wrong in ({}, {"redacts": 1}, {"redacts": "x"}):
            await alice.call("PUT", v3("rooms", room, "send", "m.room.redaction", "w"), wrong, expect=400)


async def test_what_cannot_be_redacted(alice: MatrixClient, bob: MatrixClient) -> None:
    """Something that is no event id, an event of another room, the create event, a room that one is not in."""
    room, other = await alice.create_room(), await alice.create_room()
    elsewhere = await alice.send(other, "elsewhere")
    create = next(event["event_id"] for event in await alice.state(room) if event["type"] == "m.room.create")
    for target, status, errcode in (
        ("event", 400, "M_INVALID_PARAM"),
        (elsewhere, 400, "M_INVALID_PARAM"),
        (create, 403, "M_FORBIDDEN"),
    ):
        answer = await alice.ask("PUT", v3("rooms", room, "redact", target, "t"))
        assert (answer.status, answer.body["errcode"]) == (status, errcode), target
    path = v3("rooms", room, "redact", await alice.send(room, "x"), "t")
    assert (await alice.call("PUT", path, {"reason": 1}, expect=400))["errcode"] == "M_BAD_JSON"
    assert (await bob.call("PUT", path, expect=403))["errcode"] == "M_FORBIDDEN"


async def test_redacted_state_keeps_what_the_room_needs(alice: MatrixClient, bob: MatrixClient) -> None:
    """A redacted name is no name; a redacted membership is still one."""
    room = await alice.create_room(name="Rude", preset="public_chat")
    await bob.join(room)
    events = {(event["type"], event["state_key"]): event["event_id"] for event in await alice.state(room)}
    for key in (("m.room.name", ""), ("m.room.member", bob.user_id)):
        await alice.call("PUT", v3("rooms", room, "redact", events[key], f"t{key[0]}"))

    assert await alice.state(room, "m.room.name") == {}
    assert (await alice.state(room, "m.room.member", bob.user_id))["membership"] == "join"
    await bob.send(room, "still here")
