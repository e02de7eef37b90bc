"""We come into a room of other servers: its state is taken over, and our user's join is its first event here.

https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
"""

from collections.abc import Mapping, Sequence

from homeserver.domain.authorization.selection import CREATE
from homeserver.domain.errors import RemoteError
from homeserver.domain.event import Event, StateKey
from homeserver.domain.verdict import Accepted
from homeserver.domain.versions import RoomVersion
from homeserver.ports import Clock
from homeserver.services.persistence import Persistence
from homeserver.services.rooms.append import Append
from homeserver.services.rooms.guest_access import send_away
from homeserver.services.rooms.placing import Arrival
from homeserver.services.rooms.remote.claims import claim_state
from homeserver.services.rooms.remote.outliers import add_outliers, cites
from homeserver.services.rooms.remote.stubs import find_or_add_room
from homeserver.services.rooms.writer import Writer
from homeserver.storage.store import Store

# So many events are stored in one transaction, the last of them in that of the join: before it takes a position, which
# others wait for.
BATCH = 500


class Entering:
    def __init__(self, database: Persistence, writer: Writer, append: Append, clock: Clock) -> None:
        self._database = database
        self._writer = writer
        self._append = append
        self._clock = clock

    async def enter(
        self,
        version: RoomVersion,
        room_id: str,
        join: Event,
        state: Sequence[Event],
        auth_chain: Sequence[Event],
    ) -> None:
        """`state` is that before `join`, and `auth_chain` what authorises it; all were checked (checks 1 to 3).

        If others of this server have come in meanwhile, the join is one more event of the room. Raises RemoteError if
        these do not make a room: nothing of it is shown then.
        """
        state_ids = check_state(version, room_id, state)
        order = in_order(version, {event.event_id: event for event in (*auth_chain, *state)})
        last = max(0, len(order) - 1) // BATCH * BATCH
        for start in range(0, last, BATCH):
            await self._add(version, room_id, order[start : start + BATCH])

        def work(store: Store) -> None:
            row = find_or_add_room(store, version, room_id, self._clock.now_ms())
            _add_all(store, version, row.number, room_id, order[last:])
            room = self._writer.open_row(store, row)
            held = store.events.list_held([join.event_id, *join.auth_events])
            own = held.get(join.event_id)
            if own is not None and own.placed:
                return
            if not all(event_id in held for event_id in join.auth_events):
                raise RemoteError("The join cites events that are not in the auth chain")
            arrival = Arrival(
                None if own is None else own.number,
                claim_state(room, state_ids),
                entering=not store.rooms.is_resident(room.row.number),
            )
            verdict = self._append(room, join, arrival=arrival)
            if not isinstance(verdict, Accepted):
                raise RemoteError(f"The state of {room_id} does not allow the join: {verdict.why}")
            if join.state_key is not None:
                send_away(self._writer, room, join.state_key, self._clock.now_ms())
            room.save()

        await self._database.write(work, room=room_id)

    async def _add(self, version: RoomVersion, room_id: str, events: Sequence[Event]) -> None:
        def work(store: Store) -> None:
            row = find_or_add_room(store, version, room_id, self._clock.now_ms())
            _add_all(store, version, row.number, room_id, events)

        await self._database.write(work)


def _add_all(store: Store, version: RoomVersion, room: int, room_id: str, events: Sequence[Event]) -> None:
    """Raises RemoteError if one of them cites what is not held."""
    left = add_outliers(store, version, room, room_id, events)
    if left:
        raise RemoteError(f"{len(left)} events cite what is not in the auth chain, {left[0].event_id} for one")


def in_order(version: RoomVersion, events: Mapping[str, Event]) -> list[Event]:
    """Each after those of them that it cites. Raises RemoteError if some cite each other in a circle."""
    waits: dict[str, int] = {}
    followers: dict[str, list[str]] = {}
    for event_id, event in events.items():
        cited = {one for one in cites(version, event) if one in events}
        waits[event_id] = len(cited)
        for one in cited:
            followers.setdefault(one, []).append(event_id)
    ready = [event_id for event_id, count in waits.items() if count == 0]
    for event_id in ready:
        for follower in followers.get(event_id, ()):
            waits[follower] -= 1
            if waits[follower] == 0:
                ready.append(follower)
    if len(ready) < len(events):
        raise RemoteError(f"{len(events) - len(ready)} events cite each other in a circle")
    return [events[event_id] for event_id in ready]


def check_state(version: RoomVersion, room_id: str, state: Sequence[Event]) -> list[str]:
    """The ids of a state's events. Raises RemoteError unless they are of this room, each at a place of its own, with
    the create event of a room of this version among them."""
    places: dict[StateKey, Event] = {}
    for event in state:
        if event.room_id != room_id:
            raise RemoteError(f"{event.event_id} is of another room")
        if not event.is_state or event.key in places:
            raise RemoteError(f"{event.event_id} has no place of its own in the state")
        places[event.key] = event
    create = places.get(CREATE)
    if create is None:
        raise RemoteError("The state has no create event")
    if create.content.get("room_version", "1") != version.identifier:
        raise RemoteError("The room is of another version than it was said to be")
    return [event.event_id for event in state]
