"""All sockets of the server: how many there may be, and whose session has ended.

A user has at most 32 and a device at most 4: one more closes the oldest. Of one address at most 50 may be open on which
nobody has authenticated yet. What is asked of the house on behalf of all of them (tokens, time, chance) is asked here.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from clients.limits import Limits, network_of
from clients.live.bounds import PROTOCOL, Bounds
from clients.live.socket import Socket
from homeserver.domain.errors import LimitExceeded, Unauthenticated
from homeserver.ports import Clock, Randomness
from homeserver.services.accounts.requester import Requester
from homeserver.telemetry.metrics import WEBSOCKETS, WEBSOCKETS_CLOSED, WEBSOCKETS_STALLED

_ROUNDS = 5

Key = TypeVar("Key")


class Sessions(Protocol):
    """Knows whose an access token is, and when it ends."""

    async def authenticate(self, token: str, address: str) -> Requester: ...
    def confirm(self, requester: Requester, address: str) -> bool: ...
    def listen(self, listener: Callable[[Sequence[bytes], bool], None]) -> None: ...


class Sockets:
    """Lives on the loop."""

    def __init__(
        self, sessions: Sessions, limits: Limits, clock: Clock, randomness: Randomness, bounds: Bounds = PROTOCOL
    ) -> None:
        self._sessions = sessions
        self._limits = limits
        self._clock = clock
        self._randomness = randomness
        self.bounds = bounds
        # Tuples, because most have one: the oldest first.
        self._by_user: dict[str, tuple[Socket, ...]] = {}
        self._by_token: dict[bytes, tuple[Socket, ...]] = {}
        self._strangers: dict[str, int] = {}
        self._slow: set[Socket] = set()
        self._open: set[Socket] = set()
        # How many times sessions have ended.
        self._ended = 0
        sessions.listen(self._sessions_ended)

    def __len__(self) -> int:
        return len(self._open)

    @property
    def waiting(self) -> int:
        """Bytes that wait for slow clients."""
        return sum(socket.waiting for socket in self._slow)

    # what sockets share

    async def authenticate(self, token: str, address: str) -> Requester:
        """Whose token it is. Raises Unauthenticated; LimitExceeded for an address that guesses."""
        try:
            for _ in range(_ROUNDS):
                ended = self._ended
                requester = await self._sessions.authenticate(token, address)
                if ended == self._ended:
                    break
                # A session has ended meanwhile, perhaps this one: nobody would tell the socket.
            return requester
        except Unauthenticated:
            self._limits.take("general_address", address)
            raise

    def admits(self, requester: Requester, address: str, syncs: int) -> bool:
        """Whether so many syncs of somebody who was authenticated may begin. False also if that is to be found out, and
        told, by showing the token again."""
        if not self._sessions.confirm(requester, address):
            return False
        try:
            self._limits.take("general", requester.user_id, syncs)
        except LimitExceeded:
            return False
        return True

    def now_ms(self) -> int:
        return self._clock.now_ms()

    def retry_ms(self) -> int:
        least, most = self.bounds.retry_ms
        return least + int.from_bytes(self._randomness.bytes(4)) % (most - least + 1)

    # their number

    def refuse_strangers(self, address: str) -> None:
        """Raises LimitExceeded if the address has too many sockets on which nobody has authenticated."""
        if self._strangers.get(network_of(address), 0) >= self.bounds.strangers_per_address:
            raise LimitExceeded("Too many WebSockets without a token", 1_000, "websocket_strangers")

    def joined(self, socket: Socket) -> None:
        """It is open: a stranger, until somebody is admitted."""
        network = network_of(socket.remote)
        self._strangers[network] = self._strangers.get(network, 0) + 1
        self._open.add(socket)
        WEBSOCKETS.inc()

    def admit(self, socket: Socket, requester: Requester) -> None:
        """It has a good token now."""
        known = socket.requester
        if known is None:
            self._is_no_stranger(socket)
            mine = self._by_user.get(requester.user_id, ())
            self._make_room(mine, requester)
            self._by_user[requester.user_id] = (*self._by_user.get(requester.user_id, ()), socket)
        else:
            _remove(self._by_token, known.token_hash, socket)
        of_token = self._by_token.get(requester.token_hash, ())
        self._by_token[requester.token_hash] = (*of_token, socket)

    def left(self, socket: Socket, reason: str) -> None:
        """It is closed."""
        if socket not in self._open:
            return
        self._open.discard(socket)
        self.slow(socket, False)
        if socket.requester is None:
            self._is_no_stranger(socket)
        else:
            _remove(self._by_user, socket.requester.user_id, socket)
            _remove(self._by_token, socket.requester.token_hash, socket)
        WEBSOCKETS.dec()
        WEBSOCKETS_CLOSED.labels(reason).inc()

    def slow(self, socket: Socket, is_slow: bool) -> None:
        """Whether bytes wait for its client."""
        if is_slow:
            self._slow.add(socket)
        else:
            self._slow.discard(socket)
        WEBSOCKETS_STALLED.set(len(self._slow))

    def _make_room(self, mine: tuple[Socket, ...], requester: Requester) -> None:
        of_device = [one for one in mine if one.requester and one.requester.device_id == requester.device_id]
        if len(of_device) >= self.bounds.per_device:
            self._supersede(of_device[0], requester.user_id)
        elif len(mine) >= self.bounds.per_user:
            self._supersede(mine[0], requester.user_id)

    def _supersede(self, oldest: Socket, user_id: str) -> None:
        # It counts no more, however long its goodbye takes.
        _remove(self._by_user, user_id, oldest)
        oldest.supersede()

    def _is_no_stranger(self, socket: Socket) -> None:
        network = network_of(socket.remote)
        left = self._strangers[network] - 1
        if left:
            self._strangers[network] = left
        else:
            del self._strangers[network]

    def _sessions_ended(self, token_hashes: Sequence[bytes], replaced: bool) -> None:
        self._ended += 1
        for token_hash in token_hashes:
            for socket in self._by_token.get(token_hash, ()):
                if replaced:
                    socket.expire()
                else:
                    socket.end_session()


def _remove(table: dict[Key, tuple[Socket, ...]], key: Key, socket: Socket) -> None:
    left = tuple(one for one in table.get(key, ()) if one is not socket)
    if left:
        table[key] = left
    else:
        table.pop(key, None)
