"""What we read from other servers about rooms: their answers, checked for shape before anybody looks at them.

The PDUs in them are unchecked: see `federation.inbound.pdus`. Every method raises RemoteError.
https://spec.matrix.org/v1.19/server-server-api/#retrieving-events
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from homeserver.domain.errors import RemoteUnreachable
from homeserver.domain.identifiers import is_event_id

Pdu = Mapping[str, Any]

# A large room's state with its auth chain.
MAX_STATE_BYTES = 256 << 20
STATE_SECONDS = 300.0
# So many ids or PDUs are taken from one answer.
MAX_STATE_EVENTS = 200_000
MAX_HISTORY_EVENTS = 200


class Calls(Protocol):
    """`federation.calls.Calls`, as far as it is needed here."""

    async def get(
        self,
        destination: str,
        path: str,
        query: Sequence[tuple[str, str]] = (),
        *,
        timeout: float = 30.0,
        max_bytes: int = 8 << 20,
    ) -> Any: ...

    async def post(
        self,
        destination: str,
        path: str,
        body: Mapping[str, Any],
        query: Sequence[tuple[str, str]] = (),
        *,
        timeout: float = 30.0,
        max_bytes: int = 8 << 20,
    ) -> Any: ...


@dataclass(frozen=True, slots=True)
class StateIds:
    """The ids of a state, and of all that authorises it."""

    state: list[str]
    auth_chain: list[str]


class Peers:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def missing_events(
        self, server: str, room_id: str, earliest: Sequence[str], latest: Sequence[str], limit: int, min_depth: int
    ) -> list[Pdu]:
        """Events before `latest` and after `earliest`, nearest first or oldest first."""
        body = {
            "earliest_events": list(earliest),
            "latest_events": list(latest),
            "limit": limit,
            "min_depth": min_depth,
        }
        path = f"/_matrix/federation/v1/get_missing_events/{quote(room_id, safe='')}"
        return _pdus(await self._calls.post(server, path, body), "events", MAX_HISTORY_EVENTS)

    async def backfill(self, server: str, room_id: str, latest: Sequence[str], limit: int) -> list[Pdu]:
        """Events at and before `latest`."""
        path = f"/_matrix/federation/v1/backfill/{quote(room_id, safe='')}"
        query = [*(("v", event_id) for event_id in latest), ("limit", str(limit))]
        return _pdus(await self._calls.get(server, path, query), "pdus", MAX_HISTORY_EVENTS)

    async def event(self, server: str, event_id: str) -> Pdu:
        path = f"/_matrix/federation/v1/event/{quote(event_id, safe='')}"
        found = _pdus(await self._calls.get(server, path), "pdus", 1)
        if not found:
            raise RemoteUnreachable(f"{server} answered without the event")
        return found[0]

    async def event_auth(self, server: str, room_id: str, event_id: str) -> list[Pdu]:
        """All that authorises an event, directly or not."""
        path = f"/_matrix/federation/v1/event_auth/{quote(room_id, safe='')}/{quote(event_id, safe='')}"
        answer = await self._calls.get(server, path, timeout=STATE_SECONDS, max_bytes=MAX_STATE_BYTES)
        return _pdus(answer, "auth_chain", MAX_STATE_EVENTS)

    async def state_ids(self, server: str, room_id: str, event_id: str) -> StateIds:
        """The state before an event."""
        path = f"/_matrix/federation/v1/state_ids/{quote(room_id, safe='')}"
        answer = await self._calls.get(
            server, path, [("event_id", event_id)], timeout=STATE_SECONDS, max_bytes=MAX_STATE_BYTES
        )
        return StateIds(_ids(answer, "pdu_ids"), _ids(answer, "auth_chain_ids"))

    async def state(self, server: str, room_id: str, event_id: str) -> tuple[list[Pdu], list[Pdu]]:
        """(the state before an event, all that authorises it)."""
        path = f"/_matrix/federation/v1/state/{quote(room_id, safe='')}"
        answer = await self._calls.get(
            server, path, [("event_id", event_id)], timeout=STATE_SECONDS, max_bytes=MAX_STATE_BYTES
        )
        return _pdus(answer, "pdus", MAX_STATE_EVENTS), _pdus(answer, "auth_chain", MAX_STATE_EVENTS)


def _list(answer: Any, key: str, most: int) -> list[Any]:
    found = answer.get(key) if isinstance(answer, Mapping) else None
    if not isinstance(found, list):
        raise RemoteUnreachable(f"the answer has no list {key}")
    if len(found) > most:
        raise RemoteUnreachable(f"the answer has more than {most} {key}")
    return found


def _pdus(answer: Any, key: str, most: int) -> list[Pdu]:
    # What is no object is no event: it is left out here, and whoever needs it will miss it.
    return [one for one in _list(answer, key, most) if isinstance(one, Mapping)]


def _ids(answer: Any, key: str) -> list[str]:
    found = _list(answer, key, MAX_STATE_EVENTS)
    if not all(is_event_id(one) for one in found):
        raise RemoteUnreachable(f"the answer has something in {key} that is no event id")
    return found
