"""GET /_matrix/client/unstable/io.parley.websocket: the request that becomes a WebSocket.

The token comes in the `Authorization` header, or, from browsers, which cannot set one, as a subprotocol that is never
echoed and never logged; or later, in the first frame. It never comes in the query, which proxies log. A token that is
no good is told on the socket: code in browsers cannot see why an upgrade was refused.

docs/reference/websocket.md
"""

import asyncio
import base64
import binascii
from collections.abc import Collection

from clients.authentication import Door, Result
from clients.live.socket import Brought, Socket
from clients.live.sockets import Sockets
from clients.live.wire import MakeFrames
from clients.live.work import Work
from homeserver.domain.errors import BadRequest, Forbidden, RequestError, Unauthenticated
from homeserver.http.answers import json_answer
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.http.upgrade import Upgrade

PATH = "/_matrix/client/unstable/io.parley.websocket"
FEATURE = "io.parley.websocket"
SUBPROTOCOL = "io.parley.v1"
BEARER = "bearer."

_UPGRADE_REQUIRED = json_answer(
    {"errcode": "M_UNRECOGNIZED", "error": "This is a WebSocket (RFC 6455)"},
    426,
    {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"},
)


class Opening:
    """`origins`: of which pages sockets are taken; empty: of all."""

    def __init__(self, sockets: Sockets, work: Work, origins: Collection[str] = ()) -> None:
        self._sockets = sockets
        self._work = work
        self._make_frames: MakeFrames | None = None
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)

    def routes(self, door: Door) -> list[Route]:
        return [door.public("GET", PATH, self.open)]

    async def open(self, request: Request) -> Result | Upgrade:
        if not _wants_websocket(request):
            return _UPGRADE_REQUIRED
        self._refuse_origin(request.header("Origin"))
        key = _key(request)
        offered = _subprotocols(request)
        if self._make_frames is None:
            self._make_frames = await asyncio.to_thread(_load)
        brought = await self._bring(request, _token(request, offered))
        if not isinstance(brought, tuple):
            self._sockets.refuse_strangers(request.remote)
        head = _head(key, SUBPROTOCOL in offered)
        socket = Socket(self._sockets, self._work, request.remote, brought, head, self._make_frames)
        return Upgrade(socket.connection)

    def _refuse_origin(self, origin: str | None) -> None:
        """Programs have no origin. Raises Forbidden for a page that is not on the list."""
        if self._origins and origin is not None and origin.lower() not in self._origins:
            raise Forbidden("WebSockets are not opened from this origin")

    async def _bring(self, request: Request, token: str | RequestError | None) -> Brought:
        if not isinstance(token, str):
            return token
        try:
            requester = await self._sockets.authenticate(token, request.remote)
        except RequestError as error:
            return error
        request.context = requester
        return token, requester


def _load() -> MakeFrames:
    """Autobahn and what it brings take 20 MB: they are for servers on which somebody opens a WebSocket."""
    from clients.live.framing import Framing

    return Framing


def _wants_websocket(request: Request) -> bool:
    connection = (request.header("Connection") or "").lower().split(",")
    return (
        request.method == "GET"
        and (request.header("Upgrade") or "").strip().lower() == "websocket"
        and "upgrade" in (token.strip() for token in connection)
        and (request.header("Sec-WebSocket-Version") or "").strip() == "13"
    )


def _key(request: Request) -> str:
    """Raises BadRequest unless it is "a nonce consisting of a randomly selected 16-byte value"."""
    key = (request.header("Sec-WebSocket-Key") or "").strip()
    try:
        size = len(base64.b64decode(key, validate=True))
    except (binascii.Error, ValueError):
        size = 0
    if size != 16 or len(key) != 24:
        raise BadRequest("Sec-WebSocket-Key is not the base64 of 16 bytes")
    if request.header("Content-Length") not in (None, "0") or request.header("Transfer-Encoding") is not None:
        raise BadRequest("A request for a WebSocket has no body")
    return key


def _subprotocols(request: Request) -> list[str]:
    return [name.strip() for name in (request.header("Sec-WebSocket-Protocol") or "").split(",")]


def _token(request: Request, offered: list[str]) -> str | RequestError | None:
    """The token that the request carries: RequestError if it cannot be read, None without one."""
    scheme, _, token = (request.header("Authorization") or "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    for name in offered:
        if name.startswith(BEARER):
            return _decoded(name.removeprefix(BEARER))
    return None


def _decoded(text: str) -> str | RequestError:
    """The token of a subprotocol: base64url without padding."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return Unauthenticated("The bearer subprotocol is not base64url of a token")


def _head(key: str, with_subprotocol: bool) -> bytes:
    """The request as far as whoever shakes hands needs to see it: without tokens, which nobody can then tell."""
    lines = [
        "GET / HTTP/1.1",
        "Host: localhost",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
    ]
    if with_subprotocol:
        lines.append(f"Sec-WebSocket-Protocol: {SUBPROTOCOL}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")
