"""Python's garbage collector, so that it never stops the loop for long.

What thousands of waiting clients hold is no garbage, but a full collection looks at all of it: a third of a second in
which nobody is served. So everything is set aside (`gc.freeze`) again and again, where no collection looks; it is freed
all the same when nobody holds it. Only circles that became garbage there stay, and for these everything is looked at
when much more is set aside than was left the last time. Connections, of which strangers can make a million, and
WebSockets end without circles.
https://docs.python.org/3/library/gc.html#gc.freeze
"""

import gc
import sys

# How many more objects there must be before the youngest are looked at, and how many such looks before the older ones.
COLLECT_AFTER = (20_000, 10, 10)
# Everything is looked at when there are so many more blocks of memory than were left, and at least so many. They stand
# for the objects, whose number it takes a look at each to find.
GROWTH = 1.5
LEAST = 200_000


class Garbage:
    def __init__(self) -> None:
        self._left = 0

    def begin(self) -> None:
        """What the program itself consists of stays for good."""
        gc.set_threshold(*COLLECT_AFTER)
        self._look_at_all()

    async def set_aside(self) -> None:
        """To be called every second: it costs nothing, whatever there is."""
        gc.freeze()

    async def look(self) -> None:
        """To be called a few times a minute."""
        blocks = sys.getallocatedblocks()
        if blocks > self._left * GROWTH and blocks - self._left > LEAST:
            self._look_at_all()

    def _look_at_all(self) -> None:
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self._left = sys.getallocatedblocks()
