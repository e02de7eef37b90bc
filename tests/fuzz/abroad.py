"""Requests that another server should not send, to every endpoint that servers are served: signed properly, mostly, and
right, nearly right or absurd in their paths, queries, PDUs and EDUs.

It is in rooms of ours with a user of its own, without any power there. What it is asked back it answers honestly.
https://spec.matrix.org/v1.19/server-server-api/
"""

import asyncio
import random
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from federation.authentication import PeerDoor
from federation.routes import federation_routes, reading_routes, writing_routes
from homeserver.domain.errors import ParleyError
from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.http.routing import Route
from tests.builders.cluster import SERVER_NAME
from tests.builders.identity import KnownRoom
from tests.conformance.client import PATH_CHARACTERS, Answer, MatrixClient, query_text
from tests.conformance.facts import FACTS, read, spec_facts
from tests.federation.hostile import Hostile
from tests.federation.ours import Ours
from tests.fuzz.cases import ABSURD_PATHS, HOSTILE_BODIES, LONGEST, Case
from tests.fuzz.routes import Nothing
from tests.fuzz.run import PATIENCE, Report
from tests.fuzz.shapes import Shapes, misspelt, spoiled
from tests.fuzz.world import EVENT_TYPES
from tests.services.rooms.scene import ALICE, BOB

VERSIONS = ("1", "6", "10", "11", "12")
# By name of the query parameter: a schema. Each route is asked with some of them.
QUERIES: Mapping[str, Any] = {
    "event_id": "string",
    "v": "string",
    "limit": "integer",
    "ts": "integer",
    "dir": {"enum": ["b", "f"]},
    "ver": {"enum": list(ROOM_VERSIONS)},
    "since": "string",
    "include_all_networks": {"enum": ["true", "false"]},
    "third_party_instance_id": "string",
    "room_alias": "string",
    "user_id": "string",
    "field": {"enum": ["displayname", "avatar_url", "m.tz"]},
    "suggested_only": {"enum": ["true", "false"]},
    "minimum_valid_until_ts": "integer",
}
# What must be there, by the end of the path.
ASKED = {
    "/backfill/": ("v", "limit"), "/state/": ("event_id",), "/state_ids/": ("event_id",), "/make_join/": ("ver",),
    "/make_knock/": ("ver",), "/timestamp_to_event/": ("ts", "dir"), "/query/directory": ("room_alias",),
    "/query/profile": ("user_id",),
}  # fmt: skip
NAMES_OF_EVENTS = ("event_id", "event_ids", "$", "v", "latest_events", "earliest_events")
# https://spec.matrix.org/v1.19/server-server-api/#edus
EDUS: Mapping[str, Any] = {
    "m.typing": {"required": {"room_id": "string", "user_id": "string", "typing": "boolean"}},
    "m.receipt": {
        "values": {
            "required": {
                "m.read": {
                    "values": {
                        "required": {"event_ids": {"items": "string"}, "data": {"optional": {"ts": "integer"}}},
                    }
                }
            }
        }
    },
    "m.presence": {
        "required": {
            "push": {
                "items": {
                    "required": {"user_id": "string", "presence": {"enum": ["online", "offline", "unavailable"]}},
                    "optional": {"last_active_ago": "integer", "currently_active": "boolean", "status_msg": "string"},
                }
            }
        }
    },
    "m.device_list_update": {"required": {"user_id": "string", "device_id": "string", "stream_id": "integer"}},
    "m.direct_to_device": {
        "required": {"sender": "string", "type": "string", "message_id": "string", "messages": {"values": "object"}}
    },
    "org.example.unknown": "object",
}


def declared_routes() -> tuple[Route, ...]:
    """Of the federation door."""
    nothing: Any = Nothing()
    door = PeerDoor(SERVER_NAME, nothing, nothing, nothing)
    routes = [*federation_routes(door, nothing), *reading_routes(door, nothing), *writing_routes(door, nothing)]
    return tuple(routes)


class Abroad:
    """The same dice and the same answers of the server make the same requests."""

    def __init__(self, ours: Ours, peer: Hostile, dice: random.Random) -> None:
        facts, events = read(FACTS / "server-server.json"), read(FACTS / "events.json")
        self._operations: Mapping[str, Any] = facts["operations"]
        self._event_schemas: Mapping[str, Any] = events["events"]
        self._ours, self._peer, self._dice = ours, peer, dice
        self._shapes = Shapes(facts["definitions"], self.word, dice)
        self._events = Shapes(events["definitions"], self.word, dice)
        self._routes = declared_routes()
        self._eve = peer.user("eve")
        self._known: list[KnownRoom] = []
        # The one that the next request is about, mostly, and the id of the event in it.
        self._room: KnownRoom
        self._chance_of_known = 0.7
        self._event_id = ""
        self._rooms: list[str] = []
        self._numbers = iter(range(10**9))

    async def begin(self) -> None:
        """Rooms in which the other server is, and some in which it is not."""
        for version in VERSIONS:
            room_id = await self._ours.room(version, members=[BOB])
            await self._ours.say(ALICE, room_id)
            self._known.append(await self._peer.join(room_id))
            self._rooms.append(room_id)
        await self._ours.services.aliases.add(ALICE, f"#place:{SERVER_NAME}", self._rooms[0])
        self._rooms.append(await self._ours.room("12", "private_chat"))
        for rule in ("knock", "restricted"):
            content = {"join_rule": rule, "allow": [{"type": "m.room_membership", "room_id": self._rooms[0]}]}
            state = ({"type": "m.room.join_rules", "state_key": "", "content": content},)
            self._rooms.append(await self._ours.room("12", initial_state=state))

    def next(self) -> Case:
        dice = self._dice
        route = dice.choice(self._routes)
        if dice.random() < 0.35:
            route = next(one for one in self._routes if one.path.endswith("/send/{txn_id}"))
        self._room = dice.choice(self._known)
        self._event_id = ""
        # Nobody knocks where the other server is.
        self._chance_of_known = 0.1 if "/make_knock/" in route.path else 0.7
        body = self._body(route) if route.method in ("PUT", "POST") else None
        path = re.sub(r"{(\w+)}", lambda found: self._parameter(found[1]), route.path)
        return Case(route, 0, path, self._query(route), body, {})

    def word(self, name: str) -> str:
        """Something that a field or parameter of this name may mean."""
        dice = self._dice
        if name in ("room_id", "!", "rooms"):
            return dice.choice([*self._rooms, "!nowhere:test.example", f"!theirs:{self._peer.name}"])
        if name in NAMES_OF_EVENTS:
            room = self._room if dice.random() < 0.8 else dice.choice(self._known)
            return dice.choice([*[one.event_id for one in room.events[-8:]], "$nothing"])
        if name in ("user_id", "sender", "mxid", "@", "state_key"):
            return dice.choice([self._eve, self._eve, self._peer.user("zoe"), ALICE, BOB, "@nobody:test.example"])
        if name in ("origin", "server_name", "destination", "server_keys"):
            return dice.choice([self._peer.name, self._peer.name, SERVER_NAME, "127.0.0.1:1"])
        if name == "room_alias":
            return dice.choice([f"#place:{SERVER_NAME}", f"#far:{self._peer.name}"])
        if name == "membership":
            return dice.choice(["join", "leave", "invite", "ban", "knock"])
        if name == "room_version":
            return dice.choice(list(ROOM_VERSIONS))
        if name == "type":
            return dice.choice(EVENT_TYPES)
        return dice.choice(["", "word", "m.text", "x" * 100, "Zoë"])

    def _parameter(self, name: str) -> str:
        dice = self._dice
        if dice.random() < 0.05:
            return dice.choice(ABSURD_PATHS)
        if name == "event_id" and self._event_id:
            value = self._event_id
        elif name == "room_id" and dice.random() < self._chance_of_known:
            value = self._room.room_id
        elif name == "txn_id":
            value = f"t{next(self._numbers)}"
        else:
            value = self.word(name)
        if dice.random() < 0.05:
            value = str(spoiled(value, dice))
        return quote(value.encode("utf-8", "replace")[:LONGEST], safe="")

    def _query(self, route: Route) -> dict[str, str]:
        dice = self._dice
        asked = next((names for part, names in ASKED.items() if part in route.path), ())
        query: dict[str, str] = {}
        for name, schema in QUERIES.items():
            if dice.random() < (0.95 if name in asked else 0.05):
                value = self._shapes.valid(schema, name)
                value = spoiled(value, dice) if dice.random() < 0.1 else value
                query[name] = str(value).encode("utf-8", "replace").decode()[:LONGEST]
        if "ver" in query and dice.random() < 0.7:
            query["ver"] = self._room.version.identifier
        return query

    def _body(self, route: Route) -> Any:
        dice, room = self._dice, self._room
        if dice.random() < 0.04:
            return dice.choice(HOSTILE_BODIES)
        if route.path.endswith("/send/{txn_id}"):
            body: Any = {
                "origin": self._peer.name,
                "origin_server_ts": 1,
                "pdus": [self._pdu(dice.choice(self._known)) for _ in range(dice.randint(0, 3))],
                "edus": [self._edu() for _ in range(dice.randint(0, 2))],
            }
        elif "/send_" in route.path or "/invite/" in route.path:
            event = self._membership(route)
            body = {"event": event, "room_version": room.version.identifier} if "v2/invite" in route.path else event
            if self._event_id and dice.random() < 0.8:
                return body
        else:
            bare = re.sub(r"{\w+}", "x", route.path)
            template = spec_facts().operations(route.method, bare)[0].template
            body = self._shapes.valid(self._operations[f"{route.method} {template}"][0].get("request") or {})
        if dice.random() < 0.3:
            body = spoiled(body, dice)
        return misspelt(body, dice) if dice.random() < 0.03 else body

    def _pdu(self, room: KnownRoom) -> Any:
        """An event after the last one, or one that is spoiled: before it is signed, or afterwards."""
        dice = self._dice
        type = dice.choice([*EVENT_TYPES, "m.room.message", "m.room.message"])
        names = [name for name in self._event_schemas if name.split("$")[0] == type]
        content: Any = self._events.valid(self._event_schemas[dice.choice(names)]).get("content", {}) if names else {}
        is_state = type.startswith("m.room.") and type not in ("m.room.message", "m.room.redaction")
        state_key = (self._eve if type == "m.room.member" else "") if is_state else None
        sender = self._eve if dice.random() < 0.9 else self._peer.user("zoe")
        try:
            event = room.draft(sender, type, content, state_key)
            if dice.random() < 0.4:
                if type in ("m.room.message", "m.reaction", "org.example.custom"):
                    room.add(event)
                return dict(event.pdu)
            changed = spoiled(dict(event.pdu), dice)
            return self._peer.sealed(room.version, changed) if dice.random() < 0.8 else changed
        except (ParleyError, ValueError, TypeError, AttributeError, LookupError, RecursionError):
            # What cannot be signed, or is no object any more, is sent unsigned.
            return spoiled({"type": type, "content": content, "room_id": room.room_id, "sender": sender}, dice)

    def _membership(self, route: Route) -> Any:
        """What is sent to come in, to knock, to leave, or to invite somebody of ours."""
        dice, room = self._dice, self._room
        kind = next(kind for kind in ("join", "leave", "knock", "invite") if kind in route.path)
        target = dice.choice([ALICE, BOB]) if kind == "invite" else self._eve
        event = {**room.draft(self._eve, "m.room.member", {"membership": kind}, target).pdu, "origin": self._peer.name}
        try:
            sealed = self._peer.sealed(room.version, spoiled(event, dice) if dice.random() < 0.5 else event)
            self._event_id = self._peer.read(room.version, sealed).event_id
            return sealed
        except (ParleyError, ValueError, TypeError, AttributeError, LookupError, RecursionError):
            return event

    def _edu(self) -> Any:
        kind = self._dice.choice(list(EDUS))
        edu = {"edu_type": kind, "content": self._shapes.valid(EDUS[kind])}
        return spoiled(edu, self._dice) if self._dice.random() < 0.4 else edu

    async def ask(self, client: MatrixClient, case: Case) -> Answer:
        """Signed, if what is asked can be signed; else as somebody who signed something else."""
        uri = quote(case.path, safe=PATH_CHARACTERS) + (f"?{query_text(case.query)}" if case.query else "")
        method, content = case.route.method, case.body
        try:
            signature = self._peer.authorization(method, uri, SERVER_NAME, content)
        except (ParleyError, ValueError, TypeError, RecursionError):
            signature = self._peer.authorization(method, uri, SERVER_NAME, {})
        headers = {"Authorization": signature, "Content-Type": "application/json"}
        return await client.ask(method, case.path, content, query=case.query, headers=headers)


async def fuzz_abroad(ours: Ours, peer: Hostile, cases: int, seed: int) -> Report:
    """Asks `cases` requests, one after the other."""
    abroad, report = Abroad(ours, peer, random.Random(seed)), Report(seed)
    await abroad.begin()
    async with MatrixClient(ours.url) as client:
        for report.cases in range(1, cases + 1):
            case = abroad.next()
            began = time.perf_counter()
            try:
                async with asyncio.timeout(PATIENCE):
                    answer = await abroad.ask(client, case)
            except AssertionError as problem:
                report.find(case, str(problem))
                report.statuses[f"{case.route.label} bad"] += 1
            except TimeoutError:
                report.find(case, f"no answer within {PATIENCE:g} s")
            else:
                report.note(case, answer, time.perf_counter() - began)
    await ours.settled()
    return report
