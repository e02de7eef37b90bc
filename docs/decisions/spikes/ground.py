"""What the spikes stand on: a PostgreSQL of their own with Parley's own options, and a house on it.

    python -m docs.decisions.spikes.NAME          (in the root of the checkout)

A spike is a small program that answers one question of a decision record. It is no test: it prints what it found.
"""

import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from psycopg2.extensions import connection as Connection
from signedjson.key import generate_signing_key

from config.compose.house import House, build_house
from config.compose.storage import Pools, Streams, open_storage
from config.data_directory import PositionFile
from config.system import SystemClock, SystemRandomness
from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.services.rooms.create import RoomRequest
from homeserver.storage.database import Database
from homeserver.storage.embedded import EmbeddedPostgres
from homeserver.storage.transaction import Transaction

SERVER_NAME = "spike.example"


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@contextmanager
def postgres() -> Iterator[tuple[EmbeddedPostgres, str]]:
    """The embedded PostgreSQL in a directory of its own, gone afterwards, and the address of its empty database."""
    with tempfile.TemporaryDirectory(prefix="parley-spike-", dir="/tmp", ignore_cleanup_errors=True) as directory:
        os.chmod(directory, 0o711)
        (Path(directory) / "data").mkdir()
        server = EmbeddedPostgres(Path(directory) / "data", SERVER_NAME)
        try:
            yield server, server.start().url
        finally:
            server.stop()


def connect(url: str, *, autocommit: bool = False) -> Connection:
    connection = psycopg2.connect(url)
    connection.autocommit = autocommit
    return connection


@dataclass(frozen=True, slots=True)
class Ground:
    house: House
    database: Database
    streams: Streams
    server: EmbeddedPostgres
    url: str


@asynccontextmanager
async def ground() -> AsyncIterator[Ground]:
    """Storage, streams and services as `config` assembles them."""
    with postgres() as (server, url), tempfile.TemporaryDirectory() as directory:
        database, streams = open_storage(url, SERVER_NAME, PositionFile(Path(directory)), Pools())
        try:
            yield Ground(assemble(database, streams), database, streams, server, url)
        finally:
            await database.settle()
            database.close()


def assemble(database: Database, streams: Streams) -> House:
    key = generate_signing_key("spike")
    return build_house(database, streams, SERVER_NAME, key, SystemClock(), SystemRandomness())


async def new_room(house: House, members: int) -> tuple[str, list[str]]:
    """A public room with this many members, the creator first."""
    users = [f"@user{number}:{SERVER_NAME}" for number in range(members)]
    room = await house.create(users[0], RoomRequest(ROOM_VERSIONS["12"], "public_chat"))
    for user in users[1:]:
        await house.membership.join(user, room)
    return room, users


async def send(house: House, user: str, room: str, number: int) -> str:
    content = {"msgtype": "m.text", "body": f"message {number}"}
    return await house.send.message(user, "SPIKE", room, "m.room.message", f"t{number}", content)


class Meter:
    """CPU time of this process and of PostgreSQL's, statements and round trips, since it was made."""

    round_trips = 0
    statements = 0

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._postmaster = server._process.pid if server._process is not None else 0
        self._start = (time.process_time(), self._backends(), Meter.round_trips, Meter.statements)

    def statements_per(self, count: int) -> str:
        _, _, trips, statements = self._start
        return (
            f"{(Meter.statements - statements) / count:.1f} statements in "
            f"{(Meter.round_trips - trips) / count:.1f} round trips"
        )

    def cpu(self) -> tuple[float, float]:
        """Milliseconds in Parley and in PostgreSQL."""
        return 1000 * (time.process_time() - self._start[0]), 1000 * (self._backends() - self._start[1])

    def _backends(self) -> float:
        """CPU seconds of all processes that the postmaster has started."""
        ticks = 0
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == self._postmaster:
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


def count_round_trips() -> None:
    """From here on, Meter knows what transactions send."""
    original: Callable[[Transaction], None] = Transaction._send

    def counted(transaction: Transaction) -> None:
        Meter.round_trips += 1
        Meter.statements += len(transaction._pending)
        original(transaction)

    Transaction._send = counted  # type: ignore[method-assign]  # a spike looks from outside
