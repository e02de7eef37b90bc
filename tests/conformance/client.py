"""A Matrix client for tests, which checks every answer against the facts of the spec.

    async with MatrixClient(base_url) as alice:
        await alice.register("alice")
        room = await alice.create_room(preset="public_chat")
        await alice.send(room, "Hello")
        refused = await alice.call("GET", "/_matrix/client/v3/nonsense", expect=404)

An answer that the spec does not allow fails the test, whoever asked and for whatever. The client has no retries, no
state but its token and a counter of transactions, and no opinion on requests: a test may send whatever it likes.
https://spec.matrix.org/v1.19/client-server-api/
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from tests.conformance.facts import SpecFacts, spec_facts

# What may stand unescaped in a path; "%" because callers escape ids themselves (see `v3`).
PATH_CHARACTERS = "/%:@!$&'()*+,;=~"
# Far above any long-poll of a test: a server that hangs fails its test instead of holding it up.
PATIENCE = aiohttp.ClientTimeout(total=90)
BODY_SHOWN = 1_000


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. `body` is the decoded JSON, or None if the answer is not JSON; `raw` is what was sent."""

    status: int
    headers: Mapping[str, str]
    body: Any
    raw: bytes


def v3(*parts: str) -> str:
    """A path under /_matrix/client/v3 of which every part is escaped: v3("rooms", "!a/b", "state") and the like."""
    return "/_matrix/client/v3/" + "/".join(quote(part, safe="") for part in parts)


def query_text(query: Mapping[str, Any]) -> str:
    """A query string: None is left out, lists repeat the key, objects (filters) are JSON, booleans true and false."""
    pairs: list[tuple[str, str]] = []
    for key, value in query.items():
        values: Sequence[Any] = value if isinstance(value, list | tuple) else [value]
        for item in values:
            if item is not None:
                pairs.append((key, item if isinstance(item, str) else json.dumps(item)))
    return urlencode(pairs, quote_via=quote)


class MatrixClient:
    """One device of one user, or somebody who is not logged in. Close it, or use it in `async with`."""

    def __init__(self, base_url: str, facts: SpecFacts | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self.user_id = ""
        self.device_id = ""
        self.token = ""
        self._facts = facts or spec_facts()
        self._session: aiohttp.ClientSession | None = None
        self._transactions = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        token: str | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask, and check the answer against the facts; a 500 never conforms, because it is a defect of ours.

        `path` begins with a slash; ids in it are escaped by the caller where they hold a slash (see `v3`), everything
        else here. `body` is JSON, or bytes that are sent as they are; POST and PUT without one send `{}`. `token` is
        the client's own unless given; "" sends none.
        """
        if "?" in path:
            raise ValueError(f"give the query of {path} as `query`")
        sent: dict[str, str] = {}
        if bearer := self.token if token is None else token:
            sent["Authorization"] = f"Bearer {bearer}"
        if body is None and method in ("POST", "PUT"):
            body = {}
        if body is not None:
            sent["Content-Type"] = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        address = self.base_url + quote(path, safe=PATH_CHARACTERS) + ("?" + query_text(query) if query else "")
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=PATIENCE, cookie_jar=aiohttp.DummyCookieJar())
        async with self._session.request(
            method, URL(address, encoded=True), data=data, headers=sent | dict(headers or {}), allow_redirects=False
        ) as response:
            raw = await response.read()
            answer = Answer(response.status, response.headers, decoded(response.content_type, raw), raw)
        problems = self._facts.response_problems(method, quote(path, safe=PATH_CHARACTERS), answer.status, answer.body)
        if answer.status == 500:
            problems.append("the server had an unforeseen error")
        if problems:
            raise AssertionError(told(method, path, answer, "does not conform", problems))
        return answer

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        token: str | None = None,
        expect: int | None = 200,
        query: Mapping[str, Any] | None = None,
    ) -> Any:
        """`ask`, and the status must be `expect` (None: whatever conforms). Returns the decoded JSON."""
        answer = await self.ask(method, path, body, token, query)
        if expect is not None and answer.status != expect:
            raise AssertionError(told(method, path, answer, f"should have been {expect}", []))
        return answer.body

    # -- accounts

    async def register(self, name: str, password: str = "correct horse", **fields: Any) -> dict[str, Any]:
        """Register in one request, and be that user from now on."""
        body = {"username": name, "password": password, "auth": {"type": "m.login.dummy"}, **fields}
        return self._become(await self.call("POST", v3("register"), body, token=""))

    async def register_guest(self, **fields: Any) -> dict[str, Any]:
        """Become a new guest."""
        return self._become(await self.call("POST", v3("register"), fields, token="", query={"kind": "guest"}))

    async def login(self, name: str, password: str = "correct horse", **fields: Any) -> dict[str, Any]:
        """Log in with a name or a whole user id, and be that device from now on."""
        body = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": name},
            "password": password,
            **fields,
        }
        return self._become(await self.call("POST", v3("login"), body, token=""))

    def _become(self, body: dict[str, Any]) -> dict[str, Any]:
        self.user_id = body["user_id"]
        self.token = body.get("access_token", "")
        self.device_id = body.get("device_id", "")
        return body

    # -- rooms

    async def create_room(self, **options: Any) -> str:
        """Returns the room id."""
        room = (await self.call("POST", v3("createRoom"), options))["room_id"]
        assert isinstance(room, str)
        return room

    async def invite(self, room: str, user: str, **fields: Any) -> None:
        await self.call("POST", v3("rooms", room, "invite"), {"user_id": user, **fields})

    async def join(self, room: str, via: Sequence[str] = (), **fields: Any) -> str:
        """Join by id or alias. Returns the room id."""
        joined = (await self.call("POST", v3("join", room), fields, query={"via": list(via)}))["room_id"]
        assert isinstance(joined, str)
        return joined

    async def leave(self, room: str, **fields: Any) -> None:
        await self.call("POST", v3("rooms", room, "leave"), fields)

    async def send(
        self, room: str, body: str | Mapping[str, Any], kind: str = "m.room.message", txn: str | None = None
    ) -> str:
        """Send a text, or any content as an event of type `kind`. Returns the event id."""
        self._transactions += 1
        content = {"msgtype": "m.text", "body": body} if isinstance(body, str) else dict(body)
        path = v3("rooms", room, "send", kind, txn or f"t{self._transactions}")
        event_id = (await self.call("PUT", path, content))["event_id"]
        assert isinstance(event_id, str)
        return event_id

    async def state(self, room: str, kind: str | None = None, key: str = "") -> Any:
        """The list of all state events, or the content of one."""
        return await self.call("GET", v3("rooms", room, "state", *([] if kind is None else [kind, key])))

    async def set_state(self, room: str, kind: str, content: Mapping[str, Any], key: str = "") -> str:
        """Returns the event id."""
        event_id = (await self.call("PUT", v3("rooms", room, "state", kind, key), dict(content)))["event_id"]
        assert isinstance(event_id, str)
        return event_id

    # -- reading

    async def sync(self, since: str | None = None, **query: Any) -> dict[str, Any]:
        """One sync: `timeout` in ms (0 unless given), `filter` as an id or an object, `full_state`, and so on."""
        body = await self.call("GET", v3("sync"), query={"since": since, "timeout": 0, **query})
        assert isinstance(body, dict)
        return body

    async def messages(self, room: str, start: str | None = None, **query: Any) -> dict[str, Any]:
        """A page of history from `start` (`from` of the spec), backwards unless `dir` is given."""
        body = await self.call("GET", v3("rooms", room, "messages"), query={"from": start, "dir": "b", **query})
        assert isinstance(body, dict)
        return body


def decoded(content_type: str, raw: bytes) -> Any:
    """The JSON of a body, which is strict: NaN is none, and neither is anything that is not UTF-8."""
    if content_type != "application/json":
        return None
    try:
        return json.loads(raw.decode("utf-8"), parse_constant=refuse)
    except ValueError as error:
        raise AssertionError(f"the answer calls itself JSON and is not ({error}): {raw[:BODY_SHOWN]!r}") from error


def refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def told(method: str, path: str, answer: Answer, what: str, problems: Sequence[str]) -> str:
    """The message of a failed test: the request, the answer, and a line for each problem."""
    shown = answer.raw[:BODY_SHOWN].decode("utf-8", "replace")
    return "\n  ".join([f"{method} {path} -> {answer.status} {what}", *problems[:20], f"answer: {shown}"])
