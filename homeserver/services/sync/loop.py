"""The loop of every sync: answer if there is anything, else wait and look again.

`upto`, the position that an answer is as of, is taken before anything is read. A first sync is made of many short
reads, each as of the same position.
https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import replace

from homeserver.ports import Clock
from homeserver.services.messaging.presence import Presence
from homeserver.services.persistence import Persistence
from homeserver.services.sync.answer import RoomAnswer, SyncAnswer, render
from homeserver.services.sync.counts import RoomCounts, Unread
from homeserver.services.sync.live import Delta, NotInMemory, View, Viewpoint, answers_from_memory
from homeserver.services.sync.request import SyncRequest
from homeserver.services.sync.sections.presence import PresenceSection
from homeserver.services.sync.tables import Outline, Tables, empty_answer
from homeserver.services.tokens import SyncToken
from homeserver.services.viewer import ignored_users
from homeserver.storage.store import Store
from homeserver.streams.keys import device_key, user_key
from homeserver.streams.notifier import Notifier
from homeserver.streams.publisher import Publisher
from homeserver.streams.tail import Tail, Truncated
from homeserver.telemetry import metrics

ROOMS_PER_READ = 50
MAX_VIEW_BYTES = 128 << 20
IDLE_SECONDS = 300.0
MAX_VIEWPOINTS = 1_000


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
        self._tables = tables
        self._unread = unread
        self._presence = presence
        self._present = present
        self._publisher = publisher
        self._tail = tail
        self._notifier = notifier
        self._clock = clock
        self._epoch = epoch
        self._views: OrderedDict[Hashable, View] = OrderedDict()
        self._view_bytes = 0
        # By user, with the position since which it holds.
        self._viewpoints: OrderedDict[str, tuple[Viewpoint, int]] = OrderedDict()
        self._stopping = False
        # Counted here and read when somebody asks: a gauge that is moved twice a wait would cost as much as the wait.
        self._asleep = 0
        metrics.WAITING_SYNCS.set_function(lambda: self._asleep)

    async def __call__(self, request: SyncRequest) -> bytes:
        """The JSON of the answer, after at most `request.timeout` seconds if there is nothing to tell."""
        device = self._presence.connect(request.user_id, request.device_id, request.set_presence)
        try:
            return await self._sync(request)
        finally:
            self._presence.disconnect(device)

    async def _sync(self, request: SyncRequest) -> bytes:
        since = request.since
        if since is not None and not self.continues(since):
            since = None
        state_key = request.state_after_key if request.use_state_after else "state"
        if since is None or request.full_state:
            upto = self._publisher.current()
            after = None if since is None else since.position
            return render(await self._from_tables(replace(request, since=since), after, upto), state_key)
        answer = await self._wait(request, since.position)
        return render(answer, state_key)

    def continues(self, since: SyncToken) -> bool:
        """Whether a sync from there is not a first one."""
        return since.epoch == self._epoch and since.position <= self._publisher.current()

    def stop(self) -> None:
        """Every sync that waits answers at once, and so does every later one."""
        self._stopping = True
        self._notifier.wake_all()

    @property
    def size(self) -> tuple[int, int]:
        """How many Views there are, and their bytes."""
        return len(self._views), self._view_bytes

    def drop_views(self) -> None:
        """Forgets every View: the next syncs build them anew."""
        for key in list(self._views):
            self._drop(key)
        self._viewpoints.clear()

    async def _wait(self, request: SyncRequest, position: int) -> SyncAnswer:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + request.timeout
        if request.timeout <= 0 and request.live_key not in self._views:
            nothing = await self._nothing_new(request, position)
            if nothing is not None:
                return nothing
        view = await self._view(request, position)
        try:
            while True:
                view.watcher.stirred = False
                upto = self._publisher.current()
                answer = await self._answer(view, upto)
                left = deadline - loop.time()
                if not answer.is_empty or left <= 0 or self._stopping or view.ended:
                    break
                self._asleep += 1
                try:
                    if not await view.watcher.wait(left) or view.ended:
                        break
                finally:
                    self._asleep -= 1
            view.pending = upto
            view.telling = {room_id: room.members for room_id, room in answer.joined.items() if room.members}
            return answer
        finally:
            view.busy = False
            view.used_at = loop.time()
            if self._views.get(request.live_key) is not view:
                self._notifier.unwatch(view.watcher)
            else:
                self._weigh(view)

    async def _nothing_new(self, request: SyncRequest, position: int) -> SyncAnswer | None:
        """The answer to somebody who only asks whether there is anything, if there is nothing: without a View."""
        upto = self._publisher.current()
        if upto != position:
            viewpoint = await self._viewpoint(request.user_id)
            if position < self._tail.lost_before or self._is_any_touched(request, viewpoint, position):
                return None
        return empty_answer(request, self._epoch, upto)

    async def _answer(self, view: View, upto: int) -> SyncAnswer:
        """From memory if it can be, else from the tables."""
        request = view.request
        answer = empty_answer(request, self._epoch, upto)
        if not view.watcher.dirty:
            return answer
        try:
            delta = Delta(view, self._tail, self._present, upto, self._clock.now_ms())
            if delta.is_empty():
                return answer
            if not answers_from_memory(request):
                raise NotInMemory
            delta.count()
            told = delta.answer(answer)
        except (NotInMemory, Truncated):
            answer = await self._from_tables(request, view.position, upto)
            await self._renew(view)
            return answer
        uncounted = {number: room for number, room in told.items() if room.counts is None}
        if uncounted:
            await self._count(view, uncounted)
        return answer

    async def _count(self, view: View, rooms: Mapping[int, RoomAnswer]) -> None:
        """Reads the unread counts of rooms, which the View then keeps up to date itself."""
        numbers = list(rooms)

        def work(store: Store) -> tuple[dict[int, RoomCounts], set[int]]:
            counts = self._unread(store, view.request.user_id, numbers)
            return counts, store.history.rooms_with_events_after(numbers, view.counted_to)

        counts, moved = await self._database.read(work)
        for number, room in rooms.items():
            room.counts = counts.get(number, RoomCounts())
            # What came meanwhile is in these counts already, and would be counted again.
            if number not in moved:
                view.counts[number] = room.counts

    async def _from_tables(self, request: SyncRequest, after: int | None, upto: int) -> SyncAnswer:
        tables = self._tables
        answer = empty_answer(request, self._epoch, upto)
        outline = await self._database.read(lambda store: tables.outline(store, request, after, upto))
        answer.account_data = outline.account_data
        answer.presence = self._people(request, outline, after, upto)
        for start in range(0, len(outline.told), ROOMS_PER_READ):
            numbers = outline.told[start : start + ROOMS_PER_READ]
            read = self._database.read if len(numbers) <= 3 else self._database.read_long

            def work(store: Store, numbers: list[int] = numbers) -> tuple[dict[str, RoomAnswer], dict[str, RoomAnswer]]:
                return tables.rooms(store, request, outline, numbers, after, upto)

            joined, left = await read(work)
            answer.joined.update(joined)
            answer.left.update(left)
        if outline.standing.invited or outline.standing.knocked:
            await self._database.read(lambda store: tables.invites(store, request, outline, answer))
        return answer

    def _people(self, request: SyncRequest, outline: Outline, after: int | None, upto: int) -> list[str]:
        """Who is online, as from the tables."""
        rooms = outline.standing.joined.keys()
        if after is None or request.full_state:
            return self._present.whole(request, rooms, outline.ignored, upto)
        # Of those in a new room, or who were ignored until now, the client may hold what is no longer true.
        anew = rooms if outline.new_wishes else outline.standing.newly_joined & rooms
        return self._present.changed(request, rooms, outline.ignored, after, upto, anew)

    async def _view(self, request: SyncRequest, position: int) -> View:
        key = request.live_key
        view = self._views.get(key)
        if view is not None:
            if not view.busy and view.acknowledge(position):
                view.busy = True
                self._views.move_to_end(key)
                return view
            self._remove(key)
        view = View(request, position, Viewpoint({}, frozenset(), (), 0))
        view.counted_to = self._publisher.current()
        try:
            await self._renew(view)
        except BaseException:  # the request was cancelled, or the database is away
            self._notifier.unwatch(view.watcher)
            raise
        # What was published before it watched may concern it: it looks at everything once.
        view.watcher.dirty.update(view.keys())
        self._drop_idle()
        if key not in self._views:
            self._views[key] = view
            self._weigh(view)
        return view

    def _weigh(self, view: View) -> None:
        """Takes into account by how much a View grew."""
        weight = view.weight()
        self._view_bytes += weight - view.weighed
        view.weighed = weight

    async def _renew(self, view: View) -> None:
        """Learns anew what a View knows of its viewer, and watches accordingly."""
        self._notifier.watch(view.watcher, view.keys()[:2])
        viewpoint = view.viewpoint = await self._viewpoint(view.request.user_id)
        view.counts.clear()
        rooms = set(viewpoint.joined.values())
        view.known = {room_id: members for room_id, members in view.known.items() if room_id in rooms}
        keys = view.keys()
        new = [key for key in keys if key not in view.watcher.keys]
        self._notifier.unwatch(view.watcher, view.watcher.keys - set(keys))
        self._notifier.watch(view.watcher, new)
        view.watcher.dirty.update(new)

    async def _viewpoint(self, user_id: str) -> Viewpoint:
        """What is the same for all devices of a user: read from the tables, and good until anything about the user is
        published (memberships, account data, push rules)."""
        known = self._viewpoints.get(user_id)
        if known is not None and not self._is_touched(user_key(user_id), known[1]):
            self._viewpoints.move_to_end(user_id)
            return known[0]
        as_of = self._publisher.current()

        def work(store: Store) -> Viewpoint:
            rows = store.memberships.list_of_user(user_id)
            numbers = [row.room for row in rows if row.membership == "join"]
            return Viewpoint(
                {room.number: room.room_id for room in store.rooms.list_by_numbers(numbers)},
                ignored_users(store.account_data.find(user_id, 0, "m.ignored_user_list")) - {user_id},
                store.counts.list_classes(user_id),
                max((row.position for row in rows), default=0),
            )

        viewpoint = await self._database.read(work)
        self._viewpoints[user_id] = (viewpoint, as_of)
        if len(self._viewpoints) > MAX_VIEWPOINTS:
            self._viewpoints.popitem(last=False)
        return viewpoint

    def _is_any_touched(self, request: SyncRequest, viewpoint: Viewpoint, after: int) -> bool:
        """Whether anything concerns the device; also if the tail cannot tell any more."""
        own = user_key(request.user_id), device_key(request.user_id, request.device_id)
        if any(self._is_touched(key, after) for key in own):
            return True
        try:
            return self._tail.is_any_touched(viewpoint.room_keys, after)
        except Truncated:
            return True

    def _is_touched(self, key: str, after: int) -> bool:
        """Also if the tail cannot tell any more."""
        try:
            return self._tail.is_touched(key, after)
        except Truncated:
            return True

    def _drop(self, key: Hashable) -> None:
        """Forgets a View. Whoever waits on it is answered at once."""
        view = self._remove(key)
        view.ended = True
        view.watcher.wake()

    def _remove(self, key: Hashable) -> View:
        """Whoever waits on it may go on: a View that nobody else can get."""
        view = self._views.pop(key)
        self._view_bytes -= view.weighed
        if not view.busy:
            self._notifier.unwatch(view.watcher)
        return view

    def _drop_idle(self) -> None:
        """The least recently used go first: those idle for five minutes, and more while there is no room."""
        now = asyncio.get_running_loop().time()
        while self._views:
            key, oldest = next(iter(self._views.items()))
            idle = oldest.used_at and now - oldest.used_at > IDLE_SECONDS
            if not idle and self._view_bytes <= MAX_VIEW_BYTES:
                return
            self._drop(key)
