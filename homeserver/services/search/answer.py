"""The answer of search, as JSON: results with what stands around them, groups, and the state of their rooms.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3search
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import orjson

from homeserver.services.access import ReadableRoom, visible_events
from homeserver.services.aggregations import Onlooker
from homeserver.services.client_form import ClientForm, quote
from homeserver.services.search.page import Hit
from homeserver.services.search.request import ContextRequest
from homeserver.services.tokens import write_place
from homeserver.storage.events import EventRow, parse_members
from homeserver.storage.history import Place
from homeserver.storage.search import UNIT
from homeserver.storage.store import Store

# Events of the state of all rooms together; of a room beyond that the members are left out who sent no result.
MOST_STATE = 20_000
# Events around all results together, on each side.
MOST_CONTEXT = 500
# To fill the context, so many events are read for each that is wanted: some may be hidden from the reader.
SPARE = 2
END = 2**62

Seen = tuple[EventRow, str | None]


class Answer:
    """One page of results for one reader, within one transaction."""

    def __init__(
        self, store: Store, user_id: str, device_id: str, now_ms: int, ignored: frozenset[str], hits: Sequence[Hit]
    ) -> None:
        self._store = store
        self._user_id = user_id
        self._now_ms = now_ms
        self._ignored = ignored
        self._hits = hits
        self._form = ClientForm(user_id, device_id, now_ms)

    def results(self, context: ContextRequest | None) -> str:
        """The JSON list `results`."""
        if context is not None:
            most = MOST_CONTEXT // max(len(self._hits), 1)
            context = replace(context, before=min(context.before, most), after=min(context.after, most))
        around = [self._around(hit, context) if context is not None else ([], []) for hit in self._hits]
        by_room: dict[int, list[EventRow]] = {}
        for hit, (before, after) in zip(self._hits, around, strict=True):
            rows = by_room.setdefault(hit.row.room, [])
            rows += [hit.row, *(row for row, _ in before), *(row for row, _ in after)]
        rooms = {hit.row.room: hit.room for hit in self._hits}
        for number, rows in by_room.items():
            self._form.prepare(self._store, rows)
            self._form.bundle(self._store, Onlooker(rooms[number], self._user_id, self._ignored), rows)
        profiles = self._profiles(around) if context is not None and context.include_profile else None
        parts: list[str] = []
        for at, (hit, (before, after)) in enumerate(zip(self._hits, around, strict=True)):
            room_id = quote(hit.room.row.room_id)
            event = self._form.event(hit.row, hit.membership, room_id)
            members = [f'"rank":{hit.match.score / UNIT}', f'"result":{event}']
            if context is not None:
                profile = "" if profiles is None else f',"profile_info":{profiles[at]}'
                start = _before(before[-1][0] if before else hit.row)
                end = _place(after[-1][0] if after else hit.row)
                members.append(
                    f'"context":{{"start":"{write_place(start)}","end":"{write_place(end)}",'
                    f'"events_before":[{self._events(before, room_id)}],'
                    f'"events_after":[{self._events(after, room_id)}]{profile}}}'
                )
            parts.append(f"{{{','.join(members)}}}")
        return f"[{','.join(parts)}]"

    def groups(self, kinds: Iterable[str], next_batches: dict[tuple[str, str], str]) -> str:
        """The JSON object `groups`. `next_batches`: by kind and value, where there may be more."""
        groups: dict[str, dict[str, dict[str, Any]]] = {}
        for kind in kinds:
            found = groups.setdefault(kind, {})
            for hit in self._hits:
                value = group_of(hit, kind)
                group = found.setdefault(value, {"order": len(found), "results": []})
                group["results"].append(hit.row.event_id)
                if (kind, value) in next_batches:
                    group["next_batch"] = next_batches[kind, value]
        return orjson.dumps(groups).decode()

    def states(self, *, lazy: bool) -> str:
        """The JSON object `state`: the current state of each room, or that at which the reader left it. `lazy`: of the
        members only those who sent a result."""
        rooms = {hit.row.room: hit.room for hit in self._hits}
        left = MOST_STATE
        parts: list[str] = []
        for number, room in rooms.items():
            at = END if room.left_at is None else room.left_at
            state = self._store.state.as_of(number, room.row.state_generation, at)
            if lazy or len(state) > left:
                senders = {hit.row.sender for hit in self._hits if hit.row.room == number}
                names = self._store.state.name_keys(state)
                state = {
                    key: event
                    for key, event in state.items()
                    if names[key][0] != "m.room.member" or names[key][1] in senders
                }
            left -= len(state)
            room_id = quote(room.row.room_id)
            parts.append(f"{room_id}:[{self._state(list(state.values()), room_id)}]")
        return f"{{{','.join(parts)}}}"

    def _state(self, numbers: list[int], room_id: str) -> str:
        events, unfit = self._store.client_json.events(numbers, self._now_ms, room_id)
        if not unfit:
            return events
        rows = list(self._store.events.list_by_numbers(numbers).values())
        self._form.prepare(self._store, rows)
        return ",".join(self._form.event(row, None, room_id) for row in rows)

    def _around(self, hit: Hit, context: ContextRequest) -> tuple[list[Seen], list[Seen]]:
        """The events before, newest first, and after."""
        place, room = _place(hit.row), hit.room
        before: list[EventRow] = []
        after: list[EventRow] = []
        if context.before:
            first = Place(place.anchor, place.rank - 1)
            before = self._store.history.page_backwards(room.row.number, first, Place(0, 0), SPARE * context.before)
        if context.after:
            last = Place(END if room.left_at is None else room.left_at)
            after = self._store.history.page_forwards(room.row.number, place, last, SPARE * context.after)
        return self._visible(room, before)[: context.before], self._visible(room, after)[: context.after]

    def _visible(self, room: ReadableRoom, rows: list[EventRow]) -> list[Seen]:
        wanted = [row for row in rows if row.state_key is not None or row.sender not in self._ignored]
        return visible_events(self._store, room, self._user_id, wanted)

    def _profiles(self, around: Sequence[tuple[list[Seen], list[Seen]]]) -> list[str]:
        """For each result: who the senders were in the room at that time, as JSON."""
        speakers = [
            {hit.row.sender, *(row.sender for row, _ in [*before, *after])}
            for hit, (before, after) in zip(self._hits, around, strict=True)
        ]
        groups = [hit.row.state_before or 0 for hit in self._hits]
        state = self._store.state
        keys = state.number_keys({("m.room.member", user_id) for users in speakers for user_id in users})
        state.load_groups(groups)
        members: list[dict[str, int]] = []
        for group, users in zip(groups, speakers, strict=True):
            found = {
                user_id: state.find_in_group(group, keys["m.room.member", user_id])
                for user_id in users
                if ("m.room.member", user_id) in keys
            }
            members.append({user_id: number for user_id, number in found.items() if number is not None})
        rows = self._store.events.list_by_numbers({number for found in members for number in found.values()})
        return [
            orjson.dumps({user_id: _profile(rows[number]) for user_id, number in found.items()}).decode()
            for found in members
        ]

    def _events(self, seen: Sequence[Seen], room_id: str) -> str:
        return ",".join(self._form.event(row, membership, room_id) for row, membership in seen)


def group_of(hit: Hit, kind: str) -> str:
    """The value of `room_id` or `sender`."""
    return hit.room.row.room_id if kind == "room_id" else hit.row.sender


def _profile(row: EventRow) -> dict[str, str]:
    content = parse_members(row.client)["content"]
    return {name: content[name] for name in ("displayname", "avatar_url") if isinstance(content.get(name), str)}


def _place(row: EventRow) -> Place:
    return Place(row.anchor or 0, row.rank)


def _before(row: EventRow) -> Place:
    return Place(row.anchor or 0, row.rank - 1)
