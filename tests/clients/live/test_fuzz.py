"""Frames that nobody should send, in any order: never an error of ours, and nothing is left behind.

As many seeds as PARLEY_TEST_EXAMPLES says, from PARLEY_TEST_SEED on.
"""

import asyncio
import json
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from clients.live.bounds import Bounds
from tests.builders.waiting import until
from tests.builders.websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, WebSocketClient, bearer, masked
from tests.clients.live.conftest import Person, send_request
from tests.conformance.client import v3
from tests.services.sync.generator import examples

Stage = Callable[..., Any]

SEEDS = 60
FRAMES = 60
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1.5,
    2**53,
    10**30,
    "",
    "x",
    "\x00",
    "ü" * 70,
    [],
    [1],
    {},
    {"a": 1},
)


class Fuzz:
    """What one client does."""

    def __init__(self, chance: random.Random, person: Person, room: str) -> None:
        self._chance = chance
        self._person = person
        self._room = room
        self._number = 0

    async def open(self) -> WebSocketClient:
        token, how = self._person.http.token, self._chance.randrange(6)
        subprotocol = self._chance.choice((bearer(token), "bearer.", "bearer.%%", bearer("x" * 3_000), "io.parley.v2"))
        if how == 0:
            return await self._person.open(headers={"Sec-WebSocket-Protocol": f"io.parley.v1, {subprotocol}"})
        if how == 1:
            return await self._person.open(
                headers={"Authorization": self._chance.choice(("Bearer", "Basic x", "Bearer x"))}
            )
        if how == 2:
            return await self._person.open()
        return await self._person.open(token, browser=how == 3)

    def _id(self) -> Any:
        self._number += 1
        return self._chance.choice((f"i{self._number}", f"i{self._number}", f"i{self._number}", "same", *VALUES[-4:-2]))

    def _content(self) -> Any:
        chance = self._chance
        value = chance.choice(VALUES)
        sync = {"since": self._person.since, "timeout": chance.choice((0, 10_000, value)), "filter": value}
        typing = {"method": "PUT", "path": v3("rooms", self._room, "typing", self._person.user_id), "body": value}
        return chance.choice(
            (
                {
                    "id": self._id(),
                    "sync": chance.choice((sync, {"since": self._person.since, "timeout": 5_000}, value)),
                },
                {"id": self._id(), "cancel": chance.choice((True, value))},
                {"id": self._id(), "request": send_request(self._room, f"t{chance.randrange(20)}")},
                {"id": self._id(), "request": chance.choice((typing, value, {"method": value, "path": value}))},
                {"id": self._id(), "auth": chance.choice(({"token": self._person.http.token}, {"token": "x"}, value))},
                {"ping": chance.choice((1, 2, value))},
                {"id": self._id(), chance.choice(("hb", "hello", "x")): value},
                value,
            )
        )

    def data(self) -> bytes:
        """The bytes of a frame or two, mostly such as could be meant well."""
        chance = self._chance
        message = json.dumps(self._content()).encode()
        match chance.randrange(14):
            case 0:
                place = chance.randrange(len(message) + 1)
                return masked(TEXT, message[:place], fin=False) + masked(CONTINUATION, message[place:])
            case 1:
                return (
                    masked(TEXT, message[:1], fin=False) + masked(PING, b"between") + masked(CONTINUATION, message[1:])
                )
            case 2:
                return masked(chance.choice((PING, PONG)), chance.randbytes(chance.randrange(126)))
            case 3:
                return masked(TEXT, b'{"id":"big","what":"%b"}' % (b"x" * chance.randrange(20_000)))
            case 4 if chance.random() < 0.2:
                return masked(chance.choice((BINARY, CLOSE, 3, 11)), chance.randbytes(chance.randrange(8)))
            case 5 if chance.random() < 0.2:
                return chance.randbytes(chance.randrange(1, 200))
            case 6 if chance.random() < 0.2:
                return masked(
                    TEXT, message, fin=chance.random() < 0.5, rsv=chance.randrange(8), mask=chance.random() < 0.5
                )
            case 7 if chance.random() < 0.2:
                return masked(TEXT, message[: chance.randrange(len(message) + 1)])
            case _:
                return masked(TEXT, message)


async def _play(seed: int, person: Person, room: str) -> None:
    chance = random.Random(seed)
    fuzz = Fuzz(chance, person, room)
    socket = await fuzz.open()
    socket.answers_pings = chance.random() < 0.7
    reading = asyncio.create_task(socket.closed()) if chance.random() < 0.8 else None
    with suppress(ConnectionError):
        for _ in range(chance.randrange(FRAMES)):
            data = fuzz.data()
            cut = chance.randrange(len(data) + 1) if chance.random() < 0.1 else len(data)
            for part in (data[:cut], data[cut:]):
                await socket.raw(part)
                if chance.random() < 0.3:
                    await asyncio.sleep(0)
        if chance.random() < 0.2:
            socket.half_close()
    if chance.random() < 0.5:
        socket.cut()
    if reading is not None:
        socket._writer.close()
        await reading
    socket.cut()


async def test_frames_that_nobody_should_send(stage: Stage) -> None:
    """Whatever they are: no error that nobody foresaw, no socket left behind, and everybody else is served."""
    scene = await stage(bounds=Bounds(first_auth=0.5, new_auth=0.5, heartbeat=0.05, pong=0.2, goodbye=0.2))
    alice, bob, room = await scene.pair()
    for seed in examples(SEEDS):
        try:
            await asyncio.gather(*(_play(seed * 3 + number, alice, room) for number in range(3)))
        except BaseException as error:
            error.add_note(f"PARLEY_TEST_SEED={seed} PARLEY_TEST_EXAMPLES=1")
            raise
    await until(lambda: not len(scene.served.sockets), what="no socket is left")
    assert not scene.served.sockets._by_user
    assert not scene.served.sockets._by_token
    assert not scene.served.sockets._strangers
    socket = await bob.connect()
    assert (await socket.ask(request=send_request(room, "t"))).status == 200
