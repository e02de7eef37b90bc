"""Contents of events as people, broken software and attackers make them.

Each function takes the dice and returns a content; it knows nothing of the room but what it is told.
"""

import copy
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from signedjson.key import decode_signing_key_base64
from signedjson.sign import sign_json
from unpaddedbase64 import encode_base64

from homeserver.domain.versions import RoomVersion

Content = dict[str, Any]

USERS = (
    "@alice:one.test",
    "@bob:one.test",
    "@carol:two.test:8448",
    "@dave:two.test:8448",
    "@erin:three.test",
    "@frank:three.test",
)
# Names that some rule may stumble over.
ODD_USERS = ("@:one.test", "@Ümlaut:one.test", "@UPPER:two.test:8448", "@a b:three.test", "@x:1.2.3.4")
NO_USERS = ("@alice:", "@alice:o ne", "alice:one.test", "@alice", "@", "", "*", "one.test", "#alias:one.test")

LEVEL_NAMES = ("users_default", "events_default", "state_default", "ban", "redact", "kick", "invite")
EVENT_TYPES = ("m.room.name", "m.room.topic", "m.room.power_levels", "m.room.message", "m.room.redaction", "org.odd")
STRINGS = (
    "50",
    " 50 ",
    "+50",
    "-1",
    "0050",
    "100",
    "5_0",
    "5.0",
    "abc",
    "",
    " ",
    "１０",
    "1e2",
    "0x10",
    "--5",
    "\t7\n",
)
FLOATS = (50.5, 100.0, -0.5, 0.0, 99.99999, 1e2, 1e15)
HUGE = (2**53, -(2**53), 2**62, 2**63 - 1)
NO_LEVELS: tuple[Any, ...] = (None, True, False, [], {}, [50], {"level": 50})
# Keys of identity servers: the first signs, the second is somebody else's.
INVITE_KEYS = tuple(decode_signing_key_base64("ed25519", "0", encode_base64(bytes([n]) * 32)) for n in (7, 8))


NO_THIRD_PARTY_INVITES: tuple[Any, ...] = ({}, {"signed": {}}, {"signed": 5}, 5, None)
# Values of `additional_creators`, of which some are right.
ODD_CREATORS: tuple[Any, ...] = (
    None,
    "@alice:one.test",
    {},
    [5],
    [None],
    ["@bob:one.test", 7],
    ["@alice:one.test", "@alice:one.test"],
    ["@x:1.2.3.4"],
    ["@x:[::1]:8448"],
    *([user] for user in ODD_USERS + NO_USERS),
    *([f"@alice:{server}"] for server in ("", "o ne", "one.test:99999999", "one.test:", "one_test", "ÜÜ.test")),
    ["@" + "x" * 250 + ":one.test"],
    ["@" + "ü" * 125 + ":one.test"],
    ["@a\u0000b:one.test"],
)


def chance(rng: Random, probability: float) -> bool:
    return rng.random() < probability


def level(rng: Random, own: int) -> int:
    """A level that a sender of level `own` may or may not give."""
    return rng.choice((0, 0, 25, 50, 50, 75, 100, own, own, own - 1, own + 1, -5, 2**53 - 1, -(2**53 - 1)))


def odd_level(rng: Random, version: RoomVersion) -> Any:
    """A level that is no plain integer; never one that the version's JSON forbids."""
    kind = rng.random()
    if kind < 0.5:
        return rng.choice(STRINGS)
    if kind < 0.75 and not version.strict_canonical_json:
        return rng.choice(FLOATS + HUGE)
    return copy.deepcopy(rng.choice(NO_LEVELS))


def power_levels(rng: Random, version: RoomVersion, current: Mapping[str, Any], own: int, oddness: float) -> Content:
    """`current` with one to three changes."""
    content: Content = copy.deepcopy(dict(current)) if chance(rng, 0.93) else {}
    for _ in range(rng.choice((1, 1, 2, 3))):
        value = odd_level(rng, version) if chance(rng, oddness) else level(rng, own)
        kind = rng.random()
        if kind < 0.45:
            users = USERS if chance(rng, 0.9) else ODD_USERS + NO_USERS
            _change(rng, content, "users", rng.choice(users), value)
        elif kind < 0.6:
            _change(rng, content, "events", rng.choice(EVENT_TYPES), value)
        elif kind < 0.7:
            _change(rng, content, "notifications", rng.choice(("room", "odd")), value)
        elif kind < 0.95:
            _change(rng, content, None, rng.choice(LEVEL_NAMES), value)
        elif chance(rng, oddness * 3):
            content[rng.choice(("users", "events", "notifications"))] = copy.deepcopy(rng.choice((*NO_LEVELS, 5, "x")))
    return content


def _change(rng: Random, content: Content, table: str | None, name: str, value: Any) -> None:
    """Set or remove one level in `content`."""
    entries = content if table is None else content.setdefault(table, {})
    if not isinstance(entries, dict):
        return
    if chance(rng, 0.15):
        entries.pop(name, None)
    else:
        entries[name] = value


def join_rules(rng: Random, oddness: float) -> Content:
    if chance(rng, oddness):
        rule: Any = rng.choice(("private", "unknown", "", "PUBLIC", None, 5, ["public"]))
        return {} if chance(rng, 0.3) else {"join_rule": copy.deepcopy(rule)}
    content: Content = {
        "join_rule": rng.choice(("public", "invite", "knock", "restricted", "restricted", "knock_restricted"))
    }
    if "restricted" in content["join_rule"]:
        content["allow"] = [{"type": "m.room_membership", "room_id": "!other:one.test"}]
    return content


def create(rng: Random, version: RoomVersion, creator: str) -> Content:
    """The content of a create event that the rules allow."""
    content: Content = {"room_version": version.identifier}
    if version.identifier == "1" and chance(rng, 0.5):
        del content["room_version"]
    if not version.creator_is_sender:
        # A creator who is not the sender is legal, and only he is the creator.
        content["creator"] = creator if chance(rng, 0.93) else rng.choice(USERS)
    if chance(rng, 0.2):
        content["m.federate"] = rng.choice((True, False)) if chance(rng, 0.95) else copy.deepcopy(rng.choice(NO_LEVELS))
    if chance(rng, 0.3 if version.privileged_creators else 0.05):
        content["additional_creators"] = rng.sample(USERS, rng.choice((0, 1, 1, 2)))
    if chance(rng, 0.1):
        content["type"] = "m.space"
    return content


def spoil_create(rng: Random, content: Content) -> None:
    """Make a create event doubtful in one way."""
    kind = rng.randrange(6)
    if kind == 0:
        content["room_version"] = copy.deepcopy(rng.choice(("99", "org.unknown", "", 10, None, "01")))
    elif kind == 1:
        content.pop("creator", None)
    elif kind == 2:
        content["creator"] = copy.deepcopy(rng.choice((None, 5, "", "nobody")))
    elif kind == 3:
        content["m.federate"] = copy.deepcopy(rng.choice(("false", 0, None, {})))
    else:
        content["additional_creators"] = copy.deepcopy(rng.choice(ODD_CREATORS))


def third_party_room_invite(rng: Random, oddness: float) -> Content:
    """The content of m.room.third_party_invite."""
    keys = [encode_base64(key.verify_key.encode()) for key in INVITE_KEYS]
    content: Content = {"display_name": "al...", "key_validity_url": "https://id.test/valid"}
    if chance(rng, 0.7):
        content["public_key"] = keys[0] if chance(rng, 0.7) else keys[1]
    if chance(rng, 0.4):
        content["public_keys"] = [{"public_key": key} for key in rng.sample(keys, rng.choice((1, 2)))]
    if chance(rng, oddness):
        content[rng.choice(("public_key", "public_keys"))] = rng.choice((None, 5, "not a key", "", {}, []))
    return content


def third_party_invite(rng: Random, target: str, token: str, oddness: float) -> Content:
    """The content of an m.room.member that redeems a third-party invite; sometimes it is a bad one."""
    signed: Content = {"mxid": target if chance(rng, 0.9) else rng.choice(USERS), "token": token}
    signed = sign_json(signed, "id.test", INVITE_KEYS[0] if chance(rng, 0.9) else INVITE_KEYS[1])
    if chance(rng, oddness):
        kind = rng.randrange(6)
        if kind < 3:
            del signed[("mxid", "token", "signatures")[kind]]
        elif kind == 3:
            signed["signatures"] = copy.deepcopy(rng.choice(({}, {"id.test": {}}, {"id.test": {"ed25519:0": "AAAA"}})))
        elif kind == 4:
            signed["token"] = copy.deepcopy(rng.choice((5, None, "", "unknown")))
        else:
            return {"membership": "invite", "third_party_invite": copy.deepcopy(rng.choice(NO_THIRD_PARTY_INVITES))}
    return {"membership": "invite", "third_party_invite": {"display_name": "al...", "signed": signed}}


def odd_member(rng: Random) -> Content:
    """A membership that is none."""
    membership: Any = copy.deepcopy(rng.choice(("unknown", "", "JOIN", None, 5, ["join"], {"membership": "join"})))
    return {} if chance(rng, 0.3) else {"membership": membership}


def plain_state(rng: Random) -> Content:
    return copy.deepcopy(rng.choice(PLAIN))


PLAIN: Sequence[Content] = (
    {"name": "Room"},
    {"topic": "a topic with \u2028, \U0001f600 and \u0000"},
    {"aliases": ["#a:one.test"], "alias": 5},
    {"history_visibility": "shared", "other": "text"},
    {"body": "removed", "replacement_room": "!next:one.test"},
    {"a": {"b": {"c": [1, 2, {"d": None}]}}, "é": "e\u0301", "Z": -0, "z": 10**15},
    {},
)
