"""Decision 2: what does an answer lose that takes memberships as of its snapshot, and events as of `upto`?

A user leaves and joins a room in which others talk, while a client syncs as fast as it can.
"""

import random
import threading

from docs.decisions.spikes.ground import connect, postgres, say

WRITES = 6_000


def run(url: str, as_of_upto: bool) -> None:
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "DROP TABLE IF EXISTS messages, standing;"
            "CREATE TABLE messages (position int PRIMARY KEY, owed bool);"
            "CREATE TABLE standing (position int PRIMARY KEY, joined bool);"
            "INSERT INTO standing VALUES (0, true)"
        )
    current = 0

    def write() -> None:
        """One writer, so that positions commit in order: what is lost is not lost for want of a watermark."""
        nonlocal current
        chance, joined = random.Random(1), True
        connection = connect(url, autocommit=True)
        with connection.cursor() as cursor:
            for position in range(1, WRITES):
                if chance.random() < 0.2:
                    joined = not joined
                    cursor.execute("INSERT INTO standing VALUES (%s, %s)", (position, joined))
                else:
                    cursor.execute("INSERT INTO messages VALUES (%s, %s)", (position, joined))
                current = position

    writer = threading.Thread(target=write)
    writer.start()
    told: set[int] = set()
    after, syncs, more = 0, 0, True
    connection = connect(url)
    connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
    while more:
        more = writer.is_alive()
        upto = current
        with connection.cursor() as cursor:
            cursor.execute("SELECT position, joined FROM standing ORDER BY position")
            rows = cursor.fetchall()
            known = [row for row in rows if row[0] <= upto] if as_of_upto else rows
            cursor.execute("SELECT position FROM messages WHERE position > %s AND position <= %s", (after, upto))
            told |= {position for (position,) in cursor.fetchall() if is_told(known, position, after, upto)}
        connection.commit()
        after, syncs = upto, syncs + 1
    with connection.cursor() as cursor:
        cursor.execute("SELECT position FROM messages WHERE owed")
        owed = {row[0] for row in cursor.fetchall()}
    name = "as of upto" if as_of_upto else "as of the snapshot"
    say(f"memberships {name}: {len(owed - told)} of {len(owed)} messages were never told, in {syncs} syncs")


def is_told(known: list[tuple[int, bool]], position: int, after: int, upto: int) -> bool:
    """A room that the user is in is told; one that the user left is told up to there, if that was since `after`."""
    last, joined = known[-1]
    if not joined and not after < last <= upto:
        return False
    return next(was for at, was in reversed(known) if at <= position)


if __name__ == "__main__":
    with postgres() as (_, url):
        run(url, as_of_upto=False)
        run(url, as_of_upto=True)
