"""Cases: one request each, to a route by turns, valid, nearly valid or absurd in its path, its query and its body."""

import hmac
import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from homeserver.domain.canonical import canonical_json
from homeserver.http.routing import Route
from tests.conformance.facts import FACTS, OWN_OPERATIONS, read, spec_facts
from tests.fuzz.routes import declared_routes
from tests.fuzz.shapes import Shapes, anything, misspelt, spoiled
from tests.fuzz.world import ALICE, BOB, CAROL, DORA, EMIL, GUEST, PASSWORD, ROOT, World

# What stands in queries, which the facts do not hold: name -> schema. Waits are short, or the fuzzing would be long.
TOKEN: Any = "string"
EVENT_FILTER = {"json": "#room_event_filter"}
RELATIONS: Mapping[str, Any] = {
    "from": TOKEN,
    "to": TOKEN,
    "dir": {"enum": ["b", "f"]},
    "limit": "integer",
    "recurse": {"enum": ["true", "false", "yes"]},
    "org.matrix.msc3981.recurse": {"enum": ["true", "false"]},
}
# Without these nothing can be said.
NEEDED = ("dir", "username", "token", "ts", "user_id")
QUERIES: Mapping[str, Mapping[str, Any]] = {
    "GET /_matrix/client/v3/sync": {
        "since": TOKEN,
        "filter": {"json": "#sync_filter"},
        "timeout": {"enum": ["0", "1", "20", "0", "1", "20", "-1", "1.5"]},
        "full_state": {"enum": ["true", "false", "true", "false", "1"]},
        "set_presence": {"enum": ["offline", "online", "unavailable"]},
        "use_state_after": {"enum": ["true", "false"]},
        "org.matrix.msc4222.use_state_after": {"enum": ["true", "false"]},
    },
    "GET /_matrix/client/v3/rooms/{room_id}/messages": {
        "from": TOKEN,
        "to": TOKEN,
        "dir": {"enum": ["b", "f"]},
        "limit": "integer",
        "filter": EVENT_FILTER,
    },
    "GET /_matrix/client/v3/rooms/{room_id}/context/{event_id}": {"limit": "integer", "filter": EVENT_FILTER},
    "GET /_matrix/client/v3/rooms/{room_id}/members": {
        "at": TOKEN,
        "membership": {"enum": ["join", "leave", "invite", "ban", "knock"]},
        "not_membership": {"enum": ["join", "leave", "invite", "ban", "knock"]},
    },
    "GET /_matrix/client/v3/rooms/{room_id}/state/{event_type}/{state_key}": {
        "format": {"enum": ["content", "event", "both"]}
    },
    "POST /_matrix/client/v3/join/{room_id_or_alias}": {"via": "string", "server_name": "string"},
    "POST /_matrix/client/v3/knock/{room_id_or_alias}": {"via": "string", "server_name": "string"},
    "GET /_matrix/client/v3/publicRooms": {"limit": "integer", "since": TOKEN, "server": "string"},
    "POST /_matrix/client/v3/publicRooms": {"server": "string"},
    "GET /_matrix/client/v1/room_summary/{room_id_or_alias}": {"via": "string"},
    "GET /_matrix/client/v1/rooms/{room_id}/hierarchy": {
        "suggested_only": {"enum": ["true", "false", "1"]},
        "limit": "integer",
        "max_depth": "integer",
        "from": TOKEN,
    },
    "GET /_matrix/client/v1/mutual_rooms": {"user_id": "string", "from": TOKEN},
    "GET /_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms": {"user_id": "string", "batch_token": TOKEN},
    "GET /_matrix/client/v1/rooms/{room_id}/relations/{event_id}": RELATIONS,
    "GET /_matrix/client/v1/rooms/{room_id}/relations/{event_id}/{rel_type}": RELATIONS,
    "GET /_matrix/client/v1/rooms/{room_id}/relations/{event_id}/{rel_type}/{event_type}": RELATIONS,
    "GET /_matrix/client/v1/rooms/{room_id}/threads": {
        "include": {"enum": ["all", "participated", "some"]},
        "limit": "integer",
        "from": TOKEN,
    },
    "GET /_matrix/client/v1/rooms/{room_id}/timestamp_to_event": {
        "ts": {"enum": ["0", "1", "1700000000000", "4102444800000", "9007199254740991", "-1", "x"]},
        "dir": {"enum": ["b", "f"]},
    },
    "POST /_matrix/client/v3/search": {"next_batch": TOKEN},
    "GET /_matrix/client/v3/events": {
        "from": TOKEN,
        "room_id": "string",
        "timeout": {"enum": ["0", "1", "20", "-1", "1.5"]},
    },
    "GET /_matrix/client/v3/initialSync": {"limit": "integer", "archived": {"enum": ["true", "false"]}},
    "GET /_matrix/client/v3/thirdparty/location": {"alias": "string"},
    "GET /_matrix/client/v3/thirdparty/user": {"userid": "string"},
    "PUT /_matrix/client/v3/pushrules/global/{kind}/{rule_id}": {"before": "string", "after": "string"},
    "POST /_matrix/client/v3/register": {"kind": {"enum": ["user", "guest", "bot"]}},
    "GET /_matrix/client/v3/register/available": {"username": "string"},
    "GET /_matrix/client/v1/register/m.login.registration_token/validity": {"token": "string"},
}
# Where something is asked mostly that asks for a room of its kind, or may end the talk of those who go on in it.
PLACES = {
    "/unban": "banned", "/knock/": "knocked", "/forget": "left", "/hierarchy": "space", "/leave": "", "/kick": "",
    "/ban": "", "/upgrade": "",
}  # fmt: skip
# The longest value that a request line carries.
LONGEST = 4_000
ABSURD_PATHS = (
    "%00",
    "%ff",
    "%C3",
    "..",
    ".",
    "%2F",
    "%2e%2e%2f",
    "a" * 300,
    "%F0%9F%98%80",
    "%",
    "%zz",
    ";",
    "~",
    "+",
)
HOSTILE_BODIES = (
    b"", b" ", b"{", b"[]", b"null", b"1", b'"x"', b"\xff", b'{"a":1,"a":1}', b'{"a":NaN}', b'{"a":1e400}',
    b'{"a":' * 2_000 + b"1" + b"}" * 2_000, b"[" * 50_000, b'{"a":' + b"9" * 5_000 + b"}", b'{"a":"\\ud800"}',
    b'{"a":"\\u0000"}', b'{"a":"\x00"}', b"{}{}", b"a=b&c=d", b'{"a":1}'.ljust(200_000),
    b"{" + b'"":[],' * 9 + b'"b":1}', b'{"type":"' + b"x" * 100_000 + b'"}',
)  # fmt: skip
CONTENT_TYPES = ("application/json", "text/plain", "multipart/form-data; boundary=x", "image/png", "", "\\;;=")
REGISTER, BY_SECRET = "/_matrix/client/v3/register", "/_synapse/admin/v1/register"
REBUILD, NOTICES = "/_parley/admin/v1/search/rebuild", "/_parley/admin/v1/notices"
SEND_NOTICE = "/_synapse/admin/v1/send_server_notice"
# Of `tests.clients.conftest.serve`.
SECRET = "secret"
# The facts describe whole events, and know nothing of filters that ask for less: then these are asked for as well.
# What is told without them: tests/services/sync/test_shape.py.
REQUIRED_FIELDS = ["content", "event_id", "origin_server_ts", "sender", "state_key", "type", "unsigned"]
Schema = Any


@dataclass(frozen=True, slots=True)
class Case:
    """`body` is JSON, or bytes that are sent as they are. `person`: who asks, None: somebody without a token."""

    route: Route
    person: int | None
    path: str
    query: Mapping[str, str]
    body: Any
    headers: Mapping[str, str]

    @property
    def told(self) -> str:
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        shown = repr(body[:2_000]) + ("..." if len(body) > 2_000 else "")
        return f"{self.route.method} {self.path} query={dict(self.query)} headers={dict(self.headers)} body={shown}"


class Cases:
    """An endless deal of cases. The same dice and the same answers of the server make the same cases."""

    def __init__(self, world: World, dice: random.Random) -> None:
        facts = read(FACTS / "client-server.json")
        events = read(FACTS / "events.json")
        self._operations: Mapping[str, Any] = facts["operations"]
        self._dice = dice
        self._world = world
        self._word = world.word
        self._shapes = Shapes(facts["definitions"], world.word, dice)
        self._events = Shapes(events["definitions"], world.word, dice)
        self._event_schemas: Mapping[str, Any] = events["events"]
        self._routes = declared_routes()
        self._turn: list[Route] = []

    def next(self) -> Case:
        if not self._turn:
            self._turn = list(self._routes)
            self._dice.shuffle(self._turn)
        route = self._turn.pop()
        person = self._person(route)
        self._world.speaker = "" if person is None else self._world.people[person].user_id
        self._world.usual_place = next((place for part, place in PLACES.items() if part in route.path), "talk")
        parameters = {name: self._parameter(name, route) for name in re.findall(r"{(\w+)}", route.path)}
        path = re.sub(r"{(\w+)}", lambda found: parameters[found[1]], route.path)
        body, headers = self._body(route, parameters)
        return Case(route, person, path, self._query(route), body, headers)

    def _person(self, route: Route) -> int | None:
        if self._dice.random() < 0.06:
            return None
        if any(word in route.path for word in ("/logout", "/account/password", "/account/deactivate")):
            return CAROL
        if route.path.startswith("/_synapse/admin/") and route.path != BY_SECRET:
            return self._dice.choice((ROOT, ROOT, ROOT, ALICE))
        return self._dice.choice((ALICE, ALICE, ALICE, BOB, BOB, DORA, EMIL, GUEST))

    def _parameter(self, name: str, route: Route) -> str:
        """Percent-encoded."""
        if name == "event_type" and "/state/" in route.path:
            name = "state_type"
        if self._dice.random() < 0.06:
            return self._dice.choice(ABSURD_PATHS)
        value = self._word("{" + name + "}")
        if self._dice.random() < 0.04:
            value = str(spoiled(value, self._dice))
        return quote(value.encode("utf-8", "replace")[:LONGEST], safe="")

    def _query(self, route: Route) -> Mapping[str, str]:
        dice = self._dice
        query: dict[str, str] = {}
        for name, schema in QUERIES.get(f"{route.method} {route.path}", {}).items():
            if dice.random() < (0.9 if name in NEEDED else 0.4):
                query[name] = self._query_value(name, schema)
        if dice.random() < 0.03:
            query[dice.choice(("limit", "filter", "since", "access_token", "user_id"))] = dice.choice(
                ("", "0", "x", "{")
            )
        return query

    def _query_value(self, name: str, schema: Schema) -> str:
        dice = self._dice
        is_json = isinstance(schema, dict) and "json" in schema
        if is_json and dice.random() < 0.1:
            return self._word("filter_id")
        value = self._shapes.valid(schema["json"] if is_json else schema, name)
        # What is no timeout is refused at once; a long one would only be waited for.
        if dice.random() < 0.1 and name != "timeout":
            value = spoiled(value, dice)
        value = with_whole_events(value)
        text = value if isinstance(value, str) and not is_json else json.dumps(value)
        return text.encode("utf-8", "replace").decode()[:LONGEST]

    def _body(self, route: Route, parameters: Mapping[str, str]) -> tuple[Any, Mapping[str, str]]:
        dice = self._dice
        if route.method not in ("PUT", "POST"):
            # What has no body may have one all the same.
            return (dice.choice(HOSTILE_BODIES) if dice.random() < 0.02 else None), {}
        kind = dice.random()
        if kind < 0.06:
            headers = {"Content-Type": dice.choice(CONTENT_TYPES) if dice.random() < 0.2 else CONTENT_TYPES[0]}
            return dice.choice(HOSTILE_BODIES), headers
        if kind < 0.1:
            return {str(number): anything(dice) for number in range(3)}, {}
        value = self._valid_body(route, parameters)
        for _ in range(dice.choice((0, 0, 0, 0, 1, 1, 2))):
            value = spoiled(value, dice)
        value = with_whole_events(value)
        if dice.random() < 0.04:
            return misspelt(value, dice), {"Content-Type": CONTENT_TYPES[0]}
        return value, {}

    def _valid_body(self, route: Route, parameters: Mapping[str, str]) -> Any:
        if "event_type" in parameters:
            return self._content(unquote(parameters["event_type"]))
        bare = re.sub(r"{\w+}", "x", route.path)
        template = spec_facts().operations(route.method, bare)[0].template
        key = f"{route.method} {template}"
        described = [OWN_OPERATIONS[key]] if key in OWN_OPERATIONS else self._operations[key]
        schema = self._dice.choice(described).get("request")
        body = {} if schema is None else self._shapes.valid(schema)
        if "initial_state" in body:
            body["initial_state"] = [{**one, "content": self._content(one["type"])} for one in body["initial_state"]]
        if "key" in parameters:
            body = {parameters["key"]: self._word("displayname")}
        if self._dice.random() < 0.6:
            self._authenticate(route, body)
        return body

    def _authenticate(self, route: Route, body: dict[str, Any]) -> None:
        """Puts the right words where the facts only say that there are some."""
        name = self._word("user")
        identifier = {"type": "m.id.user", "user": name}
        if route.path.endswith("/login"):
            body |= {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
        elif route.path == REGISTER:
            body |= {"username": f"new{self._dice.randrange(10**9)}", "password": PASSWORD}
            body["auth"] = {**body.get("auth", {}), "type": "m.login.dummy"}
        elif route.path == BY_SECRET:
            body["username"] = f"new{self._dice.randrange(10**9)}"
            self._prove(body, body["username"], body["password"], "admin" if body.get("admin") else "notadmin")
        elif route.path == REBUILD:
            self._prove(body, "rebuild-search")
        elif route.path == NOTICES:
            body["notice"] = {"body": self._word("body"), "user_id": self._word("@")}
            self._prove(body, "send-notice", canonical_json(body["notice"]).decode())
        elif route.path == SEND_NOTICE:
            body |= {"user_id": self._word("@"), "content": {"msgtype": "m.text", "body": self._word("body")}}
            body |= {"type": "m.room.message", "state_key": None}
        elif "/pushrules/" in route.path and "actions" in body:
            body["actions"] = self._dice.choice((["notify", {"set_tweak": "highlight"}], ["notify"], []))
            body.setdefault("pattern", self._word("pattern"))
        elif route.path.endswith("/unban"):
            body["user_id"] = self._world.people[EMIL].user_id
        elif "/account/" in route.path:
            identifier["user"] = self._world.speaker
            body["auth"] = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}

    def _prove(self, body: dict[str, Any], *parts: str) -> None:
        words = "\0".join((body["nonce"], *parts))
        body["mac"] = hmac.new(SECRET.encode(), words.encode("utf-8", "replace"), "sha1").hexdigest()

    def _content(self, event_type: str) -> Any:
        """The content of an event of a type that the spec knows, or of any."""
        names = [name for name in self._event_schemas if name.split("$")[0] == event_type]
        if not names:
            return {self._word("type"): self._word("")}
        content = self._events.valid(self._event_schemas[self._dice.choice(names)]).get("content", {})
        if event_type == "m.room.message":
            content = {"msgtype": "m.text", "body": "x", **content}
        return content


def with_whole_events(value: Any) -> Any:
    """A filter that asks for some fields asks for REQUIRED_FIELDS too; anything else is as it was."""
    if not isinstance(value, dict) or not isinstance(value.get("event_fields"), list):
        return value
    return {**value, "event_fields": [*value["event_fields"], *REQUIRED_FIELDS]}
