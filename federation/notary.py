"""We as a notary: what other servers say of their keys, with our signature under it.

A server is asked when its last answer is past half of its life, or does not last as long as is wanted. If it does not
answer, its last answer is passed on, "so that the signatures of old events can still be checked".
https://spec.matrix.org/v1.19/server-server-api/#querying-keys-through-another-server
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from federation.own_keys import OwnKeys
from homeserver.domain.errors import LimitExceeded
from homeserver.domain.identifiers import is_server_name
from homeserver.domain.server_keys import KeyAnswer
from homeserver.domain.throttle import Throttle, Throttles
from homeserver.http.addresses import counted_address
from homeserver.ports import Clock

# How long one query waits for other servers.
PATIENCE_SECONDS = 20.0
# Anybody can make us ask others: so many servers an address can name at once, then so many a second.
_ASKED = Throttle(5, 1_000)
_MAX_ADDRESSES = 50_000
MAX_SERVERS = 1_000


class Lookups(Protocol):
    async def ask(self, server_name: str) -> object: ...


class Kept(Protocol):
    async def answers(self, server_names: Sequence[str]) -> Mapping[str, KeyAnswer]: ...


class Notary:
    def __init__(self, own_keys: OwnKeys, kept: Kept, lookups: Lookups, clock: Clock) -> None:
        self._own_keys = own_keys
        self._kept = kept
        self._lookups = lookups
        self._clock = clock
        self._throttles = Throttles(_ASKED, _MAX_ADDRESSES)

    async def query(self, wanted: Mapping[str, int | None], address: str) -> list[Mapping[str, Any]]:
        """The answers of these servers, as far as there are any, signed by each and by us.

        `wanted` says until when (ms) each should be valid; None: now. `address` is who asks. Raises LimitExceeded.
        """
        now = self._clock.now_ms()
        own = self._own_keys.server_name
        others = {server: until for server, until in wanted.items() if server != own and is_server_name(server)}
        answers = dict(await self._kept.answers(list(others))) if others else {}
        stale = [server for server, until in others.items() if not _is_enough(answers.get(server), until, now)]
        if stale:
            self._take(address, len(stale), now)
            await self._refresh(stale)
            answers |= await self._kept.answers(stale)
        signed: list[Mapping[str, Any]] = [self._own_keys.sign(answer.document) for answer in answers.values()]
        return [self._own_keys.document(), *signed] if own in wanted else signed

    async def _refresh(self, servers: Sequence[str]) -> None:
        tasks = [asyncio.create_task(self._lookups.ask(server)) for server in servers]
        try:
            done, _ = await asyncio.wait(tasks, timeout=PATIENCE_SECONDS)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _take(self, address: str, servers: int, now_ms: int) -> None:
        taken = self._throttles.take(counted_address(address), now_ms, servers)
        if not taken.allowed:
            raise LimitExceeded("Too many servers asked about", taken.retry_after_ms, "notary")


def _is_enough(answer: KeyAnswer | None, until: int | None, now_ms: int) -> bool:
    return answer is not None and answer.is_fresh(now_ms) and (until is None or answer.valid_until_ts >= until)
