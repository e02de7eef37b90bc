"""What is watched: the memory of the server, its gauges, and how many rows the tables have."""

import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psycopg2

from tests.builders.process import ServerProcess

# How far the index of search is behind what is said.
SEARCH_LAG = 'follower_lag{follower="search"}'
GAUGES = (
    "parley_http_connections",
    "parley_http_connections_anonymous",
    "parley_waiting_syncs",
    "parley_tail_bytes",
    "parley_views",
    "parley_view_bytes",
    "parley_watermark_lag",
    f"parley_{SEARCH_LAG}",
)
PAGE_KIB = 4


@dataclass(frozen=True, slots=True)
class Sample:
    """`rss`: MiB of the server, without PostgreSQL. `tables`: rows by name."""

    seconds: float
    rss: float
    gauges: dict[str, float]
    tables: dict[str, int]


class Watch:
    """Takes samples of one server with an embedded PostgreSQL."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._began = time.monotonic()
        self._connection = psycopg2.connect(host=str(server.data / "socket"), user="parley", dbname="parley")
        self._connection.autocommit = True

    async def sample(self) -> Sample:
        gauges = await self._gauges()
        return Sample(time.monotonic() - self._began, self._memory(), gauges, self._tables())

    async def _gauges(self) -> dict[str, float]:
        async with aiohttp.ClientSession() as session, session.get(self._server.url + "/metrics") as response:
            lines = [line.split() for line in (await response.text()).splitlines()]
        return {line[0].removeprefix("parley_"): float(line[1]) for line in lines if line and line[0] in GAUGES}

    def _memory(self) -> float:
        pages = Path(f"/proc/{self._server.pid}/statm").read_text().split()[1]
        return int(pages) * PAGE_KIB / 1024

    def _tables(self) -> dict[str, int]:
        with self._connection.cursor() as cursor:
            cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
            counts: dict[str, int] = {}
            for (name,) in cursor.fetchall():
                cursor.execute(f'SELECT count(*) FROM "{name}"')
                row = cursor.fetchone()
                counts[name] = row[0] if row else 0
            return counts

    def close(self) -> None:
        self._connection.close()
