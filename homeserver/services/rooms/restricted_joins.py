"""Who lets somebody into a restricted room: a member of this server who may invite, and vouches for the join.

https://spec.matrix.org/v1.19/client-server-api/#restricted-rooms
"""

from collections.abc import Mapping

from homeserver.domain.errors import BadRequest, Forbidden
from homeserver.domain.event import Event
from homeserver.services.rooms.room import LockedRoom

MAX_ALLOWED_ROOMS = 50


def find_authoriser(room: LockedRoom, user_id: str) -> str | None:
    """None if the user needs nobody: the room is not restricted, or the user is invited or joined.

    Raises Forbidden if the user is in none of the rooms that would let them in, or nobody of us may invite; BadRequest
    (M_UNABLE_TO_AUTHORISE_JOIN) if we are in none of these rooms, so that we cannot tell.
    """
    rules = room.lookup(("m.room.join_rules", ""))
    if rules is None or not is_restricted(room, rules) or room.membership(user_id) in ("invite", "join"):
        return None
    check_allowed(room, rules, user_id)
    level = room.power.for_action("invite")
    for row in room.store.memberships.list_of_room(room.row.number, ("join",)):
        if row.local and room.power.of_user(row.user_id) >= level:
            return row.user_id
    raise Forbidden("Nobody of this server may let you in", "M_UNABLE_TO_GRANT_JOIN")


def check_allowed(room: LockedRoom, rules: Event, user_id: str) -> None:
    """Raises as `find_authoriser` unless the user is in one of the rooms that let people into this one."""
    allowed = allowed_rooms(rules)
    rows = {row.room for row in room.store.memberships.list_of_user(user_id) if row.membership == "join"}
    joined = {other.room_id for other in room.store.rooms.list_by_numbers(list(rows))}
    if joined & allowed:
        return
    known = room.store.rooms.list_numbers(list(allowed))
    if allowed and not any(room.store.rooms.is_resident(number) for number in known.values()):
        raise BadRequest("This server is in none of the rooms that would let you in", "M_UNABLE_TO_AUTHORISE_JOIN")
    raise Forbidden("You are in none of the rooms that would let you in")


def is_restricted(room: LockedRoom, rules: Event) -> bool:
    rule = rules.content.get("join_rule")
    return (rule == "restricted" and room.version.restricted) or (
        rule == "knock_restricted" and room.version.knock_restricted
    )


def allowed_rooms(rules: Event) -> set[str]:
    """The rooms whose members are let in."""
    allow = rules.content.get("allow")
    found: set[str] = set()
    for one in allow[:MAX_ALLOWED_ROOMS] if isinstance(allow, list) else ():
        if isinstance(one, Mapping) and one.get("type") == "m.room_membership" and isinstance(one.get("room_id"), str):
            found.add(one["room_id"])
    return found
