"""Our server as others meet it: a house with its whole federation door on a real socket, which calls others over TLS.

    async with open_ours(cluster, authority) as ours:
        room_id = await ours.room("11")
        ...
        await ours.settled()

It is a `Scene` with everything on it that `config` puts there, in this process and without a client's door. Others are
called at names like `127.0.0.1:8448`, whose certificates `authority` issues.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import orjson

from config.compose.federation import build_federation
from config.compose.house import Abroad, Remote
from config.compose.reading import build_reading
from config.compose.receiving import build_abroad, build_receiving
from config.compose.verification import build_verification
from config.settings import FederationSettings, NetworkSettings, Settings
from homeserver.domain.filters import EventFilter
from homeserver.http.server import HttpServer
from homeserver.services.accounts.profile import Profiles
from homeserver.services.rooms.pages import PageRequest
from homeserver.storage.store import Store
from tests.builders.certificate import CertificateAuthority
from tests.builders.cluster import SERVER_NAME, Cluster
from tests.builders.database import BuiltDatabase, build_database
from tests.services.rooms.scene import ALICE, BOB, Scene

# What was missing is asked for again at once.
FIRST_PAUSE = 0.001


class NotedPresence:
    """Implements `federation.inbound.edus.Presence`."""

    def __init__(self) -> None:
        self.heard_of: list[str] = []

    async def heard(self, user_id: str, update: Mapping[str, Any]) -> None:
        self.heard_of.append(user_id)


class Ours(Scene):
    """`url` is where others reach it once it listens."""

    def __init__(self, built: BuiltDatabase, authority: CertificateAuthority) -> None:
        self._settings = Settings(
            server_name=SERVER_NAME,
            data_directory=Path("/nowhere"),
            federation=FederationSettings(ca_file=authority.ca_file),
            network=NetworkSettings(allow_private=(ip_network("127.0.0.0/8"),)),
        )
        self.presence = NotedPresence()
        self.url = ""
        super().__init__(built)
        database, key = self.database, self.keys[SERVER_NAME]
        self._receiving = build_receiving(
            SERVER_NAME, key, database, self.services, self.federation, self.verification, self.presence, FIRST_PAUSE
        )
        profiles = Profiles(database, self.services.membership, SERVER_NAME)
        acls, door = self.verification.acls, self.verification.door
        reading = build_reading(SERVER_NAME, database, self.clock, self.services, profiles, acls, door)
        routes = [*self.verification.routes(), *self._receiving.routes, *reading]
        self._server = HttpServer(routes, clock=self.clock, stopping=asyncio.Event())

    def go_abroad(self, remote: Remote) -> Abroad:
        key, clock, randomness = self.keys[SERVER_NAME], self.clock, self.randomness
        self.federation = federation = build_federation(self._settings, self.database, key, clock, randomness)
        partners, calls = federation.partners, federation.calls
        self.verification = build_verification(self._settings, self.database, key, calls, partners, clock)
        return build_abroad(SERVER_NAME, key, federation, self.verification, clock, randomness, remote)

    async def listen(self) -> None:
        await self._server.listen("127.0.0.1", 0)
        address, port = self._server.addresses[0]
        self.url = f"http://{address}:{port}"

        def work(store: Store) -> None:
            for user_id in (ALICE, BOB):
                store.users.add(user_id, None, False, 0)

        await self.database.write(work)

    async def settled(self) -> None:
        """Nothing waits for what is missing any more."""
        await self._receiving.waiting.settled()

    async def close(self) -> None:
        await self._server.drain(5)
        await self._receiving.waiting.stop()
        await self.verification.close()
        await self.federation.close()

    async def read_back(self, room_id: str, user_id: str = ALICE) -> list[dict[str, Any]]:
        """The room as a client of ours reads it by paging back, oldest first."""
        found: list[dict[str, Any]] = []
        start: str | None = None
        while True:
            request = PageRequest(room_id, start, None, True, 50, EventFilter())
            page = orjson.loads(await self.services.history.page(user_id, "DEVICE", request))
            found += page["chunk"]
            start = page.get("end")
            if start is None:
                return found[::-1]

    async def bodies(self, room_id: str, user_id: str = ALICE) -> list[str]:
        """The messages in it; those that were redacted are ""."""
        events = await self.read_back(room_id, user_id)
        return [one["content"].get("body", "") for one in events if one["type"] == "m.room.message"]

    async def verdict(self, event_id: str) -> str | None:
        """What the tables say of an event: accepted, rejected, soft_failed, outlier; None if it is not there."""
        rows = await self.sql(
            "SELECT rejected, soft_failed, anchor, state_before FROM events WHERE event_id = %s", event_id
        )
        if not rows:
            return None
        rejected, soft_failed, anchor, state_before = rows[0]
        if rejected is not None:
            return "rejected"
        if soft_failed is not None:
            return "soft_failed"
        return "accepted" if anchor is not None else "outlier" if state_before is None else "hidden"


@asynccontextmanager
async def open_ours(cluster: Cluster, authority: CertificateAuthority) -> AsyncIterator[Ours]:
    """On a database of its own; it listens."""
    url = cluster.new_database()
    built = build_database(url, SERVER_NAME)
    ours = Ours(built, authority)
    try:
        await ours.listen()
        yield ours
    finally:
        await ours.close()
        ours.services.typing.stop()
        await built.close()
        cluster.drop(url)
