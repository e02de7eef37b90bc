"""What guests may ask for: the declared list, as the spec gives it. Everything else that needs a user is not for them.

A path is written as the spec writes it. A route is open if it is on the list; where the list has a literal and the
route a parameter (a profile's field), it is open for that value.
https://spec.matrix.org/v1.19/client-server-api/#guest-access
"""

import re
from collections.abc import Mapping

V1, V3 = "/_matrix/client/v1", "/_matrix/client/v3"
ROOM = V3 + "/rooms/{roomId}"

READING = (
    f"GET {ROOM}/state",
    f"GET {ROOM}/context/{{eventId}}",
    f"GET {ROOM}/event/{{eventId}}",
    # The state key may be empty, and then its slash may be left out.
    f"GET {ROOM}/state/{{eventType}}",
    f"GET {ROOM}/state/{{eventType}}/",
    f"GET {ROOM}/state/{{eventType}}/{{stateKey}}",
    f"GET {ROOM}/messages",
    f"GET {ROOM}/members",
    f"GET {ROOM}/initialSync",
    f"GET {V3}/sync",
    f"GET {V3}/events",
    f"GET {V1}/media/download/{{serverName}}/{{mediaId}}",
    f"GET {V1}/media/download/{{serverName}}/{{mediaId}}/{{fileName}}",
    f"GET {V1}/media/thumbnail/{{serverName}}/{{mediaId}}",
)
SENDING = (
    f"POST {ROOM}/join",
    f"POST {ROOM}/leave",
    f"PUT {ROOM}/send/{{eventType}}/{{txnId}}",
    f"PUT {ROOM}/state/{{eventType}}",
    f"PUT {ROOM}/state/{{eventType}}/",
    f"PUT {ROOM}/state/{{eventType}}/{{stateKey}}",
    f"PUT {V3}/sendToDevice/{{eventType}}/{{txnId}}",
)
ACCOUNT = (
    # "Guest users may only modify their display name; other profile fields may not be changed."
    f"PUT {V3}/profile/{{userId}}/displayname",
    f"DELETE {V3}/profile/{{userId}}/displayname",
    f"GET {V3}/devices",
    f"GET {V3}/devices/{{deviceId}}",
    f"PUT {V3}/devices/{{deviceId}}",
    f"GET {V3}/account/whoami",
)
ENCRYPTION = (
    f"POST {V3}/keys/upload",
    f"POST {V3}/keys/query",
    f"POST {V3}/keys/claim",
)
# NOTSPEC: of rooms that anybody may look at without any account, guests are told too.
STRANGERS = (
    f"GET {V1}/room_summary/{{roomIdOrAlias}}",
    "GET /_matrix/client/unstable/im.nheko.summary/summary/{roomIdOrAlias}",
    "GET /_matrix/client/unstable/im.nheko.summary/rooms/{roomIdOrAlias}/summary",
)
OPEN = (*READING, *SENDING, *ACCOUNT, *ENCRYPTION, *STRANGERS)

_PARAMETER = re.compile(r"\{(.+)\}")


def open_to_guests(method: str, path: str) -> Mapping[str, str] | None:
    """Which values the parameters of a route must have for a guest, most often none; None if it is not for guests."""
    for entry in OPEN:
        listed_method, listed = entry.split(" ")
        values = _covered(path, listed) if listed_method == method else None
        if values is not None:
            return values
    return None


def _covered(path: str, listed: str) -> Mapping[str, str] | None:
    """The parameters of `path` that are literals in `listed`; None if they are different paths."""
    ours, theirs = path.split("/"), listed.split("/")
    if len(ours) != len(theirs):
        return None
    values = {}
    for own, other in zip(ours, theirs, strict=True):
        parameter = _PARAMETER.fullmatch(own)
        if parameter is None:
            if own != other:
                return None
        elif not other:  # a parameter is never empty
            return None
        elif not _PARAMETER.fullmatch(other):
            values[parameter[1]] = other
    return values
