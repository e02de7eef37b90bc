"""Who may invite, join, leave, kick, ban, unban, knock and forget, and what the tables say afterwards.

What is expected is written from the spec's authorisation rules and its chapter on membership, not from our code.
https://spec.matrix.org/v1.19/client-server-api/#room-membership
"""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeserver.domain.errors import BadRequest, Forbidden, NotFound
from tests.builders.cluster import SERVER_NAME
from tests.services.rooms.scene import ALICE, BOB, CAROL, DAVE, EVE, MEMBER, Scene, examples

pytestmark = pytest.mark.asyncio(loop_scope="module")

STANDINGS = (None, "invite", "join", "leave", "ban", "knock")
# The first room version that knows a join rule.
RULES = {"public": 1, "invite": 1, "knock": 7, "restricted": 8, "knock_restricted": 10}


def user(*words: object) -> str:
    return f"@{'-'.join(str(word).lower() for word in words)}:{SERVER_NAME}"


async def is_allowed(action: Awaitable[object]) -> bool:
    try:
        await action
    except Forbidden:
        return False
    return True


async def stand(scene: Scene, room_id: str, user_id: str, standing: str | None) -> None:
    """Brings somebody into a public room (or one that lets people knock, to knock) as `standing` says."""
    membership = scene.services.membership
    match standing:
        case "invite":
            await membership.invite(ALICE, room_id, user_id)
        case "join":
            await membership.join(user_id, room_id)
        case "leave":
            await membership.join(user_id, room_id)
            await membership.leave(user_id, room_id)
        case "ban":
            await membership.ban(ALICE, room_id, user_id)
        case "knock":
            await membership.knock(user_id, room_id)


# --- what people do for themselves ---------------------------------------------------------------------------------


def after_own(action: str, rule: str, standing: str | None, let_in: bool) -> str | None:
    """The membership after somebody did this; "refused" if the rules forbid it. `let_in`: is in a room that a
    restricted room names."""
    if action == "leave":
        return "leave" if standing in ("invite", "join", "knock", "leave") else "refused"
    if action == "knock":
        if standing == "knock":
            return "knock"
        return "knock" if rule in ("knock", "knock_restricted") and standing in (None, "leave") else "refused"
    if standing in ("join", "invite"):
        return "join"
    if standing == "ban":
        return "refused"
    if rule == "public" or (rule in ("restricted", "knock_restricted") and let_in):
        return "join"
    return "refused"


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("version", ["7", "12"])
async def test_what_somebody_may_do_alone(scene: Scene, version: str, rule: str) -> None:
    """Joining, knocking and leaving, from every membership, under every join rule, with and without the right to a
    restricted room."""
    known = int(version) >= RULES[rule]
    allowed = await scene.room(version)
    room_id = await scene.room(version)
    cases = [
        (action, standing, let_in)
        for action in ("join", "knock", "leave")
        for standing in STANDINGS
        for let_in in ((False, True) if rule.endswith("restricted") else (False,))
    ]
    await scene.put(ALICE, room_id, "m.room.join_rules", {"join_rule": "public"})
    for action, standing, let_in in cases:
        if let_in:
            await scene.services.membership.join(user(action, standing, let_in), allowed)
        if standing != "knock":
            await stand(scene, room_id, user(action, standing, let_in), standing)
    await scene.put(ALICE, room_id, "m.room.join_rules", {"join_rule": "knock"})
    for action, standing, let_in in cases:
        if standing == "knock":
            await stand(scene, room_id, user(action, standing, let_in), standing)
    allow = [{"type": "m.room_membership", "room_id": allowed}, {"type": "unknown"}, "nonsense"]
    await scene.put(ALICE, room_id, "m.room.join_rules", {"join_rule": rule, "allow": allow})

    membership = scene.services.membership
    for action, standing, let_in in cases:
        who = user(action, standing, let_in)
        expected = after_own(action, rule if known else "unknown", standing, let_in)
        if not known and action == "join" and standing == "invite":
            expected = "refused"  # with a join rule that the version does not know, nobody enters
        done = await is_allowed(getattr(membership, action)(who, room_id))
        assert done == (expected != "refused"), (action, standing, let_in)
        assert await scene.membership(who, room_id) == (expected if done else standing), (action, standing, let_in)
    await scene.check(room_id)


# --- what people do to others --------------------------------------------------------------------------------------

KICK, BAN, INVITE = 50, 60, 10


def after_others(action: str, standing: str | None, level: int, target_level: int) -> str | None:
    """The membership after somebody joined, of this level, did this to another; "refused" if it is forbidden."""
    above = level > target_level
    match action:
        case "invite":
            return "invite" if standing not in ("join", "ban") and level >= INVITE else "refused"
        case "kick":
            return "leave" if standing in ("join", "invite", "knock") and level >= KICK and above else "refused"
        case "ban":
            return "ban" if level >= BAN and above else "refused"
        case _:
            return "leave" if standing == "ban" and level >= max(KICK, BAN) and above else "refused"


async def test_what_somebody_may_do_to_others(scene: Scene) -> None:
    """Inviting, kicking, banning and unbanning, from every membership, by every order of levels."""
    room_id = await scene.room("12")
    actors = {level: user("actor", level) for level in (0, INVITE, KICK, BAN)}
    cases = [
        (action, standing, level, target_level)
        for action in ("invite", "kick", "ban", "unban")
        for standing in STANDINGS
        for level in actors
        for target_level in (0, KICK)
        # An equal or higher level of the target is told apart by these pairs.
        if level in (KICK, BAN) or target_level == 0
    ]
    for actor in actors.values():
        await scene.services.membership.join(actor, room_id)
    for standing in STANDINGS:
        if standing == "knock":
            await scene.put(ALICE, room_id, "m.room.join_rules", {"join_rule": "knock"})
        for case in cases:
            if case[1] == standing:
                await stand(scene, room_id, user(*case), standing)
    levels = {actor: level for level, actor in actors.items()} | {user(*case): case[3] for case in cases}
    await scene.set_levels(ALICE, room_id, users=levels, kick=KICK, ban=BAN, invite=INVITE)

    membership = scene.services.membership
    for case in cases:
        action, standing, level, target_level = case
        expected = after_others(action, standing, level, target_level)
        acting = getattr(membership, action)
        done = await is_allowed(acting(actors[level], room_id, user(*case), reason="because"))
        assert done == (expected != "refused"), case
        assert await scene.membership(user(*case), room_id) == (expected if done else standing), case
    await scene.check(room_id)


@pytest.mark.parametrize("standing", [one for one in STANDINGS if one != "join"])
async def test_outsiders_do_nothing_to_others(scene: Scene, standing: str | None) -> None:
    """Whoever is not joined can neither invite nor kick nor ban nor unban, whatever their level is."""
    room_id = await scene.room("11", members=[BOB])
    await scene.set_levels(ALICE, room_id, users={DAVE: 90})
    await scene.put(ALICE, room_id, "m.room.join_rules", {"join_rule": "knock" if standing == "knock" else "public"})
    await stand(scene, room_id, DAVE, standing)
    membership = scene.services.membership
    for action in (membership.invite, membership.kick, membership.ban, membership.unban):
        assert not await is_allowed(action(DAVE, room_id, CAROL))
        assert not await is_allowed(action(DAVE, room_id, BOB))


async def test_names_that_are_none(scene: Scene) -> None:
    """400 for what is no user id, no room id and no alias; 404 for a room or alias that nobody knows."""
    room_id = await scene.room()
    membership = scene.services.membership
    for nobody in ("", "bob", "@bob", "#bob:x", "@b\0b:test.example", "@" + "x" * 255 + ":y"):
        for action in (membership.invite, membership.kick, membership.ban, membership.unban):
            with pytest.raises(BadRequest):
                await action(ALICE, room_id, nobody)
    with pytest.raises(BadRequest):
        await membership.join(BOB, "room")
    for unknown in ("!unknown:test.example", "#unknown:test.example"):
        with pytest.raises(NotFound):
            await membership.join(BOB, unknown)
        with pytest.raises(NotFound):
            await membership.knock(BOB, unknown)
    with pytest.raises(NotFound):
        await membership.leave(BOB, "!unknown:test.example")


async def test_alias_leads_into_its_room(scene: Scene) -> None:
    """Joining by alias answers with the room's id."""
    room_id = await scene.room(alias_localpart="door")
    assert await scene.services.membership.join(BOB, f"#door:{SERVER_NAME}") == room_id
    assert await scene.services.membership.joined_rooms(BOB) == [
        one for one in await scene.services.membership.joined_rooms(BOB) if one
    ]
    assert room_id in await scene.services.membership.joined_rooms(BOB)


async def test_reason_stands_in_the_event(scene: Scene) -> None:
    """The reason of each deed, and what the joining client wants to say besides."""
    room_id = await scene.room("12")
    membership = scene.services.membership
    await membership.invite(ALICE, room_id, BOB, reason="come")
    await membership.join(BOB, room_id, {"reason": "thanks", "membership": "ban", "org.example": 1})
    await membership.leave(BOB, room_id, reason="bye")
    await membership.ban(ALICE, room_id, BOB, reason="spam")
    await membership.unban(ALICE, room_id, BOB, reason="sorry")
    events = [event for event in await scene.events(room_id) if event.state_key == BOB]
    assert [(one.content["membership"], one.content["reason"]) for one in events] == [
        ("invite", "come"),
        ("join", "thanks"),
        ("leave", "bye"),
        ("ban", "spam"),
        ("leave", "sorry"),
    ]
    assert events[1].content["org.example"] == 1


async def test_repeated_deed_makes_no_second_event(scene: Scene) -> None:
    """Joining when joined, leaving when gone and banning the banned change nothing."""
    room_id = await scene.room("12", members=[BOB])
    membership = scene.services.membership
    length = len(await scene.timeline(room_id))
    await membership.join(BOB, room_id)
    assert len(await scene.timeline(room_id)) == length
    await membership.leave(BOB, room_id)
    await membership.leave(BOB, room_id)
    assert len(await scene.timeline(room_id)) == length + 1
    await membership.ban(ALICE, room_id, BOB)
    await membership.ban(ALICE, room_id, BOB)
    assert len(await scene.timeline(room_id)) == length + 2


# --- restricted rooms ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["8", "9", "10", "11", "12"])
async def test_local_member_with_the_power_vouches(scene: Scene, version: str) -> None:
    """The join names a joined user of ours who may invite, and cites that member; who is invited needs nobody."""
    allowed = await scene.room(version, members=[BOB])
    room_id = await scene.room(version, members=[CAROL])
    await scene.set_levels(ALICE, room_id, users={CAROL: 30, EVE: 100}, invite=30)
    await scene.remote_join(room_id)
    rules = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": allowed}]}
    await scene.put(ALICE, room_id, "m.room.join_rules", rules)
    await scene.services.membership.leave(ALICE, room_id)
    await scene.services.membership.join(BOB, room_id)
    joined = (await scene.state(room_id))[(MEMBER, BOB)]
    assert joined.content["join_authorised_via_users_server"] == CAROL
    assert (await scene.state(room_id))[(MEMBER, CAROL)].event_id in joined.auth_events

    await scene.services.membership.invite(CAROL, room_id, DAVE)
    await scene.services.membership.join(DAVE, room_id)
    assert "join_authorised_via_users_server" not in (await scene.state(room_id))[(MEMBER, DAVE)].content
    # A change of the profile is no new join.
    await scene.database.write(lambda store: store.profiles.set(BOB, "displayname", f'"B{version}"'))
    await scene.services.membership.profile_changed(BOB)
    assert (await scene.state(room_id))[(MEMBER, BOB)].content == {"membership": "join", "displayname": f"B{version}"}
    # Nobody of ours is left who could vouch.
    await scene.services.membership.leave(BOB, room_id)
    await scene.services.membership.leave(CAROL, room_id)
    assert not await is_allowed(scene.services.membership.join(BOB, room_id))
    await scene.check(room_id)


@pytest.mark.parametrize("allow", [None, [], "room", [{"type": "m.room_membership"}], [{"room_id": "!x:y"}], [7]])
async def test_restricted_room_that_names_no_room_lets_nobody_in(scene: Scene, allow: object) -> None:
    """Whatever else stands in `allow`."""
    room_id = await scene.room("12")
    content = {"join_rule": "restricted"} if allow is None else {"join_rule": "restricted", "allow": allow}
    await scene.put(ALICE, room_id, "m.room.join_rules", content)
    assert not await is_allowed(scene.services.membership.join(BOB, room_id))


# --- forgetting ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("standing", STANDINGS)
async def test_only_who_is_out_forgets(scene: Scene, standing: str | None) -> None:
    """400 while joined, invited or knocking, 404 for who was never there; an invite brings the room back."""
    room_id = await scene.room("12")
    rule = "knock" if standing == "knock" else "public"
    await scene.put(ALICE, room_id, "m.room.join_rules", {"join_rule": rule})
    await stand(scene, room_id, BOB, standing)
    number = (await scene.row(room_id)).number
    membership = scene.services.membership
    if standing is None:
        with pytest.raises(NotFound):
            await membership.forget(BOB, room_id)
    elif standing in ("leave", "ban"):
        await membership.forget(BOB, room_id)
        await membership.forget(BOB, room_id)
        assert number in await scene.read(lambda store: store.memberships.list_forgotten(BOB))
        if standing == "ban":
            await membership.unban(ALICE, room_id, BOB)
            assert number in await scene.read(lambda store: store.memberships.list_forgotten(BOB))
        await membership.invite(ALICE, room_id, BOB)
    else:
        with pytest.raises(BadRequest):
            await membership.forget(BOB, room_id)
    assert number not in await scene.read(lambda store: store.memberships.list_forgotten(BOB))
    with pytest.raises(NotFound):
        await membership.forget(BOB, "!unknown:test.example")


# --- profiles ------------------------------------------------------------------------------------------------------


async def test_changed_profile_reaches_every_room(scene: Scene) -> None:
    """In all rooms that the user is joined to, and no other; one room that refuses does not keep it from the rest; what
    the member event held besides stays."""
    who = user("renamed")
    rooms = [await scene.room("12", members=[who]) for _ in range(3)]
    left = await scene.room("12", members=[who])
    invited = await scene.room("12", preset="private_chat", invite=[who])
    await scene.services.membership.leave(who, left)
    await scene.put(who, rooms[0], MEMBER, {"membership": "join", "displayname": "Old", "org.example": 1}, who)
    # Under a join rule that nobody knows, not even members may renew their membership.
    await scene.put(ALICE, rooms[1], "m.room.join_rules", {"join_rule": "org.example.unknown"})
    await scene.database.write(lambda store: store.profiles.set(who, "displayname", '"New"'))
    await scene.services.membership.profile_changed(who)

    async def content(room_id: str) -> dict[str, object]:
        return dict((await scene.state(room_id))[(MEMBER, who)].content)

    assert await content(rooms[0]) == {"membership": "join", "displayname": "New", "org.example": 1}
    assert await content(rooms[1]) == {"membership": "join"}
    assert await content(rooms[2]) == {"membership": "join", "displayname": "New"}
    assert await content(left) == {"membership": "leave"}
    assert await content(invited) == {"membership": "invite"}
    lengths = [len(await scene.timeline(room_id)) for room_id in rooms]
    await scene.services.membership.profile_changed(who)
    assert [len(await scene.timeline(room_id)) for room_id in rooms] == lengths
    await scene.database.write(lambda store: store.profiles.remove(who, "displayname"))
    await scene.services.membership.profile_changed(who)
    assert await content(rooms[2]) == {"membership": "join"}
    for room_id in rooms:
        await scene.check(room_id)


# --- random histories ----------------------------------------------------------------------------------------------

PEOPLE = [ALICE, BOB, CAROL, DAVE]
OWN = ("join", "knock", "leave")
OTHERS = ("invite", "kick", "ban", "unban")
Step = tuple[str, int, int]


@dataclass
class Model:
    """Who stands how in the room, by the two tables above."""

    rule: str = "public"
    levels: dict[str, int] = field(default_factory=lambda: {ALICE: 100, BOB: 60, CAROL: 50, DAVE: 0})
    standing: dict[str, str | None] = field(default_factory=lambda: {ALICE: "join"})

    def expect(self, action: str, who: str, target: str) -> str | None:
        if action in OWN:
            return after_own(action, self.rule, self.standing.get(who), False)
        if self.standing.get(who) != "join":
            return "refused"
        if action == "kick" and who == target:
            return "leave"  # leaving by another name
        return after_others(action, self.standing.get(target), self.levels[who], self.levels[target])


STEPS = st.lists(
    st.tuples(
        st.sampled_from([*OWN, *OTHERS, "rule", "say"]),
        st.integers(0, len(PEOPLE) - 1),
        st.integers(0, len(PEOPLE) - 1),
    ),
    min_size=5,
    max_size=30,
)


async def act(scene: Scene, room_id: str, step: Step) -> bool:
    action, who, target = step[0], PEOPLE[step[1]], PEOPLE[step[2]]
    membership = scene.services.membership
    if action in OWN:
        return await is_allowed(getattr(membership, action)(who, room_id))
    return await is_allowed(getattr(membership, action)(who, room_id, target))


@settings(max_examples=examples(5), deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
async def test_tables_agree_after_every_step(scene: Scene, steps: Sequence[Step]) -> None:
    """Random deeds end as the tables of the spec say, and after each of them memberships, counts and current state
    are what a recount from the events gives."""
    model = Model()
    room_id = await scene.room("11")
    await scene.set_levels(ALICE, room_id, users=model.levels, kick=KICK, ban=BAN, invite=INVITE)
    for step in steps:
        action, who, target = step[0], PEOPLE[step[1]], PEOPLE[step[2]]
        if action == "rule":
            rule = ("public", "invite", "knock")[step[2] % 3]
            if model.standing.get(ALICE) == "join":
                await scene.put(ALICE, room_id, "m.room.join_rules", {"join_rule": rule})
                model.rule = rule
        elif action == "say":
            assert await is_allowed(scene.say(who, room_id)) == (model.standing.get(who) == "join")
        else:
            expected = model.expect(action, who, target)
            assert await act(scene, room_id, step) == (expected != "refused"), step
            if expected != "refused":
                model.standing[who if action in OWN else target] = expected
        await scene.check_now(room_id)
        for one in PEOPLE:
            assert await scene.membership(one, room_id) == model.standing.get(one)
    await scene.check(room_id)


@settings(max_examples=examples(4), deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
async def test_tables_agree_after_deeds_at_once(scene: Scene, steps: Sequence[Step]) -> None:
    """The same deeds all at once, in two rooms: whatever order they take, the tables agree with the events."""
    rooms = [await scene.room("12"), await scene.room("6")]
    acting = [act(scene, room_id, step) for step in steps if step[0] in OWN + OTHERS for room_id in rooms]
    await asyncio.gather(*acting)
    for room_id in rooms:
        await scene.check(room_id)
