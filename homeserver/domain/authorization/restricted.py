"""Joining a restricted room: somebody who may invite vouches for the newcomer, and that user's server signs.
Whether the newcomer meets the `allow` conditions is for that server to find out, not for these rules.
https://spec.matrix.org/v1.19/rooms/v8/#authorisation-rules
"""

from collections.abc import Mapping

from homeserver.domain.authorization.create import server_of
from homeserver.domain.authorization.selection import StateLookup
from homeserver.domain.event import Event
from homeserver.domain.power import PowerLevels
from homeserver.domain.versions import RoomVersion


def is_restricted(version: RoomVersion, join_rule: object) -> bool:
    """Whether rooms of this version with this join rule take joins that a member vouches for."""
    if join_rule == "restricted":
        return version.restricted
    return join_rule == "knock_restricted" and version.knock_restricted


def authorize_vouched_join(event: Event, state: StateLookup, power: PowerLevels) -> str | None:
    """None if a joined user with the power to invite vouches for this join, otherwise the reason why not."""
    authoriser = event.content.get("join_authorised_via_users_server")
    if not isinstance(authoriser, str):
        return "Nobody vouches for this join to a restricted room."
    member = state(("m.room.member", authoriser))
    if member is None or member.content.get("membership") != "join":
        return "The user who vouches for this join is not joined."
    if power.of_user(authoriser) < power.for_action("invite"):
        return "The user who vouches for this join may not invite."
    return None


def check_authorising_signature(event: Event) -> str | None:
    """None unless the event names a vouching user whose server has not signed it.

    That the signatures are genuine was checked before (check 2 on receipt, which needs keys); here is only asked
    whether this one is among them. An unsigned draft fails, so `authorize` leaves this rule to `judge`.
    """
    if not event.version.restricted or event.type != "m.room.member":
        return None
    if "join_authorised_via_users_server" not in event.content:
        return None
    authoriser = event.content["join_authorised_via_users_server"]
    signatures = event.pdu.get("signatures")
    if isinstance(authoriser, str) and isinstance(signatures, Mapping) and signatures.get(server_of(authoriser)):
        return None
    return "The server of the user who vouches for this join has not signed it."
