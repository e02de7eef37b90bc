"""A PostgreSQL for the tests of one process: the embedded one, without waiting for the disk.

One cluster per test process, one template database with the schema, and a copy of it for each test that asks.
"""

import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, text

from homeserver.storage.database import open_engine
from homeserver.storage.embedded import EmbeddedPostgres
from homeserver.storage.upgrade import upgrade_database

SERVER_NAME = "test.example"
_TEMPLATE = "template_of_tests"


class Cluster:
    """`url(name)` is a database's address."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self.postgres = postgres
        address = postgres.start()
        self._url = address.url
        self._numbers = itertools.count(1)
        self._admin = create_engine(
            self._url.replace("postgresql://", "postgresql+psycopg2://", 1), isolation_level="AUTOCOMMIT"
        )
        self._do(f"CREATE DATABASE {_TEMPLATE}")
        engine = open_engine(self.url(_TEMPLATE))
        upgrade_database(engine, SERVER_NAME)
        engine.dispose()

    def url(self, name: str) -> str:
        return self._url.replace("/parley?", f"/{name}?", 1)

    def new_database(self, template: str = _TEMPLATE, server_name: str = SERVER_NAME) -> str:
        """The address of a fresh database that holds Parley's tables, or what `template` holds."""
        name = f"test_{next(self._numbers)}"
        self._do(f"CREATE DATABASE {name} TEMPLATE {template}")
        url = self.url(name)
        if server_name != SERVER_NAME:
            engine = open_engine(url)
            with engine.connect() as connection:
                connection.execute(text("UPDATE server SET server_name = :name"), {"name": server_name})
            engine.dispose()
        return url

    def new_empty_database(self) -> str:
        name = f"test_{next(self._numbers)}"
        self._do(f"CREATE DATABASE {name} TEMPLATE template0")
        return self.url(name)

    def drop(self, url: str) -> None:
        name = url.split("/")[3].split("?")[0]
        self._do(f"DROP DATABASE {name} WITH (FORCE)")

    def close(self) -> None:
        self._admin.dispose()
        self.postgres.stop()

    def _do(self, sql: str) -> None:
        with self._admin.connect() as connection:
            connection.execute(text(sql))


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """A cluster in a directory of its own, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="parley-tests-", dir="/tmp", ignore_cleanup_errors=True) as directory:
        os.chmod(directory, 0o711)  # the account that runs PostgreSQL must be able to enter
        # A worker of autovacuum is nobody that DROP DATABASE may end.
        options = {"fsync": "off", "synchronous_commit": "off", "max_connections": "60", "autovacuum": "off"}
        cluster = Cluster(EmbeddedPostgres(Path(directory), SERVER_NAME, extra_options=options))
        try:
            yield cluster
        finally:
            cluster.close()
