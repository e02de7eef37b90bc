"""Unread counts against a recount from nothing: every event judged by each user's whole rules when it comes.

The recount knows no classes, no ordinals and no exceptions. https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from homeserver.domain.power import PowerLevels
from homeserver.domain.push_conditions import EventView
from homeserver.domain.push_rules import compile_rules
from homeserver.services.sync.counts import Counts, RoomCounts, Unread
from homeserver.storage.store import Store
from tests.builders.cluster import SERVER_NAME
from tests.services.rooms.scene import ALICE, BOB, EVE, MEMBER, Scene, examples

pytestmark = pytest.mark.asyncio(loop_scope="module")

# (the method of the push rules, its arguments): what makes each of these users different. `{room}` is the room's id.
Change = tuple[str, tuple[Any, ...], dict[str, Any]]
NOTIFY, HIGHLIGHT = ["notify"], ["notify", {"set_tweak": "highlight"}]


def own(kind: str, rule_id: str, actions: list[Any], **more: Any) -> Change:
    return "put", (kind, rule_id), {"actions": actions, **more}


def condition(key: str, value: str) -> dict[str, str]:
    return {"kind": "event_match", "key": key, "pattern": value}


RULE_SETS: dict[str, list[Change]] = {
    "default": [],
    "nothing": [("set_enabled", ("override", ".m.rule.master", True), {})],
    "mentions": [("set_actions", ("underride", ".m.rule.message", []), {})],
    "keyword": [own("content", "word", HIGHLIGHT, pattern="word")],
    "quiet-keyword": [
        own("content", "word", NOTIFY, pattern="w?rd*"),
        ("set_enabled", ("underride", ".m.rule.message", False), {}),
    ],
    "not-bob": [own("sender", BOB, [])],
    "bob-above-all": [own("override", "bob", HIGHLIGHT, conditions=[condition("sender", BOB)])],
    "muted-room": [own("room", "{room}", [])],
    "loud-room": [own("room", "{room}", HIGHLIGHT)],
    "muted-elsewhere": [own("room", "!elsewhere:test.example", [])],
    "not-the-room": [("set_enabled", ("override", ".m.rule.is_room_mention", False), {})],
    "edits": [("set_enabled", ("override", ".m.rule.suppress_edits", False), {})],
    "name": [own("override", "name", HIGHLIGHT, conditions=[{"kind": "contains_display_name"}])],
    "crowd": [own("override", "crowd", [], conditions=[{"kind": "room_member_count", "is": ">5"}])],
    "notices": [("set_actions", ("override", ".m.rule.suppress_notices", NOTIFY), {})],
    "muted-override": [
        own("override", "{room}", [], conditions=[{"kind": "event_property_is", "key": "room_id", "value": "{room}"}])
    ],
}


@dataclass
class Told:
    """An event of the story: what it meant to each user when it came, and in which thread ("": in none). `related`: to
    another event, so that no thread can begin at it."""

    event_id: str
    anchor: int
    sender: str
    meant: dict[str, tuple[bool, bool]]
    thread: str
    related: bool
    redacted: bool = False


@dataclass
class Story:
    """A room, its readers, and everything that a recount needs."""

    scene: Scene
    room_id: str
    number: int
    users: list[str]
    seed: int
    events: list[Told] = field(default_factory=list)
    # Where each user's counting starts: joining, and receipts for all of the room.
    start: dict[str, int] = field(default_factory=dict)
    # By user and thread: receipts for it, and the own last event in it.
    read_there: dict[tuple[str, str], int] = field(default_factory=dict)

    async def happened(self, event_id: str) -> None:
        """Takes an event in that was just sent."""
        scene = self.scene
        event, row = await scene.event(self.room_id, event_id), await scene.event_row(event_id)
        state = await scene.state(self.room_id)
        power = PowerLevels(event.version, state[("m.room.create", "")], state.get(("m.room.power_levels", "")))
        joined = (await scene.row(self.room_id)).joined
        meant = {}
        for user_id in self.users:
            rules = await scene.services.push_rules.get_all(user_id)
            name = state[(MEMBER, user_id)].content.get("displayname")
            outcome = compile_rules(rules, user_id).evaluate(
                EventView(event), joined, power.of_user(event.sender), power.for_notification, name
            )
            meant[user_id] = (outcome.notify, outcome.highlight)
        assert row.anchor is not None
        thread = self._thread(event.content.get("m.relates_to", {}))
        self.events.append(Told(event_id, row.anchor, event.sender, meant, thread, "m.relates_to" in event.content))
        self.read_there[event.sender, thread] = row.anchor

    def _thread(self, relates_to: dict[str, Any]) -> str:
        """As the spec has it: by the event's relation, or that of what it relates to."""
        target = relates_to.get("event_id", "")
        if relates_to.get("rel_type") == "m.thread":
            return str(target)
        return next((told.thread for told in self.events if told.event_id == target), "")

    async def say(self, sender: str, content: dict[str, Any], type: str = "m.room.message") -> None:
        content = {"msgtype": "m.text", "body": "x", **content} if type == "m.room.message" else content
        await self.happened(await self.scene.send(sender, self.room_id, type, content))

    async def redact(self, told: Told) -> None:
        redaction = await self.scene.redact(ALICE, self.room_id, told.event_id)
        told.redacted = True
        await self.happened(redaction)

    async def read(self, user_id: str, told: Told, type: str, thread_id: str | None) -> None:
        await self.scene.services.receipts.set(user_id, self.room_id, {type: told.event_id}, thread_id)
        if thread_id is None:
            self.start[user_id] = max(self.start[user_id], told.anchor)
        else:
            there = (user_id, told.thread)
            self.read_there[there] = max(self.read_there.get(there, 0), told.anchor)

    def unread(self, user_id: str, thread: str) -> Counts:
        start = max(self.start[user_id], self.read_there.get((user_id, thread), 0))
        unread = [
            one.meant[user_id]
            for one in self.events
            if one.thread == thread and one.anchor > start and not one.redacted
        ]
        return sum(notify for notify, _ in unread), sum(highlight for _, highlight in unread)

    def recount(self, user_id: str) -> Counts:
        """Of the main timeline."""
        return self.unread(user_id, "")

    def recount_all(self, user_id: str) -> RoomCounts:
        roots = {one.thread for one in self.events} - {""}
        threads = {root: counts for root in roots if (counts := self.unread(user_id, root)) != (0, 0)}
        return RoomCounts(self.recount(user_id), threads)

    async def check(self) -> None:
        unread = Unread(self.scene.services.rule_book, self.scene.services.slots)
        for user_id in self.users:
            counts = await self.scene.read(partial(unread, user_id=user_id, rooms=[self.number]))
            assert counts == {self.number: self.recount_all(user_id)}, user_id


async def change_rules(scene: Scene, user_id: str, room_id: str, change: Change) -> None:
    method, arguments, options = change

    def filled(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace("{room}", room_id)
        if isinstance(value, list):
            return [filled(one) for one in value]
        if isinstance(value, dict):
            return {key: filled(one) for key, one in value.items()}
        return value

    arguments = tuple(filled(one) for one in arguments)
    await getattr(scene.services.push_rules, method)(user_id, *arguments, **filled(options))


async def register(scene: Scene, user_id: str, name: str) -> None:
    def work(store: Store) -> None:
        store.users.add(user_id, None, False, 0)
        store.profiles.set(user_id, "displayname", f'"{name}"')

    await scene.database.write(work)


async def begin(scene: Scene, seed: int, names: Sequence[str] = (*RULE_SETS, "default", "keyword")) -> Story:
    """Users with these rule sets in one room; some of them have the same."""
    users = [f"@{name}-{seed}-{n}:{SERVER_NAME}" for n, name in enumerate(names)]
    room_id = await scene.room("12", members=[BOB])
    await scene.remote_join(room_id, EVE)
    for user_id in users:
        await register(scene, user_id, f"{user_id.partition('-')[0][1:].capitalize()} of {seed}")
    for name, user_id in zip(names, users, strict=True):
        for change in RULE_SETS[name]:
            await change_rules(scene, user_id, room_id, change)
        await scene.services.membership.join(user_id, room_id)
    await scene.set_levels(ALICE, room_id, users={BOB: 50}, notifications={"room": 50}, users_default=10)
    story = Story(scene, room_id, (await scene.row(room_id)).number, users, seed)
    state = await scene.state(room_id)
    for user_id in users:
        story.start[user_id] = (await scene.event_row(state[(MEMBER, user_id)].event_id)).anchor or 0
    # What came while people joined, which the recount did not see: everybody has read it.
    last = await scene.say(ALICE, room_id, "welcome")
    anchor = (await scene.event_row(last)).anchor or 0
    for user_id in users:
        await scene.services.receipts.set(user_id, room_id, {"m.read": last}, None)
        story.start[user_id] = anchor
    return story


CONTENTS: list[dict[str, Any]] = [
    {"body": "plain"},
    {"body": "a WORD, among others"},
    {"body": "sword and words"},
    {"body": "notice", "msgtype": "m.notice"},
    {"body": "edit", "m.relates_to": {"rel_type": "m.replace", "event_id": "$x"}},
    {"body": "room", "m.mentions": {"room": True}},
    {"body": "nobody", "m.mentions": {}},
]


def some_relation(story: Story, choose: random.Random) -> dict[str, Any]:
    """To a thread, mostly one that there is, or to any event."""
    threads = sorted({one.thread for one in story.events} - {""})
    roots = [one.event_id for one in story.events if one.event_id in threads] or threads
    if not roots or choose.random() < 0.2:
        plain = [one.event_id for one in story.events if not one.thread and not one.related]
        roots = plain[-1:] or roots
    if choose.random() < 0.7 and roots:
        return {"rel_type": "m.thread", "event_id": choose.choice(roots)}
    return {"rel_type": "m.reference", "event_id": choose.choice(story.events[-12:]).event_id}


async def step(story: Story, choose: random.Random) -> None:
    scene, users = story.scene, story.users
    sender = choose.choice([ALICE, BOB, BOB, *choose.sample(users, 2)])
    match choose.choice(
        ["say"] * 4 + ["reply"] * 3 + ["mention", "name", "state", "remote", "redact", "read", "read", "rules", "grant"]
    ):
        case "say":
            await story.say(sender, choose.choice(CONTENTS))
        case "reply" if story.events:
            await story.say(sender, {**choose.choice(CONTENTS), "m.relates_to": some_relation(story, choose)})
        case "mention":
            named = [*choose.sample(users, choose.randint(1, 4)), ALICE, EVE, "@nobody:x", "nonsense"]
            await story.say(sender, {"body": "you", "m.mentions": {"user_ids": named}})
        case "name":
            name = choose.choice(users).partition("-")[0][1:].capitalize()
            await story.say(sender, {"body": f"Where is {name} of {story.seed}?"})
        case "state":
            type = choose.choice(["m.room.topic", "m.room.tombstone", "org.example"])
            content = {"body": "x", "replacement_room": "!x", "topic": f"{choose.random()}"}
            await story.happened(await scene.put(ALICE, story.room_id, type, content))
        case "remote":
            event = await scene.remote(story.room_id, EVE, "m.room.message", choose.choice(CONTENTS))
            await story.happened(event.event_id)
        case "redact" if story.events:
            told = choose.choice(story.events[-12:])
            if not told.redacted:
                await story.redact(told)
        case "read" if story.events:
            told = choose.choice(story.events)
            type, thread = choose.choice(["m.read", "m.read.private"]), choose.choice([None, told.thread or "main"])
            await story.read(choose.choice(users), told, type, thread)
        case "rules":
            name = choose.choice([one for one in RULE_SETS if one != "default"])
            for change in RULE_SETS[name]:
                await change_rules(scene, choose.choice(users), story.room_id, change)
        case "grant":
            await scene.services.slots.grant()
        case _:
            pass


@pytest.mark.parametrize("seed", range(examples(2)))
async def test_counts_equal_a_recount(scene: Scene, seed: int) -> None:
    """Random messages, mentions, keywords, state, redactions, receipts, changed rules and granted slots: the counts of
    everybody are those of a recount, whichever way they are had."""
    choose = random.Random(seed)
    story = await begin(scene, seed)
    await story.check()
    for number in range(32):
        await step(story, choose)
        if number % 4 == 0:
            await story.check()
    await scene.services.slots.grant()
    await story.check()
    for _ in range(6):
        await step(story, choose)
    await story.check()
    assert len((await scene.row(story.room_id)).classes) > 4


async def test_muting_does_not_rewrite_the_past(scene: Scene) -> None:
    """What was unread before stays unread; what comes afterwards is silent; and the other way round."""
    story = await begin(scene, 1000, ["default", "mentions"])
    muted = story.users[0]
    await story.say(ALICE, {})
    await story.say(ALICE, {})
    await change_rules(scene, muted, story.room_id, RULE_SETS["muted-room"][0])
    await story.say(ALICE, {})
    assert story.recount(muted) == (2, 0)
    await story.check()
    await scene.services.push_rules.delete(muted, "room", story.room_id)
    await story.say(ALICE, {})
    assert story.recount(muted) == (3, 0)
    await story.check()


async def test_renewing_a_profile_reads_everything(scene: Scene) -> None:
    """Whatever somebody does in the room says that they have seen it: also a new name."""
    story = await begin(scene, 1001, ["default", "mentions"])
    await story.say(ALICE, {})
    user_id = story.users[0]
    content = {"membership": "join", "displayname": "New"}
    await story.happened(await scene.put(user_id, story.room_id, MEMBER, content, user_id))
    assert story.recount(user_id) == (0, 0)
    await story.check()
