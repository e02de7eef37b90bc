"""Several real servers that know each other: each a process with sockets and TLS, and one authority for all.

    async with allied_servers(place, 2) as (here, there): ...

A server's name is 127.0.0.1 with the port of its federation listener, so that nobody need be asked where it is.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.builders.certificate import CertificateAuthority
from tests.builders.process import ServerProcess, disposed, free_port

SETTINGS = """\
server_name: 127.0.0.1:{federation}
listeners:
  - address: 127.0.0.1:{clients}
    resources: [client, metrics]
  - address: 127.0.0.1:{federation}
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
        self.federation_port = free_port()
        self.name = f"127.0.0.1:{self.federation_port}"
        certificate, key = authority.issue("127.0.0.1")
        clients = free_port()
        settings = directory / "parley.yaml"
        settings.write_text(
            SETTINGS.format(
                federation=self.federation_port,
                clients=clients,
                certificate=certificate,
                key=key,
                authority=authority.ca_file,
            )
        )
        super().__init__(directory, server_name=None, listen=(), arguments=("--config", str(settings)))


@asynccontextmanager
async def allied_servers(place: Path, count: int) -> AsyncIterator[list[Ally]]:
    """Started and healthy. Stopped, and their logs read, at the end."""
    authority = CertificateAuthority.make(place / "authority")
    async with AsyncExitStack() as stack:
        allies = [Ally(place / f"server{number}", authority) for number in range(count)]
        for ally in allies:
            await stack.enter_async_context(disposed(ally))
            await ally.start()
        yield allies
