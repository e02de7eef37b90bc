"""The answer of a sync, its parts already JSON, and how they are put together.

Every assembler (from the tables, from a live View) makes these; what is the same for all viewers is text already.
https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from homeserver.services.client_form import quote
from homeserver.services.sync.counts import Counts, RoomCounts
from homeserver.services.sync.pages import timeline_member


@dataclass(slots=True)
class RoomAnswer:
    """A joined or left room. Events are JSON texts. `by_thread`: the counts of threads are told apart.

    `members` is no part of it: of whom a lazy client knows the member event once it has this answer.
    """

    timeline: Sequence[str] = ()
    limited: bool = False
    prev_batch: str = ""
    state: Sequence[str] = ()
    ephemeral: Sequence[str] = ()
    account_data: Sequence[str] = ()
    counts: RoomCounts | None = None
    by_thread: bool = False
    summary: str | None = None
    members: Collection[str] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.timeline or self.limited or self.state or self.ephemeral or self.account_data or self.summary)


@dataclass(slots=True)
class SyncAnswer:
    """`invited` and `knocked` hold the events of their stripped state."""

    next_batch: str
    joined: dict[str, RoomAnswer] = field(default_factory=dict)
    left: dict[str, RoomAnswer] = field(default_factory=dict)
    invited: dict[str, Sequence[str]] = field(default_factory=dict)
    knocked: dict[str, Sequence[str]] = field(default_factory=dict)
    account_data: Sequence[str] = ()
    presence: Sequence[str] = ()

    @property
    def is_empty(self) -> bool:
        rooms = self.joined or self.left or self.invited or self.knocked
        return not (rooms or self.account_data or self.presence)


# How every answer ends.
END = '"device_one_time_keys_count":{},"device_unused_fallback_key_types":[]}'


def render(answer: SyncAnswer, state_key: str = "state") -> bytes:
    """`state_key`: under which name the state goes, "state" or "state_after"."""
    rooms: list[str] = []
    if answer.joined:
        rooms.append(f'"join":{{{room_members(answer.joined, state_key, joined=True)}}}')
    if answer.left:
        rooms.append(f'"leave":{{{room_members(answer.left, state_key, joined=False)}}}')
    if answer.invited:
        rooms.append(f'"invite":{{{stripped_members(answer.invited, "invite_state")}}}')
    if answer.knocked:
        rooms.append(f'"knock":{{{stripped_members(answer.knocked, "knock_state")}}}')
    told = f',"rooms":{{{",".join(rooms)}}}' if rooms else ""
    return f"{opening(answer)}{told},{END}".encode()


def opening(answer: SyncAnswer) -> str:
    """The answer's beginning: everything but its rooms and its end."""
    parts = [f'{{"next_batch":"{answer.next_batch}"']
    if answer.account_data:
        parts.append(f'"account_data":{{"events":[{",".join(answer.account_data)}]}}')
    if answer.presence:
        parts.append(f'"presence":{{"events":[{",".join(answer.presence)}]}}')
    return ",".join(parts)


def room_members(rooms: Mapping[str, RoomAnswer], state_key: str, *, joined: bool) -> str:
    """The members of an object of rooms, as JSON without braces."""
    return ",".join(f"{quote(room_id)}:{{{_room(room, state_key, joined)}}}" for room_id, room in rooms.items())


def render_one(next_batch: str, room: str, counts: RoomCounts, by_thread: bool) -> bytes:
    """An answer with nothing but new messages in a joined room. `room`: its members but for the counts and the summary,
    as `joined_room` writes them, behind its name."""
    rooms = f'"rooms":{{"join":{{{room},{_unread(counts, by_thread)},"summary":{{}}}}}}}}'
    return f'{{"next_batch":"{next_batch}",{rooms},{END}'.encode()


def joined_room(room_id: str, timeline: str, state_key: str) -> str:
    """A room of which nothing but messages is told, up to its unread counts."""
    nothing = f'"{state_key}":{{"events":[]}},"account_data":{{"events":[]}},"ephemeral":{{"events":[]}}'
    return f"{quote(room_id)}:{{{timeline},{nothing}"


def _room(room: RoomAnswer, state_key: str, joined: bool) -> str:
    parts = [
        timeline_member(",".join(room.timeline), room.limited, room.prev_batch),
        f'"{state_key}":{{"events":[{",".join(room.state)}]}}',
        f'"account_data":{{"events":[{",".join(room.account_data)}]}}',
    ]
    if joined:
        parts.append(f'"ephemeral":{{"events":[{",".join(room.ephemeral)}]}}')
        parts.append(_unread(room.counts or RoomCounts(), room.by_thread))
        parts.append(f'"summary":{room.summary or "{}"}')
    return ",".join(parts)


def _unread(counts: RoomCounts, by_thread: bool) -> str:
    room = f'"unread_notifications":{_counts(counts.main if by_thread else counts.total)}'
    if not by_thread or not counts.threads:
        return room
    threads = ",".join(f"{quote(root)}:{_counts(unread)}" for root, unread in counts.threads.items())
    return f'{room},"unread_thread_notifications":{{{threads}}}'


def _counts(counts: Counts) -> str:
    return f'{{"notification_count":{counts[0]},"highlight_count":{counts[1]}}}'


def stripped_members(rooms: Mapping[str, Sequence[str]], name: str) -> str:
    """As `room_members`, of invited or knocked rooms; `name`: of their stripped state."""
    return ",".join(
        f'{quote(room_id)}:{{"{name}":{{"events":[{",".join(events)}]}}}}' for room_id, events in rooms.items()
    )
