"""Upgrading a room: what goes along, what stays, and who may."""

from typing import Any

import pytest

from homeserver.domain.versions import ROOM_VERSIONS
from tests.builders.cluster import SERVER_NAME
from tests.clients.conftest import Served
from tests.conformance.client import MatrixClient, v3

VERSIONS = sorted(ROOM_VERSIONS, key=int)
STATE: dict[str, dict[str, Any]] = {
    "m.room.server_acl": {"allow": ["*"], "deny": ["evil.example"]},
    "m.room.encryption": {"algorithm": "m.megolm.v1.aes-sha2"},
    "m.room.avatar": {"url": "mxc://test.example/avatar"},
    "m.room.guest_access": {"guest_access": "forbidden"},
    "m.room.history_visibility": {"history_visibility": "invited"},
    "m.room.join_rules": {"join_rule": "public"},
}


async def upgrade(client: MatrixClient, room: str, version: str, expect: int = 200, **fields: Any) -> Any:
    body = {"new_version": version, **fields}
    answer = await client.call("POST", v3("rooms", room, "upgrade"), body, expect=expect)
    return answer["replacement_room"] if expect == 200 else answer


async def level(client: MatrixClient, room: str, key: str) -> Any:
    return (await client.state(room, "m.room.power_levels"))[key]


@pytest.mark.parametrize("before", ["1", "11", "12"])
@pytest.mark.parametrize("after", VERSIONS)
async def test_a_room_goes_along_from_version_to_version(alice: MatrixClient, before: str, after: str) -> None:
    """The recommended state, the aliases and the bans; both rooms name each other, and the old one is closed."""
    alias, bob = f"#garden:{SERVER_NAME}", "@bob:other.example"
    room = await alice.create_room(
        room_version=before,
        name="Garden",
        topic="Plants",
        room_alias_name="garden",
        visibility="public",
        creation_content={"type": "org.example.garden", "m.federate": False},
        initial_state=[{"type": type, "content": content} for type, content in STATE.items()],
    )
    await alice.call("POST", v3("rooms", room, "ban"), {"user_id": bob, "reason": "weeds"})
    levels = await alice.state(room, "m.room.power_levels")
    await alice.set_state(room, "m.room.power_levels", {**levels, "kick": 42, "users_default": 7})
    new = await upgrade(alice, room, after)
    for type, content in STATE.items():
        assert await alice.state(new, type) == content
    assert await alice.state(new, "m.room.name") == {"name": "Garden"}
    assert (await alice.state(new, "m.room.topic"))["topic"] == "Plants"
    create = await alice.state(new, "m.room.create")
    assert create["room_version"] == after and create["type"] == "org.example.garden" and create["m.federate"] is False
    tombstone = await alice.call("GET", v3("rooms", room, "state", "m.room.tombstone", ""), query={"format": "event"})
    assert tombstone["content"]["replacement_room"] == new
    assert create["predecessor"] == {"room_id": room, **({} if after == "12" else {"event_id": tombstone["event_id"]})}
    assert (await alice.state(new, "m.room.member", bob)) == {"membership": "ban", "reason": "weeds"}
    assert await level(alice, new, "kick") == 42 and await level(alice, new, "users_default") == 7
    users = await level(alice, new, "users")
    assert users == ({} if after == "12" else {alice.user_id: 100})
    assert (await level(alice, room, "invite"), await level(alice, room, "events_default")) == (50, 50)
    found = await alice.call("GET", v3("directory", "room", alias))
    assert found["room_id"] == new
    assert await alice.state(new, "m.room.canonical_alias") == {"alias": alias}
    assert await alice.state(room, "m.room.canonical_alias") == {}
    published = (await alice.call("GET", v3("publicRooms")))["chunk"]
    assert [one["room_id"] for one in published] == [new]


async def test_who_may_upgrade(alice: MatrixClient, bob: MatrixClient, served: Served) -> None:
    """Whoever may send the tombstone and is in the room; to a version that there is."""
    room = await alice.create_room(preset="public_chat", room_version="11")
    await bob.join(room)
    assert (await upgrade(bob, room, "12", 403))["errcode"] == "M_FORBIDDEN"
    assert (await upgrade(alice, room, "nonsense", 400))["errcode"] == "M_UNSUPPORTED_ROOM_VERSION"
    await alice.call("POST", v3("rooms", room, "upgrade"), {}, expect=400)
    await upgrade(alice, "!nowhere:test.example", "12", 404)
    await upgrade(alice, room, "12", 400, additional_creators=["nobody"])
    carol = await served.user("carol")
    await served.suspend(carol)
    assert (await upgrade(carol, room, "12", 403))["errcode"] == "M_USER_SUSPENDED"
    assert not [event for event in await alice.state(room) if event["type"] == "m.room.tombstone"]


async def test_a_moderator_who_upgrades_gains_nothing(alice: MatrixClient, bob: MatrixClient) -> None:
    """With a low level for tombstones, whoever upgrades has the old level in the new room; the first creator stays
    an administrator. In version 12 the new creator has all power, as the spec gives it."""
    room = await alice.create_room(preset="public_chat", room_version="12", power_level_content_override={
        "users": {bob.user_id: 60}, "events": {"m.room.tombstone": 60, "m.room.encryption": 100}
    })  # fmt: skip
    await bob.join(room)
    new = await upgrade(bob, room, "11")
    assert await level(bob, new, "users") == {alice.user_id: 100, bob.user_id: 60}
    assert await level(bob, new, "events") == {"m.room.tombstone": 60, "m.room.encryption": 100}
    again = await upgrade(bob, new, "12", additional_creators=[alice.user_id])
    assert (await bob.state(again, "m.room.create"))["additional_creators"] == [alice.user_id]
    assert await level(bob, again, "users") == {}


async def test_additional_creators_are_ignored_where_there_are_none(alice: MatrixClient) -> None:
    """ "this field is ignored and has no effect" for older versions, whatever it holds."""
    room = await alice.create_room()
    new = await upgrade(alice, room, "11", additional_creators=["nonsense"])
    assert "additional_creators" not in await alice.state(new, "m.room.create")


async def test_rules_that_the_new_version_does_not_know_become_stricter(alice: MatrixClient) -> None:
    """Down from knock_restricted."""
    other = await alice.create_room()
    allow = [{"type": "m.room_membership", "room_id": other}]
    rules = {"join_rule": "knock_restricted", "allow": allow}
    room = await alice.create_room(initial_state=[{"type": "m.room.join_rules", "content": rules}])
    for version, rule in (("10", "knock_restricted"), ("9", "restricted"), ("7", "knock"), ("6", "invite")):
        new = await upgrade(alice, room, version)
        assert (await alice.state(new, "m.room.join_rules"))["join_rule"] == rule


async def test_a_space_takes_its_children_along(alice: MatrixClient) -> None:
    """Those that were not removed."""
    space = await alice.create_room(creation_content={"type": "m.space"})
    await alice.set_state(space, "m.space.child", {"via": [SERVER_NAME], "order": "a"}, "!kept:test.example")
    await alice.set_state(space, "m.space.child", {}, "!removed:test.example")
    new = await upgrade(alice, space, "11")
    children = {event["state_key"]: event["content"] for event in await alice.state(new) if "space" in event["type"]}
    assert children == {"!kept:test.example": {"via": [SERVER_NAME], "order": "a"}}


async def keep_things(client: MatrixClient, room: str, friend: str) -> None:
    """A tag, a direct chat, and two rules about a room."""
    await client.call("PUT", v3("user", client.user_id, "rooms", room, "tags", "m.favourite"), {"order": 0.5})
    direct = v3("user", client.user_id, "account_data", "m.direct")
    await client.call("PUT", direct, {friend: ["!other:test.example", room], "@x:other.example": []})
    await client.call("PUT", v3("pushrules", "global", "room", room), {"actions": ["notify"]})
    mute = {"actions": [], "conditions": [{"kind": "event_match", "key": "room_id", "pattern": room}]}
    await client.call("PUT", v3("pushrules", "global", "override", room), mute)
    await client.call("PUT", v3("pushrules", "global", "override", room, "enabled"), {"enabled": False})


async def kept_things(client: MatrixClient, room: str) -> tuple[Any, Any, Any, Any]:
    tags = (await client.call("GET", v3("user", client.user_id, "rooms", room, "tags")))["tags"]
    direct = await client.call("GET", v3("user", client.user_id, "account_data", "m.direct"))
    rules = (await client.call("GET", v3("pushrules") + "/"))["global"]
    of_room = [rule["actions"] for rule in rules["room"] if rule["rule_id"] == room]
    override = [(rule["conditions"], rule["enabled"]) for rule in rules["override"] if rule["rule_id"] == room]
    return tags, [user for user, rooms in direct.items() if room in rooms], of_room, override


@pytest.mark.parametrize("version", ["11", "12"])
async def test_what_people_keep_for_a_room_follows_them(alice: MatrixClient, bob: MatrixClient, version: str) -> None:
    """Tags, direct chats and push rules: of who upgrades at once, of others when they join; and syncs are told."""
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    for one, friend in ((alice, bob), (bob, alice)):
        await keep_things(one, room, friend.user_id)
    since = (await bob.sync())["next_batch"]
    new = await upgrade(alice, room, version)
    about = [{"kind": "event_match", "key": "room_id", "pattern": new}]
    kept = {"m.favourite": {"order": 0.5}}
    assert await kept_things(alice, new) == (kept, [bob.user_id], [["notify"]], [(about, False)])
    assert await kept_things(bob, new) == ({}, [], [], [])
    await bob.join(new)
    assert await kept_things(bob, new) == (kept, [alice.user_id], [["notify"]], [(about, False)])
    synced = await bob.sync(since)
    assert {"m.direct", "m.push_rules"} <= {event["type"] for event in synced["account_data"]["events"]}
    assert synced["rooms"]["join"][new]["account_data"]["events"][0]["content"] == {"tags": kept}
    await bob.call("DELETE", v3("user", bob.user_id, "rooms", new, "tags", "m.favourite"))
    await bob.leave(new)
    await bob.join(new)
    assert (await kept_things(bob, new))[0] == {}, "nothing follows twice"


async def test_a_room_cannot_pretend_to_replace_another(alice: MatrixClient, bob: MatrixClient) -> None:
    """A predecessor that has no tombstone for the room, or that the user was not in, gives nothing away."""
    room = await alice.create_room(preset="public_chat")
    await keep_things(alice, room, bob.user_id)
    trap = await bob.create_room(
        preset="public_chat", creation_content={"predecessor": {"room_id": room, "event_id": "$x"}}
    )
    await alice.join(trap)
    assert await kept_things(alice, trap) == ({}, [], [], [])
    for predecessor in ("x", {}, {"room_id": 7}, {"room_id": "!\u0000:test.example"}, {"room_id": "!no:test.example"}):
        odd = await bob.create_room(preset="public_chat", creation_content={"predecessor": predecessor})
        await alice.join(odd)
