"""Who asks, and until when: tokens, devices, logging out."""

import asyncio

import pytest
from sqlalchemy import text

from homeserver.domain.errors import Forbidden, Unauthenticated
from homeserver.services.accounts.devices import NewSession, token_hash
from homeserver.services.accounts.interactive import NOTHING_ASKED
from homeserver.streams.keys import device_key, user_key
from homeserver.streams.publications import Publication, SessionEnded
from tests.builders.accounts import People, open_people
from tests.builders.cluster import Cluster

ALICE = "@alice:test.example"
HERE = "192.0.2.1"


async def alice(people: People, password: str = "secret") -> NewSession:
    registered = await people.registration.register(ALICE, password)
    assert registered.session is not None
    return registered.session


async def refused(people: People, token: str) -> Unauthenticated:
    with pytest.raises(Unauthenticated) as refusal:
        await people.sessions.authenticate(token, HERE)
    return refusal.value


async def test_a_token_is_known_until_its_device_logs_out(people: People) -> None:
    """The token opens the account, from the tables and from memory, and no longer after the logout."""
    session = await alice(people)
    for _ in range(2):
        requester = await people.sessions.authenticate(session.access_token, HERE)
        assert (requester.user_id, requester.device_id) == (ALICE, session.device_id)
    await people.sessions.log_out(requester)
    refusal = await refused(people, session.access_token)
    assert refusal.errcode == "M_UNKNOWN_TOKEN"
    assert "soft_logout" not in refusal.extra


async def test_only_the_hash_of_a_token_is_stored(people: People) -> None:
    """Whoever reads the database cannot use what stands there."""
    session = await alice(people)
    with people.built.engine.connect() as connection:
        rows = connection.execute(text("SELECT * FROM sessions")).all()
    assert session.access_token not in repr(rows)
    assert bytes(rows[0].token_hash) == token_hash(session.access_token)


async def test_the_same_device_logs_in_again(people: People) -> None:
    """The device's old token ends, its name stays, and the account's other devices do not notice."""
    session = await alice(people)
    verified = await people.passwords.verify(ALICE, "secret")
    phone = await people.sessions.log_in(verified, "PHONE", "My phone")
    again = await people.sessions.log_in(verified, "PHONE", "Another name")
    assert again.access_token != phone.access_token
    assert (await refused(people, phone.access_token)).errcode == "M_UNKNOWN_TOKEN"
    assert (await people.sessions.authenticate(again.access_token, HERE)).device_id == "PHONE"
    assert (await people.sessions.authenticate(session.access_token, HERE)).device_id == session.device_id
    with people.built.engine.connect() as connection:
        names = connection.execute(text("SELECT display_name FROM devices WHERE device_id = 'PHONE'")).scalars().all()
    assert names == ["My phone"]


async def test_logging_out_everywhere_removes_all_devices(people: People) -> None:
    """Every token of the user ends, with all devices."""
    session = await alice(people)
    phone = await people.sessions.log_in(await people.passwords.verify(ALICE, "secret"), "PHONE")
    await people.sessions.log_out_all(await people.sessions.authenticate(session.access_token, HERE))
    await refused(people, session.access_token)
    await refused(people, phone.access_token)
    with people.built.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM devices")).scalar_one() == 0


async def test_an_ended_session_is_published(people: People) -> None:
    """Whoever follows the user or the device hears of the token that ended."""
    heard: list[Publication] = []
    people.built.publisher.listen(heard.append)
    session = await alice(people)
    await people.sessions.log_out(await people.sessions.authenticate(session.access_token, HERE))
    assert [publication.item for publication in heard] == [SessionEnded((token_hash(session.access_token),))]
    assert set(heard[0].keys) == {user_key(ALICE), device_key(ALICE, session.device_id)}


async def test_a_session_that_another_process_ended_is_forgotten(people: People) -> None:
    """The publication alone takes a token out of memory."""
    session = await alice(people)
    await people.sessions.authenticate(session.access_token, HERE)
    with people.built.engine.connect() as connection:
        connection.execute(text("DELETE FROM sessions"))
    await people.sessions.authenticate(session.access_token, HERE)
    position = people.built.positions.take()
    ended = Publication(position, (user_key(ALICE),), SessionEnded((token_hash(session.access_token),)))
    people.built.publisher.committed([position], [ended])
    await refused(people, session.access_token)


async def test_a_look_up_during_a_logout_is_not_remembered(people: People) -> None:
    """A session that was read just before it ended does not live on in memory."""
    session = await alice(people)
    requester = await people.sessions.authenticate(session.access_token, HERE)
    generation = people.cache.generation
    await people.sessions.log_out(requester)
    people.cache.put(requester, generation)
    await refused(people, session.access_token)


async def test_an_expired_token_is_a_soft_logout(cluster: Cluster) -> None:
    """After its lifetime a token is refused softly, also one that is in memory."""
    async with open_people(cluster, session_lifetime_ms=60_000) as people:
        session = await alice(people)
        assert session.expires_in_ms == 60_000
        await people.sessions.authenticate(session.access_token, HERE)
        people.clock.ms += 60_000
        refusal = await refused(people, session.access_token)
        assert (refusal.errcode, refusal.extra) == ("M_UNKNOWN_TOKEN", {"soft_logout": True})


async def test_a_locked_account_can_only_log_out(people: People) -> None:
    """Everything is answered M_USER_LOCKED, logins too, but for logging out; unlocked, the token is good again."""
    session = await alice(people)
    with people.built.engine.connect() as connection:
        connection.execute(text("UPDATE users SET locked = true"))
    refusal = await refused(people, session.access_token)
    assert (refusal.errcode, refusal.extra) == ("M_USER_LOCKED", {"soft_logout": True})
    with pytest.raises(Unauthenticated) as login:
        await people.passwords.verify(ALICE, "secret")
    assert login.value.errcode == "M_USER_LOCKED"
    assert (await people.sessions.authenticate(session.access_token, HERE, even_locked=True)).is_locked
    with people.built.engine.connect() as connection:
        connection.execute(text("UPDATE users SET locked = false"))
    assert not (await people.sessions.authenticate(session.access_token, HERE)).is_locked


async def test_a_token_that_is_no_text_is_unknown(people: People) -> None:
    """Bytes of a header that are not UTF-8 are no token, and no error of ours."""
    assert (await refused(people, "\udcff")).errcode == "M_UNKNOWN_TOKEN"


async def test_a_login_that_a_new_password_overtakes_fails(people: People) -> None:
    """Whoever verified the old password just before it was changed gets no session."""
    await alice(people)
    verified = await people.passwords.verify(ALICE, "secret")
    await people.passwords.change(ALICE, "other", NOTHING_ASKED, log_out=True, keep_device=None)
    with pytest.raises(Forbidden):
        await people.sessions.log_in(verified)


async def test_when_a_device_was_seen_is_written_later(people: People) -> None:
    """Nothing is written on the way of a request; flushing writes the last sighting of each device."""
    session = await alice(people)

    def seen() -> tuple[int | None, str | None]:
        with people.built.engine.connect() as connection:
            row = connection.execute(text("SELECT last_seen_ts, last_seen_ip FROM devices")).one()
        return row.last_seen_ts, row.last_seen_ip

    await people.sessions.authenticate(session.access_token, HERE)
    assert seen() == (None, None)
    people.clock.ms += 5
    await people.sessions.authenticate(session.access_token, "192.0.2.2")
    await people.last_seen.flush()
    assert seen() == (people.clock.ms, "192.0.2.2")
    await people.last_seen.flush()
    assert seen() == (people.clock.ms, "192.0.2.2")


async def test_a_token_is_looked_up_once_for_many_requests(people: People) -> None:
    """Many requests at once and later all find the same requester."""
    session = await alice(people)
    requesters = await asyncio.gather(*(people.sessions.authenticate(session.access_token, HERE) for _ in range(20)))
    assert {requester.device_id for requester in requesters} == {session.device_id}
    assert len(people.cache) == 1
