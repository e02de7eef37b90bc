"""A server with its scenery, just started: built anew, or from a data directory that an earlier run prepared.

Only Synapse's is kept between runs, because its version is fixed; Parley's depends on the code under test.  Both
are stopped and started between the building and the measuring, so that neither has the advantage of warm caches.
"""

import hashlib
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import orjson

from tests.benchmarks.driver import Client
from tests.benchmarks.phase import Meter
from tests.benchmarks.scenario import Bench
from tests.benchmarks.scenery import Scale, build, read, scale_key, written
from tests.benchmarks.servers import Server

SCENERY_FORMAT = 1
MOST_KEPT = 3


async def prepare(server: Server, scale: Scale, parts: Iterable[str], kept_in: Path) -> Bench:
    """Starts the server with the named parts of the scenery on it."""
    wanted = sorted(parts)
    kept = _kept_directory(server, scale, wanted, kept_in)
    client = Client(server.port)
    if kept is not None and kept.exists():
        copy_directory(kept, server.directory)
    else:
        await _build(server, client, scale, wanted)
        if kept is not None:
            keep(server.directory, kept)
    server.start()
    text = orjson.loads((server.directory / "scenery.json").read_bytes())
    return Bench(server, client, scale, read(client, text))


async def _build(server: Server, client: Client, scale: Scale, parts: list[str]) -> None:
    server.create()
    server.start()
    scenery = await build(client, scale, parts)
    await Meter(server.pids).quiet()
    client.close()
    server.stop_server()
    # Else autovacuum would do this in the middle of somebody's figures.
    server.cluster.execute("VACUUM (ANALYZE)")
    server.stop()
    (server.directory / "scenery.json").write_bytes(orjson.dumps(written(scenery)))


def _kept_directory(server: Server, scale: Scale, parts: list[str], kept_in: Path) -> Path | None:
    fingerprint = server.fingerprint()
    if fingerprint is None:
        return None
    what = [SCENERY_FORMAT, fingerprint, scale_key(scale), parts]
    return kept_in / f"{server.name}-{hashlib.sha256(orjson.dumps(what)).hexdigest()[:16]}"


def keep(directory: Path, kept: Path) -> None:
    """Keeps a copy, and forgets the oldest ones beyond a few."""
    unfinished = kept.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    copy_directory(directory, unfinished)
    unfinished.rename(kept)
    others = sorted(kept.parent.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in others[MOST_KEPT:]:
        shutil.rmtree(old)


def copy_directory(source: Path, target: Path) -> None:
    """Copies a directory with its owners, which shutil would not keep."""
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", f"{source}/.", target], check=True)
