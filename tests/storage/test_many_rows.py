"""Many values at once: arrays as literals, rows by COPY, and plans that do not scan, made while a table was empty."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from homeserver.storage.events import HELD
from homeserver.storage.store import Store
from homeserver.storage.transaction import Statement
from tests.builders.house import TestHouse

LIKE_NULL = ["", "NULL", "null", "\\N", "\\."]
NASTY = [*LIKE_NULL, '"', "\\", '\\"', "{", "}", ",", "a b", " ", "\t", "\n", "\r", "'", "é\U0001f600"]
ARRAYS: dict[str, Sequence[Sequence[Any]]] = {
    "text[]": [[], NASTY, [None, *NASTY, None], ["one"]],
    "bigint[]": [[], [0, -1, 2**63 - 1, -(2**63)], [None, 7], [None]],
    "boolean[]": [[True, False], [None, True]],
}


@pytest.mark.parametrize("kind", ARRAYS)
async def test_arrays_arrive_as_they_were_given(house: TestHouse, kind: str) -> None:
    """Whatever stands in them: quotes, backslashes, braces, what looks like NULL, and NULL itself."""
    echo = Statement(f"echo_{kind[:-2]}", kind, "SELECT $1")
    for values in ARRAYS[kind]:
        given = list(values)
        found = await house.database.read(partial(_fetch, echo, given))
        assert found == [(given,)]


def _fetch(statement: Statement, argument: object, store: Store) -> list[tuple[Any, ...]]:
    return store.transaction.fetch(statement, argument)


async def test_copied_rows_arrive_as_they_were_given(house: TestHouse) -> None:
    """Each type that rows are made of, and the end of the data is not where a text says so."""
    rows: list[tuple[Any, ...]] = [
        (number, text, None, number % 2 == 0, [number, -number]) for number, text in enumerate(NASTY)
    ]
    rows.append((99, None, 2**63 - 1, None, []))

    def work(store: Store) -> tuple[list[tuple[Any, ...]], int]:
        store.transaction.text(
            "CREATE TEMP TABLE copied (a bigint, b text, c bigint, d boolean, e bigint[]) ON COMMIT DROP"
        )
        store.transaction.copy_rows("copied (a, b, c, d, e)", [])
        before = store.statements
        store.transaction.copy_rows("copied (a, b, c, d, e)", rows)
        return store.transaction.text("SELECT a, b, c, d, e FROM copied ORDER BY a"), store.statements - before

    found, statements = await house.database.write(work)
    assert found == rows
    assert statements == 2


async def test_a_plan_made_for_an_empty_table_uses_the_index(house: TestHouse) -> None:
    """A connection keeps its plans: one that scans would still do so when the table has grown."""

    def work(store: Store) -> str:
        for _ in range(8):
            store.events.list_held(["$none"])
        plan = store.transaction.text(f"EXPLAIN EXECUTE {HELD.name}('{{$none}}')")
        return "\n".join(line for (line,) in plan)

    plan = await house.database.read(work)
    assert "events_event_id_key" in plan
    assert "Seq Scan" not in plan
