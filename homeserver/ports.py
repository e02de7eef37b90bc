"""What the house needs from outside, as the narrowest Protocols; `config` plugs the real ones in.

Not here: anything that the house can compute, and anything that nobody asks for yet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from homeserver.domain.event import Event


class Clock(Protocol):
    """Wall-clock time. Durations are measured on the event loop's own clock."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        ...


class Randomness(Protocol):
    """Unpredictable values, good enough for secrets."""

    def token(self, length: int) -> str:
        """`length` characters, each of A-Z, a-z, 0-9, fit for a path, a header and an identifier."""
        ...

    def bytes(self, length: int) -> bytes:
        """`length` octets."""
        ...


@dataclass(frozen=True, slots=True)
class PasswordCheck:
    """`outdated`: the password is correct, and its hash should be made anew, at today's cost."""

    correct: bool
    outdated: bool = False


class PasswordHashing(Protocol):
    """Slow on purpose, and away from the loop. Both raise LimitExceeded if too many wait already."""

    async def hash(self, password: str) -> str:
        """A hash with everything that `check` needs to know, as text."""
        ...

    async def check(self, password: str, password_hash: str | None) -> PasswordCheck:
        """Takes as long without a hash (never correct) as with one."""
        ...


@dataclass(frozen=True, slots=True)
class RemoteSpace:
    """A room as another server tells it: a RoomSummary with `children_state`; of its children the same, by room id,
    as far as that server knows them; and those that it knows and does not show to this server."""

    room: Mapping[str, Any]
    children: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    inaccessible: frozenset[str] = frozenset()


class RemoteDirectory(Protocol):
    """What other servers say of rooms. Answers are bounded and have the shapes of the spec; they may be some minutes
    old. All raise RemoteError if nobody gave an answer."""

    async def resolve_alias(self, alias: str) -> tuple[str, Sequence[str]] | None:
        """The room id and the servers that know the room; None if the alias leads nowhere."""
        ...

    async def public_rooms(self, server: str, query: Mapping[str, Any]) -> Mapping[str, Any]:
        """A page of that server's directory. `query` is the body of POST /publicRooms."""
        ...

    async def space(self, room_id: str, via: Sequence[str], *, suggested_only: bool) -> RemoteSpace | None:
        """A room, asked of the servers `via`, one after the other; None if they do not show it."""
        ...


class RemoteProfiles(Protocol):
    """The people of other servers. Raises RemoteError if theirs does not answer."""

    async def profile(self, user_id: str, key: str | None) -> Mapping[str, Any] | None:
        """All fields of the profile, or the one named; None if there is no such user, or it is not told."""
        ...


class RemoteRooms(Protocol):
    """Memberships of our users in rooms that we are not in, and of others in ours.

    All raise Forbidden, NotFound or BadRequest with what the other server said, or RemoteError if nobody answered.
    `servers` are those that were named; further ones may be known from an invite or the room id.
    """

    async def join(
        self,
        user_id: str,
        room_id: str,
        servers: Sequence[str],
        content: Mapping[str, Any],
        *,
        although_resident: bool = False,
    ) -> bool:
        """False if nothing was done, because we are in the room by now. `although_resident`: do it all the same, as
        another server has to let the user in."""
        ...

    async def knock(self, user_id: str, room_id: str, servers: Sequence[str], content: Mapping[str, Any]) -> None: ...

    async def leave(self, user_id: str, room_id: str, content: Mapping[str, Any]) -> None:
        """Ends an invite or a knock, whether or not another server can be told. Never raises RemoteError."""
        ...

    async def sign_invite(self, event: Event, stripped: Sequence[Mapping[str, Any]]) -> Event:
        """Our invite of another server's user, signed by that server too. `stripped`: what it is told of the room."""
        ...
