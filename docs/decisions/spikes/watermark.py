"""Decision 2: what does a reader lose who takes the newest position that it sees, instead of the watermark?"""

import random
import threading
import time

from docs.decisions.spikes.ground import connect, postgres, say
from homeserver.streams.positions import Positions

WRITERS, EACH = 8, 400


class Block:
    def reserve(self) -> tuple[int, int]:
        return 1, 10**9


def run(url: str, watermark: bool) -> None:
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS spike; CREATE TABLE spike (position bigint PRIMARY KEY)")
    positions, running = Positions(Block()), WRITERS
    committed = 0
    lock = threading.Lock()

    def write(seed: int) -> None:
        nonlocal running, committed
        chance = random.Random(seed)
        connection = connect(url)
        for _ in range(EACH):
            position = positions.take()
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO spike VALUES (%s)", (position,))
                time.sleep(chance.uniform(0, 0.002))
            if chance.random() < 0.9:
                connection.commit()
                with lock:
                    committed += 1
            else:
                connection.rollback()
            positions.finish(position)
        with lock:
            running -= 1

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(WRITERS)]
    for thread in threads:
        thread.start()
    reader = connect(url, autocommit=True)
    after, seen, last = 0, 0, False
    with reader.cursor() as cursor:
        while True:
            last = running == 0
            cursor.execute("SELECT coalesce(max(position), 0) FROM spike")
            upto = positions.current() if watermark else cursor.fetchone()[0]  # type: ignore[index]
            cursor.execute("SELECT count(*) FROM spike WHERE position > %s AND position <= %s", (after, upto))
            seen += cursor.fetchone()[0]  # type: ignore[index]
            after = max(after, upto)
            if last:
                break
    name = "watermark" if watermark else "newest position"
    say(f"{name}: {committed - seen} of {committed} committed events were never seen")


if __name__ == "__main__":
    with postgres() as (_, url):
        run(url, watermark=False)
        run(url, watermark=True)
