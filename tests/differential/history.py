"""The growing history of a generated room: nodes, their states, and how an event gets into it.

Our own functions number, authorise and merge the events. That is safe: the oracle is asked about every one of these
steps, so a mistake of ours shows as a disagreement, and the history is only an odd one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from homeserver.domain.authorization.rules import authorize, check_auth_events
from homeserver.domain.authorization.selection import CREATE, auth_state_keys
from homeserver.domain.event import Event, StateKey, StateMap, read_event
from homeserver.domain.hashing import content_hash, event_id
from homeserver.domain.resolution.graph import Missing
from homeserver.domain.resolution.state import resolve
from homeserver.domain.versions import EventIdFormat, RoomVersion
from tests.differential.contents import Content, chance
from tests.differential.disputes import breaks_synapse, dispute_about


@dataclass(frozen=True, slots=True)
class Intent:
    """What somebody wants to send."""

    sender: str
    type: str
    content: Content
    state_key: str | None = None
    redacts: Any = None


@dataclass(frozen=True, slots=True)
class Node:
    """An accepted event, and the room's state after it."""

    event: Event
    state: StateMap


class History:
    """A room in the making. `extremities` are the nodes that the next event may follow."""

    def __init__(self, rng: Random, version: RoomVersion) -> None:
        self.rng = rng
        self.version = version
        self.events: dict[str, Event] = {}
        self.rejected: set[str] = set()
        self.outside: set[str] = set()
        self.before: dict[str, StateMap] = {}
        self.nodes: list[Node] = []
        self.extremities: list[Node] = []
        self.room_id = ""
        self.create_id = ""
        self._time = 1_700_000_000_000

    def open(self, sender: str, content: Content) -> None:
        """Write the create event, from here on that of this room."""
        if not self.version.room_id_is_create_hash:
            self.room_id = f"!room{self.rng.randrange(10**6)}:{sender.split(':', 1)[1]}"
        event = self.write(Intent(sender, "m.room.create", content, ""), (), {})
        self.room_id, self.create_id = event.room_id, event.event_id
        self.nodes = self.extremities = [Node(event, {CREATE: event.event_id})]

    def state_of(self, prevs: Sequence[Node]) -> StateMap:
        """The state before an event that follows `prevs`."""
        if len(prevs) == 1:
            return prevs[0].state
        merged = resolve(self.version, [node.state for node in prevs], self.events, self.rejected)
        assert not isinstance(merged, Missing), "the history holds every event that it names"
        return merged

    def send(self, intent: Intent, prevs: Sequence[Node]) -> bool:
        """Write the event after `prevs` and take it into the room if the rules allow it."""
        state = self.state_of(prevs)
        event = self.write(intent, prevs, state)
        self.before[event.event_id] = state
        create = self.events[self.create_id]
        if not self._belongs(event):
            self.outside.add(event.event_id)
        if event.event_id in self.outside or authorize(event, lambda key: self._at(state, key), create) is not None:
            self.rejected.add(event.event_id)
            return False
        after = {**state, event.key: event.event_id} if event.is_state else state
        node = Node(event, after)
        self.nodes.append(node)
        self.extremities = [other for other in self.extremities if other not in prevs] + [node]
        return True

    def _belongs(self, event: Event) -> bool:
        """Whether the event is of this room, cites what it must, is well-formed and undisputed.

        If not it is judged, and stays outside: what fails the rules about its auth events never gets near a resolution.
        But now and then a rejected event is cited all the same, as by a server that did not reject it.
        """
        rejected = () if chance(self.rng, 0.5) else self.rejected
        cited = {id_: self.events[id_] for id_ in event.auth_events}
        return (
            event.room_id == self.room_id
            and self.outside.isdisjoint(event.auth_events)
            and check_auth_events(event, cited, rejected) is None
            and not breaks_synapse(event)
            and dispute_about(event, self.events[self.create_id]) is None
        )

    def _at(self, state: StateMap, key: StateKey) -> Event | None:
        return self.events[state[key]] if key in state else None

    def write(self, intent: Intent, prevs: Sequence[Node], state: StateMap) -> Event:
        """Make the PDU of an intent, with its ids, and note it."""
        rng = self.rng
        self._time += rng.choice((0, 0, 1, 1000, 60_000, -5000))
        pdu: dict[str, Any] = {
            "type": intent.type,
            "sender": intent.sender,
            "content": intent.content,
            "room_id": self.room_id,
            "origin_server_ts": self._time,
            "depth": self._depth(prevs),
            "prev_events": self._references([node.event.event_id for node in prevs]),
            "auth_events": self._references(self._auth_events(intent, state)),
        }
        is_create = intent.type == "m.room.create"
        if is_create and self.version.room_id_is_create_hash:
            del pdu["room_id"]
        if intent.state_key is not None:
            pdu["state_key"] = intent.state_key
        if intent.redacts is not None:
            (pdu["content"] if self.version.redacts_in_content else pdu)["redacts"] = intent.redacts
        self._decorate(pdu)
        if self.version.event_ids is EventIdFormat.CHOSEN:
            domain = pdu["sender"].split(":", 1)[1] if chance(rng, 0.95) else "elsewhere.test"
            pdu["event_id"] = f"${len(self.events)}x{rng.randrange(10**9)}:{domain}"
        pdu["hashes"] = {"sha256": content_hash(pdu)}
        pdu["signatures"] = {pdu["sender"].split(":", 1)[1]: {"ed25519:a": "c2lnbmF0dXJl"}}
        id_ = event_id(self.version, pdu)
        room_id = "!" + id_[1:] if is_create and self.version.room_id_is_create_hash else None
        event = read_event(self.version, id_, pdu, room_id)
        return self.events.setdefault(id_, event)

    def _depth(self, prevs: Sequence[Node]) -> int:
        depth = 1 + max((node.event.depth for node in prevs), default=0)
        return depth if chance(self.rng, 0.95) else max(0, depth + self.rng.choice((-3, -1, 5, 10**6)))

    def _references(self, ids: Sequence[str]) -> list[Any]:
        return [[id_, {"sha256": "aGFzaA"}] for id_ in ids] if self.version.reference_pairs else list(ids)

    def _auth_events(self, intent: Intent, state: StateMap) -> list[str]:
        """The ids that the event cites: those the selection asks for, and sometimes others."""
        rng = self.rng
        if intent.type == "m.room.create":
            return []
        keys = auth_state_keys(self.version, intent.type, intent.sender, intent.state_key, intent.content)
        ids = list(dict.fromkeys(state[key] for key in keys if key in state))
        if not chance(rng, 0.06):
            return ids
        spoil = rng.randrange(5)
        if spoil == 0 and ids:
            ids.remove(rng.choice(ids))
        elif spoil == 1:
            ids.append(rng.choice(list(self.events)))
        elif ids:
            # Another event in the place of one: an old one, one of another branch, a rejected one.
            index = rng.randrange(len(ids))
            key = self.events[ids[index]].key
            others = [id_ for id_, event in self.events.items() if event.is_state and event.key == key]
            ids[index] = rng.choice([id_ for id_ in others if id_ in self.rejected] or others)
        return ids

    def _decorate(self, pdu: dict[str, Any]) -> None:
        """Add keys that the rules do not ask for but that hashes and redaction must treat rightly."""
        rng = self.rng
        if chance(rng, 0.2):
            pdu["origin"] = "one.test"
        if chance(rng, 0.1):
            pdu["unsigned"] = {"age": 5, "prev_content": {"a": 1}}
        if chance(rng, 0.05):
            pdu[rng.choice(("prev_state", "org.extra", "membership", "prev_content", "replaces_state"))] = rng.choice(
                ([], {}, "text", 5)
            )
        if chance(rng, 0.02):
            pdu[rng.choice(("age_ts", "outlier", "destinations"))] = rng.choice((5, "text"))
        if not self.version.strict_canonical_json and chance(rng, 0.05):
            pdu["content"]["org.loose"] = rng.choice((1.5, 2**53, 1e20, -0.0, 1e-7))
        if chance(rng, 0.02) and pdu["type"] not in ("m.room.create",):
            pdu["room_id"] = "!" + "A" * 43 if self.version.room_id_is_create_hash else "!other:one.test"
