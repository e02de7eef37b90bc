"""What is known of a live client, so that its sync can be answered from memory.

A View belongs to a device and a filter. It stands at the last token that the client acknowledged, knows what it needs
to know about the viewer as of then (the joined rooms, ignored users, classes of push rules, unread counts), and is
advanced only by publications, in order.

Not here: what the publications since then amount to (`delta`), and where Views are kept (`views`).
"""

from asyncio import TimerHandle
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from homeserver.services.sync.counts import RoomCounts
from homeserver.services.sync.request import SyncRequest
from homeserver.streams.keys import device_key, room_key, user_key
from homeserver.streams.notifier import Watcher

# As which thread a receipt names the main timeline.
MAIN = "main"


@dataclass(frozen=True, slots=True)
class Viewpoint:
    """What a View is built from: read from the tables at once. `classes`: (room or 0, position, class).

    `room_keys`: under which something may be published of the joined rooms.
    """

    joined: dict[int, str]
    ignored: frozenset[str]
    classes: Sequence[tuple[int, int, str]]
    # The position of the newest membership in it: as of an earlier one, it says too much.
    newest: int
    room_keys: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "room_keys", frozenset(map(room_key, self.joined)))


@dataclass(slots=True)
class View:
    """`position`: the last acknowledged token; `pending`: that of the answer given last, not yet acknowledged."""

    request: SyncRequest
    position: int
    viewpoint: Viewpoint
    watcher: Watcher = field(default_factory=Watcher)
    pending: int | None = None
    # The token of the answer given last.
    last_token: str = ""
    # Unread counts of rooms, as of `counted_to`; missing: to be read from the tables.
    counts: dict[int, RoomCounts] = field(default_factory=dict)
    counted_to: int = 0
    # The newest event of a room, by (room, ""), and of its main timeline, by (room, MAIN).
    last_events: dict[tuple[int, str], str] = field(default_factory=dict)
    # The dirty keys whose publications the pending answer tells.
    told: set[str] = field(default_factory=set)
    # Of a lazy client, by room id: whose member events it holds, and those that the pending answer brings it.
    known: dict[str, set[str]] = field(default_factory=dict)
    telling: dict[str, Collection[str]] = field(default_factory=dict)
    # A request is being answered with it: another one at the same time gets a View of its own.
    busy: bool = True
    # It was dropped: whoever waits on it is answered at once.
    ended: bool = False
    # When it was given back last, and when it was put at the end of the line of those that may be dropped.
    used_at: float = 0.0
    queued_at: float = 0.0
    answers: int = 0
    # Up to where it was looked last.
    looked_to: int = 0
    # Of a request that waits without a task: what to call when its time is up, and when that is looked at.
    on_time: Callable[[], None] | None = None
    timer: TimerHandle | None = None
    timer_at: float = 0.0
    # Nothing but whole rooms are asked for: narrow filters are left to the tables.
    is_wide: bool = field(init=False)
    # What all are told of new messages, it may be told as well: nothing is left out for it, or put in.
    takes_pages: bool = field(init=False)
    # It can be found by the next request.
    is_kept: bool = False
    # Its weight when that was last taken into account.
    weighed: int = 0

    def __post_init__(self) -> None:
        self.is_wide = answers_from_memory(self.request)
        self.takes_pages = self.is_wide and not self.request.lazy_members

    def keys(self) -> list[str]:
        """What its watcher watches."""
        return keys_of(self.request, self.viewpoint)

    def weight(self) -> int:
        """Bytes of memory, roughly."""
        members = sum(len(users) for users in self.known.values())
        threads = sum(len(counts.threads) for counts in self.counts.values())
        return 1_500 + 400 * len(self.viewpoint.joined) + 250 * (len(self.counts) + threads) + 100 * members

    def ring(self) -> None:
        """The timer."""
        self.timer = None
        if self.on_time is not None:
            self.on_time()

    def goes_on(self, token: str) -> bool:
        """The client holds the token of the answer given last. False if it holds another one, good or not."""
        return token == self.last_token and self.acknowledge(self.position if self.pending is None else self.pending)

    def acknowledge(self, position: int) -> bool:
        """The client holds the token `position`. False if that is none of this View's: it must be dropped."""
        if position == self.pending:
            self.position, self.pending = position, None
            for room_id, members in self.telling.items():
                self.known.setdefault(room_id, set()).update(members)
            self.telling = {}
            self.told = set()
        elif self.told:
            # It did not get the answer, and shall have the same again.
            self.watcher.dirty |= self.told
            self.told = set()
        return position == self.position


def keys_of(request: SyncRequest, viewpoint: Viewpoint) -> list[str]:
    """The keys under which anything for this device is published; its own two come first."""
    return [user_key(request.user_id), device_key(request.user_id, request.device_id), *viewpoint.room_keys]


def answers_from_memory(request: SyncRequest) -> bool:
    """Whether a View can serve such requests at all."""
    rooms = request.filter.room
    return (
        request.filter.event_fields is None
        and request.filter.event_format == "client"
        and request.filter.account_data.is_everything
        and rooms.rooms is None
        and rooms.not_rooms is None
        and rooms.timeline.is_everything
        and rooms.state.is_everything
        and rooms.ephemeral.is_everything
        and rooms.account_data.is_everything
        and not (request.lazy_members and rooms.state.include_redundant_members)
    )
