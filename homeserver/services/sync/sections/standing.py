"""Where a user stands in each room as of a position, and how that changed since another."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from homeserver.domain.identifiers import domain_of
from homeserver.services.rooms.invite_policy import INVITE_PERMISSION, blocks_invites
from homeserver.services.server_user import server_user
from homeserver.storage.account_data import GLOBAL
from homeserver.storage.events import parse_members
from homeserver.storage.memberships import MembershipRow
from homeserver.storage.store import Store


@dataclass(frozen=True, slots=True)
class Invites:
    """Those by `ignored` users are not told, and none to a user who blocks them all, but for the one to the server's
    notices. `tell_all`: also old ones, as these wishes were changed."""

    ignored: Collection[str]
    tell_all: bool


@dataclass(slots=True)
class Standing:
    """By room number: the user's membership row as of `upto`.

    `newly_joined` are rooms in which the user was not joined at `after`, and is or was since. `left`, `invited` and
    `knocked` hold what is to be told now; `left_at` says of each left room up to which position the user may know it.
    """

    joined: dict[int, MembershipRow] = field(default_factory=dict)
    newly_joined: set[int] = field(default_factory=set)
    left: dict[int, MembershipRow] = field(default_factory=dict)
    left_at: dict[int, int] = field(default_factory=dict)
    invited: dict[int, MembershipRow] = field(default_factory=dict)
    knocked: dict[int, MembershipRow] = field(default_factory=dict)


def load_standing(
    store: Store, user_id: str, after: int | None, upto: int, include_leave: bool, invites: Invites
) -> Standing:
    """`after` is None for a first sync, which leaves forgotten rooms out."""
    standing = Standing()
    key = store.state.number_keys([("m.room.member", user_id)]).get(("m.room.member", user_id))
    if key is None:
        return standing
    rows = _rows(store, user_id, key, upto)
    then = {} if after is None else _memberships_at(store, key, after)
    for room, membership in then.items():
        if membership == "join" and room not in rows:
            # Branches were merged, and the room's state says nothing of the user any more.
            rows[room] = MembershipRow(user_id, room, "leave", 0, upto, user_id, True, None)
    forgotten: set[int] | None = None
    blocked: bool | None = None
    for row in rows.values():
        told = after is None or row.position > after
        if row.membership == "join":
            standing.joined[row.room] = row
            if after is None or (told and then.get(row.room) != "join"):
                standing.newly_joined.add(row.room)
        elif row.membership == "invite" and (told or invites.tell_all):
            if blocked is None:
                blocked = blocks_invites(store.account_data.find(user_id, GLOBAL, INVITE_PERMISSION))
            wanted = row.sender not in invites.ignored and not blocked
            if wanted or row.sender == server_user(domain_of(user_id)):
                standing.invited[row.room] = row
            elif then.get(row.room) == "join":
                _add_left(store, standing, replace(row, event=0), key, after, then)
        elif row.membership == "knock" and told:
            standing.knocked[row.room] = row
        elif row.membership in ("leave", "ban") and told and (after is not None or include_leave):
            if forgotten is None:
                forgotten = store.memberships.list_forgotten(user_id)
            if row.room not in forgotten:
                _add_left(store, standing, row, key, after, then)
            elif after is not None:
                # The other devices must hear that the room is gone, and nothing more.
                standing.left[row.room], standing.left_at[row.room] = row, 0
    return standing


def _add_left(
    store: Store, standing: Standing, row: MembershipRow, key: int, after: int | None, then: dict[int, str]
) -> None:
    """A room that the user is not in any more, or never was: of what happened outside of the stay, nothing is told."""
    joined, left = store.memberships.find_last_stay(row.room, key) or (0, 0)
    standing.left[row.room], standing.left_at[row.room] = row, left or 0
    if joined and (after is None or (joined > after and then.get(row.room) != "join")):
        standing.newly_joined.add(row.room)


def _rows(store: Store, user_id: str, key: int, upto: int) -> dict[int, MembershipRow]:
    """By room, the rows as they were at `upto`: what came later is taken back."""
    rows = {row.room: row for row in store.memberships.list_of_user(user_id)}
    before = store.memberships.list_before_first_change(key, upto)
    events = store.events.list_by_numbers({event for event in before.values() if event is not None})
    for room, number in before.items():
        event = events.get(number or 0)
        rows.pop(room, None)
        if event is not None and event.position is not None:
            membership = _membership(event.client)
            rows[room] = MembershipRow(
                user_id, room, membership, event.number, event.position, event.sender, True, None
            )
    return rows


def _memberships_at(store: Store, key: int, position: int) -> dict[int, str]:
    """By room, for rooms in which the user's membership changed after `position`: what it was then."""
    before = store.memberships.list_before_first_change(key, position)
    events = store.events.list_by_numbers({event for event in before.values() if event is not None})
    return {
        room: _membership(events[event].client)
        for room, event in before.items()
        if event is not None and event in events
    }


def _membership(client: str) -> str:
    membership = parse_members(client)["content"].get("membership")
    return membership if isinstance(membership, str) else "leave"
