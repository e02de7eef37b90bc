"""What a scenario is, and what it is given to work with."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.benchmarks.driver import Client
from tests.benchmarks.phase import Meter, Phase
from tests.benchmarks.results import Operation, Sample
from tests.benchmarks.scenery import Place, Scale, Scenery
from tests.benchmarks.servers import Hash, Server


class WrongAnswer(Exception):
    """A server answered, but not what it had to: its figures do not count."""


def expect(condition: bool, otherwise: str) -> None:
    """Raises WrongAnswer unless the condition holds."""
    if not condition:
        raise WrongAnswer(otherwise)


@dataclass
class Bench:
    """One running server, its scenery, and the size of things."""

    server: Server
    client: Client
    scale: Scale
    scenery: Scenery

    def phase(self) -> Phase:
        """A measured stretch on this server."""
        return Phase(self.meter())

    def meter(self) -> Meter:
        return Meter(self.server.pids)

    def place(self, part: str) -> Place:
        """A part of the scenery that the scenario said it needs."""
        return self.scenery[part]

    def restart(self, password_hash: Hash = "cheapest") -> None:
        """Starts the server anew; tokens and rooms stay."""
        self.client.close()
        self.server.restart(password_hash)


@dataclass(frozen=True)
class Scenario:
    """A story that is played on each server, the lines of the table that it fills, and the scenery it needs."""

    name: str
    operations: tuple[Operation, ...]
    run: Callable[[Bench], Awaitable[list[Sample]]]
    needs: frozenset[str] = frozenset()
