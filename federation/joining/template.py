"""The template of a membership event, as a server of the room gives it: what we take of it, and what we refuse to sign.

A template says where the event stands in the room, and nothing else: everything that the event means is ours to say.
https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_joinroomiduserid
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from homeserver.domain.draft import Reference
from homeserver.domain.errors import BadRequest, RemoteUnreachable
from homeserver.domain.hashing import decode_base64
from homeserver.domain.identifiers import is_event_id, is_user_id
from homeserver.domain.versions import ROOM_VERSIONS, RoomVersion

AUTHORISER = "join_authorised_via_users_server"


@dataclass(frozen=True, slots=True)
class Template:
    """`authoriser`: the user of the other server who lets ours in, where a join is restricted."""

    version: RoomVersion
    prev_events: list[Reference]
    auth_events: list[Reference]
    depth: int
    authoriser: str | None


def read_template(answer: object, room_id: str, user_id: str, membership: str) -> Template:
    """Raises RemoteUnreachable unless the answer is a template of this event and no other."""
    event = answer.get("event") if isinstance(answer, Mapping) else None
    identifier = answer.get("room_version", "1") if isinstance(answer, Mapping) else None
    if not isinstance(event, Mapping) or not isinstance(identifier, str):
        raise RemoteUnreachable("the answer holds no template of an event")
    version = ROOM_VERSIONS.get(identifier)
    if version is None:
        raise RemoteUnreachable(f"the room is of version {identifier!r:.40}, which is not known here")
    expected = {"type": "m.room.member", "room_id": room_id, "sender": user_id, "state_key": user_id}
    for key, value in expected.items():
        if event.get(key) != value:
            raise RemoteUnreachable(f"the template's {key} is not {value}: it is not signed")
    content = event.get("content")
    if not isinstance(content, Mapping) or content.get("membership") != membership:
        raise RemoteUnreachable(f"the template's membership is not {membership}: it is not signed")
    depth = event.get("depth")
    if not isinstance(depth, int) or isinstance(depth, bool) or depth < 0:
        raise RemoteUnreachable("the template's depth is no number")
    authoriser = content.get(AUTHORISER) if membership == "join" and version.restricted else None
    if authoriser is not None and not is_user_id(authoriser):
        raise RemoteUnreachable("the template is authorised by nobody")
    return Template(
        version,
        _references(version, event, "prev_events"),
        _references(version, event, "auth_events"),
        depth,
        authoriser,
    )


def _references(version: RoomVersion, event: Mapping[str, Any], key: str) -> list[Reference]:
    found = event.get(key)
    if not isinstance(found, list) or (key == "prev_events" and not found):
        raise RemoteUnreachable(f"the template has no {key}")
    references: list[Reference] = []
    for one in found:
        if not version.reference_pairs and is_event_id(one):
            references.append(one)
        elif version.reference_pairs and isinstance(one, list) and len(one) == 2 and is_event_id(one[0]):
            references.append((one[0], _hash(one[1])))
        else:
            raise RemoteUnreachable(f"the template has something in {key} that is no event")
    return references


def _hash(hashes: object) -> bytes | None:
    """COMPAT: Synapse leaves the hashes out, and nobody looks at them."""
    if not isinstance(hashes, Mapping):
        raise RemoteUnreachable("the template refers to an event without its hashes")
    sha256 = hashes.get("sha256")
    if sha256 is None:
        return None
    if not isinstance(sha256, str):
        raise RemoteUnreachable("the template refers to an event by what is no hash")
    try:
        return decode_base64(sha256)
    except BadRequest as error:
        raise RemoteUnreachable("the template refers to an event by what is no hash") from error
