"""The tables of servers in rooms follow the m.room.member events of the current state: whom an event concerns."""

from collections import Counter

from homeserver.domain.identifiers import domain_of, is_user_id
from homeserver.services.rooms.changes import Appended
from homeserver.services.rooms.projections.members import membership_of
from homeserver.services.rooms.room import LockedRoom


def apply(room: LockedRoom, appended: Appended, server_name: str) -> None:
    """Counts joined users of other servers. A server of which nobody is joined hears of the end of an invite or a knock
    of its user all the same."""
    joined: Counter[str] = Counter()
    told: set[str] = set()
    for change in appended.changes:
        # Old rooms may hold members whose state key is no user's.
        if change.key[0] != "m.room.member" or not is_user_id(change.key[1]):
            continue
        server = domain_of(change.key[1])
        if server == server_name:
            continue
        before, after = membership_of(change.before), membership_of(change.after)
        joined[server] += (after == "join") - (before == "join")
        if change.after is appended.stored and before in ("invite", "knock") and after in ("leave", "ban"):
            told.add(server)
    if joined:
        room.store.room_servers.change(room.row.number, appended.position, joined, told)
