"""Rooms of other servers are entered a few at a time."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from clients.limited_rooms import LimitedRooms
from clients.limits import Limits
from homeserver.domain.errors import LimitExceeded
from homeserver.domain.event import Event
from tests.builders.machine import HandClock

ALICE, BOB = "@alice:test.example", "@bob:test.example"


class NotedRooms:
    """Implements `RemoteRooms`: notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    async def join(
        self,
        user_id: str,
        room_id: str,
        servers: Sequence[str],
        content: Mapping[str, Any],
        *,
        although_resident: bool = False,
    ) -> bool:
        self.asked.append(("join", user_id, room_id, *servers))
        return not although_resident

    async def knock(self, user_id: str, room_id: str, servers: Sequence[str], content: Mapping[str, Any]) -> None:
        self.asked.append(("knock", user_id, room_id, *servers))

    async def leave(self, user_id: str, room_id: str, content: Mapping[str, Any]) -> None:
        self.asked.append(("leave", user_id, room_id))

    async def sign_invite(self, event: Event, stripped: Sequence[Mapping[str, Any]]) -> Event:
        self.asked.append(("invite", event.event_id))
        return event


async def test_remote_rooms_are_entered_a_few_at_a_time() -> None:
    """Joins and knocks share a row by user; whoever met it may still go away."""
    noted = NotedRooms()
    rooms = LimitedRooms(noted, Limits(HandClock(), {"joins_remote": {"burst": 3}}))
    assert await rooms.join(ALICE, "!a:b.example", ["b.example"], {})
    assert not await rooms.join(ALICE, "!b:b.example", ["b.example"], {}, although_resident=True)
    await rooms.knock(ALICE, "!c:b.example", ["b.example"], {})
    with pytest.raises(LimitExceeded) as refused:
        await rooms.join(ALICE, "!d:b.example", ["b.example"], {})
    assert (refused.value.limit, refused.value.retry_after_ms) == ("joins_remote", 10_000)
    with pytest.raises(LimitExceeded):
        await rooms.knock(ALICE, "!d:b.example", ["b.example"], {})
    await rooms.leave(ALICE, "!c:b.example", {})
    await rooms.join(BOB, "!d:b.example", ["b.example"], {})
    assert [(kind, user) for kind, user, *_ in noted.asked] == [
        ("join", ALICE),
        ("join", ALICE),
        ("knock", ALICE),
        ("leave", ALICE),
        ("join", BOB),
    ]
