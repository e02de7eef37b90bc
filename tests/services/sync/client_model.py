"""What a Matrix client holds: it applies the answers of syncs, one after the other, and keeps what they tell.

It believes the spec and checks only what no client could bear: an event twice in one timeline, a room in two sections.
https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from homeserver.domain.filters import parse_sync_filter
from homeserver.services.sync.request import SyncRequest
from homeserver.services.tokens import parse_sync_token

Json = dict[str, Any]
# Of a receipt: its type, its user and its thread ("" for an unthreaded one).
ReceiptKey = tuple[str, str, str]


@dataclass(slots=True)
class Gap:
    """Something is missing in a timeline before the event at `place`; `prev_batch` leads backwards into it."""

    place: int
    prev_batch: str


@dataclass(slots=True)
class HeldRoom:
    timeline: list[Json] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    state: dict[tuple[str, str], Json] = field(default_factory=dict)
    receipts: dict[ReceiptKey, str] = field(default_factory=dict)
    typing: tuple[str, ...] = ()
    account_data: dict[str, Json] = field(default_factory=dict)
    counts: tuple[int, int] = (0, 0)
    # Of threads, by root.
    threads: dict[str, tuple[int, int]] = field(default_factory=dict)
    summary: Json = field(default_factory=dict)

    @property
    def ids(self) -> list[str]:
        return [event["event_id"] for event in self.timeline]

    @property
    def state_ids(self) -> dict[tuple[str, str], str]:
        return {key: event["event_id"] for key, event in self.state.items()}


@dataclass(slots=True)
class Client:
    """`wants`: the filter as JSON."""

    user_id: str
    device_id: str
    wants: Mapping[str, Any] = field(default_factory=dict)
    use_state_after: bool = False
    since: str | None = None
    joined: dict[str, HeldRoom] = field(default_factory=dict)
    left: dict[str, HeldRoom] = field(default_factory=dict)
    invited: dict[str, list[Json]] = field(default_factory=dict)
    knocked: dict[str, list[Json]] = field(default_factory=dict)
    account_data: dict[str, Json] = field(default_factory=dict)
    # Of others, without when they were active last.
    presence: dict[str, Json] = field(default_factory=dict)

    def request(self, timeout: float = 0.0, *, full_state: bool = False) -> SyncRequest:
        since = None if self.since is None else parse_sync_token(self.since)
        wanted = parse_sync_filter(self.wants)
        return SyncRequest(self.user_id, self.device_id, since, timeout, wanted, full_state, self.use_state_after)

    @property
    def by_thread(self) -> bool:
        return self.request().by_thread

    @property
    def is_lazy(self) -> bool:
        return self.request().lazy_members

    def twin(self) -> "Client":
        """Another client that holds the same."""
        return copy.deepcopy(self)

    def fresh(self) -> "Client":
        """The same device as it would be after its storage was lost."""
        return Client(self.user_id, self.device_id, self.wants, self.use_state_after)

    def hear(self, answer: Json) -> None:
        """Applies an answer and holds its token."""
        rooms = answer.get("rooms", {})
        names = [room_id for section in rooms.values() for room_id in section]
        assert len(names) == len(set(names)), "a room stands in two sections"
        for event in answer.get("account_data", {}).get("events", []):
            _put_data(self.account_data, event)
        for event in answer.get("presence", {}).get("events", []):
            self.presence[event["sender"]] = _lasting(event["content"])
        for room_id, part in rooms.get("leave", {}).items():
            held = self.joined.pop(room_id, None) or HeldRoom()
            self._forget(room_id)
            self._hear_room(held, part)
            self.left[room_id] = held
        for room_id, part in rooms.get("join", {}).items():
            if room_id not in self.joined:
                self._forget(room_id)
                self.joined[room_id] = HeldRoom()
            self._hear_room(self.joined[room_id], part)
        for section, held_rooms in (("invite", self.invited), ("knock", self.knocked)):
            for room_id, part in rooms.get(section, {}).items():
                self._forget(room_id)
                held_rooms[room_id] = part[f"{section}_state"]["events"]
        self.since = answer["next_batch"]

    def _forget(self, room_id: str) -> None:
        for held in (self.joined, self.left, self.invited, self.knocked):
            held.pop(room_id, None)

    def _hear_room(self, held: HeldRoom, part: Json) -> None:
        timeline = part["timeline"]
        if timeline["limited"]:
            held.gaps.append(Gap(len(held.timeline), timeline["prev_batch"]))
        known = set(held.ids)
        for event in timeline["events"]:
            assert event["event_id"] not in known, f"{event['event_id']} came twice"
            known.add(event["event_id"])
        told = part["state_after" if self.use_state_after else "state"]["events"]
        for event in told if self.use_state_after else [*told, *timeline["events"]]:
            if "state_key" in event:
                held.state[(event["type"], event["state_key"])] = event
        held.timeline += timeline["events"]
        for event in part["account_data"]["events"]:
            _put_data(held.account_data, event)
        for event in part.get("ephemeral", {}).get("events", []):
            if event["type"] == "m.typing":
                held.typing = tuple(sorted(event["content"]["user_ids"]))
            else:
                held.receipts.update(receipts_of(event))
        if "unread_notifications" in part:
            counts = part["unread_notifications"]
            held.counts = (counts["notification_count"], counts["highlight_count"])
            threads = part.get("unread_thread_notifications", {})
            held.threads = {
                root: (counts["notification_count"], counts["highlight_count"]) for root, counts in threads.items()
            }
        held.summary.update(part.get("summary", {}))

    def check_speakers(self, answer: Json, is_forked: Callable[[str], bool]) -> None:
        """A lazy client, which has just heard the answer, was told of everybody who speaks in it. (In a room that had
        branches, somebody may speak of whom its state says nothing.)"""
        for room_id, part in answer.get("rooms", {}).get("join", {}).items():
            for event in [] if is_forked(room_id) else part["timeline"]["events"]:
                member = ("m.room.member", event["sender"])
                assert member in self.joined[room_id].state, f"nothing is known of {event['sender']}, who speaks"


def receipts_of(event: Json) -> dict[ReceiptKey, str]:
    """By whose and which it is: the event that an m.receipt points at."""
    return {
        (type, user_id, data.get("thread_id", "")): event_id
        for event_id, types in event["content"].items()
        for type, users in types.items()
        for user_id, data in users.items()
    }


def _put_data(data: dict[str, Json], event: Json) -> None:
    if event["content"]:
        data[event["type"]] = event["content"]
    else:
        data.pop(event["type"], None)


def read_answer(answer: bytes) -> Json:
    parsed: Json = orjson.loads(answer)
    return parsed


def journals(answer: Json, *, lazy: bool) -> Json:
    """What must be the same whenever it is asked for between two positions: which events stand in timelines and state,
    and in which section a room does. (What an event says may change: it may be redacted. Of which members a lazy client
    is told may change too: of the heroes.)"""
    rooms: Json = {}
    for section in ("join", "leave"):
        for room_id, part in answer.get("rooms", {}).get(section, {}).items():
            journal: Json = _journal(part)
            journal["timeline"] = [event["event_id"] for event in journal["timeline"]]
            journal["state"] = [
                event["event_id"] for event in journal["state"] if not lazy or event["type"] != "m.room.member"
            ]
            if journal["timeline"] or journal["limited"] or journal["state"] or section == "leave":
                rooms[room_id] = {"section": section, **journal}
    for section in ("invite", "knock"):
        rooms[section] = sorted(answer.get("rooms", {}).get(section, {}))
    return {"next_batch": answer["next_batch"], "rooms": rooms}


def whole(answer: Json, *, lazy: bool) -> Json:
    """All of an answer, in a form that is the same for two answers that tell the same. A lazy client may be told again
    of members that it knows."""
    rooms = answer.get("rooms", {})
    for section in ("join", "leave"):
        for part in rooms.get(section, {}).values():
            journal = part["_journal"] = _journal(part)
            if lazy:
                journal["state"] = [event for event in journal["state"] if event["type"] != "m.room.member"]
            for name in ("state", "state_after", "timeline"):
                part.pop(name, None)
            part["account_data"]["events"].sort(key=_by_type)
            part["_ephemeral"] = _ephemeral(part.pop("ephemeral", {"events": []})["events"])
            if "m.heroes" in part.get("summary", {}):
                part["summary"]["m.heroes"].sort()
    for section in ("invite", "knock"):
        for part in rooms.get(section, {}).values():
            part[f"{section}_state"]["events"].sort(key=lambda event: (event["type"], event["state_key"]))
    answer.get("account_data", {"events": []})["events"].sort(key=_by_type)
    people = answer.get("presence", {"events": []})["events"]
    people.sort(key=lambda event: str(event["sender"]))
    for event in people:
        event["content"] = _lasting(event["content"])
    return answer


def _lasting(presence: Json) -> Json:
    """Without what changes from moment to moment."""
    return {key: value for key, value in presence.items() if key != "last_active_ago"}


def _ephemeral(events: list[Json]) -> Json:
    """What they say together."""
    said: Json = {"receipts": {}}
    for event in events:
        if event["type"] == "m.receipt":
            said["receipts"].update(receipts_of(event))
        else:
            said[event["type"]] = event["content"]
    return said


def _by_type(event: Json) -> str:
    return str(event["type"])


def _journal(part: Json) -> Json:
    timeline = part["timeline"]
    return {
        "timeline": [_ageless(event) for event in timeline["events"]],
        "limited": timeline["limited"],
        "prev_batch": timeline["prev_batch"] if timeline["events"] or timeline["limited"] else None,
        "state": sorted((_ageless(event) for event in _state(part)), key=lambda event: str(event["event_id"])),
    }


def _state(part: Json) -> list[Json]:
    section: Json = part.get("state") or part.get("state_after") or {}
    return list(section.get("events", []))


def _ageless(event: Json) -> Json:
    """Without what passes, down to the events that it may carry."""
    unsigned = {key: value for key, value in event.get("unsigned", {}).items() if key != "age"}
    relations = unsigned.get("m.relations", {})
    if "m.replace" in relations:
        relations["m.replace"] = _ageless(relations["m.replace"])
    if "m.thread" in relations:
        relations["m.thread"]["latest_event"] = _ageless(relations["m.thread"]["latest_event"])
    if "redacted_because" in unsigned:
        unsigned["redacted_because"] = _ageless(unsigned["redacted_because"])
    return {**event, "unsigned": unsigned}
