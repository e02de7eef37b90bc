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
from homeserver.streams.publications import EventItem, Publication

MAX_PAGES = 256
# Longer ones are not kept.
MAX_EVENTS = 10
GOOD_MS = 1_000


@dataclass(frozen=True, slots=True)
class Page:
    """`timeline` is that member of the room, as JSON; `made` when it was written, in ms. `rooms`: the room with it, by
    the name of the state."""

    made: int
    senders: frozenset[str]
    size: int
    timeline: str
    rooms: dict[str, str] = field(default_factory=dict)


class Pages:
    """Lives on the loop."""

    def __init__(self) -> None:
        # By room, and the positions of the first and the last publication.
        self._pages: OrderedDict[tuple[int, int, int], Page] = OrderedDict()

    def find(self, number: int, publications: Sequence[Publication], now_ms: int) -> Page | None:
        """The page of all that was published in a room between two positions, if it is nothing but a few messages."""
        key = (number, publications[0].position, publications[-1].position)
        page = self._pages.get(key)
        if page is not None and 0 <= now_ms - page.made <= GOOD_MS:
            return page
        page = _write(publications, now_ms) if len(publications) <= MAX_EVENTS else None
        if page is not None:
            self._pages[key] = page
            if len(self._pages) > MAX_PAGES:
                self._pages.popitem(last=False)
        return page


def _write(publications: Sequence[Publication], now_ms: int) -> Page | None:
    items: list[EventItem] = []
    for publication in publications:
        item = publication.item
        if not isinstance(item, EventItem) or item.state_key is not None or not is_plain(item):
            return None
        items.append(item)
    texts = ",".join(shared_event(item, now_ms) for item in items)
    timeline = timeline_member(texts, False, write_place(Place(publications[0].position, -1)))
    return Page(now_ms, frozenset(item.sender for item in items), len(items), timeline)


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
