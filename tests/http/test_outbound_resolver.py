"""Names to addresses by the system."""

import asyncio

import pytest

from homeserver.http.outbound.resolver import SystemResolver


async def test_a_name_of_this_machine() -> None:
    """The hosts file counts, and the port comes along."""
    assert ("127.0.0.1", 77) in await SystemResolver().resolve("localhost", 77)


@pytest.mark.parametrize("name", ["a" * 64 + ".test", "a..test", "a\0b"])
async def test_what_can_be_no_name(name: str) -> None:
    """OSError, as for a name without address."""
    with pytest.raises(OSError, match="no address for"):
        await SystemResolver().resolve(name, 1)


async def test_look_ups_are_bounded() -> None:
    """One runs, one waits, the third is refused; and whoever goes away leaves room behind."""
    resolver = SystemResolver(at_once=1, max_waiting=1)
    first, second, third = (asyncio.ensure_future(resolver.resolve("localhost", number)) for number in range(3))
    with pytest.raises(OSError, match="too many"):
        await third
    first.cancel()
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    assert await resolver.resolve("localhost", 1)
