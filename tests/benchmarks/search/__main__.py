"""`python -m tests.benchmarks.search`: what a search among a million messages costs, and how much room the index takes.

One process is the server: its database is the embedded one, with the settings that it always has. The messages are
written into the tables directly and indexed by the server's own code; then each search is asked for through the
service, as the endpoint does. CPU is that of the process and of PostgreSQL together, on average over the rounds.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import orjson
import psycopg2

from config.compose.house import build_house
from config.compose.storage import Pools, open_storage
from config.data_directory import PositionFile
from config.system import SystemClock, SystemRandomness
from homeserver.domain.filters import EventFilter
from homeserver.domain.search_query import parse_query
from homeserver.domain.signing import generate_key
from homeserver.domain.versions import DEFAULT_ROOM_VERSION
from homeserver.services.rooms.create import RoomRequest
from homeserver.services.search.request import ContextRequest, SearchRequest
from homeserver.storage.embedded import EmbeddedPostgres
from homeserver.storage.search import BY_INDEX, STATEMENTS
from homeserver.storage.stream import WholeStream
from tests.benchmarks.machine import cpu_seconds
from tests.benchmarks.search.messages import PLANTED, common_word, make_messages
from tests.builders.house import TestHouse

SERVER = "bench.example"
USER, DEVICE = f"@searcher:{SERVER}", "BENCH"
ROOMS = 20
PER_COPY = 50_000
BUDGET_MS = 100.0
COLUMNS = (
    "number, event_id, room, position, anchor, depth, origin_server_ts, type, sender, prev, auth, state_before,"
    " ordinals, client, wire"
)


@dataclass(frozen=True)
class Case:
    """A search. `within`: it is one of those that the target is about."""

    name: str
    request: SearchRequest
    within: bool = True


@dataclass(frozen=True)
class Outcome:
    cpu_ms: float
    wall_ms: float
    count: int
    results: int
    newest: int | None


def cases(room: str, sender: str) -> Iterator[Case]:
    context = ContextRequest()
    for planted in PLANTED:
        for term in planted.terms:
            for by_rank in (False, True):
                order = "rank" if by_rank else "time"
                yield Case(f"{term}, by {order}", SearchRequest(term, by_rank=by_rank, context=context))
    common = common_word()
    yield Case(f"{common} (common), by time", SearchRequest(common, by_rank=False, context=context), within=False)
    yield Case(f"{common} (common), by rank", SearchRequest(common, context=context), within=False)
    yield Case("one letter trigram of many words", SearchRequest("ing", by_rank=False), within=False)
    yield Case("nobody said this", SearchRequest("xylophone", by_rank=False), within=False)
    in_room, of_sender = EventFilter(rooms=frozenset({room})), EventFilter(senders=frozenset({sender}))
    yield Case(f"{common} in one room", SearchRequest(common, filter=in_room, by_rank=False), within=False)
    yield Case(f"{common} of one sender", SearchRequest(common, filter=of_sender, by_rank=False), within=False)


@asynccontextmanager
async def opened(url: str, directory: Path) -> AsyncIterator[TestHouse]:
    database, streams = open_storage(url, SERVER, PositionFile(directory), Pools())
    key = generate_key(b"test" * 8, "a_test")
    house = build_house(database, streams, SERVER, key, SystemClock(), SystemRandomness())
    try:
        yield TestHouse(url, directory, database, streams, house)
    finally:
        house.sync.stop()
        await database.settle()
        database.close()


def fill(url: str, rooms: dict[int, int], count: int) -> None:
    """Writes the messages into the tables. `rooms`: state group by number."""
    numbers = list(rooms)
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "UPDATE server SET positions_reserved = positions_reserved + %(n)s, numbers_reserved = numbers_reserved"
            " + %(n)s RETURNING positions_reserved - %(n)s, numbers_reserved - %(n)s",
            {"n": count + 1},
        )
        row = cursor.fetchone()
        assert row is not None
        position, number = row
        lines = StringIO()
        for at, text in enumerate(make_messages(count), 1):
            room, ts, sender = numbers[at % len(numbers)], 1_700_000_000_000 + at, f"@user{at % 500}:{SERVER}"
            content = json.dumps({"body": text, "msgtype": "m.text"}, ensure_ascii=False)
            client = f'"content":{content},"origin_server_ts":{ts},"sender":"{sender}","type":"m.room.message"'
            place = position + at
            lines.write(
                f"{number + at}\t$message{at}\t{room}\t{place}\t{place}\t{at}\t{ts}\tm.room.message\t{sender}\t{{}}\t"
                f'{{}}\t{rooms[room]}\t{{}}\t{client}\t"depth":{at}\n'
            )
            if at % PER_COPY == 0 or at == count:
                lines.seek(0)
                cursor.copy_expert(f"COPY events ({COLUMNS}) FROM STDIN", lines)
                lines = StringIO()
                note(f"{at:,} of {count:,} messages")
        cursor.execute("UPDATE rooms SET last_anchor = %s", (position + count,))


async def build(house: TestHouse, count: int) -> float:
    """Indexes everything as the follower does. CPU in microseconds for each message."""
    stream = WholeStream(house.database)
    before, after, done = cpu_seconds(os.getpid()), 0, 0
    upto = house.streams.publisher.current()
    while batch := await stream.list_batch(after, upto, 100):
        await house.services.searching.index.act([row for _, row in batch])
        after = batch[-1][0]
        done += len(batch)
        if done % PER_COPY < len(batch):
            note(f"{done:,} indexed")
    return (cpu_seconds(os.getpid()) - before) / count * 1e6


async def measure(house: TestHouse, case: Case, rounds: int) -> Outcome:
    # The first one prepares statements and fills caches.
    answer = await house.services.search.find(USER, DEVICE, case.request, None)
    began, used = time.perf_counter(), cpu_seconds(os.getpid())
    for _ in range(rounds):
        answer = await house.services.search.find(USER, DEVICE, case.request, None)
    cpu_ms = (cpu_seconds(os.getpid()) - used) * 1000 / rounds
    wall_ms = (time.perf_counter() - began) * 1000 / rounds
    found: dict[str, object] = orjson.loads(answer)["search_categories"]["room_events"]
    newest, count, results = found.get("io.parley.newest_matches"), found["count"], found["results"]
    assert isinstance(count, int) and isinstance(results, list) and isinstance(newest, int | None)
    return Outcome(cpu_ms, wall_ms, count, len(results), newest)


def sizes(url: str, count: int) -> dict[str, float]:
    """Bytes for each message: of the index of search in all, and of its parts."""
    parts = {
        "all": "pg_total_relation_size('search')",
        "rows": "pg_table_size('search')",
        "words": "pg_relation_size('search_words')",
        "n-grams": "pg_relation_size('search_grams')",
        "events": "pg_total_relation_size('events')",
    }
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(parts.values())}")
        row = cursor.fetchone()
    connection.close()
    assert row is not None
    return {name: size / count for name, size in zip(parts, row, strict=True)}


def plan(url: str, term: str, rooms: list[int], upto: int) -> list[str]:
    """How PostgreSQL reads all matches of a term in all rooms."""
    query = parse_query(term)
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        statement = STATEMENTS[bool(query.grams), bool(query.words), False]
        cursor.execute(BY_INDEX)
        cursor.execute(statement.prepare)
        named = " | ".join(f"'{word}'" for word in query.named) or None
        words = " & ".join(f"'{word}'" for word in query.words) or None
        arguments: tuple[Any, ...] = (
            upto, 0, [0, 1, 2], rooms, [upto] * len(rooms), named, named, 5_000, list(query.grams), words, [], 6_000,
        )  # fmt: skip
        cursor.execute(f"EXPLAIN {statement.execute}", arguments)
        lines: list[str] = [row[0] for row in cursor.fetchall()]
    connection.close()
    return lines


def tidy(url: str) -> None:
    """What autovacuum does for a database that lives."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    connection.close()


def run(wanted: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="parley-search-", dir="/tmp") as scratch:
        directory = Path(scratch)
        directory.chmod(0o711)  # the account that runs PostgreSQL must be able to enter
        postgres = EmbeddedPostgres(directory, SERVER)
        url = postgres.start().url
        try:
            return asyncio.run(compare(url, directory, wanted))
        finally:
            postgres.stop()


async def compare(url: str, directory: Path, wanted: argparse.Namespace) -> int:
    async with opened(url, directory) as house:
        room_ids = [
            await house.services.create(USER, RoomRequest(DEFAULT_ROOM_VERSION, "private_chat")) for _ in range(ROOMS)
        ]
        rows = await house.database.read(lambda store: [store.rooms.get(room_id) for room_id in room_ids])
        rooms = {row.number: row.state_group for row in rows}
    fill(url, rooms, wanted.messages)
    missed = 0
    async with opened(url, directory) as house:
        each = await build(house, wanted.messages)
        tidy(url)
        print(f"\n{wanted.messages:,} messages; indexing took {each:.0f} us CPU for each\n")
        for name, size in sizes(url, wanted.messages).items():
            print(f"    {name:10} {size:8.0f} bytes per message")
        for term in ("zeppelin", "颱風", "qi"):
            lines = plan(url, term, sorted(rooms), house.streams.publisher.current())
            print(f"\n    {term}: " + "; ".join(line.strip(" ->") for line in lines if " on search" in line))
        print(f"\n    {'search':45} {'CPU ms':>8} {'ms':>8} {'count':>8} {'shown':>6}  newest only")
        for case in cases(room_ids[0], f"@user1:{SERVER}"):
            one = await measure(house, case, wanted.rounds)
            late = case.within and one.cpu_ms > BUDGET_MS
            missed += late
            newest = "" if one.newest is None else f"{one.newest:,}"
            print(
                f"    {case.name:45} {one.cpu_ms:8.1f} {one.wall_ms:8.1f} {one.count:8,} {one.results:6}  {newest}"
                f"{'  ABOVE' if late else ''}",
                flush=True,
            )
    print(f"\n{'All' if not missed else 'Not all'} of the targets hold: {BUDGET_MS:.0f} ms CPU.")
    return 1 if missed else 0


def note(text: str) -> None:
    print(f"# {time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.search", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=10)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
