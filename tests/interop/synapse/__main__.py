"""`make interop`: every story with a real Synapse, each side as host, in rooms of versions 10, 11 and 12.

`python -m tests.interop.synapse --stories talk fork --hosts parley --versions 12 --seeds 0 --keep /tmp/somewhere`
"""

import argparse
import asyncio
import itertools
import sys
import time
import traceback
from pathlib import Path

from homeserver.domain.versions import ROOM_VERSIONS
from tests.builders.process import server_directory
from tests.interop.synapse.listed import HOSTS, STORIES, VERSIONS, can_be_told, meeting
from tests.interop.synapse.people import Servers, two_servers

SHOWN = 3_000


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def tell(servers: Servers, name: str, host: str, version: str, seed: int) -> bool:
    """Whether the story ended well."""
    began = time.monotonic()
    problem = ""
    try:
        await STORIES[name](meeting(servers, host, version, seed))
    except Exception as error:  # noqa: BLE001 - the edge of one story: the others are told too
        where = traceback.extract_tb(error.__traceback__)
        steps = [f"{Path(one.filename).name}:{one.lineno}" for one in where if "/tests/interop/" in one.filename]
        problem = f"{' > '.join(steps)}\n{type(error).__name__}: {error}"[:SHOWN]
    finally:
        servers.heal()
    result = "failed" if problem else "passed"
    say(f"{result}  version {version:4}host {host:8}{name:20}{time.monotonic() - began:6.1f} s")
    if problem:
        say("    " + problem.replace("\n", "\n    "))
    return not problem


async def run(place: Path, wanted: argparse.Namespace) -> int:
    failed = told = 0
    async with two_servers(place) as servers:
        for seed, version, host, name in itertools.product(wanted.seeds, wanted.versions, wanted.hosts, wanted.stories):
            if can_be_told(name, version):
                told += 1
                failed += not await tell(servers, name, host, version, seed)
    say(f"{told} stories, {failed} failed")
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.interop.synapse", description=__doc__)
    parser.add_argument("--stories", nargs="+", default=list(STORIES), choices=list(STORIES), metavar="NAME")
    parser.add_argument("--hosts", nargs="+", default=list(HOSTS), choices=HOSTS)
    parser.add_argument("--versions", nargs="+", default=list(VERSIONS), choices=list(ROOM_VERSIONS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="for what is random")
    parser.add_argument("--keep", type=Path, help="an empty folder, where the servers' files stay")
    wanted = parser.parse_args()
    if wanted.keep is not None:
        wanted.keep.mkdir(parents=True, exist_ok=True)
        wanted.keep.chmod(0o711)
        return asyncio.run(run(wanted.keep, wanted))
    with server_directory() as place:
        return asyncio.run(run(place, wanted))


if __name__ == "__main__":
    sys.exit(main())
