"""How often clients may do what: the declared table of rate limits, and the one place that checks them.

The table is data; the arithmetic is `homeserver.domain.throttle`. An endpoint takes from the rows that it names, and
what is refused says which row it was (`io.parley.limit`) and when to come again. Limits stand in the memory of one
process. They do not bound sizes, and they do not protect from other servers (`federation`).

Rows of a room or of a target are only held while the request runs, and taken when it has done what it was to do:
whoever may not do it anyway uses up nobody's. A request that one row refuses takes from none.
https://spec.matrix.org/v1.19/client-server-api/#rate-limiting
"""

import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self

from homeserver.domain.errors import LimitExceeded
from homeserver.domain.throttle import Throttle, Throttles

# What the subject of a row is: the network address of the caller, the user who calls, the account that somebody tries
# to enter, the user whom a call is about, or the room.
Scope = Literal["address", "user", "account", "target", "room"]
# Those whose subject is a user.
USER_SCOPES = ("user", "account", "target")


@dataclass(frozen=True, slots=True)
class Limit:
    """One row: `burst` at once, then `per_second`."""

    name: str
    scope: Scope
    per_second: float
    burst: int


# Wide enough that a person, a bot that obeys `retry_after_ms`, or a bridge of a small room hardly ever meets them; an
# office behind one address is one address. docs/reference/limits.md says what each is for.
LIMITS = (
    Limit("registration", "address", 0.2, 10),
    # Whatever a guest does beside reading: an account of theirs costs nothing.
    Limit("guests", "user", 0.5, 10),
    # Interfaces ask at every pause of whoever types a name.
    Limit("registration_names", "address", 1, 30),
    Limit("login_address", "address", 0.5, 20),
    # Taken by failures only: 432 guesses a day, and whoever knows the password is not locked out by success.
    Limit("login_failures", "account", 0.005, 10),
    Limit("messages", "user", 10, 50),
    # What many may say in one room together: every member's client has to take it.
    Limit("messages_room", "room", 30, 300),
    # Not of the room, as redactions: who clears up a flood must not be stopped by it.
    Limit("state", "user", 5, 100),
    Limit("moderation", "user", 10, 200),
    # Each wakes everybody in the room, and costs the database nothing or little.
    Limit("typing", "user", 5, 60),
    # "Mark all as read" is one for each room.
    Limit("receipts", "user", 10, 200),
    Limit("joins", "user", 1, 30),
    # A room that this server is not in yet costs other servers work.
    Limit("joins_remote", "user", 0.1, 10),
    # Each is read by a person.
    Limit("knocks", "user", 0.2, 10),
    Limit("leaves", "user", 5, 200),
    Limit("invites", "user", 1, 50),
    Limit("invites_room", "room", 2, 100),
    Limit("invites_target", "target", 0.05, 20),
    Limit("room_creation", "user", 0.1, 20),
    # Names are scarce.
    Limit("aliases", "user", 1, 50),
    Limit("profile", "user", 0.5, 10),
    # Each wakes everybody who shares a small room with the user.
    Limit("presence", "user", 0.5, 10),
    # Each is read by a person.
    Limit("reports", "user", 0.05, 20),
    # What is written here stays: clients may write much when they start, and then little.
    Limit("account_data", "user", 10, 200),
    Limit("filters", "user", 5, 100),
    Limit("push_rules", "user", 2, 50),
    # Pages, each of up to hundreds of events.
    Limit("history", "user", 20, 200),
    # May be asked of other servers.
    Limit("timestamps", "user", 1, 30),
    # A page of a space may look at thousands of rooms.
    Limit("hierarchy", "user", 2, 30),
    Limit("mutual_rooms", "user", 1, 30),
    # Up to a tenth of a second of work each.
    Limit("search", "user", 1, 20),
    # Each is a key to somebody's bandwidth for a while.
    Limit("turn_server", "user", 0.5, 20),
    Limit("general", "user", 50, 300),
    Limit("general_address", "address", 100, 500),
)
# In the limits of single users: every row that counts by user.
EVERY = "*"

# Of each row: at most 5 MB when full.
MAX_ENTRIES = 20_000


class Clock(Protocol):
    """Where the limits get the time from."""

    def now_ms(self) -> int:
        """Milliseconds since 1970."""


class UserLimits(Protocol):
    """Who has limits of their own."""

    def of(self, user_id: str) -> Mapping[str, Throttles | None] | None:
        """By row, or `EVERY`; None as a value: no limit. None for nearly everybody."""
        ...


class Limits:
    """Checks the rows. `overrides` changes single rows, {name: {"per_second": ..., "burst": ...}}, or switches them
    off, {name: None}; `enabled=False` switches all of them off. `users` are those with limits of their own."""

    def __init__(
        self,
        clock: Clock,
        overrides: Mapping[str, Mapping[str, float] | None] | None = None,
        enabled: bool = True,
        users: UserLimits | None = None,
        max_entries: int = MAX_ENTRIES,
    ) -> None:
        self._clock = clock
        self._enabled = enabled
        self._users = users
        self._tables = {
            row.name: Throttles(Throttle(row.per_second, row.burst), max_entries)
            for row in overridden(LIMITS, overrides or {})
        }

    def take(self, name: str, subject: str, cost: int = 1) -> None:
        """Take from the row; LimitExceeded if it is used up. A cost above the burst counts as the burst."""
        table = self._table(name, subject)
        if table is not None:
            taken = table.take(_key(name, subject), self._clock.now_ms(), min(cost, table.throttle.burst))
            if not taken.allowed:
                raise _exceeded(name, taken.retry_after_ms)

    def hold(self, name: str, subject: str, cost: int = 1) -> "Hold":
        """Set aside while a `with` block runs, and given back at its end unless `spend` was called in it. Raises as
        `take`."""
        return Hold(*self._hold(name, subject, cost))

    def taking(self, name: str, subject: str) -> "Taking":
        """As `take`, for a `with` block: given back if another row refuses in it."""
        return Taking(*self._hold(name, subject, 1))

    def _hold(self, name: str, subject: str, cost: int) -> tuple[Clock, Throttles | None, str, int]:
        table, key = self._table(name, subject), _key(name, subject)
        if table is not None:
            cost = min(cost, table.throttle.burst)
            taken = table.hold(key, self._clock.now_ms(), cost)
            if not taken.allowed:
                raise _exceeded(name, taken.retry_after_ms)
        return self._clock, table, key, cost

    def _table(self, name: str, subject: str) -> Throttles | None:
        """Where the row of this subject is counted; None if it is not."""
        scope = SCOPES.get(name)
        if scope is None:
            raise KeyError(f"no such limit: {name}")
        if not self._enabled:
            return None
        if self._users is not None and scope in USER_SCOPES:
            own = self._users.of(subject)
            if own is not None:
                if name in own:
                    return own[name]
                if scope == "user" and EVERY in own:
                    return own[EVERY]
        return self._tables.get(name)


class Hold:
    """Of a row, set aside as long as a `with` block runs."""

    __slots__ = ("_clock", "_cost", "_key", "_table")

    def __init__(self, clock: Clock, table: Throttles | None, key: str, cost: int) -> None:
        self._clock = clock
        self._table = table
        self._key = key
        self._cost = cost

    def __enter__(self) -> Self:
        return self

    def spend(self) -> None:
        """It is not given back."""
        if self._table is not None:
            self._table.spend(self._key, self._clock.now_ms(), self._cost)
            self._table = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._table is not None:
            self._table.release(self._key, self._cost)
            self._table = None


class Taking(Hold):
    """Spent at the end of the block, unless that is a LimitExceeded."""

    __slots__ = ()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, LimitExceeded):
            self.spend()
        super().__exit__(kind, error, trace)


SCOPES: Mapping[str, Scope] = {limit.name: limit.scope for limit in LIMITS}


def overridden(limits: tuple[Limit, ...], overrides: Mapping[str, Mapping[str, float] | None]) -> tuple[Limit, ...]:
    """The table with some rows changed or left out; ValueError if an override names no row or makes no sense."""
    unknown = overrides.keys() - {limit.name for limit in limits}
    if unknown:
        raise ValueError(f"no such limits: {', '.join(sorted(unknown))}")
    changed = (_overridden_row(limit, overrides[limit.name]) if limit.name in overrides else limit for limit in limits)
    return tuple(limit for limit in changed if limit is not None)


def _overridden_row(limit: Limit, override: Mapping[str, float] | None) -> Limit | None:
    if override is None:
        return None
    unknown = override.keys() - {"per_second", "burst"}
    if unknown:
        raise ValueError(f"limit {limit.name} has no {', '.join(sorted(unknown))}")
    per_second, burst = override.get("per_second", limit.per_second), override.get("burst", limit.burst)
    if not (0 < per_second < math.inf and 1 <= burst < math.inf and burst == int(burst)):
        raise ValueError(f"limit {limit.name}: per_second must be above 0 and burst a whole number from 1")
    return Limit(limit.name, limit.scope, per_second, int(burst))


def network_of(address: str) -> str:
    """What counts as one caller: an IPv4 address, or the /64 of an IPv6 address, which one customer owns whole."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed), 64), strict=False))


def _key(name: str, subject: str) -> str:
    return network_of(subject) if SCOPES[name] == "address" else subject


def _exceeded(name: str, retry_after_ms: int) -> LimitExceeded:
    return LimitExceeded(f"Too many requests ({name})", retry_after_ms, name)
