"""Registration and login with each server's default password hash, which is most of the cost.

Synapse's is bcrypt with 12 rounds, Parley's argon2id: compare what remains beside the hash.
"""

from tests.benchmarks.driver import Client
from tests.benchmarks.matrix import Session, login, register
from tests.benchmarks.results import Operation, Sample
from tests.benchmarks.scenario import Bench, Scenario, expect


async def run(bench: Bench) -> list[Sample]:
    """Restarts the server with its default hash for the time of the measurement."""
    bench.restart("default")
    try:
        return await _measure(bench)
    finally:
        bench.restart()


async def _measure(bench: Bench) -> list[Sample]:
    await register(bench.client)
    people, registered, logged_in = [], [], []
    async with bench.phase() as registrations:
        for _ in range(bench.scale.registrations):
            person, reply = await register(bench.client)
            people.append(person)
            registered.append(reply.milliseconds)
    devices = []
    async with bench.phase() as logins:
        for person in people:
            device, reply = await login(person)
            devices.append(device)
            logged_in.append(reply.milliseconds)
    for person, device in zip(people, devices, strict=True):
        expect(device.token != person.token, "two devices have the same token")
        await _check_identity(bench.client, person, device)
    return [
        registrations.sample("register", len(people), registered),
        logins.sample("login", len(people), logged_in),
    ]


async def _check_identity(client: Client, person: Session, device: Session) -> None:
    """Both tokens are the person's, and a wrong password opens nothing."""
    for session in (person, device):
        owner = (await session.get("/account/whoami")).content["user_id"]
        expect(owner == person.user_id, f"the token of {person.user_id} is {owner}'s")
    body = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": person.user_id},
        "password": f"not {person.password}",
    }
    answer = await client.request("POST", "/_matrix/client/v3/login", None, body)
    expect(answer.status == 403, f"a wrong password was answered {answer.status}")


SCENARIO = Scenario(
    "register_login",
    (
        Operation("register", "registration, default password hash"),
        Operation("login", "login, default password hash"),
    ),
    run,
)
