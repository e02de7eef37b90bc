"""The room directory: which rooms of this server are published, and the pages in which people look through them.

Rooms with most members come first. A page's token is a place in that order, so it stays good however long somebody
waits; rooms whose members come and go meanwhile may be met twice, or be missed.
https://spec.matrix.org/v1.19/client-server-api/#published-room-directory
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from homeserver.domain.errors import BadRequest, Forbidden, NotFound, RemoteError
from homeserver.domain.identifiers import is_server_name
from homeserver.ports import RemoteDirectory
from homeserver.services.persistence import Persistence
from homeserver.services.rooms.facts import SEARCH_KEYS, RoomFacts, load_facts
from homeserver.services.rooms.local_rules import CANONICAL_ALIAS
from homeserver.services.rooms.writer import Writer
from homeserver.storage.directory import MOST_JOINED, DirectoryPlace
from homeserver.storage.store import Store

DEFAULT_LIMIT, MAX_LIMIT = 100, 500
MAX_TERM = 500
# A search looks at so many rooms at once, and at so many in all for one page.
BATCH, MAX_LOOKED_AT = 500, 20_000
START = DirectoryPlace(MOST_JOINED, 0)


@dataclass(frozen=True, slots=True)
class DirectoryQuery:
    """`room_types`: None for rooms of any; in it, None stands for rooms without type. `network`: rooms of a bridge."""

    limit: int = DEFAULT_LIMIT
    since: str | None = None
    term: str | None = None
    room_types: tuple[str | None, ...] | None = None
    all_networks: bool = False
    network: str | None = None

    @property
    def is_filtered(self) -> bool:
        return bool(self.term) or self.room_types is not None

    def body(self) -> dict[str, Any]:
        """As another server is asked."""
        filter: dict[str, Any] = {}
        if self.term:
            filter["generic_search_term"] = self.term
        if self.room_types is not None:
            filter["room_types"] = list(self.room_types)
        asked: dict[str, Any] = {"limit": self.limit, "since": self.since, "third_party_instance_id": self.network}
        asked |= {"filter": filter or None, "include_all_networks": self.all_networks or None}
        return {key: value for key, value in asked.items() if value is not None}


@dataclass(slots=True)
class _Page:
    """The rooms of a page in the order in which they were met. `end`: up to where was looked, if there is more."""

    rooms: list[DirectoryPlace] = field(default_factory=list)
    end: DirectoryPlace | None = None


class RoomDirectory:
    """`remote` is None where this server talks to no other."""

    def __init__(self, database: Persistence, writer: Writer, remote: RemoteDirectory | None) -> None:
        self._database = database
        self._writer = writer
        self._remote = remote

    async def is_published(self, room_id: str) -> bool:
        """Raises NotFound."""
        return await self._database.read(lambda store: store.rooms.get(room_id).published, single=True)

    async def publish(self, user_id: str, room_id: str, published: bool, *, is_admin: bool) -> None:
        """Whoever may say how the room is called may, and administrators. Raises NotFound, Forbidden."""

        def work(store: Store) -> None:
            room = self._writer.open(store, room_id)
            power = room.power
            may_name = room.membership(user_id) == "join" and power.of_user(user_id) >= power.for_event(
                CANONICAL_ALIAS, True
            )
            if not may_name and not is_admin:
                raise Forbidden("You may not say whether this room is in the directory")
            if room.row.published != published:
                store.rooms.set_published(room.row.number, published)

        await self._database.write(work, room=room_id)

    async def page(self, query: DirectoryQuery, server: str | None = None) -> dict[str, Any]:
        """A PublicRoomsResponse, of the directory of another server if one is named. Raises BadRequest, NotFound."""
        if server is not None and server != self._writer.server_name:
            return await self._remote_page(query, server)
        if query.network is not None:
            # Rooms of bridges are in the lists of these; there is none without an application service.
            return {"chunk": [], "total_room_count_estimate": 0}
        place, backwards = parse_since(query.since)
        limit = min(query.limit, MAX_LIMIT) or MAX_LIMIT

        def work(store: Store) -> dict[str, Any]:
            page = _look_through(store, query, place, backwards, limit)
            if backwards:
                page.rooms.reverse()
            answer: dict[str, Any] = {
                "chunk": [facts.published() for facts in _facts(store, page.rooms)],
                "total_room_count_estimate": store.directory.count_published(),
            }
            edge = page.rooms[-1 if backwards else 0] if page.rooms and query.since is not None else None
            after, before = (edge, page.end) if backwards else (page.end, edge)
            if after is not None:
                answer["next_batch"] = _token("n", after)
            if before is not None:
                answer["prev_batch"] = _token("p", before)
            return answer

        return await self._database.read_long(work)

    async def _remote_page(self, query: DirectoryQuery, server: str) -> dict[str, Any]:
        if not is_server_name(server):
            raise BadRequest("server is not the name of a server")
        if self._remote is None:
            raise NotFound("This server does not talk to others")
        try:
            return dict(await self._remote.public_rooms(server, query.body()))
        except RemoteError as error:
            raise NotFound(f"{server} did not tell its rooms") from error


def parse_since(since: str | None) -> tuple[DirectoryPlace, bool]:
    """The place after which (True: before which) a page lies. Raises BadRequest."""
    if since is None:
        return START, False
    joined, _, number = since[1:].partition("_")
    if since[:1] not in ("n", "p") or not all(one.isascii() and one.isdigit() for one in (joined, number)):
        raise BadRequest("Not a token of this server")
    if len(joined) > 9 or len(number) > 18:
        raise BadRequest("Not a token of this server")
    return DirectoryPlace(int(joined), int(number)), since[0] == "p"


def _token(direction: str, place: DirectoryPlace) -> str:
    return f"{direction}{place.joined}_{place.number}"


def _look_through(store: Store, query: DirectoryQuery, place: DirectoryPlace, backwards: bool, limit: int) -> _Page:
    """The next rooms from a place on that the query wants, `limit` at most."""
    if not query.is_filtered:
        found = store.directory.list_published(place, limit + 1, backwards=backwards)
        return _Page(found[:limit], found[limit - 1] if len(found) > limit else None)
    wanted = _filter(query)
    page = _Page()
    for _ in range(MAX_LOOKED_AT // BATCH):
        batch = store.directory.list_published(place, BATCH, backwards=backwards)
        for one, facts in zip(batch, _facts(store, batch, search=True), strict=True):
            if wanted(facts):
                if len(page.rooms) == limit:
                    page.end = page.rooms[-1]
                    return page
                page.rooms.append(one)
        if len(batch) < BATCH:
            return page
        place = batch[-1]
    page.end = place
    return page


def _facts(store: Store, places: list[DirectoryPlace], *, search: bool = False) -> list[RoomFacts]:
    """In the order of `places`."""
    rows = {row.number: row for row in store.rooms.list_by_numbers([place.number for place in places])}
    found = [rows[place.number] for place in places]
    return load_facts(store, found, SEARCH_KEYS) if search else load_facts(store, found)


def _filter(query: DirectoryQuery) -> Callable[[RoomFacts], bool]:
    term = (query.term or "").casefold()

    def wanted(facts: RoomFacts) -> bool:
        if query.room_types is not None and facts.room_type not in query.room_types:
            return False
        texts = (facts.name, facts.topic, facts.canonical_alias)
        return not term or any(text is not None and term in text.casefold() for text in texts)

    return wanted
