"""Another server's identity as a test plays it: its name and key, what it signs, and the events of its rooms.

    peer = Peer("evil.example")
    header = peer.authorization("GET", "/_matrix/federation/v1/event/$x", "test.example")
    room = PeerRoom(peer, "11")
    message = room.send(peer.user("eve"), "m.room.message", {"body": "hello"})
    lie = peer.sealed(room.version, {**message.pdu, "depth": 2**60})

Everything is signed properly, and may say what no honest server would: `sealed` hashes and signs anything. Not here: a
server that can be called (`tests.builders.peer`).
"""

import itertools
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from signedjson.types import SigningKey

from federation.wire import sign_request, write_authorization
from homeserver.domain.authorization.selection import auth_state_keys
from homeserver.domain.canonical import canonical_json
from homeserver.domain.draft import Reference, build_pdu
from homeserver.domain.event import Event, StateKey
from homeserver.domain.hashing import add_content_hash, reference_hash
from homeserver.domain.server_keys import ServerKey, own_document
from homeserver.domain.signing import generate_key, key_id_of, sign_event, sign_json
from homeserver.domain.versions import RoomVersion, room_version

TS = 1_700_000_000_000
YEAR_MS = 365 * 24 * 3600 * 1000


class Peer:
    """One identity. The key follows from name and `key_version`, so that a test may make it again."""

    def __init__(self, name: str = "peer.example", key_version: str = "a_peer") -> None:
        self.name = name
        self.key: SigningKey = generate_key(sha256(f"{name} {key_version}".encode()).digest(), key_version)

    @property
    def key_id(self) -> str:
        return key_id_of(self.key)

    def user(self, localpart: str) -> str:
        return f"@{localpart}:{self.name}"

    def old_key(self, expired_ts: int) -> ServerKey:
        """This peer's key, as one that it does not use any more."""
        return ServerKey(self.key_id, bytes(self.key.verify_key), 0, expired_ts)

    def keys(self, valid_until_ts: int = TS + 100 * YEAR_MS, old: Sequence[ServerKey] = ()) -> dict[str, Any]:
        """The answer of GET /_matrix/key/v2/server."""
        return own_document(self.name, self.key, old, valid_until_ts)

    def sign_json(self, obj: Mapping[str, Any]) -> dict[str, Any]:
        return sign_json(obj, self.name, self.key)

    def authorization(self, method: str, uri: str, destination: str, content: object = None) -> str:
        """The header that signs a request; `content` is the JSON of its body, None if it has none."""
        body = None if content is None else canonical_json(content)
        return write_authorization(sign_request(method, uri, self.name, destination, body, self.key))

    def signed(self, version: RoomVersion, pdu: Mapping[str, Any]) -> dict[str, Any]:
        """A copy with this peer's signature beside the others; the content hash stays as it is."""
        return sign_event(version, pdu, self.name, self.key)

    def sealed(self, version: RoomVersion, pdu: Mapping[str, Any]) -> dict[str, Any]:
        """A copy with the right content hash and this peer's signature alone, whatever it says."""
        bare = {key: value for key, value in pdu.items() if key not in ("hashes", "signatures")}
        return self.signed(version, add_content_hash(bare))


class KnownRoom:
    """A room as `peer` sees it: a straight line of events, each citing what it must. Nothing is judged.

    `events` are those that are known already, oldest first: `state` and `events` hold them, and what is added. Events
    may be by users of any peer in `peers`, each signed by its own. `room_id` is None until a create event of which it
    is made.
    """

    def __init__(
        self,
        peer: Peer,
        version: RoomVersion,
        room_id: str | None,
        events: Sequence[Event] = (),
        peers: Sequence[Peer] = (),
    ) -> None:
        self.peer = peer
        self.version = version
        self._room_id = room_id
        self.events: list[Event] = []
        self.state: dict[StateKey, Event] = {}
        self._numbers = itertools.count()
        self._peers = {one.name: one for one in (peer, *peers)}
        for event in events:
            self.add(event)

    @property
    def room_id(self) -> str:
        assert self._room_id is not None, "the room has no events yet"
        return self._room_id

    def draft(
        self,
        sender: str,
        type: str,
        content: Mapping[str, Any],
        state_key: str | None = None,
        *,
        prev: Sequence[Event] | None = None,
        auth: Sequence[Event] | None = None,
        depth: int | None = None,
        ts: int | None = None,
    ) -> Event:
        """An event at the end of the room, or after `prev`, that cites what it must, or `auth`; it is not added."""
        after = self.events[-1:] if prev is None else prev
        if auth is None:
            keys = auth_state_keys(self.version, type, sender, state_key, content)
            auth = [self.state[key] for key in keys if key in self.state]
        peer = self._peers[sender.partition(":")[2]]
        return build_pdu(
            self.version,
            room_id=self._room_id,
            sender=sender,
            type=type,
            state_key=state_key,
            content=content,
            prev_events=[self._reference(event) for event in after],
            auth_events=[self._reference(event) for event in auth],
            depth=1 + max((event.depth for event in after), default=0) if depth is None else depth,
            origin_server_ts=TS + len(self.events) if ts is None else ts,
            server_name=peer.name,
            key=peer.key,
            event_id_suffix=f"event{next(self._numbers)}{sha256((self._room_id or '').encode()).hexdigest()[:8]}",
        )

    def add(self, event: Event) -> Event:
        """The room goes on from this event, whoever made it."""
        self.events.append(event)
        self._room_id = event.room_id
        if event.is_state:
            self.state[event.key] = event
        return event

    def send(
        self, sender: str, type: str, content: Mapping[str, Any], state_key: str | None = None, **options: Any
    ) -> Event:
        """`draft` and `add`."""
        return self.add(self.draft(sender, type, content, state_key, **options))

    def member(self, user_id: str, membership: str, sender: str | None = None, **content: Any) -> Event:
        """A membership, by the user unless `sender` is given."""
        return self.send(sender or user_id, "m.room.member", {"membership": membership, **content}, user_id)

    def auth_chain(self, events: Sequence[Event]) -> list[Event]:
        """Everything that these events cite, directly or not, oldest first."""
        held = {event.event_id: event for event in self.events}
        found: set[str] = set()
        left = [one for event in events for one in event.auth_events]
        while left:
            event_id = left.pop()
            if event_id not in found and event_id in held:
                found.add(event_id)
                left += held[event_id].auth_events
        return [event for event in self.events if event.event_id in found]

    def _reference(self, event: Event) -> Reference:
        if not self.version.reference_pairs:
            return event.event_id
        return event.event_id, reference_hash(self.version, event.pdu)


class PeerRoom(KnownRoom):
    """One that begins here: with its create event, the creator's join, power levels and a join rule."""

    def __init__(
        self,
        peer: Peer,
        version: str = "12",
        creator: str = "creator",
        join_rule: str = "public",
        peers: Sequence[Peer] = (),
        create_content: Mapping[str, Any] | None = None,
    ) -> None:
        rules = room_version(version)
        given = None if rules.room_id_is_create_hash else f"!room{version}:{peer.name}"
        super().__init__(peer, rules, given, peers=peers)
        self.creator = peer.user(creator)
        content = {"room_version": version, **(create_content or {})}
        if not self.version.creator_is_sender:
            content.setdefault("creator", self.creator)
        self.send(self.creator, "m.room.create", content, "")
        self.member(self.creator, "join")
        users = {} if self.version.privileged_creators else {self.creator: 100}
        self.send(self.creator, "m.room.power_levels", {"users": users}, "")
        self.send(self.creator, "m.room.join_rules", {"join_rule": join_rule}, "")
