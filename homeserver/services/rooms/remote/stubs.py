"""The row of a room that we are not in: something of it is known, an invite or events that others cite."""

from dataclasses import replace

from homeserver.domain.errors import RemoteError
from homeserver.domain.versions import RoomVersion
from homeserver.services.push.rule_book import DEFAULT_CLASS
from homeserver.storage.rooms import RoomRow
from homeserver.storage.store import Store


def find_or_add_room(store: Store, version: RoomVersion, room_id: str, now_ms: int) -> RoomRow:
    """The room's row, locked. Raises RemoteError if its state is known, with another version.

    Without a state what is known of the version is hearsay: an invite of the first kind does not tell it.
    """
    if store.rooms.find(room_id) is None:
        store.rooms.add_if_absent(
            RoomRow(
                number=store.take_number(), room_id=room_id, version=version.identifier, extremities=[],
                extremity_ids=[], depth=0, state_group=0, state_version=0, state_generation=0, state_complete=True,
                joined=0, invited=0, open_history=True, published=False, last_anchor=0, classes=[DEFAULT_CLASS],
                ordinals=[0],
            ),
            now_ms,
        )  # fmt: skip
    row = store.rooms.lock(room_id)
    if row.version != version.identifier and not row.state_group:
        store.rooms.set_version(row.number, version.identifier)
        return replace(row, version=version.identifier)
    if row.version != version.identifier:
        raise RemoteError(f"The room {room_id} has version {row.version}, not {version.identifier}")
    return row
