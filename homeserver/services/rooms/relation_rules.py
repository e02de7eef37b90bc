"""How users of this server may not relate events to others, although the rules of rooms would let it in.

Whether a relation that is there means anything, an edit above all, is asked when it is read (`services.aggregations`).
"""

from collections.abc import Mapping
from typing import Any

from homeserver.domain.errors import BadRequest
from homeserver.domain.relations import ANNOTATION, THREAD, relation_of
from homeserver.services.rooms.room import LockedRoom
from homeserver.storage.events import parse_members


def check_relation(room: LockedRoom, sender: str, type: str, content: Mapping[str, Any]) -> None:
    """Raises BadRequest: for the same annotation again, with M_DUPLICATE_ANNOTATION; for a thread on an event that is
    itself related to another one, with M_UNKNOWN.

    https://spec.matrix.org/v1.19/client-server-api/#avoiding-duplicate-annotations
    https://spec.matrix.org/v1.19/client-server-api/#validation-of-mthread-relationships
    """
    relation = relation_of(content)
    if relation is None:
        return
    store, number = room.store, room.row.number
    if relation.rel_type == ANNOTATION and relation.key is not None:
        if store.relations.has_annotated(number, relation.event_id, sender, type, relation.key):
            raise BadRequest("You have annotated this event so already", "M_DUPLICATE_ANNOTATION")
    elif relation.rel_type == THREAD:
        root = store.events.find(relation.event_id)
        if root is not None and root.room == number and relation_of(parse_members(root.client)["content"]) is not None:
            raise BadRequest("A thread cannot begin at an event that is related to another one", "M_UNKNOWN")
