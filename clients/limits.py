"""How often clients may do what: the declared table of rate limits, and the one place that checks them.

The table is data; the arithmetic is `homeserver.domain.throttle`. An endpoint takes from the rows that it names, and
what is refused says which row it was (`io.parley.limit`) and when to come again. Limits stand in the memory of one
process. They do not bound sizes, and they do not protect from other servers (`federation`).
https://spec.matrix.org/v1.19/client-server-api/#rate-limiting
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from homeserver.domain.errors import LimitExceeded
from homeserver.domain.throttle import Throttle, Throttles

# What the subject of a row is: the network address of the caller, the user who calls, the account that somebody tries
# to enter, the user whom a call is about, or the room.
Scope = Literal["address", "user", "account", "target", "room"]


@dataclass(frozen=True, slots=True)
class Limit:
    """One row: `burst` at once, then `per_second`."""

    name: str
    scope: Scope
    per_second: float
    burst: int


# Wide enough that a person, or a bridge of a small room, never meets them; an office behind one address is one address.
LIMITS = (
    Limit("registration", "address", 0.2, 10),
    Limit("login_address", "address", 0.5, 20),
    # Taken by failures only: 432 guesses a day, and whoever knows the password is not locked out by success.
    Limit("login_failures", "account", 0.005, 10),
    # Mails and text messages cost money and go to people who may not have asked.
    Limit("validation_address", "address", 0.02, 10),
    Limit("validation_target", "target", 0.003, 5),
    Limit("messages", "user", 10, 50),
    Limit("joins", "user", 1, 30),
    # A room that this server is not in yet costs other servers work.
    Limit("joins_remote", "user", 0.1, 10),
    Limit("invites", "user", 1, 50),
    Limit("invites_room", "room", 2, 100),
    Limit("invites_target", "target", 0.05, 20),
    Limit("room_creation", "user", 0.1, 20),
    Limit("profile", "user", 0.5, 10),
    # Each wakes everybody who shares a small room with the user.
    Limit("presence", "user", 0.5, 10),
    # Each is read by a person.
    Limit("reports", "user", 0.05, 20),
    # A page of a space may look at thousands of rooms.
    Limit("hierarchy", "user", 2, 30),
    # Up to a tenth of a second of work each.
    Limit("search", "user", 1, 20),
    Limit("general", "user", 50, 300),
    Limit("general_address", "address", 100, 500),
)

# About 20 MB when full.
MAX_ENTRIES = 100_000


class Clock(Protocol):
    """Where the limits get the time from."""

    def now_ms(self) -> int:
        """Milliseconds since 1970."""


class Limits:
    """Checks the rows. `overrides` changes single rows, {name: {"per_second": ..., "burst": ...}}, or switches them
    off, {name: None}; `enabled=False` switches all of them off."""

    def __init__(
        self,
        clock: Clock,
        overrides: Mapping[str, Mapping[str, float] | None] | None = None,
        enabled: bool = True,
        max_entries: int = MAX_ENTRIES,
    ) -> None:
        self._clock = clock
        self._enabled = enabled
        self._rows = {limit.name: limit for limit in overridden(LIMITS, overrides or {})}
        self._throttles = {row.name: Throttle(row.per_second, row.burst) for row in self._rows.values()}
        self._table = Throttles(max_entries)

    def take(self, name: str, subject: str, cost: int = 1) -> None:
        """Take from the row; LimitExceeded if it is used up. A cost above the burst counts as the burst."""
        throttle = self._throttle(name)
        if throttle is not None:
            key = self._key(name, subject)
            taken = self._table.take(key, throttle, self._clock.now_ms(), min(cost, throttle.burst))
            if not taken.allowed:
                raise _exceeded(name, taken.retry_after_ms)

    def require(self, name: str, subject: str) -> None:
        """LimitExceeded if the row is used up; takes nothing. For rows that only failures take from."""
        throttle = self._throttle(name)
        if throttle is not None:
            wait = self._table.wait_ms(self._key(name, subject), throttle, self._clock.now_ms())
            if wait:
                raise _exceeded(name, wait)

    def forgive(self, name: str, subject: str) -> None:
        """Make the row as if `subject` had never taken from it: an admin's way out."""
        if name in self._rows:
            self._table.forget(self._key(name, subject))

    def _throttle(self, name: str) -> Throttle | None:
        if name not in NAMES:
            raise KeyError(f"no such limit: {name}")
        return self._throttles.get(name) if self._enabled else None

    def _key(self, name: str, subject: str) -> tuple[str, str]:
        return name, network_of(subject) if self._rows[name].scope == "address" else subject


NAMES = frozenset(limit.name for limit in LIMITS)


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
    if not per_second > 0 or burst < 1 or burst != int(burst):
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


def _exceeded(name: str, retry_after_ms: int) -> LimitExceeded:
    return LimitExceeded(f"Too many requests ({name})", retry_after_ms, name)
