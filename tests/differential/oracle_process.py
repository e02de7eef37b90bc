"""Runs inside the Synapse venv: reads rooms as JSON lines, answers each with what Synapse's pure functions say.

The only file that imports synapse, and it imports nothing of ours: the two programs share a pipe and nothing else.
Every answer is "allow", a value, or a text that starts with "deny" (Synapse refused on purpose) or "crash" (it fell
over the input: it refused, but had no rule for it).
"""

import hashlib
import json
import logging
import sys
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

from signedjson.key import decode_signing_key_base64
from synapse.api.errors import SynapseError
from synapse.api.room_versions import KNOWN_ROOM_VERSIONS, RoomVersion, StateResolutionVersions
from synapse.crypto.event_signing import compute_content_hash, compute_event_reference_hash, compute_event_signature
from synapse.event_auth import (
    auth_types_for_event,
    check_state_dependent_auth_rules,
    check_state_independent_auth_rules,
)
from synapse.events import EventBase, make_event_from_dict
from synapse.events.utils import prune_event
from synapse.state import v1, v2
from synapse.storage.databases.main.event_federation import StateDifference
from unpaddedbase64 import encode_base64

SIGNING_KEY = decode_signing_key_base64("ed25519", "test", encode_base64(b"\x01" * 32))


def finish(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never waits for anything."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("the function waited for something")


def attempt(work: Callable[[], Any]) -> Any:
    """What `work` returns, or how it refused."""
    try:
        return work()
    except SynapseError as error:
        return f"deny: {error.msg}"
    except Exception as error:  # noqa: BLE001 - the edge of the oracle: whatever Synapse raises is an answer
        return f"crash: {type(error).__name__}: {str(error).partition(chr(10))[0]}"


class Clock:
    """Time that does not pass."""

    async def sleep(self, duration: object) -> None:
        return None


class Store:
    """The events of one room, in memory, as the functions of Synapse ask for them."""

    def __init__(self, events: Mapping[str, EventBase]) -> None:
        self.events = events

    async def get_events(self, event_ids: Collection[str], allow_rejected: bool = False) -> dict[str, EventBase]:
        found = {id_: self.events[id_] for id_ in event_ids if id_ in self.events}
        return {id_: event for id_, event in found.items() if allow_rejected or event.rejected_reason is None}

    def _cited(self, event_id: str) -> Collection[str]:
        return self.events[event_id].auth_event_ids() if event_id in self.events else ()

    async def get_auth_chain_difference(
        self, room_id: str, state_sets: Sequence[set[str]], conflicted: set[str] | None, _: object
    ) -> StateDifference:
        """What Synapse's database answers: a chain holds the events that it starts from. (Given all events as
        "in flight", Synapse computes this itself and comes to the same results: tried with 5,000 resolutions.)"""
        chains = [reachable(state_set, self._cited) for state_set in state_sets]
        difference = set().union(*chains) - chains[0].intersection(*chains[1:])
        if conflicted is None:
            return StateDifference(difference, None)
        below = reachable(conflicted, self._cited)
        citing: dict[str, list[str]] = {}
        for id_ in below:
            for cited in self._cited(id_):
                citing.setdefault(cited, []).append(id_)
        return StateDifference(difference, below & reachable(conflicted, lambda id_: citing.get(id_, ())))


class Source:
    """The same events, as the check of auth events asks for them."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def get_events(
        self,
        event_ids: Collection[str],
        redact_behaviour: object,
        get_prev_content: bool = False,
        allow_rejected: bool = False,
    ) -> dict[str, EventBase]:
        return await self.store.get_events(event_ids, allow_rejected)


def reachable(roots: Collection[str], edges: Callable[[str], Collection[str]]) -> set[str]:
    """All that can be reached from `roots`, with the roots."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        id_ = waiting.pop()
        if id_ not in found:
            found.add(id_)
            waiting.extend(edges(id_))
    return found


class Room:
    """One room of the input."""

    def __init__(self, wire: Mapping[str, Any]) -> None:
        self.version: RoomVersion = KNOWN_ROOM_VERSIONS[wire["version"]]
        self.wire = wire
        self.events: list[Any] = [attempt(partial(self._read, entry)) for entry in wire["events"]]
        self.ids = [entry["id"] for entry in wire["events"]]
        readable = {id_: event for id_, event in zip(self.ids, self.events, strict=True) if not isinstance(event, str)}
        self.store = Store(readable)

    def _read(self, entry: Mapping[str, Any]) -> EventBase:
        reason = "rejected" if entry["rejected"] else None
        return make_event_from_dict(entry["pdu"], self.version, {}, reason)

    def answer(self) -> dict[str, Any]:
        return {
            "events": [
                event if isinstance(event, str) else self._facts(event, entry["pdu"])
                for event, entry in zip(self.events, self.wire["events"], strict=True)
            ],
            "judgements": [attempt(partial(self._judge, *case)) for case in self.wire["judgements"]],
            "resolutions": [attempt(partial(self._resolve, forks)) for forks in self.wire["resolutions"]],
        }

    def _facts(self, event: EventBase, pdu: dict[str, Any]) -> dict[str, Any]:
        """What is asked of every event."""
        return {
            "event_id": attempt(lambda: event.event_id),
            "room_id": attempt(lambda: event.room_id),
            "content_hash": attempt(lambda: encode_base64(compute_content_hash(pdu, hashlib.sha256)[1])),
            "reference_hash": attempt(lambda: compute_event_reference_hash(event)[1].hex()),
            "redacted": attempt(lambda: self._redacted(event)),
            "signature": attempt(
                lambda: compute_event_signature(self.version, pdu, "sign.test", SIGNING_KEY)["sign.test"][
                    "ed25519:test"
                ]
            ),
            "selection": attempt(lambda: [list(key) for key in auth_types_for_event(self.version, event)]),
            "auth_events": attempt(lambda: self._check_auth_events(event)),
        }

    def _redacted(self, event: EventBase) -> dict[str, Any]:
        redacted: dict[str, Any] = prune_event(event).get_pdu_json()
        redacted.pop("unsigned", None)  # Synapse's own notes, not part of the redacted event
        return redacted

    def _check_auth_events(self, event: EventBase) -> str:
        return "allow" if event.type == "m.room.create" else self._check_independent(event)

    def _check_independent(self, event: EventBase) -> str:
        finish(check_state_independent_auth_rules(Source(self.store), event))
        return "allow"

    def _judge(self, event: int, state: Sequence[int]) -> str:
        judged = self.events[event]
        if isinstance(judged, str):
            return judged
        if judged.type == "m.room.create":  # its rules ask for no state
            return self._check_independent(judged)
        check_state_dependent_auth_rules(judged, [self.events[index] for index in state])
        return "allow"

    def _resolve(self, forks: Sequence[Sequence[int]]) -> list[int]:
        maps = [{(self.events[i].type, self.events[i].state_key): self.ids[i] for i in fork} for fork in forks]
        room_id = self.wire["room_id"]
        if self.version.state_res == StateResolutionVersions.V1:
            work = v1.resolve_events_with_store(room_id, self.version, maps, None, self.store.get_events)
        else:
            work = v2.resolve_events_with_store(Clock(), room_id, self.version, maps, None, self.store)
        place = {id_: index for index, id_ in enumerate(self.ids)}
        return sorted(place[id_] for id_ in finish(work).values())


def main() -> None:
    logging.disable(logging.CRITICAL)
    for line in sys.stdin.buffer:
        sys.stdout.write(json.dumps(Room(json.loads(line)).answer()) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
