"""JSON that is made to hurt its reader, in bodies and in queries, at every endpoint of clients that reads any.

Each is refused with a 4xx, in time and memory bounded by its length, and the server goes on.
"""

import asyncio
import json
import re
import resource
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from tests.builders.cluster import SERVER_NAME
from tests.builders.waiting import PATIENCE
from tests.clients.conftest import Served
from tests.conformance.client import Answer, MatrixClient, v3
from tests.fuzz.routes import declared_routes

LEVELS = 10_000
KEYS = 1_000_000
# What the process may have grown at most when all is done: far more than the largest body, far less than a bomb.
MEMORY = 256 * 1024 * 1024

# Values that no JSON has, or that we refuse: each is put in the place of a value.
VALUES = {
    "10k arrays": b"[" * LEVELS + b"]" * LEVELS,
    "10k objects": b'{"a":' * LEVELS + b"1" + b"}" * LEVELS,
    "unclosed arrays": b"[" * LEVELS,
    "duplicate keys": b'{"a":1,"a":2}',
    "duplicate keys by an escape": b'{"a":1,"\\u0061":2}',
    "a lone surrogate": b'"\\ud800"',
    "a lone surrogate as a key": b'{"\\udc00":1}',
    "a raw NUL": b'"\x00"',
    "invalid UTF-8": b'"\xff"',
    "NaN": b"NaN",
    "Infinity": b"Infinity",
    "-Infinity": b"-Infinity",
    "1e400": b"1e400",
    "ten thousand digits": b"9" * 10_000,
}
# Whole bodies.
BODIES = {
    "a million keys": b"{" + b",".join(b'"%d":%d' % (key, key) for key in range(KEYS)) + b"}",
    "a million equal keys": b"{" + b",".join([b'"":1'] * KEYS) + b"}",
    "a million commas": b'{"a":[' + b"," * KEYS + b"]}",
    "nothing but brackets": b"[" * 1_000_000,
}
# As many keys as the limit of bytes lets through: legal JSON.
MANY_KEYS = b"{" + b",".join(b'"%x":1' % key for key in range(100_000)) + b"}"
# One body of each kind of reader, with a value that may be anything where VALUE stands.
READERS: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", v3("createRoom"), {"creation_content": {"x": "VALUE"}}),
    ("POST", v3("createRoom"), {"initial_state": [{"type": "org.example", "content": {"x": "VALUE"}}]}),
    ("POST", v3("createRoom"), {"power_level_content_override": {"users": "VALUE"}}),
    ("PUT", "/_matrix/client/v3/rooms/{room_id}/send/org.example/{txn_id}", {"x": "VALUE"}),
    ("PUT", "/_matrix/client/v3/rooms/{room_id}/state/org.example/", {"x": "VALUE"}),
    ("PUT", "/_matrix/client/v3/user/{user_id}/account_data/org.example", {"x": "VALUE"}),
    ("POST", "/_matrix/client/v3/user/{user_id}/filter", {"room": {"timeline": "VALUE"}}),
    ("PUT", v3("pushrules", "global", "content", "mine"), {"actions": ["notify"], "pattern": "VALUE"}),
    ("PUT", "/_matrix/client/v3/profile/{user_id}/org.example", {"org.example": "VALUE"}),
    ("POST", v3("register"), {"username": "mallory", "password": "correct horse", "auth": {"type": "VALUE"}}),
    ("POST", v3("login"), {"type": "m.login.password", "identifier": "VALUE", "password": "x"}),
]
# Queries that are read as JSON, or as numbers, or looked up.
QUERIES: list[tuple[str, str]] = [
    ("/_matrix/client/v3/sync", "filter"),
    ("/_matrix/client/v3/sync", "since"),
    ("/_matrix/client/v3/sync", "timeout"),
    ("/_matrix/client/v3/rooms/{room_id}/messages", "filter"),
    ("/_matrix/client/v3/rooms/{room_id}/messages", "from"),
    ("/_matrix/client/v3/rooms/{room_id}/messages", "limit"),
    ("/_matrix/client/v3/rooms/{room_id}/context/{event_id}", "filter"),
    ("/_matrix/client/v3/rooms/{room_id}/context/{event_id}", "limit"),
    ("/_matrix/client/v3/rooms/{room_id}/members", "at"),
]
# Of these the longest that a request line carries.
IN_A_QUERY = {
    **{name: value for name, value in VALUES.items() if len(value) < 100},
    "1,500 arrays": b"[" * 1_500 + b"]" * 1_500,
    "1,500 objects": b'{"a":' * 700 + b"1" + b"}" * 700,
    "5,000 digits": b"9" * 5_000,
    "an escaped NUL": b'{"types":["\\u0000"],"types":[]}',
}
JSON_TYPE = {"Content-Type": "application/json"}


class Target:
    """Somebody with a room, who can still be served."""

    def __init__(self, client: MatrixClient, room: str, event: str) -> None:
        self.client = client
        self._room = room
        self._values = {
            **dict.fromkeys(("room_id", "room_id_or_alias"), room),
            **dict.fromkeys(("event_type", "type", "key", "txn_id", "state_key", "rule_id", "tag"), "org.example"),
            "event_id": event,
            "user_id": client.user_id,
            "kind": "content",
            "receipt_type": "m.read",
            "room_alias": f"#org.example:{SERVER_NAME}",
        }

    def path(self, template: str) -> str:
        """The path of a route, about this room."""
        return re.sub(r"{(\w+)}", lambda found: quote(self._values[found[1]], safe=""), template)

    async def is_served(self) -> None:
        """The next good request is answered, and what was sent before left nothing behind."""
        assert (await self.client.call("GET", v3("account", "whoami")))["user_id"] == self.client.user_id
        sent = await self.client.send(self._room, "still here")
        newest = (await self.client.messages(self._room, limit=1))["chunk"][0]
        assert newest["event_id"] == sent


@pytest.fixture
async def target(served: Served) -> Target:
    alice = await served.user("alice")
    room = await alice.create_room()
    return Target(alice, room, await alice.send(room, "before"))


def check_refused(answer: Answer, what: str) -> None:
    assert 400 <= answer.status < 500, (what, answer.status, answer.raw[:200])
    assert answer.body["errcode"] and answer.body["error"], what


def grown() -> int:
    """The most memory that this process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("name", VALUES)
async def test_attack_04_hostile_values_in_bodies(target: Target, name: str) -> None:
    """`parse_json` refuses them wherever they stand, at every kind of reader, before anything is done."""
    for method, template, body in READERS:
        raw = json.dumps(body).encode().replace(b'"VALUE"', VALUES[name])
        answer = await target.client.ask(method, target.path(template), raw, headers=JSON_TYPE)
        check_refused(answer, f"{method} {template}")
    await target.is_served()


# All that read a body; logging out and forgetting read none.
BODY_ROUTES = [
    route
    for route in declared_routes()
    if route.method in ("PUT", "POST") and not route.path.endswith(("/logout", "/logout/all", "/forget"))
]


@pytest.mark.parametrize("name", BODIES)
async def test_attack_04_hostile_bodies_everywhere(target: Target, name: str) -> None:
    """Every route that reads a body refuses it by size, number of values or depth, and the memory stays small."""
    before = grown()
    for route in BODY_ROUTES:
        check_refused(await raw_ask(target.client, route.method, target.path(route.path), BODIES[name]), route.label)
    assert grown() - before < MEMORY
    await target.is_served()


async def test_attack_04_what_is_kept_can_be_read_again(target: Target) -> None:
    """`kept_json` refuses integers beyond a double: they are JSON, but whoever stored them could never sync again."""
    long = int("7" * 400)
    for template, body in (
        ("/_matrix/client/v3/user/{user_id}/account_data/m.ignored_user_list", {"ignored_users": long}),
        ("/_matrix/client/v3/user/{user_id}/rooms/{room_id}/account_data/org.example", {"x": [{"y": long}]}),
        ("/_matrix/client/v3/profile/{user_id}/org.example", {"org.example": long}),
    ):
        check_refused(await target.client.ask("PUT", target.path(template), body), template)
    path = target.path("/_matrix/client/v3/user/{user_id}/filter")
    check_refused(await target.client.ask("POST", path, {"org.example": long}), path)
    rule = {"actions": [], "conditions": [{"kind": "event_property_is", "key": "x", "value": long}]}
    check_refused(await target.client.ask("PUT", v3("pushrules", "global", "override", "mine"), rule), "push rule")
    await target.client.sync()
    await target.is_served()


async def test_attack_04_many_keys_are_bounded(target: Target) -> None:
    """What is legal JSON and no bomb is answered too, and what would be stored is refused: it is too large."""
    before = grown()
    for route in BODY_ROUTES:
        answer = await target.client.ask(route.method, target.path(route.path), MANY_KEYS, headers=JSON_TYPE)
        if answer.status != 200:
            check_refused(answer, route.label)
        else:
            assert not any(word in route.path for word in ("/send/", "/state/", "/account_data/", "/filter")), (
                route.label
            )
    assert grown() - before < MEMORY
    assert (await target.client.call("GET", v3("account", "whoami")))["user_id"] == target.client.user_id


@pytest.mark.parametrize(("template", "parameter"), QUERIES)
async def test_attack_04_hostile_values_in_queries(target: Target, template: str, parameter: str) -> None:
    """A query is read by the same rules: filters by `parse_json`, numbers and tokens by their form."""
    for name, value in IN_A_QUERY.items():
        # Not as an object, `filter` would be the id of one.
        texts = [value, b'{"room":' + value + b"}", b'{"types":[' + value + b"]}"]
        for text in texts[1:] if parameter == "filter" else texts:
            path = target.path(template)
            answer = await raw_ask(target.client, "GET", f"{path}?dir=b&{parameter}={quote(text, safe='')}")
            check_refused(answer, f"{template} {parameter} {name}")
    await target.is_served()


async def raw_ask(client: MatrixClient, method: str, target: str, body: bytes = b"") -> Answer:
    """Sent as it is, and all at once: the answer may come before the body is through."""
    address = urlsplit(client.base_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = (
        f"{method} {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {client.token}\r\nContent-Length: {len(body)}"
    )
    writer.write(head.encode() + b"\r\n\r\n" + body)
    try:
        async with asyncio.timeout(PATIENCE):
            status, _, headers = (await reader.readuntil(b"\r\n\r\n")).decode().partition("\r\n")
            length = re.search(r"(?i)content-length: (\d+)", headers)
            assert length is not None
            raw = await reader.readexactly(int(length[1]))
    finally:
        writer.transport.abort()
    return Answer(int(status.split()[1]), {}, json.loads(raw), raw)
