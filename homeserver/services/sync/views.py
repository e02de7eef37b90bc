"""The Views of all live clients: found, made, renewed and dropped, within bounds.

A View serves one request at a time (`busy`). What is the same for all devices of a user, the viewpoint, is read from
the tables once and kept until anything about the user is published.
"""

from collections import OrderedDict
from collections.abc import Hashable
from time import monotonic

from homeserver.services.persistence import Persistence
from homeserver.services.sync.live import View, Viewpoint
from homeserver.services.sync.request import SyncRequest
from homeserver.services.sync.viewpoints import Viewpoints
from homeserver.streams.keys import user_key
from homeserver.streams.notifier import Notifier
from homeserver.streams.publisher import Publisher
from homeserver.streams.tail import Tail, Truncated

MAX_VIEW_BYTES = 128 << 20
IDLE_SECONDS = 300.0
MAX_VIEWPOINTS = 1_000
# A View is weighed again after so many answers: each makes it a little heavier at most.
ANSWERS_PER_WEIGHING = 16
# So many are looked at whether they are idle, each time one is made.
LOOKS = 4


class Views:
    """Lives on the loop."""

    def __init__(self, database: Persistence, publisher: Publisher, tail: Tail, notifier: Notifier) -> None:
        self._tables = Viewpoints(database, publisher)
        self._publisher = publisher
        self._tail = tail
        self._notifier = notifier
        self._views: OrderedDict[Hashable, View] = OrderedDict()
        self._bytes = 0
        # By user, with the position since which it holds.
        self._viewpoints: OrderedDict[str, tuple[Viewpoint, int]] = OrderedDict()

    @property
    def size(self) -> tuple[int, int]:
        """How many Views there are, and their bytes."""
        return len(self._views), self._bytes

    def __contains__(self, key: Hashable) -> bool:
        return key in self._views

    def take(self, key: Hashable, position: int) -> View | None:
        """The View that goes on from there, if there is one; it is busy until it is given back."""
        view = self._views.get(key)
        if view is None or view.busy or not view.acknowledge(position):
            return None
        view.busy = True
        return view

    def find(self, key: Hashable) -> View | None:
        """The View, busy or not."""
        return self._views.get(key)

    async def make(self, request: SyncRequest, position: int) -> View:
        """One for a request that finds none; it takes the place of the one before."""
        key = request.live_key
        if key in self._views:
            self._remove(key)
        view = View(request, position, Viewpoint({}, frozenset(), (), 0))
        view.counted_to = self._publisher.current()
        try:
            await self.renew(view)
        except BaseException:  # the request was cancelled, or the database is away
            self._notifier.unwatch(view.watcher)
            raise
        # What was published before it watched may concern it: it looks at everything once.
        view.watcher.dirty.update(view.keys())
        self._drop_idle()
        if key not in self._views:
            self._views[key] = view
            view.is_kept = True
            view.used_at = view.queued_at = monotonic()
            self._weigh(view)
        return view

    def give_back(self, view: View) -> None:
        """Its request was answered, or ended."""
        view.busy = False
        view.used_at = monotonic()
        if not view.is_kept:
            self._notifier.unwatch(view.watcher)
            return
        view.answers += 1
        if view.answers % ANSWERS_PER_WEIGHING == 1:
            self._weigh(view)

    async def renew(self, view: View) -> None:
        """Learns anew what a View knows of its viewer, and watches accordingly."""
        self._notifier.watch(view.watcher, view.keys()[:2])
        viewpoint = view.viewpoint = await self.viewpoint(view.request.user_id)
        view.counts.clear()
        rooms = set(viewpoint.joined.values())
        view.known = {room_id: members for room_id, members in view.known.items() if room_id in rooms}
        keys = view.keys()
        new = [key for key in keys if key not in view.watcher.keys]
        self._notifier.unwatch(view.watcher, view.watcher.keys - set(keys))
        self._notifier.watch(view.watcher, new)
        view.watcher.dirty.update(new)

    async def viewpoint(self, user_id: str) -> Viewpoint:
        """What is the same for all devices of a user: read from the tables, and good until anything about the user is
        published (memberships, account data, push rules)."""
        known = self._viewpoints.get(user_id)
        if known is not None and not self.is_touched(user_key(user_id), known[1]):
            self._viewpoints.move_to_end(user_id)
            return known[0]
        viewpoint, as_of = await self._tables.read(user_id)
        self._viewpoints[user_id] = (viewpoint, as_of)
        if len(self._viewpoints) > MAX_VIEWPOINTS:
            self._viewpoints.popitem(last=False)
        return viewpoint

    def is_touched(self, key: str, after: int) -> bool:
        """Whether anything was published under a key; also if the tail cannot tell any more."""
        try:
            return self._tail.is_touched(key, after)
        except Truncated:
            return True

    def forget_all(self) -> None:
        """Drops every View: the next syncs build them anew."""
        for key in list(self._views):
            self._drop(key)
        self._viewpoints.clear()

    def _drop(self, key: Hashable) -> None:
        """Forgets a View. Whoever waits on it is answered at once."""
        view = self._remove(key)
        view.ended = True
        view.watcher.wake()

    def _remove(self, key: Hashable) -> View:
        """Whoever waits on it may go on: a View that nobody else can get."""
        view = self._views.pop(key)
        view.is_kept = False
        self._bytes -= view.weighed
        if not view.busy:
            self._notifier.unwatch(view.watcher)
            if view.timer is not None:
                view.timer.cancel()
        return view

    def _weigh(self, view: View) -> None:
        """Takes into account by how much a View grew."""
        weight = view.weight()
        self._bytes += weight - view.weighed
        view.weighed = weight

    def _drop_idle(self) -> None:
        """Those idle for five minutes go, and more while there is no room: roughly the least recently used. The first
        in line goes to its end if it was used since it stood there."""
        now, looks = monotonic(), 0
        while self._views:
            key, first = next(iter(self._views.items()))
            has_room = self._bytes <= MAX_VIEW_BYTES
            if first.used_at > first.queued_at:
                first.queued_at = now
                self._views.move_to_end(key)
            elif not has_room or (not first.busy and now - first.used_at > IDLE_SECONDS):
                self._drop(key)
            else:
                return
            looks += 1
            if has_room and looks == LOOKS:
                return
