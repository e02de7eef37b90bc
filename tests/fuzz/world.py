"""The rooms and people that requests are about, and the words that the server knows because of them."""

import itertools
import random
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from tests.clients.conftest import Served
from tests.conformance.client import Answer, MatrixClient, v3
from tests.fuzz.places import KINDS, REMEMBERED, Company, Place, talk

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
    "next_batch_token": "batch_token",
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
STATE_TYPES = (
    "m.room.name", "m.room.topic", "m.room.power_levels", "m.room.join_rules", "m.room.history_visibility",
    "m.room.guest_access",
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
    "{state_type}": (*STATE_TYPES, *["m.room.member"] * 4, "m.room.create", "org.example.custom"),
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


# The people, by number: carol's requests are about the account itself and may end it, root's are an administrator's.
ALICE, BOB, CAROL, DORA, EMIL, ROOT, GUEST = range(7)
NAMES = ("alice", "bob", "carol", "dora", "emil")


class World:
    """People with rooms of every kind. Whoever is locked out becomes somebody else. `speaker` is who asks now: words
    are about them more often than not, and about the room that was named last."""

    def __init__(self, served: Served, dice: random.Random) -> None:
        self._served = served
        self._dice = dice
        self._numbers = itertools.count(1)
        self._known: dict[str, deque[str]] = {}
        # The newest of each kind; the talk is one of them.
        self._places: dict[str, Place] = {}
        self._place = Place("")
        self._rule_kind = ""
        self.people: list[MatrixClient] = []
        self.speaker = ""
        # The kind of room that words are about, mostly; "": any.
        self.usual_place = "talk"

    async def begin(self) -> None:
        for name in NAMES:
            self.people.append(await self._served.user(name))
        self.people.append(await self._served.admin("root"))
        self.people.append(await self._served.guest())
        await self.refresh(list(KINDS))

    async def renew(self) -> None:
        """Another account for everybody whose token is good no more, a new talk, and one more new room."""
        for client in self.people:
            if (await client.ask("GET", v3("account", "whoami"))).status != 401:
                continue
            if client is self.people[GUEST]:
                await client.register_guest()
            else:
                await client.register(f"person{next(self._numbers)}", PASSWORD)
        await self.refresh([self._dice.choice(list(KINDS))])

    async def replace_people(self) -> None:
        """Other accounts for all: something that was done broke these."""
        for client in self.people[:ROOT]:
            await client.register(f"person{next(self._numbers)}", PASSWORD)
        await self.refresh(list(KINDS))

    async def refresh(self, kinds: Sequence[str]) -> None:
        """A new talk, and new rooms of these kinds: of the older ones people may have shut themselves out."""
        alice, bob, dora, emil = (self.people[number] for number in (ALICE, BOB, DORA, EMIL))
        for client in self.people[:ROOT]:
            self.note("@", client.user_id)
        self.note("@", self.people[GUEST].user_id)
        company = Company(alice, bob, dora, emil, self._dice.choice(VERSIONS))
        place = self._places["talk"] = await talk(company)
        self.note("from", place.mark)
        company.talk = place.room_id
        for kind in kinds:
            self._places[kind] = await KINDS[kind](company)
        for kind in ("content", "override"):
            path = v3("pushrules", "global", kind, "mine")
            await alice.call("PUT", path, {"actions": ["notify"], "pattern": "word", "conditions": []})
        await alice.call("PUT", v3("user", alice.user_id, "rooms", place.room_id, "account_data", "org.example.one"))
        path = v3("user", alice.user_id, "filter")
        self.note("filter_id", (await alice.call("POST", path, {"room": {"timeline": {"limit": 2}}}))["filter_id"])

    def word(self, name: str) -> str:
        """Something that a field, parameter or sigil of this name may mean."""
        dice = self._dice
        if dice.random() < 0.03:
            return dice.choice(PLAIN)
        if name == "{user_id}" and dice.random() < 0.9 and self.speaker != self.people[ROOT].user_id:
            return self.speaker
        if name == "{room_alias}" or (name == "{room_id_or_alias}" and dice.random() < 0.1):
            name = "#"
        if name == "{state_key}" and dice.random() < 0.6:
            name = "@"
        if name in NAMES_OF_ROOMS and dice.random() < 0.8:
            kind = self.usual_place if dice.random() < 0.6 else ""
            kind = kind or dice.choice(list(self._places))
            self._place = self._places[kind]
            return self._place.room_id
        if name in NAMES_OF_EVENTS and self._place.events and dice.random() < 0.8:
            return dice.choice(self._place.events)
        for kind, names in (
            ("@", NAMES_OF_USERS), ("!", NAMES_OF_ROOMS), ("$", NAMES_OF_EVENTS), ("from", NAMES_OF_TOKENS)
        ):  # fmt: skip
            if name in names:
                return self._known_word(kind)
        if name == "{txn_id}":
            return f"t{dice.randrange(200)}"
        if name == "{kind}":
            self._rule_kind = dice.choice(WORDS[name])
            return self._rule_kind
        if name == "{rule_id}" and self._rule_kind in ("room", "sender") and dice.random() < 0.8:
            return self.word("!" if self._rule_kind == "room" else "@")
        if name.strip("{}") in self._known:
            return self._known_word(name.strip("{}"))
        return dice.choice(WORDS.get(name) or PLAIN)

    def _known_word(self, kind: str) -> str:
        others = {"@": "@nobody:test.example", "!": "!nowhere:test.example", "$": "$nothing"}
        known = self._known.get(kind)
        if not known or self._dice.random() < 0.1:
            return others.get(kind, "unknown")
        # The newest are of use to most, mostly.
        newest = {"!": 1, "$": 6, "@": len(NAMES), "from": 3}.get(kind, REMEMBERED)
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
                    if kind == "$":
                        self._place.events.append(found[name])
