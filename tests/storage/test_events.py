"""Rows of events: what is stored comes back as it was, and a redaction is for good."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.domain.errors import NotFound
from homeserver.domain.event import read_event
from homeserver.domain.redaction import redact
from homeserver.domain.versions import ROOM_VERSIONS, EventIdFormat, RoomVersion
from homeserver.storage.events import join, split
from homeserver.storage.store import Store
from tests.builders.house import TestHouse
from tests.storage.samples import ROOM_ID, V12, sample_event, sample_pdu, sample_row

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=4)


@settings(max_examples=50, deadline=None)
@given(
    version=st.sampled_from(list(ROOM_VERSIONS.values())),
    content=OBJECTS,
    more=st.dictionaries(st.sampled_from(["redacts", "state_key", "origin", "prev_state", "x", "\0"]), TEXT),
)
def test_parts_make_the_event_again(version: RoomVersion, content: dict[str, Any], more: dict[str, Any]) -> None:
    """A PDU that is split into its parts and joined is the same PDU, but for what is unsigned."""
    if version.reference_pairs:
        more = {**more, "prev_events": [["$a:b", {}]], "auth_events": []}
    pdu = sample_pdu(version, content=content, **more)
    event_id = pdu.get("event_id", "$id")
    joined = join(version, ROOM_ID, event_id, *split({**pdu, "unsigned": {"age": 5}}))

    assert joined == read_event(version, event_id, pdu, ROOM_ID)


def test_create_event_of_version_12_has_no_room_id() -> None:
    """The room's id is the hash of its create event, so it is not in it; every other event names the room."""
    pdu = sample_pdu(type="m.room.create", state_key="", content={"room_version": "12"})
    del pdu["room_id"]

    assert "room_id" not in join(V12, ROOM_ID, "$a", *split(pdu)).pdu
    assert join(V12, ROOM_ID, "$a", *split(pdu)).room_id == ROOM_ID


def test_chosen_event_ids_come_back() -> None:
    """In the versions in which a server chose the event id, it is part of the PDU."""
    version = next(version for version in ROOM_VERSIONS.values() if version.event_ids is EventIdFormat.CHOSEN)
    pdu = sample_pdu(version)
    client, wire = split(pdu)

    assert "event_id" not in client + wire
    assert join(version, ROOM_ID, pdu["event_id"], client, wire).pdu == pdu


def test_numbers_beyond_64_bits() -> None:
    """Old rooms hold them, so they are stored and come back."""
    pdu = sample_pdu(ROOM_VERSIONS["5"], content={"n": 2**70})

    assert "1180591620717411303424" in split(pdu)[0]


async def test_row_tells_what_was_written(house: TestHouse) -> None:
    """Each column comes back at its place, with the state event that it replaced."""

    def work(store: Store) -> None:
        key = store.state.intern_keys([("m.room.name", "k")])[("m.room.name", "k")]
        name: dict[str, Any] = {"type": "m.room.name", "state_key": "k"}
        store.events.add(sample_row(10, 100, key=key, content={"name": "old"}, **name))
        row = sample_row(11, 101, key=key, replaces=10, ordinals=[3, 4], content={"name": "n\0w"}, **name)
        store.events.add(row)
        store.events.add(sample_row(12, None, rejected="because", state_before=None))

        found = store.events.get("$event11")
        assert found.number == 11
        assert (found.room, found.position, found.anchor, found.rank, found.gap_before) == (1, 101, 101, 0, False)
        assert (found.type, found.state_key, found.sender) == ("m.room.name", "k", "@a:test.example")
        assert (found.depth, found.origin_server_ts) == (7, 1_700_000_000_000)
        assert (found.state_before, found.state_after, found.ordinals) == (1, None, [3, 4])
        assert found.client == row.client
        assert found.replaced_id == "$event10"
        assert found.replaced_client is not None
        assert '"old"' in found.replaced_client
        assert found.visible
        hidden = store.events.get("$event12")
        assert (hidden.rejected, hidden.position, hidden.visible) == ("because", None, False)
        assert store.events.find("$none") is None
        with pytest.raises(NotFound):
            store.events.get("$none")
        assert store.events.find_numbers(["$event10", "$none", "$event12"]) == {"$event10": 10, "$event12": 12}
        assert store.events.list_places(["$event10", "$event12"]) == {"$event10": (10, 1)}
        assert store.events.list_by_numbers([11, 999]).keys() == {11}
        assert store.events.list_by_ids(["$event11", "$x"]) == {"$event11": found}
        assert store.events.list_by_ids([]) == {}
        assert store.events.list_by_numbers([]) == {}
        assert store.events.find_numbers([]) == {}

    await house.database.write(work)


async def test_stored_events_come_from_the_cache(house: TestHouse) -> None:
    """An event is read from its row once, and equals the event that was written."""

    def write(store: Store) -> None:
        for number in (1, 2, 3):
            store.events.add(sample_row(number, number + 100))

    def read(store: Store) -> int:
        stored = store.events.list_stored(V12, ROOM_ID, [1, 2, 3, 9])
        assert {number: one.event for number, one in stored.items()} == {n: sample_event(n) for n in (1, 2, 3)}
        assert stored[2].prev == (1,)
        assert stored[2].auth == (1, 2)
        assert not stored[2].rejected
        before = store.statements
        store.events.list_stored(V12, ROOM_ID, [1, 2, 3])
        return store.statements - before

    await house.database.write(write)
    assert await house.database.read(read) == 0


async def test_redaction_is_for_good(house: TestHouse) -> None:
    """After a redaction neither rows nor caches hold the content, even if a reader with an old snapshot comes late."""

    def write(store: Store) -> None:
        store.events.add(sample_row(1, 101, content={"body": "secret", "msgtype": "m.text"}))

    def look(store: Store) -> object:
        return store.events.list_stored(V12, ROOM_ID, [1])[1].event.content.get("body")

    def take_away(store: Store) -> None:
        client, wire = split(redact(V12, sample_event(1).pdu))
        store.events.redact(1, "$redaction", client, wire)

    await house.database.write(write)
    old = await house.database.read(lambda store: store.events.list_stored(V12, ROOM_ID, [1])[1])
    assert await house.database.read(look) == "secret"
    await house.database.write(take_away)
    await house.database.read(lambda store: store.events.remember(old))

    assert await house.database.read(look) is None
    row = await house.database.read(lambda store: store.events.get("$event1"))
    assert row.redacted_by == "$redaction"
    parts = await house.database.read(lambda store: store.events.get_parts(1))
    assert "secret" not in row.client + "".join(parts)
