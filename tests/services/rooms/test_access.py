"""Which rooms and events somebody may read, against the domain's rules on the states that the pure core computes."""

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeserver.domain.errors import Forbidden, NotFound
from homeserver.domain.filters import EventFilter
from homeserver.domain.verdict import Rejected, SoftFailed
from homeserver.services.access import joined_room, readable_event, readable_room, visible_events
from homeserver.services.rooms.pages import PageRequest
from homeserver.storage.store import Store
from tests.builders.cluster import SERVER_NAME
from tests.services.rooms.reader import expected_view
from tests.services.rooms.scene import ALICE, BOB, CAROL, DAVE, EVE, FRANK, MEMBER, Scene, examples

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOBODY = f"@nobody:{SERVER_NAME}"
VISIBILITY = "m.room.history_visibility"
VISIBILITIES = ("world_readable", "shared", "invited", "joined")


async def seen_by(scene: Scene, user_id: str, room_id: str) -> set[str] | None:
    """The ids of all events that the user may read; None if not even the room."""

    def work(store: Store) -> set[str] | None:
        try:
            room = readable_room(store, user_id, room_id)
        except Forbidden:
            return None
        ids = store.transaction.text("SELECT event_id FROM events WHERE room = %s", room.row.number)
        rows = list(store.events.list_by_ids(event_id for (event_id,) in ids).values())
        seen = {row.event_id for row, _ in visible_events(store, room, user_id, rows)}
        # One by one is no other question.
        for event_id in rows[-1].event_id, rows[len(rows) // 2].event_id:
            if event_id in seen:
                readable_event(store, user_id, room_id, event_id)
            else:
                with pytest.raises(NotFound):
                    readable_event(store, user_id, room_id, event_id)
        return seen

    return await scene.read(work)


async def page_of(scene: Scene, user_id: str, room_id: str) -> list[dict[str, Any]]:
    request = PageRequest(room_id, None, None, True, 1000, EventFilter())
    page = orjson.loads(await scene.services.history.page(user_id, "D", request))
    return list(reversed(page["chunk"]))


async def check(scene: Scene, room_id: str, people: Sequence[str]) -> None:
    """Everybody reads what the oracle says, one by one and in pages."""
    replay = await scene.replay(room_id)
    for user_id in people:
        expected = expected_view(replay, user_id)
        assert await seen_by(scene, user_id, room_id) == expected, user_id
        if expected is None:
            with pytest.raises(Forbidden):
                await page_of(scene, user_id, room_id)
        else:
            page = [event["event_id"] for event in await page_of(scene, user_id, room_id)]
            assert page == [event_id for event_id, _ in replay.snapshots if event_id in expected], user_id


# --- one by one ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("visibility", VISIBILITIES)
async def test_who_reads_what_under_each_visibility(scene: Scene, visibility: str) -> None:
    """Joined, invited, left, banned, kicked, back again and never there."""
    people = {who: f"@{who}-{visibility[0]}:{SERVER_NAME}" for who in ("invited", "left", "banned", "kicked", "back")}
    membership = scene.services.membership
    room_id = await scene.room(
        "12", initial_state=[{"type": VISIBILITY, "content": {"history_visibility": visibility}}]
    )
    said: list[str] = []

    async def say() -> None:
        said.append(await scene.say(ALICE, room_id, f"{len(said)}"))

    await say()
    for user_id in people.values():
        await membership.invite(ALICE, room_id, user_id)
    await say()
    for who in ("left", "banned", "kicked", "back"):
        await membership.join(people[who], room_id)
    await say()
    await membership.leave(people["left"], room_id)
    await membership.ban(ALICE, room_id, people["banned"])
    await membership.kick(ALICE, room_id, people["kicked"])
    await membership.leave(people["back"], room_id)
    await say()
    await membership.join(people["back"], room_id)
    await say()
    open_to_all, before = visibility == "world_readable", visibility in ("world_readable", "shared")
    expected: dict[str, list[int] | None] = {
        ALICE: [0, 1, 2, 3, 4],
        people["invited"]: [0, 1, 2, 3, 4] if open_to_all else None,
        NOBODY: [0, 1, 2, 3, 4] if open_to_all else None,
        people["back"]: [0, 1, 2, 3, 4] if before else [2, 4],
    }
    if visibility == "invited":
        expected[people["back"]] = [1, 2, 4]
    for who in ("left", "banned", "kicked"):
        expected[people[who]] = [0, 1, 2] if before else ([1, 2] if visibility == "invited" else [2])
    for user_id, numbers in expected.items():
        seen = await seen_by(scene, user_id, room_id)
        assert (None if seen is None else [n for n, one in enumerate(said) if one in seen]) == numbers, user_id
    await check(scene, room_id, [ALICE, NOBODY, *people.values()])


async def test_stranger_reads_only_while_the_room_is_open(scene: Scene) -> None:
    """Once the room is closed, not even what was said in the open; joining brings it back."""
    room_id = await scene.room("11", members=[BOB])
    await scene.put(ALICE, room_id, VISIBILITY, {"history_visibility": "world_readable"})
    said = await scene.say(ALICE, room_id)
    assert said in (await seen_by(scene, NOBODY, room_id) or ())
    await scene.services.state.all(NOBODY, room_id)
    with pytest.raises(Forbidden):
        await scene.read(lambda store: joined_room(store, NOBODY, room_id))
    await scene.put(ALICE, room_id, VISIBILITY, {"history_visibility": "joined"})
    assert await seen_by(scene, NOBODY, room_id) is None
    with pytest.raises(Forbidden):
        await scene.services.state.all(NOBODY, room_id)
    await scene.services.membership.join(CAROL, room_id)
    assert said in (await seen_by(scene, CAROL, room_id) or ())
    await check(scene, room_id, [ALICE, BOB, CAROL, NOBODY])


@pytest.mark.parametrize("then", ["ban", "ban and unban", "nothing"])
async def test_left_user_reads_up_to_leaving(scene: Scene, then: str) -> None:
    """History and state as of leaving, also if the user is banned later: that tells nothing about the time between."""
    room_id = await scene.room("12", members=[BOB])
    await scene.put(ALICE, room_id, "m.room.name", {"name": "before"})
    seen = await scene.say(ALICE, room_id)
    await scene.services.membership.leave(BOB, room_id)
    hidden = [
        await scene.say(ALICE, room_id),
        await scene.put(ALICE, room_id, "m.room.name", {"name": "after"}),
        await scene.put(ALICE, room_id, "m.room.topic", {"topic": "after"}),
    ]
    await scene.services.membership.join(CAROL, room_id)
    if then != "nothing":
        await scene.services.membership.ban(ALICE, room_id, BOB)
    if then == "ban and unban":
        await scene.services.membership.unban(ALICE, room_id, BOB)
    visible = await seen_by(scene, BOB, room_id)
    assert visible is not None and seen in visible and visible.isdisjoint(hidden)
    assert await scene.get_content(BOB, room_id, "m.room.name") == {"name": "before"}
    with pytest.raises(NotFound):
        await scene.get_content(BOB, room_id, "m.room.topic")
    assert await scene.get_content(BOB, room_id, MEMBER, BOB) == {"membership": "leave"}
    state = orjson.loads(await scene.services.state.all(BOB, room_id))
    assert CAROL not in [event["state_key"] for event in state]
    members = orjson.loads(await scene.services.state.members(BOB, room_id, None, "join", None))["chunk"]
    assert [event["state_key"] for event in members] == [ALICE]
    with pytest.raises(Forbidden):
        await scene.services.state.joined_members(BOB, room_id)
    await check(scene, room_id, [ALICE, BOB, CAROL])


async def test_invited_again_is_not_inside(scene: Scene) -> None:
    """Somebody who left and was invited again, or declined an invite, reads nothing."""
    room_id = await scene.room("12", members=[BOB])
    await scene.services.membership.leave(BOB, room_id)
    await scene.services.membership.invite(ALICE, room_id, BOB)
    assert await seen_by(scene, BOB, room_id) is None
    await scene.services.membership.invite(ALICE, room_id, CAROL)
    await scene.services.membership.leave(CAROL, room_id)
    assert await seen_by(scene, CAROL, room_id) is None
    await check(scene, room_id, [ALICE, BOB, CAROL])


async def test_forgotten_room_is_gone(scene: Scene) -> None:
    """For the user who forgot it; not for others, and not if the world may read it."""
    room_id = await scene.room("12", members=[BOB, CAROL])
    for user_id in (BOB, CAROL):
        await scene.services.membership.leave(user_id, room_id)
    await scene.services.membership.forget(BOB, room_id)
    assert await seen_by(scene, BOB, room_id) is None
    with pytest.raises(Forbidden):
        await scene.services.state.all(BOB, room_id)
    assert await seen_by(scene, CAROL, room_id)
    await scene.put(ALICE, room_id, VISIBILITY, {"history_visibility": "world_readable"})
    assert await seen_by(scene, BOB, room_id) == expected_view(await scene.replay(room_id), BOB, forgotten=True)
    await scene.services.membership.join(BOB, room_id)
    await check(scene, room_id, [BOB, CAROL])


async def test_what_is_not_there_is_not_found(scene: Scene) -> None:
    """Events of another room, rejected and soft-failed ones, unknown ones, and those of rooms closed to the user."""
    room_id, other = await scene.room("12", members=[BOB]), await scene.room("12", members=[BOB])
    elsewhere = await scene.say(ALICE, other)
    await scene.remote_join(room_id, EVE)
    await scene.remote_join(room_id, FRANK)
    [fork] = (await scene.replay(room_id)).tips
    rejected = await scene.draft(room_id, FRANK, "m.room.topic", {}, "")
    assert isinstance(await scene.receive(rejected), Rejected)
    await scene.services.membership.ban(ALICE, room_id, EVE)
    soft_failed = await scene.draft(room_id, EVE, "x", {}, prev=[fork])
    assert isinstance(await scene.receive(soft_failed), SoftFailed)
    history = scene.services.history
    for event_id in (elsewhere, rejected.event_id, soft_failed.event_id, "$unknown"):
        with pytest.raises(NotFound):
            await history.event(BOB, "D", room_id, event_id)
        with pytest.raises(NotFound):
            await history.context(BOB, "D", room_id, event_id, 10, EventFilter())
    with pytest.raises(NotFound):
        await history.event(BOB, "D", "!unknown:test.example", elsewhere)
    with pytest.raises(NotFound):
        await history.event(NOBODY, "D", other, elsewhere)
    await check(scene, room_id, [ALICE, BOB])


@pytest.mark.parametrize("always_open", [True, False])
@pytest.mark.parametrize("visibility", VISIBILITIES)
async def test_late_event_from_before_a_join(scene: Scene, visibility: str, always_open: bool) -> None:
    """It stands behind the join in the timeline, but does not know of it: under shared visibility it is seen, under
    joined and invited it is not, whether or not the room was always open."""
    room_id = await scene.room("12")
    await scene.remote_join(room_id, EVE)
    if not always_open:
        await scene.put(ALICE, room_id, VISIBILITY, {"history_visibility": "joined"})
    await scene.put(ALICE, room_id, VISIBILITY, {"history_visibility": visibility})
    [fork] = (await scene.replay(room_id)).tips
    await scene.services.membership.join(BOB, room_id)
    late = await scene.remote(room_id, EVE, "m.room.message", {"body": "late"}, prev=[fork])
    seen = await seen_by(scene, BOB, room_id)
    assert seen is not None and (late.event_id in seen) == (visibility in ("world_readable", "shared"))
    await check(scene, room_id, [ALICE, BOB, NOBODY])
    await scene.say(ALICE, room_id)
    await scene.services.membership.leave(BOB, room_id)
    await scene.say(ALICE, room_id)
    await check(scene, room_id, [ALICE, BOB, NOBODY])


async def test_events_tell_the_membership_at_them(scene: Scene) -> None:
    """`unsigned.membership`: before the invite, after it, joined and gone."""
    room_id = await scene.room("12")
    await scene.say(ALICE, room_id, "0")
    await scene.services.membership.invite(ALICE, room_id, BOB)
    await scene.say(ALICE, room_id, "1")
    await scene.services.membership.join(BOB, room_id)
    await scene.say(ALICE, room_id, "2")
    await scene.services.membership.leave(BOB, room_id)
    told = [
        (event["content"].get("body", event["content"].get("membership")), event["unsigned"]["membership"])
        for event in (await page_of(scene, BOB, room_id))[-6:]
    ]
    assert told == [
        ("0", "leave"),
        ("invite", "invite"),
        ("1", "invite"),
        ("join", "join"),
        ("2", "join"),
        ("leave", "leave"),
    ]


async def test_nul_in_a_member_event_hurts_nobody(scene: Scene) -> None:
    """A name or reason with U+0000 in it is legal; whoever has one can leave and still read."""
    room_id = await scene.room("12", members=[BOB])
    content = {"membership": "join", "displayname": "a\0b", "reason": "\0"}
    await scene.put(BOB, room_id, MEMBER, content, BOB)
    await scene.services.membership.leave(BOB, room_id, reason="\0")
    await check(scene, room_id, [ALICE, BOB])


# --- random histories ----------------------------------------------------------------------------------------------

PEOPLE = (BOB, CAROL, DAVE)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("visibility"), st.sampled_from([*VISIBILITIES, "nonsense"])),
        st.tuples(st.sampled_from(["invite", "join", "leave", "ban", "unban", "renew"]), st.sampled_from(PEOPLE)),
        st.tuples(st.just("say"), st.just("")),
        st.tuples(st.just("late"), st.integers(0, 30)),
    ),
    min_size=8,
    max_size=24,
)


async def act(scene: Scene, room_id: str, action: str, what: Any, number: int) -> None:
    membership = scene.services.membership
    try:
        match action:
            case "visibility":
                await scene.put(ALICE, room_id, VISIBILITY, {"history_visibility": what})
            case "join" | "leave":
                await getattr(membership, action)(what, room_id)
            case "renew":
                await scene.put(what, room_id, MEMBER, {"membership": "join", "displayname": f"{number}"}, what)
            case "invite" | "ban" | "unban":
                await getattr(membership, action)(ALICE, room_id, what)
            case "say":
                await scene.say(ALICE, room_id, f"{number}")
            case _:
                timeline = await scene.timeline(room_id)
                prev = [timeline[-1 - what % min(8, len(timeline) - 6)]]
                await scene.receive(await scene.draft(room_id, EVE, "x", {"n": number}, prev=prev))
    except Forbidden:
        pass  # what cannot be done now changes nothing


@settings(max_examples=examples(8), deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
async def test_everybody_reads_what_the_rules_say(scene: Scene, steps: Sequence[tuple[str, Any]]) -> None:
    """Random changes of visibility and memberships, renewed profiles, and late events on forks."""
    room_id = await scene.room("10")
    await scene.remote_join(room_id, EVE)
    for number, (action, what) in enumerate(steps):
        await act(scene, room_id, action, what, number)
    await check(scene, room_id, [ALICE, *PEOPLE, NOBODY])
