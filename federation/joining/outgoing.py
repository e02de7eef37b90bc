"""Memberships of our users in rooms of other servers: joining, knocking, and ending an invite; and invites of theirs.

Each is a template that a server of the room gives, an event of ours at that place, and the same server's consent. If
one server cannot, the next one is asked. https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

from federation.inbound.pdus import Checked, Refused, good_events
from federation.joining.author import Author
from federation.joining.template import Template, read_template
from federation.joining.told import read_told
from federation.keyring import Signed, signed_event
from homeserver.domain.errors import BadRequest, Forbidden, NotFound, RemoteError, RemoteRefused, RemoteUnreachable
from homeserver.domain.event import Event
from homeserver.domain.identifiers import domain_of, is_server_name
from homeserver.domain.versions import ROOM_VERSIONS, EventIdFormat, RoomVersion
from homeserver.services.rooms.remote.entering import Entering
from homeserver.services.rooms.remote.out_of_band import OutOfBand, OutsideMembership, Resident

T = TypeVar("T")
logger = logging.getLogger(__name__)

MAX_SERVERS = 8
# A large room's state takes its time.
JOIN_SECONDS = 300.0
JOIN_BYTES = 256 << 20
MAX_STATE_EVENTS = 200_000


class Calls(Protocol):
    async def get(
        self, destination: str, path: str, query: Sequence[tuple[str, str]] = (), *, patient: bool = False
    ) -> Any: ...

    async def put(
        self,
        destination: str,
        path: str,
        body: Mapping[str, Any],
        query: Sequence[tuple[str, str]] = (),
        *,
        timeout: float = 30.0,
        max_bytes: int = 8 << 20,
        patient: bool = False,
    ) -> Any: ...


class Checks(Protocol):
    async def check(
        self, version: RoomVersion, pdus: Sequence[object], *, room_id: str | None = None
    ) -> list[Checked | Refused]: ...


class Keys(Protocol):
    async def verify(self, items: Sequence[Signed]) -> Sequence[str | None]: ...


class OutgoingMembership:
    """`homeserver.ports.RemoteRooms`."""

    def __init__(
        self,
        author: Author,
        calls: Calls,
        checks: Checks,
        keys: Keys,
        entering: Entering,
        out_of_band: OutOfBand,
    ) -> None:
        self._author = author
        self._calls = calls
        self._checks = checks
        self._keys = keys
        self._entering = entering
        self._out_of_band = out_of_band
        # Rooms that somebody is joining: the second one finds the room here.
        self._joining: dict[str, asyncio.Lock] = {}

    async def join(
        self,
        user_id: str,
        room_id: str,
        servers: Sequence[str],
        content: Mapping[str, Any],
        *,
        although_resident: bool = False,
    ) -> bool:
        lock = self._joining.setdefault(room_id, asyncio.Lock())
        try:
            async with lock:
                standing = await self._out_of_band.look(user_id, room_id)
                if not isinstance(standing, Resident):
                    asked = self._candidates(standing, room_id, servers)
                elif although_resident:
                    asked = self._candidates(None, room_id, servers)
                else:
                    return False
                await self._from_any(asked, lambda server: self._join(server, user_id, room_id, content))
                return True
        finally:
            if not lock.locked():
                self._joining.pop(room_id, None)

    async def knock(self, user_id: str, room_id: str, servers: Sequence[str], content: Mapping[str, Any]) -> None:
        async def ask(server: str) -> None:
            template = await self._make(server, "knock", room_id, user_id)
            event = self._author.write(template, room_id, user_id, content)
            path = _path("v1/send_knock", room_id, event.event_id)
            answer = await self._calls.put(server, path, event.pdu, patient=True)
            told = await self._told(template.version, room_id, answer)
            await self._out_of_band.receive(template.version, event, told)

        standing = await self._out_of_band.find(user_id, room_id)
        await self._from_any(self._candidates(standing, room_id, servers), ask)

    async def leave(self, user_id: str, room_id: str, content: Mapping[str, Any]) -> None:
        async def ask(server: str) -> None:
            template = await self._make(server, "leave", room_id, user_id)
            event = self._author.write(template, room_id, user_id, content)
            await self._calls.put(server, _path("v2/send_leave", room_id, event.event_id), event.pdu)
            await self._out_of_band.receive(template.version, event, [])

        try:
            standing = await self._out_of_band.find(user_id, room_id)
            await self._from_any(self._candidates(standing, room_id, []), ask)
        except (RemoteError, Forbidden, NotFound, BadRequest) as error:
            # The user is rid of it, whatever the others think.
            logger.info("no server of %s was told that %s left: %s", room_id, user_id, error)
            await self._out_of_band.end(user_id, room_id)

    async def sign_invite(self, event: Event, stripped: Sequence[Mapping[str, Any]]) -> Event:
        server, version = domain_of(event.state_key or ""), event.version
        body = {"room_version": version.identifier, "event": event.pdu, "invite_room_state": list(stripped)}
        try:
            answer = await self._invite(server, event, body)
        except RemoteRefused as error:
            raise _as_request_error(error) from error
        signatures = answer.get("signatures") if isinstance(answer, Mapping) else None
        theirs = signatures.get(server) if isinstance(signatures, Mapping) else None
        if not isinstance(theirs, Mapping) or not all(isinstance(one, str) for one in theirs.values()):
            raise RemoteUnreachable(f"{server} did not sign the invite")
        # Nothing but the signature is taken: the event is ours.
        pdu = {**event.pdu, "signatures": {**event.pdu["signatures"], server: dict(theirs)}}
        signed = signed_event(version, pdu)
        if not isinstance(signed, Signed):
            raise RemoteUnreachable(f"{server}: {signed}")
        (why,) = await self._keys.verify([replace(signed, signers=frozenset({server}))])
        if why is not None:
            raise RemoteUnreachable(f"{server} did not sign the invite as it must: {why}")
        return replace(event, pdu=pdu)

    async def _invite(self, server: str, event: Event, body: Mapping[str, Any]) -> Any:
        try:
            answer = await self._calls.put(server, _path("v2/invite", event.room_id, event.event_id), body)
        except RemoteRefused as error:
            if error.errcode != "M_UNRECOGNIZED" or event.version.event_ids is not EventIdFormat.CHOSEN:
                raise
            # "If the receiving server does not support v2, fall back to v1", which knows the first room versions only.
            answer = await self._calls.put(server, _path("v1/invite", event.room_id, event.event_id), event.pdu)
            answer = answer[1] if isinstance(answer, list) and len(answer) == 2 else answer
        return answer.get("event") if isinstance(answer, Mapping) else None

    async def _join(self, server: str, user_id: str, room_id: str, content: Mapping[str, Any]) -> None:
        template = await self._make(server, "join", room_id, user_id)
        version = template.version
        join = self._author.write(template, room_id, user_id, content)
        answer = await self._calls.put(
            server,
            _path("v2/send_join", room_id, join.event_id),
            join.pdu,
            [("omit_members", "false")],
            timeout=JOIN_SECONDS,
            max_bytes=JOIN_BYTES,
            patient=True,
        )
        if template.authoriser is not None:
            join = await self._cosigned(version, join, answer)
        state, auth_chain = await self._checked(version, room_id, answer)
        await self._entering.enter(version, room_id, join, state, auth_chain)

    async def _make(self, server: str, kind: str, room_id: str, user_id: str) -> Template:
        query = [] if kind == "leave" else [("ver", version) for version in ROOM_VERSIONS]
        answer = await self._calls.get(
            server, _path(f"v1/make_{kind}", room_id, user_id), query, patient=kind != "leave"
        )
        return read_template(answer, room_id, user_id, kind)

    async def _cosigned(self, version: RoomVersion, join: Event, answer: Any) -> Event:
        """The join with the signature of the server that let our user in."""
        pdu = answer.get("event") if isinstance(answer, Mapping) else None
        (checked,) = await self._checks.check(version, [pdu], room_id=join.room_id)
        if isinstance(checked, Refused):
            raise RemoteUnreachable(f"the join was not co-signed: {checked.why}")
        if checked.event.event_id != join.event_id or checked.redacted:
            raise RemoteUnreachable("another event than our join was co-signed")
        return checked.event

    async def _checked(self, version: RoomVersion, room_id: str, answer: Any) -> tuple[list[Event], list[Event]]:
        """The events of the answer's state, and of its auth chain, that pass the first checks.

        Most of what stands in the state authorises something, and is told twice: what is word for word the same is
        checked once.
        """
        state, auth_chain = _told_events(answer, "state"), _told_events(answer, "auth_chain")
        told = {_hash_of(pdu): pdu for pdu in state}
        others = [pdu for pdu in auth_chain if told.get(_hash_of(pdu)) != pdu]
        checked = await self._checks.check(version, [*state, *others])
        good = [good_events(part, room_id) for part in (checked[: len(state)], checked[len(state) :])]
        for events in good:
            refuse_other_rooms(events, room_id)
        return good[0], good[1]

    async def _told(self, version: RoomVersion, room_id: str, answer: Any) -> Sequence[Mapping[str, Any]]:
        """What a knocking user is told of the room; nothing, if that is not as it must be."""
        try:
            return await read_told(self._checks, version, room_id, answer, "knock_room_state")
        except BadRequest as error:
            logger.warning("what was told of %s is not shown: %s", room_id, error.message)
            return []

    def _candidates(self, standing: OutsideMembership | None, room_id: str, servers: Sequence[str]) -> list[str]:
        """Whom to ask: whoever invited the user, those that were named, the server that the room id names, and those
        whose users wrote what the user was told of the room."""
        named = [*servers]
        if standing is not None:
            named.insert(0, domain_of(standing.sender))
        if ":" in room_id:
            named.append(domain_of(room_id))
        if standing is not None:
            named += standing.servers
        own = self._author.server_name
        found = [server for server in dict.fromkeys(named) if is_server_name(server) and server != own]
        if not found:
            raise NotFound("No server is known that could tell of this room")
        return found[:MAX_SERVERS]

    @staticmethod
    async def _from_any(servers: Sequence[str], ask: Callable[[str], Awaitable[T]]) -> T:
        """What the first server answers that can; else raises what tells most of why none could."""
        refused: RemoteRefused | None = None
        failed: RemoteError | None = None
        for server in servers:
            try:
                return await ask(server)
            except RemoteRefused as error:
                refused = refused or error
            except RemoteError as error:
                failed = failed or error
            logger.info("%s could not help", server)
        if refused is not None:
            raise _as_request_error(refused) from refused
        raise failed or RemoteUnreachable("there is no other server to ask")


def _told_events(answer: Any, key: str) -> list[object]:
    """A list of the answer, of whatever."""
    pdus = answer.get(key) if isinstance(answer, Mapping) else None
    if not isinstance(pdus, list) or len(pdus) > MAX_STATE_EVENTS:
        raise RemoteUnreachable(f"the answer has no {key} of at most {MAX_STATE_EVENTS} events")
    return pdus


def _hash_of(pdu: object) -> str | None:
    """The content hash that it says it has."""
    hashes = pdu.get("hashes") if isinstance(pdu, Mapping) else None
    sha256 = hashes.get("sha256") if isinstance(hashes, Mapping) else None
    return sha256 if isinstance(sha256, str) else None


def refuse_other_rooms(events: Sequence[Event], room_id: str) -> None:
    """Nobody tells events of another room by mistake. Raises RemoteUnreachable."""
    strange = [event.event_id for event in events if event.room_id != room_id]
    if strange:
        raise RemoteUnreachable(f"the answer has {len(strange)} events of other rooms, {strange[0]} for one")


def _path(endpoint: str, room_id: str, last: str) -> str:
    return f"/_matrix/federation/{endpoint}/{quote(room_id, safe='')}/{quote(last, safe='')}"


def _as_request_error(error: RemoteRefused) -> Exception:
    """What a client is told of another server's refusal. What it says of our request is no fault of the client."""
    message = error.message or "The other server refused"
    if error.status == 403:
        return Forbidden(message, error.errcode)
    if error.status == 404:
        return NotFound(message)
    if error.errcode == "M_INCOMPATIBLE_ROOM_VERSION":
        version = error.body.get("room_version")
        extra = {"room_version": version} if isinstance(version, str) else {}
        return BadRequest(message, error.errcode, extra)
    if error.errcode in ("M_UNABLE_TO_AUTHORISE_JOIN", "M_UNABLE_TO_GRANT_JOIN"):
        return Forbidden(message, error.errcode)
    return error
