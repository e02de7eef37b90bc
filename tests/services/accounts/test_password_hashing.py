"""Password hashes: right and wrong, old costs, and no more work than was agreed."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from homeserver.adapters.password_hashing import Argon2Hashing, PasswordCost
from homeserver.domain.errors import Forbidden, LimitExceeded
from homeserver.ports import PasswordCheck
from tests.builders.accounts import CHEAP, People
from tests.builders.cluster import SERVER_NAME

ALICE = f"@alice:{SERVER_NAME}"


@pytest.fixture
def hashing() -> Iterator[Argon2Hashing]:
    hashing = Argon2Hashing(CHEAP, max_waiting=4)
    yield hashing
    hashing.close()


async def test_only_the_password_fits_its_hash(hashing: Argon2Hashing) -> None:
    """Another password, no hash, or something that is no hash: never correct."""
    password_hash = await hashing.hash("secret")
    assert password_hash.startswith("$argon2id$")
    assert await hashing.check("secret", password_hash) == PasswordCheck(correct=True, outdated=False)
    for known in (password_hash, None, "no hash", ""):
        assert await hashing.check("wrong", known) == PasswordCheck(correct=False)


async def test_the_hash_of_nobody_costs_what_a_hash_costs(hashing: Argon2Hashing) -> None:
    """A user who does not exist is checked with the same parameters, so that time tells nothing."""
    real = await hashing.hash("secret")
    nobody = hashing._nobody
    assert [len(part) for part in nobody.split("$")] == [len(part) for part in real.split("$")]
    assert nobody.split("$")[:4] == real.split("$")[:4]


async def test_a_hash_of_another_cost_is_outdated(hashing: Argon2Hashing) -> None:
    """It is still good, and says that it should be made anew."""
    dearer = Argon2Hashing(PasswordCost(time=2, memory_kib=16, parallelism=1))
    old = await hashing.hash("secret")
    assert await dearer.check("secret", old) == PasswordCheck(correct=True, outdated=True)
    dearer.close()


async def test_what_waits_is_bounded(hashing: Argon2Hashing) -> None:
    """Beyond the queue there is a 429, also for what was given up meanwhile, until its place is free again."""
    hold, held = threading.Event(), threading.Barrier(3)

    def work() -> None:
        held.wait()
        hold.wait()

    running = [asyncio.ensure_future(hashing._run(work)) for _ in range(2)]
    waiting = [asyncio.ensure_future(hashing.hash("secret")) for _ in range(2)]
    await asyncio.get_running_loop().run_in_executor(None, held.wait)
    with pytest.raises(LimitExceeded) as refusal:
        await hashing.hash("secret")
    assert refusal.value.limit == "password_hashing"
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    with pytest.raises(LimitExceeded):
        await hashing.hash("secret")
    hold.set()
    assert len(set(await asyncio.gather(*waiting))) == 2
    assert await hashing.hash("secret")


async def test_a_login_renews_an_outdated_hash(people: People) -> None:
    """After the operator raised the cost, the next login stores a hash of today's cost."""
    await people.registration.register(ALICE, "secret")
    with people.built.engine.connect() as connection:
        connection.execute(
            text("UPDATE users SET password_hash = :old"),
            {"old": "$argon2id$v=19$m=8,t=3,p=1$8XTAtYoOTe4TC7wbLI6oyw$" + "A" * 43},
        )
    with pytest.raises(Forbidden):
        await people.passwords.verify(ALICE, "secret")
    dear = Argon2Hashing(PasswordCost(time=3, memory_kib=8, parallelism=1))
    old = await dear.hash("secret")
    dear.close()
    with people.built.engine.connect() as connection:
        connection.execute(text("UPDATE users SET password_hash = :old"), {"old": old})
    verified = await people.passwords.verify(ALICE, "secret")
    await people.sessions.log_in(verified)
    with people.built.engine.connect() as connection:
        stored = connection.execute(text("SELECT password_hash FROM users")).scalar_one()
    assert stored != old
    assert "t=1,p=1" in stored
    await people.passwords.verify(ALICE, "secret")
