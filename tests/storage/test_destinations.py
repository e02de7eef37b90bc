"""Servers that do not answer, in the database."""

from homeserver.domain.outage import Outage
from homeserver.services.destinations import FORGET_MS, Destinations
from tests.builders.house import TestHouse
from tests.builders.machine import HandClock

FIRST, SECOND = Outage(1, 2, 3, 4), Outage(1, 2**41, 2**41 + 7, 3_600_000)


async def test_outages_are_kept(house: TestHouse) -> None:
    """The newest counts; a server that answers has none."""
    destinations = Destinations(house.database, HandClock())
    assert await destinations.find("one.test") is None
    for outage in (FIRST, SECOND):
        await destinations.keep("one.test", outage)
        assert await destinations.find("one.test") == outage
    assert await destinations.find("two.test") is None
    await destinations.keep("one.test", None)
    assert await destinations.find("one.test") is None


async def test_what_nobody_wants_to_know_is_forgotten(house: TestHouse) -> None:
    """The table does not grow with every name that a stranger ever made us try."""
    clock = HandClock()
    destinations = Destinations(house.database, clock)
    for name, failed_ms in (("old.test", clock.ms - FORGET_MS - 1), ("new.test", clock.ms - FORGET_MS + 1)):
        await destinations.keep(name, Outage(1, failed_ms, failed_ms, 4))
    await destinations.forget()
    assert await destinations.find("old.test") is None
    assert await destinations.find("new.test") is not None
