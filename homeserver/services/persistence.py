"""What a use case may ask of the database: to run its work in one transaction.

`homeserver.storage.database.Database` is one. What the work may and may not do stands there.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from homeserver.storage.store import Store

T = TypeVar("T")


class Persistence(Protocol):
    async def write(self, work: Callable[[Store], T], *, room: str | None = None) -> T:
        """The result of `work`, committed. `room`: the id of the room that it writes to."""
        ...

    async def read(self, work: Callable[[Store], T], *, single: bool = False) -> T:
        """The result of `work` on one snapshot. `single`: it sends one statement."""
        ...

    async def read_long(self, work: Callable[[Store], T]) -> T:
        """As `read`, for what takes many milliseconds."""
        ...
