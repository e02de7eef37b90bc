"""matrix-nio and what a room is besides talk: its names, its space, who knocks, what replaces it, what relates to what.

https://matrix-nio.readthedocs.io/
"""

import asyncio
from typing import Any

import pytest

from tests.builders.own_postgres import ServerOnOwnPostgres
from tests.builders.process import ServerProcess
from tests.builders.waiting import until
from tests.interop.nio_people import EVERYTHING, follow, is_invited, knows, meet, nio, noted, ok, say, synced, texts


async def test_aliases_and_the_directory(alice: Any, bob: Any) -> None:
    """A name is made, found, listed, followed, and taken back."""
    word = f"kitchen-{alice.user}"
    created = ok(
        await alice.room_create(name=word, alias=word, visibility=nio.RoomVisibility.public, topic="Cooking"),
        "RoomCreateResponse",
    )
    room, alias, second = created.room_id, f"#{word}:localhost", f"#{word}-too:localhost"
    ok(await alice.room_put_alias(second, room), "RoomPutAliasResponse")
    assert ok(await bob.room_resolve_alias(second), "RoomResolveAliasResponse").room_id == room
    ok(await alice.room_update_aliases(room, alias, [second]), "RoomUpdateAliasResponse")
    assert ok(await bob.room_get_visibility(room), "RoomGetVisibilityResponse").visibility == "public"
    listed = ok(await bob.list_public_rooms(filter_generic_search_term=word), "PublicRoomsResponse").public_rooms
    assert [(one.room_id, one.name, one.canonical_alias) for one in listed] == [(room, word, alias)]
    assert ok(await bob.join(alias), "JoinResponse").room_id == room
    await synced(bob)
    assert bob.rooms[room].canonical_alias == alias
    await bob.room_delete_alias(second)  # nio does not see that it is refused
    assert ok(await bob.room_resolve_alias(second), "RoomResolveAliasResponse").room_id == room
    ok(await alice.room_delete_alias(second), "RoomDeleteAliasResponse")
    assert ok(await bob.room_resolve_alias(second), "RoomResolveAliasError").status_code == "M_NOT_FOUND"


async def test_knocking(alice: Any, bob: Any) -> None:
    """Who knocks is seen by those inside, invited, and comes in."""
    room = ok(await alice.room_create(name="Tea"), "RoomCreateResponse").room_id
    ok(await alice.room_enable_knocking(room), "RoomPutStateResponse")
    await synced(alice)
    knocks: list[tuple[str, str | None]] = []
    alice.add_event_callback(
        lambda _, event: noted(knocks, (event.membership, event.content.get("reason"))), nio.RoomMemberEvent
    )
    assert ok(await bob.join(room), "JoinError").status_code == "M_FORBIDDEN"
    ok(await bob.room_knock(room, "May I come in?"), "RoomKnockResponse")
    await follow(alice, lambda: ("knock", "May I come in?") in knocks)
    ok(await alice.room_invite(room, bob.user_id), "RoomInviteResponse")
    await until(lambda: is_invited(bob, room))
    ok(await bob.join(room), "JoinResponse")
    await until(lambda: knows(alice, room, alice, bob))


async def test_a_space(alice: Any, bob: Any) -> None:
    """The hierarchy of a space lists what Bob may see, page by page."""
    public = nio.RoomPreset.public_chat
    space = ok(await alice.room_create(name="The house", space=True, preset=public), "RoomCreateResponse")
    names = ["Attic", "Kitchen", "Salon"]
    for name in names:
        child = ok(await alice.room_create(name=name, preset=public), "RoomCreateResponse")
        content = {"via": ["localhost"], "order": name}
        ok(await alice.room_put_state(space.room_id, "m.space.child", content, child.room_id), "RoomPutStateResponse")
    hidden = ok(await alice.room_create(name="Cellar"), "RoomCreateResponse")
    ok(
        await alice.room_put_state(space.room_id, "m.space.child", {"via": ["localhost"]}, hidden.room_id),
        "RoomPutStateResponse",
    )
    found: list[str] = []
    page = None
    for _ in range(len(names) + 2):
        answer = ok(await bob.space_get_hierarchy(space.room_id, page, limit=2), "SpaceGetHierarchyResponse")
        found += [room["name"] for room in answer.rooms]
        page = answer.next_batch
        if page is None:
            break
    assert found == ["The house", *names]
    ok(await bob.join(space.room_id), "JoinResponse")
    await synced(bob)
    assert bob.rooms[space.room_id].room_type == "m.space"
    assert len(bob.rooms[space.room_id].children) == len(names) + 1


async def test_what_relates_to_a_message(alice: Any, bob: Any) -> None:
    """Reactions, edits and threads are listed with what they belong to."""
    room = await meet(alice, bob)
    said = await say(alice, room, "Cake?")
    reactions: list[tuple[str, str]] = []
    alice.add_event_callback(lambda _, event: noted(reactions, (event.reacts_to, event.key)), nio.ReactionEvent)
    reaction = {"m.relates_to": {"rel_type": "m.annotation", "event_id": said, "key": "🎂"}}
    ok(await bob.room_send(room, "m.reaction", reaction), "RoomSendResponse")
    again = ok(await bob.room_send(room, "m.reaction", reaction), "RoomSendError")
    assert again.status_code == "M_DUPLICATE_ANNOTATION"
    await follow(alice, lambda: reactions == [(said, "🎂")])
    edit = {"msgtype": "m.text", "body": "* Pie?", "m.new_content": {"msgtype": "m.text", "body": "Pie?"}}
    edit |= {"m.relates_to": {"rel_type": "m.replace", "event_id": said}}
    ok(await alice.room_send(room, "m.room.message", edit), "RoomSendResponse")
    for text in ("Yes", "Please"):
        reply = {"msgtype": "m.text", "body": text, "m.relates_to": {"rel_type": "m.thread", "event_id": said}}
        ok(await bob.room_send(room, "m.room.message", reply), "RoomSendResponse")

    async def related(kind: Any, event_type: str) -> list[Any]:
        return [event async for event in bob.room_get_event_relations(room, said, kind, event_type, limit=1)]

    kinds = nio.api.RelationshipType
    assert [event.key for event in await related(kinds.annotation, "m.reaction")] == ["🎂"]
    assert [event.body for event in await related(kinds.replacement, "m.room.message")] == ["* Pie?"]
    assert [event.body for event in await related(kinds.thread, "m.room.message")] == ["Please", "Yes"]
    source = ok(await bob.room_get_event(room, said), "RoomGetEventResponse").event.source
    bundled = source["unsigned"]["m.relations"]
    assert bundled["m.replace"]["content"]["m.new_content"]["body"] == "Pie?"
    assert (bundled["m.thread"]["count"], bundled["m.thread"]["current_user_participated"]) == (2, True)


async def test_moving_to_another_room(alice: Any, bob: Any) -> None:
    """nio replaces a room by itself (a new one, then a tombstone); Bob sees where it went, and the way back."""
    room = await meet(alice, bob, version="10")
    await synced(alice)
    ok(await alice.room_upgrade(room, "11"), "RoomUpgradeResponse")
    tombstones: list[str] = []
    bob.add_event_callback(lambda _, event: noted(tombstones, event.replacement_room), nio.RoomUpgradeEvent)
    await follow(bob, lambda: len(tombstones) == 1)
    ok(await alice.room_invite(tombstones[0], bob.user_id), "RoomInviteResponse")
    await until(lambda: is_invited(bob, tombstones[0]))
    ok(await bob.join(tombstones[0]), "JoinResponse")
    state = ok(await bob.room_get_state_event(tombstones[0], "m.room.create"), "RoomGetStateEventResponse")
    assert state.content["predecessor"]["room_id"] == room
    await until(lambda: knows(bob, tombstones[0], alice, bob))
    assert bob.rooms[tombstones[0]].room_version == "11"
    assert bob.rooms[tombstones[0]].name == "Tea"


async def test_presence_filters_and_rules(alice: Any, bob: Any) -> None:
    """Bob's absence reaches Alice; a filter that she keeps on the server is obeyed; so is a rule of hers."""
    room = await meet(alice, bob)
    heard: list[tuple[str, str, str | None]] = []
    alice.add_presence_callback(
        lambda event: noted(heard, (event.user_id, event.presence, event.status_msg)), nio.PresenceEvent
    )
    ok(await bob.set_presence("unavailable", "Lunch"), "PresenceSetResponse")
    await follow(alice, lambda: (bob.user_id, "unavailable", "Lunch") in heard)
    shown = ok(await alice.get_presence(bob.user_id), "PresenceGetResponse")
    assert (shown.presence, shown.status_msg) == ("unavailable", "Lunch")

    only = {"timeline": {"types": ["m.room.message"], "not_senders": [alice.user_id]}}
    kept = ok(await alice.upload_filter(room=only), "UploadFilterResponse").filter_id
    await synced(alice)
    await say(alice, room, "mine")
    await say(bob, room, "Is there tea?")
    assert texts(ok(await alice.sync(30_000, kept), "SyncResponse"), room) == ["Is there tea?"]

    actions = [nio.PushNotify(), nio.PushSetTweak("highlight", True)]
    rule = await alice.set_pushrule("global", nio.PushRuleKind.content, "tea", actions=actions, pattern="tea")
    ok(rule, "SetPushRuleResponse")
    await say(bob, room, "More tea?")
    await follow(alice, lambda: alice.rooms[room].unread_highlights == 1)
    ok(await alice.delete_pushrule("global", nio.PushRuleKind.content, "tea"), "DeletePushRuleResponse")


@pytest.mark.parametrize("shared_by_tests", ["debian"], indirect=True)
@pytest.mark.parametrize("ending", ["restarted", "killed"])
async def test_the_database_restarts(server: ServerProcess, alice: Any, bob: Any, ending: str) -> None:
    """PostgreSQL is restarted under a running Parley, as upgrades of Debian do it: nothing is lost or said twice."""
    assert isinstance(server, ServerOnOwnPostgres)
    room = await meet(alice, bob)
    heard: list[str] = []
    bob.add_event_callback(lambda _, event: noted(heard, event.body), nio.RoomMessageText)
    await say(alice, room, "before")
    await follow(bob, lambda: heard == ["before"])
    listening = asyncio.ensure_future(bob.sync_forever(30_000, EVERYTHING, since=bob.next_batch))
    try:
        await until(server.waiting_syncs, what="Bob waits for news")
        said = asyncio.ensure_future(_say_on(alice, room, 30))
        await until(lambda: len(heard) > 5, what="some of it is heard")
        server.foresee("gave up on the database", "the database is away")
        if ending == "killed":
            await server.postgres.kill9()
        else:
            await server.postgres.stop()
        await server.postgres.start()
        await said
        await until(lambda: len(heard) >= 31, what="all of it is heard")
    finally:
        listening.cancel()
        await asyncio.wait([listening])
    assert heard == ["before", *(f"line {number}" for number in range(30))]
    assert await server.is_healthy()


async def _say_on(client: Any, room: str, count: int) -> None:
    """One after the other, each again with the same transaction id until it is answered with success."""
    for number in range(count):
        content = {"msgtype": "m.text", "body": f"line {number}"}

        async def sent(content: dict[str, str] = content, number: int = number) -> bool:
            answer = await client.room_send(room, "m.room.message", content, tx_id=f"line-{number}")
            return type(answer).__name__ == "RoomSendResponse"

        await until(sent, what=f"line {number} is said")
