"""What a room says of itself to those who are not in it: name, topic, who may join.

Read of many rooms at once, from their current state, in which users and other servers may have written anything: what
has not the type that the spec gives it counts as absent. Who may see it is not decided here (`preview`).
https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homeserver.domain.event import StateKey
from homeserver.domain.identifiers import is_room_alias, is_room_id
from homeserver.domain.versions import ROOM_VERSIONS, RoomVersion
from homeserver.storage.events import parse_members
from homeserver.storage.rooms import RoomRow
from homeserver.storage.store import Store

SPACE = "m.space"
MEGOLM = "m.megolm.v1.aes-sha2"
MAX_ALLOWED = 50

CREATE: StateKey = ("m.room.create", "")
NAME: StateKey = ("m.room.name", "")
TOPIC: StateKey = ("m.room.topic", "")
AVATAR: StateKey = ("m.room.avatar", "")
ALIAS: StateKey = ("m.room.canonical_alias", "")
JOIN_RULES: StateKey = ("m.room.join_rules", "")
VISIBILITY: StateKey = ("m.room.history_visibility", "")
GUEST_ACCESS: StateKey = ("m.room.guest_access", "")
ENCRYPTION: StateKey = ("m.room.encryption", "")
ALL_KEYS = (CREATE, NAME, TOPIC, AVATAR, ALIAS, JOIN_RULES, VISIBILITY, GUEST_ACCESS, ENCRYPTION)
# What a search in the directory looks into.
SEARCH_KEYS = (CREATE, NAME, TOPIC, ALIAS)

Content = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RoomFacts:
    """Of one room, as far as it was loaded. `join_rule` is "invite" where none stands, as in the rules."""

    row: RoomRow
    name: str | None
    topic: str | None
    avatar_url: str | None
    canonical_alias: str | None
    join_rule: str
    allowed_room_ids: tuple[str, ...]
    world_readable: bool
    guest_can_join: bool
    room_type: str | None
    encryption: str | None

    @property
    def version(self) -> RoomVersion:
        return ROOM_VERSIONS[self.row.version]

    @property
    def is_space(self) -> bool:
        return self.room_type == SPACE

    @property
    def is_restricted(self) -> bool:
        """Whether membership of other rooms lets somebody in."""
        rule, version = self.join_rule, self.version
        return (rule == "restricted" and version.restricted) or (
            rule == "knock_restricted" and version.knock_restricted
        )

    @property
    def is_knockable(self) -> bool:
        rule, version = self.join_rule, self.version
        return (rule == "knock" and version.knock) or (rule == "knock_restricted" and version.knock_restricted)

    def published(self) -> dict[str, Any]:
        """A PublishedRoomsChunk."""
        told: dict[str, Any] = {
            "room_id": self.row.room_id,
            "num_joined_members": self.row.joined,
            "world_readable": self.world_readable,
            "guest_can_join": self.guest_can_join,
            "join_rule": self.join_rule,
        }
        optional = {
            "name": self.name,
            "topic": self.topic,
            "avatar_url": self.avatar_url,
            "canonical_alias": self.canonical_alias,
            "room_type": self.room_type,
        }
        return {**told, **{key: value for key, value in optional.items() if value is not None}}

    def summary(self) -> dict[str, Any]:
        """A RoomSummary."""
        told = {**self.published(), "room_version": self.row.version}
        if self.encryption is not None:
            told["encryption"] = self.encryption
        if self.is_restricted:
            told["allowed_room_ids"] = list(self.allowed_room_ids)
        return told


def load_facts(store: Store, rows: Sequence[RoomRow], keys: Sequence[StateKey] = ALL_KEYS) -> list[RoomFacts]:
    """The facts of rooms in the order of `rows`, as far as they follow from the state at `keys`. Three queries."""
    names = {number: key for key, number in store.state.number_keys(keys).items()}
    states = store.previews.list_state([(row.number, row.state_generation) for row in rows], list(names))
    events = store.events.list_by_numbers({event for state in states.values() for event in state.values()})
    found: list[RoomFacts] = []
    for row in rows:
        contents: dict[StateKey, Content] = {}
        for number, event in states[row.number].items():
            if event in events:
                contents[names[number]] = parse_members(events[event].client)["content"]
        found.append(read_facts(row, contents))
    return found


def read_facts(row: RoomRow, contents: Mapping[StateKey, Content]) -> RoomFacts:
    """The facts that the contents of a room's state tell."""
    rules = contents.get(JOIN_RULES, {})
    avatar = _text(contents, AVATAR, "url")
    alias = _text(contents, ALIAS, "alias")
    algorithm = _text(contents, ENCRYPTION, "algorithm")
    return RoomFacts(
        row=row,
        name=_text(contents, NAME, "name"),
        topic=_topic(contents.get(TOPIC, {})),
        avatar_url=avatar if avatar is not None and avatar.startswith("mxc://") else None,
        canonical_alias=alias if is_room_alias(alias) else None,
        join_rule=_text(contents, JOIN_RULES, "join_rule") or "invite",
        allowed_room_ids=_allowed(rules),
        world_readable=_text(contents, VISIBILITY, "history_visibility") == "world_readable",
        guest_can_join=_text(contents, GUEST_ACCESS, "guest_access") == "can_join",
        room_type=_text(contents, CREATE, "type"),
        encryption=MEGOLM if algorithm == MEGOLM else None,
    )


def _text(contents: Mapping[StateKey, Content], key: StateKey, member: str) -> str | None:
    value = contents.get(key, {}).get(member)
    return value if isinstance(value, str) and value else None


def _topic(content: Content) -> str | None:
    """The plain text. "Omitted if no text/plain mimetype exists in m.room.topic"."""
    rich = content.get("m.topic")
    forms = rich.get("m.text") if isinstance(rich, dict) else None
    if isinstance(forms, list):
        for form in forms:
            if isinstance(form, dict) and form.get("mimetype", "text/plain") == "text/plain":
                body = form.get("body")
                return body if isinstance(body, str) else None
    topic = content.get("topic")
    return topic if isinstance(topic, str) and topic else None


def _allowed(rules: Content) -> tuple[str, ...]:
    allow = rules.get("allow")
    found: list[str] = []
    for one in allow[:MAX_ALLOWED] if isinstance(allow, list) else ():
        if isinstance(one, dict) and one.get("type") == "m.room_membership" and is_room_id(one.get("room_id")):
            found.append(one["room_id"])
    return tuple(found)
