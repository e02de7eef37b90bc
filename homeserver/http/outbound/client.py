"""The HTTP client through which everything goes that Parley asks of others: servers, pages, gateways.

What the other side may do to us is bounded: where a connection goes (`guard`, asked of the address of each socket), how
long anything takes, how large an answer is (compressed answers are not asked for and not read, so no small answer grows
in memory), how many connections are open. Redirects are answers like any other: who follows one asks anew, and comes
through the guard again. No cookies, no proxy of the environment.

The certificate must be for the host of the URL, which is also what SNI says (nothing, for an IP address, as SNI has
none), wherever the connection goes. Connections are kept for the next request to the same place in the same name.
https://www.rfc-editor.org/rfc/rfc9525
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from homeserver.domain.errors import RemoteUnreachable
from homeserver.http.outbound.guard import AddressGuard, RefusedAddress
from homeserver.http.outbound.resolver import Place, Resolver
from homeserver.telemetry.metrics import OUTBOUND_REQUESTS, OUTBOUND_SECONDS

USER_AGENT = "Parley"
# What a socket is made for: family, kind, protocol, canonical name, address.
_AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]]


class NotConnected(RemoteUnreachable):
    """No connection came about, so nothing was sent: another place may be tried."""


class TimedOut(RemoteUnreachable):
    """It took longer than the caller wanted to wait."""


class AnswerTooLarge(RemoteUnreachable):
    """The answer is larger than the caller takes, or compressed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundLimits:
    """Bounds that are the same for every request. Times are seconds."""

    max_connections: int = 1_000
    """Open connections, idle ones included. Above it requests wait, as long as their own limit of time allows."""
    connect_seconds: float = 10.0
    """For one attempt to connect, TLS handshake included."""
    idle_seconds: float = 30.0
    """Between two pieces of an answer."""
    keepalive_seconds: float = 60.0
    """How long an idle connection is kept; shorter than servers keep theirs (ours: 90)."""
    dns_seconds: int = 30
    """How long addresses of a name are remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundRequest:
    """`caller` names the purpose in the metrics: one of a few words of ours.

    `url` is absolute and escaped already: it goes out as it is. `places` are where to connect, in order of preference,
    instead of the host and port of `url`; names or IP addresses.
    """

    caller: str
    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    seconds: float
    max_bytes: int
    places: Sequence[Place] = ()


@dataclass(frozen=True, slots=True)
class OutboundAnswer:
    """Any status, redirects and errors too. Names of `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class OutboundClient:
    """One for all callers that trust the same authorities. Opens nothing before the first request."""

    def __init__(
        self,
        guard: AddressGuard,
        resolver: Resolver,
        tls: ssl.SSLContext,
        limits: OutboundLimits | None = None,
    ) -> None:
        self._guard = guard
        self._resolver = resolver
        self._tls = tls
        self._limits = limits or OutboundLimits()
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self, request: OutboundRequest) -> OutboundAnswer:
        """The answer, whole. Raises RemoteUnreachable, or one of its kinds above, if there is none that we read."""
        begin = time.monotonic()
        outcome = "cancelled"
        try:
            async with asyncio.timeout(request.seconds):
                answer = await self._fetch(request)
            outcome = f"{answer.status // 100}xx"
            return answer
        except TimeoutError as error:
            outcome = "timeout"
            raise TimedOut(f"no answer within {request.seconds:g} seconds") from error
        except RemoteUnreachable as error:
            outcome = _outcome(error)
            raise
        finally:
            OUTBOUND_REQUESTS.labels(request.caller, outcome).inc()
            OUTBOUND_SECONDS.labels(request.caller).observe(time.monotonic() - begin)

    async def close(self) -> None:
        """Closes every connection. Requests under way fail."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    # one request

    async def _fetch(self, request: OutboundRequest) -> OutboundAnswer:
        url = _parsed(request.url)
        name = url.raw_host or ""
        failure = NotConnected("it has no address")
        for host, port in request.places or ((name, url.port or 0),):
            try:
                return await self._ask(request, url.with_host(host).with_port(port), name)
            except NotConnected as error:
                failure = error
            except ValueError as error:  # a host or port that no URL can have
                failure = NotConnected(f"{host!r} is no name of a host: {error}")
        raise failure

    async def _ask(self, request: OutboundRequest, url: URL, name: str) -> OutboundAnswer:
        headers = {
            "Host": _parsed(request.url).host_port_subcomponent or name,
            **request.headers,
            "Accept-Encoding": "identity",
        }
        try:
            async with self._opened().request(
                request.method,
                url,
                headers=headers,
                data=request.body,
                allow_redirects=False,
                server_hostname=name if url.scheme == "https" else None,
            ) as response:
                body = await _read(response, request.max_bytes)
                found = {key.lower(): value for key, value in response.headers.items()}
                return OutboundAnswer(response.status, found, body)
        except (aiohttp.ClientConnectorError, aiohttp.ClientSSLError, aiohttp.InvalidURL) as error:
            raise _not_connected(error) from error
        except aiohttp.ConnectionTimeoutError as error:
            raise NotConnected(f"no connection within {self._limits.connect_seconds:g} seconds") from error
        except aiohttp.ServerTimeoutError as error:
            raise TimedOut(f"nothing more came for {self._limits.idle_seconds:g} seconds") from error
        except aiohttp.ClientError as error:
            raise RemoteUnreachable(f"the answer broke off, or is not HTTP: {_said(error)}") from error

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            limits = self._limits
            connector = aiohttp.TCPConnector(
                limit=limits.max_connections,
                keepalive_timeout=limits.keepalive_seconds,
                ttl_dns_cache=limits.dns_seconds,
                resolver=_Resolving(self._resolver),
                ssl=self._tls,
                socket_factory=self._socket,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": USER_AGENT},
                auto_decompress=False,
                trust_env=False,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=limits.connect_seconds, sock_read=limits.idle_seconds
                ),
            )
        return self._session

    def _socket(self, info: _AddressInfo) -> socket.socket:
        """Asked by aiohttp for the socket of one attempt to connect: the last that is done before it."""
        family, kind, protocol, _, address = info
        self._guard.check(str(address[0]))
        return socket.socket(family, kind, protocol)


class _Resolving(AbstractResolver):
    """Our resolver as aiohttp wants it."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        places = await self._resolver.resolve(host, port)
        if not places:
            raise OSError("it has no address")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=number,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address, number in places
        ]

    async def close(self) -> None:
        """It belongs to whoever made it."""


def _parsed(url: str) -> URL:
    try:
        parsed = URL(url, encoded=True)
        if parsed.scheme in ("https", "http") and parsed.raw_host and parsed.port is not None and not parsed.user:
            return parsed
    except ValueError as error:
        raise NotConnected(f"{url[:200]!r} is no URL: {error}") from error
    raise NotConnected(f"{url[:200]!r} is no URL that is asked")


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """The body, of which no more is read than is taken."""
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        response.close()
        raise AnswerTooLarge(f"the answer is compressed ({encoding[:40]}), which was not asked for")
    if response.content_length is not None and response.content_length > max_bytes:
        response.close()
        raise AnswerTooLarge(f"the answer has {response.content_length} bytes, and {max_bytes} are taken")
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > max_bytes:
            response.close()
            raise AnswerTooLarge(f"the answer has more than {max_bytes} bytes")
    return bytes(body)


def _not_connected(error: aiohttp.ClientError) -> NotConnected:
    if isinstance(error, aiohttp.ClientConnectorError):
        if isinstance(error.os_error, RefusedAddress):
            return NotConnected(str(error.os_error))
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return NotConnected(f"its name has no address: {_said(error.os_error)}")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return NotConnected(f"its certificate is not accepted: {_said(error.certificate_error)}")
    return NotConnected(f"no connection: {_said(error)}")


def _outcome(error: RemoteUnreachable) -> str:
    if isinstance(error, TimedOut):
        return "timeout"
    if isinstance(error, AnswerTooLarge):
        return "too large"
    return "not connected" if isinstance(error, NotConnected) else "broken"


def _said(error: Exception) -> str:
    """What others' errors say, bounded."""
    return (str(error) or type(error).__name__)[:300]
