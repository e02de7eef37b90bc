"""Which databases are taken, and that migrations lead to the tables of the schema."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text

from homeserver.storage.database import open_engine
from homeserver.storage.schema.base import PRODUCT
from homeserver.storage.schema.tables import metadata
from homeserver.storage.upgrade import UnusableDatabase, upgrade_database
from tests.builders.cluster import SERVER_NAME, Cluster


@pytest.fixture(scope="module")
def shared(cluster: Cluster) -> Iterator[Engine]:
    url = cluster.new_empty_database()
    engine = open_engine(url)
    yield engine
    engine.dispose()
    cluster.drop(url)


@pytest.fixture
def empty(shared: Engine) -> Engine:
    """A database in which nothing is."""
    run(shared, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return shared


@pytest.fixture
def ours(empty: Engine) -> Engine:
    upgrade_database(empty, SERVER_NAME)
    return empty


def run(engine: Engine, sql: str) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql(sql)


def server_row(engine: Engine) -> tuple[object, ...]:
    with engine.connect() as connection:
        return tuple(connection.execute(text("SELECT * FROM server")).one())


def tables(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        return set(connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars())


def test_empty_database_is_taken(empty: Engine) -> None:
    """Every table is made, and the database says whose it is."""
    upgrade_database(empty, SERVER_NAME)

    assert tables(empty) == set(metadata.tables) | {"alembic_version"}
    assert server_row(empty) == (1, PRODUCT, SERVER_NAME, 0, 0)


def test_upgrade_can_be_repeated(ours: Engine) -> None:
    """A second start changes nothing."""
    run(ours, "UPDATE server SET positions_reserved = 30000")
    before = server_row(ours)
    upgrade_database(ours, SERVER_NAME)

    assert server_row(ours) == before


def test_two_at_once(empty: Engine) -> None:
    """Of two processes that start at the same time one migrates, and the other finds it done."""
    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(upgrade_database, empty, SERVER_NAME) for _ in range(2)]:
            future.result()

    assert server_row(empty) == (1, PRODUCT, SERVER_NAME, 0, 0)


FOREIGN = {
    "any table": "CREATE TABLE users (id int)",
    "another alembic": "CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('0001')",
    "a server table": (
        "CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('0001');"
        "CREATE TABLE server (id int, hostname text)"
    ),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_foreign_database_is_refused(empty: Engine, what: str) -> None:
    """A database with tables that are not ours is left as it is."""
    run(empty, FOREIGN[what])
    before = tables(empty)
    with pytest.raises(UnusableDatabase, match=r"not Parley's\. Give Parley an empty database"):
        upgrade_database(empty, SERVER_NAME)

    assert tables(empty) == before


def test_database_of_another_product_is_refused(ours: Engine) -> None:
    """A database that looks like ours and says that it is not, is not."""
    run(ours, "UPDATE server SET product = 'another'")
    with pytest.raises(UnusableDatabase, match="belongs to another program"):
        upgrade_database(ours, SERVER_NAME)


def test_newer_database_is_refused(ours: Engine) -> None:
    """What a later version wrote cannot be read by this one, and the message says so."""
    run(ours, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(UnusableDatabase, match=r"newer Parley \(schema 9999\)"):
        upgrade_database(ours, SERVER_NAME)


def test_database_of_another_server_is_refused(ours: Engine) -> None:
    """A server's name stands in all its events: the database is refused, before anything in it is touched."""
    before = server_row(ours)
    with pytest.raises(UnusableDatabase, match=r"'test\.example', not to 'other\.example'"):
        upgrade_database(ours, "other.example")

    assert server_row(ours) == before


def test_migrations_lead_to_the_schema(ours: Engine) -> None:
    """The tables that the migrations make are those of homeserver/storage/schema, with comments and indexes."""
    with ours.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_indexes_are_those_of_the_schema(ours: Engine, cluster: Cluster) -> None:
    """Also what alembic does not compare: keys in their order, conditions, and storage parameters."""
    url = cluster.new_empty_database()
    direct = open_engine(url)
    metadata.create_all(direct)
    facts = text(
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version' UNION ALL"
        " SELECT relname || ' ' || coalesce(reloptions::text, '') FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace AND relname !~ 'alembic' ORDER BY 1"
    )
    with direct.connect() as by_schema, ours.connect() as by_migrations:
        wanted, made = by_schema.execute(facts).scalars().all(), by_migrations.execute(facts).scalars().all()
    direct.dispose()
    cluster.drop(url)

    assert made == wanted
    assert {"rooms {fillfactor=40}", "receipts {fillfactor=70}"} <= set(made)
