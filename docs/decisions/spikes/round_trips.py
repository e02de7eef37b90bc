"""Decision 9: what does a send cost if every statement is a round trip of its own?"""

import asyncio
import time
from typing import Any

from docs.decisions.spikes.ground import Ground, Meter, count_round_trips, ground, new_room, say, send
from homeserver.storage.transaction import Statement, Transaction

MESSAGES = 500


class Deferring:
    """Switches what `defer` and BEGIN do: travel with the next statement, or at once."""

    defer = Transaction.defer
    init = Transaction.__init__
    commit = Transaction.commit

    @classmethod
    def off(cls) -> None:
        def defer(transaction: Transaction, statement: Statement, *arguments: Any) -> None:
            cls.defer(transaction, statement, *arguments)
            transaction._send()

        def begin(transaction: Transaction, session: Any, text: bytes) -> None:
            cls.init(transaction, session, text)
            if text:
                transaction._send()

        Transaction.defer, Transaction.__init__ = defer, begin  # type: ignore[method-assign,assignment]


async def measure(ground: Ground, room: str, user: str, name: str, first: int) -> None:
    for number in range(20):
        await send(ground.house, user, room, first + number)
    meter, started = Meter(ground.server), time.perf_counter()
    for number in range(20, 20 + MESSAGES):
        await send(ground.house, user, room, first + number)
    wall = 1000 * (time.perf_counter() - started) / MESSAGES
    own, backends = meter.cpu()
    say(
        f"{name}: {meter.statements_per(MESSAGES)}, {wall:.2f} ms, {own / MESSAGES:.2f} ms CPU in Parley"
        f" + {backends / MESSAGES:.2f} in PostgreSQL"
    )


async def main() -> None:
    count_round_trips()
    async with ground() as under:
        room, users = await new_room(under.house, 2)
        await measure(under, room, users[0], "deferred", 0)
        Deferring.off()
        await measure(under, room, users[0], "one by one", 10_000)


if __name__ == "__main__":
    asyncio.run(main())
