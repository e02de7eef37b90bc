"""Several real servers that know each other: each a process with sockets and TLS, and one authority for all.

    async with allied_servers(place, 2) as (here, there): ...

A server's name is 127.0.0.1 with a port, so that nobody need be asked where it is. On that port stands a relay, and
behind it the server's federation listener: `cut` and `heal` part a server from all others and join them again.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg2

from tests.builders.certificate import CertificateAuthority
from tests.builders.process import ServerProcess, disposed, free_port
from tests.builders.relay import Relay, running_relay

SETTINGS = """\
server_name: 127.0.0.1:{federation}
listeners:
  - address: 127.0.0.1:{clients}
    resources: [client, metrics]
  - address: 127.0.0.1:{behind}
    resources: [federation]
    tls:
      certificate: {certificate}
      key: {key}
federation:
  ca_file: {authority}
"""


class Ally(ServerProcess):
    """A server among others. `name` is its server name."""

    def __init__(self, directory: Path, authority: CertificateAuthority, **options: object) -> None:
        directory.mkdir(exist_ok=True)
        directory.chmod(0o711)
        self.federation_port, self.behind_port = free_port(), free_port()
        self.name = f"127.0.0.1:{self.federation_port}"
        certificate, key = authority.issue("127.0.0.1")
        clients = free_port()
        settings = directory / "parley.yaml"
        settings.write_text(
            SETTINGS.format(
                federation=self.federation_port,
                behind=self.behind_port,
                clients=clients,
                certificate=certificate,
                key=key,
                authority=authority.ca_file,
            )
        )
        super().__init__(directory, server_name=None, listen=(), arguments=("--config", str(settings)))
        self.relay: Relay | None = None

    def cut(self) -> None:
        """No other server reaches this one."""
        assert self.relay is not None
        self.relay.cut()

    def heal(self) -> None:
        assert self.relay is not None
        self.relay.heal()

    def rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """What stands in the tables of a running server."""
        folder = self.data / "socket"
        connection = psycopg2.connect(host=str(folder), dbname="parley", user="parley")
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, parameters)
                return cursor.fetchall()
        finally:
            connection.close()


@asynccontextmanager
async def allied_servers(place: Path, count: int) -> AsyncIterator[list[Ally]]:
    """Started and healthy. Stopped, and their logs read, at the end."""
    authority = CertificateAuthority.make(place / "authority")
    async with AsyncExitStack() as stack:
        allies = [Ally(place / f"server{number}", authority) for number in range(count)]
        for ally in allies:
            ally.relay = await stack.enter_async_context(running_relay(ally.federation_port, ally.behind_port))
            await stack.enter_async_context(disposed(ally))
            await ally.start()
        yield allies
