"""What nearly all live answers are: messages of others in one room, and nothing else.

Everything about it that is the same for many clients is made once. Whatever is not quite so simple is left to `delta`,
which would say the same.
"""

from homeserver.ports import Clock
from homeserver.services.sync.answer import joined_room, render_one
from homeserver.services.sync.live import View
from homeserver.services.sync.pages import Pages
from homeserver.services.sync.tables import next_batch
from homeserver.services.sync.view_counts import count_event
from homeserver.streams.tail import Tail


class Messages:
    """Lives on the loop."""

    def __init__(self, tail: Tail, epoch: str, clock: Clock) -> None:
        self._tail = tail
        self._pages = Pages(tail)
        self._epoch = epoch
        self._clock = clock
        # The token written last, and of what.
        self._token = ""
        self._token_of = (0, 0)

    def answer(self, view: View, upto: int, state_key: str) -> tuple[bytes, str] | None:
        """The whole answer and its token, with which the View's counts have been brought up to date. None: the long
        way. Raises Truncated."""
        dirty, position = view.watcher.dirty, view.position
        if len(dirty) != 1 or not view.takes_pages or position < self._tail.lost_before:
            return None
        (key,) = dirty
        page = self._pages.find(key, position, upto, self._clock.now_ms())
        if page is None or view.viewpoint.newest > upto or view.request.user_id in page.senders:
            return None
        number, viewpoint = page.number, view.viewpoint
        room_id = viewpoint.joined.get(number)
        if (
            room_id is None
            or number not in view.counts
            or not page.senders.isdisjoint(viewpoint.ignored)
            or len(page.items) > view.request.filter.room.timeline.limit
        ):
            return None
        for where, item in page.items:
            if where > view.counted_to:
                count_event(view, number, item, where)
        view.counted_to = upto
        counts = view.counts.get(number)
        if counts is None:
            return None
        room = page.rooms.get(state_key)
        if room is None:
            room = page.rooms[state_key] = joined_room(room_id, page.timeline, state_key)
        token = self._next_batch(view, upto)
        return render_one(token, room, counts, view.request.by_thread), token

    def _next_batch(self, view: View, upto: int) -> str:
        since = view.request.since
        token_of = (upto, 0 if since is None else since.to_device)
        if token_of != self._token_of:
            self._token, self._token_of = next_batch(view.request, self._epoch, upto), token_of
        return self._token
