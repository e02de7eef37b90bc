"""What this server can do and others may not.

https://spec.matrix.org/v1.19/client-server-api/#capabilities-negotiation
"""

from collections.abc import Iterable

from clients.authentication import Door, Result
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.requester import Requester


class Capabilities:
    def __init__(self, default_room_version: str, room_versions: Iterable[str]) -> None:
        self._capabilities = {
            "m.change_password": {"enabled": True},
            "m.room_versions": {
                "default": default_room_version,
                "available": dict.fromkeys(room_versions, "stable"),
            },
            "m.profile_fields": {"enabled": True},
            "m.set_displayname": {"enabled": True},
            "m.set_avatar_url": {"enabled": True},
            "m.3pid_changes": {"enabled": False},
            "m.get_login_token": {"enabled": False},
            "m.forget_forced_upon_leave": {"enabled": False},
        }

    def routes(self, door: Door) -> list[Route]:
        return [door.user("GET", "/_matrix/client/v3/capabilities", self.capabilities)]

    async def capabilities(self, request: Request, requester: Requester) -> Result:
        return {"capabilities": self._capabilities}
