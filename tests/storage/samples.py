"""Rows of events for tests that need no room that is right, only rows."""

from typing import Any

from homeserver.domain.event import Event, read_event
from homeserver.domain.versions import ROOM_VERSIONS, EventIdFormat, RoomVersion
from homeserver.storage.events import NewEvent, split

V12 = ROOM_VERSIONS["12"]
ROOM_ID = "!room:test.example"


def sample_pdu(version: RoomVersion = V12, **members: Any) -> dict[str, Any]:
    """A PDU as a remote server sends it."""
    pdu: dict[str, Any] = {
        "auth_events": [],
        "content": {"body": "hello", "msgtype": "m.text"},
        "depth": 7,
        "hashes": {"sha256": "aGFzaA"},
        "origin_server_ts": 1_700_000_000_000,
        "prev_events": [],
        "room_id": ROOM_ID,
        "sender": "@a:test.example",
        "signatures": {"test.example": {"ed25519:a": "c2ln"}},
        "type": "m.room.message",
        **members,
    }
    if version.event_ids is EventIdFormat.CHOSEN:
        pdu.setdefault("event_id", "$chosen:test.example")
    return pdu


def sample_event(number: int, version: RoomVersion = V12, **members: Any) -> Event:
    return read_event(version, f"$event{number}", sample_pdu(version, **members), ROOM_ID)


def sample_row(
    number: int,
    anchor: int | None,
    *,
    room: int = 1,
    rank: int = 0,
    live: bool = True,
    key: int | None = None,
    replaces: int | None = None,
    ordinals: list[int] | None = None,
    state_before: int | None = 1,
    rejected: str | None = None,
    **members: Any,
) -> NewEvent:
    """An event at a place in its room's history. A live one has its anchor for position, another its number."""
    event = sample_event(number, **members)
    client, wire = split(event.pdu)
    return NewEvent(
        number=number,
        event=event,
        room=room,
        position=(anchor if live else number) if anchor is not None else None,
        anchor=anchor,
        client=client,
        wire=wire,
        prev=[number - 1],
        auth=[1, 2],
        state_before=state_before,
        state_after=None,
        key=key,
        replaces=replaces,
        ordinals=ordinals or [],
        rank=rank,
        live=live,
        rejected=rejected,
    )
