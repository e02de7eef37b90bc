"""Walking through a space: the rooms and spaces beneath it, page by page, as far as somebody may see them.

The walk goes depth first and meets each room once, so a loop ends it nowhere. A page begins the walk anew and leaves
out what the pages before it had: a token is how many rooms that were, and holds nothing here. What a walk may cost is
bounded: in rooms, in depth, and in rooms that other servers are asked for.
https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from homeserver.domain.errors import BadRequest, Forbidden, RemoteError
from homeserver.domain.identifiers import is_room_id, is_server_name
from homeserver.ports import RemoteDirectory
from homeserver.services.persistence import Persistence
from homeserver.services.rooms.facts import RoomFacts
from homeserver.services.rooms.preview import may_see_remote, preview_rooms, standing_of
from homeserver.storage.events import EventRow, parse_members
from homeserver.storage.store import Store

DEFAULT_LIMIT, MAX_LIMIT = 50, 100
DEFAULT_DEPTH, MAX_DEPTH = 20, 50
# Of one walk: rooms that are met, rooms that are looked up, questions to other servers.
MAX_ROOMS, MAX_LOOKED_UP, MAX_QUESTIONS = 2_000, 10_000, 50
# Of one space, and of all spaces of a page: beyond it the page ends.
MAX_CHILDREN, MAX_CHILDREN_TOLD = 1_000, 5_000
MAX_VIA = 10
# A longer m.space.child is told without what the spec does not know of it.
MAX_CHILD_BYTES = 2_000
CHILD = "m.space.child"
# "a string ... of ASCII characters in the range \x20 (space) to \x7E (~), inclusive ... Must not exceed 50 characters."
_ORDER = re.compile(r"[\x20-\x7e]{1,50}")
_TOKEN = re.compile(r"w([0-9]{1,9})_([0-9]{1,4})_([01])")


@dataclass(frozen=True, slots=True)
class HierarchyRequest:
    """`max_depth` is None if it was left out."""

    limit: int = DEFAULT_LIMIT
    max_depth: int | None = None
    suggested_only: bool = False
    start: str | None = None


@dataclass(frozen=True, slots=True)
class Child:
    """An m.space.child: `event` is its stripped form with `origin_server_ts`."""

    room_id: str
    via: Sequence[str]
    order: str | None
    event: Mapping[str, Any]

    @property
    def rank(self) -> tuple[bool, str, int, str]:
        """Those with an order first; then the older ones."""
        return self.order is None, self.order or "", self.event["origin_server_ts"], self.room_id


@dataclass(frozen=True, slots=True)
class Visited:
    """A room of the tree that the user may see: its RoomSummary, and its children in their order."""

    summary: Mapping[str, Any]
    children: Sequence[Child] = ()

    def chunk(self) -> dict[str, Any]:
        return {**self.summary, "children_state": [child.event for child in self.children]}


@dataclass(slots=True)
class _Walk:
    """One walk of one user. `known` holds rooms of ours that were looked at and not met yet: None are not to be seen.

    `told` holds rooms that another server told beside the one it was asked for, which never speaks for a room of ours.
    """

    user_id: str
    suggested_only: bool
    known: dict[str, Visited | None] = field(default_factory=dict)
    told: dict[str, Visited | None] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    looked_up: int = 0
    questions: int = 0


class Spaces:
    """`remote` is None where this server talks to no other."""

    def __init__(self, database: Persistence, remote: RemoteDirectory | None) -> None:
        self._database = database
        self._remote = remote

    async def hierarchy(self, user_id: str, room_id: str, request: HierarchyRequest) -> dict[str, Any]:
        """A page of the tree. Raises Forbidden for a room that the user may not see, BadRequest for a wrong token."""
        skip, depth = _start(request)
        limit = min(request.limit, MAX_LIMIT)
        walk = _Walk(user_id, request.suggested_only)
        met = await self._walk(walk, room_id, depth, skip + limit + 1)
        if not met:
            raise Forbidden("You are not allowed to view this room")
        page = _page(met[skip : skip + limit])
        answer: dict[str, Any] = {"rooms": [visited.chunk() for visited in page]}
        if len(met) > skip + len(page):
            answer["next_batch"] = f"w{skip + len(page)}_{depth}_{request.suggested_only:d}"
        return answer

    async def _walk(self, walk: _Walk, root: str, depth: int, enough: int) -> list[Visited]:
        """The rooms that the user may see, in their order, until there are `enough`."""
        met: list[Visited] = []
        await self._look(walk, [root])
        # Of each space on the way down, the children that are still to come.
        way: list[Iterator[tuple[str, Sequence[str]]]] = [iter([(root, ())])]
        while way and len(met) < enough and len(walk.seen) < MAX_ROOMS:
            room_id, via = next(way[-1], (None, ()))
            if room_id is None:
                way.pop()
                continue
            if room_id in walk.seen:
                continue
            walk.seen.add(room_id)
            visited = await self._visit(walk, room_id, via)
            if visited is None:
                continue
            met.append(visited)
            if visited.children and len(way) <= depth and walk.looked_up < MAX_LOOKED_UP:
                await self._look(walk, [child.room_id for child in visited.children])
                way.append(iter([(child.room_id, child.via) for child in visited.children]))
        return met

    async def _look(self, walk: _Walk, room_ids: Sequence[str]) -> None:
        """Learns of those rooms that this server is in, in one read."""
        room_ids = [room_id for room_id in room_ids if room_id not in walk.seen and room_id not in walk.known]
        if not room_ids:
            return
        walk.looked_up += len(room_ids)

        def work(store: Store) -> dict[str, Visited | None]:
            return look_at(store, walk.user_id, room_ids, walk.suggested_only)

        walk.known.update(await self._database.read(work))

    async def _visit(self, walk: _Walk, room_id: str, via: Sequence[str]) -> Visited | None:
        for rooms in (walk.known, walk.told):
            if room_id in rooms:
                return rooms.pop(room_id)
        return await self._ask(walk, room_id, via)

    async def _ask(self, walk: _Walk, room_id: str, via: Sequence[str]) -> Visited | None:
        """A room that this server is not in, as another one tells it. What that one tells of its children is kept."""
        if self._remote is None or not via or walk.questions >= MAX_QUESTIONS:
            return None
        walk.questions += 1
        try:
            found = await self._remote.space(room_id, via, suggested_only=walk.suggested_only)
        except RemoteError:
            return None
        if found is None:
            return None
        rooms = [found.room, *found.children.values()]
        standing = await self._database.read(lambda store: standing_of(store, walk.user_id, rooms))
        for child_id, room in found.children.items():
            # A space is asked for itself: only then its own children are told.
            if child_id not in walk.seen and room.get("room_type") != "m.space":
                walk.told.setdefault(child_id, _visited(room, walk) if may_see_remote(room, standing) else None)
        for child_id in found.inaccessible - walk.seen:
            walk.told.setdefault(child_id, None)
        return _visited(found.room, walk) if may_see_remote(found.room, standing) else None


def look_at(
    store: Store, user_id: str | None, room_ids: Sequence[str], suggested_only: bool
) -> dict[str, Visited | None]:
    """Those of `room_ids` that this server is in; None stands for those that the user may not see."""
    numbers = store.rooms.list_numbers(list(room_ids))
    rows = store.rooms.list_by_numbers(list(numbers.values()))
    resident = store.previews.list_resident([row.number for row in rows])
    previews = preview_rooms(store, user_id, rows)
    spaces = [one.facts for one in previews.values() if one.facts.is_space]
    children = load_children(store, spaces, suggested_only)
    looked: dict[str, Visited | None] = {row.room_id: None for row in rows if row.number in resident}
    for room_id, preview in previews.items():
        looked[room_id] = Visited(preview.facts.summary(), children.get(room_id, ()))
    return looked


def load_children(store: Store, spaces: Sequence[RoomFacts], suggested_only: bool) -> dict[str, list[Child]]:
    """By room id: the children of spaces, in their order."""
    rows = {facts.row.number: facts.row for facts in spaces}
    events = store.previews.list_children([(row.number, row.state_generation) for row in rows.values()], MAX_CHILDREN)
    known = store.events.list_by_numbers({event for found in events.values() for event in found})
    return {
        rows[number].room_id: order_children((_stripped(known[one]) for one in found if one in known), suggested_only)
        for number, found in events.items()
    }


def order_children(events: Iterable[Mapping[str, Any]], suggested_only: bool) -> list[Child]:
    """The valid ones of m.space.child events. "Child rooms can be removed from a space by omitting the via key"."""
    children: list[Child] = []
    for event in events:
        content, room_id = event["content"], event["state_key"]
        servers, order = _servers(content), content.get("order")
        if not servers or not is_room_id(room_id) or (suggested_only and content.get("suggested") is not True):
            continue
        children.append(Child(room_id, servers, order if _is_order(order) else None, event))
    return sorted(children, key=lambda child: child.rank)[:MAX_CHILDREN]


def _servers(content: Mapping[str, Any]) -> list[str]:
    via = content.get("via")
    return [one for one in via if is_server_name(one)][:MAX_VIA] if isinstance(via, list) else []


def _is_order(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and _ORDER.fullmatch(value) is not None


def _stripped(row: EventRow) -> dict[str, Any]:
    content = parse_members(row.client)["content"]
    if len(row.client) > MAX_CHILD_BYTES:
        content = {key: value for key, value in content.items() if key in ("order", "suggested")}
        content = {key: value for key, value in content.items() if isinstance(value, bool) or _is_order(value)}
        content["via"] = _servers(parse_members(row.client)["content"])
    return {
        "type": row.type,
        "state_key": row.state_key,
        "content": content,
        "sender": row.sender,
        "origin_server_ts": row.origin_server_ts,
    }


def _visited(room: Mapping[str, Any], walk: _Walk) -> Visited:
    """Of a RoomSummary with `children_state` of another server."""
    summary = {key: value for key, value in room.items() if key != "children_state"}
    return Visited(summary, order_children(room.get("children_state", ()), walk.suggested_only))


def _page(met: Sequence[Visited]) -> list[Visited]:
    """As many as one answer may hold: one at least."""
    page: list[Visited] = []
    children = 0
    for visited in met:
        children += len(visited.children)
        if page and children > MAX_CHILDREN_TOLD:
            break
        page.append(visited)
    return page


def _start(request: HierarchyRequest) -> tuple[int, int]:
    """How many rooms the pages before had, and the depth. Raises BadRequest."""
    depth = None if request.max_depth is None else min(request.max_depth, MAX_DEPTH)
    if request.start is None:
        return 0, DEFAULT_DEPTH if depth is None else depth
    match = _TOKEN.fullmatch(request.start)
    if match is None or int(match[1]) > MAX_ROOMS or int(match[2]) > MAX_DEPTH:
        raise BadRequest("Not a token of this server")
    if depth not in (None, int(match[2])) or match[3] != f"{request.suggested_only:d}":
        raise BadRequest("suggested_only and max_depth cannot change on paginated requests")
    return int(match[1]), int(match[2])
