"""The loop of every sync: answer if there is anything, else wait and look again.

`upto`, the position that an answer is as of, is taken before anything is read. A first sync is made of many short
reads, each as of the same position.
https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from homeserver.domain.presence import Device
from homeserver.ports import Clock
from homeserver.services.messaging.presence import Presence
from homeserver.services.persistence import Persistence
from homeserver.services.sync.answer import RoomAnswer, SyncAnswer, render
from homeserver.services.sync.counts import RoomCounts, Unread
from homeserver.services.sync.delta import Delta, NotInMemory
from homeserver.services.sync.from_tables import Begun, FromTables
from homeserver.services.sync.hearing import Hearing, Tell
from homeserver.services.sync.live import View, Viewpoint
from homeserver.services.sync.messages import Messages
from homeserver.services.sync.request import SyncRequest
from homeserver.services.sync.sections.presence import PresenceSection
from homeserver.services.sync.tables import Tables, empty_answer
from homeserver.services.sync.views import Views
from homeserver.services.tokens import SyncToken
from homeserver.storage.store import Store
from homeserver.streams.keys import device_key, user_key
from homeserver.streams.notifier import Notifier
from homeserver.streams.publisher import Publisher
from homeserver.streams.tail import Tail, Truncated
from homeserver.streams.turns import Turns
from homeserver.telemetry import metrics


class Sync:
    """Lives on the loop."""

    def __init__(
        self,
        database: Persistence,
        tables: Tables,
        unread: Unread,
        presence: Presence,
        present: PresenceSection,
        publisher: Publisher,
        tail: Tail,
        notifier: Notifier,
        clock: Clock,
        epoch: str,
    ) -> None:
        self._database = database
        self._unread = unread
        self._presence = presence
        self._present = present
        self._publisher = publisher
        self._tail = tail
        self._notifier = notifier
        self._clock = clock
        self._epoch = epoch
        self._from_tables = FromTables(database, tables, present, epoch)
        self._views = Views(database, publisher, tail, notifier)
        self._messages = Messages(tail, epoch, clock)
        self.soon = Turns().soon
        self.is_stopping = False
        # Counted here and read when somebody asks: a gauge that is moved twice a wait would cost as much as the wait.
        self._asleep = 0
        metrics.WAITING_SYNCS.set_function(lambda: self.waiting)

    async def __call__(self, request: SyncRequest) -> bytes:
        """The JSON of the answer, after at most `request.timeout` seconds if there is nothing to tell."""
        since = request.since
        if since is not None and not request.full_state and since.epoch == self._epoch:
            view = self._views.take(request.live_key, since.position)
            if view is not None:
                told: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
                hearing = Hearing(self, view, request, _state_key(request), partial(_resolve, told))
                hearing.begin()
                try:
                    answer = await told
                finally:
                    hearing.end()
                if answer is not None:
                    return answer
                request = replace(request, timeout=max(0.0, hearing.left))
        device = self._presence.connect(request.user_id, request.device_id, request.set_presence)
        try:
            return await self._sync(request)
        finally:
            self._presence.disconnect(device)

    def is_whole(self, request: SyncRequest) -> bool:
        """Whether the answer tells of every room, and at once."""
        return request.full_state or request.since is None or not self.continues(request.since)

    async def begin(self, request: SyncRequest) -> Begun:
        """As a call, of a whole answer: its beginning, and its other parts, if there are any, as they are read."""
        since = None if request.since is None or not self.continues(request.since) else request.since
        after, upto = None if since is None else since.position, self._publisher.current()
        device = self._presence.connect(request.user_id, request.device_id, request.set_presence)
        try:
            return await self._from_tables.begin(replace(request, since=since), after, upto, _state_key(request))
        finally:
            self._presence.disconnect(device)

    async def _sync(self, request: SyncRequest) -> bytes:
        since = request.since
        if since is not None and not self.continues(since):
            since = None
        state_key = _state_key(request)
        if since is None or request.full_state:
            upto = self._publisher.current()
            after = None if since is None else since.position
            return render(await self._from_tables(replace(request, since=since), after, upto), state_key)
        return await self._wait(request, since.position, state_key)

    def continues(self, since: SyncToken) -> bool:
        """Whether a sync from there is not a first one."""
        return since.epoch == self._epoch and since.position <= self._publisher.current()

    def stop(self) -> None:
        """Every sync that waits answers at once, and so does every later one."""
        self.is_stopping = True
        self._notifier.wake_all()

    @property
    def size(self) -> tuple[int, int]:
        """How many Views there are, and their bytes."""
        return self._views.size

    @property
    def waiting(self) -> int:
        """How many syncs wait for something new."""
        return self._asleep

    def drop_views(self) -> None:
        """Forgets every View: the next syncs build them anew."""
        self._views.forget_all()

    # --- without a task -------------------------------------------------------------------------------------------

    def listen(self, request: SyncRequest, since: str, tell: Tell) -> Hearing | None:
        """As a call, for a client that goes on from the answer given last: `tell` is called with the next one, perhaps
        at once. None, or told None: it must be asked by a call. `since` stands in for that of `request`."""
        view = self._views.find(request.live_key)
        hearing = None if view is None else Hearing(self, view, request, _state_key(request), tell)
        return hearing if hearing is not None and hearing.go_on(since) else None

    def arrive(self, request: SyncRequest, before: Device | None) -> Device | None:
        """A sync begins to wait. Give what it returns to `leave`, and to the next one as `before`."""
        self._asleep += 1
        return self._presence.connect(request.user_id, request.device_id, request.set_presence, before)

    def leave(self, view: View, device: Device | None) -> None:
        """It does no more, and others may have the View."""
        self._asleep -= 1
        self._presence.disconnect(device)
        self._views.give_back(view)

    def look(self, view: View, state_key: str) -> bytes | None:
        """What there is to tell a View's client. Raises NotInMemory."""
        view.watcher.stirred = False
        upto = view.looked_to = self._publisher.current()
        if not view.watcher.dirty:
            return None
        told = self._from_page(view, upto, state_key)
        if told is None:
            answer, uncounted = self._from_memory(view, upto)
            if uncounted:
                raise NotInMemory
            if answer.is_empty:
                return None
            _tell(view, answer, upto)
            told = render(answer, state_key)
        # Nothing is ever published beyond `upto` yet: once the client acknowledges this, all of it is old.
        view.told, view.watcher.dirty = view.watcher.dirty, set()
        return told

    def nothing(self, view: View, state_key: str) -> bytes:
        """What it is told if there was nothing when it was looked last."""
        answer = empty_answer(view.request, self._epoch, view.looked_to)
        _tell(view, answer, view.looked_to)
        return render(answer, state_key)

    # --- with one -------------------------------------------------------------------------------------------------

    async def _wait(self, request: SyncRequest, position: int, state_key: str) -> bytes:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + request.timeout
        if request.timeout <= 0 and request.live_key not in self._views:
            nothing = await self._nothing_new(request, position)
            if nothing is not None:
                return render(nothing)
        views = self._views
        view = views.take(request.live_key, position) or await views.make(request, position)
        try:
            while True:
                told = await self._look_everywhere(view, state_key)
                if told is not None:
                    return told
                left = deadline - loop.time()
                if left <= 0 or self.is_stopping or view.ended:
                    break
                self._asleep += 1
                try:
                    if not await view.watcher.wait(left) or view.ended:
                        break
                finally:
                    self._asleep -= 1
            return self.nothing(view, state_key)
        finally:
            views.give_back(view)

    async def _look_everywhere(self, view: View, state_key: str) -> bytes | None:
        """As `look`, and from the tables what is not in memory."""
        try:
            return self.look(view, state_key)
        except NotInMemory:
            upto = view.looked_to
            answer = await self._answer(view, upto)
        if answer.is_empty:
            return None
        _tell(view, answer, upto)
        return render(answer, state_key)

    async def _nothing_new(self, request: SyncRequest, position: int) -> SyncAnswer | None:
        """The answer to somebody who only asks whether there is anything, if there is nothing: without a View."""
        upto = self._publisher.current()
        if upto != position:
            viewpoint = await self._views.viewpoint(request.user_id)
            if position < self._tail.lost_before or self._is_any_touched(request, viewpoint, position):
                return None
        return empty_answer(request, self._epoch, upto)

    async def _answer(self, view: View, upto: int) -> SyncAnswer:
        """From memory if it can be, else from the tables."""
        try:
            answer, uncounted = self._from_memory(view, upto)
        except NotInMemory:
            answer = await self._from_tables(view.request, view.position, upto)
            await self._views.renew(view)
            return answer
        if uncounted:
            await self._count(view, uncounted)
        return answer

    def _from_page(self, view: View, upto: int, state_key: str) -> bytes | None:
        """The answer if it is nothing but messages in one room, which others are told too."""
        try:
            answer = self._messages.answer(view, upto, state_key)
        except Truncated as error:
            raise NotInMemory from error
        if answer is None:
            return None
        view.pending, view.last_token, view.telling = upto, answer[1], {}
        return answer[0]

    def _from_memory(self, view: View, upto: int) -> tuple[SyncAnswer, dict[int, RoomAnswer]]:
        """Also those of its rooms, by number, whose unread counts are to be read. Raises NotInMemory."""
        answer = empty_answer(view.request, self._epoch, upto)
        if not view.watcher.dirty:
            return answer, {}
        try:
            delta = Delta(view, self._tail, self._present, upto, self._clock.now_ms())
            if delta.is_empty():
                return answer, {}
            if not view.is_wide:
                raise NotInMemory
            delta.count()
            told = delta.answer(answer)
        except Truncated as error:
            raise NotInMemory from error
        return answer, {number: room for number, room in told.items() if room.counts is None}

    async def _count(self, view: View, rooms: Mapping[int, RoomAnswer]) -> None:
        """Reads the unread counts of rooms, which the View then keeps up to date itself."""
        numbers = list(rooms)

        def work(store: Store) -> tuple[dict[int, RoomCounts], set[int]]:
            counts = self._unread(store, view.request.user_id, numbers, view.viewpoint)
            return counts, store.history.rooms_with_events_after(numbers, view.counted_to)

        counts, moved = await self._database.read(work)
        for number, room in rooms.items():
            room.counts = counts.get(number, RoomCounts())
            # What came meanwhile is in these counts already, and would be counted again.
            if number not in moved:
                view.counts[number] = room.counts

    def _is_any_touched(self, request: SyncRequest, viewpoint: Viewpoint, after: int) -> bool:
        """Whether anything concerns the device; also if the tail cannot tell any more."""
        own = user_key(request.user_id), device_key(request.user_id, request.device_id)
        if any(self._views.is_touched(key, after) for key in own):
            return True
        try:
            return self._tail.is_any_touched(viewpoint.room_keys, after)
        except Truncated:
            return True


def _tell(view: View, answer: SyncAnswer, upto: int) -> None:
    """Notes in the View what its client is told."""
    view.pending, view.last_token = upto, answer.next_batch
    view.telling = {room_id: room.members for room_id, room in answer.joined.items() if room.members}


def _resolve(told: asyncio.Future[bytes | None], answer: bytes | None, _: float) -> None:
    """Unless whoever waits has gone."""
    if not told.done():
        told.set_result(answer)


def _state_key(request: SyncRequest) -> str:
    return request.state_after_key if request.use_state_after else "state"
