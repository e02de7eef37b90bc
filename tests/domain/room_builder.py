"""Builds rooms for tests of the pure core: events with short ids, cited and judged as a server would.

Not for tests of storage or of the wire: nothing here is hashed or signed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from homeserver.domain.authorization.selection import auth_state_keys
from homeserver.domain.event import Event, StateKey, StateMap, read_event
from homeserver.domain.resolution.graph import Missing
from homeserver.domain.resolution.state import resolve
from homeserver.domain.verdict import Context, Rejected, judge
from homeserver.domain.versions import RoomVersion, room_version

ALICE, BOB, CAROL, DAVE = "@alice:a.example", "@bob:b.example", "@carol:c.example", "@dave:d.example"


def make_event(
    version: RoomVersion,
    event_id: str,
    sender: str,
    event_type: str,
    content: Mapping[str, Any],
    state_key: str | None = None,
    *,
    room_id: str = "!room:a.example",
    prev_events: Sequence[str] = (),
    auth_events: Sequence[str] = (),
    depth: int = 0,
    ts: int = 0,
    **others: Any,
) -> Event:
    """One event, its PDU included. `others` are further top-level keys of the PDU."""
    pdu: dict[str, Any] = {
        "sender": sender,
        "type": event_type,
        "content": dict(content),
        "prev_events": list(prev_events),
        "auth_events": list(auth_events),
        "depth": depth,
        "origin_server_ts": ts,
        **others,
    }
    if version.reference_pairs:
        for name in ("prev_events", "auth_events"):
            pdu[name] = [[cited, {}] for cited in pdu[name]]
    if state_key is not None:
        pdu["state_key"] = state_key
    if not (version.room_id_is_create_hash and event_type == "m.room.create"):
        pdu["room_id"] = room_id
    return read_event(version, event_id, pdu, room_id)


class Room:
    """A room that grows event by event. After `__init__` it holds its create event and the creator's join."""

    def __init__(
        self, version: str = "11", creator: str = ALICE, create_content: Mapping[str, Any] | None = None
    ) -> None:
        self.version = room_version(version)
        self.creator = creator
        self.events: dict[str, Event] = {}
        self.rejected: set[str] = set()
        self.state_after: dict[str, StateMap] = {}
        self.tips: set[str] = set()
        hashed = self.version.room_id_is_create_hash
        self.room_id = "!0000" if hashed else f"!room:{creator.partition(':')[2]}"
        content = {"room_version": version, **(create_content or {})}
        if not self.version.creator_is_sender:
            content.setdefault("creator", creator)
        self.create = self.send(creator, "m.room.create", content, "")
        self.join(creator)

    def draft(
        self,
        sender: str,
        event_type: str,
        content: Mapping[str, Any],
        state_key: str | None = None,
        *,
        prev: Sequence[str] | None = None,
        ts: int | None = None,
        auth: Sequence[str] | None = None,
        **others: Any,
    ) -> Event:
        """An event at the ends of the room, or after `prev`, that cites what it must, or `auth`."""
        prev_events = sorted(self.tips) if prev is None else list(prev)
        if auth is None:
            state = self.state_of(prev_events)
            keys = auth_state_keys(self.version, event_type, sender, state_key, content)
            auth = [state[key] for key in keys if key in state]
        number = len(self.events)
        event_id = f"${number:04}"
        if not self.version.creator_is_sender:
            event_id += ":" + sender.partition(":")[2]
        if event_type == "m.room.create" and self.version.room_id_is_create_hash:
            event_id = "$" + self.room_id[1:]
        return make_event(
            self.version,
            event_id,
            sender,
            event_type,
            content,
            state_key,
            room_id=self.room_id,
            prev_events=prev_events,
            auth_events=auth,
            depth=1 + max((self.events[one].depth for one in prev_events), default=0),
            ts=number if ts is None else ts,
            **others,
        )

    def add(self, event: Event) -> Event:
        """Take an event in: rejected ones stay in the graph without changing the state."""
        before = self.state_of(event.prev_events)
        verdict = judge(event, self.context(event, before))
        assert not isinstance(verdict, Missing)
        self.events[event.event_id] = event
        after: StateMap = before
        if isinstance(verdict, Rejected):
            self.rejected.add(event.event_id)
        elif event.is_state:
            after = {**before, event.key: event.event_id}
        self.state_after[event.event_id] = after
        self.tips = (self.tips - set(event.prev_events)) | {event.event_id}
        return event

    def context(self, event: Event, before: StateMap) -> Context:
        """What `event` is judged by in the state `before`."""

        def standing(key: StateKey) -> Event | None:
            return self.events[before[key]] if key in before else None

        return Context(
            auth_events={one: self.events[one] for one in event.auth_events},
            rejected=self.rejected,
            state_before=standing,
            create=standing(("m.room.create", "")),
        )

    def state_of(self, event_ids: Sequence[str]) -> StateMap:
        """The resolved state after these events."""
        state = resolve(self.version, [self.state_after[one] for one in event_ids], self.events, self.rejected)
        assert not isinstance(state, Missing)
        return state

    def now(self) -> StateMap:
        return self.state_of(sorted(self.tips))

    def standing(self, key: StateKey) -> Event | None:
        """What stands in the current state: pass this as a state lookup."""
        event_id = self.now().get(key)
        return None if event_id is None else self.events[event_id]

    def send(self, sender: str, event_type: str, content: Mapping[str, Any], *args: Any, **options: Any) -> Event:
        return self.add(self.draft(sender, event_type, content, *args, **options))

    def member(self, sender: str, target: str, membership: str, **options: Any) -> Event:
        return self.send(sender, "m.room.member", {"membership": membership}, target, **options)

    def join(self, user_id: str, **options: Any) -> Event:
        return self.member(user_id, user_id, "join", **options)

    def power(self, sender: str, content: Mapping[str, Any], **options: Any) -> Event:
        return self.send(sender, "m.room.power_levels", content, "", **options)

    def join_rule(self, sender: str, rule: str, **options: Any) -> Event:
        return self.send(sender, "m.room.join_rules", {"join_rule": rule}, "", **options)


def public_room(version: str = "11", **create_content: Any) -> Room:
    """Alice (100, or creator), Bob (50) and Carol (0) in a room that anybody may join."""
    room = Room(version, create_content=create_content)
    users = {BOB: 50} if room.version.privileged_creators else {ALICE: 100, BOB: 50}
    room.power(ALICE, {"users": users})
    room.join_rule(ALICE, "public")
    room.join(BOB)
    room.join(CAROL)
    assert not room.rejected
    return room


def version_in(pdus: Sequence[Mapping[str, Any]]) -> RoomVersion:
    """The room version that the create event among these PDUs names."""
    for pdu in pdus:
        if pdu["type"] == "m.room.create":
            return room_version(pdu["content"].get("room_version", "1"))
    raise AssertionError("no create event says which version the room has")


def event_of(pdu: Mapping[str, Any], version: RoomVersion) -> Event:
    """The event of a PDU that carries its id, names what it cites by plain ids, and may leave out its depth."""
    filled = {"depth": 0, **pdu}
    if version.reference_pairs:
        for name in ("prev_events", "auth_events"):
            filled[name] = [[cited, {}] for cited in pdu[name]]
    hashed = version.room_id_is_create_hash and pdu["type"] == "m.room.create"
    return read_event(version, pdu["event_id"], filled, "!" + pdu["event_id"][1:] if hashed else None)
