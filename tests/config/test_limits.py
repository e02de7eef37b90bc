"""The rate limits are those of the settings, and stand before other servers' rooms."""

import pytest

from config.compose.house import Abroad
from config.compose.limits import build_limits
from config.settings import LimitSettings
from homeserver.domain.errors import LimitExceeded
from homeserver.services.accounts.user_limits import Rate
from tests.builders.house import TestHouse
from tests.builders.machine import HandClock
from tests.clients.test_limited_rooms import ALICE, NotedRooms


async def test_limits_are_those_of_the_settings(house: TestHouse) -> None:
    """Rows that are different, and all of them off in one setting."""
    rows = {"profile": {"burst": 1.0}}
    limits = build_limits(LimitSettings(overrides=rows), house.database, HandClock()).limits
    limits.take("profile", ALICE)
    with pytest.raises(LimitExceeded):
        limits.take("profile", ALICE)
    off = build_limits(LimitSettings(enabled=False, overrides=rows), house.database, HandClock()).limits
    for _ in range(10):
        off.take("profile", ALICE)


async def test_limits_of_users_are_loaded(house: TestHouse) -> None:
    """What an administrator set before holds as soon as it is loaded."""
    await house.database.write(lambda store: store.users.add(ALICE, None, False, 0))
    await build_limits(LimitSettings(), house.database, HandClock()).users.set(ALICE, {"profile": Rate(1, 1)})
    limiting = build_limits(LimitSettings(), house.database, HandClock())
    await limiting.users.load()
    limiting.limits.take("profile", ALICE)
    with pytest.raises(LimitExceeded):
        limiting.limits.take("profile", ALICE)


async def test_rooms_of_other_servers_are_limited(house: TestHouse) -> None:
    """Whatever enters them, it meets the limit first."""
    settings = LimitSettings(overrides={"joins_remote": {"burst": 1.0}})
    rooms = NotedRooms()
    abroad = build_limits(settings, house.database, HandClock()).before(Abroad(rooms, None))
    await abroad.rooms.join(ALICE, "!a:b.example", [], {})
    with pytest.raises(LimitExceeded):
        await abroad.rooms.join(ALICE, "!b:b.example", [], {})
    assert len(rooms.asked) == 1
