"""Breaks at every step, and many sockets at once.

docs/reference/websocket.md. Ten thousand of them: tests/benchmarks/crowd.py
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.builders.waiting import until
from tests.builders.websocket import Answer, Closed, WebSocketClient
from tests.clients.live.conftest import Person, bodies, send_request

Stage = Callable[..., Any]

MANY = 500
MESSAGES = 12
STEPS = 4


class Stubborn:
    """A client as the documentation wants it: after a break it says again what was not answered, and goes on from its
    token. Its line breaks at one step of everything that it does, another one each time."""

    def __init__(self, person: Person, room: str) -> None:
        self.person = person
        self.room = room
        self.heard: list[str] = []
        self.breaks = 0
        self._step = 0
        self._socket: WebSocketClient | None = None

    async def send(self, number: int) -> None:
        request = send_request(self.room, f"t{number}", f"m{number}")
        while (answer := await self._try(request=request)) is None:
            pass
        assert answer.status == 200

    async def sync(self) -> None:
        answer = await self._try(sync=self.person.sync(timeout=0))
        if answer is not None:
            assert answer.status == 200
            self.heard += bodies(answer.body, self.room)
            self.person.since = answer.body["next_batch"]

    async def _try(self, **content: Any) -> Answer | None:
        """The answer, or None if the line broke: before the greeting, before or after the frame was sent, or before its
        answer was looked at."""
        self._step += 1
        place = self._step % (STEPS + 1)
        if self._socket is None:
            self._socket = await self.person.open(self.person.http.token)
            if place == 0:
                return self._break()
            await self._socket.told("hello")
        if place == 1:
            return self._break()
        try:
            id = await self._socket.begin(**content)
            if place == 2:
                return self._break()
            answer = await self._socket.answer(id)
        except (Closed, ConnectionError):
            return self._break()
        return self._break() if place == 3 else answer

    def _break(self) -> None:
        assert self._socket is not None
        self._socket.cut()
        self._socket = None
        self.breaks += 1


async def test_breaks_at_every_step(stage: Stage) -> None:
    """Nothing is lost and nothing doubled, neither of what is sent nor of what is heard."""
    scene = await stage()
    alice, bob, room = await scene.pair()
    sender, reader = Stubborn(alice, room), Stubborn(bob, room)
    for number in range(MESSAGES):
        await sender.send(number)
        await reader.sync()
        await sender.sync()
    said = [f"m{number}" for number in range(MESSAGES)]
    while reader.heard[-1:] != said[-1:] or sender.heard[-1:] != said[-1:]:
        await reader.sync()
        await sender.sync()
    assert reader.heard == sender.heard == said
    assert reader.breaks > MESSAGES / 2


async def test_five_hundred_sockets(stage: Stage) -> None:
    """In one room: each hears each message once, in order."""
    scene = await stage()
    alice = await scene.person("alice")
    room = await alice.http.create_room(preset="public_chat")
    people = [alice]
    for number in range(MANY // 32):
        person = await scene.person(f"user{number}")
        await person.http.join(room)
        people.append(person)
    listeners: list[tuple[Person, WebSocketClient]] = []
    for person in people:
        await person.start()
        devices = [person, *[await scene.device(person) for _ in range(7)]]
        for device in devices:
            device.since = person.since
            listeners += [(device, await device.connect()) for _ in range(4)]
    listeners = listeners[:MANY]
    assert len(listeners) == MANY
    heard = [0] * MANY

    async def follow(number: int, person: Person, socket: WebSocketClient) -> None:
        since = person.since
        while heard[number] < 3:
            answer = await socket.ask(sync={"since": since, "timeout": 60_000})
            since = answer.body["next_batch"]
            for body in bodies(answer.body, room):
                assert body == f"m{heard[number]}"
                heard[number] += 1

    def have_heard(number: int) -> bool:
        return min(heard) > number or any(one.done() and one.exception() for one in following)

    following = [asyncio.create_task(follow(number, *one)) for number, one in enumerate(listeners)]
    for number in range(3):
        await alice.http.send(room, f"m{number}")
        await until(partial(have_heard, number), what=f"everybody hears m{number}")
    await asyncio.gather(*following)
    assert heard == [3] * MANY
