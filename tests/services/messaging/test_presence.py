"""Who is online: told once a second in the small rooms that people share, here and to other servers."""

from collections.abc import Collection, Mapping, Sequence
from itertools import count, pairwise
from typing import Any

import pytest

from homeserver.domain.errors import Forbidden
from homeserver.domain.presence import ABSENT_MS, IDLE_MS, OFFLINE, ONLINE, RETURN_MS, SILENT_MS, UNAVAILABLE
from homeserver.services.messaging import presence as module
from homeserver.services.messaging import presence_rounds
from homeserver.services.messaging.presence import RESEND_MS, Presence
from homeserver.services.messaging.roster import Roster
from homeserver.streams.keys import room_key
from homeserver.streams.publications import PresenceItem
from homeserver.telemetry.metrics import REGISTRY
from tests.builders.cluster import SERVER_NAME
from tests.services.rooms.scene import OTHER_SERVER, Scene

pytestmark = pytest.mark.asyncio(loop_scope="module")

_names = count()


def people(number: int, server: str = SERVER_NAME) -> list[str]:
    """Users whom no other test knows."""
    return [f"@someone{next(_names)}:{server}" for _ in range(number)]


def told(scene: Scene, *user_ids: str) -> list[tuple[str, str, str | None]]:
    """What was published of them, in order."""
    items = [one.item for one in scene.published if isinstance(one.item, PresenceItem)]
    return [(one.user_id, one.presence, one.status_msg) for one in items if one.user_id in user_ids]


def keys(scene: Scene, user_id: str) -> set[str]:
    """Under which keys something was published last of a user."""
    found = [one for one in scene.published if isinstance(one.item, PresenceItem) and one.item.user_id == user_id]
    return set(found[-1].keys)


async def key(scene: Scene, room_id: str) -> str:
    return room_key((await scene.row(room_id)).number)


def sync(scene: Scene, user_id: str, asked: str = ONLINE) -> None:
    """A sync that is answered at once."""
    presence = scene.services.presence
    presence.disconnect(presence.connect(user_id, "DEVICE", asked))


async def pass_time(scene: Scene, ms: int = 1_000) -> None:
    scene.clock.ms += ms
    # More than one round: whoever stirred in other tests goes first.
    for _ in range(3):
        await scene.services.presence.tick()


def statements() -> float:
    return REGISTRY.get_sample_value("parley_statements_total") or 0.0


class Wire:
    """What other servers are told."""

    def __init__(self) -> None:
        self.sent: list[tuple[Mapping[str, Any], set[str]]] = []

    def __call__(self, updates: Sequence[Mapping[str, Any]], servers: Collection[str]) -> None:
        self.sent += [(update, set(servers)) for update in updates]

    def of(self, user_id: str) -> list[tuple[str, set[str]]]:
        return [(update["presence"], servers) for update, servers in self.sent if update["user_id"] == user_id]


# --- a life ---------------------------------------------------------------------------------------------------------


async def test_online_idle_and_offline_by_the_clock(scene: Scene) -> None:
    """Each change is told once, in the room that is shared; nothing is told as long as nothing changes."""
    alice, bob = people(2)
    room = await scene.room(creator=alice, members=[bob])
    presence = scene.services.presence
    held = presence.connect(alice, "DEVICE", ONLINE)
    await pass_time(scene)
    await pass_time(scene)
    assert told(scene, alice) == [(alice, ONLINE, None)]
    assert keys(scene, alice) == {await key(scene, room)}
    await pass_time(scene, IDLE_MS - 3_000)
    assert len(told(scene, alice)) == 1
    await pass_time(scene, 1_000)
    assert told(scene, alice)[1:] == [(alice, UNAVAILABLE, None)]
    await scene.say(alice, room)
    await pass_time(scene)
    assert told(scene, alice)[2:] == [(alice, ONLINE, None)]
    presence.disconnect(held)
    await pass_time(scene, ABSENT_MS - 1)
    assert len(told(scene, alice)) == 3
    await pass_time(scene, 1)
    assert told(scene, alice)[3:] == [(alice, OFFLINE, None)]


async def test_a_receipt_is_activity(scene: Scene) -> None:
    """A private one says nothing to anybody."""
    alice, bob = people(2)
    room = await scene.room(creator=alice, members=[bob])
    event_id = await scene.say(bob, room)
    held = scene.services.presence.connect(alice, "DEVICE", ONLINE)
    await pass_time(scene)
    await pass_time(scene, IDLE_MS)
    await scene.services.receipts.set(alice, room, {"m.read.private": event_id}, None)
    await pass_time(scene)
    assert [presence for _, presence, _ in told(scene, alice)] == [ONLINE, UNAVAILABLE]
    await scene.services.receipts.set(alice, room, {"m.read": event_id}, None)
    await pass_time(scene)
    assert [presence for _, presence, _ in told(scene, alice)] == [ONLINE, UNAVAILABLE, ONLINE]
    scene.services.presence.disconnect(held)


async def test_many_changes_are_one_write(scene: Scene) -> None:
    """Coalesced: who comes and goes within a second is not told of, and everybody else in one position."""
    crowd = people(20)
    await scene.room(creator=crowd[0], members=crowd[1:])
    for user_id in crowd:
        sync(scene, user_id)
        sync(scene, user_id, UNAVAILABLE)
    await scene.services.presence.tick()
    found = [one for one in scene.published if isinstance(one.item, PresenceItem) and one.item.user_id in crowd]
    assert len(found) == 20
    assert {one.position for one in found} == {found[0].position}
    assert {one.item.presence for one in found if isinstance(one.item, PresenceItem)} == {UNAVAILABLE}


async def test_where_many_stir_those_of_a_room_are_told_of_together(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a round wakes few; the rooms take turns."""
    groups = [people(3) for _ in range(3)]
    for group in groups:
        await scene.room(creator=group[0], members=group[1:])
    mixed = [user_id for trio in zip(*groups, strict=True) for user_id in trio]
    for user_id in mixed:
        sync(scene, user_id)
    await pass_time(scene)
    await pass_time(scene, ABSENT_MS)
    assert [presence for _, presence, _ in told(scene, *mixed)] == [ONLINE] * 9 + [OFFLINE] * 9
    monkeypatch.setattr(module, "MAX_WOKEN", 3)
    for user_id in mixed:
        sync(scene, user_id)
    for group in groups:
        before = len(told(scene, *mixed))
        await scene.services.presence.tick()
        assert {user_id for user_id, _, _ in told(scene, *mixed)[before:]} == set(group)


async def test_a_sync_asks_the_tables_nothing(scene: Scene) -> None:
    """Nor does a tick without news."""
    [alice] = people(1)
    sync(scene, alice)
    await pass_time(scene)
    before = statements()
    for _ in range(10):
        sync(scene, alice)
        await pass_time(scene)
    assert statements() == before


async def test_what_is_set_is_told_at_once(scene: Scene) -> None:
    """With its status; to set the same again is no news, and the status goes with the next setting."""
    alice, bob = people(2)
    await scene.room(creator=alice, members=[bob])
    presence = scene.services.presence
    for status in ("fishing", "fishing", None):
        await presence.set(alice, "DEVICE", UNAVAILABLE, status)
    assert told(scene, alice) == [(alice, UNAVAILABLE, "fishing"), (alice, UNAVAILABLE, None)]
    await presence.set(alice, "DEVICE", ONLINE, None)
    scene.clock.ms += 500
    assert await presence.get(bob, alice) == {"presence": ONLINE, "currently_active": True, "last_active_ago": 500}


async def test_only_who_shares_a_room_may_ask(scene: Scene) -> None:
    """Of oneself everybody may; of a person who was never here it is known that they are offline."""
    alice, bob, carol = people(3)
    room = await scene.room(creator=alice, members=[bob])
    presence = scene.services.presence
    sync(scene, alice)
    assert (await presence.get(alice, alice))["presence"] == ONLINE
    assert (await presence.get(bob, alice))["presence"] == ONLINE
    assert await presence.get(alice, bob) == {"presence": OFFLINE}
    for other in (alice, "@nobody:nowhere"):
        with pytest.raises(Forbidden):
            await presence.get(carol, other)
    await scene.services.membership.leave(bob, room)
    with pytest.raises(Forbidden):
        await presence.get(bob, alice)


# --- who is told ------------------------------------------------------------------------------------------------------


async def test_nobody_is_told_in_large_rooms(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A room above the limit wakes nobody; of the others the smallest are told, as many as have few enough members."""
    alice, *others = people(8)
    small = await scene.room(creator=alice, members=others[:1])
    middle = await scene.room(creator=alice, members=others[:3])
    large = await scene.room(creator=alice, members=others[:5])
    await scene.room(creator=alice, members=others)
    await scene.room(creator=alice)
    monkeypatch.setattr(presence_rounds, "MAX_MEMBERS", 6)
    sync(scene, alice)
    await pass_time(scene)
    assert keys(scene, alice) == {await key(scene, room) for room in (small, middle, large)}
    monkeypatch.setattr(presence_rounds, "MAX_WATCHERS", 7)
    await scene.services.presence.set(alice, "DEVICE", UNAVAILABLE, None)
    assert keys(scene, alice) == {await key(scene, room) for room in (small, middle)}
    monkeypatch.setattr(presence_rounds, "MAX_ROOMS", 1)
    await scene.services.presence.set(alice, "DEVICE", ONLINE, None)
    assert keys(scene, alice) == {await key(scene, small)}


async def test_whoever_joins_is_told_of_there(scene: Scene) -> None:
    """And nowhere any more whence they left, without another word."""
    alice, bob, carol = people(3)
    first = await scene.room(creator=bob, members=[alice])
    second = await scene.room(creator=carol)
    sync(scene, alice)
    await pass_time(scene)
    await scene.services.membership.join(alice, second)
    await pass_time(scene)
    assert told(scene, alice) == [(alice, ONLINE, None)] * 2
    assert keys(scene, alice) == {await key(scene, first), await key(scene, second)}
    await scene.services.membership.leave(alice, first)
    await pass_time(scene)
    assert len(told(scene, alice)) == 2
    await scene.services.presence.set(alice, "DEVICE", UNAVAILABLE, None)
    assert keys(scene, alice) == {await key(scene, second)}


async def test_many_who_leave_at_once_are_looked_at_bit_by_bit(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few in each tick, and all of them within a few ticks."""
    crowd = people(12)
    await scene.room(creator=crowd[0], members=crowd[1:])
    for user_id in crowd:
        sync(scene, user_id)
    await pass_time(scene)
    monkeypatch.setattr(module, "MIN_LOOKS", 3)
    monkeypatch.setattr(module, "LOOK_TICKS", 1_000)
    scene.clock.ms += ABSENT_MS
    gone = [0]
    # People of other tests are looked at as well.
    while gone[-1] < len(crowd) and len(gone) < 100:
        await scene.services.presence.tick()
        gone.append(len([one for one in told(scene, *crowd) if one[1] == OFFLINE]))
    assert gone[-1] == len(crowd)
    assert max(after - before for before, after in pairwise(gone)) <= 3


# --- other servers ----------------------------------------------------------------------------------------------------


async def test_what_another_server_says_of_its_user(scene: Scene) -> None:
    """It is told where they share a room with us, and believed for half an hour."""
    [alice], [eve, stranger] = people(1), people(2, OTHER_SERVER)
    room = await scene.room(creator=alice)
    await scene.remote_join(room, eve)
    presence = scene.services.presence
    update = {"presence": ONLINE, "currently_active": True, "last_active_ago": 1_000, "status_msg": "hi"}
    for user_id in (eve, stranger):
        await presence.heard(user_id, update)
    await presence.heard(eve, {"presence": "nonsense"})
    await pass_time(scene, 10)
    assert told(scene, eve, stranger) == [(eve, ONLINE, "hi")]
    assert keys(scene, eve) == {await key(scene, room)}
    assert await presence.get(alice, eve) == {
        "presence": ONLINE, "currently_active": True, "last_active_ago": 1_010, "status_msg": "hi"
    }  # fmt: skip
    await pass_time(scene, SILENT_MS - 11)
    assert len(told(scene, eve)) == 1
    await pass_time(scene, 1)
    assert told(scene, eve)[1:] == [(eve, OFFLINE, None)]


async def test_the_users_of_other_servers_are_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """No server can make us look for as many as it likes; those who share no room with us are not kept."""
    [alice], crowd = people(1), people(10, "flood.example")
    monkeypatch.setattr(module, "MAX_OF_SERVER", 4)
    before = len(scene.services.presence._roster)
    for user_id in crowd:
        await scene.services.presence.heard(user_id, {"presence": ONLINE})
    assert len(scene.services.presence._roster) == before + 4
    await scene.services.presence.heard(alice, {"presence": ONLINE})
    await pass_time(scene)
    assert len(scene.services.presence._roster) <= before
    assert told(scene, *crowd, alice) == []


async def test_our_users_are_told_to_the_servers_of_their_rooms(scene: Scene) -> None:
    """Each change once; and again from time to time, for they forget whom they hear nothing of."""
    [alice, bob], [eve] = people(2), people(1, OTHER_SERVER)
    wire = Wire()
    scene.services.presence.listen(wire)
    room = await scene.room(creator=alice, members=[bob])
    await scene.remote_join(room, eve)
    held = [scene.services.presence.connect(user_id, "DEVICE", ONLINE) for user_id in (alice, bob)]
    await pass_time(scene)
    assert wire.of(alice) == wire.of(bob) == [(ONLINE, {OTHER_SERVER})]
    assert wire.sent[0][0].keys() == {"user_id", "presence", "currently_active", "last_active_ago"}
    await pass_time(scene, IDLE_MS)
    assert wire.of(alice)[1:] == [(UNAVAILABLE, {OTHER_SERVER})]
    for _ in range(RESEND_MS // ABSENT_MS + 1):
        await pass_time(scene, ABSENT_MS)
    assert wire.of(alice)[2:] == [(UNAVAILABLE, {OTHER_SERVER})]
    for device in held:
        scene.services.presence.disconnect(device)
    await pass_time(scene, ABSENT_MS)
    assert wire.of(alice)[3:] == [(OFFLINE, {OTHER_SERVER})]
    assert [presence for _, presence, _ in told(scene, alice)] == [ONLINE, UNAVAILABLE, OFFLINE]


async def test_a_server_that_comes_into_a_room_is_told_who_is_there(scene: Scene) -> None:
    """Once, not for each of its users."""
    [alice, bob], newcomers = people(2), people(2, OTHER_SERVER)
    wire = Wire()
    scene.services.presence.listen(wire)
    room = await scene.room(creator=alice, members=[bob])
    sync(scene, alice)
    await pass_time(scene)
    assert wire.of(alice) == []
    for user_id in newcomers:
        await scene.remote_join(room, user_id)
        await pass_time(scene, 10)
    assert wire.of(alice) == [(ONLINE, {OTHER_SERVER})]
    assert wire.of(bob) == []


async def test_of_people_in_a_room_that_was_not_looked_at_a_newcomer_is_told(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a room of another server into which the first of us comes: those who are known from elsewhere are found."""
    [alice, bob, carol], [eve] = people(3), people(1, OTHER_SERVER)
    known = await scene.room(creator=bob)
    other = await scene.room(creator=carol, members=[bob])
    for room in (known, other):
        await scene.remote_join(room, eve)
    monkeypatch.setattr(presence_rounds, "MAX_MEMBERS", 2)
    await scene.services.presence.heard(eve, {"presence": ONLINE})
    await pass_time(scene)
    assert keys(scene, eve) == {await key(scene, known)}
    monkeypatch.undo()
    await scene.services.membership.join(alice, other)
    await pass_time(scene)
    assert keys(scene, eve) == {await key(scene, known), await key(scene, other)}


# --- from one process to the next -------------------------------------------------------------------------------------


def another(scene: Scene, *, enabled: bool = True) -> tuple[Presence, Roster]:
    """As the next process has it, on the same tables."""
    roster = Roster()
    presence = Presence(scene.database, scene.built.publisher, roster, scene.clock, SERVER_NAME, enabled=enabled)
    return presence, roster


async def test_a_short_restart_is_not_seen(scene: Scene) -> None:
    """Who was online has time to come back; who does not is told to be offline, once."""
    alice, bob, carol = people(3)
    room = await scene.room(creator=alice, members=[bob, carol])
    for user_id in (alice, bob):
        sync(scene, user_id)
    await scene.services.presence.set(carol, "DEVICE", OFFLINE, "asleep")
    await pass_time(scene)
    before = scene.published[-1].position
    presence, roster = another(scene)
    resumed = await presence.resume()
    mine = [one for one in resumed if isinstance(one.item, PresenceItem) and one.item.user_id in (alice, bob, carol)]
    assert [one.keys for one in mine] == [(await key(scene, room),)] * 3
    assert all(one.position <= before for one in mine)
    assert len(roster.list_in([(await scene.row(room)).number], before)) == 3
    assert (await presence.get(alice, carol))["status_msg"] == "asleep"
    presence.disconnect(presence.connect(alice, "OTHER", ONLINE))
    scene.clock.ms += 1_000
    await presence.tick()
    published = len(scene.published)
    device = presence.connect(alice, "OTHER", ONLINE)
    scene.clock.ms += RETURN_MS
    for _ in range(3):
        await presence.tick()
    new = [one.item for one in scene.published[published:] if isinstance(one.item, PresenceItem)]
    assert [(one.user_id, one.presence) for one in new if one.user_id in (alice, bob, carol)] == [(bob, OFFLINE)]
    presence.disconnect(device)


async def test_a_join_that_was_not_told_before_the_end_is_told_after_it(scene: Scene) -> None:
    """The process ended between the join and the next round."""
    alice, bob, carol = people(3)
    first = await scene.room(creator=bob, members=[alice])
    second = await scene.room(creator=carol)
    sync(scene, alice)
    await pass_time(scene)
    await scene.services.membership.join(alice, second)
    presence, _ = another(scene)
    resumed = await presence.resume()
    [old] = [one for one in resumed if isinstance(one.item, PresenceItem) and one.item.user_id == alice]
    assert old.keys == (await key(scene, first),)
    for _ in range(3):
        await presence.tick()
    assert keys(scene, alice) == {await key(scene, first), await key(scene, second)}


async def test_whoever_is_forgotten_leaves_no_row(scene: Scene) -> None:
    """The table holds whom the memory holds."""
    alice, bob = people(2)
    await scene.room(creator=alice, members=[bob])
    roster = Roster(max_gone=1)
    presence = Presence(scene.database, scene.built.publisher, roster, scene.clock, SERVER_NAME)
    for user_id in (alice, bob):
        await presence.set(user_id, "DEVICE", ONLINE, None)
        await presence.set(user_id, "DEVICE", OFFLINE, None)
    await presence.set(bob, "DEVICE", OFFLINE, "gone")
    rows = await scene.sql("SELECT user_id FROM presence WHERE user_id = ANY(%s)", [alice, bob])
    assert rows == [(bob,)]


# --- off --------------------------------------------------------------------------------------------------------------


async def test_where_it_is_off_nobody_is_online(scene: Scene) -> None:
    """Nothing is taken from anybody; and who was online when it was switched off is so no more."""
    [alice, bob], [eve] = people(2), people(1, OTHER_SERVER)
    room = await scene.room(creator=alice, members=[bob])
    await scene.remote_join(room, eve)
    sync(scene, alice)
    await scene.services.presence.heard(eve, {"presence": ONLINE})
    await pass_time(scene)
    presence, _ = another(scene, enabled=False)
    await presence.resume()
    published = len(scene.published)
    assert presence.connect(bob, "DEVICE", ONLINE) is None
    await presence.set(bob, "DEVICE", ONLINE, "here")
    await presence.heard(eve, {"presence": ONLINE})
    for _ in range(3):
        await presence.tick()
    new = [one.item for one in scene.published[published:] if isinstance(one.item, PresenceItem)]
    mine = {(one.user_id, one.presence) for one in new if one.user_id in (alice, bob, eve)}
    assert mine == {(alice, OFFLINE), (eve, OFFLINE)}
    assert await presence.get(alice, alice) == {"presence": OFFLINE}
