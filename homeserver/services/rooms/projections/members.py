"""The table of memberships follows the m.room.member events of the current state."""

from homeserver.domain.identifiers import domain_of, is_user_id
from homeserver.services.rooms.changes import Appended, StateChange
from homeserver.services.rooms.room import LockedRoom
from homeserver.storage.events import StoredEvent
from homeserver.storage.memberships import MembershipRow


def apply(room: LockedRoom, appended: Appended, server_name: str) -> None:
    """Writes a row per changed member and adds up the differences of the counts."""
    rows: list[MembershipRow] = []
    for change in appended.changes:
        # Old rooms may hold members whose state key is no user's.
        if change.key[0] != "m.room.member" or not is_user_id(change.key[1]):
            continue
        _count(appended, change)
        user_id = change.key[1]
        if change.after is None:
            room.store.memberships.remove(user_id, room.row.number)
            continue
        event = change.after.event
        local = domain_of(user_id) == server_name
        membership = membership_of(change.after)
        rows.append(
            MembershipRow(
                user_id=user_id,
                room=room.row.number,
                membership=membership or "leave",
                event=change.after.number,
                position=appended.position,
                sender=event.sender,
                local=local,
                display_name=display_name(event.content.get("displayname")),
            )
        )
        if local and membership in ("join", "invite", "knock"):
            room.store.memberships.remember(user_id, room.row.number)
    room.store.memberships.put_many(room.row.number, appended.position, rows)


def membership_of(stored: StoredEvent | None) -> str | None:
    membership = None if stored is None else stored.event.content.get("membership")
    return membership if isinstance(membership, str) else None


def display_name(value: object) -> str | None:
    """What a member event may hold as a name, in the form that a column can keep."""
    return value.replace("\0", "")[:255] if isinstance(value, str) else None


def _count(appended: Appended, change: StateChange) -> None:
    before, after = membership_of(change.before), membership_of(change.after)
    appended.joined += (after == "join") - (before == "join")
    appended.invited += (after == "invite") - (before == "invite")
