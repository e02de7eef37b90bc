"""Checks what a server says, and what is said to it, against the facts of the spec.

    facts = SpecFacts()
    facts.response_problems("GET", "/_matrix/client/v3/sync", 200, body)      # [] = conforms
    facts.request_problems("POST", "/_matrix/client/v3/createRoom", body)
    facts.event_problems(event)

The facts are the JSON files in `facts`. `scripts/spec-facts` makes them from the spec's OpenAPI data, and explains
their notation. This module only reads them: it knows neither YAML nor JSON Schema, and needs no checkout of the spec.
It is stricter than the data in three places, where the prose of the spec is: an integer is not a float, every error has
`errcode` and `error`, and the parts of /sync that only the prose describes are checked too.
https://spec.matrix.org/v1.19/client-server-api/
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.conformance.schema import Check, Schemas

FACTS = Path(__file__).parent / "facts"
APIS = ("client-server", "server-server", "application-service")

ROOM_SUMMARY: Mapping[str, Any] = {
    "required": {
        "room_id": {"pattern": ["^!"]},
        "num_joined_members": "integer",
        "world_readable": "boolean",
        "guest_can_join": "boolean",
    },
    "optional": {
        "name": "string",
        "topic": "string",
        "membership": "string",
        "im.nheko.summary.room_version": "string",
        "im.nheko.summary.version": "string",
        "im.nheko.summary.encryption": "string",
    },
}

USER_LIMITS: Mapping[str, Any] = {
    "optional": {"messages_per_second": "number", "burst_count": "integer", "io.parley.limits": "object"}
}

# What we serve beyond the spec's data: prose-only endpoints of the spec, Synapse's registration by shared secret, and
# the endpoints of operators. In the notation of the facts; None where no JSON is promised.
OWN_OPERATIONS: Mapping[str, Mapping[str, Any]] = {
    "GET /health": {"responses": {"200": None, "503": None}},
    "GET /metrics": {"responses": {"200": None}},
    "GET /_synapse/admin/v1/register": {"responses": {"200": {"required": {"nonce": "string"}}}},
    "POST /_synapse/admin/v1/register": {
        "request": {
            "required": {"nonce": "string", "username": "string", "password": "string", "mac": "string"},
            "optional": {"admin": "boolean", "displayname": "string|null", "user_type": "string|null"},
        },
        "responses": {
            "200": {
                "required": {
                    "access_token": "string",
                    "user_id": {"pattern": ["^@"]},
                    "home_server": "string",
                    "device_id": "string",
                }
            }
        },
    },
    # docs/reference/limits.md
    **{
        f"{method} /_synapse/admin/v1/users/{{userId}}/override_ratelimit": {"responses": {"200": USER_LIMITS}}
        for method in ("GET", "POST", "DELETE")
    },
    # docs/howto/notices.md
    "POST /_synapse/admin/v1/send_server_notice": {
        "request": {
            "required": {"user_id": {"pattern": ["^@"]}, "content": "object"},
            "optional": {"type": "string|null", "state_key": "string|null"},
        },
        "responses": {"200": {"required": {"event_id": {"pattern": ["^\\$"]}}}},
    },
    "GET /_parley/admin/v1/notices": {"responses": {"200": {"required": {"nonce": "string"}}}},
    "POST /_parley/admin/v1/notices": {
        "request": {"required": {"nonce": "string", "mac": "string", "notice": "object"}},
        "responses": {"200": {"required": {"count": "integer"}, "optional": {"next": {"pattern": ["^@"]}}}},
    },
    # docs/reference/search.md
    "GET /_parley/admin/v1/search/rebuild": {"responses": {"200": {"required": {"nonce": "string"}}}},
    "POST /_parley/admin/v1/search/rebuild": {
        "request": {"required": {"nonce": "string", "mac": "string"}},
        "responses": {"200": {"maxFields": 0}},
    },
    # MSC3266 and MSC2666, as clients ask for them.
    "GET /_matrix/client/unstable/im.nheko.summary/summary/{roomIdOrAlias}": {"responses": {"200": ROOM_SUMMARY}},
    "GET /_matrix/client/unstable/im.nheko.summary/rooms/{roomIdOrAlias}/summary": {"responses": {"200": ROOM_SUMMARY}},
    "GET /_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms": {
        "responses": {
            "200": {
                "required": {"joined": {"items": {"pattern": ["^!"]}}, "count": "integer"},
                "optional": {"next_batch_token": "string"},
            }
        }
    },
    # Without a TURN server there is nothing to tell, and the spec's data has no word for it.
    "GET /_matrix/client/v3/voip/turnServer": {"responses": {"200": {"maxFields": 0}}},
    "GET /_matrix/client/v3/auth/{type}/fallback/web": {"responses": {"200": None}},
    "POST /_matrix/client/v3/auth/{type}/fallback/web": {"responses": {"200": None}},
    "GET /_matrix/static/client/login/": {"responses": {"200": None}},
    # docs/reference/websocket.md
    "GET /_matrix/client/unstable/io.parley.websocket": {"responses": {}},
}

# Of a token that is missing or not good: https://spec.matrix.org/v1.19/client-server-api/#using-access-tokens
TOKEN_ERRORS = ("M_MISSING_TOKEN", "M_UNKNOWN_TOKEN")

# Extensions to /sync that the spec gives as tables in prose: send-to-device messaging and end-to-end encryption.
PROSE_RESPONSES: Mapping[tuple[str, str], Any] = {
    ("GET /_matrix/client/v3/sync", "200"): {
        "optional": {
            "to_device": {
                "optional": {
                    "events": {
                        "items": {"required": {"content": "object", "sender": {"pattern": ["^@"]}, "type": "string"}}
                    }
                }
            },
            "device_lists": {
                "optional": {"changed": {"items": {"pattern": ["^@"]}}, "left": {"items": {"pattern": ["^@"]}}}
            },
            "device_unused_fallback_key_types": {"items": "string"},
        }
    }
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation of the spec. `auth` is access_token, as_token, hs_token, signature or none; "?" means optional."""

    api: str
    method: str
    path: str
    auth: str
    rate_limited: bool


@dataclass(frozen=True, slots=True)
class Operation:
    """One description of an operation: the check of its request and of each response. None: no JSON is described."""

    method: str
    template: str
    path: re.Pattern[str]
    request: Check | None
    responses: Mapping[str, Check | None]

    def answer(self, status: int) -> tuple[bool, Check | None]:
        """Whether the status is described, and the check of its body; a status may be described as "4XX"."""
        for key in (str(status), f"{status // 100}XX"):
            if key in self.responses:
                return True, self.responses[key]
        return False, None


class SpecFacts:
    """The facts, read once; see the module for the three questions."""

    def __init__(self, folder: Path = FACTS) -> None:
        pinned = read(folder / "endpoints.json")
        self.commit: str = pinned["spec"]["commit"]
        self.checksums: Mapping[str, str] = pinned["spec"]["sha256"]
        self._endpoints = [
            Endpoint(api, *key.split(" ", 1), **facts)
            for api, operations in pinned["endpoints"].items()
            for key, facts in operations.items()
        ]
        self._operations: dict[str, list[Operation]] = {}
        for api in APIS:
            file = read(folder / f"{api}.json")
            self._add(Schemas(file["definitions"]), file["operations"])
        self._add(Schemas({}), {key: [described] for key, described in OWN_OPERATIONS.items()})
        for operations in self._operations.values():
            operations.sort(key=lambda operation: operation.template.count("{"))  # literal paths win over templates
        events = read(folder / "events.json")
        schemas = Schemas(events["definitions"])
        self._events = {name: schemas.check(schema) for name, schema in events["events"].items()}

    def _add(self, schemas: Schemas, operations: Mapping[str, Any]) -> None:
        for key, descriptions in operations.items():
            method, template = key.split(" ", 1)
            for described in descriptions:
                responses = {
                    status: None if body is None else schemas.check(with_prose(key, status, body))
                    for status, body in described["responses"].items()
                }
                body = described.get("request")
                request = None if body is None else schemas.check(body)
                operation = Operation(method, template, path_pattern(template), request, responses)
                self._operations.setdefault(method, []).append(operation)

    def endpoints(self) -> list[Endpoint]:
        """Every operation of the spec, in the order of API, method and path; our own ones are not among them."""
        return list(self._endpoints)

    def operations(self, method: str, path: str) -> list[Operation]:
        """What the facts say about a request, best match first; a few operations are described twice."""
        bare = path.split("?", 1)[0]
        return [o for o in self._operations.get(method.upper(), ()) if o.path.fullmatch(bare)]

    def response_problems(self, method: str, path: str, status: int, body: Any) -> list[str]:
        """What is wrong with an answer; `body` is the decoded JSON, or None for an answer that is not JSON."""
        found = self.operations(method, path)
        if not found:
            # The spec describes this answer to whatever it does not describe.
            if status in (404, 405) and not error_problems(body) and body["errcode"] == "M_UNRECOGNIZED":
                return []
            return [f"no such endpoint in the spec: {method} {path}"]
        return fewest(self._answer_problems(operation, status, body) for operation in found)

    def _answer_problems(self, operation: Operation, status: int, body: Any) -> list[str]:
        described, check = operation.answer(status)
        if not described and status < 400:
            return [f"status {status} is not described for {operation.method} {operation.template}"]
        if status == 401 and isinstance(body, dict) and body.get("errcode") in TOKEN_ERRORS:
            return error_problems(body)  # described for all endpoints at once, while theirs may be another 401
        problems = [] if check is None else check.problems(body)
        if status < 400 or (described and check is None and body is None):
            return problems
        if status == 401 and isinstance(body, dict) and "flows" in body:
            return problems  # user-interactive authentication asks for its next stage: no error yet
        return problems + [problem for problem in error_problems(body) if problem not in problems]

    def request_problems(self, method: str, path: str, body: Any) -> list[str]:
        """What is wrong with the body of a request."""
        found = self.operations(method, path)
        if not found:
            return [f"no such endpoint in the spec: {method} {path}"]
        return fewest([] if o.request is None else o.request.problems(body) for o in found)

    def event_problems(self, event: Any) -> list[str]:
        """What is wrong with a whole event as clients see it (with `room_id`, if it is of a room).

        An event of a type that the spec does not know has no problems.
        """
        if not isinstance(event, dict) or not isinstance(event.get("type"), str):
            return ["type: a string is expected"]
        content = event.get("content")
        kinds = content if isinstance(content, dict) else {}
        names = (f"{event['type']}${kinds.get('msgtype')}", event["type"])
        check = next((self._events[name] for name in names if name in self._events), None)
        return [] if check is None else check.problems(event)


@cache
def spec_facts() -> SpecFacts:
    """The committed facts, read once for the whole test run."""
    return SpecFacts()


def read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def with_prose(key: str, status: str, body: Any) -> Any:
    extra = PROSE_RESPONSES.get((key, status))
    return body if extra is None else {"allOf": [body, extra]}


def path_pattern(template: str) -> re.Pattern[str]:
    """Matches the paths of a template. "/state/{eventType}/{stateKey}": an empty state key may lack, with its slash."""
    optional_key = template.endswith("/{stateKey}")
    parts = re.split(r"\{[^/]+?\}", template.removesuffix("/{stateKey}") if optional_key else template)
    return re.compile("[^/]+".join(map(re.escape, parts)) + ("(?:/[^/]*)?" if optional_key else ""))


def fewest(outcomes: Iterator[list[str]]) -> list[str]:
    """Of several descriptions any may fit; if none does, the problems with the first are told."""
    told: list[str] | None = None
    for problems in outcomes:
        if not problems:
            return []
        told = told or problems
    return told or []


def error_problems(body: Any) -> list[str]:
    """`errcode` and `error` stand in every error: https://spec.matrix.org/v1.19/client-server-api/#standard-error-response"""
    if not isinstance(body, dict):
        return ["<root>: an error without a JSON object"]
    return [
        f"{key}: a string is expected in an error" for key in ("errcode", "error") if not isinstance(body.get(key), str)
    ]
