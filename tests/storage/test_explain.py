"""No hot statement reads a table from end to end: what a room costs does not depend on how many others there are."""

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ARRAY, Boolean, Connection, Engine, Integer, LargeBinary, Table, text

from homeserver import storage
from homeserver.storage.database import open_engine
from homeserver.storage.schema.tables import metadata
from homeserver.storage.transaction import Statement
from tests.builders.cluster import Cluster

ROWS = 6_000
# One row, or one for each follower.
SMALL = {"server", "followers"}
PUBLISHED = "of the published rooms alone: the directory is one list, in the order of members"
# (statement, table): why it may read all of it.
ALLOWED: dict[tuple[str, str], str] = {
    ("list_published_after", "rooms"): PUBLISHED,
    ("list_published_before", "rooms"): PUBLISHED,
    ("SELECT count(*) FROM rooms WHERE published AND joined > 0", "rooms"): PUBLISHED,
    ("DELETE FROM silences", "silences"): "all of it is replaced, at an end; at most MAX_SILENCES rows",
    ("DELETE FROM silences RETURNING room, position", "silences"): "all of it is taken, at a start",
    ("SELECT DISTINCT room FROM room_servers", "room_servers"): "once, at a start: every shared room is wanted",
    ("SELECT DISTINCT room_id FROM staged_pdus", "staged_pdus"): "once, at a start: whatever waits is gone on with",
    ("SELECT server, position, receipts FROM unsent ORDER BY server", "unsent"): "a row for each server that lags",
}

# How a row is made of its number g, where that matters for what a key finds. Rooms differ in size, 100 rows on average.
ROOM = "(g * 7919) % 60 + g % 2"
SHAPES: dict[str, str] = {
    "*.room": ROOM,
    "*.user_id": "'x' || (g * 31) % 500",
    "*.anchor": "g",
    "*.position": "g",
    "*.key": "(g * 37) % 6000",
    "*.membership": "(ARRAY['join', 'join', 'join', 'leave', 'invite'])[g % 5 + 1]",
    "count_exceptions.anchor": "g",
    "current_state.key": "g",
    "events.anchor": "nullif(g, g / 50 * 50)",
    "events.key": "CASE WHEN g % 4 = 0 THEN (g * 37) % 6000 END",
    "events.live": "g % 20 > 0",
    "events.sender": "'x' || g % 40",
    "events.txn_id": "CASE WHEN g % 3 = 0 THEN 'x' || g END",
    "forgotten.room": "g",
    "invite_states.room": "g",
    "account_data.room": "g % 30",
    "memberships.room": "g",
    "notice_rooms.user_id": "'x' || g",
    "presence.user_id": "'x' || g",
    "receipts.user_id": "'x' || g",
    "relations.key": "'x' || g",
    "relations.anchor": "g",
    "relations.sender": "'x' || g % 40",
    "user_limits.per_second": "g",
    "relations.relates_to": "'x' || g % 2000",
    "rooms.published": "g % 50 = 0",
    "rule_classes.room": "0",
    "search.edit": "CASE WHEN g % 50 = 0 THEN g END",
    "search.grams": "ARRAY[g % 700, g % 900 + 1000]",
    "search.words": "to_tsvector('simple', 'x' || g % 500)",
    "room_server_changes.server": "'x' || g % 200",
    "room_servers.joined": "g % 4",
    "room_servers.room": "g % 3000",
    "room_servers.server": "'x' || g % 211",
    "server_keys.key": "int8send(g)",
    "silences.room": "g",
    "staged_pdus.room_id": "'x' || g % 60",
    "state_groups.parent": "nullif(g - g % 4, g)",
    "state_merges.parents": "ARRAY[g, g + 1]",
    "users.user_id": "'x' || g",
}
SAMPLES = {
    "bigint": "17",
    "bigint[]": "'{17, 18, 19}'",
    "boolean": "true",
    "boolean[]": "'{true, false, true}'",
    "bytea": "'\\x11'",
    "int": "5",
    "int[]": "'{5, 6, 7}'",
    "smallint": "1",
    "text": "'x17'",
    "text[]": "'{x17, x18, x19}'",
}


def all_statements() -> list[Statement]:
    """Those of every module of storage."""
    found: dict[int, Statement] = {}
    for module in pkgutil.iter_modules(storage.__path__, "homeserver.storage."):
        if not module.ispkg:
            values = vars(importlib.import_module(module.name)).values()
            found.update({id(value): value for value in values if isinstance(value, Statement)})
    return sorted(found.values(), key=lambda statement: statement.name)


def all_texts() -> list[str]:
    """The SQL that modules of storage send unprepared, its parameters as $1, $2 ..."""
    found: set[str] = set()
    for path in Path(storage.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            sql = node.args[0]
            if node.func.attr in ("text", "defer_text") and isinstance(sql, ast.Constant):
                first, *others = str(sql.value).split("%s")
                found.add(first + "".join(f"${number}{part}" for number, part in enumerate(others, 1)))
    return sorted(found)


STATEMENTS = all_statements()
TEXTS = all_texts()


def fill(connection: Connection, table: Table) -> None:
    """ROWS rows that differ in every column."""
    values = []
    for column in table.columns:
        shape = SHAPES.get(f"{table.name}.{column.name}") or SHAPES.get(f"*.{column.name}")
        if shape is None:
            match column.type:
                case ARRAY():
                    shape = "'{1, 2}'"
                case Boolean():
                    shape = "g % 2 = 0"
                case Integer():
                    shape = "g % 30000"
                case LargeBinary():
                    shape = "int8send(g)"
                case _:
                    shape = "'x' || g"
        values.append(shape)
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    sql = f"INSERT INTO {table.name} ({names}) SELECT {', '.join(values)} FROM generate_series(1, {ROWS}) AS g"
    connection.execute(text(f"{sql} ON CONFLICT DO NOTHING"))
    assert connection.execute(text(f"SELECT count(*) FROM {table.name}")).scalar_one() > ROWS / 4, table.name


@pytest.fixture(scope="module")
def full(cluster: Cluster) -> Iterator[Connection]:
    """A connection to a database with thousands of rows in every table, all statements prepared on it."""
    url = cluster.new_database()
    engine: Engine = open_engine(url)
    with engine.connect() as connection:
        for table in metadata.sorted_tables:
            if table.name not in SMALL:
                fill(connection, table)
        connection.execute(text("VACUUM ANALYZE"))
        # The house's connections avoid scans. Here the planner shows whether an index serves as well.
        connection.execute(text("SET enable_seqscan = on"))
        for statement in STATEMENTS:
            connection.exec_driver_sql(statement.prepare.decode().replace("%", "%%"))
        yield connection
    engine.dispose()
    cluster.drop(url)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def full_scans(plan: dict[str, Any]) -> Iterator[str]:
    """The tables that a plan reads from end to end, be it in the order of an index."""
    for node in nodes(plan):
        kind, table = node["Node Type"], node.get("Relation Name")
        by_index = kind in ("Index Scan", "Index Only Scan", "Bitmap Index Scan")
        if kind == "Seq Scan" or (by_index and "Index Cond" not in node):
            yield table or node["Index Name"]


def types_of(statement: Statement) -> list[str]:
    """The types of its parameters."""
    head = statement.prepare.decode().split(" AS ", 1)[0]
    return [part.strip() for part in head[head.index("(") + 1 : -1].split(",")] if "(" in head else []


def test_names_are_unique() -> None:
    """Two statements of one name would be one on the connection."""
    names = [statement.name for statement in STATEMENTS]
    assert len(names) > 50
    assert sorted(set(names)) == names


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda statement: statement.name)
def test_no_statement_scans_a_table(full: Connection, statement: Statement, mode: str) -> None:
    """With thousands of rows everywhere, the planner finds an index for each statement, and a key to look up in it."""
    full.execute(text(f"SET plan_cache_mode = {mode}"))
    arguments = ", ".join(SAMPLES[kind] for kind in types_of(statement))
    execute = f"EXECUTE {statement.name}" + (f"({arguments})" if arguments else "")
    plan = full.execute(text(f"EXPLAIN (FORMAT JSON) {execute}")).scalar_one()[0]["Plan"]
    scanned = {table for table in full_scans(plan) if (statement.name, table) not in ALLOWED}

    assert scanned <= SMALL, plan


@pytest.mark.parametrize("sql", TEXTS)
def test_no_text_scans_a_table(full: Connection, sql: str) -> None:
    """The same for what is not hot enough to be prepared: it is sent on behalf of strangers too."""
    plan = full.exec_driver_sql(f"EXPLAIN (GENERIC_PLAN, FORMAT JSON) {sql}").scalar_one()[0]["Plan"]
    scanned = {table for table in full_scans(plan) if (sql, table) not in ALLOWED}

    assert scanned <= SMALL, plan
