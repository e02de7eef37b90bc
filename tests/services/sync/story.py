"""Plays the steps of `generator.py`: three to five people of this server and two of another, in up to four rooms."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from homeserver.domain.errors import ParleyError
from homeserver.domain.presence import PRESENCES
from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.services.accounts.data import AccountData
from homeserver.services.push.rules import PushRules
from homeserver.services.rooms.create import RoomRequest
from homeserver.streams.publications import EventItem
from tests.builders.cluster import SERVER_NAME
from tests.services.sync.generator import Action, Step
from tests.services.sync.world import REMOTE, RoomLog, World

VISIBILITIES = ("shared", "joined", "invited", "world_readable")
MAX_ROOMS = 4
VERSIONS = ("12", "12", "12", "10", "12", "1", "6", "11", "2", "3", "7", "9")


class Story:
    """Three to five people here, two elsewhere, and up to four rooms."""

    def __init__(self, world: World, seed: int, people: int = 0) -> None:
        self.world = world
        self.number = world.new_story()
        chance = random.Random(seed)
        self.people = [f"@p{n}-{self.number}:{SERVER_NAME}" for n in range(people or chance.randint(3, 5))]
        self.strangers = [f"@s{n}-{self.number}:{REMOTE}" for n in range(2)]
        self.version_at = seed
        self.rooms: list[str] = []
        self._txns = 0
        self._sent: list[tuple[str, str, str, str]] = []
        self._ignored: dict[str, set[str]] = {}
        self._changed_rules: set[str] = set()

    @property
    def rules(self) -> PushRules:
        """Of whichever house there is now."""
        return self.world.house.push_rules

    async def begin(self) -> None:
        """A room in which everybody is."""
        room = await self._new_room(self.people[0], 1)
        for person in self.people[1:]:
            await self.world.house.membership.join(person, room)
        for stranger in self.strangers:
            await self._remote_member(stranger, room, "join")

    async def play(self, step: Step) -> None:
        """Returns when all of the step has happened or was refused."""
        await asyncio.gather(*(self._act(action) for action in step))
        await self.world.database.settle()

    async def _act(self, action: Action) -> None:
        try:
            await getattr(self, f"_{action.verb}")(*action.picks)
        except ParleyError:
            return  # the rules refused it

    # --- who and where ---

    def log(self, room: str) -> RoomLog:
        return self.world.logs.setdefault(room, RoomLog())

    def _room(self, pick: int) -> str:
        return self.rooms[pick % len(self.rooms)]

    def members(self, room: str) -> dict[str, str]:
        """Memberships as the published events tell them."""
        return {
            item.state_key: item.membership
            for _, item in self.log(room).events
            if item.state_key is not None and item.membership is not None and item.is_current
        }

    def _person(self, room: str, pick: int) -> str:
        """Mostly somebody who is there."""
        members = self.members(room)
        there = [person for person in self.people if members.get(person) == "join"]
        return (there if there and pick % 8 else self.people)[
            pick // 8 % len(there if there and pick % 8 else self.people)
        ]

    def _anybody(self, pick: int) -> str:
        everybody = self.people + self.strangers
        return everybody[pick % len(everybody)]

    def _event(self, room: str, pick: int) -> EventItem:
        """Mostly one of the newer ones."""
        events = self.log(room).events
        newest = events[-12:] if pick % 4 else events
        return newest[pick // 4 % len(newest)][1]

    def _txn(self) -> str:
        self._txns += 1
        return f"t{self._txns}"

    # --- what tests ask of it ---

    def is_forked(self, room: str) -> bool:
        """Whether the room's state is another one than its events, in order, would make it."""
        return self.log(room).forked

    def changed_minds(self, user_id: str) -> bool:
        """Whether the user changed what counts as unread."""
        return user_id in self._changed_rules or bool(self._ignored.get(user_id))

    def ever_ignored(self, user_id: str) -> set[str]:
        """Everybody whom the user ignored at some time, and "" if the list was ever changed."""
        return self._ignored.get(user_id, set())

    def end_of_stay(self, room: str, user_id: str) -> int | None:
        """The position at which the user was last seen leaving; 0: was never there. None if that cannot be told."""
        if self.is_forked(room):
            return None
        end, there = 0, False
        for position, item in self.log(room).events:
            if item.state_key == user_id and item.membership is not None and item.is_current:
                end = position if there else end
                there = item.membership == "join"
        return end

    # --- messages ---

    async def _message(self, who: int, where: int, what: int, *_: int) -> None:
        room = self._room(where)
        body = ("hello", "fresh fish", "how are you", "FISH!", "selfishness")[what % 5]
        content: dict[str, Any] = {"body": body, "msgtype": "m.notice" if what % 11 == 0 else "m.text"}
        if what % 7 == 0:
            content["m.relates_to"] = {"rel_type": "m.thread", "event_id": self._event(room, what // 7).event_id}
        type = "m.reaction" if what % 13 == 0 else "m.room.message"
        await self.send(self._person(room, who), room, type, content)

    async def _reply(self, who: int, where: int, which: int, what: int, value: int) -> None:
        """Into a thread, mostly the one that an event stands in; or to any event, be it an edit, a reaction ..."""
        room = self._room(where)
        target = self._event(room, which)
        rel_type = ("m.thread", "m.thread", "m.annotation", "m.replace", "m.reference")[what % 5]
        event_id = target.thread_root if rel_type == "m.thread" and target.thread_root else target.event_id
        relation = {"rel_type": rel_type, "event_id": event_id, "key": "+"}
        body = ("hello", "fresh fish", "FISH!")[value % 3]
        content: dict[str, Any] = {"body": body, "msgtype": "m.text", "m.relates_to": relation, "m.new_content": {}}
        if value % 7 == 0:
            content["m.mentions"] = {"user_ids": [self._anybody(value // 7)]}
        await self.send(self._person(room, who), room, "m.room.message", content)

    async def _mention(self, who: int, where: int, whom: int, what: int, *_: int) -> None:
        room = self._room(where)
        mentions: dict[str, Any] = {"user_ids": [self._anybody(whom), self._anybody(whom // 8)]}
        if what % 3 == 0:
            mentions = {"room": True}
        content = {"body": "you", "msgtype": "m.text", "m.mentions": mentions}
        await self.send(self._person(room, who), room, "m.room.message", content)

    async def send(self, sender: str, room: str, type: str, content: Mapping[str, Any]) -> str:
        """From the sender's first device."""
        txn = self._txn()
        event_id = await self.world.house.send.message(sender, "D0", room, type, txn, content)
        self._sent.append((sender, room, type, txn))
        return event_id

    async def _repeat(self, which: int, *_: int) -> None:
        if self._sent:
            sender, room, type, txn = self._sent[which % len(self._sent)]
            await self.world.house.send.message(sender, "D0", room, type, txn, {"body": "again"})

    async def _redact(self, who: int, where: int, which: int, *_: int) -> None:
        room = self._room(where)
        target = self._event(room, which)
        person = target.sender if who % 3 and target.sender in self.people else self._person(room, who)
        await self.world.house.send.redaction(person, "D0", room, target.event_id, self._txn(), {"reason": "no"})

    # --- state ---

    async def _state(self, who: int, where: int, what: int, value: int, *_: int) -> None:
        room = self._room(where)
        type, key, content = _some_state(what, value)
        await self.world.house.send.state(self._person(room, who), room, type, key, content)

    async def _visibility(self, _who: int, where: int, what: int, *_: int) -> None:
        room = self._room(where)
        content = {"history_visibility": VISIBILITIES[what % 4]}
        await self.world.house.send.state(self._owner(room), room, "m.room.history_visibility", "", content)

    async def _join_rules(self, _who: int, where: int, what: int, *_: int) -> None:
        room = self._room(where)
        content = {"join_rule": ("public", "public", "invite", "knock")[what % 4]}
        await self.world.house.send.state(self._owner(room), room, "m.room.join_rules", "", content)

    async def _power(self, _who: int, where: int, whom: int, level: int, *_: int) -> None:
        room = self._room(where)
        owner = self._owner(room)
        target = self._anybody(whom)
        raw = await self.world.house.state.get(owner, room, "m.room.power_levels", "")
        levels = orjson.loads(raw)
        if target != owner:
            levels["users"] = {**levels.get("users", {}), target: (0, 25, 50, 75)[level % 4]}
        levels["redact"] = (50, 0)[level // 4 % 2]
        await self.world.house.send.state(owner, room, "m.room.power_levels", "", levels)

    def _owner(self, room: str) -> str:
        return self.log(room).events[0][1].sender

    # --- members ---

    async def _join(self, who: int, where: int, *_: int) -> None:
        await self.world.house.membership.join(self.people[who % len(self.people)], self._room(where))

    async def _leave(self, who: int, where: int, *_: int) -> None:
        await self.world.house.membership.leave(self.people[who % len(self.people)], self._room(where))

    async def _kick(self, who: int, where: int, whom: int, *_: int) -> None:
        room = self._room(where)
        await self.world.house.membership.kick(self._mighty(room, who), room, self._anybody(whom), "go")

    async def _ban(self, who: int, where: int, whom: int, *_: int) -> None:
        room = self._room(where)
        await self.world.house.membership.ban(self._mighty(room, who), room, self._anybody(whom))

    async def _unban(self, who: int, where: int, whom: int, *_: int) -> None:
        room = self._room(where)
        banned = [member for member, membership in self.members(room).items() if membership == "ban"]
        target = banned[whom % len(banned)] if banned else self._anybody(whom)
        await self.world.house.membership.unban(self._mighty(room, who), room, target)

    async def _invite(self, who: int, where: int, whom: int, *_: int) -> None:
        room = self._room(where)
        await self.world.house.membership.invite(self._person(room, who), room, self._anybody(whom))

    def _mighty(self, room: str, pick: int) -> str:
        return self._owner(room) if pick % 2 else self._person(room, pick)

    async def _knock(self, who: int, where: int, *_: int) -> None:
        await self.world.house.membership.knock(self.people[who % len(self.people)], self._room(where))

    async def _forget(self, who: int, where: int, *_: int) -> None:
        room = self._room(where)
        gone = [person for person in self.people if self.members(room).get(person) in ("leave", "ban")]
        if gone:
            await self.world.house.membership.forget(gone[who % len(gone)], room)

    async def _rename(self, who: int, _where: int, what: int, *_: int) -> None:
        person = self.people[who % len(self.people)]
        name = orjson.dumps(f"name {what % 5}").decode()
        await self.world.database.write(lambda store: store.profiles.set(person, "displayname", name))
        await self.world.house.membership.profile_changed(person)

    async def _create(self, who: int, _where: int, what: int, *_: int) -> None:
        if len(self.rooms) < MAX_ROOMS:
            await self._new_room(self.people[who % len(self.people)], what)

    async def _new_room(self, creator: str, what: int) -> str:
        version = ROOM_VERSIONS[VERSIONS[self.version_at % len(VERSIONS)]]
        self.version_at += 5
        levels = {"users_default": 50, "events": {"m.room.history_visibility": 50}} if what % 3 else {}
        preset = "private_chat" if what % 4 == 0 else "public_chat"
        invited = [person for person in self.people if person != creator][:1] if what % 4 == 0 else []
        room = await self.world.house.create(
            creator, RoomRequest(version, preset, name=f"room {what % 9}", power_levels=levels, invite=invited)
        )
        self.rooms.append(room)
        return room

    # --- what is no event ---

    async def _receipt(self, who: int, where: int, which: int, what: int, *_: int) -> None:
        room = self._room(where)
        type = ("m.read", "m.read", "m.read.private")[what % 3]
        thread = (None, None, "main")[what // 3 % 3]
        event_id = self._event(room, which).event_id
        await self.world.house.receipts.set(self._person(room, who), room, {type: event_id}, thread)

    async def _thread_receipt(self, who: int, where: int, which: int, what: int, *_: int) -> None:
        """For the thread that the event stands in."""
        room = self._room(where)
        event = self._event(room, which)
        type, thread = ("m.read", "m.read.private")[what % 2], event.thread_root or "main"
        await self.world.house.receipts.set(self._person(room, who), room, {type: event.event_id}, thread)

    async def _fully_read(self, who: int, where: int, which: int, *_: int) -> None:
        room = self._room(where)
        types = {"m.fully_read": self._event(room, which).event_id}
        await self.world.house.receipts.set(self._person(room, who), room, types, None)

    async def _type(self, who: int, where: int, what: int, *_: int) -> None:
        room = self._room(where)
        await self.world.house.typing.set(self._person(room, who), room, 100.0 if what % 2 else 0.0)

    async def _present(self, who: int, what: int, status: int, *_: int) -> None:
        """Said by a person, on a device that may be syncing or not."""
        person, message = self.people[who % len(self.people)], (None, None, "busy", "fishing")[status % 4]
        device = ("D0", "D1")[status // 4 % 2]
        await self.world.house.presence.set(person, device, PRESENCES[what % 3], message)

    async def _pass(self, how: int, *_: int) -> None:
        """Time passes: a second, or enough to be away, or to be idle."""
        self.world.clock.skip((1_000, 1_000, 1_000, 31_000, 301_000)[how % 5])
        await self.world.house.presence.tick()

    async def _data(self, who: int, where: int, what: int, value: int, *_: int) -> None:
        person = self.people[who % len(self.people)]
        room = self._room(where) if what % 2 else None
        await self.set_data(person, f"org.example.{what // 2 % 2}", {"value": value % 4}, room)

    async def _ignore(self, who: int, _where: int, whom: int, *_: int) -> None:
        person = self.people[who % len(self.people)]
        ignored: dict[str, Any] = {self._anybody(whom): {}} if whom % 3 else {}
        self._ignored.setdefault(person, set()).update(ignored, [""])
        await self.set_data(person, "m.ignored_user_list", {"ignored_users": ignored}, None)

    async def set_data(self, person: str, type: str, content: Mapping[str, Any], room: str | None = None) -> None:
        await AccountData(self.world.database).set(person, type, content, room)

    async def _rule(self, who: int, where: int, what: int, whom: int, *_: int) -> None:
        person = self.people[who % len(self.people)]
        self._changed_rules.add(person)
        await change_rules(self.rules, person, what, self._room(where), self._anybody(whom))

    # --- from elsewhere ---

    async def _remote(self, who: int, where: int, what: int, value: int, *_: int) -> None:
        """A stranger acts where the room ends."""
        room, stranger = self._room(where), self.strangers[who % 2]
        if self.members(room).get(stranger) != "join":
            await self._remote_member(stranger, room, "join")
        elif what % 9 == 0:
            await self._remote_member(stranger, room, "leave")
        elif what % 4 == 0:
            type, key, content = _some_state(what // 4, value)
            await self.world.append(room, stranger, type, content, state_key=key)
        else:
            await self._remote_message(stranger, room, value, None)

    async def _heard(self, who: int, what: int, *_: int) -> None:
        """What the strangers' server says of one of them."""
        update = {"presence": PRESENCES[what % 3], "last_active_ago": what, "currently_active": bool(what % 2)}
        await self.world.house.presence.heard(self.strangers[who % 2], update)

    async def _late(self, who: int, where: int, which: int, what: int, *_: int) -> None:
        """A message that was sent when the room ended at an older event."""
        room = self._room(where)
        await self._remote_message(self.strangers[who % 2], room, what, [self._event(room, which).event_id])

    async def _late_member(self, who: int, where: int, which: int, what: int, *_: int) -> None:
        room = self._room(where)
        membership = ("join", "leave", "join")[what % 3]
        await self._remote_member(self.strangers[who % 2], room, membership, [self._event(room, which).event_id], what)

    async def _merge(self, who: int, where: int, which: int, other: int, what: int) -> None:
        room = self._room(where)
        after = sorted({self._event(room, which).event_id, self._event(room, other).event_id})
        await self._remote_message(self.strangers[who % 2], room, what, after)

    async def _late_state(self, who: int, where: int, which: int, what: int, value: int) -> None:
        room, stranger = self._room(where), self.strangers[who % 2]
        after = [self._event(room, which).event_id]
        type, key, content = _some_state(what, value)
        if what % 5 == 0:
            type, key, content = "m.room.join_rules", "", {"join_rule": ("invite", "public")[value % 2]}
        if what % 5 == 1:
            type, key, content = "m.room.member", self._anybody(value), {"membership": ("ban", "leave")[value % 2]}
        await self.world.append(room, stranger, type, content, state_key=key, after=after)

    async def _remote_message(self, sender: str, room: str, what: int, after: Sequence[str] | None) -> None:
        if what % 6 == 0:
            target = self._event(room, what // 6).event_id
            await self.world.append(room, sender, "m.room.redaction", {}, redacts=target, after=after)
        else:
            content: dict[str, Any] = {"body": f"from afar {what}", "msgtype": "m.text"}
            if what % 5 == 0:
                content["m.relates_to"] = {"rel_type": "m.thread", "event_id": self._event(room, what // 5).event_id}
            await self.world.append(room, sender, "m.room.message", content, after=after)

    async def _remote_member(
        self, stranger: str, room: str, membership: str, after: Sequence[str] | None = None, name: int = 0
    ) -> None:
        content = {"membership": membership, "displayname": f"stranger {name % 3}"}
        await self.world.append(room, stranger, "m.room.member", content, state_key=stranger, after=after)


async def change_rules(rules: PushRules, person: str, what: int, room: str, other: str) -> None:
    """One of fourteen changes of a person's push rules."""
    loud = ["notify", {"set_tweak": "highlight"}]
    match what % 14:
        case 0:
            await rules.set_enabled(person, "override", ".m.rule.master", bool(what // 12 % 2))
        case 1:
            await rules.put(person, "content", "fish", actions=loud, pattern="fish")
        case 2:
            await rules.put(person, "content", "glob", actions=["notify"], pattern="h?l*o")
        case 3:
            about = [{"kind": "event_match", "key": "room_id", "pattern": room}]
            await rules.put(person, "override", room, actions=[], conditions=about)
        case 4:
            await rules.put(person, "room", room, actions=[])
        case 5:
            await rules.put(person, "sender", other, actions=[])
        case 6:
            await rules.put(person, "sender", other, actions=loud)
        case 7:
            await rules.set_enabled(person, "underride", ".m.rule.message", bool(what // 12 % 2))
        case 8:
            await rules.set_enabled(person, "override", ".m.rule.is_user_mention", bool(what // 12 % 2))
        case 9:
            await rules.set_actions(person, "override", ".m.rule.reaction", ["notify"])
        case 10:
            await rules.set_enabled(person, "override", ".m.rule.suppress_notices", bool(what // 12 % 2))
        case 11:
            await rules.delete(person, *(("content", "fish"), ("override", "topics"))[what // 12 % 2])
        case 12:
            await rules.delete(person, *(("room", room), ("override", room), ("sender", other))[what // 12 % 3])
        case _:
            about = [{"kind": "event_match", "key": "type", "pattern": "m.room.topic"}]
            await rules.put(person, "override", "topics", actions=loud, conditions=about)


def _some_state(what: int, value: int) -> tuple[str, str, dict[str, Any]]:
    return (
        ("m.room.name", "", {"name": f"name {value % 4}"}),
        ("m.room.topic", "", {"topic": f"topic {value % 4}"}),
        ("org.example.flag", f"key {value % 2}", {"value": value % 3}),
    )[what % 3]
