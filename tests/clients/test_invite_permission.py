"""Users who want no invites get none, and see none; those who are ignored may invite, and are not seen."""

from typing import Any

import pytest

from tests.conformance.client import MatrixClient, v3


async def want(client: MatrixClient, content: dict[str, Any]) -> None:
    await client.call("PUT", v3("user", client.user_id, "account_data", "m.invite_permission_config"), content)


async def ignore(client: MatrixClient, *user_ids: str) -> None:
    content: dict[str, Any] = {"ignored_users": {user_id: {} for user_id in user_ids}}
    await client.call("PUT", v3("user", client.user_id, "account_data", "m.ignored_user_list"), content)


async def invites(client: MatrixClient, since: str | None = None) -> tuple[set[str], str]:
    synced = await client.sync(since)
    return set(synced.get("rooms", {}).get("invite", {})), synced["next_batch"]


async def test_nobody_invites_who_wants_none(alice: MatrixClient, bob: MatrixClient) -> None:
    """Not by /invite, not by state, not with a new room: 403 M_INVITE_BLOCKED, and no room is left behind."""
    room = await alice.create_room()
    await want(bob, {"default_action": "block"})
    member = v3("rooms", room, "state", "m.room.member", bob.user_id)
    for method, path, body in (
        ("POST", v3("rooms", room, "invite"), {"user_id": bob.user_id}),
        ("PUT", member, {"membership": "invite"}),
        ("POST", v3("createRoom"), {"invite": [bob.user_id]}),
    ):
        refused = await alice.call(method, path, body, expect=403)
        assert refused["errcode"] == "M_INVITE_BLOCKED"
    assert (await alice.call("GET", v3("joined_rooms")))["joined_rooms"] == [room]
    await alice.call("POST", v3("rooms", room, "ban"), {"user_id": bob.user_id})
    await alice.call("POST", v3("rooms", room, "unban"), {"user_id": bob.user_id})
    await want(bob, {})
    await alice.invite(room, bob.user_id)


@pytest.mark.parametrize("content", [{}, {"default_action": "allow"}, {"default_action": ["block"]}, {"x": "block"}])
async def test_other_wishes_block_nothing(alice: MatrixClient, bob: MatrixClient, content: dict[str, Any]) -> None:
    """ "A missing, invalid or unsupported value means that the user wants to receive invites as normal"."""
    await want(bob, content)
    room = await alice.create_room(invite=[bob.user_id])
    assert (await invites(bob))[0] == {room}


async def test_invites_of_before_hide_and_come_back(alice: MatrixClient, bob: MatrixClient) -> None:
    """ "invite events for this user already in the database ... MUST NOT be served over client synchronisation"; a
    device that is in the middle of its syncs hears of them once invites are wanted again."""
    room = await alice.create_room(invite=[bob.user_id])
    told, since = await invites(bob)
    assert told == {room}
    await want(bob, {"default_action": "block"})
    assert (await invites(bob))[0] == set()
    told, since = await invites(bob, since)
    assert told == set()
    await want(bob, {})
    assert (await invites(bob, since))[0] == (await invites(bob))[0] == {room}
    assert await bob.join(room) == room


async def test_invites_of_who_is_ignored_are_not_seen(alice: MatrixClient, bob: MatrixClient) -> None:
    """They are sent, and told once nobody is ignored any more."""
    _, since = await invites(bob)
    await ignore(bob, alice.user_id)
    room = await alice.create_room(invite=[bob.user_id])
    told, since = await invites(bob, since)
    assert told == (await invites(bob))[0] == set()
    await ignore(bob)
    assert (await invites(bob, since))[0] == {room}


async def test_knocking_is_answered_by_an_invite(alice: MatrixClient, bob: MatrixClient, carol: MatrixClient) -> None:
    """By alias; members see the knock; the room is told to who knocks; elsewhere there is no knocking."""
    rules = [{"type": "m.room.join_rules", "content": {"join_rule": "knock"}}]
    room = await alice.create_room(name="Closed", room_alias_name="closed", initial_state=rules)
    knocked = await bob.call("POST", v3("knock", "#closed:test.example"), {"reason": "please"})
    assert knocked == {"room_id": room}
    assert await bob.call("POST", v3("knock", room)) == knocked
    assert (await alice.state(room, "m.room.member", bob.user_id))["reason"] == "please"
    state = (await bob.sync())["rooms"]["knock"][room]["knock_state"]["events"]
    assert {event["type"] for event in state} >= {"m.room.create", "m.room.name", "m.room.member"}
    await bob.call("POST", v3("join", room), expect=403)
    await alice.invite(room, bob.user_id)
    await bob.join(room)
    await carol.call("POST", v3("knock", room))
    await alice.call("POST", v3("rooms", room, "kick"), {"user_id": carol.user_id, "reason": "no"})
    assert room not in (await carol.sync()).get("rooms", {}).get("knock", {})
    private = await alice.create_room()
    await bob.call("POST", v3("knock", private), expect=403)
    await bob.call("POST", v3("knock", "#nowhere:test.example"), expect=404)
