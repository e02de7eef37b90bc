"""What a hostile server sends into our rooms."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.builders.certificate import CertificateAuthority
from tests.builders.cluster import Cluster
from tests.federation.hostile import Hostile, hostile_server
from tests.federation.ours import Ours, open_ours
from tests.services.rooms.scene import ALICE

pytestmark = pytest.mark.asyncio(loop_scope="module")

@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> CertificateAuthority:
    return CertificateAuthority.make(tmp_path_factory.mktemp("authority"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ours(cluster: Cluster, authority: CertificateAuthority) -> AsyncIterator[Ours]:
    async with open_ours(cluster, authority) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def mallory(ours: Ours, authority: CertificateAuthority) -> AsyncIterator[Hostile]:
    async with hostile_server(ours, authority) as opened:
        yield opened

@pytest.mark.parametrize("version", ["1", "6", "12"])
async def test_smoke(ours, mallory, version):
    room_id = await ours.room(version)
    room = await mallory.join(room_id)
    message = room.send(mallory.user("eve"), "m.room.message", {"body": "hello"})
    assert await mallory.send(message.pdu) == {message.event_id: {}}
    missed = [room.send(mallory.user("eve"), "m.room.message", {"body": f"m{n}"}) for n in range(5)]
    late = room.send(mallory.user("eve"), "m.room.message", {"body": "late"})
    assert await mallory.send(late.pdu) == {late.event_id: {}}
    await ours.settled()
    print(await ours.bodies(room_id))
    print(mallory.asked)
    from tests.builders.identity import PeerRoom
    theirs = PeerRoom(mallory, version)
    mallory.rooms[theirs.room_id] = theirs
    await ours.services.membership.join(ALICE, theirs.room_id, servers=[mallory.name])
    print([one["type"] for one in await ours.read_back(theirs.room_id)], mallory.asked)
