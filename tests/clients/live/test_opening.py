"""Opening a WebSocket: who may, with which token, and what they are told.

docs/reference/websocket.md
"""

from collections.abc import Callable
from typing import Any

import pytest

from clients.live.bounds import Bounds
from tests.builders.websocket import PROTOCOL, Refused, WebSocketClient
from tests.clients.live.conftest import send_request

Stage = Callable[..., Any]

HELLO = {"heartbeat_ms": 25_000, "max_message": 1_048_576, "max_requests": 8}


@pytest.mark.parametrize("browser", [False, True])
async def test_a_greeting(stage: Stage, browser: bool) -> None:
    """A token in the header or in a subprotocol: the server says who that is, and echoes only its own subprotocol."""
    scene = await stage()
    alice = await scene.person("alice")
    socket = await alice.open(alice.http.token, browser=browser)
    assert await socket.told("hello") == {"user_id": alice.user_id, "device_id": alice.http.device_id, **HELLO}
    assert socket.headers["sec-websocket-protocol"] == PROTOCOL
    assert "sec-websocket-extensions" not in socket.headers


async def test_a_token_in_the_first_frame(stage: Stage) -> None:
    """The answer comes, then the greeting."""
    scene = await stage()
    alice = await scene.person("alice")
    socket = await alice.open()
    await socket.begin("first", auth={"token": alice.http.token})
    assert await socket.receive() == {"id": "first", "status": 200, "body": {}}
    assert (await socket.receive())["hello"]["user_id"] == alice.user_id


async def test_it_is_advertised(stage: Stage) -> None:
    """Clients look for it in /versions."""
    scene = await stage()
    stranger = await scene.served.stranger()
    versions = await stranger.call("GET", "/_matrix/client/versions")
    assert versions["unstable_features"]["io.parley.websocket"] is True


@pytest.mark.parametrize("browser", [False, True])
async def test_a_bad_bearer(stage: Stage, browser: bool) -> None:
    """It upgrades all the same, says what is wrong, answers what is asked with that, and takes a better one."""
    scene = await stage()
    alice = await scene.person("alice")
    socket = await alice.open("nonsense", browser=browser)
    error = await socket.told("error")
    assert (error["status"], error["body"]["errcode"]) == (401, "M_UNKNOWN_TOKEN")
    refused = await socket.ask(sync={"since": "x"})
    assert (refused.status, refused.body) == (401, error["body"])
    assert (await socket.ask(auth={"token": "worse"})).status == 401
    assert (await socket.ask(auth={"token": alice.http.token})).status == 200
    assert (await socket.told("hello"))["user_id"] == alice.user_id


async def test_a_bearer_that_cannot_be_read(stage: Stage) -> None:
    """What is no base64url is a bad token like others."""
    scene = await stage()
    alice = await scene.person("alice")
    for text in ("bearer.", "bearer.!!!", "bearer.AAAAA", "bearer./w"):
        socket = await alice.open(headers={"Sec-WebSocket-Protocol": f"{PROTOCOL}, {text}"})
        assert (await socket.told("error"))["status"] == 401


async def test_no_token_in_time(stage: Stage) -> None:
    """Closed with 4401, whether none came or only bad ones."""
    scene = await stage(bounds=Bounds(first_auth=0.05, new_auth=0.05))
    alice = await scene.person("alice")
    assert (await (await alice.open()).closed()).code == 4401
    assert (await (await alice.open("nonsense")).closed()).code == 4401


@pytest.mark.parametrize("frame", [{"id": "a", "sync": {}}, {"id": "a", "what": 1}])
async def test_another_first_frame(stage: Stage, frame: dict[str, Any]) -> None:
    """Whoever has not said who they are is not served."""
    scene = await stage()
    socket = await (await scene.person("alice")).open()
    await socket.say(frame)
    assert (await socket.closed()).code == 4401


@pytest.mark.parametrize(
    "headers",
    [
        {"Upgrade": None},
        {"Upgrade": "h2c"},
        {"Connection": "keep-alive"},
        {"Sec-WebSocket-Version": "8"},
        {"Sec-WebSocket-Version": None},
    ],
)
async def test_what_is_no_websocket(stage: Stage, headers: dict[str, str | None]) -> None:
    """Told to upgrade, in JSON."""
    scene = await stage()
    alice = await scene.person("alice")
    with pytest.raises(Refused) as refused:
        await alice.open(alice.http.token, headers=headers)
    assert (refused.value.status, refused.value.body["errcode"]) == (426, "M_UNRECOGNIZED")
    assert refused.value.headers["upgrade"] == "websocket"


@pytest.mark.parametrize(
    "headers", [{"Sec-WebSocket-Key": None}, {"Sec-WebSocket-Key": "AAAA"}, {"Content-Length": "5"}]
)
async def test_a_broken_handshake(stage: Stage, headers: dict[str, str | None]) -> None:
    """400, and no socket."""
    scene = await stage()
    alice = await scene.person("alice")
    with pytest.raises(Refused) as refused:
        await alice.open(alice.http.token, headers=headers)
    assert refused.value.status == 400


async def test_frames_right_behind_the_handshake(stage: Stage) -> None:
    """What comes in the same packet as the request is not lost."""
    scene = await stage()
    alice, _, room = await scene.pair()
    socket = await alice.connect()
    for number in range(3):
        await socket.begin(f"r{number}", request=send_request(room, f"t{number}"))
    for number in range(3):
        assert (await socket.answer(f"r{number}")).status == 200


async def test_any_origin_by_default(stage: Stage) -> None:
    """No cookie is involved, so a page gains nothing by its origin."""
    scene = await stage()
    alice = await scene.person("alice")
    await alice.connect(headers={"Origin": "https://evil.example"})
    await alice.connect(headers={"Origin": "null"})


async def test_without_a_subprotocol(stage: Stage) -> None:
    """A program that offers none is served, and none is selected."""
    scene = await stage()
    alice = await scene.person("alice")
    socket = await alice.connect(headers={"Sec-WebSocket-Protocol": None})
    assert "sec-websocket-protocol" not in socket.headers


async def test_too_many_of_a_device(stage: Stage) -> None:
    """The fifth closes the oldest, with a code after which a client does not come back by itself."""
    scene = await stage()
    alice = await scene.person("alice")
    sockets: list[WebSocketClient] = [await alice.connect() for _ in range(5)]
    assert (await sockets[0].closed()).code == 4409
    for socket in sockets[1:]:
        await socket.say({"ping": 7})
        assert await socket.told("pong") == 7
