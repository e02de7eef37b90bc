"""The rules for member events, by who is what in the room."""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

import pytest
from canonicaljson import encode_canonical_json
from nacl.signing import SigningKey

from homeserver.domain.authorization.rules import authorize
from homeserver.domain.event import Event, StateKey
from homeserver.domain.versions import RoomVersion, room_version
from tests.domain.room_builder import ALICE, BOB, CAROL, DAVE, make_event

V1, V6, V7, V8, V10, V11, V12 = (room_version(one) for one in ("1", "6", "7", "8", "10", "11", "12"))
ALL = ("join", "invite", "leave", "ban", "knock", None)


class State:
    """Alice (100) made the room and is joined, Bob has 50, everybody else 0; members as given."""

    def __init__(
        self,
        version: RoomVersion = V11,
        join_rule: str | None = "public",
        levels: Mapping[str, Any] | None = None,
        create: Mapping[str, Any] | None = None,
        **members: str | None,
    ) -> None:
        self.version = version
        self.room_id = "!create" if version.room_id_is_create_hash else "!room:a.example"
        self.events: dict[StateKey, Event] = {}
        users = {BOB: 50} if version.privileged_creators else {ALICE: 100, BOB: 50}
        self.create = self.put("m.room.create", create or {"creator": ALICE})
        self.put("m.room.power_levels", {"users": users, **(levels or {})})
        if join_rule is not None:
            self.put("m.room.join_rules", {"join_rule": join_rule})
        for name, membership in {"alice": "join", **members}.items():
            if membership is not None:
                user_id = f"@{name}:{name[0]}.example"
                self.put("m.room.member", {"membership": membership}, user_id, user_id)

    def put(self, event_type: str, content: Mapping[str, Any], state_key: str = "", sender: str = ALICE) -> Event:
        event_id = "$create" if event_type == "m.room.create" else f"${event_type}|{state_key}"
        event = make_event(self.version, event_id, sender, event_type, content, state_key, room_id=self.room_id)
        self.events[event.key] = event
        return event

    def why(self, sender: str, membership: object, target: str | None = None, **content: Any) -> str | None:
        """Why this member event is not allowed, or None."""
        prev = content.pop("prev_events", ["$x"])
        event = make_event(
            self.version,
            "$new",
            sender,
            "m.room.member",
            {"membership": membership, **content},
            sender if target is None else target,
            room_id=self.room_id,
            prev_events=prev,
        )
        return authorize(event, self.events.get)


def outcomes(membership: str, sender: str, target: str, **options: Any) -> set[str | None]:
    """The present memberships of Carol with which this passes."""
    return {one for one in ALL if State(**options, carol=one).why(sender, membership, target) is None}


def test_a_member_event_without_state_key_or_membership() -> None:
    """It must say whose membership it is, and a known one."""
    state = State()
    event = make_event(V11, "$new", ALICE, "m.room.member", {"membership": "join"}, prev_events=["$x"])
    assert "needs a state key" in (authorize(event, state.events.get) or "")
    event = make_event(V11, "$new", ALICE, "m.room.member", {}, ALICE, prev_events=["$x"])
    assert "needs a state key" in (authorize(event, state.events.get) or "")
    for unknown in ("guest", None, 5, ["join"]):
        assert state.why(ALICE, unknown) == "The membership is unknown."
    assert State(V6).why(CAROL, "knock") == "The membership is unknown."


@pytest.mark.parametrize(
    ("version", "creator"), [(V1, ALICE), (V10, ALICE), (V11, ALICE), (V12, ALICE)], ids=lambda one: str(one)[:30]
)
def test_the_creator_enters_the_empty_room(version: RoomVersion, creator: str) -> None:
    """Right after the create event the creator may join whatever the rules say, and nobody else may."""
    state = State(version, None, create={"creator": creator, "additional_creators": [BOB]}, alice=None)
    assert state.why(creator, "join", prev_events=["$create"]) is None
    assert state.why(BOB, "join", prev_events=["$create"]) == "The sender is not invited."
    assert state.why(creator, "join", prev_events=["$create", "$x"]) == "The sender is not invited."


def test_the_creator_named_in_the_content() -> None:
    """Until version 10 the content names the creator, whoever sent the event."""
    assert State(V10, None, create={"creator": BOB}, alice=None).why(BOB, "join", prev_events=["$create"]) is None
    assert State(V10, None, create={"creator": 7}, alice=None).why(BOB, "join", prev_events=["$create"]) is not None
    assert State(V11, None, create={"creator": BOB}, alice=None).why(BOB, "join", prev_events=["$create"]) is not None


def test_joining() -> None:
    """Everybody but the banned enters a public room; the invited an invite-only room; nobody a private one."""
    everybody = set(ALL)
    assert outcomes("join", CAROL, CAROL) == everybody - {"ban"}
    for rule in (None, "invite", "knock"):
        assert outcomes("join", CAROL, CAROL, join_rule=rule) == {"join", "invite"}
    assert outcomes("join", CAROL, CAROL, version=V6, join_rule="knock") == set()
    assert outcomes("join", CAROL, CAROL, join_rule="private") == set()
    assert State().why(ALICE, "join", CAROL) == "Nobody can join for somebody else."


def test_inviting() -> None:
    """Members may invite whom they like, except the joined and the banned, if they have the level."""
    assert outcomes("invite", BOB, CAROL, bob="join") == {"invite", "leave", "knock", None}
    assert State(bob="leave").why(BOB, "invite", CAROL) == "The sender is not joined."
    assert State(levels={"invite": 51}, bob="join").why(BOB, "invite", CAROL) == "The sender may not invite."


def test_leaving() -> None:
    """Who is in, or asked in, or asks to come in, may leave."""
    assert outcomes("leave", CAROL, CAROL) == {"join", "invite", "knock"}
    assert outcomes("leave", CAROL, CAROL, version=V6) == {"join", "invite"}


def test_kicking_and_unbanning() -> None:
    """Kicking asks for the level and a weaker target, unbanning for the ban level besides."""
    assert outcomes("leave", BOB, CAROL, bob="join") == set(ALL)
    assert outcomes("leave", BOB, CAROL, bob="join", levels={"ban": 51}) == set(ALL) - {"ban"}
    assert outcomes("leave", BOB, CAROL, bob="join", levels={"kick": 51}) == set()
    assert outcomes("leave", BOB, CAROL, bob="invite") == set()
    assert State(carol="join", levels={"users": {BOB: 50, CAROL: 50}}, bob="join").why(BOB, "leave", CAROL) is not None


def test_banning() -> None:
    """Banning asks for the level and a weaker target, in the room or not."""
    assert outcomes("ban", BOB, CAROL, bob="join") == set(ALL)
    assert outcomes("ban", BOB, CAROL, bob="join", levels={"ban": 51}) == set()
    assert outcomes("ban", BOB, CAROL, bob="leave") == set()
    assert State(bob="join").why(BOB, "ban", ALICE) == "The sender may not ban this user."


def test_creators_cannot_be_kicked_or_banned() -> None:
    """In version 12 neither the most powerful nor another creator can throw a creator out."""
    state = State(
        V12, levels={"users": {BOB: 2**53 - 1}}, create={"additional_creators": [CAROL]}, bob="join", carol="join"
    )
    for membership in ("leave", "ban"):
        assert state.why(BOB, membership, ALICE) is not None
        assert state.why(BOB, membership, CAROL) is not None
        assert state.why(CAROL, membership, ALICE) is not None
        assert state.why(CAROL, membership, BOB) is None


def test_knocking() -> None:
    """Outsiders may knock where the join rules say so, for themselves."""
    assert outcomes("knock", CAROL, CAROL, join_rule="knock") == {"leave", "knock", None}
    assert outcomes("knock", CAROL, CAROL, join_rule="public") == set()
    assert outcomes("knock", CAROL, CAROL, join_rule="knock_restricted") == {"leave", "knock", None}
    assert outcomes("knock", CAROL, CAROL, join_rule="knock_restricted", version=V8) == set()
    assert State(join_rule="knock").why(ALICE, "knock", CAROL) == "Nobody can knock for somebody else."


KEY, OTHER_KEY = SigningKey(b"k" * 32), SigningKey(b"o" * 32)


def signed_by(*keys: SigningKey, key_id: str = "ed25519:0", **fields: Any) -> dict[str, Any]:
    body = {"mxid": CAROL, "token": "t", **fields}
    message = encode_canonical_json(body)
    signatures = {f"id{n}.example": {key_id: encoded(key.sign(message).signature)} for n, key in enumerate(keys)}
    return {**body, "signatures": signatures}


def encoded(data: bytes) -> str:
    return b64encode(data).decode().rstrip("=")


class Promise(State):
    """A room that nobody can join, in which Bob has promised an invite to the holder of a token."""

    def __init__(self, carol: str | None = None) -> None:
        super().__init__(join_rule="invite", carol=carol)
        self.promise(public_key=encoded(bytes(KEY.verify_key)))

    def promise(self, **content: Any) -> None:
        self.put("m.room.third_party_invite", {"display_name": "c...", **content}, "t", BOB)

    def redeem(self, signed: object, sender: str = BOB, target: str = CAROL) -> str | None:
        return self.why(sender, "invite", target, third_party_invite={"signed": signed})


def test_redeeming_a_third_party_invite() -> None:
    """The promised invite passes with a signature of the promised key, and needs no joined sender."""
    assert Promise().redeem(signed_by(KEY)) is None
    assert Promise(carol="leave").redeem(signed_by(OTHER_KEY, KEY)) is None
    state = Promise()
    state.promise(
        public_keys=[5, {"public_key": "!"}, {"public_key": urlsafe_b64encode(bytes(KEY.verify_key)).decode()}]
    )
    assert state.redeem(signed_by(KEY)) is None


@pytest.mark.parametrize(
    ("signed", "why"),
    [
        (None, "no signed user id"),
        ("x", "no signed user id"),
        ({"token": "t"}, "no signed user id"),
        ({"mxid": CAROL}, "no signed user id"),
        ({"mxid": CAROL, "token": 5}, "no signed user id"),
        (signed_by(KEY, mxid=DAVE), "for another user"),
        (signed_by(KEY, token="u"), "no third-party invite with this token"),
        (signed_by(OTHER_KEY), "No key"),
        (signed_by(), "No key"),
        (signed_by(KEY, key_id="rsa:0"), "No key"),
        ({**signed_by(KEY), "more": 1}, "No key"),
        ({**signed_by(KEY), "more": float("nan")}, "No key"),
        ({"mxid": CAROL, "token": "t"}, "No key"),
        ({"mxid": CAROL, "token": "t", "signatures": {"a": 5, "b": {"ed25519:0": 7, "ed25519:1": "é"}}}, "No key"),
        ({"mxid": CAROL, "token": "t", "signatures": {"a": {"ed25519:0": "AAA"}}}, "No key"),
    ],
)
def test_third_party_invites_that_prove_nothing(signed: object, why: str) -> None:
    """Anything but a signature of the promised key over the target and the token is refused."""
    assert why in (Promise().redeem(signed) or "")


def test_third_party_invites_of_the_wrong_people() -> None:
    """The banned cannot be invited so, and only who promised may keep the promise."""
    assert Promise(carol="ban").redeem(signed_by(KEY)) == "The invited user is banned."
    assert "another user" in (Promise().redeem(signed_by(KEY), sender=ALICE) or "")
    assert "no signed" in (Promise().why(BOB, "invite", CAROL, third_party_invite=5) or "")


def test_a_flood_of_signatures_is_bounded() -> None:
    """Hundreds of keys and signatures cost a bounded number of verifications: one far behind is not found."""
    state = Promise()
    state.promise(public_keys=[{"public_key": encoded(bytes(OTHER_KEY.verify_key))}] * 300, public_key=None)
    assert state.redeem(signed_by(KEY, OTHER_KEY)) == "No key of the third-party invite has signed it."
    assert state.redeem(signed_by(OTHER_KEY, KEY)) is None
