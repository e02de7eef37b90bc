"""Who may see what a room says of itself, without being in it: for summaries and spaces.

Its state, its members and its history are another matter (`services.access`).
https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homeserver.domain.event import StateKey
from homeserver.services.rooms.facts import ALL_KEYS, RoomFacts, load_facts
from homeserver.storage.rooms import RoomRow
from homeserver.storage.store import Store


@dataclass(frozen=True, slots=True)
class Preview:
    """A room that somebody may see; `membership` is theirs, if they have one."""

    facts: RoomFacts
    membership: str | None


def preview_rooms(
    store: Store, user_id: str | None, rows: Sequence[RoomRow], keys: Sequence[StateKey] = ALL_KEYS
) -> dict[str, Preview]:
    """By room id: those of `rows` that the user, or (None) everybody, may see.

    Rooms that nobody of this server is in are left out: what was known of them may be old.
    """
    resident = store.previews.list_resident([row.number for row in rows])
    found = load_facts(store, [row for row in rows if row.number in resident], keys)
    memberships = {} if user_id is None else store.previews.list_memberships(user_id, list(resident))
    joined = rooms_that_let_in(store, user_id, (facts for facts in found if facts.is_restricted))
    return {
        facts.row.room_id: Preview(facts, membership)
        for facts in found
        if may_preview(facts, membership := memberships.get(facts.row.number), joined)
    }


def rooms_that_let_in(store: Store, user_id: str | None, restricted: Iterable[RoomFacts]) -> frozenset[str]:
    """The rooms that the user is joined to, of those that restricted rooms name."""
    named = {room_id for facts in restricted for room_id in facts.allowed_room_ids}
    if user_id is None or not named:
        return frozenset()
    return frozenset(store.previews.list_joined_among(user_id, sorted(named)))


def may_preview(facts: RoomFacts, membership: str | None, joined: frozenset[str]) -> bool:
    """Whether a user with this membership, who is joined to the rooms `joined`, may see the room.

    "The requesting user is currently a member", or "already has permission to join", or the room is "knockable", or
    world_readable. Whoever is banned has no permission to join, nor to knock.
    """
    if facts.world_readable or membership in ("join", "invite"):
        return True
    if membership == "ban":
        return False
    if facts.join_rule == "public" or facts.is_knockable:
        return True
    return facts.is_restricted and not joined.isdisjoint(facts.allowed_room_ids)


@dataclass(frozen=True, slots=True)
class Standing:
    """Of a user among rooms of other servers: the membership by room id, and which rooms they are joined to."""

    memberships: Mapping[str, str]
    joined: frozenset[str]


def standing_of(store: Store, user_id: str, rooms: Sequence[Mapping[str, Any]]) -> Standing:
    """What `may_see_remote` must know of the user to decide about `rooms`."""
    numbers = store.rooms.list_numbers([room["room_id"] for room in rooms])
    memberships = store.previews.list_memberships(user_id, list(numbers.values()))
    named = {room_id for room in rooms for room_id in room.get("allowed_room_ids", ())}
    return Standing(
        {room_id: memberships[number] for room_id, number in numbers.items() if number in memberships},
        frozenset(store.previews.list_joined_among(user_id, sorted(named))),
    )


def may_see_remote(room: Mapping[str, Any], standing: Standing) -> bool:
    """As `may_preview`, of a RoomSummary of another server, which has decided about this server as a whole."""
    membership = standing.memberships.get(room["room_id"])
    if room.get("world_readable") or membership in ("join", "invite"):
        return True
    if membership == "ban":
        return False
    if room.get("join_rule", "public") in ("public", "knock", "knock_restricted"):
        return True
    return not standing.joined.isdisjoint(room.get("allowed_room_ids", ()))
