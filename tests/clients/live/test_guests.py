"""Guests on a WebSocket: what they may ask for over HTTP, and nothing else."""

from collections.abc import Callable
from typing import Any

from tests.builders.websocket import WebSocketClient
from tests.clients.live.conftest import send_request
from tests.conformance.client import v3


async def test_a_guest_speaks_and_does_not_type(stage: Callable[..., Any]) -> None:
    """Sending is for guests; typing and receipts are not."""
    scene = await stage()
    alice = await scene.person("alice")
    guest = await scene.served.guest()
    state = [{"type": "m.room.guest_access", "state_key": "", "content": {"guest_access": "can_join"}}]
    room = await alice.http.create_room(preset="public_chat", initial_state=state)
    await guest.call("POST", v3("rooms", room, "join"))
    async with await WebSocketClient.open(guest.base_url, guest.token) as socket:
        assert (await socket.told("hello"))["user_id"] == guest.user_id
        assert (await socket.ask(request=send_request(room, "t"))).status == 200
        for method, path, body in (
            ("PUT", v3("rooms", room, "typing", guest.user_id), {"typing": True}),
            ("POST", v3("rooms", room, "receipt", "m.read", "$x"), {}),
        ):
            answer = await socket.ask(request={"method": method, "path": path, "body": body})
            assert (answer.status, answer.body["errcode"]) == (403, "M_GUEST_ACCESS_FORBIDDEN")
