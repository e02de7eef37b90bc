"""Decision 3: where do events stand that fill a gap, and what does a page of a long history cost?"""

import time

from docs.decisions.spikes.ground import connect, postgres, say

LIVE, GAP = 200, 50


def order_of_filled_gap() -> None:
    """100 events, a gap of 50, 100 events. The gap is filled later, by a peer whose depths are too large."""
    truth = [f"e{number}" for number in range(LIVE + GAP)]
    live = [*range(100), *range(100 + GAP, LIVE + GAP)]
    rows = []
    for position, number in enumerate(live, start=1):
        rows.append({"id": f"e{number}", "position": position, "place": (position, 0), "depth": number})
    for index in range(GAP):
        number = 100 + index
        # Event 150, at position 101, is the one before which the gap is.
        rows.append({"id": f"e{number}", "position": 201 + index, "place": (101, index - GAP), "depth": number + 2**40})
    for name, key in (("depth", "depth"), ("position of arrival", "position"), ("(anchor, rank)", "place")):
        found = [row["id"] for row in sorted(rows, key=lambda row: row[key])]  # type: ignore[arg-type,return-value]
        wrong = sum(a != b for a, b in zip(found, truth, strict=True))
        say(f"ordered by {name}: {wrong} of {len(truth)} events stand in a wrong place")


def cost_of_pages(url: str) -> None:
    with connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE history (room bigint, anchor bigint, rank int, body text);"
            "INSERT INTO history SELECT 7, n, 0, repeat('x', 600) FROM generate_series(1, 200000) n;"
            "CREATE INDEX ON history (room, anchor, rank); ANALYZE history"
        )
        for anchor in (200_000, 100_000, 1_000):
            after = f"(anchor, rank) <= ({anchor}, 0) ORDER BY anchor DESC, rank DESC LIMIT 100"
            offset = f"true ORDER BY anchor DESC, rank DESC LIMIT 100 OFFSET {200_000 - anchor}"
            times = []
            for condition in (after, offset):
                started = time.perf_counter()
                for _ in range(20):
                    cursor.execute("SELECT * FROM history WHERE room = 7 AND " + condition)
                    cursor.fetchall()
                times.append(1000 * (time.perf_counter() - started) / 20)
            say(f"100 events at {anchor} of 200,000: by place {times[0]:.2f} ms, by offset {times[1]:.2f} ms")


if __name__ == "__main__":
    order_of_filled_gap()
    with postgres() as (_, url):
        cost_of_pages(url)
