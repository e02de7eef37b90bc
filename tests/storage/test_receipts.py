"""Receipts at once: the later place stays."""

import asyncio
import threading
from collections.abc import Callable

from sqlalchemy import Engine

from homeserver.storage.receipts import ReceiptRow
from homeserver.storage.store import Store
from tests.builders.house import TestHouse
from tests.storage.journal import wait_for_a_lock

USER = "@a:test.example"


class Move:
    """Moves a receipt to `anchor` unless it stands there or later; looks, and writes when it is told to."""

    def __init__(self, anchor: int) -> None:
        self._anchor = anchor
        self.looked = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, store: Store) -> bool:
        standing = store.receipts.find(1, USER, "m.read", "")
        self.looked.set()
        assert self.go_on.wait(20)
        if standing is not None and standing.anchor is not None and standing.anchor >= self._anchor:
            return False
        position = store.take_position()
        store.receipts.put(ReceiptRow(1, USER, "m.read", "", f"${self._anchor}", self._anchor, 0, position))
        return True


async def test_two_writers_of_one_receipt(house: TestHouse, engine: Engine) -> None:
    """Who compares a receipt with what stands there holds it: the other waits and compares with the new one."""
    first, later, earlier = Move(5), Move(20), Move(10)
    first.go_on.set()
    assert await house.database.write(first)
    tasks = [asyncio.create_task(house.database.write(later))]
    assert await asyncio.to_thread(later.looked.wait, 20)
    tasks.append(asyncio.create_task(house.database.write(earlier)))
    is_in: Callable[[], bool] = earlier.looked.is_set
    await asyncio.to_thread(wait_for_a_lock, engine, is_in)
    later.go_on.set()
    earlier.go_on.set()

    assert await asyncio.gather(*tasks) == [True, False]
    row = await house.database.write(lambda store: store.receipts.find(1, USER, "m.read", ""))
    assert row is not None
    assert row.anchor == 20
