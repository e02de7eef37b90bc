"""A server that joined a room of another one tells it what happens, over a restart of the whole house."""

from pathlib import Path

from tests.builders.cluster import Cluster
from tests.builders.house import TestHouse, open_house
from tests.builders.waiting import until
from tests.federation.outbound.peers import Peers, sending
from tests.services.rooms.remote.pair import ALICE, HERE, THERE, Pair, open_pair


async def say(pair: Pair, house: TestHouse, text: str) -> None:
    await house.services.send.message(
        ALICE, "DEVICE", pair.room_id, "m.room.message", text, {"msgtype": "m.text", "body": text}
    )


async def test_a_new_process_goes_on(cluster: Cluster, tmp_path: Path, peers: Peers) -> None:
    """We come into a room through another server; while it is away our house stops and another one starts."""
    peers.away.add(THERE)
    async with open_pair(cluster) as pair:
        url = cluster.new_database(server_name=HERE)
        async with open_house(cluster, url, tmp_path, HERE) as first:
            pair.here = first
            await pair.begin()
            async with sending(first.database, first.streams, peers, HERE):
                await pair.enter()
                await say(pair, first, "1")
                await until(lambda: peers.attempts[THERE])
        async with open_house(cluster, url, tmp_path, HERE) as second:
            pair.here = second
            await say(pair, second, "2")
            async with sending(second.database, second.streams, peers, HERE):
                await say(pair, second, "3")
                peers.up(THERE)
                await until(lambda: peers.texts(THERE) == ["1", "2", "3"])
        cluster.drop(url)
