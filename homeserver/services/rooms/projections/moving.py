"""What users keep for a room follows them into the room that replaces it, when they join that one.

Tags, the list of direct chats, and push rules about the room. Only where both rooms say so: the new one names its
predecessor, and the old one, which the user was in, has a tombstone that names the new one. Otherwise anybody could
make a room that takes the place of another among somebody's favourites.
https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
"""

from contextlib import suppress
from typing import Any

import orjson

from homeserver.domain.authorization.selection import CREATE
from homeserver.domain.default_push_rules import Rule, RuleSet, put_rule, set_enabled, stored_rules
from homeserver.domain.errors import RequestError
from homeserver.domain.event import StateKey
from homeserver.domain.identifiers import domain_of, is_user_id
from homeserver.services.kept_json import kept_json
from homeserver.services.push.rule_book import RuleBook
from homeserver.services.push.rules import change_rules
from homeserver.services.rooms.changes import Appended
from homeserver.services.rooms.projections.members import membership_of
from homeserver.services.rooms.room import LockedRoom
from homeserver.storage.account_data import GLOBAL
from homeserver.storage.events import parse_members
from homeserver.storage.rooms import RoomRow
from homeserver.storage.store import Store
from homeserver.streams.keys import user_key
from homeserver.streams.publications import AccountDataItem

TAG, DIRECT = "m.tag", "m.direct"
TOMBSTONE: StateKey = ("m.room.tombstone", "")


def apply(room: LockedRoom, appended: Appended, server_name: str, rule_book: RuleBook) -> None:
    """Of each local user who joined just now."""
    joined = [
        change.key[1]
        for change in appended.changes
        if change.key[0] == "m.room.member"
        and membership_of(change.after) == "join"
        and membership_of(change.before) != "join"
        and is_user_id(change.key[1])
        and domain_of(change.key[1]) == server_name
    ]
    old = _replaced(room) if joined else None
    if old is None:
        return
    for user_id in joined:
        if room.store.memberships.find(user_id, old.number) is not None:
            _follow(room, old, user_id, rule_book)


def _replaced(room: LockedRoom) -> RoomRow | None:
    """The room that this one replaces, if both say so."""
    create = room.lookup(CREATE)
    predecessor = None if create is None else create.content.get("predecessor")
    room_id = predecessor.get("room_id") if isinstance(predecessor, dict) else None
    if not isinstance(room_id, str) or "\0" in room_id:
        return None
    store = room.store
    old = store.rooms.find(room_id)
    if old is None:
        return None
    standing = store.state.find_current(old.number, old.state_generation, [TOMBSTONE])
    events = store.events.list_by_numbers(standing.values()).values()
    named = [parse_members(event.client)["content"].get("replacement_room") for event in events]
    return old if named == [room.row.room_id] else None


def _follow(room: LockedRoom, old: RoomRow, user_id: str, rule_book: RuleBook) -> None:
    store, new = room.store, room.row
    store.users.lock(user_id)
    tags = store.account_data.find(user_id, old.number, TAG)
    if tags is not None and store.account_data.find(user_id, new.number, TAG) is None:
        _put(store, user_id, new.number, TAG, tags)
    direct = store.account_data.find(user_id, GLOBAL, DIRECT)
    if direct is not None:
        chats = _with_direct(orjson.loads(direct), old.room_id, new.room_id)
        if chats is not None:
            _put(store, user_id, GLOBAL, DIRECT, kept_json(chats))
    with suppress(RequestError):  # there are too many rules already
        change_rules(store, rule_book, user_id, lambda rules: with_rules(rules, old.room_id, new.room_id))


def _put(store: Store, user_id: str, room: int, type: str, content: str) -> None:
    position = store.take_position()
    store.account_data.put(user_id, room, type, content, position)
    item = AccountDataItem(user_id, None if room == GLOBAL else room, type, content)
    store.publish(position, [user_key(user_id)], item)


def _with_direct(chats: dict[str, Any], old: str, new: str) -> dict[str, Any] | None:
    """None if nothing changes."""
    changed = {
        user_id: [*rooms, new]
        for user_id, rooms in chats.items()
        if isinstance(rooms, list) and old in rooms and new not in rooms
    }
    return {**chats, **changed} if changed else None


def with_rules(rules: RuleSet, old: str, new: str) -> RuleSet:
    """With the rules about the old room also for the new one, where it has none yet."""
    for kind in ("room", "override"):
        found = {rule["rule_id"]: rule for rule in stored_rules(rules, kind)}
        rule = found.get(old)
        if rule is None or new in found:
            continue
        conditions = _about(rule, old, new) if kind == "override" else None
        rules = put_rule(rules, kind, new, rule["actions"], conditions, after=old)
        if rule.get("enabled") is False:
            rules = set_enabled(rules, kind, new, False)
    return rules


def _about(rule: Rule, old: str, new: str) -> list[Any]:
    """The conditions of a rule with the new room in place of the old one."""
    conditions = rule.get("conditions")
    return [
        {key: new if value == old else value for key, value in condition.items()}
        for condition in (conditions if isinstance(conditions, list) else ())
        if isinstance(condition, dict)
    ]
