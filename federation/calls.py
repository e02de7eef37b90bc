"""What we ask of other servers: one signed request, and the JSON of its answer.

A call finds the server (`lookups`), waits for its turn (`lanes`), signs the request (`wire`), goes through the address
guard and the bounds of the outbound client, and tells the shared memory of outages what came of it (`backoff`). Its
time limit covers all of that. Nothing is tried twice here: whoever has something that must arrive tries again.
https://spec.matrix.org/v1.19/server-server-api/#request-authentication
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from signedjson.types import SigningKey

from federation.backoff import Backoff
from federation.lanes import Lanes, TooManyWaiting
from federation.lookups import Lookups
from federation.names import Whereabouts
from federation.partners import Partners
from federation.wire import sign_request, write_authorization
from homeserver.domain.canonical import MAX_ENVELOPE_DEPTH, MAX_VALUES, canonical_json, parse_json
from homeserver.domain.errors import BadRequest, RemoteRefused, RemoteUnreachable
from homeserver.domain.identifiers import is_server_name
from homeserver.http.outbound.client import (
    AnswerTooLarge,
    NotConnected,
    OutboundAnswer,
    OutboundClient,
    OutboundRequest,
    TimedOut,
)
from homeserver.ports import Clock

MAX_BYTES = 8 << 20
_MAX_MESSAGE = 500
# A caller who waits for less than this learns nothing about the server.
_TELLING_SECONDS = 10.0
# Parsing more than this takes so long that the loop should not wait for it.
_LARGE = 256 << 10
# Fewer values than this has no JSON of servers.
_BYTES_PER_VALUE = 8
# What a proxy answers for a server that is not there.
_AWAY = (502, 503, 504)


class Calls:
    """`path` is escaped already, from `/_matrix` on; `query` is not. `body` is JSON.

    Returns the parsed JSON of the answer, whatever its type: numbers may be any that old rooms hold. Raises
    RemoteRefused for an answer that is not 2xx, and RemoteUnreachable for everything else: name, address, connection,
    certificate, time, size, what is not JSON, a server that the operator does not allow, and one that is left alone
    after an outage, unless `patient` is True.
    """

    def __init__(
        self,
        server_name: str,
        key: SigningKey,
        client: OutboundClient,
        lookups: Lookups,
        backoff: Backoff,
        partners: Partners,
        clock: Clock,
    ) -> None:
        self._server_name = server_name
        self._key = key
        self._client = client
        self._lookups = lookups
        self._backoff = backoff
        self._partners = partners
        self._clock = clock
        self._lanes = Lanes()

    async def get(
        self,
        destination: str,
        path: str,
        query: Sequence[tuple[str, str]] = (),
        *,
        timeout: float = 30.0,
        max_bytes: int = MAX_BYTES,
        signed: bool = True,
        patient: bool = False,
    ) -> Any:
        call = _Call("GET", _uri(path, query), None, timeout, max_bytes, signed)
        return await self._make(destination, call, patient)

    async def put(
        self,
        destination: str,
        path: str,
        body: Mapping[str, Any] | bytes,
        query: Sequence[tuple[str, str]] = (),
        *,
        timeout: float = 30.0,
        max_bytes: int = MAX_BYTES,
        signed: bool = True,
        patient: bool = False,
    ) -> Any:
        """As the others; `body` may also be given as bytes, if they are canonical JSON already."""
        content = body if isinstance(body, bytes) else canonical_json(body)
        call = _Call("PUT", _uri(path, query), content, timeout, max_bytes, signed)
        return await self._make(destination, call, patient)

    async def post(
        self,
        destination: str,
        path: str,
        body: Mapping[str, Any],
        query: Sequence[tuple[str, str]] = (),
        *,
        timeout: float = 30.0,
        max_bytes: int = MAX_BYTES,
        signed: bool = True,
        patient: bool = False,
    ) -> Any:
        call = _Call("POST", _uri(path, query), canonical_json(body), timeout, max_bytes, signed)
        return await self._make(destination, call, patient)

    async def _make(self, destination: str, call: "_Call", patient: bool) -> Any:
        if not is_server_name(destination) or destination == self._server_name:
            raise RemoteUnreachable(f"{destination[:300]!r} is not another server")
        if not self._partners.allows(destination):
            raise RemoteUnreachable(f"the settings of this server do not allow calls to {destination}")
        if not patient and (wait := await self._backoff.wait_ms(destination)):
            raise RemoteUnreachable(f"{destination} did not answer; it is left alone for {-(-wait // 1000)} s")
        begun_ms = self._clock.now_ms()
        try:
            value = await self._ask(destination, call)
        except RemoteRefused as error:
            if error.status in _AWAY:
                await self._backoff.failed(destination, begun_ms)
            else:
                await self._backoff.succeeded(destination)
            raise
        except (TooManyWaiting, AnswerTooLarge) as error:
            raise _of(destination, error) from error
        except RemoteUnreachable as error:
            if isinstance(error, NotConnected):
                self._lookups.suspect(destination)
            if call.timeout >= _TELLING_SECONDS or not isinstance(error, TimedOut):
                await self._backoff.failed(destination, begun_ms)
            raise _of(destination, error) from error
        await self._backoff.succeeded(destination)
        return value

    async def _ask(self, destination: str, call: "_Call") -> Any:
        has_place = False
        try:
            async with asyncio.timeout(call.timeout), self._lanes.place(destination):
                has_place = True
                found = await self._lookups.whereabouts(destination)
                answer = await self._client.fetch(self._request(destination, call, found))
                return await _parsed(answer)
        except TimeoutError as error:
            if not has_place:
                raise TooManyWaiting(f"other calls took the {call.timeout:g} seconds of this one") from error
            raise TimedOut(f"no answer within {call.timeout:g} seconds") from error

    def _request(self, destination: str, call: "_Call", found: Whereabouts) -> OutboundRequest:
        headers = {"Host": found.host_header}
        if call.body is not None:
            headers["Content-Type"] = "application/json"
        if call.signed:
            authorization = sign_request(call.method, call.uri, self._server_name, destination, call.body, self._key)
            headers["Authorization"] = write_authorization(authorization)
        name = found.certificate_name
        return OutboundRequest(
            caller="federation",
            method=call.method,
            url=f"https://{f'[{name}]' if ':' in name else name}{call.uri}",
            headers=headers,
            body=call.body,
            seconds=call.timeout,
            max_bytes=call.max_bytes,
            places=found.places,
        )


@dataclass(frozen=True, slots=True)
class _Call:
    """`uri` is the target as it goes out and is signed; `body` canonical JSON."""

    method: str
    uri: str
    body: bytes | None
    timeout: float
    max_bytes: int
    signed: bool


def _uri(path: str, query: Sequence[tuple[str, str]]) -> str:
    return f"{path}?{urlencode(query, quote_via=quote)}" if query else path


async def _parsed(answer: OutboundAnswer) -> Any:
    """The JSON of an answer that is 2xx; RemoteRefused for any other, RemoteUnreachable if it is not JSON."""
    try:
        if len(answer.body) > _LARGE:
            value = await asyncio.to_thread(_json_of, answer.body)
        else:
            value = _json_of(answer.body)
    except BadRequest as error:
        if answer.status // 100 == 2:
            raise RemoteUnreachable(f"the answer is not JSON that we read: {error}") from error
        value = {}
    if answer.status // 100 == 2:
        return value
    body = value if isinstance(value, dict) else {}
    errcode, message = body.get("errcode"), body.get("error")
    raise RemoteRefused(
        answer.status,
        errcode[:_MAX_MESSAGE] if isinstance(errcode, str) else None,
        message[:_MAX_MESSAGE] if isinstance(message, str) else f"status {answer.status}",
        body,
    )


def _json_of(body: bytes) -> Any:
    # The answer itself is bounded; a larger one may hold more.
    return parse_json(
        body, strict=False, max_depth=MAX_ENVELOPE_DEPTH, max_values=max(MAX_VALUES, len(body) // _BYTES_PER_VALUE)
    )


def _of(destination: str, error: RemoteUnreachable) -> RemoteUnreachable:
    """The same error, which says whom it is about."""
    return RemoteUnreachable(f"{destination}: {error}")
