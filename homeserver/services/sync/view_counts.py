"""How the unread counts that a View keeps follow what is published.

Whatever cannot be told from a publication alone (a class of push rules that it does not know, a receipt for an older
event) takes the room out of the View's counts: they are read from the tables the next time (`counts`).
https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications
"""

from homeserver.services.push.rule_book import DEFAULT_CLASS
from homeserver.services.sync.counts import NOTHING, RoomCounts, class_in_room
from homeserver.services.sync.live import MAIN, View
from homeserver.streams.publications import SILENT, EventItem, Notice, Publication, ReceiptItem


def count(view: View, number: int, publication: Publication) -> None:
    """Takes a publication of a room into account."""
    item = publication.item
    if isinstance(item, EventItem):
        count_event(view, number, item, publication.position)
    elif isinstance(item, ReceiptItem) and item.user_id == view.request.user_id:
        _count_receipt(view, number, item)


def count_event(view: View, number: int, item: EventItem, position: int) -> None:
    """Takes an event into account that was published there."""
    if item.redacted is not None:
        view.counts.pop(number, None)
    if item.state_key is None and item.sender in view.viewpoint.ignored:
        return
    view.last_events[(number, "")] = item.event_id
    if item.thread_root is None:
        view.last_events[(number, MAIN)] = item.event_id
    counts = view.counts.get(number)
    if counts is None:
        return
    user_id = view.request.user_id
    if item.sender == user_id:
        view.counts[number] = _read(counts, item.thread_root or MAIN)
        return
    classes = view.viewpoint.classes
    name = class_in_room(classes, number, position)[0] if classes else DEFAULT_CLASS
    notice = item.named.get(user_id) or item.classes.get(name)
    if notice is None:
        del view.counts[number]
    elif notice != SILENT:
        view.counts[number] = _counted(counts, item.thread_root, notice)


def _count_receipt(view: View, number: int, item: ReceiptItem) -> None:
    """What is read by a receipt for the newest event is known; else the tables must be asked."""
    counts = view.counts.get(number)
    thread = item.thread_id or ""
    if counts is None or (thread not in ("", MAIN) and thread not in counts.threads):
        return
    if view.last_events.get((number, thread)) == item.event_id:
        view.counts[number] = RoomCounts() if thread == "" else _read(counts, thread)
    else:
        del view.counts[number]


def _read(counts: RoomCounts, thread: str) -> RoomCounts:
    """Nothing is unread any more in the main timeline, or in a thread."""
    if thread == MAIN:
        return RoomCounts(NOTHING, counts.threads)
    return RoomCounts(counts.main, {root: unread for root, unread in counts.threads.items() if root != thread})


def _counted(counts: RoomCounts, thread: str | None, notice: Notice) -> RoomCounts:
    """With one more event."""
    notifications, highlights = counts.main if thread is None else counts.threads.get(thread, NOTHING)
    more = (notifications + notice.notify, highlights + notice.highlight)
    if thread is None:
        return RoomCounts(more, counts.threads)
    return RoomCounts(counts.main, {**counts.threads, thread: more})
