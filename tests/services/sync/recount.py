"""Counting unread events from nothing: every event since somebody read, by the push rules that the person had then.

Written from the spec alone, without the server's engine, for the conditions that the tests' rules have.
https://spec.matrix.org/v1.19/client-server-api/#push-rules; #receiving-notifications
"""

import fnmatch
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from homeserver.services.sync.counts import RoomCounts
from homeserver.streams.publications import AccountDataItem, EventItem, Publication, ReceiptItem
from tests.services.sync.story import Story
from tests.services.sync.world import World

KINDS = ("override", "content", "room", "sender", "underride")
Json = dict[str, Any]


@dataclass(slots=True)
class Meaning:
    """What an event meant when it came: (notifications, highlights) by person; and its thread ("": none)."""

    position: int
    event_id: str
    sender: str
    is_state: bool
    thread: str
    counts: dict[str, tuple[int, int]]


@dataclass(slots=True)
class RoomHistory:
    events: list[Meaning] = field(default_factory=list)
    redacted: set[str] = field(default_factory=set)
    read: dict[str, int] = field(default_factory=dict)
    # By person and thread.
    read_there: dict[tuple[str, str], int] = field(default_factory=dict)
    threads: dict[str, str] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    members: dict[str, str] = field(default_factory=dict)
    levels: Json = field(default_factory=dict)
    creators: set[str] = field(default_factory=set)


class Recount:
    """Follows the publications of a story in which one thing happens after the other."""

    def __init__(self, world: World, story: Story) -> None:
        self._story = story
        self._rules: dict[str, Json] = {}
        self._ignored: dict[str, set[str]] = {}
        self.rooms: dict[str, RoomHistory] = {}
        world.streams.publisher.listen(self._note)

    async def learn_rules(self) -> None:
        """Call it after everybody who may have changed rules did."""
        for person in self._story.people:
            self._rules[person] = await self._story.rules.get_all(person)

    def unread(self, room_id: str, person: str) -> RoomCounts:
        roots = set(self.rooms[room_id].threads.values()) - {""}
        threads = {root: counts for root in roots if (counts := self._unread(room_id, person, root)) != (0, 0)}
        return RoomCounts(self._unread(room_id, person, ""), threads)

    def _unread(self, room_id: str, person: str, thread: str) -> tuple[int, int]:
        room = self.rooms[room_id]
        start = max(room.read.get(person, 0), room.read_there.get((person, thread), 0))
        ignored = self._ignored.get(person, set()) - {person}
        since = [
            one
            for one in room.events
            if one.thread == thread
            and one.position > start
            and one.event_id not in room.redacted
            and (one.is_state or one.sender not in ignored)
        ]
        counts = [one.counts.get(person, (0, 0)) for one in since]
        return sum(count[0] for count in counts), sum(count[1] for count in counts)

    def is_joined(self, room_id: str, person: str) -> bool:
        return self.rooms[room_id].members.get(person) == "join"

    def _note(self, publication: Publication) -> None:
        item = publication.item
        if isinstance(item, EventItem):
            self._note_event(publication.position, item, self.rooms.setdefault(item.room_id, RoomHistory()))
        elif isinstance(item, ReceiptItem):
            room = self.rooms[item.room_id]
            read = room.positions.get(item.event_id, 0)
            if item.thread_id is None:
                room.read[item.user_id] = max(room.read.get(item.user_id, 0), read)
            else:
                there = (item.user_id, "" if item.thread_id == "main" else item.thread_id)
                room.read_there[there] = max(room.read_there.get(there, 0), read)
        elif isinstance(item, AccountDataItem) and item.type == "m.ignored_user_list":
            self._ignored[item.user_id] = set(orjson.loads(item.content or "{}")["ignored_users"])

    def _note_event(self, position: int, item: EventItem, room: RoomHistory) -> None:
        content: Json = orjson.loads(f"{{{item.client}}}")["content"]
        room.positions[item.event_id] = position
        if item.type == "m.room.create":
            room.creators = {item.sender, *content.get("additional_creators", [])}
        if item.type == "m.room.power_levels":
            room.levels = content
        if item.state_key is not None and item.membership is not None:
            room.members[item.state_key] = item.membership
            room.read[item.state_key] = position
        # Whoever speaks has read what came before, there.
        thread = room.threads[item.event_id] = _thread(room, content.get("m.relates_to", {}))
        room.read_there[(item.sender, thread)] = position
        if item.redacted is not None:
            room.redacted.add(item.redacted[0])
        event = {"type": item.type, "sender": item.sender, "room_id": item.room_id, "content": content}
        if item.state_key is not None:
            event["state_key"] = item.state_key
        joined = sum(membership == "join" for membership in room.members.values())
        counts = {
            person: _judge(rules, event, person, joined, _may_notify(room, item.sender))
            for person, rules in self._rules.items()
            if person != item.sender
        }
        is_state = item.state_key is not None
        room.events.append(Meaning(position, item.event_id, item.sender, is_state, thread, counts))


def _thread(room: RoomHistory, relates_to: Json) -> str:
    """By the event's relation, or by that of what it relates to. https://spec.matrix.org/v1.19/client-server-api/#threaded-read-receipts"""
    if relates_to.get("rel_type") == "m.thread":
        return str(relates_to["event_id"])
    return room.threads.get(relates_to.get("event_id", ""), "") if "rel_type" in relates_to else ""


def _may_notify(room: RoomHistory, sender: str) -> bool:
    """Whether the sender may notify the whole room."""
    level = math.inf if sender in room.creators else room.levels.get("users_default", 0)
    level = room.levels.get("users", {}).get(sender, level)
    return bool(level >= room.levels.get("notifications", {}).get("room", 50))


def _judge(rules: Json, event: Json, person: str, joined: int, may_notify: bool) -> tuple[int, int]:
    for kind in KINDS:
        for rule in rules["global"][kind]:
            if rule["enabled"] and _matches(kind, rule, event, joined, may_notify):
                notify = "notify" in rule["actions"]
                loud = any(
                    isinstance(action, dict)
                    and action.get("set_tweak") == "highlight"
                    and action.get("value", True) is True
                    for action in rule["actions"]
                )
                return int(notify), int(notify and loud)
    return 0, 0


def _matches(kind: str, rule: Json, event: Json, joined: int, may_notify: bool) -> bool:
    if kind == "content":
        return _has_word(event["content"].get("body"), rule["pattern"])
    if kind in ("room", "sender"):
        return bool(event["room_id" if kind == "room" else "sender"] == rule["rule_id"])
    return all(_holds(condition, event, joined, may_notify) for condition in rule["conditions"])


def _holds(condition: Json, event: Json, joined: int, may_notify: bool) -> bool:
    match condition["kind"]:
        case "event_match":
            value = _value(event, condition["key"])
            if condition["key"] == "content.body":
                return _has_word(value, condition["pattern"])
            return isinstance(value, str) and fnmatch.fnmatchcase(value.lower(), condition["pattern"].lower())
        case "event_property_is":
            value = _value(event, condition["key"])
            return type(value) is type(condition["value"]) and bool(value == condition["value"])
        case "event_property_contains":
            value = _value(event, condition["key"])
            return isinstance(value, list) and condition["value"] in value
        case "room_member_count":
            return joined == int(condition["is"])
        case "sender_notification_permission":
            return may_notify
        case other:
            raise AssertionError(f"the tests know no condition {other}")


def _value(event: Json, key: str) -> Any:
    found: Any = event
    for name in re.split(r"(?<!\\)\.", key):
        if not isinstance(found, Mapping):
            return None
        found = found.get(name.replace("\\.", "."))
    return found


def _has_word(body: object, pattern: str) -> bool:
    """Whether the glob stands in the text, between word boundaries."""
    if not isinstance(body, str):
        return False
    glob = "".join({"*": ".*?", "?": "."}.get(one, re.escape(one)) for one in pattern)
    return re.search(rf"(?:^|(?<=\W)){glob}(?=\W|$)", body, re.IGNORECASE) is not None
