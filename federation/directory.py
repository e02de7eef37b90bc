"""What other servers say of rooms and people: where an alias leads, their public rooms, a space, a profile.

Nothing of it is trusted to have its shape: what has not is left out, or the whole answer counts as none.
https://spec.matrix.org/v1.19/server-server-api/#querying-for-information
https://spec.matrix.org/v1.19/server-server-api/#public-room-directory
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import quote

from homeserver.domain.errors import RemoteError, RemoteRefused, RemoteUnreachable
from homeserver.domain.identifiers import domain_of, is_room_id, is_server_name
from homeserver.ports import RemoteSpace

V1 = "/_matrix/federation/v1"
SECONDS = 15.0
MAX_SERVERS = 20
MAX_VIA = 3
MAX_ROOMS = 1_000
MAX_CHILDREN = 1_000
MAX_TEXT = 4_000
MAX_FIELDS = 200

# The members of a room's description, by what they must be.
TEXTS = (
    "avatar_url",
    "canonical_alias",
    "encryption",
    "join_rule",
    "name",
    "room_type",
    "room_version",
    "topic",
    "im.nheko.summary.encryption",
    "im.nheko.summary.room_version",
)
FLAGS = ("guest_can_join", "world_readable")


class Calls(Protocol):
    async def get(
        self, destination: str, path: str, query: Sequence[tuple[str, str]] = (), *, timeout: float = 30.0
    ) -> Any: ...

    async def post(
        self,
        destination: str,
        path: str,
        body: Mapping[str, Any],
        query: Sequence[tuple[str, str]] = (),
        *,
        timeout: float = 30.0,
    ) -> Any: ...


class RemoteQueries:
    """`homeserver.ports.RemoteDirectory` and `RemoteProfiles`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def resolve_alias(self, alias: str) -> tuple[str, Sequence[str]] | None:
        server = domain_of(alias)
        try:
            answer = await self._calls.get(server, f"{V1}/query/directory", [("room_alias", alias)], timeout=SECONDS)
        except RemoteRefused as error:
            if error.status == 404:
                return None
            raise
        room_id = answer.get("room_id") if isinstance(answer, Mapping) else None
        servers = answer.get("servers") if isinstance(answer, Mapping) else None
        if not is_room_id(room_id) or not isinstance(servers, list):
            raise RemoteUnreachable(f"{server} does not say where {alias} leads")
        return room_id, [one for one in servers[: 10 * MAX_SERVERS] if is_server_name(one)][:MAX_SERVERS] or [server]

    async def public_rooms(self, server: str, query: Mapping[str, Any]) -> Mapping[str, Any]:
        answer = await self._calls.post(server, f"{V1}/publicRooms", query, timeout=SECONDS)
        chunk = answer.get("chunk") if isinstance(answer, Mapping) else None
        if not isinstance(chunk, list):
            raise RemoteUnreachable(f"{server} does not list its public rooms")
        rooms = [room for one in chunk[:MAX_ROOMS] if (room := read_summary(one)) is not None]
        page: dict[str, Any] = {"chunk": rooms}
        for token in ("next_batch", "prev_batch"):
            if isinstance(answer.get(token), str) and len(answer[token]) <= MAX_TEXT:
                page[token] = answer[token]
        estimate = answer.get("total_room_count_estimate")
        if isinstance(estimate, int) and not isinstance(estimate, bool) and estimate >= 0:
            page["total_room_count_estimate"] = estimate
        return page

    async def space(self, room_id: str, via: Sequence[str], *, suggested_only: bool) -> RemoteSpace | None:
        failed: RemoteError | None = None
        path = f"{V1}/hierarchy/{quote(room_id, safe='')}"
        for server in list(dict.fromkeys(via))[:MAX_VIA]:
            try:
                query = [("suggested_only", "true" if suggested_only else "false")]
                found = read_space(await self._calls.get(server, path, query, timeout=SECONDS), room_id)
            except RemoteRefused as error:
                if error.status not in (403, 404):
                    failed = failed or error
                continue
            except RemoteError as error:
                failed = failed or error
                continue
            if found is not None:
                return found
        if failed is not None:
            raise failed
        return None

    async def profile(self, user_id: str, key: str | None) -> Mapping[str, Any] | None:
        query = [("user_id", user_id), *([] if key is None else [("field", key)])]
        try:
            answer = await self._calls.get(domain_of(user_id), f"{V1}/query/profile", query, timeout=SECONDS)
        except RemoteRefused as error:
            if error.status in (403, 404):
                return None
            raise
        if not isinstance(answer, Mapping) or len(answer) > MAX_FIELDS:
            raise RemoteUnreachable("the answer is no profile")
        return {
            name: value
            for name, value in answer.items()
            # Null is for a field that is not set.
            if value is not None
            and (name not in ("displayname", "avatar_url") or (isinstance(value, str) and len(value) <= MAX_TEXT))
        }


def read_space(answer: object, room_id: str) -> RemoteSpace | None:
    """None if the answer is about another room, or has not its shape."""
    room = answer.get("room") if isinstance(answer, Mapping) else None
    told = read_summary(room)
    if told is None or told["room_id"] != room_id or not isinstance(answer, Mapping):
        return None
    children: dict[str, Mapping[str, Any]] = {}
    listed = answer.get("children")
    for one in listed[:MAX_CHILDREN] if isinstance(listed, list) else ():
        child = read_summary(one)
        if child is not None:
            children[child["room_id"]] = child
    hidden = answer.get("inaccessible_children")
    inaccessible = frozenset(
        one for one in (hidden if isinstance(hidden, list) else [])[:MAX_CHILDREN] if is_room_id(one)
    )
    return RemoteSpace(told, children, inaccessible)


def read_summary(room: object) -> dict[str, Any] | None:
    """A room's description, with those members that have their shape; None without the ones that it must have."""
    if not isinstance(room, Mapping) or not is_room_id(room.get("room_id")):
        return None
    members = room.get("num_joined_members")
    if not isinstance(members, int) or isinstance(members, bool) or members < 0:
        return None
    told: dict[str, Any] = {"room_id": room["room_id"], "num_joined_members": members}
    for flag in FLAGS:
        told[flag] = room.get(flag) is True
    for key in TEXTS:
        if isinstance(room.get(key), str) and len(room[key]) <= MAX_TEXT:
            told[key] = room[key]
    allowed = room.get("allowed_room_ids")
    if isinstance(allowed, list):
        told["allowed_room_ids"] = [one for one in allowed[:MAX_SERVERS] if is_room_id(one)]
    children = room.get("children_state")
    if isinstance(children, list):
        told["children_state"] = [one for one in children[:MAX_CHILDREN] if _is_child(one)]
    return told


def _is_child(event: object) -> bool:
    return (
        isinstance(event, Mapping)
        and event.get("type") == "m.space.child"
        and is_room_id(event.get("state_key"))
        and isinstance(event.get("sender"), str)
        and isinstance(event.get("content"), Mapping)
        and isinstance(event.get("origin_server_ts"), int)
    )
