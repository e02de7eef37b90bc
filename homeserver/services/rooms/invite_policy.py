"""Whom nobody may invite: users who block all invites.

Ignoring somebody hides that one's invites (`services.sync`); it forbids none.
https://spec.matrix.org/v1.19/client-server-api/#invite-permission
"""

import orjson

from homeserver.domain.errors import Forbidden
from homeserver.storage.account_data import GLOBAL
from homeserver.storage.store import Store

INVITE_PERMISSION = "m.invite_permission_config"


def blocks_invites(content: str | None) -> bool:
    """From the content of m.invite_permission_config. "A missing, invalid or unsupported value means that the user
    wants to receive invites as normal"."""
    return content is not None and orjson.loads(content).get("default_action") == "block"


def check_invite(store: Store, user_id: str) -> None:
    """Raises Forbidden (M_INVITE_BLOCKED) if the user wants no invites. Whoever is not of this server has no such
    data here: their server decides."""
    if blocks_invites(store.account_data.find(user_id, GLOBAL, INVITE_PERMISSION)):
        raise Forbidden("This user does not want to be invited", "M_INVITE_BLOCKED")
