"""A live client's sync, answered from memory: a View and the tail.

A View belongs to a device and a filter. It stands at the last token that the client acknowledged, knows what it needs
to know about the viewer as of then (the joined rooms, ignored users, classes of push rules, unread counts), and is
advanced only by publications, in order. Whatever it cannot tell from them (the viewer's own membership changed, more
events than fit, history visibility to be asked ...) it leaves to the tables, with the same result.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from homeserver.services.client_form import join_event, quote
from homeserver.services.rooms.invite_policy import INVITE_PERMISSION
from homeserver.services.sync.answer import RoomAnswer, SyncAnswer
from homeserver.services.sync.counts import NOTHING, RoomCounts, class_in_room
from homeserver.services.sync.request import SyncRequest
from homeserver.services.sync.sections.account_data import account_data_event
from homeserver.services.sync.sections.ephemeral import receipts_events, typing_event
from homeserver.services.sync.sections.presence import PresenceSection
from homeserver.services.sync.tables import summary_json
from homeserver.services.tokens import write_place
from homeserver.storage.history import Place
from homeserver.storage.receipts import ReceiptRow
from homeserver.streams.keys import device_key, room_key, user_key
from homeserver.streams.notifier import Watcher
from homeserver.streams.publications import (
    SILENT,
    AccountDataItem,
    EventItem,
    Notice,
    PresenceItem,
    Publication,
    ReceiptItem,
    StateItem,
    TypingItem,
)
from homeserver.streams.tail import Tail

# As which thread a receipt names the main timeline.
MAIN = "main"


class NotInMemory(Exception):
    """The tables must be asked."""


@dataclass(frozen=True, slots=True)
class Viewpoint:
    """What a View is built from: read from the tables at once. `classes`: (room or 0, position, class).

    `room_keys`: under which something may be published of the joined rooms.
    """

    joined: dict[int, str]
    ignored: frozenset[str]
    classes: Sequence[tuple[int, int, str]]
    # The position of the newest membership in it: as of an earlier one, it says too much.
    newest: int
    room_keys: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "room_keys", frozenset(map(room_key, self.joined)))


@dataclass(slots=True)
class View:
    """`position`: the last acknowledged token; `pending`: that of the answer given last, not yet acknowledged."""

    request: SyncRequest
    position: int
    viewpoint: Viewpoint
    watcher: Watcher = field(default_factory=Watcher)
    pending: int | None = None
    # Unread counts of rooms, as of `counted_to`; missing: to be read from the tables.
    counts: dict[int, RoomCounts] = field(default_factory=dict)
    counted_to: int = 0
    # The newest event of a room, by (room, ""), and of its main timeline, by (room, MAIN).
    last_events: dict[tuple[int, str], str] = field(default_factory=dict)
    # Of a lazy client, by room id: whose member events it holds, and those that the pending answer brings it.
    known: dict[str, set[str]] = field(default_factory=dict)
    telling: dict[str, Collection[str]] = field(default_factory=dict)
    # A request is being answered with it: another one at the same time gets a View of its own.
    busy: bool = True
    # It was dropped: whoever waits on it is answered at once.
    ended: bool = False
    used_at: float = 0.0
    # Its weight when that was last taken into account.
    weighed: int = 0

    def keys(self) -> list[str]:
        """What its watcher watches."""
        return keys_of(self.request, self.viewpoint)

    def weight(self) -> int:
        """Bytes of memory, roughly."""
        members = sum(len(users) for users in self.known.values())
        threads = sum(len(counts.threads) for counts in self.counts.values())
        return 1_500 + 400 * len(self.viewpoint.joined) + 250 * (len(self.counts) + threads) + 100 * members

    def acknowledge(self, position: int) -> bool:
        """The client holds the token `position`. False if that is none of this View's: it must be dropped."""
        if position == self.pending:
            self.position, self.pending = position, None
            for room_id, members in self.telling.items():
                self.known.setdefault(room_id, set()).update(members)
            self.telling = {}
        return position == self.position


def keys_of(request: SyncRequest, viewpoint: Viewpoint) -> list[str]:
    """The keys under which anything for this device is published; its own two come first."""
    return [user_key(request.user_id), device_key(request.user_id, request.device_id), *viewpoint.room_keys]


def answers_from_memory(request: SyncRequest) -> bool:
    """Whether a View can serve such requests at all: narrow filters are left to the tables."""
    rooms = request.filter.room
    return (
        request.filter.event_fields is None
        and request.filter.event_format == "client"
        and request.filter.account_data.is_everything
        and rooms.rooms is None
        and rooms.not_rooms is None
        and rooms.timeline.is_everything
        and rooms.state.is_everything
        and rooms.ephemeral.is_everything
        and rooms.account_data.is_everything
        and not (request.lazy_members and rooms.state.include_redundant_members)
    )


class Delta:
    """What a View's publications up to a position amount to."""

    def __init__(self, view: View, tail: Tail, presence: PresenceSection, upto: int, now_ms: int) -> None:
        self._view = view
        self._tail = tail
        self._presence = presence
        # Of whose presence something was published.
        self._present: set[str] = set()
        self._upto = upto
        self._now_ms = now_ms

    def is_empty(self) -> bool:
        """True if there is nothing under any key of the View. Keys that have nothing new become clean."""
        if self._knows_of_typing():
            return False
        dirty, position = self._view.watcher.dirty, self._view.position
        dirty.difference_update([key for key in dirty if not self._tail.is_touched(key, position)])
        return not dirty

    def count(self) -> None:
        """Advances the counts that the View has."""
        view = self._view
        for number in self._dirty_rooms():
            for publication in self._since(room_key(number)):
                if publication.position > view.counted_to:
                    self._count(number, publication)
        for publication in self._since(user_key(view.request.user_id)):
            if publication.position > view.counted_to and isinstance(publication.item, ReceiptItem):
                self._count(publication.item.room, publication)
        view.counted_to = self._upto

    def answer(self, answer: SyncAnswer) -> dict[int, RoomAnswer]:
        """Fills `answer`; its rooms by number. Raises NotInMemory if the tables must be asked."""
        view = self._view
        if view.viewpoint.newest > self._upto:
            raise NotInMemory
        room_data: dict[int, dict[str, str]] = {}
        receipts: dict[int, list[ReceiptItem]] = {}
        account: dict[str, str] = {}
        for publication in self._since(user_key(view.request.user_id)):
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
        answer.account_data = list(account.values())
        told: dict[int, RoomAnswer] = {}
        for number in dict.fromkeys([*self._dirty_rooms(), *room_data, *receipts]):
            if number not in view.viewpoint.joined:
                continue
            room = self._room(number, receipts.get(number, []))
            room.account_data = list(room_data.get(number, {}).values())
            if not room.is_empty:
                room.counts = view.counts.get(number)
                told[number] = answer.joined[view.viewpoint.joined[number]] = room
        if self._present:
            joined, ignored = view.viewpoint.joined.keys(), view.viewpoint.ignored
            answer.presence = self._presence.of(view.request, self._present, joined, ignored, view.position, self._upto)
        return told

    def _knows_of_typing(self) -> bool:
        """Whether the client may see people typing of whom nobody knows any more, in any room."""
        return self._view.position < self._tail.lost_before and bool(self._view.viewpoint.joined)

    def _dirty_rooms(self) -> list[int]:
        """In the order of their numbers, as from the tables."""
        dirty = self._view.watcher.dirty
        joined = self._view.viewpoint.joined
        return sorted(number for key in dirty if key[0] == "r" and (number := int(key[1:])) in joined)

    def _since(self, key: str) -> list[Publication]:
        return self._tail.since(key, self._view.position, self._upto)

    def _room(self, number: int, private: Sequence[ReceiptItem]) -> RoomAnswer:
        view = self._view
        timeline: list[EventItem] = []
        positions: list[int] = []
        receipts: dict[tuple[str, str, str], ReceiptItem] = {}
        typing: TypingItem | None = None
        summary = None
        for publication in self._since(room_key(number)):
            item = publication.item
            if isinstance(item, EventItem):
                if not item.for_all_joined or item.gap_before or self._is_redacted(item):
                    raise NotInMemory
                summary = item.summary or summary
                if item.state_key is not None or item.sender not in view.viewpoint.ignored:
                    timeline.append(item)
                    positions.append(publication.position)
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
        if len(timeline) > view.request.filter.room.timeline.limit:
            raise NotInMemory
        room = RoomAnswer(prev_batch=write_place(Place(positions[0], -1) if positions else Place(self._upto)))
        room.by_thread = view.request.by_thread
        room.timeline = [self._event(item) for item in timeline]
        if view.request.use_state_after:
            state = {(item.type, item.state_key): self._event(item, told=False) for item in timeline if item.is_current}
            room.state = list(state.values())
        room.ephemeral = self._ephemeral(receipts, typing)
        heroes: list[str] = []
        if summary is not None:
            heroes = [user for user in summary.heroes if user != view.request.user_id][:5]
            if not heroes:
                raise NotInMemory
            room.summary = summary_json(heroes, summary.joined, summary.invited)
        if view.request.lazy_members:
            room.members = self._members(number, timeline, heroes)
        return room

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

    def _event(self, item: EventItem, told: bool = True) -> str:
        """For this viewer, who is joined. `told`: in the timeline, where the membership is told too."""
        request = self._view.request
        unsigned = f'"age":{max(0, self._now_ms - item.origin_server_ts)}'
        if told:
            unsigned += ',"membership":"join"'
        if item.txn_id is not None and item.sender == request.user_id and item.device_id == request.device_id:
            unsigned += f',"transaction_id":{quote(item.txn_id)}'
        if item.unsigned:
            unsigned += "," + item.unsigned
        return join_event(item.client, item.event_id, unsigned, None)

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

    def _count(self, number: int, publication: Publication) -> None:
        item = publication.item
        if isinstance(item, EventItem):
            self._count_event(number, item, publication.position)
        elif isinstance(item, ReceiptItem) and item.user_id == self._view.request.user_id:
            self._count_receipt(number, item)

    def _count_event(self, number: int, item: EventItem, position: int) -> None:
        view = self._view
        if item.redacted is not None:
            view.counts.pop(number, None)
        if item.state_key is None and item.sender in view.viewpoint.ignored:
            return
        view.last_events[(number, "")] = item.event_id
        if item.thread_root is None:
            view.last_events[(number, MAIN)] = item.event_id
        counts = view.counts.get(number)
        if counts is None:
            return
        if item.sender == view.request.user_id:
            view.counts[number] = _read(counts, item.thread_root or MAIN)
            return
        name, _ = class_in_room(view.viewpoint.classes, number, position)
        notice = item.named.get(view.request.user_id) or item.classes.get(name)
        if notice is None:
            del view.counts[number]
        elif notice != SILENT:
            view.counts[number] = _counted(counts, item.thread_root, notice)

    def _count_receipt(self, number: int, item: ReceiptItem) -> None:
        """What is read by a receipt for the newest event is known; else the tables must be asked."""
        view = self._view
        counts = view.counts.get(number)
        thread = item.thread_id or ""
        if counts is None or (thread not in ("", MAIN) and thread not in counts.threads):
            return
        if view.last_events.get((number, thread)) == item.event_id:
            view.counts[number] = RoomCounts() if thread == "" else _read(counts, thread)
        else:
            del view.counts[number]


def _read(counts: RoomCounts, thread: str) -> RoomCounts:
    """Nothing is unread any more in the main timeline, or in a thread."""
    if thread == MAIN:
        return RoomCounts(NOTHING, counts.threads)
    return RoomCounts(counts.main, {root: unread for root, unread in counts.threads.items() if root != thread})


def _counted(counts: RoomCounts, thread: str | None, notice: Notice) -> RoomCounts:
    """With one more event."""
    notifications, highlights = counts.main if thread is None else counts.threads.get(thread, NOTHING)
    more = (notifications + notice.notify, highlights + notice.highlight)
    if thread is None:
        return RoomCounts(more, counts.threads)
    return RoomCounts(counts.main, {**counts.threads, thread: more})


def _latest(receipts: dict[tuple[str, str, str], ReceiptItem], item: ReceiptItem) -> None:
    """Keeps the newest of each (user, type, thread), in the order of their positions."""
    key = (item.user_id, item.receipt_type, item.thread_id or "")
    receipts.pop(key, None)
    receipts[key] = item
