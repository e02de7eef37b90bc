"""Receipts at once: the later place stays."""

import asyncio
import threading

from homeserver.storage.receipts import ReceiptRow
from homeserver.storage.store import Store
from tests.builders.house import TestHouse

USER = "@a:test.example"


async def test_two_writers_of_one_receipt(house: TestHouse) -> None:
    """Who compares a receipt with what stands there holds it: the other waits and compares with the new one."""
    begun, go_on = threading.Event(), threading.Event()

    def move(store: Store, anchor: int) -> bool:
        standing = store.receipts.find(1, USER, "m.read", "")
        begun.set()
        assert go_on.wait(20)
        if standing is not None and standing.anchor is not None and standing.anchor >= anchor:
            return False
        position = store.take_position()
        store.receipts.put(ReceiptRow(1, USER, "m.read", "", f"${anchor}", anchor, 0, position))
        return True

    go_on.set()
    assert await house.database.write(lambda store: move(store, 5))
    begun.clear()
    go_on.clear()
    later = asyncio.create_task(house.database.write(lambda store: move(store, 20)))
    assert await asyncio.to_thread(begun.wait, 20)
    earlier = asyncio.create_task(house.database.write(lambda store: move(store, 10)))
    go_on.set()

    assert await later
    assert not await earlier
    row = await house.database.write(lambda store: store.receipts.find(1, USER, "m.read", ""))
    assert row is not None
    assert row.anchor == 20
