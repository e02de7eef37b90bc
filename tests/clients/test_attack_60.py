"""The machine under the server fails: the disk is full, the database takes no writes, the clock jumps.

What was acknowledged stays, what cannot be done is refused with a 503, reading goes on, and afterwards all goes on
without a restart. Power cuts and kill -9 are told in `tests.stories`.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from clients.limits import LIMITS, Limits
from clients.live.sockets import Sockets
from clients.routes import Live, PublicFacts, client_routes
from config.compose.accounts import build_accounts
from config.compose.house import build_house
from config.compose.storage import open_storage
from config.data_directory import PositionFile
from config.system import SystemRandomness
from homeserver.domain.signing import generate_key
from homeserver.http.server import HttpServer
from homeserver.storage.blocks import BLOCK
from homeserver.telemetry.metrics import REGISTRY
from tests.builders.cluster import SERVER_NAME, Cluster
from tests.builders.house import POOLS, TestHouse
from tests.builders.machine import HandClock
from tests.builders.waiting import until
from tests.clients.conftest import SETTINGS, Served
from tests.conformance.client import Answer, MatrixClient, v3

BURST = 20
LATE = {"msgtype": "m.text", "body": "late"}
DAY_MS = 24 * 3600 * 1000
Fault = Callable[[str], Any]


def do(url: str, *statements: str) -> None:
    """Runs them on a database, each on its own."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
    finally:
        connection.close()


CUT_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
    "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
)
SET_READ_ONLY = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I {}', current_database()); END $$"


@contextmanager
def read_only(url: str) -> Iterator[None]:
    """As after a failover to the wrong server: connections are cut, and new ones may not write."""
    do(url, SET_READ_ONLY.format("SET default_transaction_read_only = on"), CUT_OTHERS)
    try:
        yield
    finally:
        do(
            url,
            "SET default_transaction_read_only = off",
            SET_READ_ONLY.format("RESET default_transaction_read_only"),
        )


FULL = """
CREATE FUNCTION disk_is_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'could not extend file "base/1/2": No space left on device' USING ERRCODE = 'disk_full';
END $$
"""
ON_EVERY_TABLE = "DO $$ DECLARE name text; BEGIN FOR name IN {} LOOP EXECUTE format('{}', name); END LOOP; END $$"
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
AT_STATEMENT = "CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON %I EXECUTE FUNCTION disk_is_full()"
AT_COMMIT = (
    "CREATE CONSTRAINT TRIGGER full_disk AFTER INSERT OR UPDATE ON %I DEFERRABLE INITIALLY DEFERRED "
    "FOR EACH ROW EXECUTE FUNCTION disk_is_full()"
)


@contextmanager
def full_disk(url: str, trigger: str) -> Iterator[None]:
    """PostgreSQL says what it says if there is no room for another page (53100)."""
    do(url, FULL, ON_EVERY_TABLE.format(TABLES, trigger))
    try:
        yield
    finally:
        do(url, "DROP FUNCTION disk_is_full() CASCADE")


FAULTS: dict[str, Fault] = {
    "the database is read-only": read_only,
    "the disk is full": lambda url: full_disk(url, AT_STATEMENT),
    "the disk is full at COMMIT": lambda url: full_disk(url, AT_COMMIT),
}


def writes(alice: MatrixClient, room: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Requests of every kind that has to be written down."""
    user = alice.user_id
    return [
        ("PUT", v3("rooms", room, "send", "m.room.message", "during"), {"msgtype": "m.text", "body": "lost?"}),
        ("PUT", v3("rooms", room, "state", "m.room.topic", ""), {"topic": "lost?"}),
        ("POST", v3("createRoom"), {}),
        ("PUT", v3("user", user, "account_data", "org.example"), {"a": 1}),
        ("POST", v3("user", user, "filter"), {"room": {"timeline": {"limit": 3}}}),
        ("PUT", v3("profile", user, "displayname"), {"displayname": "Alice"}),
        ("PUT", v3("pushrules", "global", "content", "mine"), {"actions": ["notify"], "pattern": "x"}),
        ("POST", v3("register"), {"username": "late", "password": "correct horse", "auth": {"type": "m.login.dummy"}}),
        (
            "POST",
            v3("login"),
            {
                "type": "m.login.password",
                "identifier": {"type": "m.id.user", "user": "alice"},
                "password": "correct horse",
            },
        ),
        ("POST", v3("rooms", room, "leave"), {}),
    ]


def is_refused(answer: Answer) -> bool:
    """A clear 503; whatever else was refused was not refused for this reason."""
    assert answer.status in (200, 503), answer.raw
    assert answer.status == 200 or answer.body["errcode"] == "M_UNKNOWN"
    return answer.status == 503


def somebody_waits() -> bool:
    """Whether a sync waits for something new."""
    return bool(REGISTRY.get_sample_value("parley_waiting_syncs"))


async def history(client: MatrixClient, room: str) -> list[str]:
    """The ids of all messages, oldest first."""
    page = await client.messages(room, dir="f", limit=500)
    return [event["event_id"] for event in page["chunk"] if event["type"] == "m.room.message"]


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_attack_60_writes_are_refused_and_reads_go_on(
    served: Served, alice: MatrixClient, bob: MatrixClient, fault: Fault
) -> None:
    """`Database` makes a 503 of what PostgreSQL cannot do now; a sync that waits meanwhile is answered afterwards."""
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    before = await alice.send(room, "before")
    since = (await bob.sync())["next_batch"]
    waiting = asyncio.create_task(bob.sync(since, timeout=60_000))
    await until(somebody_waits)
    with fault(served.house.url):
        for method, path, body in writes(alice, room):
            assert is_refused(await alice.ask(method, path, body)), path
        assert await history(alice, room) == [before]
        assert (await alice.sync())["rooms"]["join"].keys() == {room}
        assert (await alice.call("GET", v3("account", "whoami")))["user_id"] == alice.user_id
        assert (await alice.call("GET", v3("joined_rooms")))["joined_rooms"] == [room]
    after = await alice.send(room, "after")
    told = (await waiting)["rooms"]["join"][room]["timeline"]["events"]
    assert [event["event_id"] for event in told] == [after]
    assert await history(bob, room) == [before, after]
    for method, path, body in writes(alice, room):
        assert not is_refused(await alice.ask(method, path, body)), path


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_attack_60_no_acknowledged_message_is_lost(served: Served, alice: MatrixClient, fault: Fault) -> None:
    """The fault comes in the middle of a burst: what was acknowledged is there, and what was not can be sent again."""
    room = await alice.create_room()
    acknowledged: dict[int, str] = {}

    async def send(number: int) -> None:
        path = v3("rooms", room, "send", "m.room.message", f"txn{number}")
        answer = await alice.ask("PUT", path, {"msgtype": "m.text", "body": str(number)})
        if not is_refused(answer):
            assert acknowledged.setdefault(number, answer.body["event_id"]) == answer.body["event_id"]

    first = asyncio.gather(*(send(number) for number in range(BURST)))
    with await asyncio.to_thread(entered, fault(served.house.url)) as stack:
        await first
        await asyncio.gather(*(send(number) for number in range(BURST, 2 * BURST)))
        assert len(acknowledged) <= BURST
        assert set(acknowledged.values()) <= set(await history(alice, room))
        await asyncio.to_thread(stack.close)
    await asyncio.gather(*(send(number) for number in range(2 * BURST)))
    assert sorted(acknowledged) == list(range(2 * BURST))
    assert sorted(acknowledged.values()) == sorted(await history(alice, room))


class entered:
    """A fault that has begun already, in whatever thread; `close` ends it, and so does the end of the block."""

    def __init__(self, fault: Any) -> None:
        self._fault: Any = fault
        self._fault.__enter__()

    def close(self) -> None:
        fault, self._fault = self._fault, None
        if fault is not None:
            fault.__exit__(None, None, None)

    def __enter__(self) -> "entered":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


async def test_attack_60_no_room_for_the_file_of_positions(served: Served, alice: MatrixClient) -> None:
    """No position is given out that the data directory does not know: without room for its file writes are refused."""
    room = await alice.create_room()
    obstacle = served.house.directory / "position.json.new"
    obstacle.mkdir()
    positions = served.house.streams.positions
    given = [positions.take() for _ in range(BLOCK - positions.current() % BLOCK)]
    for position in given:
        positions.finish(position)
    path = v3("rooms", room, "send", "m.room.message", "txn")
    assert is_refused(await alice.ask("PUT", path, LATE))
    assert (await alice.sync())["rooms"]["join"].keys() == {room}
    obstacle.rmdir()
    assert not is_refused(await alice.ask("PUT", path, LATE))


# the clock


@asynccontextmanager
async def serve_by(cluster: Cluster, clock: HandClock) -> AsyncIterator[Served]:
    """A server whose only clock is `clock`, with its rate limits on."""
    with tempfile.TemporaryDirectory(prefix="parley-clock-") as scratch:
        url = cluster.new_database()
        database, streams = open_storage(url, SERVER_NAME, PositionFile(Path(scratch)), POOLS)
        randomness = SystemRandomness()
        house = build_house(database, streams, SERVER_NAME, generate_key(b"test" * 8, "a_test"), clock, randomness)
        desk = build_accounts(SETTINGS, "secret", database, streams.publisher, house.membership, clock, randomness)
        limits = Limits(clock)
        sockets = Sockets(desk.accounts.sessions, limits, clock, randomness)
        routes = client_routes(PublicFacts(SERVER_NAME), limits, desk.accounts, house, Live(sockets))
        server = HttpServer(routes, clock=clock, stopping=asyncio.Event())
        await server.listen("127.0.0.1", 0)
        address, port = server.addresses[0]
        try:
            async with AsyncExitStack() as clients:
                opened = TestHouse(url, Path(scratch), database, streams, house)
                yield Served(f"http://{address}:{port}", opened, clients, server, sockets)
        finally:
            house.sync.stop()
            house.typing.stop()
            await server.drain(5)
            await database.settle()
            desk.hashing.close()
            database.close()
            cluster.drop(url)


async def send_until_refused(client: MatrixClient, room: str) -> tuple[list[str], int]:
    """As many messages as the rate limit lets through; their ids, and the wait in ms that the next one was told."""
    sent: list[str] = []
    while True:
        path = v3("rooms", room, "send", "m.room.message", f"until{len(sent)}")
        answer = await client.ask("PUT", path, {"msgtype": "m.text", "body": "x"})
        if answer.status == 429:
            wait: int = answer.body["retry_after_ms"]
            return sent, wait
        sent.append(answer.body["event_id"])


@pytest.mark.parametrize("jump", [DAY_MS, -DAY_MS], ids=["a day forward", "a day back"])
async def test_attack_60_the_clock_jumps(cluster: Cluster, jump: int) -> None:
    """Events keep their order, tokens and sessions stay good, long-polls are answered, and `Throttle` locks nobody out
    for a day."""
    clock = HandClock()
    row = next(limit for limit in LIMITS if limit.name == "messages")
    async with serve_by(cluster, clock) as served:
        alice, bob = await served.user("alice"), await served.user("bob")
        room = await alice.create_room(preset="public_chat")
        await bob.join(room)
        since = (await bob.sync())["next_batch"]
        sent, _ = await send_until_refused(alice, room)
        assert len(sent) == row.burst
        caught_up = (await bob.sync(since))["next_batch"]
        waiting = asyncio.create_task(bob.sync(caught_up, timeout=60_000))
        await until(somebody_waits)

        clock.ms += jump
        for client in (alice, bob):
            path = v3("rooms", room, "send", "m.room.message", "late")
            answers = [await client.ask("PUT", path, LATE), await client.ask("GET", v3("joined_rooms"))]
            waits = [answer.body["retry_after_ms"] for answer in answers if answer.status == 429]
            assert not waits or (jump < 0 and max(waits) <= 10_000)
            # As told, they come again; and once more for the room's limit, which is asked when the user's lets through.
            clock.ms += max(waits, default=0)
            answer = await client.ask("PUT", path, LATE)
            if answer.status == 429:
                assert answer.body["io.parley.limit"] == "messages_room" and answer.body["retry_after_ms"] <= 10_000
                clock.ms += answer.body["retry_after_ms"]
                answer = await client.ask("PUT", path, LATE)
            assert answer.status == 200
            sent.append(answer.body["event_id"])
        clock.ms += 10_000

        told = (await waiting)["rooms"]["join"][room]["timeline"]["events"]
        assert [event["event_id"] for event in told] == sent[row.burst :][: len(told)]
        assert await history(bob, room) == sent
        timeline = (await bob.sync(since, filter={"room": {"timeline": {"limit": 100}}}))["rooms"]["join"][room]
        assert [event["event_id"] for event in timeline["timeline"]["events"]] == sent
        assert (await alice.call("GET", v3("account", "whoami")))["device_id"] == alice.device_id
        await alice.login("alice")
        newest = (await alice.sync())["rooms"]["join"][room]["timeline"]["events"]
        assert newest[-1]["event_id"] == sent[-1]
