"""Push rules: reading and changing them, and what they do to unread counts."""

import asyncio
from typing import Any

from homeserver.domain.default_push_rules import default_rules
from homeserver.services.push.rules import PushRules
from tests.clients.conftest import Served
from tests.conformance.client import MatrixClient, v3

ALL = v3("pushrules", "")


def rule(kind: str, rule_id: str, *more: str) -> str:
    return v3("pushrules", "global", kind, rule_id, *more)


def unread(sync: dict[str, Any], room: str) -> tuple[int, int]:
    counts = sync["rooms"]["join"][room]["unread_notifications"]
    return counts["notification_count"], counts["highlight_count"]


async def ids(client: MatrixClient, kind: str) -> list[str]:
    return [one["rule_id"] for one in (await client.call("GET", ALL))["global"][kind]]


async def mute(client: MatrixClient, room: str) -> None:
    await client.call("PUT", rule("room", room), {"actions": []})


async def test_everybody_starts_with_the_defaults(alice: MatrixClient) -> None:
    """All rules, the one scope, and each single rule with its parts."""
    whole = await alice.call("GET", ALL)
    assert whole == default_rules(alice.user_id)
    assert await alice.call("GET", v3("pushrules", "global", "")) == whole["global"]
    for kind, rules in whole["global"].items():
        for one in rules:
            assert await alice.call("GET", rule(kind, one["rule_id"])) == one
            assert await alice.call("GET", rule(kind, one["rule_id"], "enabled")) == {"enabled": one["enabled"]}
            assert await alice.call("GET", rule(kind, one["rule_id"], "actions")) == {"actions": one["actions"]}


async def test_rules_of_ones_own(alice: MatrixClient, bob: MatrixClient) -> None:
    """Of every kind: made, read, switched, changed, removed; others see nothing of it."""
    ring = {"set_tweak": "sound", "value": "ring"}
    bodies: dict[str, tuple[str, dict[str, Any]]] = {
        "override": ("mine", {"actions": ["notify"], "conditions": [{"kind": "room_member_count", "is": ">2"}]}),
        "underride": ("mine", {"actions": [], "conditions": []}),
        "content": (
            "tea & coffee?",
            {"actions": ["notify", ring], "pattern": "tea"},
        ),
        "room": ("!room:test.example", {"actions": []}),
        "sender": ("@eve:test.example", {"actions": ["notify"]}),
    }
    for kind, (rule_id, body) in bodies.items():
        path = rule(kind, rule_id)
        await alice.call("PUT", path, body)
        assert await alice.call("GET", path) == {"rule_id": rule_id, "default": False, "enabled": True, **body}
        await alice.call("PUT", f"{path}/enabled", {"enabled": False})
        assert await alice.call("GET", f"{path}/enabled") == {"enabled": False}
        await alice.call("PUT", f"{path}/actions", {"actions": ["notify", "dont_notify"]})
        assert await alice.call("GET", f"{path}/actions") == {"actions": ["notify"]}
        await alice.call("PUT", path, body)
        assert (await alice.call("GET", path))["enabled"] is False
        assert (await bob.call("GET", path, expect=404))["errcode"] == "M_NOT_FOUND"
        await alice.call("DELETE", path)
        assert (await alice.call("GET", path, expect=404))["errcode"] == "M_NOT_FOUND"
    assert await alice.call("GET", ALL) == default_rules(alice.user_id)


async def test_order(alice: MatrixClient) -> None:
    """New rules stand above older ones, but under the master; `before` and `after` place them."""
    body: dict[str, Any] = {"actions": [], "conditions": []}
    for name, query in (("a", {}), ("b", {}), ("c", {"after": "b"}), ("d", {"before": "a"}), ("b", {"after": "a"})):
        await alice.call("PUT", rule("override", name), body, query=query)
    assert (await ids(alice, "override"))[:5] == [".m.rule.master", "c", "d", "a", "b"]
    for query in ({"before": "zzz"}, {"after": ".m.rule.master"}):
        assert (await alice.call("PUT", rule("override", "e"), body, query=query, expect=400))["errcode"] == "M_UNKNOWN"


async def test_rules_that_cannot_be(alice: MatrixClient) -> None:
    """Kinds, ids, actions, conditions, patterns: each with a wrong type or value; sizes are bounded."""
    condition: dict[str, Any] = {"kind": "event_match", "key": "type", "pattern": 1}
    wrong: list[tuple[str, str, dict[str, Any], int, str]] = [
        ("overide", "x", {"actions": []}, 400, "M_INVALID_PARAM"),
        ("override", ".mine", {"actions": []}, 400, "M_INVALID_PARAM"),
        ("override", ".m.rule.master", {"actions": []}, 400, "M_INVALID_PARAM"),
        ("override", "a/b", {"actions": []}, 400, "M_INVALID_PARAM"),
        ("override", "a\\b", {"actions": []}, 400, "M_INVALID_PARAM"),
        ("override", "x", {}, 400, "M_MISSING_PARAM"),
        ("override", "x", {"actions": "notify"}, 400, "M_BAD_JSON"),
        ("override", "x", {"actions": ["shout"]}, 400, "M_INVALID_PARAM"),
        ("override", "x", {"actions": [1]}, 400, "M_INVALID_PARAM"),
        ("override", "x", {"actions": [], "conditions": {}}, 400, "M_BAD_JSON"),
        ("override", "x", {"actions": [], "conditions": [1]}, 400, "M_BAD_JSON"),
        ("override", "x", {"actions": [], "conditions": [{}]}, 400, "M_BAD_JSON"),
        ("override", "x", {"actions": [], "conditions": [condition]}, 400, "M_INVALID_PARAM"),
        ("content", "x", {"actions": []}, 400, "M_MISSING_PARAM"),
        ("content", "x", {"actions": [], "pattern": 1}, 400, "M_BAD_JSON"),
        ("content", "x", {"actions": [], "pattern": "x" * 257}, 400, "M_INVALID_PARAM"),
        ("override", "x" * 9_000, {"actions": []}, 413, "M_TOO_LARGE"),
    ]
    for kind, rule_id, body, status, errcode in wrong:
        if len(rule_id) > 8_000:
            body, rule_id = {"actions": [{"set_tweak": "x" * 9_000}]}, "x"
        answer = await alice.ask("PUT", rule(kind, rule_id), body)
        assert (answer.status, answer.body["errcode"]) == (status, errcode), (kind, rule_id, body)
    assert await alice.call("GET", ALL) == default_rules(alice.user_id)


async def test_changes_that_cannot_be(alice: MatrixClient) -> None:
    """Rules that are not there, values of a wrong type, defaults that cannot be removed."""
    master = rule("override", ".m.rule.master")
    for method, path, body, status, errcode in (
        ("PUT", f"{master}/enabled", {}, 400, "M_MISSING_PARAM"),
        ("PUT", f"{master}/enabled", {"enabled": 1}, 400, "M_BAD_JSON"),
        ("PUT", f"{master}/enabled", {"enabled": None}, 400, "M_BAD_JSON"),
        ("PUT", f"{master}/actions", {}, 400, "M_MISSING_PARAM"),
        ("PUT", f"{master}/actions", {"actions": {}}, 400, "M_BAD_JSON"),
        ("DELETE", master, None, 400, "M_INVALID_PARAM"),
        ("DELETE", rule("override", "no"), None, 404, "M_NOT_FOUND"),
        ("GET", rule("override", "no"), None, 404, "M_NOT_FOUND"),
        ("GET", rule("kind", "no"), None, 400, "M_INVALID_PARAM"),
        ("GET", rule("override", "no", "enabled"), None, 404, "M_NOT_FOUND"),
        ("GET", rule("override", "no", "actions"), None, 404, "M_NOT_FOUND"),
        ("PUT", rule("override", "no", "enabled"), {"enabled": True}, 404, "M_NOT_FOUND"),
        ("PUT", rule("override", "no", "actions"), {"actions": []}, 404, "M_NOT_FOUND"),
        ("GET", v3("pushrules", "device", "override", "x"), None, 404, "M_UNRECOGNIZED"),
        ("GET", rule("override", "x", "conditions"), None, 404, "M_UNRECOGNIZED"),
    ):
        answer = await alice.ask(method, path, body)
        assert (answer.status, answer.body["errcode"]) == (status, errcode), (method, path, body)


async def test_rules_are_account_data_that_only_this_changes(alice: MatrixClient) -> None:
    """Every change is told by sync, whole; PUT account_data is refused."""
    since = (await alice.sync())["next_batch"]
    await alice.call("PUT", rule("override", ".m.rule.suppress_notices", "enabled"), {"enabled": False})
    sync = await alice.sync(since, timeout=30_000)
    whole = await alice.call("GET", ALL)
    path = v3("user", alice.user_id, "account_data", "m.push_rules")

    assert sync["account_data"]["events"] == [{"type": "m.push_rules", "content": whole}]
    assert await alice.call("GET", path) == whole
    await alice.call("PUT", path, {"global": {}}, expect=405)
    assert await alice.call("GET", ALL) == whole


async def test_many_changes_at_once_all_happen(alice: MatrixClient) -> None:
    """Devices that change rules at the same time lose nothing of each other."""
    names = [f"r{n}" for n in range(12)]
    await asyncio.gather(*(alice.call("PUT", rule("content", n), {"actions": [], "pattern": n}) for n in names))
    assert sorted(await ids(alice, "content")) == sorted(names)


# --- what they do ---------------------------------------------------------------------------------------------------


async def test_muting_one_room(alice: MatrixClient, bob: MatrixClient) -> None:
    """From then on it counts nothing; what was unread before stays so; other rooms and people go on."""
    loud, quiet = [await alice.create_room(preset="public_chat") for _ in range(2)]
    for room in (loud, quiet):
        await bob.join(room)
        await alice.send(room, "before")
    since = (await bob.sync())["next_batch"]
    await mute(bob, quiet)
    for room in (loud, quiet):
        await alice.send(room, "after")
    for sync in (await bob.sync(since), await bob.sync()):
        assert unread(sync, loud) == (2, 0)
        assert unread(sync, quiet) == (1, 0)
    await bob.call("DELETE", rule("room", quiet))
    await alice.send(quiet, "again")
    assert unread(await bob.sync(), quiet) == (2, 0)


async def test_two_people_mute_different_rooms(alice: MatrixClient, bob: MatrixClient, carol: MatrixClient) -> None:
    """Both are of one class where they have muted, and of another where not: neither gets the other's rules."""
    rooms = [await alice.create_room(preset="public_chat") for _ in range(2)]
    for room in rooms:
        await bob.join(room)
        await carol.join(room)
    await mute(bob, rooms[0])
    await mute(carol, rooms[1])
    for _ in range(2):
        for room in rooms:
            await alice.send(room, "hello")
    bobs, carols = await bob.sync(), await carol.sync()

    assert [unread(bobs, room)[0] for room in rooms] == [0, 2]
    assert [unread(carols, room)[0] for room in rooms] == [2, 0]


async def test_switching_everything_off_and_on(alice: MatrixClient, bob: MatrixClient) -> None:
    """The master rule silences all rooms, the muted one too; afterwards that one is still muted."""
    plain, muted = [await alice.create_room(preset="public_chat") for _ in range(2)]
    for room in (plain, muted):
        await bob.join(room)
    await mute(bob, muted)
    master = rule("override", ".m.rule.master", "enabled")
    for enabled, expected in ((True, (0, 0)), (False, (1, 0))):
        await bob.call("PUT", master, {"enabled": enabled})
        for room in (plain, muted):
            await alice.send(room, "hello")
        sync = await bob.sync()
        assert (unread(sync, plain)[0], unread(sync, muted)[0]) == expected


async def test_keywords_and_mentions(alice: MatrixClient, bob: MatrixClient) -> None:
    """A keyword of one's own highlights, a mention does, and a mention that was switched off does not."""
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    highlight = ["notify", {"set_tweak": "highlight"}]
    await bob.call("PUT", rule("content", "tea"), {"actions": highlight, "pattern": "tea"})
    mention = {"msgtype": "m.text", "body": "you", "m.mentions": {"user_ids": [bob.user_id]}}
    await alice.send(room, "some TEA?")
    await alice.send(room, "coffee")
    await alice.send(room, mention)
    assert unread(await bob.sync(), room) == (3, 2)

    await bob.call("PUT", rule("override", ".m.rule.is_user_mention", "enabled"), {"enabled": False})
    await bob.send(room, "all read")
    await alice.send(room, mention)
    assert unread(await bob.sync(), room) == (1, 0)


async def test_rules_about_one_sender(alice: MatrixClient, bob: MatrixClient, carol: MatrixClient) -> None:
    """Live and from the tables alike."""
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    await carol.join(room)
    since = (await bob.sync())["next_batch"]
    await bob.call("PUT", rule("sender", alice.user_id), {"actions": []})
    await alice.send(room, "quiet")
    await carol.send(room, "loud")
    live = await bob.sync(since)
    await carol.send(room, "loud")
    await alice.send(room, "quiet")

    assert unread(live, room) == (1, 0)
    assert unread(await bob.sync(live["next_batch"]), room) == unread(await bob.sync(), room) == (2, 0)


async def test_many_changes_leave_a_bounded_history(served: Served, alice: MatrixClient, bob: MatrixClient) -> None:
    """Whoever switches rules on and off for ever keeps a few rows, and they still say what holds now."""
    house = served.house
    rules = PushRules(house.database, house.services.rule_book, max_history=10)
    rooms = [await alice.create_room(preset="public_chat") for _ in range(2)]
    for room in rooms:
        await bob.join(room)
    await rules.put(bob.user_id, "room", rooms[1], actions=[])
    for n in range(40):
        await rules.set_enabled(bob.user_id, "underride", ".m.rule.room_one_to_one", bool(n % 2))
    history = await house.database.read(lambda store: store.counts.list_classes(bob.user_id))
    assert len(history) < 20
    for enabled, counted in ((True, 1), (False, 1)):
        await rules.set_enabled(bob.user_id, "underride", ".m.rule.message", enabled)
        await rules.set_enabled(bob.user_id, "underride", ".m.rule.room_one_to_one", enabled)
        for room in rooms:
            await alice.send(room, "hello")
        sync = await bob.sync()
        assert [unread(sync, room)[0] for room in rooms] == [counted, 0]


async def test_what_classes_stand_for_is_bounded(served: Served, alice: MatrixClient) -> None:
    """Nobody makes megabytes of classes with one rule more; rules can still be removed."""
    rules = served.house.services.push_rules
    rooms = [await alice.create_room() for _ in range(4)]
    filler = [{"kind": "org.example", "text": "x" * 7_500}]
    for n in range(60):
        await rules.put(alice.user_id, "override", f"f{n}", actions=[], conditions=filler)
    different = [rule("room", room) for room in rooms]
    answers = [
        await alice.ask("PUT", path, {"actions": ["notify", {"set_tweak": str(n)}]}) for n, path in enumerate(different)
    ]

    assert [answer.status for answer in answers] == [200, 200, 200, 413]
    assert answers[-1].body["errcode"] == "M_TOO_LARGE"
    await alice.call("DELETE", different[0])
