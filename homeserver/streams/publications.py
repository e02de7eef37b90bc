"""What is published after a commit: frozen values that followers and live syncs read instead of the tables.

A publication has a position of the one counter, the keys that it touches, and an item: what happened. What depends on
who looks (transaction ids, counts, ignored senders) is not in the item; it is added to a copy when an answer is made.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from homeserver.domain.event import StateKey


@dataclass(frozen=True, slots=True)
class Notice:
    """What push rules said of an event for somebody: does it count as a notification, and as a highlight?"""

    notify: bool
    highlight: bool


SILENT = Notice(False, False)


@dataclass(frozen=True, slots=True)
class Summary:
    """`heroes`: the first members, joined or invited, one more than a viewer needs (who is not a hero to themself)."""

    joined: int
    invited: int
    heroes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EventItem:
    """An event entered a room's timeline.

    `client` is the event's JSON for clients without its outer braces and without `unsigned`; `unsigned` the members of
    `unsigned` that all viewers share, as JSON without braces, possibly empty.
    """

    room: int
    room_id: str
    number: int
    event_id: str
    sender: str
    type: str
    state_key: str | None
    membership: str | None  # of an m.room.member event
    origin_server_ts: int
    client: str
    unsigned: str
    # The device and transaction that sent it, for the echo.
    device_id: str | None
    txn_id: str | None
    # Push rules: by class of rule sets, and for the users whom the event names.
    classes: Mapping[str, Notice]
    named: Mapping[str, Notice]
    thread_root: str | None
    relates: bool
    # True: whoever is joined may see it. False: history visibility must be asked of the tables.
    for_all_joined: bool
    # True if the event is now the room's state at its key.
    is_current: bool
    # The timeline of whoever receives this starts here: what came before is missing.
    gap_before: bool
    # Set if the members or the name of the room changed.
    summary: Summary | None
    # The event whose content it took away, and what is left of that one: (event id, `client`).
    redacted: tuple[str, str] | None = None
    # The state event whose place it took: `unsigned` holds its content.
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class StateItem:
    """The room's state changed at some keys without a new event there (a merge, a completed join)."""

    room: int
    room_id: str
    keys: tuple[StateKey, ...] = ()


@dataclass(frozen=True, slots=True)
class TypingItem:
    room: int
    room_id: str
    user_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReceiptItem:
    room: int
    room_id: str
    user_id: str
    receipt_type: str
    thread_id: str | None
    event_id: str
    ts: int


@dataclass(frozen=True, slots=True)
class PresenceItem:
    """What is told of a user's presence from now on, and in which rooms (by number)."""

    user_id: str
    presence: str
    currently_active: bool
    status_msg: str | None
    rooms: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AccountDataItem:
    """A user's global account data (`room` is None) or that of a room changed; `content` is JSON, None when deleted."""

    user_id: str
    room: int | None
    type: str
    content: str | None


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """These access tokens (by hash) are no longer good. `replaced`: their device goes on with another one."""

    token_hashes: tuple[bytes, ...]
    replaced: bool = False


Item = EventItem | StateItem | TypingItem | ReceiptItem | PresenceItem | AccountDataItem | SessionEnded


@dataclass(frozen=True, slots=True)
class Publication:
    position: int
    keys: tuple[str, ...]
    item: Item = field(repr=False)
