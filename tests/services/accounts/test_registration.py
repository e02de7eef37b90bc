"""New accounts: names, passwords, tokens, and the operator's secret."""

import asyncio
import hashlib
import hmac

import pytest
from sqlalchemy import text

from homeserver.domain.errors import BadRequest, Forbidden, RequestError
from homeserver.services.accounts.interactive import Authorized
from homeserver.services.accounts.operator_secret import OperatorSecret
from tests.builders.accounts import SECRET, People, open_people
from tests.builders.cluster import SERVER_NAME, Cluster

ALICE = f"@alice:{SERVER_NAME}"


async def test_capitals_are_taken_as_small_letters(people: People) -> None:
    """A name is the same name however it is written, and only once to be had."""
    assert await people.registration.free_user_id("Alice") == ALICE
    await people.registration.register(ALICE, "secret")
    with pytest.raises(BadRequest) as refusal:
        await people.registration.free_user_id("ALICE")
    assert refusal.value.errcode == "M_USER_IN_USE"


@pytest.mark.parametrize("name", ["", "al ice", "alice:x", "ålice", "\u212aate", "a\0b", "@alice", "a" * 250])
async def test_names_that_cannot_be(people: People, name: str) -> None:
    """Anything but a-z, 0-9 and ._=-/+ is refused, also a letter that only becomes one of them in small; and length."""
    with pytest.raises(BadRequest) as refusal:
        await people.registration.free_user_id(name)
    assert refusal.value.errcode == "M_INVALID_USERNAME"


async def test_without_a_name_one_is_made_up(people: People) -> None:
    """Two users without names get two ids that are legal."""
    first, second = [await people.registration.free_user_id(None) for _ in range(2)]
    assert first != second
    await people.registration.register(first, "secret")


async def test_one_of_two_who_want_a_name_at_once_gets_it(people: People) -> None:
    """The other is told that it is in use; nothing of the loser's is left."""
    outcomes = await asyncio.gather(
        *(people.registration.register(ALICE, "secret", device_id=f"D{n}") for n in range(4)), return_exceptions=True
    )
    refusals = [outcome for outcome in outcomes if isinstance(outcome, BadRequest)]
    assert len(refusals) == 3
    assert {refusal.errcode for refusal in refusals} == {"M_USER_IN_USE"}
    with people.built.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM devices")).scalar_one() == 1


async def test_a_closed_account_keeps_its_name(people: People) -> None:
    """Nobody can take the name of somebody who left, nor log in with it."""
    await people.registration.register(ALICE, "secret")
    await people.deactivation.deactivate(ALICE, Authorized(), erase=True)
    with pytest.raises(BadRequest) as refusal:
        await people.registration.free_user_id("alice")
    assert refusal.value.errcode == "M_USER_IN_USE"
    with pytest.raises(Forbidden) as login:
        await people.passwords.verify(ALICE, "secret")
    assert login.value.errcode == "M_USER_DEACTIVATED"
    assert people.rooms.changed == [ALICE]


async def test_weak_passwords_are_refused(cluster: Cluster) -> None:
    """Fewer characters than the operator wants are M_WEAK_PASSWORD, for a new account and for a new password."""
    async with open_people(cluster, min_password=8) as people:
        with pytest.raises(BadRequest) as refusal:
            await people.registration.register(ALICE, "1234567")
        assert refusal.value.errcode == "M_WEAK_PASSWORD"
        await people.registration.register(ALICE, "12345678")
        with pytest.raises(BadRequest) as refusal:
            await people.passwords.change(ALICE, "1234567", Authorized(), log_out=False, keep_device=None)
        assert refusal.value.errcode == "M_WEAK_PASSWORD"


async def test_a_token_is_used_up_by_accounts(cluster: Cluster) -> None:
    """A token for two accounts makes two, and the third is refused also if it was checked in time."""
    async with open_people(cluster, policy="token") as people:
        await people.built.database.write(lambda store: store.registration_tokens.add("guests", 2, None))
        checked = [Authorized(details=await people.registration.check_token("guests")) for _ in range(3)]
        for name, authorized in zip("ab", checked, strict=False):
            await people.registration.register(f"@{name}:{SERVER_NAME}", "secret", authorized)
        assert not await people.registration.is_token_usable("guests")
        with pytest.raises(Forbidden):
            await people.registration.register(f"@c:{SERVER_NAME}", "secret", checked[2])
        assert await people.registration.free_user_id("c")


async def test_a_token_expires(cluster: Cluster) -> None:
    """At its time a token is no longer good."""
    async with open_people(cluster, policy="token") as people:
        now = people.clock.now_ms()
        await people.built.database.write(lambda store: store.registration_tokens.add("guests", None, now + 1))
        assert await people.registration.is_token_usable("guests")
        people.clock.ms += 1
        assert not await people.registration.is_token_usable("guests")


def mac(nonce: str, name: str, password: str, admin: bool, secret: str = SECRET) -> str:
    """As the documentation of the interface says."""
    message = f"{nonce}\0{name}\0{password}\0{'admin' if admin else 'notadmin'}"
    return hmac.new(secret.encode(), message.encode(), hashlib.sha1).hexdigest()


async def test_a_nonce_is_good_once_and_for_a_minute(people: People) -> None:
    """It makes one account; used again, too late, or made up, it makes none."""
    nonce = people.shared_secret.nonce()
    registered = await people.shared_secret.register(nonce, "Boss", "x", mac(nonce, "Boss", "x", True), admin=True)
    assert registered.session is not None
    assert (await people.sessions.authenticate(registered.session.access_token, "192.0.2.1")).is_admin
    late = people.shared_secret.nonce()
    people.clock.ms += 60_000
    for bad in (nonce, late, "made up", "9999999999999.aaaa." + "0" * 32, ""):
        with pytest.raises(BadRequest):
            await people.shared_secret.register(bad, "b", "x", mac(bad, "b", "x", False), admin=False)


async def test_the_mac_covers_name_password_and_admin(people: People) -> None:
    """Whoever does not know the secret, or changes what was signed, makes no account, and does not use up the nonce."""
    nonce = people.shared_secret.nonce()
    good = mac(nonce, "bob", "x", False)
    attempts = [
        ("bob", "x", mac(nonce, "bob", "x", False, secret="guess"), False),
        ("eve", "x", good, False),
        ("bob", "y", good, False),
        ("bob", "x", good, True),
        ("bob", "x", "", False),
        ("bob\0x", "", mac(nonce, "bob\0x", "", False), False),
    ]
    for name, password, signature, admin in attempts:
        with pytest.raises(RequestError):
            await people.shared_secret.register(nonce, name, password, signature, admin=admin)
    registered = await people.shared_secret.register(nonce, "bob", "x", good.upper(), admin=False)
    assert registered.user_id == f"@bob:{SERVER_NAME}"


def test_an_empty_secret_is_refused(people: People) -> None:
    """A server whose secret everybody knows does not start."""
    with pytest.raises(ValueError, match="empty"):
        OperatorSecret(people.clock, people.randomness, secret="")
