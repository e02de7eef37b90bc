"""Decision 8: what does it cost to make an answer of stored events?"""

import asyncio
import time

import orjson

from docs.decisions.spikes.ground import connect, ground, new_room, say, send
from homeserver.services.client_form import join_event

ROUNDS = 300


def by_joining(rows: list[tuple[str, str, str]]) -> bytes:
    events = (join_event(client, event_id, '"age":1', None) for event_id, client, _ in rows)
    return f"[{','.join(events)}]".encode()


def by_parsing(rows: list[tuple[str, bytes]]) -> bytes:
    events = []
    for event_id, pdu in rows:
        event = orjson.loads(pdu)
        shown = {name: event[name] for name in ("content", "origin_server_ts", "sender", "state_key", "type")
                 if name in event}  # fmt: skip
        shown["event_id"] = event_id
        shown["unsigned"] = {"age": 1}
        events.append(shown)
    return orjson.dumps(events)


async def main() -> None:
    async with ground() as under:
        room, users = await new_room(under.house, 2)
        for number in range(100):
            await send(under.house, users[0], room, number)
        with connect(under.url) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT event_id, client, wire FROM events WHERE type = 'm.room.message'")
            rows = cursor.fetchall()
    whole = [(event_id, f"{{{client},{wire}}}".encode()) for event_id, client, wire in rows]
    assert orjson.loads(by_joining(rows)) == orjson.loads(by_parsing(whole))
    clients = sum(len(client) for _, client, _ in rows) / len(rows)
    wires = sum(len(wire) for _, _, wire in rows) / len(rows)
    say(f"a message has {clients:.0f} bytes that clients see, and {wires:.0f} that only servers see")
    for name, work in (("joining text", lambda: by_joining(rows)), ("parsing PDUs", lambda: by_parsing(whole))):
        best = float("inf")
        for _ in range(ROUNDS):
            started = time.perf_counter()
            work()
            best = min(best, time.perf_counter() - started)
        say(f"{name}: {1e6 * best / len(rows):.2f} us an event (best of {ROUNDS} rounds of {len(rows)} events)")


if __name__ == "__main__":
    asyncio.run(main())
