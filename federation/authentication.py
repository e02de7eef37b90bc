"""The federation door: every route says whether a server has to prove who it is, and here it does.

    door.public("GET", "/_matrix/key/v2/server", self.server)
    door.signed("GET", "/_matrix/federation/v1/event/{event_id}", self.event)
    door.signed_body("PUT", "/_matrix/federation/v1/send/{txn_id}", self.send, body_limit=TRANSACTION_BYTES)

`public` endpoints take the request alone, `signed` ones also the `Peer` that asks, `signed_body` ones also the JSON
object that it sent: the signature covers it, so the door has read it.

What costs most is done last: header, destination and admission need nothing, a key may need the network, and only
then the body is read. Until the signature is checked, the request may be anybody's: such requests are bounded in
number, large bodies among them in number and time, and whoever fails too often is told to wait. A refusal is logged
once and counted.
https://spec.matrix.org/v1.19/server-server-api/#request-authentication
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from federation.keyring import Signed
from federation.places import Places
from federation.wire import Authorization, read_authorization, signed_json
from homeserver.domain.canonical import MAX_ENVELOPE_DEPTH, MAX_VALUES, canonical_json, parse_json
from homeserver.domain.errors import BadRequest, Forbidden, LimitExceeded, Unauthenticated
from homeserver.domain.throttle import Throttle, Throttles
from homeserver.http.addresses import counted_address
from homeserver.http.answers import Answer
from homeserver.http.body import refuse_content_type
from homeserver.http.errors import RequestTimeout
from homeserver.http.request import DEFAULT_BODY_LIMIT, Request
from homeserver.http.routing import Route
from homeserver.ports import Clock
from homeserver.telemetry.metrics import FEDERATION_REFUSED

logger = logging.getLogger(__name__)

# A transaction holds at most 50 PDUs and 100 EDUs; an event has at most 64 KiB, and so has a reasonable EDU.
TRANSACTION_BYTES = 12 * 1024 * 1024
# Fifty events that are nothing but commas: an honest server must be able to pass on what a user of it wrote.
TRANSACTION_VALUES = 1_700_000

# Requests that prove nothing yet, and those of them with a large body: of everybody, and of one address.
_UNPROVEN = ("federation_unproven", 2_000, 200)
_LARGE = ("federation_large", 32, 8)
# From here on a body is large, and has so long to arrive.
LARGE_BYTES = 1024 * 1024
LARGE_SECONDS = 120.0

# More than this takes so long to parse that the loop should not wait for it.
BRIEF_BYTES = 256 * 1024

# Failures of one address: so many at once, then so many a second.
_FAILURES = Throttle(0.5, 60)
_MAX_ADDRESSES = 50_000


@dataclass(frozen=True, slots=True)
class Peer:
    """A server that has proven its name."""

    origin: str


Result = Answer | Mapping[str, Any]
PublicEndpoint = Callable[[Request], Awaitable[Result]]
SignedEndpoint = Callable[[Request, Peer], Awaitable[Result]]
BodyEndpoint = Callable[[Request, Peer, dict[str, Any]], Awaitable[Result]]


class Keys(Protocol):
    async def verify(self, items: Sequence[Signed]) -> Sequence[str | None]: ...

    async def has_key(self, server_name: str, key_id: str) -> bool: ...


class Partners(Protocol):
    """Which servers the operator lets in."""

    def allows(self, server_name: str) -> bool: ...


class PeerDoor:
    def __init__(self, server_name: str, keys: Keys, partners: Partners, clock: Clock) -> None:
        self._server_name = server_name
        self._keys = keys
        self._clock = clock
        self._partners = partners
        self._failures = Throttles(_FAILURES, _MAX_ADDRESSES)
        self._unproven, self._large = Places(*_UNPROVEN), Places(*_LARGE)

    def public(
        self, method: str, path: str, endpoint: PublicEndpoint, *, body_limit: int = DEFAULT_BODY_LIMIT
    ) -> Route:
        """For everybody."""
        return Route(method, path, endpoint, body_limit=body_limit)

    def signed(self, method: str, path: str, endpoint: SignedEndpoint) -> Route:
        """For servers that sign the request; a body is not looked at."""

        async def run(request: Request) -> Result:
            with self._unproven.place(counted_address(request.remote)):
                said = await self._read_header(request)
                peer = await self._prove(request, said, None)
            return await endpoint(request, peer)

        return Route(method, path, run)

    def signed_body(
        self,
        method: str,
        path: str,
        endpoint: BodyEndpoint,
        *,
        body_limit: int = DEFAULT_BODY_LIMIT,
        max_values: int = MAX_VALUES,
    ) -> Route:
        """For servers that sign the request with its JSON object, of at most so many bytes and values."""

        async def run(request: Request) -> Result:
            with self._unproven.place(counted_address(request.remote)):
                said = await self._read_header(request)
                content, canonical = await self._read_content(request, max_values)
                peer = await self._prove(request, said, canonical)
            return await endpoint(request, peer, content)

        return Route(method, path, run, body_limit=body_limit)

    async def _read_header(self, request: Request) -> Authorization:
        """Who the request says it is from: somebody who may come in, and whose key we have."""
        wait = self._failures.wait_ms(counted_address(request.remote), self._clock.now_ms())
        if wait:
            FEDERATION_REFUSED.labels("flood").inc()
            raise LimitExceeded("Too many requests without a good signature", wait, "federation_failures")
        try:
            said = read_authorization(request.header("Authorization") or "")
        except Unauthenticated as error:
            raise self._refused(request, "header", None, error.message) from error
        if said.origin == self._server_name or said.destination not in (None, self._server_name):
            raise self._refused(request, "destination", said, f"This server is {self._server_name}")
        if not self._partners.allows(said.origin):
            self._note(request, "denied", said, "it is not let in")
            raise Forbidden("Your server is not let in here")
        if not await self._keys.has_key(said.origin, said.key_id):
            raise self._refused(request, "key", said, f"We could not get the key {said.key_id} of {said.origin}")
        return said

    async def _read_content(self, request: Request, max_values: int) -> tuple[dict[str, Any], bytes]:
        """The body, and its canonical JSON."""
        refuse_content_type(request.headers)
        if _is_large(request):
            with self._large.place(counted_address(request.remote)):
                body = await _in_time(request)
        else:
            body = await request.body()
        return (
            await asyncio.to_thread(_parse, body, max_values) if len(body) > BRIEF_BYTES else _parse(body, max_values)
        )

    async def _prove(self, request: Request, said: Authorization, content: bytes | None) -> Peer:
        method = request.method
        message = signed_json(method, request.target, said.origin, self._server_name, content)
        signatures = {said.origin: {said.key_id: said.signature}}
        signed = Signed(message, signatures, frozenset({said.origin}), self._clock.now_ms())
        (why,) = await self._keys.verify([signed])
        if why is not None:
            raise self._refused(request, "signature", said, "The signature of the request is wrong")
        peer = Peer(said.origin)
        request.context = peer
        return peer

    def _refused(self, request: Request, reason: str, said: Authorization | None, why: str) -> Unauthenticated:
        self._note(request, reason, said, why)
        self._failures.take(counted_address(request.remote), self._clock.now_ms())
        return Unauthenticated(why, "M_UNAUTHORIZED")

    def _note(self, request: Request, reason: str, said: Authorization | None, why: str) -> None:
        FEDERATION_REFUSED.labels(reason).inc()
        fields = {
            "method": request.method,
            "path": request.path,
            "remote": request.remote,
            "origin": None if said is None else said.origin,
            "why": why,
        }
        logger.warning("refused a request of another server", extra={"fields": fields})


def _is_large(request: Request) -> bool:
    """Whether the body may be so large that few of its kind can be read at once."""
    declared = request.header("Content-Length")
    return request.body_limit > LARGE_BYTES and (declared is None or int(declared) > LARGE_BYTES)


def _parse(body: bytes, max_values: int) -> tuple[dict[str, Any], bytes]:
    # What holds events may be deeper than each of them may be.
    content = parse_json(body, strict=False, max_depth=MAX_ENVELOPE_DEPTH, max_values=max_values)
    if not isinstance(content, dict):
        raise BadRequest("The body must be a JSON object", "M_BAD_JSON")
    return content, canonical_json(content)


async def _in_time(request: Request) -> bytes:
    try:
        async with asyncio.timeout(LARGE_SECONDS):
            return await request.body()
    except TimeoutError as error:
        raise RequestTimeout("The body came too slowly") from error
