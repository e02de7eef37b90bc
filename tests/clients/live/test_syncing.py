"""The sync over a WebSocket: the same answers as over HTTP, one at a time, acknowledged by the next `since`.

docs/reference/websocket.md
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from clients.live.bounds import Bounds
from tests.builders.waiting import until
from tests.clients.live.conftest import Scene, bodies, send_request

Stage = Callable[..., Any]


async def waits(scene: Scene) -> None:
    """Until one sync waits for news."""
    sync = scene.served.house.services.sync
    await until(lambda: sync.waiting > 0, what="a sync waits")


async def test_two_users_chat(stage: Stage) -> None:
    """Both speak and hear over their sockets, and each answer has just what is new."""
    scene = await stage()
    alice, bob, room = await scene.pair()
    mine, theirs = await alice.connect(), await bob.connect(browser=True)
    for number, (speaker, words) in enumerate([(mine, "Hey Bob"), (theirs, "Hey Alice"), (mine, "How are you?")]):
        heard = [await mine.begin(sync=alice.sync()), await theirs.begin(sync=bob.sync())]
        sent = await speaker.ask(request=send_request(room, f"t{number}", words))
        assert sent.status == 200
        for person, socket, id in ((alice, mine, heard[0]), (bob, theirs, heard[1])):
            answer = await socket.answer(id)
            assert (answer.status, bodies(answer.body, room)) == (200, [words])
            event = answer.body["rooms"]["join"][room]["timeline"]["events"][0]
            assert event["event_id"] == sent.body["event_id"]
            assert ("transaction_id" in event["unsigned"]) == (socket is speaker)
            person.since = answer.body["next_batch"]


async def test_nothing_new(stage: Stage) -> None:
    """After its time a sync is answered empty, with a token."""
    scene = await stage()
    alice = await scene.person("alice")
    await alice.start()
    socket = await alice.connect()
    answer = await socket.ask(sync=alice.sync(timeout=0))
    assert answer.status == 200
    assert "rooms" not in answer.body
    assert answer.body["next_batch"]


async def test_a_second_sync_ends_the_first(stage: Stage) -> None:
    """As a time-out does: empty, its token where it was, and nothing of it counts as told."""
    scene = await stage()
    alice, bob, room = await scene.pair()
    socket = await alice.connect()
    first = await socket.begin(sync=alice.sync())
    await waits(scene)
    second = await socket.begin(sync=alice.sync())
    ended = await socket.answer(first)
    assert (ended.status, ended.body) == (200, {"next_batch": alice.since})
    await bob.http.send(room, "now")
    assert bodies((await socket.answer(second)).body, room) == ["now"]


async def test_many_syncs_at_once(stage: Stage) -> None:
    """Each is answered exactly once, and the last one hears the news."""
    scene = await stage()
    alice, bob, room = await scene.pair()
    socket = await alice.connect()
    ids = [await socket.begin(sync=alice.sync()) for _ in range(50)]
    await bob.http.send(room, "now")
    heard = [await socket.answer(id) for id in ids]
    assert [answer.status for answer in heard] == [200] * 50
    assert bodies(heard[-1].body, room) == ["now"]


async def test_cancel(stage: Stage) -> None:
    """Ends the sync that runs; for one that was answered already it says nothing more."""
    scene = await stage()
    alice, bob, room = await scene.pair()
    socket = await alice.connect()
    id = await socket.begin(sync=alice.sync())
    await socket.begin(id, cancel=True)
    assert (await socket.answer(id)).body == {"next_batch": alice.since}
    await socket.begin(id, cancel=True)
    await socket.begin("another", cancel=True)
    await bob.http.send(room, "now")
    assert bodies((await socket.ask(sync=alice.sync())).body, room) == ["now"]


async def test_the_token_acknowledges(stage: Stage) -> None:
    """The same token is given the same answer again: what was written to a socket counts as nothing."""
    scene = await stage()
    alice, bob, room = await scene.pair()
    socket = await alice.connect()
    await bob.http.send(room, "once")
    answers = [await socket.ask(sync=alice.sync()) for _ in range(3)]
    assert [bodies(answer.body, room) for answer in answers] == [["once"]] * 3
    assert bodies(await alice.http.sync(alice.since), room) == ["once"]
    alice.since = answers[0].body["next_batch"]
    assert "rooms" not in (await socket.ask(sync=alice.sync(timeout=0))).body


@pytest.mark.parametrize("wanted", [{}, {"since": None}, {"full_state": True}, {"since": "deadbeef.5.0"}])
async def test_a_first_sync_goes_over_http(stage: Stage, wanted: dict[str, Any]) -> None:
    """Without a token, with one of another epoch, or with full state."""
    scene = await stage()
    alice = await scene.person("alice")
    await alice.start()
    socket = await alice.connect()
    answer = await socket.ask(sync={"since": alice.since, **wanted} if wanted != {} else {})
    assert (answer.status, answer.body["errcode"]) == (400, "IO.PARLEY_USE_HTTP")


@pytest.mark.parametrize(
    "wanted",
    [
        5,
        [],
        "since",
        None,
        {"since": "nonsense"},
        {"since": 5},
        {"timeout": "soon"},
        {"timeout": 1.5},
        {"timeout": -1},
        {"filter": "nosuch"},
        {"filter": {"room": 5}},
        {"set_presence": "bored"},
        {"use_state_after": "perhaps"},
        {"use_state_after": {}},
        {"since": "a\x00b"},
    ],
)
async def test_syncs_that_make_no_sense(stage: Stage, wanted: Any) -> None:
    """A 400 as over HTTP, and the socket goes on."""
    scene = await stage()
    alice = await scene.person("alice")
    await alice.start()
    socket = await alice.connect()
    if isinstance(wanted, dict):
        wanted = {"since": alice.since, **wanted}
    answer = await socket.ask(sync=wanted)
    assert answer.status == 400
    assert answer.body["errcode"].startswith("M_")
    assert (await socket.ask(sync=alice.sync(timeout=0))).status == 200


async def test_what_a_sync_may_say(stage: Stage) -> None:
    """Filters by id and inline, presence, the state after: as in the query of HTTP."""
    scene = await stage()
    alice, bob, room = await scene.pair()
    limited = {"room": {"timeline": {"limit": 1}}}
    stored = (await alice.http.call("POST", f"/_matrix/client/v3/user/{alice.user_id}/filter", limited))["filter_id"]
    for number in range(3):
        await bob.http.send(room, f"m{number}")
    await alice.http.set_state(room, "org.example.thing", {"a": 1})
    socket = await alice.connect()
    for wanted in (limited, stored):
        answer = await socket.ask(
            sync=alice.sync(filter=wanted, set_presence="online", use_state_after=True, unknown=["x"])
        )
        part = answer.body["rooms"]["join"][room]
        assert part["timeline"]["limited"]
        assert [event["type"] for event in part["state_after"]["events"]] == ["org.example.thing"]


async def test_a_large_answer_comes_in_fragments(stage: Stage) -> None:
    """Larger than a fragment: it is put together again; larger than the most: it is for HTTP."""
    scene = await stage(bounds=Bounds(fragment=2_000, max_answer=60_000))
    alice, bob, room = await scene.pair()
    for number in range(5):
        await bob.http.send(room, f"{number}" * 8_000)
    socket = await alice.connect()
    answer = await socket.ask(sync=alice.sync())
    assert bodies(answer.body, room) == [f"{number}" * 8_000 for number in range(5)]
    for number in range(4):
        await bob.http.send(room, f"{number}" * 8_000)
    answer = await socket.ask(sync=alice.sync())
    assert (answer.status, answer.body["errcode"]) == (413, "IO.PARLEY_USE_HTTP")
    assert len(bodies(await alice.http.sync(alice.since), room)) == 9


async def test_requests_beside_a_waiting_sync(stage: Stage) -> None:
    """Neither waits for the other."""
    scene = await stage()
    alice, _, room = await scene.pair()
    socket = await alice.connect()
    id = await socket.begin(sync=alice.sync())
    await waits(scene)
    typing = {"method": "PUT", "path": f"/_matrix/client/v3/rooms/{room}/typing/{alice.user_id}"}
    assert (await socket.ask(request={**typing, "body": {"typing": True, "timeout": 1000}})).status == 200
    assert "m.typing" in str((await socket.answer(id)).body)


async def test_two_sockets_of_one_device(stage: Stage) -> None:
    """Both hear everything, each at its own pace."""
    scene = await stage()
    alice, bob, room = await scene.pair()
    sockets = [await alice.connect(), await alice.connect()]
    ids = [await socket.begin(sync=alice.sync()) for socket in sockets]
    await bob.http.send(room, "now")
    answers = await asyncio.gather(*(socket.answer(id) for socket, id in zip(sockets, ids, strict=True)))
    assert [bodies(answer.body, room) for answer in answers] == [["now"]] * 2
