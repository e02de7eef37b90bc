"""An answer to send_join tells many events twice, in the state and in the auth chain: each copy counts for itself."""

from typing import Any

import pytest

from homeserver.domain.errors import RemoteError
from tests.builders.identity import PeerRoom
from tests.federation.hostile import Hostile, Question
from tests.federation.ours import Ours
from tests.services.rooms.scene import ALICE

pytestmark = pytest.mark.asyncio(loop_scope="module")

RULES, TOPIC = "m.room.join_rules", "m.room.topic"


def forged(pdu: dict[str, Any]) -> dict[str, Any]:
    """With signatures that are nobody's."""
    signatures = {server: dict.fromkeys(keys, "A" * 86) for server, keys in pdu["signatures"].items()}
    return {**pdu, "signatures": signatures}


def room_of(mallory: Hostile) -> PeerRoom:
    room = PeerRoom(mallory, "12")
    room.send(room.creator, TOPIC, {"topic": "true"}, "")
    mallory.rooms[room.room_id] = room
    return room


def forging(mallory: Hostile, kind: str, *keys: str) -> Any:
    """Answers as it should, but for the signatures of one type of events in these lists."""

    def answer(question: Question) -> Any:
        truth = mallory.truth(question)
        truth["auth_chain"] += [pdu for pdu in truth["state"] if pdu["type"] == TOPIC]
        return truth | {key: [forged(pdu) if pdu["type"] == kind else pdu for pdu in truth[key]] for key in keys}

    return answer


async def test_a_forged_copy_in_the_auth_chain_is_dropped(ours: Ours, mallory: Hostile) -> None:
    """What stands in the state is signed, so we come in."""
    room = room_of(mallory)
    mallory.lies["send_join"] = forging(mallory, RULES, "auth_chain")
    await ours.services.membership.join(ALICE, room.room_id, servers=[mallory.name])
    assert (RULES, "") in await ours.state(room.room_id)


async def test_a_forged_copy_in_the_state_is_not_excused_by_the_auth_chain(ours: Ours, mallory: Hostile) -> None:
    """The copy of the auth chain, which is signed, does not make it part of the state."""
    room = room_of(mallory)
    mallory.lies["send_join"] = forging(mallory, TOPIC, "state")
    await ours.services.membership.join(ALICE, room.room_id, servers=[mallory.name])
    assert (TOPIC, "") not in await ours.state(room.room_id)


async def test_a_copy_told_twice_is_checked_all_the_same(ours: Ours, mallory: Hostile) -> None:
    """Forged in both lists word for word, it is in neither, and there is no room without it."""
    room = room_of(mallory)
    mallory.lies["send_join"] = forging(mallory, RULES, "state", "auth_chain")
    with pytest.raises(RemoteError):
        await ours.services.membership.join(ALICE, room.room_id, servers=[mallory.name])
    assert room.room_id not in await ours.services.membership.joined_rooms(ALICE)
