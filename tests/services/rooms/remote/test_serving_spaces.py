"""What another server may know of a space and its rooms."""

from typing import Any

import pytest

from homeserver.domain.errors import NotFound
from homeserver.services.rooms.remote.serving_spaces import ServingSpaces
from tests.services.rooms.scene import ALICE, OTHER_SERVER, Scene

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def space_with(scene: Scene, *children: str, preset: str = "public_chat") -> str:
    space = await scene.room(preset=preset, creation_content={"type": "m.space"})
    for child in children:
        await scene.put(ALICE, space, "m.space.child", {"via": ["us.example"]}, child)
    return space


async def look(scene: Scene, room_id: str, server: str = OTHER_SERVER, suggested_only: bool = False) -> dict[str, Any]:
    return await ServingSpaces(scene.database).hierarchy(server, room_id, suggested_only=suggested_only)


def rooms_of(answer: dict[str, Any]) -> list[str]:
    return [room["room_id"] for room in answer["children"]]


async def test_attack_40_private_rooms_of_a_space_are_not_told(scene: Scene) -> None:
    """Of a room that nobody of the asking server could join, only that it is not to be had; of others their summary;
    of rooms that this server is not in, nothing."""
    public, private = await scene.room(name="public"), await scene.room(preset="private_chat", name="private")
    space = await space_with(scene, public, private, "!elsewhere:other.example")
    answer = await look(scene, space)
    assert answer["room"]["room_id"] == space and answer["room"]["room_type"] == "m.space"
    assert {one["state_key"] for one in answer["room"]["children_state"]} == {
        public,
        private,
        "!elsewhere:other.example",
    }
    assert rooms_of(answer) == [public]
    assert answer["inaccessible_children"] == [private]
    with pytest.raises(NotFound):
        await look(scene, private)
    with pytest.raises(NotFound):
        await look(scene, "!unknown:other.example")


async def test_invited_server_and_members_of_the_space_get_in(scene: Scene) -> None:
    """A private room is told to a server with a user in it or invited, a restricted one to members of the room that
    it names."""
    private = await scene.room(preset="private_chat")
    space = await space_with(scene, private)
    restricted = await scene.room(preset="private_chat")
    rule = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": space}]}
    await scene.put(ALICE, restricted, "m.room.join_rules", rule)
    await scene.put(ALICE, space, "m.space.child", {"via": ["us.example"], "suggested": True}, restricted)
    assert set((await look(scene, space))["inaccessible_children"]) == {private, restricted}
    await scene.services.membership.invite(ALICE, private, "@eve:other.example")
    await scene.remote_join(space)
    assert set(rooms_of(await look(scene, space))) == {private, restricted}
    assert rooms_of(await look(scene, space, suggested_only=True)) == [restricted]
    assert rooms_of(await look(scene, space, "stranger.example")) == []


async def test_room_that_is_no_space_has_no_children(scene: Scene) -> None:
    """Whatever stands in it."""
    room = await scene.room()
    await scene.put(ALICE, room, "m.space.child", {"via": ["us.example"]}, await scene.room())
    answer = await look(scene, room)
    assert answer["room"]["children_state"] == answer["children"] == answer["inaccessible_children"] == []
