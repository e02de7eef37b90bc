"""Where a user stands in each room as of a position, and how that changed since another."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from homeserver.storage.events import parse_members
from homeserver.storage.memberships import MembershipRow
from homeserver.storage.store import Store


@dataclass(slots=True)
class Standing:
    """By room number: the user's membership row as of `upto`.

    `newly_joined` are joined rooms in which the user was not joined at `after`; `left`, `invited` and `knocked` hold
    what is to be told now.
    """

    joined: dict[int, MembershipRow] = field(default_factory=dict)
    newly_joined: set[int] = field(default_factory=set)
    left: dict[int, MembershipRow] = field(default_factory=dict)
    invited: dict[int, MembershipRow] = field(default_factory=dict)
    knocked: dict[int, MembershipRow] = field(default_factory=dict)


def load_standing(store: Store, user_id: str, after: int | None, upto: int, include_leave: bool) -> Standing:
    """`after` is None for a first sync. Forgotten rooms are left out."""
    key = store.state.number_keys([("m.room.member", user_id)]).get(("m.room.member", user_id))
    rows = store.memberships.list_of_user(user_id)
    if any(row.position > upto for row in rows) and key is not None:
        rows = _as_of(store, rows, key, upto)
    changed = after is not None and any(row.position > after for row in rows)
    then = _memberships_at(store, key, after) if changed and key is not None and after is not None else {}
    forgotten: set[int] | None = None
    standing = Standing()
    for row in rows:
        told = after is None or row.position > after
        if row.membership == "join":
            standing.joined[row.room] = row
            if after is None or (told and then.get(row.room) != "join"):
                standing.newly_joined.add(row.room)
        elif row.membership == "invite" and told:
            standing.invited[row.room] = row
        elif row.membership == "knock" and told:
            standing.knocked[row.room] = row
        elif row.membership in ("leave", "ban"):
            if forgotten is None:
                forgotten = store.memberships.list_forgotten(user_id)
            if row.room not in forgotten and (include_leave if after is None else told):
                standing.left[row.room] = row
    return standing


def _as_of(store: Store, rows: Iterable[MembershipRow], key: int, upto: int) -> list[MembershipRow]:
    """The rows as they were at `upto`: what came later is taken back."""
    before = store.memberships.list_before_first_change(key, upto)
    events = store.events.list_by_numbers({event for event in before.values() if event is not None})
    found: list[MembershipRow] = []
    for row in rows:
        if row.position <= upto:
            found.append(row)
            continue
        event = events.get(before.get(row.room) or 0)
        if event is not None and event.position is not None:
            membership = _membership(event.client)
            found.append(
                replace(row, membership=membership, event=event.number, position=event.position, sender=event.sender)
            )
    return found


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
