"""A sync answered from the tables, as of a position.

Used for a client's first sync, after a gap, and for whatever a live View cannot answer from memory. The parts come from
`sections`; here they are put together for each room, with the position after which the room is told.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from homeserver.ports import Clock
from homeserver.services.access import ReadableRoom
from homeserver.services.client_form import ClientForm, stripped
from homeserver.services.messaging.typing import Typing
from homeserver.services.push.rule_book import RuleBook
from homeserver.services.rooms.invite_policy import INVITE_PERMISSION
from homeserver.services.sync.answer import RoomAnswer, SyncAnswer
from homeserver.services.sync.counts import Unread
from homeserver.services.sync.request import SyncRequest
from homeserver.services.sync.sections.account_data import push_rules_event, wanted_data
from homeserver.services.sync.sections.ephemeral import receipts_events, typing_event
from homeserver.services.sync.sections.shape import Shape
from homeserver.services.sync.sections.standing import Invites, Standing, load_standing
from homeserver.services.sync.sections.state import (
    Asked,
    Beside,
    StateEvents,
    Wanted,
    load_states,
    place_of_state,
)
from homeserver.services.sync.sections.timeline import Timeline, Timelines
from homeserver.services.tokens import SyncToken, write_place
from homeserver.services.viewer import Viewer, ignored_users
from homeserver.storage.account_data import GLOBAL
from homeserver.storage.receipts import ReceiptRow
from homeserver.storage.store import Store

# From which state the summary of a room follows.
NAMING = {"m.room.member", "m.room.name", "m.room.canonical_alias"}
# Which invites are told follows from these account data.
WISHES = ("m.ignored_user_list", INVITE_PERMISSION)
# What an invited user is told of the room.
STRIPPED = (
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
)


@dataclass(frozen=True, slots=True)
class Outline:
    """The first read of an answer: which rooms it is about. `ignored` are the users whose messages are left out;
    `new_wishes`: the user changed who they are."""

    standing: Standing
    rooms: dict[int, ReadableRoom]
    told: list[int]
    account_data: list[str]
    room_data: dict[int, list[tuple[str, str | None]]]
    ignored: frozenset[str]
    new_wishes: bool


class Tables:
    def __init__(self, clock: Clock, rule_book: RuleBook, unread: Unread, typing: Typing) -> None:
        self._clock = clock
        self._rule_book = rule_book
        self._unread = unread
        self._typing = typing

    def outline(self, store: Store, request: SyncRequest, after: int | None, upto: int) -> Outline:
        """`after` is None for a first sync."""
        whole = after is None or request.full_state
        room_filter = request.filter.room
        ignored = ignored_users(store.account_data.find(request.user_id, 0, "m.ignored_user_list"))
        data = store.account_data.list_changed(request.user_id, -1 if after is None else after, upto)
        all_invites = any(room == GLOBAL and type in WISHES for room, type, _ in data)
        standing = load_standing(
            store, request.user_id, after, upto, room_filter.include_leave, Invites(ignored, all_invites)
        )
        members = {**standing.joined, **standing.left}
        rows = {row.number: row for row in store.rooms.list_by_numbers(list(members))}
        rooms: dict[int, ReadableRoom] = {}
        for number, row in rows.items():
            if room_filter.matches_room(row.room_id):
                rooms[number] = ReadableRoom(row, members[number], standing.left_at.get(number))
        room_data: dict[int, list[tuple[str, str | None]]] = {}
        for room, type, content in data:
            room_data.setdefault(room, []).append((type, content))
        if after is not None and standing.newly_joined:
            room_data.update(store.account_data.list_of_rooms(request.user_id, list(standing.newly_joined), upto))
        told = list(rooms)
        if not whole and after is not None:
            told = self._changed_rooms(store, request, standing, rooms, room_data, after, upto)
        account_data = self._global_data(store, request, room_data.pop(0, []), after)
        return Outline(standing, rooms, told, account_data, room_data, ignored, all_invites)

    def rooms(
        self, store: Store, request: SyncRequest, outline: Outline, numbers: Sequence[int], after: int | None, upto: int
    ) -> tuple[dict[str, RoomAnswer], dict[str, RoomAnswer]]:
        """The answers of some of the outline's rooms: (joined, left)."""
        standing, ignored = outline.standing, outline.ignored
        starts = {n: 0 if after is None or n in standing.newly_joined else after for n in numbers}
        ranges = {n: (outline.rooms[n], starts[n]) for n in numbers}
        viewer = Viewer(request.user_id, ignored, request.filter.room.timeline)
        form, shape = ClientForm(request.user_id, request.device_id, self._clock.now_ms()), Shape(request.filter)
        timelines = Timelines(store, viewer, form, shape).load(ranges, upto)
        joined = [n for n in numbers if n in standing.joined]
        receipts = store.receipts.list_changed({n: starts[n] for n in joined}, upto, request.user_id)
        counts = self._unread(store, request.user_id, joined)
        heroes = store.memberships.list_heroes(joined, request.user_id)
        wholes = {n for n in numbers if request.full_state or after is None or n in standing.newly_joined}
        wanted = Wanted(request.filter.room.state, request.use_state_after, request.lazy_members)
        known = {n: None if n in wholes else after for n in numbers}
        needed = {n: {event.sender for event in timelines[n].events} for n in numbers}
        for n in wholes:
            needed[n] |= {request.user_id, *heroes.get(n, ())}
        beside = load_states(store, outline.rooms, known, timelines, upto, wanted, needed)
        named = {n for n in numbers if n in wholes or beside[n].changed & NAMING}
        for n in named:
            needed[n] |= set(heroes.get(n, ()))
        asked = self._asked(store, outline, timelines, beside, needed, wholes, upto, wanted)
        states = StateEvents(store, form, shape, wanted).load(outline.rooms, asked)
        answers: tuple[dict[str, RoomAnswer], dict[str, RoomAnswer]] = ({}, {})
        for n in numbers:
            room, timeline, whole = outline.rooms[n], timelines[n], n in wholes
            answer = RoomAnswer(limited=timeline.limited, prev_batch=write_place(timeline.start))
            answer.timeline = [event.text for event in timeline.events]
            answer.state = [event.text for event in states[n]]
            if wanted.lazy:
                told = {event.state_key for event in states[n] if event.type == "m.room.member"}
                answer.members = needed[n] | {user_id for user_id in told if user_id is not None}
            data, data_filter = outline.room_data.get(n, []), request.filter.room.account_data
            first = after is None or n in standing.newly_joined
            answer.account_data = wanted_data(data, data_filter, request.user_id, room.row.room_id, first=first)
            if n in standing.joined:
                answer.ephemeral = self._ephemeral(request, room, receipts.get(n, ()), after, starts[n], upto)
                answer.counts, answer.by_thread = counts.get(n), request.by_thread
                if n in named:
                    answer.summary = self._summary(store, request, room, heroes[n])
                if whole or not answer.is_empty:
                    answers[0][room.row.room_id] = answer
            elif whole or not answer.is_empty or n in standing.left:
                answers[1][room.row.room_id] = answer
        return answers

    @staticmethod
    def _asked(
        store: Store,
        outline: Outline,
        timelines: Mapping[int, Timeline],
        beside: Mapping[int, Beside],
        needed: Mapping[int, set[str]],
        wholes: set[int],
        upto: int,
        wanted: Wanted,
    ) -> dict[int, Asked]:
        """Which state events go beside each timeline. `needed`: whose member events a lazy client must have; of the
        whole state it gets only these, else these besides what changed."""
        left = outline.standing.left
        asked: dict[int, set[int]] = {}
        for n, state in beside.items():
            asked[n] = set(state.events.values())
            if n in left:
                # The own leave is told also if it lies outside of the stay: a ban that came later.
                asked[n] |= {left[n].event} - {event.number for event in timelines[n].events}
        if wanted.lazy:
            for n, members in _needed_members(store, outline, timelines, beside, needed, wholes, upto, wanted).items():
                asked[n] |= members
        return {n: Asked(one, needed[n] if wanted.lazy and n in wholes else None) for n, one in asked.items()}

    def invites(self, store: Store, request: SyncRequest, outline: Outline, answer: SyncAnswer) -> None:
        """Adds the stripped state of the rooms to which the user was invited, or knocked."""
        standing = outline.standing
        for rows, target in ((standing.invited, answer.invited), (standing.knocked, answer.knocked)):
            given = store.memberships.list_invite_states(request.user_id, list(rows))
            for room in store.rooms.list_by_numbers(list(rows)):
                if not request.filter.room.matches_room(room.room_id):
                    continue
                if room.number in given:
                    events = [orjson.dumps(one).decode() for one in orjson.loads(given[room.number])]
                else:
                    keys = [(type, "") for type in STRIPPED]
                    keys += [("m.room.member", request.user_id), ("m.room.member", rows[room.number].sender)]
                    numbers = store.state.find_current(room.number, room.state_generation, keys).values()
                    events = [stripped(row.client) for row in store.events.list_by_numbers(set(numbers)).values()]
                target[room.room_id] = events

    def _changed_rooms(
        self,
        store: Store,
        request: SyncRequest,
        standing: Standing,
        rooms: dict[int, ReadableRoom],
        room_data: dict[int, list[tuple[str, str | None]]],
        after: int,
        upto: int,
    ) -> list[int]:
        """The rooms in which anything happened since `after`."""
        numbers = list(rooms)
        changed = store.history.rooms_with_events_after(numbers, after)
        changed |= store.receipts.list_changed(dict.fromkeys(numbers, after), upto, request.user_id).keys()
        changed |= {n for n in numbers if self._typing.changed(n, after, upto) is not None}
        changed |= room_data.keys() & rooms.keys()
        changed |= standing.left.keys() & rooms.keys()
        return [n for n in numbers if n in changed]

    def _global_data(
        self, store: Store, request: SyncRequest, rows: list[tuple[str, str | None]], after: int | None
    ) -> list[str]:
        user_id, wanted = request.user_id, request.filter.account_data
        others = [row for row in rows if row[0] != "m.push_rules"]
        events = wanted_data(others, wanted, user_id, None, first=after is None)
        if after is None or len(others) < len(rows):
            rules = self._rule_book.rules_of(store, user_id)
            if wanted.is_everything or wanted.matches("m.push_rules", user_id, None, rules):
                events.append(push_rules_event(rules))
        return events

    def _ephemeral(
        self,
        request: SyncRequest,
        room: ReadableRoom,
        receipts: Iterable[ReceiptRow],
        after: int | None,
        start: int,
        upto: int,
    ) -> list[str]:
        wanted = request.filter.room.ephemeral
        events: list[str] = []
        if wanted.matches("m.receipt", "", room.row.room_id, {}):
            events += receipts_events(row for row in receipts if row.user_id == request.user_id or row.type == "m.read")
        typing = self._typing.changed(room.row.number, start, upto)
        if after is None and not typing:
            typing = None  # a first sync is told of typing only if somebody types
        if typing is not None and wanted.matches("m.typing", "", room.row.room_id, {}):
            events.append(typing_event(typing))
        return events

    @staticmethod
    def _summary(store: Store, request: SyncRequest, room: ReadableRoom, heroes: list[str]) -> str:
        if not heroes:
            heroes = store.memberships.list_past_heroes(room.row.number, request.user_id)
        return summary_json(heroes, room.row.joined, room.row.invited)


def _needed_members(
    store: Store,
    outline: Outline,
    timelines: Mapping[int, Timeline],
    beside: Mapping[int, Beside],
    needed: Mapping[int, set[str]],
    wholes: set[int],
    upto: int,
    wanted: Wanted,
) -> dict[int, set[int]]:
    """By room of which the client knows the state: the member events of those who speak, or after whom the room is
    called, as far as they are told nowhere else in the answer."""
    rooms = {n: room for n, room in outline.rooms.items() if n in beside and n not in wholes}
    users: dict[int, set[str]] = {}
    for n in rooms:
        there = {outline.standing.left[n].user_id} if n in outline.standing.left else set()
        if not wanted.use_state_after:
            there |= {event.state_key or "" for event in timelines[n].events if event.type == "m.room.member"}
        users[n] = needed[n] - there
    names = {("m.room.member", user_id) for speakers in users.values() for user_id in speakers}
    if not names:
        return {}
    keys = {name[1]: number for name, number in store.state.number_keys(names).items()}
    places = {
        n: (room.row.state_generation, place_of_state(room, timelines[n], upto, wanted))
        for n, room in rooms.items()
        if users[n]
    }
    states = store.state.list_as_of(places, list(names))
    return {
        n: {states[n][key] for user_id in users[n] if (key := keys.get(user_id)) in states[n].keys() - beside[n].events}
        for n in places
    }


def summary_json(heroes: Sequence[str], joined: int, invited: int) -> str:
    summary = {"m.heroes": list(heroes), "m.joined_member_count": joined, "m.invited_member_count": invited}
    return orjson.dumps(summary).decode()


def empty_answer(request: SyncRequest, epoch: str, upto: int) -> SyncAnswer:
    return SyncAnswer(next_batch(request, epoch, upto))


def next_batch(request: SyncRequest, epoch: str, upto: int) -> str:
    """The token of an answer as of `upto`."""
    to_device = 0 if request.since is None else request.since.to_device
    return str(SyncToken(epoch, upto, to_device))
