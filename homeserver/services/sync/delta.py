"""What the publications since a View's position amount to: its answer, from memory.

Whatever cannot be told from them (the viewer's own membership changed, more events than fit, history visibility to be
asked ...) is left to the tables, with the same result.
"""

from collections.abc import Sequence

from homeserver.services.client_form import quote
from homeserver.services.rooms.invite_policy import INVITE_PERMISSION
from homeserver.services.sync.answer import RoomAnswer, SyncAnswer
from homeserver.services.sync.live import View
from homeserver.services.sync.pages import shared_event
from homeserver.services.sync.sections.account_data import account_data_event
from homeserver.services.sync.sections.ephemeral import receipts_events, typing_event
from homeserver.services.sync.sections.presence import PresenceSection
from homeserver.services.sync.tables import summary_json
from homeserver.services.sync.view_counts import count
from homeserver.services.tokens import write_place
from homeserver.storage.history import Place
from homeserver.storage.receipts import ReceiptRow
from homeserver.streams.keys import user_key
from homeserver.streams.publications import (
    AccountDataItem,
    EventItem,
    PresenceItem,
    Publication,
    ReceiptItem,
    StateItem,
    TypingItem,
)
from homeserver.streams.tail import Tail


class NotInMemory(Exception):
    """The tables must be asked."""


class Delta:
    """What a View's publications up to a position amount to."""

    __slots__ = ("_now_ms", "_own", "_presence", "_present", "_rooms", "_tail", "_upto", "_view")

    def __init__(self, view: View, tail: Tail, presence: PresenceSection, upto: int, now_ms: int) -> None:
        self._view = view
        self._tail = tail
        self._presence = presence
        # Of whose presence something was published.
        self._present: set[str] = set()
        # What there is, by room, and of the viewer.
        self._rooms: list[tuple[int, list[Publication]]] = []
        self._own: list[Publication] = []
        self._upto = upto
        self._now_ms = now_ms

    def is_empty(self) -> bool:
        """True if there is nothing under any key of the View. Keys that have nothing new become clean."""
        view, tail = self._view, self._tail
        position, dirty, joined = view.position, view.watcher.dirty, view.viewpoint.joined
        # Of every room it must be said that nobody is known to type.
        tells_all = self._knows_of_typing()
        own_key = user_key(view.request.user_id)
        clean: list[str] = []
        for key in dirty:
            found = tail.since(key, position, self._upto)
            if key[0] == "r":
                number = int(key[1:])
                if number in joined and (found or tells_all):
                    self._rooms.append((number, found))
            elif key == own_key:
                self._own = found
            if not found and not tells_all and not tail.is_touched(key, position):
                clean.append(key)
        dirty.difference_update(clean)
        # As from the tables, in the order of their numbers.
        self._rooms.sort()
        return not dirty and not tells_all

    def count(self) -> None:
        """Advances the counts that the View has."""
        view = self._view
        for number, publications in self._rooms:
            for publication in publications:
                if publication.position > view.counted_to:
                    count(view, number, publication)
        for publication in self._own:
            if publication.position > view.counted_to and isinstance(publication.item, ReceiptItem):
                count(view, publication.item.room, publication)
        view.counted_to = self._upto

    def answer(self, answer: SyncAnswer) -> dict[int, RoomAnswer]:
        """Fills `answer`; its rooms by number. Raises NotInMemory if the tables must be asked."""
        view = self._view
        if view.viewpoint.newest > self._upto:
            raise NotInMemory
        room_data: dict[int, dict[str, str]] = {}
        receipts: dict[int, list[ReceiptItem]] = {}
        if self._own:
            account: dict[str, str] = {}
            self._tell_own(account, room_data, receipts)
            answer.account_data = list(account.values())
        rooms = dict(self._rooms)
        told: dict[int, RoomAnswer] = {}
        for number in dict.fromkeys([*rooms, *room_data, *receipts]):
            if number not in view.viewpoint.joined:
                continue
            room = self._room(number, rooms.get(number, ()), receipts.get(number, ()))
            if number in room_data:
                room.account_data = list(room_data[number].values())
            if not room.is_empty:
                room.counts = view.counts.get(number)
                told[number] = answer.joined[view.viewpoint.joined[number]] = room
        if self._present:
            joined, ignored = view.viewpoint.joined.keys(), view.viewpoint.ignored
            answer.presence = self._presence.of(view.request, self._present, joined, ignored, view.position, self._upto)
        return told

    def _tell_own(
        self, account: dict[str, str], room_data: dict[int, dict[str, str]], receipts: dict[int, list[ReceiptItem]]
    ) -> None:
        """What was published of the viewer alone."""
        for publication in self._own:
            item = publication.item
            if isinstance(item, EventItem | StateItem):
                raise NotInMemory
            if isinstance(item, AccountDataItem):
                if item.type in ("m.push_rules", "m.ignored_user_list", INVITE_PERMISSION):
                    raise NotInMemory
                target = account if item.room is None else room_data.setdefault(item.room, {})
                target.pop(item.type, None)
                target[item.type] = account_data_event(item.type, item.content)
            elif isinstance(item, ReceiptItem):
                receipts.setdefault(item.room, []).append(item)

    def _knows_of_typing(self) -> bool:
        """Whether the client may see people typing of whom nobody knows any more, in any room."""
        return self._view.position < self._tail.lost_before and bool(self._view.viewpoint.joined)

    def _room(self, number: int, publications: Sequence[Publication], private: Sequence[ReceiptItem]) -> RoomAnswer:
        view = self._view
        ignored = view.viewpoint.ignored
        timeline: list[tuple[int, EventItem]] = []
        receipts: dict[tuple[str, str, str], ReceiptItem] = {}
        typing: TypingItem | None = None
        summary = None
        for publication in publications:
            item = publication.item
            if isinstance(item, EventItem):
                if not item.for_all_joined or item.gap_before or self._is_redacted(item):
                    raise NotInMemory
                summary = item.summary or summary
                if item.state_key is not None or item.sender not in ignored:
                    timeline.append((publication.position, item))
            elif isinstance(item, ReceiptItem):
                _latest(receipts, item)
            elif isinstance(item, TypingItem):
                typing = item
            elif isinstance(item, PresenceItem):
                self._present.add(item.user_id)
            else:
                raise NotInMemory
        for receipt in private:
            _latest(receipts, receipt)
        if typing is None and self._knows_of_typing():
            typing = TypingItem(number, view.viewpoint.joined[number], ())
        newest = self._newest(timeline)
        room = RoomAnswer(by_thread=view.request.by_thread, limited=len(newest) < len(timeline))
        self._tell_timeline(room, newest)
        if receipts or typing is not None:
            room.ephemeral = self._ephemeral(receipts, typing)
        heroes: list[str] = []
        if summary is not None:
            heroes = [user for user in summary.heroes if user != view.request.user_id][:5]
            if not heroes:
                raise NotInMemory
            room.summary = summary_json(heroes, summary.joined, summary.invited)
        if view.request.lazy_members:
            room.members = self._members(number, [item for _, item in newest], heroes)
        return room

    def _newest(self, timeline: Sequence[tuple[int, EventItem]]) -> Sequence[tuple[int, EventItem]]:
        """As many as the filter wants. Raises NotInMemory if more than that is to be told of what is left out, or of
        what points at what."""
        limit = self._view.request.filter.room.timeline.limit
        if len(timeline) <= limit:
            return timeline
        left_out, newest = timeline[: len(timeline) - limit], timeline[len(timeline) - limit :]
        if (
            not newest
            or any(item.state_key is not None for _, item in left_out)
            or any(item.relates or item.thread_root is not None for _, item in newest)
        ):
            raise NotInMemory
        return newest

    def _tell_timeline(self, room: RoomAnswer, timeline: Sequence[tuple[int, EventItem]]) -> None:
        request = self._view.request
        if not timeline:
            room.prev_batch = write_place(Place(self._upto))
        else:
            room.prev_batch = write_place(Place(timeline[0][0], -1))
            room.timeline = [shared_event(item, self._now_ms, echo=self._echo(item)) for _, item in timeline]
            if request.use_state_after:
                state = {
                    (item.type, item.state_key): shared_event(item, self._now_ms, "", self._echo(item))
                    for _, item in timeline
                    if item.is_current
                }
                room.state = list(state.values())

    def _echo(self, item: EventItem) -> str:
        """The transaction id, for the device that sent it."""
        request = self._view.request
        if item.txn_id is None or item.sender != request.user_id or item.device_id != request.device_id:
            return ""
        return f',"transaction_id":{quote(item.txn_id)}'

    def _members(self, number: int, timeline: Sequence[EventItem], heroes: Sequence[str]) -> set[str]:
        """Of whom a lazy client knows the member event with this timeline. It must know whoever is spoken of."""
        known = self._view.known.get(self._view.viewpoint.joined[number], set())
        told = {item.state_key for item in timeline if item.type == "m.room.member" and item.state_key is not None}
        needed = {*heroes, *(item.sender for item in timeline)}
        if not needed <= known | told:
            raise NotInMemory
        return told

    def _is_redacted(self, item: EventItem) -> bool:
        """Whether what the tail holds of it is old."""
        replaced = item.replaces is not None and self._tail.is_redacted(item.replaces)
        return replaced or self._tail.is_redacted(item.event_id)

    @staticmethod
    def _ephemeral(receipts: dict[tuple[str, str, str], ReceiptItem], typing: TypingItem | None) -> list[str]:
        rows = [
            ReceiptRow(one.room, one.user_id, one.receipt_type, one.thread_id or "", one.event_id, None, one.ts, 0)
            for one in receipts.values()
        ]
        events = receipts_events(rows)
        if typing is not None:
            events.append(typing_event(typing.user_ids))
        return events


def _latest(receipts: dict[tuple[str, str, str], ReceiptItem], item: ReceiptItem) -> None:
    """Keeps the newest of each (user, type, thread), in the order of their positions."""
    key = (item.user_id, item.receipt_type, item.thread_id or "")
    receipts.pop(key, None)
    receipts[key] = item
