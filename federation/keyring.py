"""Whether a server signed what it is said to have signed.

Keys come from memory, then from the table, then over the network (`key_lookups`). A signature by a key that we cannot
get, or that does not count at the time in question, is skipped; each server that must have signed needs at least one
that is not, and all of those have to be right.
https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from signedjson.types import VerifyKey

from federation.key_lookups import Want
from federation.threads import Threads
from homeserver.domain.errors import BadRequest
from homeserver.domain.hashing import essential_json
from homeserver.domain.identifiers import is_server_name
from homeserver.domain.server_keys import MAX_VALIDITY_MS, ServerKey
from homeserver.domain.signing import is_signature, required_signers, unsigned_json
from homeserver.domain.versions import RoomVersion
from homeserver.ports import Clock

# How long one call waits for keys, however many servers they are of, unless it says otherwise.
LOOKUP_SECONDS = 30.0
# Servers whose keys stay in memory, about 1 KB each.
MAX_SERVERS = 10_000


@dataclass(frozen=True, slots=True)
class Signed:
    """Bytes that all of `signers` must have signed. `signatures` are base64 by server and key id, as others wrote them.

    `valid_at_ms` is the time at which keys have to count; without `enforce_validity` only old ones can be too old.
    """

    message: bytes
    signatures: Mapping[str, Mapping[str, str]]
    signers: frozenset[str]
    valid_at_ms: int
    enforce_validity: bool = True

    def key_ids(self, signer: str) -> frozenset[str]:
        """Of the keys with which it signed."""
        return frozenset(self.signatures.get(signer, ()))


class Lookups(Protocol):
    async def ask(self, server_name: str, wants: Sequence[Want] = ()) -> Sequence[ServerKey]: ...


class Kept(Protocol):
    async def keys(self, server_names: Sequence[str]) -> Mapping[str, Sequence[ServerKey]]: ...


class _Known:
    """The keys of a server, ready for use."""

    __slots__ = ("keys", "verify_keys")

    def __init__(self, keys: Iterable[ServerKey]) -> None:
        self.keys = {key.key_id: key for key in keys}
        self.verify_keys = {key_id: key.verify_key for key_id, key in self.keys.items()}


_Found = Mapping[str, _Known]


class Keyring:
    """`own_keys` are those of this server, which is never asked."""

    def __init__(
        self,
        server_name: str,
        own_keys: Iterable[ServerKey],
        kept: Kept,
        lookups: Lookups,
        threads: Threads,
        clock: Clock,
    ) -> None:
        self._server_name = server_name
        self._own = _Known(own_keys)
        self._kept = kept
        self._lookups = lookups
        self._threads = threads
        self._clock = clock
        self._cache: OrderedDict[str, _Known] = OrderedDict()

    async def verify_json(self, server_name: str, obj: Mapping[str, Any], valid_at_ms: int) -> str | None:
        """Why an object is not to be taken for the server's; None if it signed it."""
        signatures = obj.get("signatures")
        of_server = signatures.get(server_name) if isinstance(signatures, Mapping) else None
        if not isinstance(of_server, Mapping) or not all(isinstance(text, str) for text in of_server.values()):
            return f"it is not signed by {server_name}"
        try:
            message = unsigned_json(obj)
        except BadRequest as error:
            return error.message
        signed = Signed(message, {server_name: of_server}, frozenset({server_name}), valid_at_ms)
        return (await self.verify([signed]))[0]

    async def has_key(self, server_name: str, key_id: str) -> bool:
        """Whether we have, or can get, this key of the server, and it counts now."""
        want = Want(frozenset({key_id}), self._clock.now_ms(), True)
        known = (await self._provide({server_name: {want}}, LOOKUP_SECONDS)).get(server_name)
        return known is not None and want.is_met_by(known.keys.values())

    async def verify_events(
        self, version: RoomVersion, pdus: Sequence[Mapping[str, Any]], *, patience: float = LOOKUP_SECONDS
    ) -> list[str | None]:
        """Why each event, whose format was checked, is to be dropped; None if whoever must have signed it did.

        `patience` in seconds bounds how long keys are waited for.
        """
        prepared = await self._threads.map(lambda pdu: signed_event(version, pdu), pdus)
        verdicts = iter(await self.verify([one for one in prepared if isinstance(one, Signed)], patience=patience))
        return [next(verdicts) if isinstance(one, Signed) else one for one in prepared]

    async def verify(self, items: Sequence[Signed], *, patience: float = LOOKUP_SECONDS) -> list[str | None]:
        """Why each is not signed as it must be; None if it is. `patience` as above."""
        wants: dict[str, set[Want]] = {}
        for item in items:
            for signer in item.signers:
                want = Want(item.key_ids(signer), item.valid_at_ms, item.enforce_validity)
                if want.key_ids and is_server_name(signer):
                    wants.setdefault(signer, set()).add(want)
        found = await self._provide(wants, patience)
        return await self._threads.map(lambda item: _judge(item, found), items)

    async def _provide(self, wants: Mapping[str, Collection[Want]], patience: float) -> _Found:
        """The keys of these servers that we have or can get."""
        found = await self._remembered(wants)
        # Beyond that, no answer could make a key count: nobody need be asked.
        latest = self._clock.now_ms() + MAX_VALIDITY_MS
        unmet = {
            server: missing
            for server, wanted in wants.items()
            if server != self._server_name
            and (missing := [want for want in wanted if not self._is_met(want, found.get(server), latest)])
        }
        if unmet:
            await self._look_up(unmet, found, patience)
        return found

    def _is_met(self, want: Want, known: _Known | None, latest: int) -> bool:
        if want.enforce_validity and want.ts > latest:
            return True
        return known is not None and want.is_met_by(known.keys.values())

    async def _remembered(self, servers: Iterable[str]) -> dict[str, _Known]:
        """What memory and table hold."""
        found: dict[str, _Known] = {}
        missing: list[str] = []
        for server in servers:
            known = self._own if server == self._server_name else self._cache.get(server)
            if known is None:
                missing.append(server)
            else:
                found[server] = known
                if server in self._cache:
                    self._cache.move_to_end(server)
        if missing:
            for server, keys in (await self._kept.keys(missing)).items():
                found[server] = self._remember(server, keys)
        return found

    def _remember(self, server_name: str, keys: Iterable[ServerKey]) -> _Known:
        known = self._cache[server_name] = _Known(keys)
        self._cache.move_to_end(server_name)
        if len(self._cache) > MAX_SERVERS:
            self._cache.popitem(last=False)
        return known

    async def _look_up(self, unmet: Mapping[str, Sequence[Want]], found: dict[str, _Known], patience: float) -> None:
        """Asks all of these servers at once, and adds what comes in time."""

        async def one(server: str, wants: Sequence[Want]) -> None:
            keys = await self._lookups.ask(server, wants)
            if keys:
                found[server] = self._remember(server, keys)

        tasks = [asyncio.create_task(one(server, wants)) for server, wants in unmet.items()]
        try:
            done, _ = await asyncio.wait(tasks, timeout=patience)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def signed_event(version: RoomVersion, pdu: Mapping[str, Any], message: bytes | None = None) -> Signed | str:
    """What must be signed of an event whose format was checked, and by whom; or why it cannot be.

    `message` is its essential JSON, if the caller has it already.
    """
    try:
        signers = frozenset(required_signers(version, pdu))
        covered = essential_json(version, pdu) if message is None else message
    except BadRequest as error:
        return error.message
    ts: int = pdu["origin_server_ts"]
    return Signed(covered, pdu["signatures"], signers, ts, version.enforce_key_validity)


def _judge(item: Signed, found: _Found) -> str | None:
    for signer in sorted(item.signers):
        known = found.get(signer)
        counting = [] if known is None else list(_counting(item, signer, known))
        if not counting:
            return f"it has no signature of {signer} by a key that we could get and that counted then"
        if not all(is_signature(key, item.message, text) for key, text in counting):
            return f"a signature of {signer} is wrong"
    return None


def _counting(item: Signed, signer: str, known: _Known) -> Iterable[tuple[VerifyKey, str]]:
    for key_id, text in item.signatures.get(signer, {}).items():
        key = known.keys.get(key_id)
        if key is not None and key.counts_at(item.valid_at_ms, enforce_validity=item.enforce_validity):
            yield known.verify_keys[key_id], text
