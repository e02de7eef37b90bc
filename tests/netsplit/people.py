"""What people do in a room while their servers are parted: random, from a seed."""

import random
from dataclasses import dataclass, field
from typing import Any

from tests.builders.allies import Ally
from tests.conformance.client import MatrixClient, v3

# So many people each server has, the first of whom is a moderator.
PEOPLE = 3
ACTIONS = ("talk", "talk", "talk", "talk", "talk", "talk", "power", "ban", "unban", "kick", "join", "topic", "redact")


@dataclass
class Crowd:
    """People of one server."""

    people: list[MatrixClient]
    sent: list[str] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)

    async def act(self, dice: random.Random, room: str, targets: list[str]) -> None:
        """One random thing by one of them, to one of `targets`. What the rules do not allow counts as `refused`."""
        person, action = dice.choice(self.people), dice.choice(ACTIONS)
        status = await self._try(dice, person, action, room, targets)
        name = action if status == 200 else "refused"
        self.done[name] = self.done.get(name, 0) + 1

    async def talk(self, room: str, body: str) -> str:
        """The moderator says something: the id of the event."""
        event_id = await self.people[0].send(room, body, txn=body)
        self.sent.append(event_id)
        return event_id

    async def _try(self, dice: random.Random, person: MatrixClient, action: str, room: str, targets: list[str]) -> int:
        target = dice.choice(targets)
        match action:
            case "talk":
                body = {"msgtype": "m.text", "body": f"{person.user_id} {len(self.sent)}"}
                answer = await person.ask("PUT", v3("rooms", room, "send", "m.room.message", f"t{self._next()}"), body)
                if answer.status == 200:
                    self.sent.append(answer.body["event_id"])
                return answer.status
            case "redact":
                if not self.sent:
                    return 404
                event = dice.choice(self.sent)
                return (await person.ask("PUT", v3("rooms", room, "redact", event, f"t{self._next()}"), {})).status
            case "topic":
                topic = {"topic": f"{person.user_id} {self._next()}"}
                return (await person.ask("PUT", v3("rooms", room, "state", "m.room.topic", ""), topic)).status
            case "power":
                return await self._change_power(dice, person, target, room)
            case "join":
                return (await person.ask("POST", v3("join", room), {})).status
        return (await person.ask("POST", v3("rooms", room, action), {"user_id": target})).status

    async def _change_power(self, dice: random.Random, person: MatrixClient, target: str, room: str) -> int:
        path = v3("rooms", room, "state", "m.room.power_levels", "")
        standing = await person.ask("GET", path)
        if standing.status != 200:
            return standing.status
        content: dict[str, Any] = standing.body
        content["users"] = {**content.get("users", {}), target: dice.choice((0, 25, 50))}
        return (await person.ask("PUT", path, content)).status

    def _next(self) -> int:
        self.done["tried"] = self.done.get("tried", 0) + 1
        return self.done["tried"]


@dataclass
class Side(Crowd):
    """A server with its people."""

    ally: Ally = field(kw_only=True)
