"""Events of other servers that stand where the room did not end: forks, late events, and such as nobody may see.

Whatever happens, the tables must say what the pure core makes of the same events from nothing (`Replay.check`).
"""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeserver.domain.draft import build_pdu
from homeserver.domain.errors import BadRequest, BrokenInvariant, Forbidden
from homeserver.domain.hashing import reference_hash
from homeserver.domain.verdict import Accepted, Rejected, SoftFailed
from homeserver.domain.versions import EventIdFormat
from homeserver.services.rooms.append import Append
from homeserver.services.rooms.draft import MAX_PREV_EVENTS
from homeserver.services.rooms.remote.receiving import RemoteEvents
from homeserver.storage.store import Store
from homeserver.streams.publications import StateItem
from tests.builders.cluster import SERVER_NAME
from tests.builders.counting import CountingDatabase
from tests.services.rooms.scene import ALICE, BOB, CAROL, EVE, FRANK, MEMBER, OTHER_SERVER, Scene, examples
from tests.services.rooms.wire import assert_intact

pytestmark = pytest.mark.asyncio(loop_scope="module")

# One of each algorithm of resolution, and of each way to refer to events.
VERSIONS = ("1", "2", "6", "11", "12")
TOPIC, NAME, LEVELS = ("m.room.topic", ""), ("m.room.name", ""), ("m.room.power_levels", "")


async def shared_room(scene: Scene, version: str = "12", **levels: int) -> str:
    """A public room with Alice and Bob of ours, Eve and Frank of the other server; Eve has level 50 unless said."""
    room_id = await scene.room(version, members=[BOB])
    await scene.set_levels(
        ALICE, room_id, users={EVE: 50, **{f"@{name}:{OTHER_SERVER}": n for name, n in levels.items()}}
    )
    await scene.remote_join(room_id, EVE)
    await scene.remote_join(room_id, FRANK)
    return room_id


async def check(scene: Scene, room_id: str) -> None:
    await scene.check(room_id)
    for event in await scene.events(room_id):
        assert_intact(event, scene.keys)


async def everything(scene: Scene) -> dict[str, int]:
    """How many rows each table holds that an append writes to."""
    tables = "events state_groups state_merges current_state state_changes memberships state_keys count_exceptions"
    return {table: (await scene.sql(f"SELECT count(*) FROM {table}"))[0][0] for table in tables.split()}


@pytest.mark.parametrize("version", VERSIONS)
async def test_message_on_a_fork_makes_a_second_end(scene: Scene, version: str) -> None:
    """Both ends stand until a local event follows both; not everybody who is joined may see what came late."""
    room_id = await shared_room(scene, version)
    [fork] = (await scene.replay(room_id)).tips
    ours = await scene.say(ALICE, room_id)
    theirs = await scene.remote(room_id, EVE, "m.room.message", {"body": "late"}, prev=[fork])
    assert set((await scene.row(room_id)).extremity_ids) == {ours, theirs.event_id}
    item = scene.event_items(room_id)[-1]
    assert item.event_id == theirs.event_id and not item.for_all_joined and item.sender == EVE
    assert not any(isinstance(one.item, StateItem) and one.item.room_id == room_id for one in scene.published)

    merge = await scene.say(BOB, room_id)
    assert set((await scene.event(room_id, merge)).prev_events) == {ours, theirs.event_id}
    assert (await scene.row(room_id)).extremity_ids == [merge]
    assert scene.event_items(room_id)[-1].for_all_joined
    assert (await scene.timeline(room_id))[-3:] == [ours, theirs.event_id, merge]
    await check(scene, room_id)


@pytest.mark.parametrize("version", VERSIONS)
async def test_state_that_forks_disagree_about_is_resolved(scene: Scene, version: str) -> None:
    """Topics, names and memberships set on both sides of a fork end as the room version resolves them, in all tables,
    and whoever follows is told which keys changed without an event of their own."""
    room_id = await shared_room(scene, version)
    [fork] = (await scene.replay(room_id)).tips
    await scene.put(ALICE, room_id, *TOPIC[:1], {"topic": "ours"})
    await scene.put(ALICE, room_id, *NAME[:1], {"name": "ours"})
    await scene.services.membership.leave(BOB, room_id)
    topic = await scene.draft(room_id, EVE, TOPIC[0], {"topic": "theirs"}, "", prev=[fork])
    await scene.receive(topic)
    await check(scene, room_id)
    kick = await scene.draft(room_id, EVE, MEMBER, {"membership": "leave"}, BOB, prev=[topic.event_id])
    await scene.receive(kick)
    await check(scene, room_id)
    name = await scene.draft(room_id, EVE, NAME[0], {"name": "theirs"}, "", prev=[kick.event_id])
    await scene.receive(name)
    await check(scene, room_id)
    await scene.put(ALICE, room_id, "org.example", {"both": "sides"})
    await check(scene, room_id)
    assert len((await scene.row(room_id)).extremities) == 1


@pytest.mark.parametrize("version", VERSIONS)
async def test_ban_beats_what_its_victim_does_elsewhere(scene: Scene, version: str) -> None:
    """Eve is banned here; the power levels that she sends on a fork from before do not lift it."""
    room_id = await shared_room(scene, version)
    [fork] = (await scene.replay(room_id)).tips
    await scene.services.membership.ban(ALICE, room_id, EVE)
    levels = dict((await scene.state(room_id))[LEVELS].content)
    late = await scene.draft(room_id, EVE, LEVELS[0], {**levels, "ban": 50, "org.example": 1}, "", prev=[fork])
    assert isinstance(await scene.receive(late), SoftFailed | Rejected)
    said = await scene.draft(room_id, EVE, "m.room.message", {"body": "late"}, prev=[fork])
    assert isinstance(await scene.receive(said), SoftFailed)
    assert await scene.membership(EVE, room_id) == "ban"
    # What others sent before they knew of the ban is welcome, and lifts nothing.
    frank = await scene.remote(room_id, FRANK, "m.room.message", {"body": "late"}, prev=[fork])
    assert await scene.membership(EVE, room_id) == "ban"
    assert frank.event_id in await scene.timeline(room_id)
    await check(scene, room_id)


@pytest.mark.parametrize("version", VERSIONS)
async def test_rejected_event_is_recorded_and_changes_nothing(scene: Scene, version: str) -> None:
    """It has a row and the state before it; no position, no publication, no end of the room, no state."""
    room_id = await shared_room(scene, version)
    before, published = await scene.row(room_id), len(scene.published)
    topic = await scene.draft(room_id, FRANK, TOPIC[0], {"topic": "mine"}, "")
    verdict = await scene.receive(topic)
    assert isinstance(verdict, Rejected)
    row = await scene.event_row(topic.event_id)
    assert row.rejected == verdict.why and row.soft_failed is None and not row.visible
    assert len(scene.published) == published
    assert await scene.row(room_id) == before
    assert TOPIC not in await scene.state(room_id)
    # What follows it is judged by the state before it, and cannot cite it.
    on_top = await scene.remote(room_id, EVE, NAME[0], {"name": "x"}, "", prev=[topic.event_id])
    assert (await scene.row(room_id)).extremity_ids == [on_top.event_id]
    replay = await scene.replay(room_id)
    assert TOPIC not in replay.before[on_top.event_id]
    if version != "12":
        cite = [*on_top.auth_events, topic.event_id]
        assert isinstance(await scene.receive(await scene.draft(room_id, EVE, "x", {}, auth=cite)), Rejected)
    await check(scene, room_id)


@pytest.mark.parametrize("version", VERSIONS)
async def test_soft_failed_event_is_no_end_of_the_room(scene: Scene, version: str) -> None:
    """It is kept with its state for what follows it, and takes no part in what local events build upon."""
    room_id = await shared_room(scene, version)
    [fork] = (await scene.replay(room_id)).tips
    await scene.set_levels(ALICE, room_id, users={EVE: 0})
    before, published = await scene.row(room_id), len(scene.published)
    topic = await scene.draft(room_id, EVE, TOPIC[0], {"topic": "late"}, "", prev=[fork])
    verdict = await scene.receive(topic)
    assert isinstance(verdict, SoftFailed)
    row = await scene.event_row(topic.event_id)
    assert row.soft_failed == verdict.why and row.rejected is None and not row.visible
    assert await scene.row(room_id) == before and len(scene.published) == published
    local = await scene.say(ALICE, room_id)
    assert (await scene.event(room_id, local)).prev_events == tuple(before.extremity_ids)

    # Another server built on it: its state is there, and is resolved with ours.
    on_top = await scene.remote(room_id, FRANK, "m.room.message", {"body": "x"}, prev=[topic.event_id])
    replay = await scene.replay(room_id)
    assert replay.before[on_top.event_id][TOPIC] == topic.event_id
    assert set((await scene.row(room_id)).extremity_ids) == {local, on_top.event_id}
    await check(scene, room_id)
    # Whatever follows the soft-failed event follows what that one followed.
    await scene.say(ALICE, room_id)
    await check(scene, room_id)


async def test_end_behind_an_unseen_event_is_no_end(scene: Scene) -> None:
    """Eve's rejected event follows the end of the room, Frank's follows hers: only Frank's is an end."""
    room_id = await shared_room(scene)
    rejected: list[str] = []
    for number in range(3):
        topic = await scene.draft(room_id, FRANK, TOPIC[0], {"topic": f"{number}"}, "", prev=rejected[-1:] or None)
        assert isinstance(await scene.receive(topic), Rejected)
        rejected.append(topic.event_id)
    seen = await scene.remote(room_id, EVE, "m.room.message", {}, prev=rejected[-1:])
    assert (await scene.row(room_id)).extremity_ids == [seen.event_id]
    await check(scene, room_id)


async def test_many_unseen_events_cost_no_more_statements_than_one(scene: Scene) -> None:
    """Nobody makes us go back through what we do not show, event by event."""
    counting = CountingDatabase(scene.database)
    remote = RemoteEvents(counting, scene.services.writer, Append(SERVER_NAME, scene.services.rule_book))
    for count in (1, 40):
        room_id = await shared_room(scene)
        rejected: list[str] = []
        for number in range(count):
            topic = await scene.draft(room_id, FRANK, TOPIC[0], {"topic": f"{number}"}, "", prev=rejected[-1:] or None)
            assert isinstance(await scene.receive(topic), Rejected)
            rejected.append(topic.event_id)
        seen = await scene.draft(room_id, EVE, "m.room.message", {}, prev=rejected[-1:])
        assert await remote.append(room_id, [seen]) == [Accepted()]
        assert (await scene.row(room_id)).extremity_ids == [seen.event_id]
    few, many = counting.statements
    assert few == many


async def test_resolution_is_remembered(scene: Scene) -> None:
    """The same fork met again costs no second resolution, and gives the same group."""
    room_id = await shared_room(scene)
    [fork] = (await scene.replay(room_id)).tips
    ours = await scene.put(ALICE, room_id, *TOPIC[:1], {"topic": "ours"})
    theirs = await scene.remote(room_id, EVE, TOPIC[0], {"topic": "theirs"}, "", prev=[fork])
    merges = (await everything(scene))["state_merges"]
    groups = set()
    for number in range(3):
        late = await scene.remote(room_id, FRANK, "x", {"n": number}, prev=[ours, theirs.event_id])
        groups.add((await scene.event_row(late.event_id)).state_before)
    assert len(groups) == 1
    assert (await everything(scene))["state_merges"] == merges
    await check(scene, room_id)


async def test_more_ends_than_an_event_may_follow(scene: Scene) -> None:
    """A local event follows twenty of them, the next one the rest."""
    room_id = await shared_room(scene)
    [fork] = (await scene.replay(room_id)).tips
    for number in range(MAX_PREV_EVENTS + 5):
        type, state_key = (TOPIC[0], "") if number % 5 == 0 else ("x", None)
        await scene.remote(room_id, EVE, type, {"topic": f"{number}"}, state_key, prev=[fork])
    first = await scene.event(room_id, await scene.say(ALICE, room_id))
    assert len(first.prev_events) == MAX_PREV_EVENTS
    assert len((await scene.row(room_id)).extremities) == 6
    second = await scene.event(room_id, await scene.say(ALICE, room_id))
    assert len(second.prev_events) == 6 and first.event_id in second.prev_events
    assert (await scene.row(room_id)).extremity_ids == [second.event_id]
    await check(scene, room_id)


@pytest.mark.parametrize("version", ["1", "12"])
async def test_unknown_references_write_nothing(scene: Scene, version: str) -> None:
    """The caller has to bring what an event refers to first: until then, nothing of it is kept."""
    room_id = await shared_room(scene, version)
    [tip] = (await scene.replay(room_id)).tips
    unknown = "$unknown:other.example" if version == "1" else "$" + "u" * 43
    before, published, row = await everything(scene), len(scene.published), await scene.row(room_id)
    known = await scene.draft(room_id, EVE, "x", {})
    for event in (
        await scene.draft(room_id, EVE, "x", {}, prev=[tip, unknown], auth=known.auth_events),
        await scene.draft(room_id, EVE, TOPIC[0], {}, "", auth=[*known.auth_events, unknown]),
    ):
        with pytest.raises(BrokenInvariant):
            await scene.receive(event)
        # Nor of what came before it in the same transaction.
        with pytest.raises(BrokenInvariant):
            await scene.receive(await scene.draft(room_id, EVE, NAME[0], {"name": "x"}, ""), event)
    assert await everything(scene) == before and len(scene.published) == published
    assert await scene.row(room_id) == row
    await scene.say(ALICE, room_id)
    await check(scene, room_id)


@pytest.mark.parametrize("version", ["1", "6", "12"])
async def test_references_to_another_room_are_rejected(scene: Scene, version: str) -> None:
    """Eve is mighty in a room of her own: neither its events nor its state lend her power here, and both rooms stay
    as they were."""
    room_id, other = await shared_room(scene, version), await shared_room(scene, version, eve=90)
    mighty = await scene.replay(other)
    power = mighty.current[LEVELS]
    ours = await scene.draft(room_id, EVE, "x", {})
    own = [one for one in ours.auth_events if one != (await scene.replay(room_id)).current[LEVELS]]

    def forge(type: str, state_key: str | None, prev: Sequence[str], auth: Sequence[str]) -> Any:
        events = {**mighty.events, **here.events}

        def refer(ids: Sequence[str]) -> list[Any]:
            pairs = [(one, reference_hash(mighty.version, events[one].pdu)) for one in ids]
            return pairs if mighty.version.reference_pairs else list(ids)

        return build_pdu(
            mighty.version, room_id=room_id, sender=EVE, type=type, state_key=state_key, content={"topic": "x"},
            prev_events=refer(prev), auth_events=refer(auth), depth=50, origin_server_ts=scene.clock.ms,
            server_name=OTHER_SERVER, key=scene.keys[OTHER_SERVER],
            event_id_suffix=scene.randomness.token(9) if mighty.version.event_ids is EventIdFormat.CHOSEN else None,
        )  # fmt: skip

    here = await scene.replay(room_id)
    row = await scene.row(room_id)

    # Nothing of the other room is at hand: what is loaded must be what it is there.
    def forget(store: Store) -> None:
        for number in store.events.find_numbers(list(mighty.events)).values():
            store.events.forget(number)

    await scene.read(forget)
    for forged in (
        forge(TOPIC[0], "", here.tips, [*own, power]),
        forge(TOPIC[0], "", mighty.tips, [*own, power]),
        forge("x", None, mighty.tips, ours.auth_events),
        forge("y", None, [*here.tips, *mighty.tips], ours.auth_events),
    ):
        assert isinstance(await scene.receive(forged), Rejected)
    assert await scene.row(room_id) == row
    for one in (room_id, other):
        await scene.say(ALICE, one)
        await scene.remote(one, EVE, TOPIC[0], {"topic": "allowed"}, "")
    await check(scene, other)
    assert (await scene.state(other))[LEVELS].room_id == other


@pytest.mark.parametrize("version", ["1", "10"])
async def test_room_is_created_once(scene: Scene, version: str) -> None:
    """A second create event, and anything else that follows nothing, is rejected."""
    room_id = await shared_room(scene, version)
    row, create = await scene.row(room_id), (await scene.events(room_id))[0]
    for type, sender, content, auth in (
        ("m.room.create", ALICE, {"room_version": version, "creator": ALICE, "m.federate": False}, []),
        ("x", EVE, {}, None),
        (MEMBER, EVE, {"membership": "join"}, [create.event_id]),
    ):
        state_key = None if type == "x" else (EVE if type == MEMBER else "")
        event = await scene.draft(room_id, sender, type, content, state_key, prev=[], auth=auth)
        assert isinstance(await scene.receive(event), Rejected)
        assert await scene.row(room_id) == row
    assert (await scene.state(room_id))[("m.room.create", "")].event_id == create.event_id
    await scene.say(ALICE, room_id)
    await check(scene, room_id)


NUL_CONTENTS: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "thread": ("m.room.message", {"m.relates_to": {"rel_type": "m.thread", "event_id": "$\0"}}, None),
    "relation": ("m.room.message", {"m.relates_to": {"rel_type": "\0", "event_id": "$x", "key": "\0"}}, None),
    "mention": ("m.room.message", {"m.mentions": {"user_ids": ["@a\0:b", "\0"]}}, None),
    "name": (MEMBER, {"membership": "join", "displayname": "\0"}, EVE),
    "membership": (MEMBER, {"membership": "\0"}, EVE),
    "token": (MEMBER, {"membership": "invite", "third_party_invite": {"signed": {"mxid": BOB, "token": "\0"}}}, BOB),
    "authoriser": (MEMBER, {"membership": "join", "join_authorised_via_users_server": "@\0:other.example"}, EVE),
    "redaction": ("m.room.redaction", {"redacts": "$\0"}, None),
    "alias": ("m.room.canonical_alias", {"alias": "#\0:x"}, ""),
    "visibility": ("m.room.history_visibility", {"history_visibility": "\0"}, ""),
    "levels": (LEVELS[0], {"users": {"@\0:x": 1, EVE: 50}}, ""),
    "rules": ("m.room.join_rules", {"join_rule": "restricted", "allow": [{"room_id": "!\0"}]}, ""),
}


@pytest.mark.parametrize("case", NUL_CONTENTS)
async def test_text_that_no_column_can_hold(scene: Scene, case: str) -> None:
    """U+0000 is legal anywhere in content: whatever is made of it, the event gets its verdict and the room goes on."""
    room_id = await shared_room(scene)
    type, content, state_key = NUL_CONTENTS[case]
    event = await scene.draft(room_id, EVE, type, content, state_key)
    await scene.receive(event)
    if type == MEMBER:
        with pytest.raises((Forbidden, BadRequest)):
            await scene.put(BOB, room_id, type, content, CAROL)
    if state_key is None and type != "m.room.redaction":
        await scene.send(BOB, room_id, type, {"msgtype": "m.text", "body": "\0", **content})
    await scene.say(ALICE, room_id)
    await scene.services.membership.leave(BOB, room_id)
    await check(scene, room_id)


async def test_several_events_in_one_transaction(scene: Scene) -> None:
    """Appended one after the other under one lock, with state and forks among them, they end as if apart."""
    room_id = await shared_room(scene)
    [fork] = (await scene.replay(room_id)).tips
    await scene.put(ALICE, room_id, *TOPIC[:1], {"topic": "ours"})
    topic = await scene.draft(room_id, EVE, TOPIC[0], {"topic": "theirs"}, "", prev=[fork])
    others = [await scene.draft(room_id, EVE, "x", {"n": n}, prev=[fork]) for n in range(3)]
    leave = await scene.draft(room_id, FRANK, MEMBER, {"membership": "leave"}, FRANK, prev=[fork])
    assert isinstance(await scene.receive(topic, *others, leave), Accepted)
    assert await scene.membership(FRANK, room_id) == "leave"
    await scene.say(ALICE, room_id)
    await check(scene, room_id)


# --- random graphs -------------------------------------------------------------------------------------------------

LOCAL = ("say", "topic", "ban eve", "unban eve", "eve 0", "eve 50", "carol")
REMOTE = ("say", "topic", "name", "levels", "rules", "kick bob", "invite carol", "leave", "join", "visibility")
Step = tuple[str, str, int, int]
GRAPHS = st.lists(
    st.tuples(
        st.sampled_from(["local", "eve", "frank"]),
        st.sampled_from(sorted({*LOCAL, *REMOTE})),
        st.integers(0, 2**16),
        st.integers(1, 3),
    ),
    min_size=6,
    max_size=16,
)


async def act_locally(scene: Scene, room_id: str, what: str, number: int) -> None:
    membership = scene.services.membership
    match what:
        case "topic":
            await scene.put(ALICE, room_id, *TOPIC[:1], {"topic": f"{number}"})
        case "ban eve":
            await membership.ban(ALICE, room_id, EVE)
        case "unban eve" if await scene.membership(EVE, room_id) == "ban":
            await membership.unban(ALICE, room_id, EVE)
        case "eve 0" | "eve 50":
            await scene.set_levels(ALICE, room_id, users={EVE: int(what[4:])})
        case "carol" if await scene.membership(CAROL, room_id) == "join":
            await membership.leave(CAROL, room_id)
        case "carol" | "join" if (await scene.state(room_id))[("m.room.join_rules", "")].content[
            "join_rule"
        ] == "public":
            await membership.join(CAROL, room_id)
        case _:
            await scene.say(ALICE, room_id, f"{number}")


async def act_remotely(scene: Scene, room_id: str, who: str, what: str, number: int, width: int) -> None:
    """On up to `width` events chosen by `number` from the latest ones, of whatever verdict."""
    replay = await scene.replay(room_id)
    ids = list(replay.events)[-12:]
    prev = sorted({ids[(number * (one + 1)) % len(ids)] for one in range(width)})
    state = replay.state_at(prev)
    levels = replay.events[state[LEVELS]].content if LEVELS in state else {}
    type, content, state_key = {
        "topic": (TOPIC[0], {"topic": f"{number}"}, ""),
        "name": (NAME[0], {"name": f"{number}"}, ""),
        "levels": (LEVELS[0], {**levels, "events_default": number % 3}, ""),
        "rules": ("m.room.join_rules", {"join_rule": ("public", "invite")[number % 2]}, ""),
        "visibility": ("m.room.history_visibility", {"history_visibility": ("shared", "joined")[number % 2]}, ""),
        "kick bob": (MEMBER, {"membership": "leave"}, BOB),
        "invite carol": (MEMBER, {"membership": "invite"}, CAROL),
        "leave": (MEMBER, {"membership": "leave"}, who),
        "join": (MEMBER, {"membership": "join"}, who),
    }.get(what, ("m.room.message", {"body": f"{number}"}, None))
    await scene.receive(await scene.draft(room_id, who, type, content, state_key, prev=prev))


@settings(max_examples=examples(6), deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=GRAPHS, version=st.sampled_from(["1", "2", "10", "12"]))
async def test_random_graphs_end_as_the_core_says(scene: Scene, steps: Sequence[Step], version: str) -> None:
    """Local events, and remote ones on top of anything: verdicts, groups, ends, current state, its changes at every
    position, memberships and counts are those of the core from nothing; after every step."""
    room_id = await shared_room(scene, version)
    for who, what, number, width in steps:
        if who == "local":
            await act_locally(scene, room_id, what, number)
        else:
            await act_remotely(scene, room_id, EVE if who == "eve" else FRANK, what, number, width)
        await scene.check_now(room_id)
    await check(scene, room_id)
