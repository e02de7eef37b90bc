"""A token that changes, expires or ends while its socket is open.

docs/reference/websocket.md
"""

from collections.abc import Callable
from typing import Any

import pytest

from clients.live.bounds import Bounds
from tests.clients.live.conftest import Person, Scene, bodies, send_request
from tests.clients.live.test_syncing import waits
from tests.conformance.client import v3

Stage = Callable[..., Any]


async def expires_soon(scene: Scene, person: Person, ms: int = 60_000) -> None:
    """Before its first use, the person's session gets an end."""
    end = "UPDATE sessions SET expires_ts = (extract(epoch FROM now()) * 1000)::bigint + %s WHERE user_id = %s"
    await scene.served.house.database.write(lambda store: store.transaction.text(end, ms, person.user_id))


async def test_another_token_in_mid_sync(stage: Stage) -> None:
    """The device logs in again, as a refresh would give it a new token: the sync that ran under the old one ends with a
    soft logout, and with the new one the socket goes on where it was."""
    scene = await stage()
    alice, bob, room = await scene.pair()
    socket = await alice.connect()
    id = await socket.begin(sync=alice.sync())
    await waits(scene)
    again = await scene.device(alice, device_id=alice.http.device_id)
    ended = await socket.answer(id)
    assert (ended.status, ended.body["errcode"], ended.body["soft_logout"]) == (401, "M_UNKNOWN_TOKEN", True)
    late = await socket.ask(request=send_request(room, "t1"))
    assert (late.status, late.body["soft_logout"]) == (401, True)
    assert (await socket.ask(auth={"token": again.http.token})).status == 200
    await bob.http.send(room, "meanwhile")
    assert (await socket.ask(request=send_request(room, "t1"))).status == 200
    assert bodies((await socket.ask(sync=alice.sync())).body, room) == ["meanwhile", "Hey"]


async def test_a_new_token_before_the_old_one_ends(stage: Stage) -> None:
    """Brought in time, nothing is interrupted: here the same token, which is as good as any."""
    scene = await stage()
    alice, bob, room = await scene.pair()
    socket = await alice.connect()
    id = await socket.begin(sync=alice.sync())
    await waits(scene)
    assert (await socket.ask(auth={"token": alice.http.token})).status == 200
    assert (await socket.ask(auth={"token": "nonsense"})).status == 401
    await bob.http.send(room, "now")
    assert bodies((await socket.answer(id)).body, room) == ["now"]


async def test_expiry(stage: Stage) -> None:
    """At that moment, though nothing was asked: a soft logout, and then 4401 unless a new token comes."""
    scene = await stage(bounds=Bounds(new_auth=0.1))
    alice = await scene.device(await scene.person("alice"))
    await expires_soon(scene, alice, 300)
    socket = await alice.connect()
    id = await socket.begin(sync={"since": "x", "timeout": 0})
    await socket.answer(id)
    closed = await socket.closed()
    assert closed.code == 4401


async def test_a_sync_ends_when_its_token_expires(stage: Stage) -> None:
    """With 401 and soft_logout, as every request after it."""
    scene = await stage()
    alice, _, room = await scene.pair()
    again = await scene.device(alice, device_id=alice.http.device_id)
    await expires_soon(scene, again, 400)
    socket = await again.connect()
    answer = await socket.ask(sync=alice.sync())
    assert (answer.status, answer.body["errcode"], answer.body["soft_logout"]) == (401, "M_UNKNOWN_TOKEN", True)
    for asked in ({"sync": alice.sync()}, {"request": send_request(room, "t")}):
        answer = await socket.ask(**asked)
        assert (answer.status, answer.body["soft_logout"]) == (401, True)
    newer = await scene.device(alice, device_id=alice.http.device_id)
    assert (await socket.ask(auth={"token": newer.http.token})).status == 200
    assert (await socket.ask(request=send_request(room, "t"))).status == 200


@pytest.mark.parametrize("end", ["logout", "all", "elsewhere", "password", "deactivation"])
async def test_the_end_of_a_session(stage: Stage, end: str) -> None:
    """Wherever it comes from, every socket of the session is closed at once, in the middle of its sync."""
    scene = await stage()
    alice, bob, _ = await scene.pair()
    other = await scene.device(alice)
    socket, second = await alice.connect(), await alice.connect()
    await socket.begin(sync=alice.sync())
    await waits(scene)
    auth = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": alice.user_id},
        "password": "correct horse",
    }
    if end == "logout":
        await alice.http.call("POST", v3("logout"))
    elif end == "all":
        await alice.http.call("POST", v3("logout", "all"))
    elif end == "elsewhere":
        await other.http.call("POST", v3("logout", "all"))
    elif end == "password":
        await other.http.call("POST", v3("account", "password"), {"new_password": "another horse", "auth": auth})
    else:
        await other.http.call("POST", v3("account", "deactivate"), {"auth": auth})
    assert (await socket.closed()).code == 4401
    assert (await second.closed()).code == 4401
    await (await bob.connect()).say({"ping": 1})


async def test_a_token_of_somebody_else(stage: Stage) -> None:
    """A socket belongs to one user and device for ever."""
    scene = await stage()
    alice, bob, _ = await scene.pair()
    other = await scene.device(alice)
    for person in (bob, other):
        socket = await alice.connect()
        await socket.begin(auth={"token": person.http.token})
        assert (await socket.closed()).code == 4403


@pytest.mark.parametrize("auth", [5, None, {}, {"token": 5}, [], {"token": None}])
async def test_an_auth_that_makes_no_sense(stage: Stage, auth: Any) -> None:
    """Is answered 400, and the socket goes on."""
    scene = await stage()
    alice = await scene.person("alice")
    socket = await alice.connect()
    assert (await socket.ask(auth=auth)).status == 400
    assert (await socket.ask(auth={"token": alice.http.token})).status == 200
