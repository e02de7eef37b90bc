"""One WebSocket: who is on it, what its frames ask for, and how it ends.

A socket brings a token when it is opened, or says it in its first frame. While the token is good (LIVE) frames are
served. A token that is refused or expires leaves the socket open for a moment (REFUSED, EXPIRED): code in browsers sees
why, and may bring another one. Every frame with an id is answered exactly once, unless the line breaks first.

docs/reference/websocket.md tells it to authors of clients. Not here: bytes (`bridge`), whether the client is still
there (`pulse`), JSON (`frames`), the house (`work`), and what is true of many sockets together (`sockets`).
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from clients.live import frames
from clients.live.bounds import Bounds
from clients.live.bridge import Bridge
from clients.live.deadlines import Deadlines
from clients.live.habits import Ask, Habit
from clients.live.pulse import Pulse
from clients.live.requests import Requests
from clients.live.syncing import Syncing, Tell
from clients.live.wire import (
    FORBIDDEN,
    GOING_AWAY,
    MALFORMED,
    STALLED,
    SUPERSEDED,
    TOO_BIG,
    UNAUTHENTICATED,
    MakeFrames,
)
from clients.live.work import Work
from homeserver.domain.errors import BadRequest, LimitExceeded, RequestError, Unauthenticated
from homeserver.http.answers import Answer, json_answer
from homeserver.http.errors import request_error
from homeserver.services.accounts.requester import Requester
from homeserver.services.sync.hearing import Hearing
from homeserver.telemetry.metrics import LIMITED, WEBSOCKET_FRAMES

# What becomes of a socket, in this order but for LIVE and EXPIRED, which take turns. LEAVING: the server stops.
NEW, REFUSED, LIVE, EXPIRED, LEAVING, CLOSING = "new", "refused", "live", "expired", "leaving", "closing"

_AUTH, _EXPIRY, _GOODBYE = "auth", "expiry", "goodbye"
# Timers that would run longer are set again.
_LONGEST_TIMER = 24 * 3600.0
_SYNCS_AT_ONCE, _CREDIT_SECONDS = 8, 1.0

_received = WEBSOCKET_FRAMES.labels("in")
_OK = json_answer({})
_UNRECOGNIZED = request_error(BadRequest("Unrecognized frame", "M_UNRECOGNIZED"))
_BUSY = request_error(LimitExceeded("Another token is being looked at", 100, "websocket_auth"))
_NO_TOKEN = request_error(Unauthenticated("This socket has brought no token", "M_MISSING_TOKEN"))
_HAS_EXPIRED = request_error(Unauthenticated("The access token has expired", extra={"soft_logout": True}))


# The token with which a socket was opened, and whose it is, or why it is no good.
Brought = tuple[str, Requester] | RequestError | None


class Others(Protocol):
    """All sockets together, and what they share."""

    @property
    def bounds(self) -> Bounds: ...

    async def authenticate(self, token: str, address: str) -> Requester:
        """Whose token it is. Raises RequestError."""
        ...

    def admits(self, requester: Requester, address: str, syncs: int) -> bool:
        """Whether so many syncs may begin without looking at the token again."""
        ...

    def now_ms(self) -> int: ...
    def retry_ms(self) -> int:
        """When a client shall come back after the server stopped."""
        ...

    def joined(self, socket: "Socket") -> None:
        """It is open."""
        ...

    def admit(self, socket: "Socket", requester: Requester) -> None:
        """It has a good token now: its first, or another one."""
        ...

    def slow(self, socket: "Socket", is_slow: bool) -> None: ...
    def left(self, socket: "Socket", reason: str) -> None: ...


class Socket:
    __slots__ = (
        "_auth",
        "_bounds",
        "_bridge",
        "_brought",
        "_deadlines",
        "_habit",
        "_others",
        "_paid_at",
        "_pulse",
        "_reason",
        "_refusal",
        "_requests",
        "_syncing",
        "_unanswered",
        "_unpaid",
        "_work",
        "headers",
        "remote",
        "requester",
        "state",
    )

    def __init__(
        self, others: Others, work: Work, remote: str, brought: Brought, head: bytes, make_frames: MakeFrames
    ) -> None:
        """`remote` is the client's address, `head` the request that opens the WebSocket."""
        bounds = others.bounds
        self._bounds = bounds
        self._others = others
        self._brought = brought
        self._work = work
        self._bridge = Bridge(head, bounds, self, make_frames)
        self._deadlines = Deadlines(self._due)
        self._pulse = Pulse(bounds, self._bridge, self._deadlines, self)
        self._syncing = Syncing(self)
        # How it asked for a sync before.
        self._habit = Habit()
        # Syncs that no limit has counted yet, and when one did.
        self._unpaid = 0
        self._paid_at = 0.0
        self._requests = Requests(self, self._request, bounds.max_requests)
        self._auth: asyncio.Task[None] | None = None
        self._unanswered: set[str] = set()
        self._reason = "lost"
        self._refusal = _NO_TOKEN
        self.state = NEW
        self.remote = remote
        self.requester: Requester | None = None
        self.headers: Mapping[str, str] = {}

    @property
    def connection(self) -> Bridge:
        return self._bridge

    @property
    def waiting(self) -> int:
        """Bytes that the client has not taken."""
        return self._bridge.waiting

    # tokens

    def bring(self, token: str, requester: Requester) -> None:
        """The token is good."""
        self._others.admit(self, requester)
        self.state, self.requester = LIVE, requester
        self.headers = {"Authorization": f"Bearer {token}"}
        self._bridge.authenticated()
        self._deadlines.clear(_AUTH)
        self._watch_expiry()

    def _refuse(self, error: RequestError) -> None:
        """The first token is not."""
        self.state, self._refusal = REFUSED, request_error(error)
        self._deadlines.set(_AUTH, self._bounds.new_auth)

    def expire(self) -> None:
        """The token is no longer good, but the device may go on with another one."""
        if self.state == LIVE:
            self.state, self._refusal = EXPIRED, _HAS_EXPIRED
            self._deadlines.clear(_EXPIRY)
            self._deadlines.set(_AUTH, self._bounds.new_auth)
            self._syncing.end(_HAS_EXPIRED)

    def _watch_expiry(self) -> None:
        self._deadlines.clear(_EXPIRY)
        if self.requester is not None and self.requester.expires_ts is not None:
            left = (self.requester.expires_ts - self._others.now_ms()) / 1000
            if left <= 0:
                self.expire()
            else:
                self._deadlines.set(_EXPIRY, min(left, _LONGEST_TIMER))

    # what the bridge tells

    @property
    def max_message(self) -> int:
        return self._bounds.max_stranger_message if self.requester is None else self._bounds.max_message

    @property
    def max_fragments(self) -> int:
        return self._bounds.max_fragments

    def opened(self) -> None:
        self._others.joined(self)
        brought, self._brought = self._brought, None
        if brought is None:
            self._deadlines.set(_AUTH, self._bounds.first_auth)
        elif isinstance(brought, RequestError):
            self._refuse(brought)
            self._send(frames.error_frame(self._refusal))
        else:
            self.bring(*brought)
            self._greet()

    def text(self, message: bytes) -> None:
        _received.value += 1
        if self.state in (LEAVING, CLOSING):
            return
        habitual = self._habit.read(message)
        if habitual is not None and self.state == LIVE and habitual[0] not in self._unanswered:
            self._unanswered.add(habitual[0])
            if self._is_paid():
                self._syncing.go_on(message, *habitual)
            else:
                self._syncing.start(self._habit.ask(message, *habitual))
            return
        try:
            frame = frames.read_frame(message)
            number = frames.ping_number(frame)
            if number is None:
                self._receive(frames.frame_id(frame), frame, message)
            elif self.state != NEW:
                self._send(frames.frame(pong=number))
            else:
                raise frames.Malformed("The first frame brings a token")
        except frames.Malformed as error:
            self.close(MALFORMED, "malformed", str(error))

    def binary(self) -> None:
        self.close(MALFORMED, "malformed", "Frames are text")

    def too_large(self) -> None:
        self.close(TOO_BIG, "too_large", "The message is too large")

    def pinged(self, payload: bytes) -> None:
        self._bridge.pong(payload)

    def ponged(self, payload: bytes) -> None:
        number = self._pulse.ponged(payload)
        if number is not None:
            self._requests.ponged(number)

    def blocked(self) -> None:
        self._others.slow(self, True)
        if self.state != CLOSING:
            self._pulse.blocked()

    def unblocked(self) -> None:
        self._others.slow(self, False)
        self._pulse.unblocked()

    def closed_by_client(self) -> None:
        self._end("client")

    def lost(self) -> None:
        self._end("lost")
        self._deadlines.stop()
        self._others.left(self, self._reason)
        # These hold the socket, as it holds them: without this it would wait for the garbage collector.
        del self._bridge, self._deadlines, self._pulse, self._syncing, self._requests

    # frames

    def _receive(self, id: str, frame: Mapping[str, Any], message: bytes) -> None:
        kind = frames.frame_kind(frame)
        if self.state == NEW and kind != "auth":
            self.close(UNAUTHENTICATED, "unauthenticated", "The first frame brings a token")
        elif kind == "cancel" and id == self._syncing.id and frame["cancel"] is True:
            self._syncing.end()
        elif kind == "cancel" and frame["cancel"] is True and id not in self._unanswered:
            # It was answered while the client asked for its end: there is nothing more to say.
            return
        elif id in self._unanswered:
            raise frames.Malformed("There is an unanswered frame of that id")
        else:
            self._unanswered.add(id)
            self._serve(id, kind, frame, message)

    def _serve(self, id: str, kind: str | None, frame: Mapping[str, Any], message: bytes) -> None:
        if kind is None or kind == "cancel":
            self.answer(id, _UNRECOGNIZED)
        elif kind == "auth":
            self._look_at(id, frame["auth"])
        elif self.state != LIVE:
            self.answer(id, self._refusal)
        elif kind == "sync":
            self._syncing.start(Ask(message, id, frame["sync"]))
        else:
            self._requests.receive(id, frame["request"])

    async def _request(self, asked: Any) -> Answer:
        return await self._work.request(self, asked) if self.state in (LIVE, LEAVING) else self._refusal

    def _look_at(self, id: str, auth: Any) -> None:
        """Whether a token is good, beside everything else."""
        token = auth.get("token") if isinstance(auth, dict) else None
        if not isinstance(token, str):
            self.answer(id, request_error(BadRequest("auth must be an object with a token", "M_BAD_JSON")))
        elif self._auth is not None:
            LIMITED.labels("websocket_auth").inc()
            self.answer(id, _BUSY)
        else:
            self._auth = asyncio.create_task(self._authenticate(id, token))

    async def _authenticate(self, id: str, token: str) -> None:
        try:
            requester = await self._others.authenticate(token, self.remote)
        except RequestError as error:
            if isinstance(error, LimitExceeded):
                LIMITED.labels(error.limit).inc()
            self._auth = None
            if self.state == NEW:
                self._refuse(error)
            self.answer(id, request_error(error))
            return
        self._auth = None
        known = self.requester
        if known is not None and (known.user_id, known.device_id) != (requester.user_id, requester.device_id):
            self.close(FORBIDDEN, "forbidden", "The token is of another user or device", at_once=True)
            return
        self.bring(token, requester)
        self.answer(id, _OK)
        if known is None:
            self._greet()

    # syncs

    def listen(self, since: str, tell: Tell) -> Hearing | None:
        return None if self.requester is None else self._work.listen(self._habit, since, tell)

    async def sync(self, ask: Ask, left: float | None) -> Answer:
        return await self._work.sync(self, self._habit, ask, left)

    def ask(self, message: bytes, id: str, since: str) -> Ask:
        return self._habit.ask(message, id, since)

    def _is_paid(self) -> bool:
        """Whether one more sync may begin without looking at the token: asked for once a second, or for a few at once.
        The end of a session is told without asking."""
        now = self._deadlines.now()
        self._unpaid += 1
        if self._unpaid >= _SYNCS_AT_ONCE or now - self._paid_at >= _CREDIT_SECONDS:
            if self.requester is None or not self._others.admits(self.requester, self.remote, self._unpaid):
                return False
            self._unpaid, self._paid_at = 0, now
        return True

    # what it says

    def answer(self, id: str, answer: Answer) -> None:
        self._unanswered.discard(id)
        self._send(frames.answer_frame(id, answer))
        if self.state == LEAVING and self._requests.is_idle:
            self._leave()

    def tell(self, id: str, body: bytes) -> None:
        self._unanswered.discard(id)
        self._send(frames.body_frame(id, body))

    def ping(self) -> int:
        return self._pulse.ping()

    def _greet(self) -> None:
        if self.requester is not None:
            hello = {
                "user_id": self.requester.user_id,
                "device_id": self.requester.device_id,
                "heartbeat_ms": int(self._bounds.heartbeat * 1000),
                "max_message": self._bounds.max_message,
                "max_requests": self._bounds.max_requests,
            }
            self._send(frames.frame(hello=hello))

    def _send(self, message: bytes) -> None:
        if self.state != CLOSING:
            self._bridge.send(message)
            self._pulse.sent()

    # the end

    def end_session(self) -> None:
        """Logged out, here or elsewhere."""
        self.close(UNAUTHENTICATED, "unauthenticated", "This session has ended", at_once=True)

    def supersede(self) -> None:
        """Newer sockets of its user took its place."""
        self.close(SUPERSEDED, "superseded", "Too many sockets of this device or user", at_once=True)

    def stalled(self) -> None:
        # The goodbye waits behind what is in the transport: it is for a client that wakes up.
        self.close(STALLED, "stalled", "Nothing is read", at_once=True, patience=self._bounds.stall)

    def silent(self) -> None:
        self.close(STALLED, "silent", "A ping was not answered", at_once=True)

    def server_stops(self) -> None:
        if self.state in (LEAVING, CLOSING):
            return
        self._send(frames.frame(bye={"retry_ms": self._others.retry_ms()}))
        self.state = LEAVING
        self._reason = "shutdown"
        self._syncing.stop()
        self._requests.forget()
        self._deadlines.stop()
        self._deadlines.set(_GOODBYE, self._bounds.goodbye)
        if self._requests.is_idle:
            self._leave()

    def _leave(self) -> None:
        self.close(GOING_AWAY, "shutdown", "The server stops")

    def close(self, code: int, reason: str, text: str, *, at_once: bool = False, patience: float | None = None) -> None:
        """`reason` is for the metrics, `text` for people; `at_once`: what waits to be written is dropped."""
        if self.state != CLOSING:
            self._end(reason)
            self._deadlines.set(_GOODBYE, self._bounds.goodbye if patience is None else patience)
            self._bridge.close(code, text, at_once=at_once)

    def _end(self, reason: str) -> None:
        """Nothing is done or answered from now on."""
        if self.state == CLOSING:
            return
        self.state, self._reason = CLOSING, reason
        self._deadlines.stop()
        self._syncing.stop()
        self._requests.stop()
        if self._auth is not None:
            self._auth.cancel()
            self._auth = None

    def _due(self, name: str) -> None:
        """One of its deadlines is."""
        if name == _AUTH:
            self.close(UNAUTHENTICATED, "unauthenticated", "No good token was brought in time")
        elif name == _EXPIRY:
            self._watch_expiry()
        elif name == _GOODBYE:
            self._end(self._reason)
            self._bridge.abort()
        else:
            self._pulse.due(name)
