"""What new messages of a room look like to everybody who is in it: written once, and not once for each client.

When a message comes, all live clients of the room are told the same of it. What differs (the echo of a transaction id,
ignored senders, unread counts) is not in here, so a page says who speaks on it. It is good for a second, as it tells
the age of its events.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from homeserver.services.client_form import join_event
from homeserver.services.tokens import write_place
from homeserver.storage.history import Place
from homeserver.streams.keys import room_of
from homeserver.streams.publications import EventItem
from homeserver.streams.tail import Tail

MAX_PAGES = 256
# Longer ones are not kept.
MAX_EVENTS = 10
GOOD_MS = 1_000


@dataclass(frozen=True, slots=True)
class Page:
    """`number`: of the room; `made`: when it was written, in ms; `items`: its events with their positions; `timeline`:
    that member of the room, as JSON; `rooms`: the room with it, by the name of the state."""

    number: int
    made: int
    senders: frozenset[str]
    items: Sequence[tuple[int, EventItem]]
    timeline: str
    rooms: dict[str, str] = field(default_factory=dict)


class Pages:
    """Lives on the loop."""

    def __init__(self, tail: Tail) -> None:
        self._tail = tail
        # By the key of the room, and the positions between which it is.
        self._pages: OrderedDict[tuple[str, int, int], Page] = OrderedDict()

    def find(self, key: str, after: int, upto: int, now_ms: int) -> Page | None:
        """The page of all that was published under a key with after < position <= upto, if that is the key of a room,
        and there is nothing but a few messages. Raises Truncated."""
        place = (key, after, upto)
        page = self._pages.get(place)
        if page is not None and 0 <= now_ms - page.made <= GOOD_MS:
            return page
        page = self._write(key, after, upto, now_ms)
        if page is not None:
            self._pages[place] = page
            if len(self._pages) > MAX_PAGES:
                self._pages.popitem(last=False)
        return page

    def _write(self, key: str, after: int, upto: int, now_ms: int) -> Page | None:
        number = room_of(key)
        publications = self._tail.since(key, after, upto) if number is not None else ()
        if number is None or not 0 < len(publications) <= MAX_EVENTS:
            return None
        items: list[tuple[int, EventItem]] = []
        for publication in publications:
            item = publication.item
            if not isinstance(item, EventItem) or item.state_key is not None or not is_plain(item):
                return None
            items.append((publication.position, item))
        texts = ",".join(shared_event(item, now_ms) for _, item in items)
        timeline = timeline_member(texts, False, write_place(Place(items[0][0], -1)))
        return Page(number, now_ms, frozenset(item.sender for _, item in items), items, timeline)


def is_plain(item: EventItem) -> bool:
    """Whether whoever is joined may see it, and it changes nothing that was told before."""
    return item.for_all_joined and not item.gap_before and item.redacted is None and item.summary is None


def shared_event(item: EventItem, now_ms: int, membership: str = ',"membership":"join"', echo: str = "") -> str:
    """An event as somebody sees it who is joined. `membership` and `echo`: members of `unsigned`, each behind its
    comma."""
    shared = f",{item.unsigned}" if item.unsigned else ""
    unsigned = f'"age":{max(0, now_ms - item.origin_server_ts)}{membership}{echo}{shared}'
    return join_event(item.client, item.event_id, unsigned, None)


def timeline_member(events: str, limited: bool, prev_batch: str) -> str:
    """`events` are JSON texts, joined."""
    return f'"timeline":{{"events":[{events}],"limited":{"true" if limited else "false"},"prev_batch":"{prev_batch}"}}'
