"""Brings a database to the tables of today, or says why it must not be touched."""

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import OperationalError

from homeserver.domain.errors import ParleyError
from homeserver.storage.schema.base import PRODUCT

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 7_305_001  # an advisory lock: two processes that start at once must not both migrate


class UnusableDatabase(ParleyError):
    """The database holds something that is not ours, or that a newer Parley wrote. The message says what to do."""


def upgrade_database(engine: Engine, server_name: str) -> None:
    """Makes or migrates the tables. Raises UnusableDatabase for a foreign, newer or otherwise named database."""
    from alembic import command  # alembic is needed for a moment at start: its memory is not worth keeping
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with _connect(engine) as connection:
        connection = connection.execution_options(isolation_level="READ COMMITTED")
        with connection.begin():
            # A migration of large tables, or waiting for one, may take as long as it needs.
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
            known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
            _check_ours(connection, known)
            _check_name(connection, server_name)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.execute(
                text(
                    "INSERT INTO server (id, product, server_name, positions_reserved, numbers_reserved)"
                    " VALUES (1, :product, :server_name, 0, 0) ON CONFLICT DO NOTHING"
                ),
                {"product": PRODUCT, "server_name": server_name},
            )


def _connect(engine: Engine) -> Connection:
    try:
        return engine.connect()
    except OperationalError as error:
        raise UnusableDatabase(f"The database does not answer: {str(error.orig).strip()}") from error


def _check_ours(connection: Connection, known: set[str]) -> None:
    found = inspect(connection)
    tables = set(found.get_table_names())
    if not tables:
        return
    columns = {column["name"] for column in found.get_columns("server")} if "server" in tables else set()
    if not {"server", "alembic_version"} <= tables or not {"id", "product", "server_name"} <= columns:
        raise UnusableDatabase(
            "This database holds tables that are not Parley's. Give Parley an empty database of its own."
        )
    revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if revision not in known:
        raise UnusableDatabase(
            f"This database was written by a newer Parley (schema {revision}). Run that version or a later one;"
            " going back is not possible."
        )


def _check_name(connection: Connection, server_name: str) -> None:
    """Before anything is migrated."""
    if "server" not in inspect(connection).get_table_names():
        return
    for product, name in connection.execute(text("SELECT product, server_name FROM server WHERE id = 1")):
        if product != PRODUCT:
            raise UnusableDatabase("This database belongs to another program. Give Parley a database of its own.")
        if name != server_name:
            raise UnusableDatabase(
                f"This database belongs to the server {name!r}, not to {server_name!r}. A server's name cannot change:"
                f" set server_name back to {name!r}, or use another database."
            )
