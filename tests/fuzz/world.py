"""The rooms and people that requests are about, and the words that the server knows because of them."""

import itertools
import random
from collections import deque
from collections.abc import Mapping
from typing import Any

from tests.clients.conftest import Served
from tests.conformance.client import Answer, MatrixClient, v3

# Of each kind of word so many are remembered, the newest.
REMEMBERED = 30
PASSWORD = "correct horse"
VERSIONS = ("1", "3", "6", "8", "10", "11", "12", "12", "12")
# Members of answers that are worth asking for later, and as what.
LEARNT = {
    "room_id": "!",
    "event_id": "$",
    "filter_id": "filter_id",
    "next_batch": "from",
    "prev_batch": "from",
    "start": "from",
    "end": "from",
    "session": "session",
    "nonce": "nonce",
    "device_id": "device_id",
}
EVENT_TYPES = (
    "m.room.message", "m.room.name", "m.room.topic", "m.room.avatar", "m.room.member", "m.room.power_levels",
    "m.room.join_rules", "m.room.history_visibility", "m.room.guest_access", "m.room.canonical_alias",
    "m.room.encryption", "m.room.server_acl", "m.room.pinned_events", "m.room.tombstone", "m.room.create",
    "m.room.redaction", "m.room.third_party_invite", "m.reaction", "m.sticker", "m.call.invite", "m.space.child",
    "org.example.custom",
)  # fmt: skip
WORDS: Mapping[str, tuple[str, ...]] = {
    "#": ("#place:test.example", "#nowhere:test.example", "#far:other.example"),
    "{tag}": ("m.favourite", "u.work", "x"),
    "new_version": VERSIONS,
    "type": (
        *EVENT_TYPES,
        *["m.login.password", "m.login.dummy"] * 5,
        "m.direct",
        "m.ignored_user_list",
        "m.push_rules",
    ),
    "{type}": ("m.direct", "m.ignored_user_list", "m.push_rules", "m.fully_read", "org.example.one", "org.example.two"),
    "{event_type}": (*EVENT_TYPES, *["m.room.message", "m.reaction", "org.example.custom"] * 5),
    "state_key": ("", "key", "@alice:test.example"),
    "{state_key}": ("key", "@alice:test.example", "@bob:test.example", "@carol:test.example"),
    "{key}": ("displayname", "avatar_url", "m.tz", "org.example.field"),
    "kind": ("event_match", "event_property_is", "event_property_contains", "room_member_count", "m.nonsense"),
    "{kind}": ("override", "underride", "content", "room", "sender", "override", "content", "nonsense"),
    "{rule_id}": ("mine", "other", "mine", ".m.rule.master", ".m.rule.message", "!room:test.example"),
    "{receipt_type}": ("m.read", "m.read.private", "m.fully_read", "m.nonsense"),
    "is": ("2", ">3", "<=10", "==1", "x"),
    "set_tweak": ("sound", "highlight"),
    "password": (PASSWORD, "wrong horse"),
    "new_password": (PASSWORD,),
    "username": ("alice", "new", "Alice", "bob2", "_x", "1"),
    "user": ("alice", "@alice:test.example", "nobody"),
    "room_version": VERSIONS,
    "membership": ("join", "leave", "invite", "ban", "knock"),
    "join_rule": ("public", "invite", "knock", "restricted", "knock_restricted", "private"),
    "history_visibility": ("shared", "joined", "invited", "world_readable"),
    "thread_id": ("main", "$thread"),
    "actions": ("notify", "dont_notify", "coalesce"),
    "rel_type": ("m.thread", "m.replace", "m.annotation", "m.reference"),
    "{rel_type}": ("m.thread", "m.replace", "m.annotation", "m.reference"),
    "msgtype": ("m.text", "m.image", "m.emote", "m.notice"),
}
NAMES_OF_USERS = {
    "@",
    "{user_id}",
    "user_id",
    "sender",
    "senders",
    "not_senders",
    "invite",
    "creator",
    "additional_creators",
    "users",
}
NAMES_OF_ROOMS = {"!", "room_id", "{room_id}", "{room_id_or_alias}", "rooms", "not_rooms"}
NAMES_OF_EVENTS = {
    "$",
    "event_id",
    "{event_id}",
    "m.read",
    "m.read.private",
    "m.fully_read",
    "redacts",
    "before",
    "after",
}
NAMES_OF_TOKENS = {"from", "to", "since", "at"}
PLAIN = ("", "word", "Zoë", "org.example.thing", "*", "m.text", "x" * 100)


class World:
    """Two people with rooms, and a third whose requests are about the account itself and may end it. Whoever is locked
    out becomes somebody else. `speaker` is who asks now: words are about them more often than not."""

    def __init__(self, served: Served, dice: random.Random) -> None:
        self._served = served
        self._dice = dice
        self._numbers = itertools.count(1)
        self._known: dict[str, deque[str]] = {}
        self.people: list[MatrixClient] = []
        self.speaker = ""

    async def begin(self) -> None:
        for name in ("alice", "bob", "carol"):
            self.people.append(await self._served.user(name))
        await self.refresh()

    async def renew(self) -> None:
        """Another account for everybody whose token is good no more, and a new room."""
        for client in self.people:
            if (await client.ask("GET", v3("account", "whoami"))).status == 401:
                await client.register(f"person{next(self._numbers)}", PASSWORD)
        await self.refresh()

    async def replace_people(self) -> None:
        """Other accounts for all: something that was done broke these."""
        for client in self.people:
            await client.register(f"person{next(self._numbers)}", PASSWORD)
        await self.refresh()

    async def refresh(self) -> None:
        """A new room with both in it and things said: of the older ones they may have shut themselves out."""
        alice, bob, _ = self.people
        room = await alice.create_room(
            preset=self._dice.choice(("public_chat", "trusted_private_chat")),
            room_version=self._dice.choice(VERSIONS),
            invite=[bob.user_id],
        )
        await bob.join(room)
        self.note("!", room)
        for client in (alice, bob):
            self.note("@", client.user_id)
            root = await client.send(room, "Hello")
            thread = {"rel_type": "m.thread", "event_id": root}
            self.note("$", root)
            self.note("$", await client.send(room, {"msgtype": "m.text", "body": "Yes", "m.relates_to": thread}))
            self.note("from", (await client.sync(filter={"room": {"rooms": [room]}}))["next_batch"])
        self.note("$", await alice.set_state(room, "m.room.topic", {"topic": "x"}))
        path = v3("user", alice.user_id, "filter")
        self.note("filter_id", (await alice.call("POST", path, {"room": {"timeline": {"limit": 2}}}))["filter_id"])

    def word(self, name: str) -> str:
        """Something that a field, parameter or sigil of this name may mean."""
        dice = self._dice
        if dice.random() < 0.03:
            return dice.choice(PLAIN)
        if name == "{user_id}" and dice.random() < 0.9:
            return self.speaker
        if name == "{room_alias}" or (name == "{room_id_or_alias}" and dice.random() < 0.1):
            name = "#"
        for kind, names in (
            ("@", NAMES_OF_USERS), ("!", NAMES_OF_ROOMS), ("$", NAMES_OF_EVENTS), ("from", NAMES_OF_TOKENS)
        ):  # fmt: skip
            if name in names:
                return self._known_word(kind)
        if name == "{txn_id}":
            return f"t{dice.randrange(200)}"
        if name.strip("{}") in self._known:
            return self._known_word(name.strip("{}"))
        return dice.choice(WORDS.get(name) or PLAIN)

    def _known_word(self, kind: str) -> str:
        others = {"@": "@nobody:test.example", "!": "!nowhere:test.example", "$": "$nothing"}
        known = self._known.get(kind)
        if not known or self._dice.random() < 0.1:
            return others.get(kind, "unknown")
        # The newest are of use to most, mostly.
        newest = {"!": 1, "$": 6, "@": 3, "from": 3}.get(kind, REMEMBERED)
        return self._dice.choice(list(known)[-newest:] if self._dice.random() < 0.7 else known)

    def note(self, kind: str, value: str) -> None:
        self._known.setdefault(kind, deque(maxlen=REMEMBERED)).append(value)

    def learn(self, answer: Answer) -> None:
        """Remembers what an answer names, so that later requests can ask for it."""
        if isinstance(answer.body, dict):
            found: dict[str, Any] = answer.body
            for name, kind in LEARNT.items():
                if isinstance(found.get(name), str):
                    self.note(kind, found[name])
