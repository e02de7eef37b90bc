"""Story: three servers are parted, their people go on, ban each other and come back, and the servers meet again.

The seed is drawn from the commit, so that each commit tries another history; `make netsplit` tries many.
"""

import subprocess
from contextlib import AsyncExitStack
from pathlib import Path

from tests.builders.allies import allied_servers
from tests.conformance.client import MatrixClient
from tests.netsplit.people import PEOPLE
from tests.netsplit.split import VERSIONS, split_and_heal

ROOT = Path(__file__).parents[2]
MESSAGES = 25


def seed_of_the_commit() -> int:
    """The same for everybody who tests this commit; 1 where there is no repository."""
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return int(found.stdout[:8], 16) if found.returncode == 0 else 1


async def test_three_servers_agree_after_a_netsplit(fresh: Path) -> None:
    """In every room version that still matters: the same state, and the same events, whatever the verdicts."""
    seed = seed_of_the_commit()
    async with allied_servers(fresh, 3) as allies, AsyncExitStack() as stack:
        clients: list[list[MatrixClient]] = []
        for number, ally in enumerate(allies):
            people = [await stack.enter_async_context(MatrixClient(ally.url)) for _ in range(PEOPLE)]
            for index, person in enumerate(people):
                await person.register(f"p{number}{index}")
            clients.append(people)
        for version in VERSIONS:
            outcome = await split_and_heal(allies, clients, version, seed, MESSAGES)
            print(f"version {version}, seed {seed}: {outcome}")
            # However many are banned, the moderators of all three speak, before and after.
            assert outcome.sent >= 6
