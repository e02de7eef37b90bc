"""Two servers that know each other, and a person of each: Alice is here, and Bob is there."""

from contextlib import AsyncExitStack
from dataclasses import dataclass

from tests.builders.allies import Ally
from tests.builders.ears import Ears
from tests.builders.people import state_ids
from tests.builders.waiting import until
from tests.conformance.client import MatrixClient


@dataclass
class Two:
    """Two servers, a user of each, and what these hear. `stack` closes the clients of others who come in."""

    stack: AsyncExitStack
    here: Ally
    there: Ally
    alice: MatrixClient
    bob: MatrixClient
    alice_ears: Ears
    bob_ears: Ears

    async def met(self, version: str) -> str:
        """A room of Alice's in which both are."""
        room = await self.alice.create_room(preset="public_chat", room_version=version)
        await self.rejoin(room)
        return room

    async def rejoin(self, room: str) -> None:
        """Bob comes in, and both have heard of it."""
        await self.bob.join(room, via=[self.here.name])
        await self.alice_ears.member(room, self.bob.user_id, "join")
        await self.bob_ears.member(room, self.bob.user_id, "join")

    async def agree(self, room: str) -> None:
        """Both show their clients the same state."""

        async def same() -> bool:
            return await state_ids(self.alice, room) == await state_ids(self.bob, room)

        await until(same, what="both servers have the same state")
