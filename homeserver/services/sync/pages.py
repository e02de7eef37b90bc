"""What new events of a room look like to everybody who is in it: written once, and not once for each client.

When a message comes, all live clients of the room are told the same of it. What differs (the echo of a transaction id,
ignored senders, unread counts) is not in here. A page is good for a second: it tells the age of its events.
"""

from collections import OrderedDict
from collections.abc import Sequence

from homeserver.services.client_form import join_event
from homeserver.services.tokens import write_place
from homeserver.storage.history import Place
from homeserver.streams.publications import EventItem

MAX_PAGES = 256
# Longer ones are written for each client.
MAX_EVENTS = 10
GOOD_MS = 1_000

# The room, the positions of its first and last event, and how many there are.
_Key = tuple[int, int, int, int]


class Pages:
    """Lives on the loop."""

    def __init__(self) -> None:
        # The time (ms) and the text of each.
        self._pages: OrderedDict[_Key, tuple[int, str]] = OrderedDict()

    def timeline(self, number: int, events: Sequence[tuple[int, EventItem]], now_ms: int) -> str:
        """The member `timeline` of a joined room, as JSON: `events`, by their positions, and nothing left out."""
        first, last = events[0][0], events[-1][0]
        key = (number, first, last, len(events))
        known = self._pages.get(key)
        if known is not None and 0 <= now_ms - known[0] <= GOOD_MS:
            return known[1]
        texts = ",".join(shared_event(item, now_ms) for _, item in events)
        page = timeline_member(texts, False, write_place(Place(first, -1)))
        if len(events) <= MAX_EVENTS:
            self._pages[key] = (now_ms, page)
            if len(self._pages) > MAX_PAGES:
                self._pages.popitem(last=False)
        return page


def shared_event(item: EventItem, now_ms: int, membership: str = ',"membership":"join"', echo: str = "") -> str:
    """An event as somebody sees it who is joined. `membership` and `echo`: members of `unsigned`, each behind its
    comma."""
    shared = f",{item.unsigned}" if item.unsigned else ""
    unsigned = f'"age":{max(0, now_ms - item.origin_server_ts)}{membership}{echo}{shared}'
    return join_event(item.client, item.event_id, unsigned, None)


def timeline_member(events: str, limited: bool, prev_batch: str) -> str:
    """`events` are JSON texts, joined."""
    return f'"timeline":{{"events":[{events}],"limited":{"true" if limited else "false"},"prev_batch":"{prev_batch}"}}'
