"""How an event relates to others: what its `m.relates_to` says.

Reading only: whether the other event exists, lies in the same room or may be related to is asked elsewhere.
"Relationships which don't match the schema ... are simply ignored", so that everything here answers None and never
raises.
https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from homeserver.domain.identifiers import is_event_id

THREAD = "m.thread"
REPLACE = "m.replace"
ANNOTATION = "m.annotation"
REFERENCE = "m.reference"

# Event ids and namespaced identifiers have at most 255 bytes: what has more characters than that names nothing.
MAX_LENGTH = 255


@dataclass(frozen=True, slots=True)
class Relation:
    """The relation of a child to its parent `event_id`. `key` is the reaction of an annotation, else mostly None."""

    rel_type: str
    event_id: str
    key: str | None = None


def relation_of(content: Mapping[str, Any]) -> Relation | None:
    """The relation with a `rel_type`; a plain reply has none (`reply_target`)."""
    relates_to = _object(content.get("m.relates_to"))
    rel_type, event_id, key = relates_to.get("rel_type"), _event_id(relates_to), relates_to.get("key")
    if not isinstance(rel_type, str) or not 1 <= len(rel_type) <= MAX_LENGTH or event_id is None:
        return None
    return Relation(rel_type, event_id, key if isinstance(key, str) else None)


def thread_root(content: Mapping[str, Any]) -> str | None:
    """The id of the event at the root of the thread, if the event stands in one itself."""
    return _parent(content, THREAD)


def replacement_target(content: Mapping[str, Any]) -> str | None:
    """The id of the event that this one edits."""
    return _parent(content, REPLACE)


def may_replace(type: str, is_state: bool, content: Mapping[str, Any]) -> bool:
    """Whether an event with an m.replace holds what an edit must hold, whatever it edits. What is encrypted tells us
    nothing of its `m.new_content`."""
    return not is_state and (type == "m.room.encrypted" or isinstance(content.get("m.new_content"), Mapping))


def reply_target(content: Mapping[str, Any]) -> str | None:
    """The id of the event that this one answers. In a thread it may be there only for clients without threads."""
    return _event_id(_object(_object(content.get("m.relates_to")).get("m.in_reply_to")))


def is_thread_fallback(content: Mapping[str, Any]) -> bool:
    """Whether the reply target is only there for clients that know no threads."""
    relates_to = _object(content.get("m.relates_to"))
    return thread_root(content) is not None and relates_to.get("is_falling_back") is True


def _parent(content: Mapping[str, Any], rel_type: str) -> str | None:
    relation = relation_of(content)
    return relation.event_id if relation is not None and relation.rel_type == rel_type else None


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _event_id(value: Mapping[str, Any]) -> str | None:
    event_id = value.get("event_id")
    return event_id if is_event_id(event_id) else None
