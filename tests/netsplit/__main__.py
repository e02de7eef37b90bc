"""`make netsplit`: ten seeds and 1,000 messages a side for each room version from 6 to 12."""

import argparse
import asyncio
import secrets
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

from tests.builders.allies import allied_servers
from tests.builders.process import server_directory
from tests.conformance.client import MatrixClient
from tests.netsplit.people import PEOPLE
from tests.netsplit.split import VERSIONS, split_and_heal


async def run(place: Path, versions: list[str], seeds: list[int], messages: int) -> int:
    async with allied_servers(place, 3) as allies, AsyncExitStack() as stack:
        clients: list[list[MatrixClient]] = []
        for number, ally in enumerate(allies):
            people = [await stack.enter_async_context(MatrixClient(ally.url)) for _ in range(PEOPLE)]
            for index, person in enumerate(people):
                await person.register(f"p{number}{index}")
            clients.append(people)
        for version in versions:
            for seed in seeds:
                began = time.monotonic()
                outcome = await split_and_heal(allies, clients, version, seed, messages)
                hidden = {name: len(ids) for name, ids in outcome.soft_failed.items()}
                print(
                    f"version {version} seed {seed}: {outcome.events} events, {outcome.state} in the state, agreed"
                    f" after {time.monotonic() - began:.0f} s; {outcome.done}; hidden {hidden}",
                    flush=True,
                )
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.netsplit", description=__doc__)
    parser.add_argument("--versions", nargs="+", default=VERSIONS)
    parser.add_argument("--seeds", type=int, default=10, help="how many")
    parser.add_argument("--seed", type=int, default=None, help="this one only")
    parser.add_argument("--messages", type=int, default=1000)
    wanted = parser.parse_args()
    first = secrets.randbelow(10**6)
    seeds = [wanted.seed] if wanted.seed is not None else [first + number for number in range(wanted.seeds)]
    print(f"seeds {seeds}", flush=True)
    with server_directory() as place:
        return asyncio.run(run(place, wanted.versions, seeds, wanted.messages))


if __name__ == "__main__":
    sys.exit(main())
