"""The only ways for a user to obtain a room or an event.

What a user may read of a room follows from the membership now, or at the time of leaving; what of its history, from
the history visibility and the membership at each event.
https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from homeserver.domain.errors import Forbidden, NotFound
from homeserver.domain.event import StateKey
from homeserver.domain.visibility import can_see
from homeserver.storage.events import EventRow, parse_members
from homeserver.storage.memberships import MembershipRow
from homeserver.storage.rooms import RoomRow
from homeserver.storage.store import Store

VISIBILITY: StateKey = ("m.room.history_visibility", "")


@dataclass(frozen=True, slots=True)
class ReadableRoom:
    """A room that a user may read: as it is now, or (`left_at`) as it was when the user left."""

    row: RoomRow
    membership: MembershipRow | None
    left_at: int | None

    @property
    def is_joined(self) -> bool:
        return self.membership is not None and self.membership.membership == "join"


def readable_room(store: Store, user_id: str, room_id: str) -> ReadableRoom:
    """Raises Forbidden if the user was never in the room, or has forgotten it, and it is not open to the world."""
    found = store.memberships.find_in_room(user_id, room_id)
    return as_readable(store, user_id, *(found or (None, None)))


def as_readable(store: Store, user_id: str, row: RoomRow | None, membership: MembershipRow | None) -> ReadableRoom:
    """As `readable_room`, of what was found already of the room (None: it is not known) and of the user in it."""
    if row is not None and membership is not None:
        if membership.membership == "join":
            return ReadableRoom(row, membership, None)
        if membership.membership in ("leave", "ban"):
            stay = _last_stay(store, row.number, user_id)
            if stay is not None and row.number not in store.memberships.list_forgotten(user_id):
                # Not the membership's position: whoever is banned after leaving learns nothing from that.
                return ReadableRoom(row, membership, stay[1] or membership.position)
    if row is not None and _is_world_readable(store, row):
        return ReadableRoom(row, membership, None)
    raise Forbidden("You are not in this room")


def joined_room(store: Store, user_id: str, room_id: str) -> RoomRow:
    """Raises Forbidden if the user is not joined now."""
    row, membership = store.memberships.find_in_room(user_id, room_id) or (None, None)
    if row is None or membership is None or membership.membership != "join":
        raise Forbidden("You are not in this room")
    return row


def joined_since(room: ReadableRoom) -> int | None:
    """The anchor after which the viewer, who has been joined since, sees all there is; None if there is none such."""
    if room.membership is None or not room.is_joined or not room.row.open_history:
        return None
    return room.membership.position


def readable_event(store: Store, user_id: str, room_id: str, event_id: str) -> tuple[ReadableRoom, EventRow]:
    """Raises NotFound: "The event was not found or you do not have permission to read this event"."""
    event = store.events.find(event_id)
    with suppress(Forbidden):
        room = readable_room(store, user_id, room_id)
        if event is not None and event.room == room.row.number and visible_events(store, room, user_id, [event]):
            return room, event
    raise NotFound("You know of no such event in this room")


def visible_events(
    store: Store, room: ReadableRoom, user_id: str, rows: Sequence[EventRow]
) -> list[tuple[EventRow, str | None]]:
    """Those of `rows` that the user may see, each with the user's membership at it, if it is known."""
    rows = [row for row in rows if row.anchor is not None and (room.left_at is None or row.anchor <= room.left_at)]
    since = joined_since(room)
    if since is not None and all((row.anchor or 0) > since for row in rows):
        return [(row, "join") for row in rows]
    return _by_state(store, room, user_id, rows)


def _by_state(
    store: Store, room: ReadableRoom, user_id: str, rows: Sequence[EventRow]
) -> list[tuple[EventRow, str | None]]:
    """As `visible_events`, by the state before each event."""
    own: StateKey = ("m.room.member", user_id)
    keys = store.state.number_keys([VISIBILITY, own])
    store.state.load_groups({row.state_before for row in rows if row.state_before})
    numbers: dict[int, tuple[int | None, int | None]] = {}
    for group in {row.state_before for row in rows if row.state_before is not None}:
        numbers[group] = (
            store.state.find_in_group(group, keys[VISIBILITY]) if VISIBILITY in keys else None,
            store.state.find_in_group(group, keys[own]) if own in keys else None,
        )
    asked = {number for pair in numbers.values() for number in pair if number is not None}
    contents = {number: _content(row.client) for number, row in store.events.list_by_numbers(asked).items()}
    stay = None if room.is_joined else _last_stay(store, room.row.number, user_id)
    left = 0 if stay is None else stay[1] or 0
    seen: list[tuple[EventRow, str | None]] = []
    for row in rows:
        visibility_event, own_event = numbers.get(row.state_before or 0, (None, None))
        visibility = _text(contents, visibility_event, "history_visibility") or "shared"
        membership = _text(contents, own_event, "membership")
        after = _content(row.client) if row.state_key is not None else {}
        if can_see(
            visibility,
            membership,
            # Whoever was inside when an event came, or later, and is not in the state before it, joined after it: the
            # event may have come late, and stand behind the join that it does not know of.
            room.is_joined or left > (row.anchor or 0),
            visibility_after=after.get("history_visibility") if row.type == VISIBILITY[0] else None,
            membership_after=after.get("membership") if (row.type, row.state_key) == own else None,
        ):
            at = after.get("membership") if (row.type, row.state_key) == own else membership
            seen.append((row, at or "leave"))
    return seen


def _content(client: str) -> dict[str, str]:
    content: dict[str, str] = parse_members(client)["content"]
    return content


def _text(contents: dict[int, dict[str, str]], number: int | None, member: str) -> str | None:
    value = None if number is None else contents.get(number, {}).get(member)
    return value if isinstance(value, str) else None


def _last_stay(store: Store, room: int, user_id: str) -> tuple[int, int | None] | None:
    """When the user last became joined, and when that ended."""
    own: StateKey = ("m.room.member", user_id)
    keys = store.state.number_keys([own])
    return store.memberships.find_last_stay(room, keys[own]) if own in keys else None


def _is_world_readable(store: Store, row: RoomRow) -> bool:
    standing = store.state.find_current(row.number, row.state_generation, [VISIBILITY])
    events = store.events.list_by_numbers(standing.values())
    return any(_content(event.client).get("history_visibility") == "world_readable" for event in events.values())
