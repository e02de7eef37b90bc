"""Guests whose writes come twice: after a commit whose answer got lost, the database is asked again."""

from collections.abc import Callable
from typing import TypeVar

import pytest

from homeserver.domain.errors import Forbidden
from homeserver.services.accounts.guests import Guests
from homeserver.services.accounts.interactive import NOTHING_ASKED
from homeserver.services.persistence import Persistence
from homeserver.storage.store import Store
from tests.builders.accounts import People
from tests.builders.cluster import SERVER_NAME

T = TypeVar("T")


class Repeating:
    """`Persistence` that does every write a second time."""

    def __init__(self, database: Persistence) -> None:
        self._database = database

    async def write(self, work: Callable[[Store], T], *, room: str | None = None) -> T:
        await self._database.write(work, room=room)
        return await self._database.write(work, room=room)

    async def read(self, work: Callable[[Store], T], *, single: bool = False) -> T:
        return await self._database.read(work, single=single)

    async def read_long(self, work: Callable[[Store], T]) -> T:
        return await self._database.read_long(work)


async def test_guests_whose_writes_come_twice(people: People) -> None:
    """One guest, who is logged in; then one member, with the session that the client was told of."""
    guests = Guests(
        Repeating(people.built.database),
        people.passwords,
        people.devices,
        people.clock,
        people.randomness,
        server_name=SERVER_NAME,
        allowed=True,
    )
    session = await guests.register("A phone")
    requester = await people.sessions.authenticate(session.access_token, "127.0.0.1")
    assert (requester.user_id, requester.is_guest) == (session.user_id, True)
    name = session.user_id[1:].partition(":")[0]
    user_id = await guests.find(session.access_token, name)
    upgraded = await guests.upgrade(session.access_token, user_id, "secret", NOTHING_ASKED)
    assert upgraded.session is not None
    requester = await people.sessions.authenticate(upgraded.session.access_token, "127.0.0.1")
    assert (requester.user_id, requester.is_guest) == (session.user_id, False)
    await people.passwords.verify(user_id, "secret")
    with pytest.raises(Forbidden):
        await guests.find(session.access_token, name)


async def test_a_token_that_has_expired_makes_nobody_a_member(people: People) -> None:
    """Nor does one of an account that was locked or closed."""
    guests = people.guests
    session = people.devices.draft(f"@guest:{SERVER_NAME}")

    def work(store: Store) -> None:
        store.users.add(session.user_id, None, False, 0, guest=True)
        people.devices.begin(store, session, new_account=True)

    await people.built.database.write(work)
    assert await guests.find(session.access_token, "GUEST") == session.user_id
    for change, undone in (
        ("UPDATE users SET locked = true", "UPDATE users SET locked = false"),
        ("UPDATE users SET deactivated = true", "UPDATE users SET deactivated = false"),
        ("UPDATE sessions SET expires_ts = 1", "UPDATE sessions SET expires_ts = NULL"),
    ):
        await _run(people, change)
        with pytest.raises(Forbidden):
            await guests.find(session.access_token, "guest")
        await _run(people, undone)
    assert await guests.find(session.access_token, "guest") == session.user_id


async def _run(people: People, sql: str) -> None:
    await people.built.database.write(lambda store: store.transaction.text(sql))
