"""`make interop`: every story with a real Synapse, each side as host, in rooms of versions 10, 11 and 12.

`python -m tests.interop.synapse --stories talk fork --hosts parley --versions 12 --keep /tmp/somewhere`
"""

import argparse
import asyncio
import sys
import time
import traceback
from pathlib import Path

from tests.builders.process import server_directory
from tests.interop.synapse.listed import HOSTS, STORIES, VERSIONS, meeting
from tests.interop.synapse.people import Servers, two_servers

SHOWN = 3_000


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def tell(servers: Servers, name: str, host: str, version: str) -> bool:
    """Whether the story ended well."""
    began = time.monotonic()
    problem = ""
    try:
        await STORIES[name](meeting(servers, host, version))
    except Exception as error:  # noqa: BLE001 - the edge of one story: the others are told too
        where = traceback.extract_tb(error.__traceback__)
        steps = [f"{Path(one.filename).name}:{one.lineno}" for one in where if "/tests/interop/" in one.filename]
        problem = f"{' > '.join(steps)}\n{type(error).__name__}: {error}"[:SHOWN]
    finally:
        servers.heal()
    result = "failed" if problem else "passed"
    say(f"{result}  version {version}  host {host:8}{name:20}{time.monotonic() - began:6.1f} s")
    if problem:
        say("    " + problem.replace("\n", "\n    "))
    return not problem


async def run(place: Path, stories: list[str], hosts: list[str], versions: list[str]) -> int:
    failed = told = 0
    async with two_servers(place) as servers:
        for version in versions:
            for host in hosts:
                for name in stories:
                    told += 1
                    failed += not await tell(servers, name, host, version)
    say(f"{told} stories, {failed} failed")
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.interop.synapse", description=__doc__)
    parser.add_argument("--stories", nargs="+", default=list(STORIES), choices=list(STORIES), metavar="NAME")
    parser.add_argument("--hosts", nargs="+", default=list(HOSTS), choices=HOSTS)
    parser.add_argument("--versions", nargs="+", default=list(VERSIONS))
    parser.add_argument("--keep", type=Path, help="an empty folder, where the servers' files stay")
    wanted = parser.parse_args()
    if wanted.keep is not None:
        wanted.keep.mkdir(parents=True, exist_ok=True)
        wanted.keep.chmod(0o711)
        return asyncio.run(run(wanted.keep, wanted.stories, wanted.hosts, wanted.versions))
    with server_directory() as place:
        return asyncio.run(run(place, wanted.stories, wanted.hosts, wanted.versions))


if __name__ == "__main__":
    sys.exit(main())
