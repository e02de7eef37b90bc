"""Asking for the keys of servers: the server itself, then the notaries.

One look-up of a server is under way at a time, whoever asks; a server is not asked again so soon after an answer, nor
after none. The look-ups of all servers are bounded in number and in time.

A notary is not trusted blindly. Its answer has to be signed by itself and by the server that it is about, and what it
says never takes the place of what that server told us (`homeserver.domain.server_keys.merge_keys`). Its own keys come
from itself alone.
https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from homeserver.domain.canonical import JSON_OBJECTS
from homeserver.domain.errors import BadRequest, RemoteError, RemoteUnreachable
from homeserver.domain.identifiers import is_server_name
from homeserver.domain.server_keys import MAX_ANSWER_BYTES, ServerKey, ServerKeys, read_server_keys
from homeserver.domain.signing import verify_json
from homeserver.ports import Clock
from homeserver.telemetry.metrics import SERVER_KEY_LOOKUPS

logger = logging.getLogger(__name__)

CALL_SECONDS = 10.0
# Of different servers: at once, and with those that wait for their turn.
MAX_CALLS, MAX_WAITING = 64, 5_000
# So soon a server is not asked again.
PAUSE_MS = 30_000
MAX_REMEMBERED = 20_000
# Of what a notary says about one server.
MAX_ANSWERS = 10


class Calls(Protocol):
    """Requests to other servers. Both raise RemoteError."""

    async def get(
        self,
        destination: str,
        path: str,
        query: Sequence[tuple[str, str]] = (),
        *,
        timeout: float = ...,
        max_bytes: int = ...,
        signed: bool = ...,
    ) -> Any: ...

    async def post(
        self,
        destination: str,
        path: str,
        body: Mapping[str, Any],
        query: Sequence[tuple[str, str]] = (),
        *,
        timeout: float = ...,
        max_bytes: int = ...,
        signed: bool = ...,
    ) -> Any: ...


class Kept(Protocol):
    """The keys that are known from earlier."""

    async def keys(self, server_names: Sequence[str]) -> Mapping[str, Sequence[ServerKey]]: ...

    async def keep(self, told: ServerKeys, *, by_server: bool) -> Sequence[ServerKey]: ...


@dataclass(frozen=True, slots=True)
class Want:
    """One of some keys that counts at a time (ms)."""

    key_ids: frozenset[str]
    ts: int
    enforce_validity: bool

    def is_met_by(self, keys: Iterable[ServerKey]) -> bool:
        return any(
            key.key_id in self.key_ids and key.counts_at(self.ts, enforce_validity=self.enforce_validity)
            for key in keys
        )


class KeyLookups:
    """`close` it."""

    def __init__(self, calls: Calls, kept: Kept, clock: Clock, notaries: Sequence[str] = ()) -> None:
        self._calls = calls
        self._kept = kept
        self._clock = clock
        self._notaries = tuple(notaries)
        self._slots = asyncio.Semaphore(MAX_CALLS)
        self._under_way: dict[str, asyncio.Task[Sequence[ServerKey]]] = {}
        self._notary_lock = asyncio.Lock()
        # When each was asked last.
        self._asked: OrderedDict[str, int] = OrderedDict()

    async def ask(self, server_name: str, wants: Sequence[Want] = ()) -> Sequence[ServerKey]:
        """All keys of the server that are known now. Notaries are asked if the server does not meet all `wants`."""
        task = self._under_way.get(server_name)
        if task is None:
            if not is_server_name(server_name):
                return ()
            now = self._clock.now_ms()
            asked = self._asked.get(server_name)
            soon = asked is not None and asked <= now < asked + PAUSE_MS
            if soon or len(self._under_way) >= MAX_WAITING:
                return await self._known(server_name)
            task = asyncio.create_task(self._ask(server_name, wants))
            self._under_way[server_name] = task
            task.add_done_callback(lambda _: self._ended(server_name))
        # Whoever gives up waiting does not end it for the others.
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Ends what is under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, server_name: str) -> None:
        del self._under_way[server_name]
        self._asked[server_name] = self._clock.now_ms()
        self._asked.move_to_end(server_name)
        if len(self._asked) > MAX_REMEMBERED:
            self._asked.popitem(last=False)

    async def _ask(self, server_name: str, wants: Sequence[Want]) -> Sequence[ServerKey]:
        async with self._slots:
            keys = await self._ask_server(server_name)
            for notary in self._notaries:
                unmet = [want for want in wants if not want.is_met_by(keys)]
                if not unmet or server_name == notary:
                    break
                keys = await self._ask_notary(notary, server_name, unmet) or keys
        return keys

    async def _ask_server(self, server_name: str) -> Sequence[ServerKey]:
        """What it says, or else what is known from earlier."""
        try:
            answer = await self._calls.get(
                server_name, "/_matrix/key/v2/server", timeout=CALL_SECONDS, max_bytes=MAX_ANSWER_BYTES, signed=False
            )
            told = read_server_keys(server_name, answer, self._clock.now_ms())
        except (RemoteError, BadRequest) as error:
            _count("server", server_name, error)
            return await self._known(server_name)
        _count("server")
        return await self._kept.keep(told, by_server=True)

    async def _ask_notary(self, notary: str, server_name: str, wants: Sequence[Want]) -> Sequence[ServerKey]:
        """All keys of the server that are known now; none if the notary knows nothing new."""
        until = max(max(want.ts, 0) if want.enforce_validity else 0 for want in wants)
        key_ids = sorted(frozenset().union(*(want.key_ids for want in wants)))
        criteria = {key_id: {"minimum_valid_until_ts": until} for key_id in key_ids}
        try:
            answer = await self._calls.post(
                notary,
                "/_matrix/key/v2/query",
                {"server_keys": {server_name: criteria}},
                timeout=CALL_SECONDS,
                max_bytes=4 * MAX_ANSWER_BYTES,
                signed=False,
            )
            told = await self._believed(notary, server_name, answer)
        except (RemoteError, BadRequest) as error:
            _count("notary", notary, error)
            return ()
        _count("notary")
        keys: Sequence[ServerKey] = ()
        for one in told:
            keys = await self._kept.keep(one, by_server=False)
        return keys

    async def _believed(self, notary: str, server_name: str, answer: object) -> list[ServerKeys]:
        """What of a notary's answer is signed as it must be. Raises BadRequest if nothing is."""
        listed = answer.get("server_keys") if isinstance(answer, JSON_OBJECTS) else None
        if not isinstance(listed, list):
            raise BadRequest("A notary answered without a list of keys", "M_BAD_JSON")
        notary_keys = await self._keys_of_notary(notary)
        now = self._clock.now_ms()
        # It was asked for one server.
        of_server = [one for one in listed if isinstance(one, JSON_OBJECTS) and one.get("server_name") == server_name][
            :MAX_ANSWERS
        ]
        told = [
            read_server_keys(server_name, one, now) for one in of_server if _is_signed(one, notary, notary_keys, now)
        ]
        if not told:
            raise BadRequest("A notary answered nothing that it signed", "M_BAD_JSON")
        return told

    async def _keys_of_notary(self, notary: str) -> Sequence[ServerKey]:
        """From itself, asked anew if none of those known counts now. Outside `ask`, whose turns its callers hold."""
        async with self._notary_lock:
            keys = await self._known(notary)
            now = self._clock.now_ms()
            return keys if any(key.counts_at(now) for key in keys) else await self._ask_server(notary)

    async def _known(self, server_name: str) -> Sequence[ServerKey]:
        return (await self._kept.keys([server_name])).get(server_name, ())


def _is_signed(obj: Mapping[str, Any], server_name: str, keys: Iterable[ServerKey], now_ms: int) -> bool:
    return any(verify_json(obj, server_name, key.verify_key, key.key_id) for key in keys if key.counts_at(now_ms))


def _count(source: str, name: str = "", error: Exception | None = None) -> None:
    """One look-up, and how it ended."""
    if error is None:
        outcome = "answered"
    else:
        outcome = "unreachable" if isinstance(error, RemoteUnreachable) else "refused"
        logger.info("no keys from %s: %s", name, error)
    SERVER_KEY_LOOKUPS.labels(source, outcome).inc()
