"""The people of a crowd and their rooms on a Parley of their own, built once and kept for later runs.

Ten thousand people who register, join and sync for the first time take minutes, and none of it is measured: so the
stopped server's directory is kept, for as long as the schema of the database stays as it is. What older code has
written is what a server holds that was upgraded.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from tests.benchmarks.driver import Client
from tests.benchmarks.matrix import Session, at_most, register_many
from tests.benchmarks.postgres import Cluster
from tests.benchmarks.prepared import copy_directory, keep
from tests.benchmarks.servers import ROOT, Parley

FORMAT = 2
ROOM_SIZE = 100
TOGETHER = 8
KEPT_IN = ROOT / ".cache" / "bench" / "crowds"
# What the rows on disk depend on.
_SCHEMA = ("homeserver/storage/schema", "homeserver/storage/migrations/versions")
# A first sync that costs little: only its token is wanted.
_FIRST_SYNC = "/sync?filter=%7B%22room%22%3A%7B%22rooms%22%3A%5B%5D%7D%7D"

Note = Callable[[str], None]


@dataclass(frozen=True)
class Gathering:
    """Everybody with the token of a first sync, in rooms of at most `ROOM_SIZE` one after the other."""

    people: list[Session]
    since: list[str]
    rooms: list[str]

    def sizes(self) -> Iterator[int]:
        """How many are in each room."""
        for start in range(0, len(self.people), ROOM_SIZE):
            yield min(ROOM_SIZE, len(self.people) - start)


async def gather(server: Parley, clients: int, note: Note) -> Gathering:
    """Starts the server in its empty directory with that many people on it."""
    kept = KEPT_IN / _fingerprint(clients)
    client = Client(server.port)
    if kept.exists():
        note(f"taking {clients} people from {kept.relative_to(ROOT)}")
        copy_directory(kept, server.directory)
    else:
        await _build(server, client, clients, note)
        kept.parent.mkdir(parents=True, exist_ok=True)
        keep(server.directory, kept)
    server.start()
    text = orjson.loads((server.directory / "crowd.json").read_bytes())
    people = [Session(client, **person) for person in text["people"]]
    return Gathering(people, text["since"], text["rooms"])


async def _build(server: Parley, client: Client, clients: int, note: Note) -> None:
    server.create()
    server.start()
    note(f"building, once: {clients} people register")
    people = await register_many(client, clients, TOGETHER)
    note("building: they join their rooms")
    groups = [people[start : start + ROOM_SIZE] for start in range(0, clients, ROOM_SIZE)]
    rooms = [await _room_of(group) for group in groups]
    note("building: their first syncs")
    since = await at_most(TOGETHER, _first_sync, people)
    text: dict[str, Any] = {
        "people": [{"user_id": one.user_id, "token": one.token, "password": one.password} for one in people],
        "since": since,
        "rooms": rooms,
    }
    client.close()
    server.stop_server()
    server.cluster.execute("VACUUM (ANALYZE)")
    server.stop()
    (server.directory / "crowd.json").write_bytes(orjson.dumps(text))


async def _room_of(people: list[Session]) -> str:
    room, _ = await people[0].create_room(preset="public_chat", name="crowd")
    await at_most(TOGETHER, lambda person: person.join(room), people[1:])
    return room


async def _first_sync(person: Session) -> str:
    batch: str = (await person.get(_FIRST_SYNC)).content["next_batch"]
    return batch


def _fingerprint(clients: int) -> str:
    known = hashlib.sha256(orjson.dumps([FORMAT, clients, ROOM_SIZE, Cluster.version()]))
    for folder in _SCHEMA:
        for source in sorted((ROOT / folder).glob("*.py")):
            known.update(source.name.encode() + source.read_bytes())
    return f"{clients}-{known.hexdigest()[:16]}"
