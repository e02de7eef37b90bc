"""Tables that follow from the current state, where it changes without an event at the changed key."""

import pytest

from homeserver.domain.errors import Forbidden
from homeserver.streams.keys import room_key, user_key
from homeserver.streams.publications import StateItem
from tests.services.rooms.scene import ALICE, BOB, CAROL, EVE, FRANK, MEMBER, Scene

pytestmark = pytest.mark.asyncio(loop_scope="module")

RULES = "m.room.join_rules"


@pytest.mark.parametrize("version", ["2", "8", "12"])
async def test_join_that_a_fork_undoes(scene: Scene, version: str) -> None:
    """Carol and Frank entered a public room that Eve had closed on a fork: once the forks meet they are not in it,
    their rows are gone, the count is right, and whoever watches either of them is told."""
    room_id = await scene.room(version, members=[BOB])
    await scene.set_levels(ALICE, room_id, users={EVE: 50})
    await scene.remote_join(room_id, EVE)
    [fork] = (await scene.replay(room_id)).tips
    await scene.services.membership.join(CAROL, room_id)
    await scene.remote_join(room_id, FRANK)
    assert (await scene.row(room_id)).joined == 5
    published = len(scene.published)
    closed = await scene.remote(room_id, EVE, RULES, {"join_rule": "invite"}, "", prev=[fork])

    row = await scene.row(room_id)
    assert row.joined == 3
    for user_id in (CAROL, FRANK):
        assert (MEMBER, user_id) not in await scene.state(room_id)
        assert await scene.membership(user_id, room_id) is None
    with pytest.raises(Forbidden):
        await scene.say(CAROL, room_id)
    assert room_id not in await scene.services.membership.joined_rooms(CAROL)
    event, state = scene.published[published:]
    assert isinstance(state.item, StateItem) and event.position == state.position
    assert set(state.item.keys) == {(MEMBER, CAROL), (MEMBER, FRANK)}
    assert set(event.keys) == {room_key(row.number), user_key(CAROL)}
    changes = await scene.sql(
        "SELECT k.state_key, c.before IS NOT NULL, c.after FROM state_changes c JOIN state_keys k ON k.number = c.key"
        " WHERE c.room = %s AND c.position = %s AND k.type = %s ORDER BY 1",
        row.number, event.position, MEMBER,
    )  # fmt: skip
    assert changes == [(CAROL, True, None), (FRANK, True, None)]
    assert (await scene.event(room_id, closed.event_id)).content["join_rule"] == "invite"
    await scene.check(room_id)
    # Invited, they may come back.
    await scene.services.membership.invite(ALICE, room_id, CAROL)
    await scene.services.membership.join(CAROL, room_id)
    await scene.check(room_id)


async def test_names_fit_the_column(scene: Scene) -> None:
    """A display name is kept as far as a text column can: without NUL, cut, and only if it is a string."""
    room_id = await scene.room("12", members=[BOB])
    number = (await scene.row(room_id)).number
    for name, kept in (("a\0b", "ab"), ("ü" * 300, "ü" * 255), (7, None), (None, None), ("", "")):
        await scene.put(BOB, room_id, MEMBER, {"membership": "join", "displayname": name}, BOB)
        row = await scene.read(lambda store: store.memberships.find(BOB, number))
        assert row is not None and row.display_name == kept
    await scene.check(room_id)


async def test_open_history_is_lost_for_ever(scene: Scene) -> None:
    """The shortcut for rooms whose history was always shared holds only for these."""
    room_id = await scene.room("12")
    assert (await scene.row(room_id)).open_history
    for visibility, is_open in (("world_readable", True), ("shared", True), ("invited", False), ("shared", False)):
        await scene.put(ALICE, room_id, "m.room.history_visibility", {"history_visibility": visibility})
        assert (await scene.row(room_id)).open_history == is_open


async def test_summary_tells_who_is_there(scene: Scene) -> None:
    """Counts and the first members travel with every event that changes who is in the room or what it is called, and
    with no other."""
    room_id = await scene.room("12")
    await scene.services.membership.invite(ALICE, room_id, BOB)
    summary = scene.event_items(room_id)[-1].summary
    assert summary is not None and (summary.joined, summary.invited, summary.heroes) == (1, 1, (ALICE, BOB))
    await scene.services.membership.join(BOB, room_id)
    summary = scene.event_items(room_id)[-1].summary
    assert summary is not None and (summary.joined, summary.invited) == (2, 0)
    await scene.say(ALICE, room_id)
    assert scene.event_items(room_id)[-1].summary is None
    await scene.put(ALICE, room_id, "m.room.name", {"name": "x"})
    assert scene.event_items(room_id)[-1].summary is not None
    await scene.services.membership.kick(ALICE, room_id, BOB)
    summary = scene.event_items(room_id)[-1].summary
    assert summary is not None and (summary.joined, summary.heroes) == (1, (ALICE,))


@pytest.mark.parametrize("version", ["3", "12"])
async def test_redaction_on_a_fork(scene: Scene, version: str) -> None:
    """It takes content away as any other, of a message and of state that still stands; one whose sender has no power
    any more does not."""
    room_id = await scene.room(version, members=[BOB])
    await scene.set_levels(ALICE, room_id, users={EVE: 50})
    await scene.remote_join(room_id, EVE)
    message, kept = await scene.say(ALICE, room_id, "gone"), await scene.say(ALICE, room_id, "kept")
    topic = await scene.put(ALICE, room_id, "m.room.topic", {"topic": "gone"})
    [fork] = (await scene.replay(room_id)).tips
    await scene.say(BOB, room_id)
    for target in (message, topic):
        await scene.remote(room_id, EVE, "m.room.redaction", {}, redacts=target, prev=[fork])
        assert (await scene.event(room_id, target)).content == {}
    assert (await scene.state(room_id))[("m.room.topic", "")].event_id == topic
    await scene.set_levels(ALICE, room_id, users={EVE: 0})
    await scene.receive(await scene.draft(room_id, EVE, "m.room.redaction", {}, redacts=kept, prev=[fork]))
    assert (await scene.event(room_id, kept)).content["body"] == "kept"
    await scene.check(room_id)
