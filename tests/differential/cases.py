"""A generated room and the questions that are asked about it: the form both sides read.

One room is one line of JSON to the oracle. Events are named by their place in the room, so that a disagreement about
an event id does not spoil the rest. A case is one judgement or one resolution; what is asked of every event (id,
hashes, redaction, signature, auth-event selection, the rules about its auth events) comes with its first judgement.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from homeserver.domain.event import Event, StateMap
from homeserver.domain.versions import RoomVersion


@dataclass(frozen=True, slots=True)
class Judgement:
    """May `event` be sent into a room whose state is `state`? Both are ids."""

    event: str
    state: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Room:
    """A room: its events in the order in which they were made, and what is asked."""

    version: RoomVersion
    seed: str
    room_id: str
    create: str
    events: Mapping[str, Event]
    rejected: frozenset[str]
    judgements: tuple[Judgement, ...]
    resolutions: tuple[tuple[StateMap, ...], ...]

    @property
    def cases(self) -> int:
        return len(self.judgements) + len(self.resolutions)

    def wire(self) -> dict[str, Any]:
        """The room as the oracle reads it."""
        place = {event_id: index for index, event_id in enumerate(self.events)}
        return {
            "version": self.version.identifier,
            "room_id": self.room_id,
            "events": [
                {"id": event_id, "pdu": event.pdu, "rejected": event_id in self.rejected}
                for event_id, event in self.events.items()
            ],
            "judgements": [[place[case.event], [place[id_] for id_ in case.state]] for case in self.judgements],
            "resolutions": [[[place[id_] for id_ in fork.values()] for fork in forks] for forks in self.resolutions],
        }
