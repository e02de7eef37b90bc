"""Events as clients see them: strings joined, not parsed.

https://spec.matrix.org/v1.19/client-server-api/#room-event-format
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import orjson

from homeserver.domain.canonical import canonical_json
from homeserver.services.aggregations import Bundle, Onlooker, load_bundles
from homeserver.storage.event_texts import Asker, EventText
from homeserver.storage.events import EventRow, parse_members
from homeserver.storage.store import Store


def quote(text: str) -> str:
    """A JSON string."""
    return orjson.dumps(text).decode()


class ClientForm:
    """Events for one viewer at one time. By event id: `_redactions` are those that took content away, `_bundles` is
    what goes with events in `m.relations`."""

    def __init__(
        self, user_id: str, device_id: str | None, now_ms: int, bundles: Mapping[str, Bundle] | None = None
    ) -> None:
        self._user_id = user_id
        self._device_id = device_id
        self._now_ms = now_ms
        self._redactions: Mapping[str, EventRow] = {}
        self._bundles: Mapping[str, Bundle] = bundles or {}

    def asker(self, unsigned: str = "", members: str = "") -> Asker:
        """For texts that the database writes (`EventTexts`). Both as JSON, each member after a comma."""
        return Asker(self._now_ms, self._user_id, self._device_id, unsigned, members)

    def prepare(self, store: Store, rows: Iterable[EventRow]) -> None:
        """Loads what redacted the events that are redacted."""
        wanted = {row.redacted_by for row in rows if row.redacted_by is not None}
        if wanted - self._redactions.keys():
            self._redactions = {**self._redactions, **store.events.list_by_ids(wanted)}

    def bundle(
        self, store: Store, onlooker: Onlooker, rows: Iterable[EventRow], parents: Collection[str] | None = None
    ) -> None:
        """Loads what the events that point at these events amount to, for answers that tell it (`load_bundles`)."""
        self._bundles = {**self._bundles, **load_bundles(store, onlooker, rows, parents)}

    def event(self, row: EventRow, membership: str | None, room_id: str | None = None) -> str:
        """`membership`: the viewer's at the event, if it is to be told. `room_id`: as JSON, if it is to be told."""
        unsigned = [f'"age":{max(0, self._now_ms - row.origin_server_ts)}']
        if membership is not None:
            unsigned.append(f'"membership":{quote(membership)}')
        if row.txn_id is not None and row.device_id == self._device_id and row.sender == self._user_id:
            unsigned.append(f'"transaction_id":{quote(row.txn_id)}')
        if row.replaced_id is not None and row.replaced_client is not None:
            content = parse_members(row.replaced_client)["content"]
            unsigned.append(replaced_members(row.replaced_id, content))
        redaction = None if row.redacted_by is None else self._redactions.get(row.redacted_by)
        if redaction is not None:
            unsigned.append(f'"redacted_because":{self.event(redaction, None, room_id)}')
        bundle = self._bundles.get(row.event_id)
        if bundle is not None:
            unsigned.append(f'"m.relations":{{{self._relations(bundle, room_id)}}}')
        client = row.client if row.type != "m.room.redaction" else with_redacts(row.client)
        return join_event(client, row.event_id, ",".join(unsigned), room_id)

    def complete(
        self,
        store: Store,
        texts: Sequence[EventText],
        membership: str | None,
        room_id: str | None = None,
        onlooker: Onlooker | None = None,
    ) -> Sequence[EventText]:
        """Makes those anew that lack something. `onlooker`: who is told what is bundled with the events, if that is
        told; then all are of one room."""
        odd = [one for one in texts if not one.plain or (one.parent and onlooker is not None)]
        if not odd:
            return texts
        rows = store.events.list_by_numbers(one.number for one in odd)
        self.prepare(store, rows.values())
        parents = [rows[one.number] for one in odd if one.parent]
        if onlooker is not None and parents:
            self.bundle(store, onlooker, parents, {row.event_id for row in parents})
        made = {number: self.event(row, membership, room_id) for number, row in rows.items()}
        return [one._replace(text=made[one.number]) if one.number in made else one for one in texts]

    def _relations(self, bundle: Bundle, room_id: str | None) -> str:
        parts: list[str] = []
        if bundle.edit is not None:
            parts.append(f'"m.replace":{self.event(*bundle.edit, room_id)}')
        if bundle.references:
            chunk = ",".join(f'{{"event_id":{quote(event_id)}}}' for event_id in bundle.references)
            parts.append(f'"m.reference":{{"chunk":[{chunk}]}}')
        if bundle.thread is not None:
            participated = "true" if bundle.thread.participated else "false"
            parts.append(
                f'"m.thread":{{"latest_event":{self.event(*bundle.thread.latest, room_id)},'
                f'"count":{bundle.thread.count},"current_user_participated":{participated}}}'
            )
        return ",".join(parts)


def join_event(client: str, event_id: str, unsigned: str, room_id: str | None) -> str:
    room = "" if room_id is None else f',"room_id":{room_id}'
    return f'{{{client},"event_id":{quote(event_id)}{room},"unsigned":{{{unsigned}}}}}'


def replaced_members(event_id: str, content: Mapping[str, Any]) -> str:
    """The members of `unsigned` that tell what a state event took the place of, as JSON without braces."""
    return _json({"prev_content": content, "replaces_state": event_id})[1:-1]


def with_redacts(client: str) -> str:
    """Redactions carry `redacts` at both places for clients, whatever the room version.

    "for backwards-compatibility, servers should add a top-level redacts property" and the other way round.
    """
    event = parse_members(client)
    target = redaction_target(client)
    if target is not None:
        event["redacts"] = target
        event["content"] = {**event["content"], "redacts": target}
    return _json(event)[1:-1]


def redaction_target(client: str) -> str | None:
    """The id of the event that a redaction is about, wherever its room version has it."""
    event = parse_members(client)
    target = event.get("redacts", event["content"].get("redacts"))
    return target if isinstance(target, str) else None


def stripped(client: str) -> str:
    """Stripped state: sender, type, state_key and content only."""
    event = parse_members(client)
    return _json({key: event[key] for key in ("content", "sender", "state_key", "type") if key in event})


def _json(value: Mapping[str, Any]) -> str:
    """Of values that canonical JSON can hold: orjson writes no integers beyond 64 bits."""
    return canonical_json(value, checked=True).decode()
