"""What becomes of a unit that is not at fault itself."""

from collections.abc import Collection

import pytest

from federation.inbound.edus import Edus
from homeserver.domain.errors import Forbidden, RequestError, Unavailable

EVE = "@eve:there.example"
RECEIPT = {
    "edu_type": "m.receipt",
    "content": {"!r:here.example": {"m.read": {EVE: {"event_ids": ["$e"], "data": {"ts": 1}}}}},
}


class Open:
    """A room that lets every server in."""

    async def allowed(self, room_ids: Collection[str], server_name: str) -> set[str]:
        return set(room_ids)


class Failing:
    """Typing and receipts that fail."""

    def __init__(self, error: RequestError) -> None:
        self.error = error

    async def set(self, *_: object) -> None:
        raise self.error


async def test_a_receipt_is_not_lost_while_the_database_is_away() -> None:
    """The sender is refused, and comes again; what the room refuses is dropped, and said to be taken."""
    away, outside = Failing(Unavailable("away")), Failing(Forbidden("not in the room"))
    with pytest.raises(Unavailable):
        await Edus(Open(), away, away, None).take("there.example", [RECEIPT])
    await Edus(Open(), outside, outside, None).take("there.example", [RECEIPT])
