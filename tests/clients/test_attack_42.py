"""Row 42 of attacks.md: what was redacted is not told by any answer that carries events."""

from typing import Any

from tests.clients.test_relations import edit, react, redact, relation, reply, text, together, v1
from tests.conformance.client import MatrixClient, v3

SECRET = "the safe opens with 4711"
CUT = {"room": {"timeline": {"limit": 2}}}


async def everything_told(client: MatrixClient, room: str, events: list[str], since: str) -> dict[str, bytes]:
    """The answers of all endpoints that carry events of a room, by a name."""
    paths: dict[str, tuple[str, dict[str, Any]]] = {
        "messages": (v3("rooms", room, "messages"), {"dir": "b", "limit": 100}),
        "threads": (v1("rooms", room, "threads"), {}),
        "first sync": (v3("sync"), {"timeout": 0}),
        "limited sync": (v3("sync"), {"timeout": 0, "filter": CUT}),
        "live sync": (v3("sync"), {"timeout": 0, "since": since}),
    }
    for number, event in enumerate(events):
        paths[f"event {number}"] = (v3("rooms", room, "event", event), {})
        paths[f"context {number}"] = (v3("rooms", room, "context", event), {})
        paths[f"relations {number}"] = (v1("rooms", room, "relations", event), {"recurse": True})
    answers = {name: await client.ask("GET", path, query=query) for name, (path, query) in paths.items()}
    assert {answer.status for answer in answers.values()} == {200}
    return {name: answer.raw for name, answer in answers.items()}


async def test_attack_42_redacted_content_is_nowhere(alice: MatrixClient, bob: MatrixClient) -> None:
    """A message, a reply in a thread, edits, a reaction and a reference, each with a secret, redacted: no answer holds
    the secret, nor is it bundled with anything that is left. A client that goes on with its sync is not told either."""
    room = await together(alice, bob)
    root = await alice.send(room, "root")
    since = (await bob.sync())["next_batch"]
    message = await alice.send(room, SECRET)
    answer = await reply(alice, room, root, SECRET)
    events = [
        message,
        answer,
        await edit(alice, room, root, SECRET),
        await edit(alice, room, answer, SECRET),
        await react(alice, room, root, SECRET),
        await alice.send(room, text(SECRET, **relation("m.reference", root)), "org.example"),
    ]
    told = await everything_told(alice, room, [root, *events], since)
    assert all(SECRET.encode() in raw for name, raw in told.items() if not name.startswith("relations"))
    for event in events:
        await redact(alice, room, event)

    for client in (alice, bob):
        told = await everything_told(client, room, [root, *events], since)
        assert [name for name, raw in told.items() if SECRET.encode() in raw] == []
    assert b"m.relations" not in b"".join(told.values())


async def test_attack_42_edits_go_with_what_they_edit(alice: MatrixClient, bob: MatrixClient) -> None:
    """Whoever takes a message back takes back its corrections: they are not bundled with what is left of it."""
    room = await together(alice, bob)
    message = await alice.send(room, "original")
    await edit(alice, room, message, SECRET)
    path = v3("rooms", room, "event", message)
    assert SECRET.encode() in (await bob.ask("GET", path)).raw
    await redact(alice, room, message)
    assert SECRET.encode() not in (await bob.ask("GET", path)).raw
    assert SECRET.encode() not in (await bob.ask("GET", v1("rooms", room, "threads"))).raw
