"""Reading a room's state and members: now, at a token, and as of leaving."""

from typing import Any

import orjson
import pytest

from homeserver.domain.errors import BadRequest, Forbidden, NotFound
from tests.services.rooms.scene import ALICE, BOB, CAROL, DAVE, EVE, MEMBER, Scene

pytestmark = pytest.mark.asyncio(loop_scope="module")

MEMBERSHIPS = ("join", "invite", "knock", "leave", "ban")


async def members(
    scene: Scene, user_id: str, room_id: str, at: str | None = None, only: str | None = None, but: str | None = None
) -> dict[str, str]:
    answer = orjson.loads(await scene.services.state.members(user_id, room_id, at, only, but))
    assert answer.keys() == {"chunk"} and all(event["room_id"] == room_id for event in answer["chunk"])
    return {event["state_key"]: event["content"]["membership"] for event in answer["chunk"]}


async def test_all_state_is_the_current_state(scene: Scene) -> None:
    """Every event of it once, whole."""
    room_id = await scene.room("12", members=[BOB], name="x", topic="y", invite=[])
    await scene.put(ALICE, room_id, "org.example", {"a": "ü\0"}, "k")
    events = orjson.loads(await scene.services.state.all(BOB, room_id))
    replay = await scene.replay(room_id)
    assert {(one["type"], one["state_key"]): one["event_id"] for one in events} == replay.current
    assert len(events) == len(replay.current)
    for one in events:
        event = replay.events[one["event_id"]]
        assert (one["content"], one["sender"], one["room_id"]) == (event.content, event.sender, room_id)
        assert one["origin_server_ts"] == event.origin_server_ts


async def test_one_key(scene: Scene) -> None:
    """Its content, or the whole event; 404 for what is not set, 403 for who is not there."""
    room_id = await scene.room("12", members=[BOB])
    first = await scene.put(ALICE, room_id, "org.example", {"n": 1}, "k")
    second = await scene.put(ALICE, room_id, "org.example", {"n": 2}, "k")
    state = scene.services.state
    assert orjson.loads(await state.get(BOB, room_id, "org.example", "k")) == {"n": 2}
    whole = orjson.loads(await state.get(BOB, room_id, "org.example", "k", whole=True))
    assert (whole["event_id"], whole["room_id"], whole["state_key"]) == (second, room_id, "k")
    assert whole["unsigned"]["replaces_state"] == first and whole["unsigned"]["prev_content"] == {"n": 1}
    for key in (("org.example", ""), ("org.other", "k"), ("no\0column", "holds\0it")):
        with pytest.raises(NotFound):
            await state.get(BOB, room_id, *key)
    with pytest.raises(Forbidden):
        await state.get(CAROL, room_id, "org.example", "k")
    with pytest.raises(Forbidden):
        await state.get(CAROL, "!unknown:test.example", "org.example", "k")


async def test_numbers_of_old_rooms_keep_their_digits(scene: Scene) -> None:
    """Also where an answer is made anew from the stored text."""
    room_id = await scene.room("5")
    content: dict[str, Any] = {"n": 10**30, "m": int("7" * 400)}
    for number in range(2):
        await scene.put(ALICE, room_id, "org.example", {**content, "x": number})
    answer = await scene.services.state.get(ALICE, room_id, "org.example", "")
    assert str(10**30).encode() in answer and b"7" * 400 in answer
    whole = await scene.services.state.get(ALICE, room_id, "org.example", "", whole=True)
    assert whole.count(b"7" * 400) == 2


@pytest.mark.parametrize("only", [None, *MEMBERSHIPS])
@pytest.mark.parametrize("but", [None, "join", "leave"])
async def test_members_by_membership(scene: Scene, only: str | None, but: str | None) -> None:
    """Those who have the one, or have not the other; now and at a token of the past."""
    room_id = await scene.room("12", members=[BOB, DAVE])
    membership = scene.services.membership
    await membership.leave(DAVE, room_id)
    await membership.invite(ALICE, room_id, CAROL)
    await membership.ban(ALICE, room_id, "@banned:test.example")
    await scene.put(ALICE, room_id, "m.room.join_rules", {"join_rule": "knock"})
    await membership.knock("@knocks:test.example", room_id)
    everybody = {
        ALICE: "join", BOB: "join", DAVE: "leave", CAROL: "invite", "@banned:test.example": "ban",
        "@knocks:test.example": "knock",
    }  # fmt: skip
    wanted = {
        user_id: one
        for user_id, one in everybody.items()
        if (only is None and but is None) or one == only or (but is not None and one != but)
    }
    assert await members(scene, ALICE, room_id, None, only, but) == wanted
    token = f"h{(await scene.row(room_id)).last_anchor}_0"
    await membership.join(CAROL, room_id)
    await membership.kick(ALICE, room_id, BOB)
    assert await members(scene, ALICE, room_id, token, only, but) == wanted
    # Whoever left sees no further than that, whatever the token says.
    late = f"h{(await scene.row(room_id)).last_anchor}_0"
    await membership.leave(CAROL, room_id)
    at_leaving = {**everybody, CAROL: "join", BOB: "leave"}
    assert (await members(scene, BOB, room_id, late)) == at_leaving


async def test_state_at_every_token_is_the_state_of_that_time(scene: Scene) -> None:
    """Members at each event of the room's history, forks included, as the pure core has them."""
    room_id = await scene.room("12", members=[BOB])
    await scene.set_levels(ALICE, room_id, users={EVE: 50})
    await scene.remote_join(room_id, EVE)
    [fork] = (await scene.replay(room_id)).tips
    await scene.services.membership.leave(BOB, room_id)
    await scene.remote(room_id, EVE, MEMBER, {"membership": "ban"}, CAROL, prev=[fork])
    await scene.services.membership.join(DAVE, room_id)
    replay = await scene.replay(room_id)
    for event_id, state in replay.snapshots:
        row = await scene.event_row(event_id)
        expected = {key[1]: replay.events[one].content["membership"] for key, one in state.items() if key[0] == MEMBER}
        assert await members(scene, ALICE, room_id, f"epoch.{row.anchor}.0") == expected


async def test_joined_members_have_names(scene: Scene) -> None:
    """Names and avatars as far as they are strings; only for members."""
    room_id = await scene.room("12", members=[BOB, CAROL])
    await scene.put(BOB, room_id, MEMBER, {"membership": "join", "displayname": "B", "avatar_url": "mxc://a/b"}, BOB)
    await scene.put(CAROL, room_id, MEMBER, {"membership": "join", "displayname": 7, "avatar_url": None}, CAROL)
    await scene.services.membership.invite(ALICE, room_id, DAVE)
    answer = orjson.loads(await scene.services.state.joined_members(ALICE, room_id))
    assert answer == {"joined": {ALICE: {}, BOB: {"display_name": "B", "avatar_url": "mxc://a/b"}, CAROL: {}}}
    with pytest.raises(Forbidden):
        await scene.services.state.joined_members(DAVE, room_id)


async def test_token_that_is_none(scene: Scene) -> None:
    """400."""
    room_id = await scene.room("12")
    with pytest.raises(BadRequest):
        await scene.services.state.members(ALICE, room_id, "nonsense", None, None)
