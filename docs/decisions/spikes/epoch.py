"""Decision 1: does a token that is only a position survive a crash and a restored backup?"""

import asyncio
import os
import signal
import tempfile
from dataclasses import replace
from pathlib import Path

import orjson

from config.compose.storage import Pools, open_storage
from config.data_directory import PositionFile
from docs.decisions.spikes.ground import SERVER_NAME, assemble, connect, new_room, postgres, say, send
from homeserver.domain.filters import SyncFilter
from homeserver.services.sync.request import SyncRequest
from homeserver.services.tokens import SyncToken, parse_sync_token


def sequence_after_crash() -> None:
    """A position can be told to a client before anything of it is on the disk."""
    with postgres() as (server, url):
        connection = connect(url, autocommit=True)
        with connection.cursor() as cursor:
            cursor.execute("CREATE SEQUENCE positions")
            cursor.execute("SELECT nextval('positions')")
        connection.autocommit = False
        with connection.cursor() as cursor:
            for _ in range(500):
                cursor.execute("SELECT nextval('positions')")
            given = cursor.fetchone()
        assert server._process is not None
        os.kill(server._process.pid, signal.SIGKILL)
        server._process.wait()
        server.stop()
        url = server.start().url
        with connect(url) as fresh, fresh.cursor() as cursor:
            cursor.execute("SELECT nextval('positions')")
            say(f"sequence: {given} was given out, PostgreSQL was killed, the next number is {cursor.fetchone()}")


async def restored_backup() -> None:
    """A backup is taken, the topic changes, the backup is put back, people talk on."""
    with postgres() as (_, url), tempfile.TemporaryDirectory() as directory:
        file = PositionFile(Path(directory))
        database, streams = open_storage(url, SERVER_NAME, file, Pools())
        house = assemble(database, streams)
        room, users = await new_room(house, 2)
        await house.send.state(users[0], room, "m.room.topic", "", {"topic": "before the backup"})
        await database.settle()
        database.close()
        backup(url)
        database, streams = open_storage(url, SERVER_NAME, file, Pools())
        house = assemble(database, streams)
        await house.send.state(users[0], room, "m.room.topic", "", {"topic": "lost with the disk"})
        request = SyncRequest(users[1], "D", None, 0, SyncFilter())
        token = parse_sync_token(orjson.loads(await house.sync(request))["next_batch"])
        database.close()
        database, streams = open_storage(url.replace("/parley?", "/restored?"), SERVER_NAME, file, Pools())
        house = assemble(database, streams)
        for number in range(5):
            await send(house, users[0], room, number)
        for name, since in (("no epoch", replace(token, epoch=streams.epoch)), ("with epoch", token)):
            answer = orjson.loads(await house.sync(replace(request, since=since)))
            say(f"restored, {name}: {told(answer['rooms']['join'][room], since, streams.epoch)}")
        database.close()


def told(room: dict[str, dict[str, list[dict[str, object]]]], since: SyncToken, epoch: str) -> str:
    events = room["timeline"]["events"] + room["state"]["events"]
    topics = [event["content"] for event in events if event["type"] == "m.room.topic"]
    messages = sum(event["type"] == "m.room.message" for event in events)
    return f"the client gets {messages} of 5 messages and the topic {topics or '- not at all: it keeps the lost one'}"


def backup(url: str) -> None:
    connection = connect(url.replace("/parley?", "/postgres?"), autocommit=True)
    with connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE restored TEMPLATE parley")
    connection.close()


if __name__ == "__main__":
    sequence_after_crash()
    asyncio.run(restored_backup())
