"""The only ways for another server to obtain a room or an event; users have `homeserver.services.access`.

A server may read a room while one of its users is joined, or while the room is open to the world. Of the room's events
it sees those that one of its users may see, by the state before each event.
https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility

A server in the room must be able to follow its graph, so what it may not see is not kept from it, but sent redacted:
ids, hashes and signatures hold for the redacted event too. Three kinds of events it gets whole all the same:

- what authorises others (create, power levels, join rules, members, third-party invites): redaction takes away some of
  what the rules ask, in old room versions more than in new ones, and servers would judge differently;
- what stands in the current state, which every server in the room has;
- where the room's history was never closed: state from before this server's time (an outlier, whose own place in the
  history nobody here knows).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from homeserver.domain.errors import Forbidden
from homeserver.domain.event import StateKey
from homeserver.domain.identifiers import domain_of
from homeserver.domain.visibility import DEFAULT_VISIBILITY, can_see
from homeserver.storage.events import EventRow, parse_members
from homeserver.storage.graph import PduRow
from homeserver.storage.rooms import RoomRow
from homeserver.storage.store import Store

VISIBILITY: StateKey = ("m.room.history_visibility", "")
MEMBER = "m.room.member"
AUTHORISING = frozenset(
    {"m.room.create", "m.room.power_levels", "m.room.join_rules", MEMBER, "m.room.third_party_invite"}
)
# Up to so many users of a server are looked up one by one in a state; for more, the whole state is read.
FEW_USERS = 64
BATCH = 1_000


@dataclass(frozen=True, slots=True)
class ServedRoom:
    """A room that `server` may read. `is_joined`: one of its users is joined; else the room is open to the world."""

    row: RoomRow
    server: str
    is_joined: bool


def served_room(store: Store, server: str, room_id: str) -> ServedRoom:
    """Raises Forbidden, also if there is no such room."""
    row = store.rooms.find(room_id)
    if row is not None and store.residents.is_joined(row.number, server):
        return ServedRoom(row, server, True)
    if row is not None and _is_world_readable(store, row):
        return ServedRoom(row, server, False)
    raise Forbidden("Your server is not in this room")


def visible_to_server(store: Store, room: ServedRoom, rows: Sequence[PduRow] | Sequence[EventRow]) -> set[int]:
    """The numbers of those events of the room that a user of the server may see, or has sent.

    Of an outlier nobody knows: it is visible to none but its sender.
    """
    placed = [row for row in rows if row.state_before is not None]
    store.state.load_groups({row.state_before for row in placed if row.state_before})
    visibilities = _visibilities(store, {row.state_before or 0 for row in placed})
    memberships = _memberships(store, room, visibilities)
    visible = {row.number for row in rows if _is_of(row.sender, room.server)}
    for row in placed:
        group = row.state_before or 0
        if row.number not in visible and _is_visible(room, row, visibilities[group], memberships.get(group, ())):
            visible.add(row.number)
    return visible


def whole_for_server(store: Store, room: ServedRoom, rows: Sequence[PduRow]) -> set[int]:
    """The numbers of those events of the room that the server gets as they are; the others it gets redacted if one of
    its users is joined, else not at all."""
    whole = visible_to_server(store, room, rows)
    if not room.is_joined:
        return whole
    left = [row for row in rows if row.number not in whole and row.state_key is not None]
    keys = [(row.type, row.state_key) for row in left if row.state_key is not None and row.type not in AUTHORISING]
    current: set[int] = set()
    if keys:
        current.update(store.state.find_current(room.row.number, room.row.state_generation, keys).values())
    for row in left:
        lone = row.state_before is None and room.row.open_history
        if row.type in AUTHORISING or lone or row.number in current:
            whole.add(row.number)
    return whole


def _is_visible(room: ServedRoom, row: PduRow | EventRow, visibility: str, memberships: Iterable[str]) -> bool:
    """By the memberships of the server's users before the event."""
    after = None
    if row.type == VISIBILITY[0] and row.state_key == "":
        after = _member_of_content(row.client, "history_visibility")
    before: list[str | None] = [None, *memberships]
    if any(can_see(visibility, one, room.is_joined, visibility_after=after) for one in before):
        return True
    if row.type != MEMBER or row.state_key is None or not _is_of(row.state_key, room.server):
        return False
    membership = _member_of_content(row.client, "membership")
    return can_see(visibility, None, room.is_joined, membership_after=membership)


def _visibilities(store: Store, groups: Iterable[int]) -> Mapping[int, str]:
    """The history visibility in each of these states."""
    key = store.state.number_keys([VISIBILITY]).get(VISIBILITY)
    numbers = {group: None if key is None else store.state.find_in_group(group, key) for group in groups}
    clients = store.graph.list_clients({number for number in numbers.values() if number is not None})
    read = {number: _member_of_content(client, "history_visibility") for number, client in clients.items()}
    known = {number: value for number, value in read.items() if value is not None}
    return {group: known.get(number or 0, DEFAULT_VISIBILITY) for group, number in numbers.items()}


def _memberships(store: Store, room: ServedRoom, visibilities: Mapping[int, str]) -> Mapping[int, set[str]]:
    """The memberships of the server's users in those states where they decide."""
    asked = [group for group, visibility in visibilities.items() if not can_see(visibility, None, room.is_joined)]
    if not asked:
        return {}
    users = store.residents.list_users(room.row.number, room.server)
    keys = set(store.state.number_keys([(MEMBER, user) for user in users]).values())
    members = {group: _events_at(store, group, keys) for group in asked}
    wanted = sorted(set().union(*members.values()))
    known: dict[int, str] = {}
    for first in range(0, len(wanted), BATCH):
        for number, client in store.graph.list_clients(wanted[first : first + BATCH]).items():
            membership = _member_of_content(client, "membership")
            if membership is not None:
                known[number] = membership
    return {group: {known[number] for number in numbers if number in known} for group, numbers in members.items()}


def _events_at(store: Store, group: int, keys: set[int]) -> set[int]:
    """The events that stand at `keys` in a state."""
    if len(keys) > FEW_USERS:
        return {event for key, event in store.state.get_group(group).items() if key in keys}
    return {event for key in keys if (event := store.state.find_in_group(group, key)) is not None}


def _is_world_readable(store: Store, row: RoomRow) -> bool:
    standing = store.state.find_current(row.number, row.state_generation, [VISIBILITY])
    clients = store.graph.list_clients(standing.values())
    return any(_member_of_content(client, "history_visibility") == "world_readable" for client in clients.values())


def _member_of_content(client: str, member: str) -> str | None:
    value = parse_members(client)["content"].get(member)
    return value if isinstance(value, str) else None


def _is_of(user_id: str, server: str) -> bool:
    return ":" in user_id and domain_of(user_id) == server
