"""Messages, state and redactions of local users."""

import asyncio
from typing import Any

import orjson
import pytest

from homeserver.domain.errors import BadRequest, Forbidden, NotFound, TooLarge
from homeserver.domain.versions import ROOM_VERSIONS
from tests.builders.cluster import SERVER_NAME
from tests.services.rooms.scene import ALICE, BOB, CAROL, EVE, Scene
from tests.services.rooms.wire import assert_intact

pytestmark = pytest.mark.asyncio(loop_scope="module")

VERSIONS = sorted(ROOM_VERSIONS, key=int)
# One of each kind of redaction.
REDACTIONS = ("1", "3", "6", "9", "11", "12")
MESSAGE = "org.example.message"
# What a JSON body can hold in any room; each is sent, read back and compared.
CONTENTS: list[dict[str, Any]] = [
    {},
    {"body": "Grüße, 世界 🙂 \u2028 \ufffe", "é": {"ß": ["\u0000", "\x7f", "\\u0000", '"', "\\", "/"]}},
    {"numbers": [0, -1, 2**53 - 1, -(2**53 - 1)], "others": [True, False, None, [], {}, [[[]]]]},
    {"": "", "a.b": 1, "keys \0": {"deep": {"er": {"est": 1}}}},
]
# What only old rooms hold: integers of any size and floats.
OLD_CONTENTS: list[dict[str, Any]] = [
    {"big": [2**53, -(2**53), 2**63 - 1, 2**63, 2**64, -(2**64), 10**40, int("9" * 400)]},
    {"floats": [0.5, -0.0, 1e-7, 1e22, 1.5e300, 5e-324, 0.1, 1e16, 123456789012345680.0]},
    {"both": [10**30, 1.5, "1" * 40]},
]


async def assert_sent(scene: Scene, room_id: str, event_id: str, content: dict[str, Any]) -> None:
    """The database gives back what was sent, bit for bit."""
    event = await scene.event(room_id, event_id)
    assert_intact(event, scene.keys)
    assert repr(dict(sorted(event.content.items()))) == repr(dict(sorted(content.items())))


@pytest.mark.parametrize("version", VERSIONS)
async def test_content_survives_in_messages_and_state(scene: Scene, version: str) -> None:
    """Whatever is legal in a room of this version comes back from the database as it was signed, also as state."""
    room_id = await scene.room(version)
    legal = CONTENTS if int(version) > 5 else CONTENTS + OLD_CONTENTS
    for number, content in enumerate(legal):
        await assert_sent(scene, room_id, await scene.send(ALICE, room_id, MESSAGE, content), content)
        # Twice at one key, so that there is something that was replaced.
        for state_key in ("ünïcode", f"{number}"):
            event_id = await scene.put(ALICE, room_id, "org.example.state", content, state_key)
            await assert_sent(scene, room_id, event_id, content)
            await scene.services.history.event(ALICE, "D", room_id, event_id)
    await scene.check(room_id)


@pytest.mark.parametrize("version", ["6", "12"])
async def test_content_that_is_not_strict_is_refused(scene: Scene, version: str) -> None:
    """From version 6 on there are no floats and no integers beyond 2^53-1."""
    room_id = await scene.room(version)
    for content in OLD_CONTENTS:
        with pytest.raises(BadRequest):
            await scene.send(ALICE, room_id, MESSAGE, content)


@pytest.mark.parametrize("version", ["1", "12"])
async def test_what_makes_no_event_is_refused(scene: Scene, version: str) -> None:
    """Lone surrogates, names that are too long or hold NUL, content that is too large."""
    room_id = await scene.room(version)
    before = await scene.timeline(room_id)
    with pytest.raises(BadRequest):
        await scene.send(ALICE, room_id, MESSAGE, {"body": "\ud800"})
    with pytest.raises(TooLarge):
        await scene.send(ALICE, room_id, MESSAGE, {"body": "x" * 66_000})
    for type, state_key in (("x" * 256, ""), ("é" * 128, ""), ("a\0", ""), ("x", "y" * 256), ("x", "\0")):
        with pytest.raises(BadRequest):
            await scene.put(ALICE, room_id, type, {}, state_key)
    with pytest.raises(BadRequest):
        await scene.send(ALICE, room_id, "x" * 256, {})
    assert await scene.timeline(room_id) == before


async def test_transaction_id_makes_a_send_idempotent(scene: Scene) -> None:
    """Per user, device, room and kind of event; the first answer counts, whatever the content is."""
    room_id, other = await scene.room(members=[BOB]), await scene.room()
    send = scene.services.send.message
    first = await send(ALICE, "D1", room_id, MESSAGE, "same", {"body": "1"})
    assert await send(ALICE, "D1", room_id, MESSAGE, "same", {"body": "2"}) == first
    others = [
        await send(ALICE, "D2", room_id, MESSAGE, "same", {"body": "3"}),
        await send(BOB, "D1", room_id, MESSAGE, "same", {"body": "4"}),
        await send(ALICE, "D1", other, MESSAGE, "same", {"body": "5"}),
        await send(ALICE, "D1", room_id, "m.sticker", "same", {"body": "6"}),
        await send(ALICE, "D1", room_id, MESSAGE, "Same", {"body": "7"}),
    ]
    assert len({first, *others}) == 6
    redaction = await scene.services.send.redaction(ALICE, "D1", room_id, first, "same", {})
    assert await scene.services.send.redaction(ALICE, "D1", room_id, first, "same", {}) == redaction
    assert await send(ALICE, "D1", room_id, MESSAGE, "same", {"body": "8"}) == first


async def test_duplicates_at_once_are_one_event(scene: Scene) -> None:
    """Twenty requests with one transaction id, mixed with others: one event, published once."""
    room_id = await scene.room(members=[BOB])
    before = len(await scene.timeline(room_id))
    send = scene.services.send.message
    sends = [send(ALICE, "D", room_id, MESSAGE, "once", {"body": "x"}) for _ in range(20)]
    sends += [send(BOB, "D", room_id, MESSAGE, f"{n}", {"body": f"{n}"}) for n in range(10)]
    ids = await asyncio.gather(*sends)
    assert len(set(ids[:20])) == 1 and len(set(ids)) == 11
    timeline = (await scene.timeline(room_id))[before:]
    assert sorted(timeline) == sorted(set(ids))
    assert [item.event_id for item in scene.event_items(room_id)][before:] == timeline
    replay = await scene.replay(room_id)
    assert len(replay.tips) == 1
    await scene.check(room_id)


async def test_same_state_makes_no_second_event(scene: Scene) -> None:
    """Of the same sender; another sender, or a value that only looks equal, makes one."""
    room_id = await scene.room(members=[BOB])
    await scene.set_levels(ALICE, room_id, users={BOB: 50})
    first = await scene.put(ALICE, room_id, "org.example", {"a": 1, "b": [True]})
    length = len(await scene.timeline(room_id))
    assert await scene.put(ALICE, room_id, "org.example", {"b": [True], "a": 1}) == first
    assert len(await scene.timeline(room_id)) == length
    seen = {first}
    for sender, content in (
        (BOB, {"a": 1, "b": [True]}),
        (ALICE, {"a": 1, "b": [True]}),
        (ALICE, {"a": True, "b": [True]}),
        (ALICE, {"a": 1, "b": [1]}),
        (ALICE, {"a": 1}),
    ):
        event_id = await scene.put(sender, room_id, "org.example", content)
        assert event_id not in seen
        assert (await scene.event(room_id, event_id)).content == content
        seen.add(event_id)


async def test_outsiders_cannot_send(scene: Scene) -> None:
    """Invited, left, kicked, banned and never there: nobody but members sends anything."""
    room_id = await scene.room("12", "public_chat")
    membership = scene.services.membership
    await membership.invite(ALICE, room_id, BOB)
    await membership.join(CAROL, room_id)
    message = await scene.say(CAROL, room_id)
    await membership.leave(CAROL, room_id)
    banned = f"@banned:{SERVER_NAME}"
    await membership.ban(ALICE, room_id, banned)
    before = await scene.timeline(room_id)
    for sender in (BOB, CAROL, banned, f"@never:{SERVER_NAME}"):
        with pytest.raises(Forbidden):
            await scene.say(sender, room_id)
        with pytest.raises(Forbidden):
            await scene.put(sender, room_id, "m.room.topic", {"topic": "x"})
        with pytest.raises(Forbidden):
            await scene.redact(sender, room_id, message)
    assert await scene.timeline(room_id) == before
    for unknown in ("!unknown:test.example", "!" + "a" * 43):
        with pytest.raises(NotFound):
            await scene.say(ALICE, unknown)


@pytest.mark.parametrize("version", ["1", "5", "9", "10", "12"])
async def test_levels_decide_who_may_send_what(scene: Scene, version: str) -> None:
    """By type, for messages and for state; a state key that is a user belongs to that user."""
    room_id = await scene.room(version, members=[BOB, CAROL])
    await scene.set_levels(ALICE, room_id, users={BOB: 40}, events={"org.low": 10, "org.high": 60}, events_default=5)
    for sender, type, state_key, allowed in (
        (BOB, "org.other", None, True),
        (CAROL, "org.other", None, False),
        (BOB, "org.low", None, True),
        (BOB, "org.low", "", True),
        (BOB, "org.high", None, False),
        (BOB, "org.other", "", False),
        (ALICE, "org.high", "", True),
        (BOB, "org.low", BOB, True),
        (BOB, "org.low", CAROL, False),
        (ALICE, "org.low", BOB, False),
        (ALICE, "m.room.create", "", False),
        (ALICE, "m.room.create", None, False),
        (ALICE, "m.room.member", None, False),
    ):
        if state_key is None:
            sending = scene.send(sender, room_id, type, {"x": 1})
        else:
            sending = scene.put(sender, room_id, type, {"x": 1}, state_key)
        if allowed:
            await sending
        else:
            with pytest.raises(Forbidden):
                await sending


@pytest.mark.parametrize("version", ["1", "6", "10", "11", "12"])
async def test_nobody_gives_or_takes_more_power_than_their_own(scene: Scene, version: str) -> None:
    """Power levels change only within the sender's own level, and never an equal's."""
    room_id = await scene.room(version, members=[BOB, CAROL])
    await scene.set_levels(ALICE, room_id, users={BOB: 50, CAROL: 50}, events={"m.room.power_levels": 50})
    beyond: list[dict[str, Any]] = [
        {"users": {BOB: 51}},
        {"users": {CAROL: 0}},
        {"ban": 60},
        {"events": {"x": 51}},
        {"users_default": 51},
    ]
    for levels in beyond:
        with pytest.raises(Forbidden):
            await scene.set_levels(BOB, room_id, **levels)
    if int(version) >= 6:
        with pytest.raises(Forbidden):
            await scene.set_levels(BOB, room_id, notifications={"room": 99})
    await scene.set_levels(BOB, room_id, users={BOB: 20})
    with pytest.raises(Forbidden):
        await scene.set_levels(BOB, room_id, ban=40)
    if version == "12":
        with pytest.raises(Forbidden):
            await scene.set_levels(ALICE, room_id, users={ALICE: 100})
    await scene.set_levels(ALICE, room_id, users={CAROL: 0})
    with pytest.raises(Forbidden):
        await scene.set_levels(CAROL, room_id, ban=0)
    await scene.check(room_id)


@pytest.mark.parametrize("version", REDACTIONS)
async def test_redaction_takes_the_content_for_good(scene: Scene, version: str) -> None:
    """By the sender or by somebody with power; no byte of it stays in the table, and what is left is intact."""
    room_id = await scene.room(version, members=[BOB, CAROL])
    await scene.set_levels(ALICE, room_id, users={CAROL: 50})
    for target_sender, redactor in ((BOB, BOB), (BOB, CAROL), (ALICE, ALICE), (ALICE, CAROL)):
        secret = f"secret-{target_sender[1:3]}-{redactor[1:3]}"
        target = await scene.say(target_sender, room_id, secret)
        await scene.services.history.event(BOB, "D", room_id, target)
        redaction = await scene.redact(redactor, room_id, target)

        event = await scene.event(room_id, target)
        assert event.content == {}
        assert_intact(event, scene.keys, redacted=True)
        assert_intact(await scene.event(room_id, redaction), scene.keys)
        assert await scene.sql("SELECT 1 FROM events WHERE client || wire LIKE %s", f"%{secret}%") == []
        assert (await scene.event_row(target)).redacted_by == redaction
        shown = orjson.loads(await scene.services.history.event(BOB, "D", room_id, target))
        assert shown["content"] == {} and shown["unsigned"]["redacted_because"]["event_id"] == redaction
        item = scene.event_items(room_id)[-1]
        assert item.event_id == redaction and item.redacted is not None and item.redacted[0] == target
        assert secret not in item.redacted[1]


@pytest.mark.parametrize("version", REDACTIONS)
async def test_redaction_that_is_not_allowed(scene: Scene, version: str) -> None:
    """Of somebody else's event without power, of the create event, of a message in another room: without effect."""
    room_id, other = await scene.room(version, members=[BOB, CAROL]), await scene.room(version, members=[BOB])
    target, elsewhere = await scene.say(ALICE, room_id, "kept"), await scene.say(ALICE, other, "kept")
    create = (await scene.timeline(room_id))[0]
    for redactor, event_id in ((BOB, target), (ALICE, create), (BOB, create)):
        with pytest.raises(Forbidden):
            await scene.redact(redactor, room_id, event_id)
    with pytest.raises(BadRequest):
        await scene.redact(ALICE, room_id, elsewhere)
    # Nobody knows this one yet: the redaction is sent and does nothing.
    await scene.redact(ALICE, room_id, "$unknown:elsewhere")
    assert (await scene.event(room_id, target)).content["body"] == "kept"
    assert (await scene.event(other, elsewhere)).content["body"] == "kept"
    assert (await scene.event(room_id, create)).content["room_version"] == version


@pytest.mark.parametrize("version", ["1", "2", "3", "11", "12"])
async def test_redaction_of_another_server_applies_where_its_version_lets_it(scene: Scene, version: str) -> None:
    """A member of another server redacts events of that server; others' only with power, and without it the redaction
    is rejected (v1, v2: where the event names another server) or stands without effect (v3 on)."""
    room_id = await scene.room(version)
    await scene.remote_join(room_id)
    kept = await scene.say(ALICE, room_id, "kept")
    theirs = await scene.remote(room_id, EVE, MESSAGE, {"body": "gone"})
    redaction = await scene.draft(room_id, EVE, "m.room.redaction", {}, redacts=kept)
    await scene.receive(redaction)
    assert (await scene.event(room_id, kept)).content["body"] == "kept"
    row = await scene.event_row(redaction.event_id)
    # In v1 and v2 the redaction's own id names the server, and it is not that of the event.
    assert (row.rejected is not None) == (version in ("1", "2"))
    await scene.remote(room_id, EVE, "m.room.redaction", {}, redacts=theirs.event_id)
    assert (await scene.event(room_id, theirs.event_id)).content == {}


@pytest.mark.parametrize("version", REDACTIONS)
async def test_redacted_state_keeps_what_is_protected(scene: Scene, version: str) -> None:
    """It stays the state at its key and stays in force: levels, join rules, memberships; the rest is gone."""
    room_id = await scene.room(version, members=[BOB])
    levels = await scene.set_levels(ALICE, room_id, users={BOB: 50}, extra="x", notifications={"room": 1}, invite=30)
    rules = await scene.put(ALICE, room_id, "m.room.join_rules", {"join_rule": "invite", "extra": 1})
    name = await scene.put(ALICE, room_id, "m.room.name", {"name": "secret name"})
    member = (await scene.state(room_id))[("m.room.member", BOB)].event_id
    for target in (levels, rules, name, member):
        await scene.redact(ALICE, room_id, target)
    state = await scene.state(room_id)
    content = {key: dict(event.content) for key, event in state.items()}
    left = content[("m.room.power_levels", "")]
    assert left["users"][BOB] == 50 and left["ban"] == 50 and "extra" not in left and "notifications" not in left
    assert ("invite" in left) == (int(version) >= 11)
    assert content[("m.room.join_rules", "")] == {"join_rule": "invite"}
    assert content[("m.room.name", "")] == {}
    assert content[("m.room.member", BOB)] == {"membership": "join"}
    for target in (levels, rules, name, member):
        assert_intact(await scene.event(room_id, target), scene.keys, redacted=target != member)
    with pytest.raises(Forbidden):
        await scene.services.membership.join(CAROL, room_id)
    # Where the level of invites is gone, it is the default again.
    someone = f"@someone:{SERVER_NAME}"
    await scene.set_levels(ALICE, room_id, users={BOB: 20})
    if int(version) >= 11:
        with pytest.raises(Forbidden):
            await scene.services.membership.invite(BOB, room_id, someone)
    else:
        await scene.services.membership.invite(BOB, room_id, someone)
    await scene.check(room_id)


async def test_redacted_levels_count_at_once(scene: Scene) -> None:
    """In version 9 the level of invites does not survive: with the default one, members may vouch for newcomers."""
    allowed = await scene.room("9", members=[BOB])
    room_id = await scene.room("9")
    rules = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": allowed}]}
    await scene.put(ALICE, room_id, "m.room.join_rules", rules)
    levels = await scene.set_levels(ALICE, room_id, users={ALICE: 0}, invite=50)
    with pytest.raises(Forbidden):
        await scene.services.membership.join(BOB, room_id)
    await scene.redact(ALICE, room_id, levels)
    await scene.services.membership.join(BOB, room_id)
    assert (await scene.state(room_id))[("m.room.member", BOB)].content["join_authorised_via_users_server"] == ALICE
    await scene.check(room_id)
