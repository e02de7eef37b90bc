"""Presence as values and arithmetic: what a user is, out of what the user's devices say and what the user does.

A device says what it wants its user to be, by syncing (`set_presence`) or by setting it, and is here as long as it
syncs. The user is what the most present device here wants: online, but unavailable after five minutes without doing
anything, and offline once no device is here. Of users of other servers we are told the outcome. Who is told of all this
is no business of this module.

https://spec.matrix.org/v1.19/client-server-api/#presence
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from homeserver.domain.errors import BadRequest
from homeserver.domain.identifiers import fits

ONLINE, UNAVAILABLE, OFFLINE = "online", "unavailable", "offline"
PRESENCES = (ONLINE, UNAVAILABLE, OFFLINE)
# "If their last active time was over a threshold value (e.g. 5 minutes)."
IDLE_MS = 300_000
# So long after its last sync a device is still here.
ABSENT_MS = 30_000
# So long after a restart whoever was here before it still is: many come back together, and that takes its time.
RETURN_MS = 90_000
# Users of other servers of whom nothing was heard for so long are offline. Their servers tell again in time.
SILENT_MS = 30 * 60_000
MAX_STATUS_BYTES = 1_024


@dataclass(frozen=True, slots=True)
class PresenceState:
    """What others are told of a user. When the user was last active is told with it, but changes all the time."""

    presence: str = OFFLINE
    currently_active: bool = False
    status_msg: str | None = None


# Of whom nothing is known.
NOBODY = PresenceState()


def content_of(presence: PresenceState, last_active: int, now: int) -> dict[str, Any]:
    """The content of an m.presence event. `last_active`: ms, 0 if that is not known."""
    content: dict[str, Any] = {"presence": presence.presence, "currently_active": presence.currently_active}
    if last_active:
        content["last_active_ago"] = max(0, now - last_active)
    if presence.status_msg is not None:
        content["status_msg"] = presence.status_msg
    return content


@dataclass(frozen=True, slots=True)
class Hearsay:
    """A user of another server, as that one told it at `heard` (ms)."""

    presence: PresenceState
    last_active: int
    heard: int

    def at(self, now: int) -> PresenceState:
        return self.presence if now - self.heard < SILENT_MS else NOBODY

    def look_again(self, now: int) -> int | None:
        """When the presence may have become another one by itself; None: never."""
        return None if self.at(now).presence == OFFLINE else self.heard + SILENT_MS


def read_update(update: Mapping[str, Any], now: int) -> Hearsay:
    """What another server says of its user, an entry of `push` of m.presence. Raises BadRequest.

    A status that we cannot keep is left out, as it takes nothing from the rest.
    """
    presence, ago, active = update.get("presence"), update.get("last_active_ago"), update.get("currently_active")
    if presence not in PRESENCES:
        raise BadRequest("presence is none of those that there are")
    status = update.get("status_msg")
    if not isinstance(status, str) or not fits(status, MAX_STATUS_BYTES):
        status = None
    known = isinstance(ago, int) and not isinstance(ago, bool) and 0 <= ago < now
    last_active = now - ago if known and isinstance(ago, int) else 0
    return Hearsay(PresenceState(presence, active is True and presence == ONLINE, status), last_active, now)


@dataclass(slots=True)
class Device:
    """`wish`: what it wants its user to be. `asked`: what its syncs ask for; None: it has not synced. `polls`: how many
    of them are under way; `seen`: when the last one ended, in ms."""

    wish: str
    asked: str | None
    polls: int
    seen: int

    def is_here(self, now: int) -> bool:
        return self.polls > 0 or now - self.seen < ABSENT_MS

    def goes_on(self, asked: str, now: int) -> bool:
        """A sync begins that changes nothing: it asks for what the one before did, and nobody has thought of the user
        as gone. False: it must be connected."""
        if self.asked != asked or self.wish == OFFLINE or not self.is_here(now):
            return False
        self.polls += 1
        return True


class Devices:
    """A user of ours, by the devices that are here. `last_active`: ms, 0: never."""

    __slots__ = ("_devices", "last_active", "news", "status_msg")

    def __init__(self, last_active: int = 0, status_msg: str | None = None) -> None:
        self.last_active = last_active
        self.status_msg = status_msg
        # A sync has changed something since this was last set to False.
        self.news = False
        self._devices: dict[str, Device] = {}

    def connect(self, device_id: str, asked: str, now: int) -> Device | None:
        """A sync begins. Give what it returns to `disconnect`.

        What a device asks for counts when it is new: a client that polls again and again does not undo what it has set
        itself, and is not active by polling. One that asks for `offline` changes nothing; what it has set itself holds
        as long as it syncs.
        """
        device = self._devices.get(device_id)
        if device is not None and not device.is_here(now):
            device = None
        if asked == OFFLINE:
            if device is None or device.asked is not None:
                return None
        else:
            if device is None:
                device = self._devices[device_id] = Device(OFFLINE, None, 0, now)
            if device.asked != asked:
                device.asked = device.wish = asked
                self.news = True
                if asked == ONLINE:
                    self.last_active = now
        device.polls += 1
        return device

    @staticmethod
    def disconnect(device: Device, now: int) -> None:
        """A sync ended."""
        device.polls -= 1
        device.seen = now

    def declare(self, device_id: str, wish: str, now: int) -> None:
        """The user sets it on a device. "The activity time is updated to reflect that activity"."""
        device = self._devices.get(device_id)
        if device is None or not device.is_here(now):
            device = self._devices[device_id] = Device(wish, None, 0, now)
        device.wish, device.seen = wish, now
        self.last_active = now

    def restore(self, wish: str, now: int) -> None:
        """Before a restart some device wanted this. It has some time to come back; what the user did last is not known,
        and need not be until then."""
        self._devices[""] = Device(wish, None, 0, now + RETURN_MS - ABSENT_MS)
        self.last_active = max(self.last_active, now)

    def act(self, now: int) -> None:
        """The user did something: "any activity ... on any of the user's clients will cause the server to automatically
        set their presence to online", unless they want to be offline."""
        if self._best(now) != OFFLINE:
            self.last_active = max(self.last_active, now)
            for device in self._devices.values():
                if device.wish == UNAVAILABLE:
                    device.wish = ONLINE

    def at(self, now: int) -> PresenceState:
        """What others are to be told."""
        best = self._best(now)
        if best == ONLINE and now - self.last_active >= IDLE_MS:
            best = UNAVAILABLE
        # "The server will not send further updates to the last active time" while it is true: as long as somebody is
        # online, for whoever is not active for a while is unavailable.
        return PresenceState(best, best == ONLINE, self.status_msg)

    def _best(self, now: int) -> str:
        """Forgets the devices that are no longer here."""
        best = OFFLINE
        for device_id, device in list(self._devices.items()):
            if not device.is_here(now):
                del self._devices[device_id]
            elif device.wish == ONLINE:
                best = ONLINE
            elif device.wish == UNAVAILABLE and best == OFFLINE:
                best = UNAVAILABLE
        return best

    def look_again(self, now: int) -> int | None:
        """When the presence may have become another one by itself; None: never, as no device is here."""
        if not self._devices:
            return None
        times = [now + ABSENT_MS if device.polls else device.seen + ABSENT_MS for device in self._devices.values()]
        idle = self.last_active + IDLE_MS
        return max(now + 1, min([*times, idle] if idle > now else times))
