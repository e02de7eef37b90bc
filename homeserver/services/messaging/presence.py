"""Who is online: what syncs, clients, events and other servers say of it comes together here.

    a sync, PUT /presence, an event, m.presence of another server --> the person stirs
    once a second: who stirs, or has idled or been away for long enough --> one round tells of all of them

A sync touches memory only, and no timer is made for it: everybody has one place in a queue by time. Where the presence
is off (`enabled` is False), nobody comes online, and what was told before it was switched off is taken back.
https://spec.matrix.org/v1.19/client-server-api/#presence
https://spec.matrix.org/v1.19/server-server-api/#presence
"""

import heapq
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Protocol

from homeserver.domain.errors import BadRequest, Forbidden, Unavailable
from homeserver.domain.identifiers import domain_of
from homeserver.domain.presence import NOBODY, OFFLINE, Device, Devices, Hearsay, content_of, read_update
from homeserver.ports import Clock
from homeserver.services.messaging.presence_rounds import MAX_MEMBERS, Listener, PresenceRounds, state_of
from homeserver.services.messaging.roster import Person, Roster
from homeserver.services.persistence import Persistence
from homeserver.streams.keys import room_key
from homeserver.streams.publications import EventItem, PresenceItem, Publication, ReceiptItem, StateItem
from homeserver.telemetry import metrics

MEMBER = "m.room.member"
# People in one round, those whom it may wake (each is told of everybody at once), and rooms that it looks into.
MAX_IN_ROUND = 500
MAX_WOKEN = 2_000
MAX_ENTERED = 50
# In a tick at least so many are looked at, and of so many that a few ticks are enough for all.
MIN_LOOKS = 500
LOOK_TICKS = 16
# Users of other servers of whom nothing was known, between two rounds: all of them, and those of one server.
MAX_STIRRED = 5_000
MAX_OF_SERVER = 500
# Other servers forget what they are not told again within 30 minutes.
RESEND_MS = 25 * 60_000
# A server that comes into a room is told who is there, not for each of its users again. Rooms and servers remembered.
MAX_GREETED = 2_000
# Rooms, or servers, that wait for the next round.
MAX_WAITING = 1_000


class Publications(Protocol):
    """`homeserver.streams.publisher.Publisher` is one."""

    def listen(self, listener: Callable[[Publication], None]) -> None: ...


class Presence:
    """Lives on the loop. `tick` is to be called about once a second."""

    def __init__(
        self,
        database: Persistence,
        publications: Publications,
        roster: Roster,
        clock: Clock,
        server_name: str,
        *,
        enabled: bool = True,
    ) -> None:
        self._database = database
        self._roster = roster
        self._clock = clock
        self._server_name = server_name
        self._enabled = enabled
        self._rounds = PresenceRounds(database, roster, clock)
        # Who may have to be told of, in order; of whom other servers are to be told again.
        self._stirred: dict[str, None] = {}
        self._resend: set[str] = set()
        # When to look at whom: (ms, user id). Only that which is the person's `due` counts.
        self._queue: list[tuple[int, str]] = []
        # Since the last tick: strangers by server, rooms that became known, servers that came into rooms.
        self._strangers: Counter[str] = Counter()
        self._entered: dict[int, None] = {}
        self._arrived: dict[tuple[int, str], None] = {}
        self._greeted: OrderedDict[tuple[int, str], int] = OrderedDict()
        publications.listen(self._published)

    def listen(self, listener: Listener) -> None:
        """`listener` is called with what other servers are to hear of our users: (updates, servers)."""
        self._rounds.listen(listener)

    # --- ours -----------------------------------------------------------------------------------------------------

    def connect(self, user_id: str, device_id: str, asked: str, before: Device | None = None) -> Device | None:
        """A sync begins, with `set_presence` = `asked`. Give what it returns to `disconnect`. `before`: what
        was returned for the sync of the device before this one, if that is at hand."""
        if not self._enabled:
            return None
        now = self._clock.now_ms()
        if before is not None and before.goes_on(asked, now):
            return before
        person = self._roster.find(user_id)
        if person is None:
            if asked == OFFLINE:
                return None
            person = self._roster.add(user_id, Devices())
        if not isinstance(person.source, Devices):
            return None
        device = person.source.connect(device_id, asked, now)
        if device is not None:
            self._roster.keep(person)
        if person.source.news:
            person.source.news = False
            self._touch(person, now)
        return device

    def disconnect(self, device: Device | None) -> None:
        """The sync ended, however it did."""
        if device is not None:
            Devices.disconnect(device, self._clock.now_ms())

    async def set(self, user_id: str, device_id: str, presence: str, status_msg: str | None) -> None:
        """The user sets it on a device; it is told at once. Raises Unavailable."""
        if not self._enabled:
            return
        now = self._clock.now_ms()
        person = self._roster.find(user_id) or self._roster.add(user_id, Devices())
        if isinstance(person.source, Devices):
            person.source.declare(device_id, presence, now)
            person.source.status_msg = status_msg
            self._touch(person, now)
            await self._tell([user_id])

    async def get(self, viewer: str, user_id: str) -> dict[str, Any]:
        """The content of an m.presence event, as of now. Raises Forbidden if the two share no room."""
        if viewer != user_id and not await self._database.read(
            lambda store: store.presence.share_a_room(viewer, user_id), single=True
        ):
            raise Forbidden("You are not allowed to see their presence")
        person, now = self._roster.find(user_id), self._clock.now_ms()
        if person is None or not self._enabled:
            return {"presence": OFFLINE}
        return content_of(person.source.at(now), person.source.last_active, now)

    # --- others' --------------------------------------------------------------------------------------------------

    async def heard(self, user_id: str, update: Mapping[str, Any]) -> None:
        """Another server tells something of its user: an entry of `push` of m.presence. What is malformed is dropped;
        whether the user shares a room with one of ours turns out in the next round."""
        if not self._enabled:
            return
        try:
            said = read_update(update, self._clock.now_ms())
        except BadRequest:
            return
        person = self._roster.find(user_id)
        if person is None:
            server = domain_of(user_id)
            if said.presence.presence == OFFLINE or server == self._server_name:
                return
            if len(self._stirred) >= MAX_STIRRED or self._strangers[server] >= MAX_OF_SERVER:
                return
            self._strangers[server] += 1
            person = self._roster.add(user_id, said)
        if isinstance(person.source, Hearsay):
            longest_silent = self._roster.hear(person, said)
            if longest_silent is not None:
                longest_silent.source = Hearsay(NOBODY, longest_silent.source.last_active, said.heard)
                self._stirred[longest_silent.user_id] = None
            self._touch(person, said.heard)

    # --- telling --------------------------------------------------------------------------------------------------

    async def tick(self) -> None:
        """Tells of whatever changed since."""
        self._strangers.clear()
        self._look(self._clock.now_ms())
        # First, for whoever changes now is told to all servers of their rooms, the new ones among them.
        self._greet()
        with suppress(Unavailable):  # the next tick makes up for it
            await self._tell(self._next_round())
        metrics.PRESENCE_PEOPLE.set(len(self._roster))

    async def resume(self) -> list[Publication]:
        """Goes on where the process before this one stopped; what that published. At a start, once.

        Whoever was online then has as long to come back as whoever stops syncing: nobody is told of a short restart.
        """
        now = self._clock.now_ms()
        publications: list[Publication] = []
        for row, item in await self._rounds.load():
            source: Devices | Hearsay = Hearsay(state_of(row), row.last_active, now if self._enabled else 0)
            if domain_of(row.user_id) == self._server_name:
                source = Devices(row.last_active, row.status_msg)
                if row.presence != OFFLINE and self._enabled:
                    source.restore(row.presence, now)
            person = self._roster.add(row.user_id, source)
            if isinstance(source, Hearsay) and row.presence != OFFLINE:
                self._roster.hear(person, source)
            self._roster.tell(item, row.position)
            # Whatever became of the person, or of their rooms, before it ended.
            self._stirred[row.user_id] = None
            self._touch(person, now)
            publications.append(Publication(row.position, tuple(map(room_key, item.rooms)), item))
        return publications

    async def _tell(self, user_ids: Sequence[str]) -> None:
        people = [person for person in map(self._roster.find, user_ids) if person is not None]
        entered = list(islice(self._entered, MAX_ENTERED))
        for user_id in user_ids:
            self._stirred.pop(user_id, None)
        for room in entered:
            del self._entered[room]
        if not people and not entered:
            return
        resend = self._resend.intersection(user_ids)
        try:
            met = await self._rounds.tell(people, resend, entered)
        except BaseException:
            # Nobody was told: the next round does it.
            self._stirred.update(dict.fromkeys(user_ids))
            self._entered.update(dict.fromkeys(entered))
            raise
        self._resend -= resend
        self._stirred.update(dict.fromkeys(person.user_id for person in met))
        now = self._clock.now_ms()
        for person in people:
            self._touch(person, now)

    def _next_round(self) -> list[str]:
        """Who is told of next: where many stir, all those of a room together, beginning with whoever waits longest.

        After a restart everybody stirs. Taken in any order, a few of every room, each round would wake everybody.
        """
        by_rooms: dict[tuple[int, ...], list[str]] = {}
        for user_id in self._stirred:
            person = self._roster.find(user_id)
            by_rooms.setdefault(() if person is None else person.rooms, []).append(user_id)
        chosen: list[str] = []
        told_in: set[int] = set()
        for rooms, user_ids in by_rooms.items():
            told_in.update(rooms)
            if len(chosen) >= MAX_IN_ROUND or (chosen and self._roster.count_in(told_in) > MAX_WOKEN):
                break
            chosen += user_ids
        return chosen[:MAX_IN_ROUND]

    def _look(self, now: int) -> None:
        """At everybody whose time has come, or, where many came at once, at some of them now and the others soon."""
        for _ in range(max(MIN_LOOKS, len(self._queue) // LOOK_TICKS)):
            if not self._queue or self._queue[0][0] > now:
                break
            due, user_id = heapq.heappop(self._queue)
            person = self._roster.find(user_id)
            if person is None or person.due != due:
                continue
            person.due = 0
            source = person.source
            is_told = person.told.presence != OFFLINE
            if isinstance(source, Devices) and is_told and now - person.sent >= RESEND_MS and self._rounds.is_heard:
                self._resend.add(user_id)
                self._stirred[user_id] = None
            self._touch(person, now)
            if not is_told and not person.due and user_id not in self._stirred:
                self._roster.retire(person)

    def _touch(self, person: Person, now: int) -> None:
        """Something of the person may have changed."""
        presence = person.source.at(now)
        if presence != person.told:
            self._stirred[person.user_id] = None
        if presence.presence != OFFLINE:
            self._roster.keep(person)
        if not person.due:
            again = person.source.look_again(now)
            if again is not None:
                person.due = again
                heapq.heappush(self._queue, (again, person.user_id))

    def _greet(self) -> None:
        """Tells servers that came into rooms who is there."""
        now = self._clock.now_ms()
        for place in list(islice(self._arrived, MAX_ENTERED)):
            del self._arrived[place]
            if now - self._greeted.get(place, -RESEND_MS) >= RESEND_MS:
                self._rounds.greet(*place)
                self._greeted[place] = now
                self._greeted.move_to_end(place)
                if len(self._greeted) > MAX_GREETED:
                    self._greeted.popitem(last=False)

    # --- what is published ----------------------------------------------------------------------------------------

    def _published(self, publication: Publication) -> None:
        item = publication.item
        if isinstance(item, EventItem):
            self._acted(item.sender)
            if item.type == MEMBER and item.state_key is not None:
                self._moved(item.state_key)
                if item.membership == "join" and item.summary is not None:
                    self._joined(item.room, item.state_key, item.summary.joined)
        elif isinstance(item, PresenceItem):
            self._roster.tell(item, publication.position)
        elif isinstance(item, ReceiptItem):
            if item.receipt_type == "m.read":
                self._acted(item.user_id)
        elif isinstance(item, StateItem):
            for type, state_key in item.keys:
                if type == MEMBER:
                    self._moved(state_key)

    def _acted(self, user_id: str) -> None:
        person = self._roster.find(user_id)
        if person is not None and isinstance(person.source, Devices):
            now = self._clock.now_ms()
            if person.told.currently_active and user_id not in self._stirred:
                person.source.last_active = now  # that is all: they are active anyway
            else:
                person.source.act(now)
                self._touch(person, now)

    def _moved(self, user_id: str) -> None:
        """Somebody's membership changed: others are told of them now, or no longer."""
        if self._roster.find(user_id) is not None:
            self._stirred[user_id] = None

    def _joined(self, room: int, user_id: str, members: int) -> None:
        """There may be people in the room of whom the new member is to hear, or the new member's server."""
        if not 1 < members <= MAX_MEMBERS:
            return
        server = user_id.partition(":")[2]
        if server == self._server_name:
            if not self._roster.is_known(room) and len(self._entered) < MAX_WAITING:
                self._entered[room] = None
        elif self._rounds.is_heard and len(self._arrived) < MAX_WAITING:
            self._arrived[room, server] = None
