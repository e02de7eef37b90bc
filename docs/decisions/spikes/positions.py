"""Decision 7: what does a position cost, from a sequence and from a block?"""

import tempfile
import time
from pathlib import Path

from config.data_directory import PositionFile
from docs.decisions.spikes.ground import SERVER_NAME, connect, postgres, say
from homeserver.storage.blocks import BLOCK, Blocks
from homeserver.storage.database import open_engine
from homeserver.storage.upgrade import upgrade_database
from homeserver.streams.positions import Positions

TAKES = 5_000


def main() -> None:
    with postgres() as (_, url), tempfile.TemporaryDirectory() as directory:
        engine = open_engine(url)
        upgrade_database(engine, SERVER_NAME)
        with connect(url, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE SEQUENCE spike; PREPARE take AS SELECT nextval('spike')")
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(TAKES):
                cursor.execute("EXECUTE take")
                cursor.fetchone()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            say(f"sequence: {1e6 * wall / TAKES:.1f} us a position, {1e6 * cpu / TAKES:.1f} us CPU in Parley alone")
        file = PositionFile(Path(directory))
        file.new_epoch("a spike")
        blocks = Blocks(engine, "positions_reserved", file)
        positions = Positions(blocks)
        wall = time.perf_counter()
        for _ in range(TAKES):
            positions.finish(positions.take())
        say(f"block: {1e6 * (time.perf_counter() - wall) / TAKES:.2f} us a position, taken and finished")
        wall = time.perf_counter()
        for _ in range(50):
            blocks.reserve()
        wall = (time.perf_counter() - wall) / 50
        say(f"reserving {BLOCK}: {1000 * wall:.2f} ms, row and file on the disk, {1e6 * wall / BLOCK:.2f} us each")
        engine.dispose()


if __name__ == "__main__":
    main()
