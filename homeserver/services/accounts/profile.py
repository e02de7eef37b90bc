"""Profiles: name, avatar, and whatever fields clients agree on.

Those of local users are kept here; those of users of other servers are asked of these.
https://spec.matrix.org/v1.19/client-server-api/#profiles
"""

import re
from typing import Any, Protocol

from homeserver.domain.errors import BadRequest, Forbidden, NotFound
from homeserver.domain.identifiers import domain_of, fits
from homeserver.ports import RemoteProfiles
from homeserver.services.accounts.requester import Requester
from homeserver.services.kept_json import kept_json
from homeserver.services.persistence import Persistence
from homeserver.storage.store import Store

# "the total profile MUST be under 64 KiB"
MAX_PROFILE_BYTES = 64 * 1024 - 1
MAX_KEY_BYTES = 255
MAX_DISPLAYNAME_BYTES = 1_024
MAX_AVATAR_BYTES = 1_024

DISPLAYNAME = "displayname"
AVATAR_URL = "avatar_url"
# The fields that rooms show of their members.
SHOWN_IN_ROOMS = (DISPLAYNAME, AVATAR_URL)

# `m.tz` and "a custom field following the Common Namespaced Identifier Grammar": hyphens too, which the OpenAPI forgot.
_KEY = re.compile(r"avatar_url|displayname|[a-z][a-z0-9_-]*(?:\.[a-z0-9_-]+)+")
_MXC = re.compile(r"mxc://[^/?#\s\x00]+/[A-Za-z0-9_-]+")


class RoomProfiles(Protocol):
    """The rooms of a user, which show the name and the avatar in the user's member events."""

    async def profile_changed(self, user_id: str) -> None:
        """Brings the member events up to date."""
        ...


class Profiles:
    """`remote` is None where this server talks to no other."""

    def __init__(
        self, database: Persistence, rooms: RoomProfiles, server_name: str, remote: RemoteProfiles | None = None
    ) -> None:
        self._database = database
        self._rooms = rooms
        self._server_name = server_name
        self._remote = remote

    async def ask(self, user_id: str, key: str | None) -> dict[str, str]:
        """All fields, or the one named, each value as JSON, also of users of other servers. Raises NotFound, and
        RemoteError if their server does not answer."""
        if domain_of(user_id) == self._server_name:
            return await self.list_fields(user_id) if key is None else {key: await self.get_field(user_id, key)}
        found = None if self._remote is None else await self._remote.profile(user_id, key)
        if found is None or (key is not None and key not in found):
            raise NotFound("There is no such profile")
        wanted = found.items() if key is None else [(key, found[key])]
        return {name: kept_json(value) for name, value in wanted}

    async def list_fields(self, user_id: str) -> dict[str, str]:
        """All fields, each value as JSON. Raises NotFound for somebody who is not a user of this server."""

        def work(store: Store) -> dict[str, str]:
            fields = store.profiles.list_fields(user_id)
            if not fields and store.users.find(user_id) is None:
                raise NotFound("There is no profile of this user here")
            return fields

        return await self._database.read(work)

    async def get_field(self, user_id: str, key: str) -> str:
        """One value as JSON. Raises NotFound."""
        fields = await self._database.read(lambda store: store.profiles.list_fields(user_id), single=True)
        if key not in fields:
            raise NotFound(f"There is no {key[:MAX_KEY_BYTES]} of this user")
        return fields[key]

    async def set_field(self, requester: Requester, user_id: str, key: str, value: Any) -> None:
        """Raises Forbidden, and BadRequest: M_INVALID_PARAM, M_BAD_JSON, M_KEY_TOO_LARGE, M_PROFILE_TOO_LARGE.

        COMPAT: an empty name or avatar is none; that is how clients took it away before fields could be deleted.
        """
        _check_may_change(requester, user_id)
        _check_key(key)
        if key in SHOWN_IN_ROOMS and value == "":
            await self._remove(user_id, key)
            return
        _check_value(key, value)
        content = kept_json(value)

        def work(store: Store) -> bool:
            store.users.lock(user_id)
            fields = store.profiles.list_fields(user_id)
            if fields.get(key) == content:
                return False
            if _size({**fields, key: content}) > MAX_PROFILE_BYTES:
                raise BadRequest("A profile must stay under 64 KiB", "M_PROFILE_TOO_LARGE")
            store.profiles.set(user_id, key, content)
            return True

        if await self._database.write(work) and key in SHOWN_IN_ROOMS:
            await self._rooms.profile_changed(user_id)

    async def remove_field(self, requester: Requester, user_id: str, key: str) -> None:
        """Raises Forbidden, BadRequest. Nothing happens if there is no such field."""
        _check_may_change(requester, user_id)
        _check_key(key)
        await self._remove(user_id, key)

    async def _remove(self, user_id: str, key: str) -> None:
        def work(store: Store) -> bool:
            store.users.lock(user_id)
            if key not in store.profiles.list_fields(user_id):
                return False
            store.profiles.remove(user_id, key)
            return True

        if await self._database.write(work) and key in SHOWN_IN_ROOMS:
            await self._rooms.profile_changed(user_id)


def _check_may_change(requester: Requester, user_id: str) -> None:
    if requester.user_id != user_id:
        raise Forbidden("This is somebody else's profile")
    if requester.is_suspended:
        raise Forbidden("You cannot change your profile while suspended", "M_USER_SUSPENDED")


def _check_key(key: str) -> None:
    if not fits(key, MAX_KEY_BYTES):
        raise BadRequest(f"The key of a profile field may have at most {MAX_KEY_BYTES} bytes", "M_KEY_TOO_LARGE")
    if not _KEY.fullmatch(key):
        raise BadRequest("A profile field is avatar_url, displayname, m.tz, or named like com.example.field")


def _check_value(key: str, value: Any) -> None:
    if key in (DISPLAYNAME, AVATAR_URL, "m.tz") and not isinstance(value, str):
        raise BadRequest(f"{key} must be a string", "M_BAD_JSON")
    if key == DISPLAYNAME and not fits(value, MAX_DISPLAYNAME_BYTES):
        raise BadRequest(f"A name may have at most {MAX_DISPLAYNAME_BYTES} bytes and no U+0000")
    if key == AVATAR_URL and not (_MXC.fullmatch(value) and fits(value, MAX_AVATAR_BYTES)):
        raise BadRequest("avatar_url must be an mxc:// URI")


def _size(fields: dict[str, str]) -> int:
    """Bytes of the profile as JSON."""
    return 2 + sum(len(key.encode()) + len(content.encode()) + 4 for key, content in fields.items())
