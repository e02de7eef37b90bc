"""Who makes a request: what an access token stands for."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Requester:
    """A device of a local user. `expires_ts` is ms, None: never."""

    user_id: str
    device_id: str
    token_hash: bytes
    is_admin: bool
    is_suspended: bool
    is_locked: bool
    expires_ts: int | None
    is_guest: bool = False
