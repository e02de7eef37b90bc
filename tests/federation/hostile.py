"""A hostile server: it signs everything properly, and then lies.

    async with hostile_server(ours, authority) as mallory:
        room = await mallory.join(room_id)                  # properly; `room` is the room as it knows it
        message = room.send(mallory.user("eve"), "m.room.message", {"body": "hello"})
        assert await mallory.send(message.pdu) == {message.event_id: {}}
        mallory.lies["state_ids"] = lambda asked: {"pdu_ids": [], "auth_chain_ids": []}

It can be called over TLS, and answers for the rooms in `rooms` as an honest server would, except where an answer stands
in `lies`, by the name of the endpoint. It calls ours over HTTP with signed requests; our answers must conform to the
spec, whatever was asked.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from homeserver.domain.canonical import parse_json
from homeserver.domain.event import Event, StateKey, read_event
from homeserver.domain.hashing import event_id as id_of
from homeserver.domain.versions import ROOM_VERSIONS, EventIdFormat, RoomVersion
from tests.builders import peer as tls
from tests.builders.certificate import CertificateAuthority
from tests.builders.cluster import SERVER_NAME
from tests.builders.identity import KnownRoom, Peer
from tests.builders.peer import Asked, Reply, running_peer
from tests.conformance.client import PATH_CHARACTERS, Answer, MatrixClient, query_text
from tests.federation.ours import Ours

MEMBER = "m.room.member"
# Gives the JSON of an answer, or a whole reply.
Lie = Callable[["Question"], Any]


class Question:
    """What ours asks: `endpoint` is its name, `parts` what follows that in the path."""

    def __init__(self, asked: Asked) -> None:
        address = urlsplit(asked.target)
        _, _, _, _, self.endpoint, *parts = [unquote(part) for part in address.path.split("/")]
        self.parts = parts
        self.query = parse_qs(address.query)
        self.body: Any = parse_json(asked.body, strict=False) if asked.body else None


class Hostile(Peer):
    """`asked` counts what it was asked, by endpoint."""

    def __init__(self, line: tls.Peer, client: MatrixClient) -> None:
        super().__init__(f"127.0.0.1:{line.port}", f"a_port{line.port}")
        self._client = client
        self._transactions = 0
        self.rooms: dict[str, KnownRoom] = {}
        self.lies: dict[str, Lie] = {}
        self.asked: Counter[str] = Counter()
        line.answer = self._answer

    # --- what it asks of ours -------------------------------------------------------------------------------------

    async def ask(self, method: str, target: str, body: Any = None, **query: Any) -> Answer:
        """A signed request."""
        content = {} if body is None and method in ("POST", "PUT") else body
        uri = quote(target, safe=PATH_CHARACTERS) + (f"?{query_text(query)}" if query else "")
        headers = {"Authorization": self.authorization(method, uri, SERVER_NAME, content)}
        return await self._client.ask(method, target, body, query=query, headers=headers)

    async def send(self, *pdus: object, edus: Sequence[object] = ()) -> dict[str, Any]:
        """A transaction; what ours answers for each PDU."""
        self._transactions += 1
        body = {"origin": self.name, "origin_server_ts": 0, "pdus": list(pdus), "edus": list(edus)}
        answer = await self.ask("PUT", path("v1", "send", f"{self.name}-{self._transactions}"), body)
        assert answer.status == 200, answer.body
        results: dict[str, Any] = answer.body["pdus"]
        return results

    async def template(self, room_id: str, user_id: str, membership: str = "join") -> dict[str, Any]:
        """What make_join and its kind give."""
        answer = await self.ask("GET", path("v1", f"make_{membership}", room_id, user_id), ver=list(ROOM_VERSIONS))
        assert answer.status == 200, answer.body
        template: dict[str, Any] = answer.body["event"]
        return template

    async def join(self, room_id: str, localpart: str = "eve") -> KnownRoom:
        """Comes into a room of ours as an honest server would, and knows it from then on."""
        user_id = self.user(localpart)
        made = await self.ask("GET", path("v1", "make_join", room_id, user_id), ver=list(ROOM_VERSIONS))
        assert made.status == 200, made.body
        version = ROOM_VERSIONS[made.body["room_version"]]
        join = self.read(version, self.completed(version, made.body["event"]))
        sent = await self.ask("PUT", path("v2", "send_join", room_id, join.event_id), join.pdu)
        assert sent.status == 200, sent.body
        known = {one.event_id: one for one in self.read_all(version, sent.body["auth_chain"], room_id)}
        known |= {one.event_id: one for one in self.read_all(version, sent.body["state"], room_id)}
        room = KnownRoom(self, version, room_id, sorted(known.values(), key=lambda one: one.depth))
        room.add(join)
        self.rooms[room_id] = room
        return room

    def completed(self, version: RoomVersion, template: Mapping[str, Any], number: int = 0) -> dict[str, Any]:
        """A template as an event, hashed and signed, whatever it says."""
        pdu = {**template, "origin_server_ts": template.get("origin_server_ts", 0) + number}
        if version.event_ids is EventIdFormat.CHOSEN:
            pdu.setdefault("event_id", f"$made{self._next()}:{self.name}")
        return self.sealed(version, pdu)

    def invite(self, room: KnownRoom, sender: str, user_id: str, **changes: Any) -> Event:
        """An invite, as `changes` say. The spec wants `origin` in it."""
        pdu = room.draft(sender, MEMBER, {"membership": "invite"}, user_id).pdu
        return self.read(room.version, self.sealed(room.version, {**pdu, "origin": self.name, **changes}))

    def read(self, version: RoomVersion, pdu: Mapping[str, Any], room_id: str | None = None) -> Event:
        """The event of a PDU, whether it is right or not."""
        named: str = pdu["event_id"] if version.event_ids is EventIdFormat.CHOSEN else id_of(version, pdu)
        return read_event(version, named, pdu, pdu.get("room_id", room_id))

    def read_all(self, version: RoomVersion, pdus: Sequence[Mapping[str, Any]], room_id: str) -> list[Event]:
        return [self.read(version, pdu, room_id) for pdu in pdus]

    def _next(self) -> int:
        self._transactions += 1
        return self._transactions

    # --- what it answers to ours ----------------------------------------------------------------------------------

    def _answer(self, asked: Asked) -> Reply:
        if asked.target.startswith("/_matrix/key/v2/server"):
            return Reply(200, self.keys())
        if not asked.target.startswith("/_matrix/federation/"):
            return Reply(404)
        question = Question(asked)
        self.asked[question.endpoint] += 1
        lie = self.lies.get(question.endpoint)
        answer = self.truth(question) if lie is None else lie(question)
        return answer if isinstance(answer, Reply) else Reply(200, json.dumps(answer).encode())

    def truth(self, question: Question) -> Any:
        """What an honest server answers: a value, or a refusal."""
        if question.endpoint == "event":
            found = [room for room in self.rooms.values() if self._find(room, question.parts[0])]
            return self._of_transaction([self._find(found[0], question.parts[0])]) if found else _absent()
        room = self.rooms.get(question.parts[0]) if question.parts else None
        if room is None:
            return _absent()
        match question.endpoint:
            case "make_join" | "make_leave" | "make_knock":
                return self.honest_template(room, question.parts[1], question.endpoint.removeprefix("make_"))
            case "send_join":
                return self.honest_entry(room, question.body)
            case "send_leave":
                return {}
            case "send_knock":
                return {"knock_room_state": [room.events[0].pdu]}
            case "get_missing_events":
                return {"events": _pdus(self._before(room, question.body["latest_events"])[-question.body["limit"] :])}
            case "backfill":
                limit = int(question.query["limit"][0])
                named = [one for one in question.query["v"] if self._find(room, one)]
                return self._of_transaction(self._upto(room, named)[-limit:][::-1])
            case "state":
                state = self.state_before(room, question.query["event_id"][0])
                return {"pdus": _pdus(state), "auth_chain": _pdus(room.auth_chain(state))}
            case "state_ids":
                state = self.state_before(room, question.query["event_id"][0])
                return {"pdu_ids": _ids(state), "auth_chain_ids": _ids(room.auth_chain(state))}
            case "event_auth":
                event = self._find(room, question.parts[1])
                return {"auth_chain": [] if event is None else _pdus(room.auth_chain([event]))}
        return _absent()

    def honest_template(self, room: KnownRoom, user_id: str, membership: str) -> dict[str, Any]:
        """A template for a user of ours, who is not among its own."""
        room._peers.setdefault(user_id.partition(":")[2], self)
        pdu = room.draft(user_id, MEMBER, {"membership": membership}, user_id).pdu
        left_out = ("hashes", "signatures", "event_id")
        event = {key: value for key, value in pdu.items() if key not in left_out}
        return {"event": event, "room_version": room.version.identifier}

    def honest_entry(self, room: KnownRoom, join: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to send_join. The room goes on after the join."""
        state = list(room.state.values())
        event = self.read(room.version, join)
        chain = room.auth_chain([*state, event])
        room.add(event)
        return {"state": _pdus(state), "auth_chain": _pdus(chain), "event": join, "origin": self.name}

    def state_before(self, room: KnownRoom, event_id: str) -> list[Event]:
        state: dict[StateKey, Event] = {}
        for event in room.events:
            if event.event_id == event_id:
                break
            if event.is_state:
                state[event.key] = event
        return list(state.values())

    def _of_transaction(self, events: Sequence[Event | None]) -> dict[str, Any]:
        return {"origin": self.name, "origin_server_ts": 0, "pdus": _pdus([one for one in events if one is not None])}

    @staticmethod
    def _find(room: KnownRoom, event_id: str) -> Event | None:
        return next((event for event in room.events if event.event_id == event_id), None)

    @staticmethod
    def _upto(room: KnownRoom, event_ids: Sequence[str]) -> list[Event]:
        places = [index for index, event in enumerate(room.events) if event.event_id in event_ids]
        return room.events[: max(places) + 1] if places else []

    def _before(self, room: KnownRoom, event_ids: Sequence[str]) -> list[Event]:
        return [event for event in self._upto(room, event_ids) if event.event_id not in event_ids]


def path(version: str, endpoint: str, *parts: str) -> str:
    """A path of the federation API, with its ids escaped."""
    return "/".join(["/_matrix/federation", version, endpoint, *(quote(part, safe="") for part in parts)])


def _absent() -> Reply:
    return Reply(404, {"errcode": "M_NOT_FOUND", "error": "not here"})


def _pdus(events: Sequence[Event]) -> list[Mapping[str, Any]]:
    return [event.pdu for event in events]


def _ids(events: Sequence[Event]) -> list[str]:
    return [event.event_id for event in events]


@asynccontextmanager
async def hostile_server(ours: Ours, authority: CertificateAuthority) -> AsyncIterator[Hostile]:
    """Listens on a free port; its name is its address."""
    async with running_peer(authority, "127.0.0.1") as line, MatrixClient(ours.url) as client:
        yield Hostile(line, client)
