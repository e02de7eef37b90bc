"""A room computed anew from its PDUs, by the pure core alone: no groups, no tables, no memory of earlier results.

`Replay.load` reads the PDUs back from the database in the order in which they arrived; `check` compares everything
that the tables say of the room with what follows from the PDUs.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from homeserver.domain.event import Event, StateKey, StateMap
from homeserver.domain.resolution.graph import Missing
from homeserver.domain.resolution.state import resolve
from homeserver.domain.verdict import Accepted, Context, Rejected, SoftFailed, judge
from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.storage.events import join
from homeserver.storage.rooms import RoomRow
from homeserver.storage.store import Store

CREATE: StateKey = ("m.room.create", "")


class Replay:
    def __init__(self, room: RoomRow) -> None:
        self.room = room
        self.version = ROOM_VERSIONS[room.version]
        self.events: dict[str, Event] = {}
        self.verdicts: dict[str, Accepted | SoftFailed | Rejected] = {}
        self.before: dict[str, StateMap] = {}
        self.after: dict[str, StateMap] = {}
        self.current: StateMap = {}
        self.tips: list[str] = []
        # The state after each accepted event, in the order of arrival.
        self.snapshots: list[tuple[str, StateMap]] = []

    @staticmethod
    def load(store: Store, room_id: str) -> "Replay":
        room = store.rooms.get(room_id)
        replay = Replay(room)
        for event_id, client, wire in store.transaction.text(
            "SELECT event_id, client, wire FROM events WHERE room = %s ORDER BY number", room.number
        ):
            replay.add(join(replay.version, room_id, event_id, client, wire))
        return replay

    def state_at(self, ids: Sequence[str]) -> StateMap:
        """The state after these events together."""
        return self._resolve([self.after[one] for one in ids])

    def add(self, event: Event) -> None:
        if not {*event.prev_events, *event.auth_events} <= self.events.keys() or (
            self.events and event.type == "m.room.create"
        ):
            # It refers to another room, or would begin this one again.
            self._note(event, Rejected("stranger"), {})
            return
        before = self.state_at(event.prev_events)
        verdict = judge(
            event,
            Context(
                auth_events={one: self.events[one] for one in event.auth_events},
                rejected=self.rejected,
                state_before=lambda key: self._standing(before, key),
                current_state=lambda key: self._standing(self.current, key),
                create=self._standing(self.current, CREATE),
            ),
        )
        assert not isinstance(verdict, Missing)
        self._note(event, verdict, before)
        if isinstance(verdict, Accepted):
            behind = self._behind(event)
            self.tips = [*(one for one in self.tips if one not in behind), event.event_id]
            self.current = self.state_at(self.tips)
            self.snapshots.append((event.event_id, self.current))

    def _note(self, event: Event, verdict: Accepted | SoftFailed | Rejected, before: StateMap) -> None:
        self.events[event.event_id] = event
        self.verdicts[event.event_id] = verdict
        self.before[event.event_id] = before
        changes = {} if isinstance(verdict, Rejected) or not event.is_state else {event.key: event.event_id}
        self.after[event.event_id] = {**before, **changes}

    @property
    def rejected(self) -> set[str]:
        return {one for one, verdict in self.verdicts.items() if isinstance(verdict, Rejected)}

    def _behind(self, event: Event) -> set[str]:
        """What the event follows, directly or through events that nobody sees."""
        found: set[str] = set()
        pending = list(event.prev_events)
        while pending:
            one = pending.pop()
            if one not in found:
                found.add(one)
                if not isinstance(self.verdicts[one], Accepted):
                    pending += self.events[one].prev_events
        return found

    def _standing(self, state: StateMap, key: StateKey) -> Event | None:
        return self.events[state[key]] if key in state else None

    def _resolve(self, forks: Sequence[StateMap]) -> StateMap:
        state = resolve(self.version, forks, self.events, self.rejected)
        assert not isinstance(state, Missing)
        return state

    # --- comparing with the tables --------------------------------------------------------------------------------

    def check(self, store: Store, server_name: str) -> None:
        """Asserts that the tables say what follows from the PDUs, of now and of every position."""
        self.check_now(store, server_name)
        numbers = self._numbers(store)
        self._check_events(store, numbers)
        self._check_past(store, numbers)

    def check_now(self, store: Store, server_name: str) -> None:
        """Asserts it of the room as it is now."""
        numbers = self._numbers(store)
        self._check_place(store, self.room)
        self._check_state(store, numbers)
        self._check_members(store, numbers, server_name)

    def _numbers(self, store: Store) -> dict[int, str]:
        """Event ids by the events' internal numbers."""
        return dict(store.transaction.text("SELECT number, event_id FROM events WHERE room = %s", self.room.number))

    def _check_place(self, store: Store, room: RoomRow) -> None:
        assert set(room.extremity_ids) == set(self.tips)
        assert store.events.find_numbers(room.extremity_ids) == dict(
            zip(room.extremity_ids, room.extremities, strict=True)
        )
        assert room.depth == max(self.events[one].depth for one in self.events if self._accepted(one))

    def _check_events(self, store: Store, numbers: Mapping[int, str]) -> None:
        rows = store.events.list_by_ids(self.events)
        assert rows.keys() == self.events.keys()
        last = 0
        for event_id, event in self.events.items():
            row, verdict = rows[event_id], self.verdicts[event_id]
            assert (row.rejected is not None) == isinstance(verdict, Rejected), (event_id, row, verdict)
            assert (row.soft_failed is not None) == isinstance(verdict, SoftFailed), (event_id, row, verdict)
            assert (row.type, row.state_key, row.sender) == (event.type, event.state_key, event.sender)
            if isinstance(verdict, Accepted):
                assert row.position is not None and row.position == row.anchor and row.position > last
                last = row.position
            else:
                assert row.position is None and row.anchor is None
            before, after = row.state_before or 0, row.state_after or row.state_before or 0
            assert self._group(store, before, numbers) == self.before[event_id]
            assert self._group(store, after, numbers) == self.after[event_id]
        assert self.room.last_anchor == last

    def _check_state(self, store: Store, numbers: Mapping[int, str]) -> None:
        room = self.room
        current = store.state.as_of(room.number, room.state_generation, 2**62)
        assert self._named(store, current, numbers) == self.current
        assert self._group(store, room.state_group, numbers) == self.current

    def _check_past(self, store: Store, numbers: Mapping[int, str]) -> None:
        room = self.room
        for event_id, state in self.snapshots:
            position = store.events.get(event_id).position
            assert position is not None
            as_of = store.state.as_of(room.number, room.state_generation, position)
            assert self._named(store, as_of, numbers) == state

    def _check_members(self, store: Store, numbers: Mapping[int, str], server_name: str) -> None:
        room = self.room
        expected: dict[str, tuple[Any, ...]] = {}
        for (type, user_id), event_id in self.current.items():
            if type == "m.room.member":
                event = self.events[event_id]
                local = user_id.partition(":")[2] == server_name
                expected[user_id] = (event.content["membership"], event_id, event.sender, local)
        rows = store.memberships.list_of_room(room.number, ("join", "invite", "leave", "ban", "knock"))
        assert {row.user_id: (row.membership, numbers[row.event], row.sender, row.local) for row in rows} == expected
        counts = [membership for membership, *_ in expected.values()]
        assert (room.joined, room.invited) == (counts.count("join"), counts.count("invite"))

    def _accepted(self, event_id: str) -> bool:
        return isinstance(self.verdicts[event_id], Accepted)

    def _group(self, store: Store, group: int, numbers: Mapping[int, str]) -> StateMap:
        return self._named(store, store.state.get_group(group), numbers)

    @staticmethod
    def _named(store: Store, state: Mapping[int, int], numbers: Mapping[int, str]) -> StateMap:
        names = store.state.name_keys(state)
        return {names[key]: numbers[event] for key, event in state.items()}
