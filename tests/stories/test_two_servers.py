"""People of two and three servers in one room, over TLS, as their clients see it."""

from pathlib import Path

from tests.builders.allies import allied_servers
from tests.conformance.client import MatrixClient

VERSIONS = [str(number) for number in range(1, 13)]


async def bodies(client: MatrixClient, room: str) -> list[str]:
    """The messages that a client reads by paging back, oldest first."""
    found: list[str] = []
    start = None
    while True:
        page = await client.messages(room, start, dir="b", limit=10)
        print(len(page["chunk"]), page.get("end"))
        found += [one["content"].get("body", one["type"]) for one in page["chunk"]]
        start = page.get("end")
        if start is None:
            return list(reversed(found))


async def test_join(fresh: Path) -> None:
    async with allied_servers(fresh, 2) as (here, there):
        async with MatrixClient(here.url) as alice, MatrixClient(there.url) as bob:
            await alice.register("alice")
            await bob.register("bob")
            for version in ("1", "6", "12"):
                room = await alice.create_room(preset="public_chat", room_version=version)
                for n in range(25):
                    await alice.send(room, f"before {n}")
                await bob.join(room, via=[here.name])
                await bob.send(room, "from bob")
                print(version, await bodies(bob, room))
            room = await alice.create_room(preset="private_chat", invite=[bob.user_id], is_direct=True)
            answer = await bob.sync()
            print(answer["rooms"]["invite"])
            await bob.join(room)
            print(await bodies(bob, room))
            room = await alice.create_room(preset="private_chat", invite=[bob.user_id])
            await bob.leave(room)
            answer = await bob.sync(answer["next_batch"])
            print(answer["rooms"])
            print((await alice.state(room, "m.room.member", bob.user_id)))
