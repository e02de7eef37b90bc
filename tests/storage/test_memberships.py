"""Who is in which room."""

import random

import pytest

from homeserver.storage.memberships import MembershipRow
from homeserver.storage.store import Store
from tests.builders.house import TestHouse
from tests.storage.samples import sample_row

STANDINGS = ("join", "invite", "leave", "ban", "knock")


def member(number: int, room: int, membership: str, position: int) -> MembershipRow:
    user_id = f"@u{number:02}:test.example"
    return MembershipRow(user_id, room, membership, number, position, "@a:test.example", number % 3 > 0, f"U{number}")


@pytest.fixture
async def rows(house: TestHouse) -> list[MembershipRow]:
    """Forty users in two rooms, some who came with the same event."""
    dice = random.Random(6)
    made = [member(n, room, dice.choice(STANDINGS), dice.randrange(100)) for n in range(40) for room in (1, 2)]

    def write(store: Store) -> None:
        for row in dice.sample(made, len(made)):
            store.memberships.put(row)

    await house.database.write(write)
    return made


def in_order(rows: list[MembershipRow], room: int, *memberships: str) -> list[MembershipRow]:
    found = [row for row in rows if row.room == room and row.membership in memberships]
    return sorted(found, key=lambda row: (row.position, row.user_id))


async def test_lists_of_a_room(house: TestHouse, rows: list[MembershipRow]) -> None:
    """Members come in the order of joining, also where only the first few are wanted."""

    def work(store: Store) -> None:
        found = store.memberships
        viewer = in_order(rows, 1, "join")[0].user_id
        assert found.list_of_room(1, ["join", "ban"]) == in_order(rows, 1, "join", "ban")
        assert found.list_of_room(1, ["invite"], 2) == in_order(rows, 1, "invite")[:2]
        assert found.list_first(2, 6) == [row.user_id for row in in_order(rows, 2, "join", "invite")][:6]
        heroes = {room: [row.user_id for row in in_order(rows, room, "join", "invite")] for room in (1, 2, 3)}
        expected = {room: [user for user in users if user != viewer][:5] for room, users in heroes.items()}
        assert found.list_heroes([1, 2, 3], viewer) == expected
        assert found.list_heroes([], viewer) == {}
        gone = [row.user_id for row in in_order(rows, 1, "leave", "ban") if row.user_id != viewer]
        assert found.list_past_heroes(1, viewer) == gone[:5]
        wanted = [row.user_id for row in rows]
        local = {row.user_id: row.display_name for row in in_order(rows, 1, "join") if row.local}
        assert found.list_local_joined(1, wanted) == local
        assert found.list_local_joined(1, []) == {}

    await house.database.read(work)


async def test_rows_of_a_user(house: TestHouse, rows: list[MembershipRow]) -> None:
    """A user's rooms, and one of them; a row that is put again replaces the one before."""

    def work(store: Store) -> None:
        user_id = rows[0].user_id
        mine = [row for row in rows if row.user_id == user_id]
        assert sorted(store.memberships.list_of_user(user_id), key=lambda row: row.room) == mine
        assert store.memberships.find(user_id, 1) == mine[0]
        assert store.memberships.find(user_id, 3) is None
        store.memberships.put(member(0, 1, "ban", 500))
        assert store.memberships.find(user_id, 1) == member(0, 1, "ban", 500)
        store.memberships.remove(user_id, 1)
        assert store.memberships.find(user_id, 1) is None

    await house.database.write(work)


async def test_last_stay(house: TestHouse) -> None:
    """When somebody last came and went: before all kicks since, and whatever characters their name has."""
    standing = ["join", "join", "leave", "invite", *["leave"] * 45]

    def work(store: Store) -> None:
        key = store.state.intern_keys([("m.room.member", "@b:x")])[("m.room.member", "@b:x")]
        for number, membership in enumerate(standing, 1):
            content = {"membership": membership, "displayname": "a\0b\ufffe", "reason": "\\u0000"}
            store.events.add(sample_row(number, 100 + number, type="m.room.member", state_key="@b:x", content=content))
            store.state.change_current(1, 0, 100 + number, [(key, number - 1 or None, number)])
        assert store.memberships.find_last_stay(1, key) == (102, 103)
        assert store.memberships.find_last_stay(1, key + 1) is None
        assert store.memberships.find_last_stay(2, key) is None
        store.events.add(sample_row(90, 190, type="m.room.member", state_key="@b:x", content={"membership": "join"}))
        store.state.change_current(1, 0, 190, [(key, 50, 90)])
        assert store.memberships.find_last_stay(1, key) == (190, None)
        store.state.change_current(1, 0, 191, [(key, 90, None)])
        assert store.memberships.find_last_stay(1, key) == (190, 191)

    await house.database.write(work)


async def test_forgotten_rooms(house: TestHouse) -> None:
    """A user forgets a room and remembers it."""

    def work(store: Store) -> list[set[int]]:
        seen = []
        for room in (4, 4, 5):
            store.memberships.forget("@a:x", room, 1)
            seen.append(store.memberships.list_forgotten("@a:x"))
        store.memberships.remember("@a:x", 4)
        return [*seen, store.memberships.list_forgotten("@a:x"), store.memberships.list_forgotten("@b:x")]

    assert await house.database.write(work) == [{4}, {4}, {4, 5}, {5}, set()]


async def test_invites_from_outside(house: TestHouse) -> None:
    """The stripped state of an invite is kept as it came, the newest."""

    def work(store: Store) -> dict[int, str]:
        store.memberships.set_invite_state("@a:x", 1, "[1]")
        store.memberships.set_invite_state("@a:x", 1, "[2]")
        store.memberships.set_invite_state("@a:x", 2, "[3]")
        assert store.memberships.list_invite_states("@a:x", []) == {}
        return store.memberships.list_invite_states("@a:x", [1, 2, 3])

    assert await house.database.write(work) == {1: "[2]", 2: "[3]"}


async def test_member_events_and_first_changes(house: TestHouse) -> None:
    """The member events of the state now, and what stood at a key before it first changed after a position."""

    def work(store: Store) -> None:
        key = store.state.intern_keys([("m.room.member", "@u01:test.example")])[("m.room.member", "@u01:test.example")]
        for number, room in ((1, 1), (2, 1), (3, 2)):
            store.events.add(sample_row(number, 100 + number, room=room, key=key))
            store.memberships.put(member(number, room, "join", 200 - number))
        for position, room, before in ((101, 1, None), (102, 1, 1), (103, 2, None), (104, 1, 2)):
            store.state.add_change(room, position, key, before, 9)
        assert [row.number for row in store.memberships.list_member_events(1, ["join"])] == [2, 1]
        assert store.memberships.list_member_events(1, ["ban"]) == []
        assert store.memberships.list_before_first_change(key, 101) == {1: 1, 2: None}
        assert store.memberships.list_before_first_change(key, 104) == {}

    await house.database.write(work)
