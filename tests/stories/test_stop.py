"""Stopping and starting: what happens to those who are connected, and what is said when a start is not possible."""

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from tests.builders.cluster import SERVER_NAME, Cluster
from tests.builders.process import ServerProcess, disposed, free_port, is_alive, running_server
from tests.builders.waiting import until
from tests.conformance.client import MatrixClient, v3

LONG_MS = 120_000


class HeldRequest:
    """A send of which the last byte is not sent yet: the server has it in flight until `finish`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, last: bytes) -> None:
        self._reader, self._writer, self._last = reader, writer, last

    @classmethod
    async def begin(cls, server: ServerProcess, client: MatrixClient, room: str, txn: str) -> "HeldRequest":
        """Returns when the server knows of it."""
        before = await server.metric("parley_http_requests_in_flight")
        body = json.dumps({"msgtype": "m.text", "body": txn}).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        head = (
            f"PUT {v3('rooms', room, 'send', 'm.room.message', txn)} HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {client.token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body[:-1])
        await writer.drain()

        async def is_known() -> bool:
            return await server.metric("parley_http_requests_in_flight") > before

        await until(is_known, what="the server has the request in flight")
        return cls(reader, writer, body[-1:])

    async def finish(self) -> tuple[int, dict[str, Any]]:
        """Sends the rest; status and body of the answer, after which the server closes the connection."""
        self._writer.write(self._last)
        answer = await self._reader.read()
        self.abandon()
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"connection: close" in head.lower()
        return int(head.split()[1]), json.loads(body)

    async def is_cut(self) -> bool:
        """Whether the server has closed the connection without an answer."""
        with suppress(ConnectionError):
            assert await self._reader.read() == b""
        self.abandon()
        return True

    def abandon(self) -> None:
        self._writer.transport.abort()


async def refuses(server: ServerProcess) -> bool:
    """Whether nobody listens on its port any more."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    except ConnectionRefusedError:
        return True
    writer.transport.abort()
    return False


@asynccontextmanager
async def people(server: ServerProcess, count: int) -> AsyncIterator[tuple[list[MatrixClient], str]]:
    """Registered clients, all in one room."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(MatrixClient(server.url)) for _ in range(count)]
        for number, client in enumerate(clients):
            await client.register(f"user{number}")
        room = await clients[0].create_room(preset="public_chat")
        for client in clients[1:]:
            await client.join(room)
        yield clients, room


async def test_a_gentle_end(own_server: ServerProcess) -> None:
    """SIGTERM: who waits is answered empty, what is in flight succeeds, all is gone, and clients go on afterwards."""
    server = own_server
    async with people(server, 4) as ((sender, *waiting), room):
        since = [(await client.sync())["next_batch"] for client in waiting]
        # That they are online would be told, and end the wait.
        silent = {"presence": {"types": []}}
        syncs = [
            asyncio.ensure_future(client.sync(token, timeout=LONG_MS, filter=silent))
            for client, token in zip(waiting, since, strict=True)
        ]

        async def all_wait() -> bool:
            return await server.waiting_syncs() == len(waiting)

        await until(all_wait, what="all long-polls wait")
        held = await HeldRequest.begin(server, sender, room, "held")
        server.signal(signal.SIGTERM)
        # Long before their own time, and while the held request keeps the server from ending.
        answers = await asyncio.wait_for(asyncio.gather(*syncs), LONG_MS / 1000 / 2)
        assert [set(answer.get("rooms", {}).get("join", {})) for answer in answers] == [set()] * len(waiting)
        await until(lambda: refuses(server), what="the server accepts nobody new")
        assert not server.has_ended()
        status, body = await held.finish()
        assert status == 200
        assert await server.ended() == 0
        assert not is_alive(server.postgres_pid)
        server.check_log()
        await server.start()
        last = await sender.send(room, "after the restart")
        for client, answer in zip(waiting, answers, strict=True):
            news = await client.sync(answer["next_batch"], timeout=LONG_MS)
            timeline = news["rooms"]["join"][room]["timeline"]
            assert [event["event_id"] for event in timeline["events"]] == [body["event_id"], last]
            assert not timeline["limited"]


async def test_the_bound_of_draining(place: Path) -> None:
    """A request that does not end is cut after `http.drain_seconds`, and the end is a good one all the same."""
    async with (
        running_server(place, variables={"PARLEY_HTTP_DRAIN_SECONDS": "0.2"}) as server,
        people(server, 1) as ((sender,), room),
    ):
        held = await HeldRequest.begin(server, sender, room, "endless")
        server.signal(signal.SIGTERM)
        await held.is_cut()
        assert await server.ended() == 0
        assert not is_alive(server.postgres_pid)
        assert any("were cut after" in message for message in server.messages("WARNING"))


async def test_a_second_sigterm(place: Path) -> None:
    """Ends at once, whoever is still served; PostgreSQL goes with it, and the next start finds everything."""
    async with (
        running_server(place, variables={"PARLEY_HTTP_DRAIN_SECONDS": "600"}) as server,
        people(server, 1) as ((sender,), room),
    ):
        said = await sender.send(room, "said")
        held = await HeldRequest.begin(server, sender, room, "endless")
        server.foresee("stopped at once")
        server.signal(signal.SIGTERM)
        await until(lambda: refuses(server), what="the server accepts nobody new")
        assert not server.has_ended()
        server.signal(signal.SIGTERM)
        assert await server.ended() == 1
        await held.is_cut()
        await until(lambda: not is_alive(server.postgres_pid), what="PostgreSQL follows")
        await server.start()
        page = await sender.messages(room)
        assert page["chunk"][0]["event_id"] == said


async def test_sigterm_during_the_start(place: Path) -> None:
    """Before it listens, too, a signal ends it whole, and the next start finds nothing amiss."""
    async with disposed(ServerProcess(place)) as server:
        server.spawn()
        pid_file = server.data / "postgresql" / "postmaster.pid"
        await until(pid_file.exists, what="PostgreSQL is being started")
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0
        assert not pid_file.exists()
        await server.start()


async def test_the_end_without_a_database(own_server: ServerProcess) -> None:
    """SIGTERM when PostgreSQL is dead and cannot come back ends in good order as well."""
    async with people(own_server, 1) as ((sender,), room):
        await sender.send(room, "said")
        own_server.foresee("PostgreSQL does not start")
        restore = break_postgres(own_server)
        await own_server.kill9_postgres()
        await until(lambda: any("does not start" in message for message in own_server.messages("ERROR")))
        own_server.signal(signal.SIGTERM)
        assert await own_server.ended() == 0
        restore()


async def test_a_postgres_that_does_not_start_at_once(own_server: ServerProcess) -> None:
    """Is tried again until it does; /health says so meanwhile, requests are refused, and nothing is lost."""
    async with people(own_server, 1) as ((sender,), room):
        said = await sender.send(room, "before")
        own_server.foresee("PostgreSQL does not start")
        restore = break_postgres(own_server)
        await own_server.kill9_postgres()
        await until(lambda: sum("does not start" in message for message in own_server.messages("ERROR")) > 1)
        refused = await sender.call("GET", "/health", expect=503)
        assert refused["error"]
        restore()
        await own_server.restarted_postgres()
        await sender.send(room, "after")
        bodies = [event for event in (await sender.messages(room))["chunk"] if event["event_id"] == said]
        assert len(bodies) == 1


def break_postgres(server: ServerProcess) -> Any:
    """A mistake in its settings keeps the next PostgreSQL from starting; call the result to mend it."""
    file = server.data / "postgresql" / "postgresql.auto.conf"
    right = file.read_text()
    file.write_text(right + "no_such_setting = on\n")
    return lambda: file.write_text(right)


async def refused(server: ServerProcess, status: int, *texts: str) -> None:
    """It does not start, and says why in a sentence and nothing else."""
    async with disposed(server):
        ended, said = await server.refusal()
        assert (ended, said.startswith("parley: ")) == (status, True), said
        assert "Traceback" not in said
        for wanted in texts:
            assert wanted in said
        assert len(said) < 1_000


async def test_a_port_that_is_taken(place: Path) -> None:
    """The start names the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = ServerProcess(place, listen=[f"127.0.0.1:{port}"])
        await refused(server, 1, "cannot listen: Address already in use", "127.0.0.1", str(port))


async def test_another_servers_data_directory(place: Path) -> None:
    """A server cannot be renamed, and its data stay untouched."""
    other = ServerProcess(place, server_name="other.example")
    await refused(other, 1, "belongs to the server 'localhost'", "'other.example'")
    async with running_server(place) as server, MatrixClient(server.url) as client:
        await client.register("alice")


@pytest.mark.parametrize("case", ["foreign", "newer", "another name"])
async def test_a_database_that_is_not_ours(fresh: Path, cluster: Cluster, case: str) -> None:
    """Tables of another program, of a later Parley, or of another server: nothing is touched."""
    url = cluster.new_empty_database() if case == "foreign" else cluster.new_database()
    expected = {
        "foreign": "not Parley's",
        "newer": "newer Parley",
        "another name": f"belongs to the server '{SERVER_NAME}'",
    }[case]
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg2://", 1))
    with engine.begin() as connection:
        if case == "foreign":
            connection.execute(text("CREATE TABLE customers (id int)"))
        if case == "newer":
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
            connection.execute(text("UPDATE server SET server_name = 'localhost'"))
    engine.dispose()
    await refused(ServerProcess(fresh, variables={"PARLEY_DATABASE_URL": url}), 1, expected)
    cluster.drop(url)


async def test_a_database_that_does_not_answer(fresh: Path) -> None:
    """A sentence says so, not a traceback."""
    url = f"postgresql://parley@127.0.0.1:{free_port()}/parley"
    await refused(ServerProcess(fresh, variables={"PARLEY_DATABASE_URL": url}), 1, "The database does not answer")


async def test_a_certificate_that_is_not_there(fresh: Path) -> None:
    """The settings are refused before anything is made."""
    settings = fresh / "parley.yaml"
    settings.write_text(
        f"listeners:\n  - address: 127.0.0.1:{free_port()}\n    tls:\n      certificate: no.pem\n      key: no.key\n"
    )
    server = ServerProcess(fresh, listen=(), arguments=("--config", str(settings)))
    await refused(server, 2, "listeners[0].tls", "no.pem", "No such file")
    assert not server.data.exists()
