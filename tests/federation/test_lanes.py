"""How many calls to one server are under way at once."""

import asyncio

import pytest

from federation.lanes import Lanes, TooManyWaiting


async def test_lanes() -> None:
    """Some run, some wait in order, more are refused; other servers are not concerned, and nothing is left behind."""
    lanes = Lanes(at_once=2, max_waiting=2)
    under_way: list[int] = []
    go_on = asyncio.Event()

    async def call(number: int, name: str = "one.test") -> None:
        async with lanes.place(name):
            under_way.append(number)
            await go_on.wait()

    tasks = [asyncio.ensure_future(call(number)) for number in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyWaiting):
        await call(4)
    other = asyncio.ensure_future(call(5, "two.test"))
    await asyncio.sleep(0)
    assert under_way == [0, 1, 5]
    tasks[2].cancel()
    go_on.set()
    await asyncio.gather(*tasks, other, return_exceptions=True)
    assert under_way == [0, 1, 5, 3]
    assert len(lanes) == 0
