"""Bursts of work: all of it, in order, and a turn for others in between."""

import asyncio

from homeserver.streams.turns import PER_TURN, Turns
from tests.builders.waiting import until


async def test_everything_in_order_with_turns_for_others() -> None:
    """More than fits one turn is spread over several."""
    turns, done = Turns(), list[int]()
    for number in range(3 * PER_TURN):
        turns.soon(lambda number=number: done.append(number))  # type: ignore[misc]
    lengths: list[int] = []
    while len(turns):
        await asyncio.sleep(0)
        lengths.append(len(done))
    assert done == list(range(3 * PER_TURN))
    assert {PER_TURN, 2 * PER_TURN} <= set(lengths)


async def test_one_that_fails_keeps_nobody_waiting() -> None:
    """The loop is told of the failure, and the others go on."""
    turns, done, told = Turns(), list[str](), list[BaseException]()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))

    def fail() -> None:
        raise ValueError("as the test wants it")

    for work in (lambda: done.append("a"), fail, lambda: done.append("b")):
        turns.soon(work)
    await until(lambda: len(turns) == 0, what="all is done")
    loop.set_exception_handler(None)
    assert done == ["a", "b"]
    assert [type(error) for error in told] == [ValueError]


async def test_work_that_brings_work() -> None:
    """It waits for its turn behind the others."""
    turns, done = Turns(), list[str]()
    turns.soon(lambda: turns.soon(lambda: done.append("later")))
    turns.soon(lambda: done.append("first"))
    await until(lambda: len(turns) == 0, what="all is done")
    assert done == ["first", "later"]
