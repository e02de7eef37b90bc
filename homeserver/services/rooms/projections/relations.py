"""The tables of relations and threads follow the events that relate to others.

https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events
"""

from homeserver.domain.event import Event
from homeserver.domain.identifiers import fits
from homeserver.domain.relations import THREAD, may_replace, relation_of
from homeserver.services.rooms.room import LockedRoom
from homeserver.storage.events import StoredEvent
from homeserver.storage.history import Place
from homeserver.storage.relations import RelationRow


def find_thread(room: LockedRoom, event: Event) -> str | None:
    """The root of the thread that the event stands in: it replies there, or relates to what stands there.

    "Following the event relationships, it has a parent event which references the thread root": the parent's thread was
    found when the parent came, so that one step is enough.
    """
    relation = relation_of(event.content)
    if relation is None:
        return None
    if relation.rel_type == THREAD:
        return relation.event_id
    parent = room.store.events.find(relation.event_id)
    return None if parent is None or parent.room != room.row.number else parent.thread_id


def apply(room: LockedRoom, stored: StoredEvent, place: Place) -> None:
    """Writes the relation of an event that is visible at `place`, be it new or fetched to fill a gap."""
    event = stored.event
    relation = relation_of(event.content)
    if relation is None or not fits(relation.rel_type):
        return
    room.store.relations.add(
        RelationRow(
            event=stored.number,
            room=room.row.number,
            event_id=event.event_id,
            relates_to=relation.event_id,
            rel_type=relation.rel_type,
            key=relation.key,
            type=event.type,
            sender=event.sender,
            ts=event.origin_server_ts,
            anchor=place.anchor,
            rank=place.rank,
            may_replace=may_replace(event.type, event.is_state, event.content),
        )
    )
    if relation.rel_type == THREAD:
        room.store.threads.add_reply(room.row.number, relation.event_id, place)


def remove(room: LockedRoom, number: int, event: Event) -> None:
    """The event is redacted: "when a child event is redacted then the relationship is broken"."""
    relation = relation_of(event.content)
    if relation is None:
        return
    room.store.relations.remove(number)
    if relation.rel_type == THREAD:
        room.store.threads.renew_latest(room.row.number, relation.event_id)
