"""Filters: which events a client wants to see, parsed once into values that are cheap to ask.

A filter comes as JSON from a client, inline or stored. Everything here is frozen and hashable, so that a filter can be
a key. Loading members lazily, counting threads and cutting timelines are done by who reads the flags.
https://spec.matrix.org/v1.19/client-server-api/#filtering
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from homeserver.domain.errors import BadRequest

DEFAULT_LIMIT = 10
MAX_LIMIT = 100
# Of any list in a filter.
MAX_ENTRIES = 1000
# Of any string in a list: the longest identifier has 255 bytes, a wildcard or an escape may add to it.
MAX_STRING = 512

Path = tuple[str, ...]


@lru_cache(maxsize=4096)
def property_path(dotted: str) -> Path:
    """The property names of a dot-separated path.

    "Any literal dot or backslash found in a property name should be escaped with a backslash. ... Other escape
    sequences are left as-is." https://spec.matrix.org/v1.19/appendices/#dot-separated-property-paths
    """
    names = [""]
    characters = iter(dotted)
    for character in characters:
        if character == ".":
            names.append("")
        elif character == "\\":
            escaped = next(characters, "")
            names[-1] += escaped if escaped in (".", "\\") else "\\" + escaped
        else:
            names[-1] += character
    return tuple(names)


@dataclass(frozen=True, slots=True)
class Names:
    """A list of event types, in which `*` matches any sequence of characters."""

    plain: frozenset[str]
    # Each wildcard as the pieces between its stars.
    wild: frozenset[tuple[str, ...]] = frozenset()

    def __contains__(self, name: str) -> bool:
        return name in self.plain or any(_wild_match(pieces, name) for pieces in self.wild)


def _wild_match(pieces: tuple[str, ...], name: str) -> bool:
    # The leftmost place for each piece leaves the most room for the rest, so that one pass decides.
    first, last = pieces[0], pieces[-1]
    end = len(name) - len(last)
    if end < len(first) or not name.startswith(first) or not name.endswith(last):
        return False
    position = len(first)
    for piece in pieces[1:-1]:
        found = name.find(piece, position, end)
        if found < 0:
            return False
        position = found + len(piece)
    return True


@dataclass(frozen=True, slots=True)
class EventFilter:
    """An EventFilter or RoomEventFilter of the spec. None in a list of what is wanted means everything."""

    limit: int = DEFAULT_LIMIT
    types: Names | None = None
    not_types: Names | None = None
    senders: frozenset[str] | None = None
    not_senders: frozenset[str] | None = None
    rooms: frozenset[str] | None = None
    not_rooms: frozenset[str] | None = None
    contains_url: bool | None = None
    lazy_load_members: bool = False
    include_redundant_members: bool = False
    unread_thread_notifications: bool = False

    @property
    def is_everything(self) -> bool:
        """Whether no event is kept back (the limit aside)."""
        return (
            self.types is None
            and self.not_types is None
            and self.senders is None
            and self.not_senders is None
            and self.rooms is None
            and self.not_rooms is None
            and self.contains_url is None
        )

    def matches(self, type_: str, sender: str, room_id: str | None, content: Mapping[str, Any]) -> bool:
        """Whether the event is wanted. `room_id` is None for what stands in no room."""
        return (
            (self.types is None or type_ in self.types)
            and (self.not_types is None or type_ not in self.not_types)
            and (self.senders is None or sender in self.senders)
            and (self.not_senders is None or sender not in self.not_senders)
            and (room_id is None or self.matches_room(room_id))
            and (self.contains_url is None or ("url" in content) == self.contains_url)
        )

    def matches_room(self, room_id: str) -> bool:
        """Whether any event of the room can be wanted."""
        return _in_room(room_id, self.rooms, self.not_rooms)


EVERY_EVENT = EventFilter()


@dataclass(frozen=True, slots=True)
class RoomFilter:
    """The `room` of a SyncFilter."""

    rooms: frozenset[str] | None = None
    not_rooms: frozenset[str] | None = None
    include_leave: bool = False
    ephemeral: EventFilter = EVERY_EVENT
    state: EventFilter = EVERY_EVENT
    timeline: EventFilter = EVERY_EVENT
    account_data: EventFilter = EVERY_EVENT

    def matches_room(self, room_id: str) -> bool:
        """Whether anything of the room can be wanted."""
        return _in_room(room_id, self.rooms, self.not_rooms)


EVERY_ROOM = RoomFilter()


@dataclass(frozen=True, slots=True)
class SyncFilter:
    """A whole filter. `event_fields` are property paths, or None for whole events."""

    event_fields: tuple[Path, ...] | None = None
    event_format: str = "client"
    presence: EventFilter = EVERY_EVENT
    account_data: EventFilter = EVERY_EVENT
    room: RoomFilter = EVERY_ROOM

    def __hash__(self) -> int:
        """Of what differs most: every live sync looks itself up by its filter, and the whole has thirty members."""
        return hash((self.room.timeline.limit, self.room.state.lazy_load_members, self.event_format))


def _in_room(room_id: str, rooms: frozenset[str] | None, not_rooms: frozenset[str] | None) -> bool:
    return (rooms is None or room_id in rooms) and (not_rooms is None or room_id not in not_rooms)


def parse_sync_filter(raw: object) -> SyncFilter:
    """The filter of a JSON object; BadRequest, naming the key, if it is none. Unknown keys are ignored."""
    whole = _object(raw, "filter")
    fields = _strings(whole, "event_fields", "")
    event_format = "client" if whole.get("event_format") is None else whole["event_format"]
    if event_format not in ("client", "federation"):
        raise BadRequest("event_format must be 'client' or 'federation'")
    return SyncFilter(
        event_fields=None if fields is None else tuple(property_path(entry) for entry in fields),
        event_format=event_format,
        presence=parse_event_filter(whole.get("presence"), "presence"),
        account_data=parse_event_filter(whole.get("account_data"), "account_data"),
        room=_room_filter(whole.get("room")),
    )


def _room_filter(raw: object) -> RoomFilter:
    room = _object(raw, "room")
    if not room:
        return EVERY_ROOM
    return RoomFilter(
        rooms=_ids(room, "rooms", "room.", "!"),
        not_rooms=_ids(room, "not_rooms", "room.", "!"),
        include_leave=_flag(room, "include_leave", "room.") or False,
        ephemeral=parse_event_filter(room.get("ephemeral"), "room.ephemeral"),
        state=parse_event_filter(room.get("state"), "room.state"),
        timeline=parse_event_filter(room.get("timeline"), "room.timeline"),
        account_data=parse_event_filter(room.get("account_data"), "room.account_data"),
    )


def parse_event_filter(raw: object, where: str = "") -> EventFilter:
    """An EventFilter or RoomEventFilter; None is the empty one. `where` is how errors call it."""
    values = _object(raw, where or "filter")
    if not values:
        return EVERY_EVENT
    prefix = f"{where}." if where else ""
    # Most filters say little: only what is there is read.
    return EventFilter(**{key: _READERS[key](values, key, prefix) for key in values if key in _READERS})


def _object(raw: object, where: str) -> Mapping[str, Any]:
    if raw is None:
        return {}
    if not isinstance(raw, Mapping):
        raise BadRequest(f"{where} must be an object", "M_BAD_JSON")
    return raw


def _limit(values: Mapping[str, Any], key: str, prefix: str) -> int:
    limit = values.get(key)
    if limit is None:
        return DEFAULT_LIMIT
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise BadRequest(f"{prefix}{key} must be an integer", "M_BAD_JSON")
    if limit < 1:
        raise BadRequest(f"{prefix}{key} must be greater than 0")
    return min(limit, MAX_LIMIT)


def _flag(values: Mapping[str, Any], key: str, prefix: str) -> bool | None:
    flag = values.get(key)
    if flag is not None and not isinstance(flag, bool):
        raise BadRequest(f"{prefix}{key} must be true or false", "M_BAD_JSON")
    return flag


def _strings(values: Mapping[str, Any], key: str, prefix: str) -> list[str] | None:
    entries = values.get(key)
    if entries is None:
        return None
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise BadRequest(f"{prefix}{key} must be a list of strings", "M_BAD_JSON")
    if len(entries) > MAX_ENTRIES:
        raise BadRequest(f"{prefix}{key} has more than {MAX_ENTRIES} entries")
    if any(len(entry) > MAX_STRING for entry in entries):
        raise BadRequest(f"{prefix}{key} has an entry of more than {MAX_STRING} characters")
    return entries


def _ids(values: Mapping[str, Any], key: str, prefix: str, sigil: str) -> frozenset[str] | None:
    entries = _strings(values, key, prefix)
    if entries is None:
        return None
    if not all(entry.startswith(sigil) for entry in entries):
        raise BadRequest(f"{prefix}{key} has an entry that does not start with {sigil}")
    return frozenset(entries)


def _names(values: Mapping[str, Any], key: str, prefix: str, empty_is_none: bool = False) -> Names | None:
    entries = _strings(values, key, prefix)
    if entries is None or (empty_is_none and not entries):
        return None
    return Names(
        frozenset(entry for entry in entries if "*" not in entry),
        frozenset(tuple(entry.split("*")) for entry in entries if "*" in entry),
    )


def _is_set(values: Mapping[str, Any], key: str, prefix: str) -> bool:
    return _flag(values, key, prefix) or False


# Nothing is kept back by an empty list of what is not wanted: None says so, that `is_everything` sees it.
_READERS: Mapping[str, Callable[[Mapping[str, Any], str, str], Any]] = {
    "limit": _limit,
    "types": _names,
    "not_types": lambda values, key, prefix: _names(values, key, prefix, empty_is_none=True),
    "senders": lambda values, key, prefix: _ids(values, key, prefix, "@"),
    "not_senders": lambda values, key, prefix: _ids(values, key, prefix, "@") or None,
    "rooms": lambda values, key, prefix: _ids(values, key, prefix, "!"),
    "not_rooms": lambda values, key, prefix: _ids(values, key, prefix, "!") or None,
    "contains_url": _flag,
    "lazy_load_members": _is_set,
    "include_redundant_members": _is_set,
    "unread_thread_notifications": _is_set,
}


def select_fields(event: Mapping[str, Any], paths: Iterable[Path] | None) -> dict[str, Any]:
    """A copy of the event with only the properties at `paths`, each in its place; None selects all of them."""
    if paths is None:
        return dict(event)
    selected: dict[str, Any] = {}
    # Shorter paths first: after `content`, `content.body` has nothing to add.
    for path in sorted(paths, key=len):
        _copy_path(event, selected, path)
    return selected


def _copy_path(source: Mapping[str, Any], target: dict[str, Any], path: Path) -> None:
    found: Any = source
    for name in path:
        if not isinstance(found, Mapping) or name not in found:
            return
        found = found[name]
    node: Any = target
    here: Any = source
    for name in path[:-1]:
        here = here[name]
        child = node.setdefault(name, {})
        if child is here:
            return
        node = child
    node[path[-1]] = found
