"""What an event did to a room: handed to the projections."""

from dataclasses import dataclass, field

from homeserver.domain.event import StateKey
from homeserver.storage.events import StoredEvent
from homeserver.streams.publications import Notice


@dataclass(frozen=True, slots=True)
class StateChange:
    """The room's state at `key` changed. None: nothing stood, or stands, there."""

    key: StateKey
    number: int  # of the key
    before: StoredEvent | None
    after: StoredEvent | None


@dataclass(slots=True)
class Appended:
    """An event that was accepted, at its position, with the changes of the current state that came with it.

    Projections that run before the row is written add what the row holds.
    """

    stored: StoredEvent
    position: int
    changes: list[StateChange]
    # Was it appended where the room ended? Then everybody who is joined may see it.
    linear: bool
    thread_id: str | None = None
    classes: dict[str, Notice] = field(default_factory=dict)
    named: dict[str, Notice] = field(default_factory=dict)
    joined: int = 0
    invited: int = 0
    # The redacted form of the event that it redacted: (event id, `client`).
    redacted: tuple[str, str] | None = None
