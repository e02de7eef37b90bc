"""createRoom. https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom"""

from typing import Any

import pytest

from homeserver.domain.errors import BadRequest, RequestError
from homeserver.domain.hashing import reference_hash
from homeserver.domain.identifiers import is_room_id
from homeserver.domain.versions import ROOM_VERSIONS
from homeserver.services.rooms.create import MAX_INVITES, RoomRequest
from tests.builders.cluster import SERVER_NAME
from tests.services.rooms.scene import ALICE, BOB, CAROL, EVE, Scene
from tests.services.rooms.wire import assert_intact

pytestmark = pytest.mark.asyncio(loop_scope="module")

VERSIONS = sorted(ROOM_VERSIONS, key=int)
# The table of the spec: join rule, history visibility, guest access.
PRESETS = {
    "private_chat": ("invite", "shared", "can_join"),
    "trusted_private_chat": ("invite", "shared", "can_join"),
    "public_chat": ("public", "shared", "forbidden"),
}


async def types_of(scene: Scene, room_id: str) -> list[tuple[str, str | None]]:
    return [(event.type, event.state_key) for event in await scene.events(room_id)]


async def check(scene: Scene, room_id: str) -> None:
    """Every event of the room is intact, and the tables agree with them."""
    for event in await scene.events(room_id):
        assert_intact(event, scene.keys)
    await scene.check(room_id)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("version", VERSIONS)
async def test_events_of_a_new_room_come_in_the_order_of_the_spec(scene: Scene, version: str, preset: str) -> None:
    """Each preset in each room version: the events, their content, and that each could be sent to another server."""
    alias = f"{preset}-{version}"
    room_id = await scene.services.create(
        ALICE,
        RoomRequest(
            ROOM_VERSIONS[version],
            preset,
            alias_localpart=alias,
            name="Näme",
            topic="Topic \0",
            invite=[BOB, CAROL, BOB],
            is_direct=True,
            creation_content={"type": "m.space", "room_version": "nonsense"},
            initial_state=[
                {"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}},
                {"type": "org.example", "state_key": "key", "content": {"a": [1, {"b": None}]}},
            ],
        ),
    )

    assert await types_of(scene, room_id) == [
        ("m.room.create", ""),
        ("m.room.member", ALICE),
        ("m.room.power_levels", ""),
        ("m.room.canonical_alias", ""),
        ("m.room.join_rules", ""),
        ("m.room.history_visibility", ""),
        ("m.room.guest_access", ""),
        ("m.room.encryption", ""),
        ("org.example", "key"),
        ("m.room.name", ""),
        ("m.room.topic", ""),
        ("m.room.member", BOB),
        ("m.room.member", CAROL),
    ]
    state = {key: event.content for key, event in (await scene.state(room_id)).items()}
    create = state[("m.room.create", "")]
    assert create["room_version"] == version and create["type"] == "m.space"
    assert create.get("creator") == (ALICE if int(version) < 11 else None)
    assert state[("m.room.member", ALICE)] == {"membership": "join"}
    assert state[("m.room.canonical_alias", "")] == {"alias": f"#{alias}:{SERVER_NAME}"}
    join_rule, visibility, guests = PRESETS[preset]
    assert state[("m.room.join_rules", "")] == {"join_rule": join_rule}
    assert state[("m.room.history_visibility", "")] == {"history_visibility": visibility}
    assert state[("m.room.guest_access", "")] == {"guest_access": guests}
    assert state[("org.example", "key")] == {"a": [1, {"b": None}]}
    assert state[("m.room.name", "")] == {"name": "Näme"}
    assert state[("m.room.topic", "")]["topic"] == "Topic \0"
    assert state[("m.room.topic", "")]["m.topic"] == {"m.text": [{"body": "Topic \0", "mimetype": "text/plain"}]}
    for invited in (BOB, CAROL):
        assert state[("m.room.member", invited)] == {"membership": "invite", "is_direct": True}

    levels = state[("m.room.power_levels", "")]
    trusted = [BOB, CAROL] if preset == "trusted_private_chat" else []
    if int(version) < 12:
        assert levels["users"] == dict.fromkeys([ALICE, *trusted], 100)
        assert levels["events"]["m.room.tombstone"] == 100
        assert "additional_creators" not in create
    else:
        assert levels["users"] == {}
        assert levels["events"]["m.room.tombstone"] == 150 > levels["state_default"]
        assert create.get("additional_creators", []) == trusted
    await check(scene, room_id)


@pytest.mark.parametrize("version", VERSIONS)
async def test_room_id_is_of_the_kind_of_its_version(scene: Scene, version: str) -> None:
    """Up to version 11 an opaque id of this server, from 12 on the hash of the create event; no two are alike."""
    rooms = [await scene.room(version) for _ in range(2)]
    assert len(set(rooms)) == 2
    for room_id in rooms:
        create = (await scene.events(room_id))[0]
        assert is_room_id(room_id)
        if int(version) < 12:
            assert room_id.endswith(":" + SERVER_NAME) and create.pdu["room_id"] == room_id
        else:
            assert ":" not in room_id and "room_id" not in create.pdu
            assert room_id[1:] == create.event_id[1:]
            assert len(reference_hash(create.version, create.pdu)) == 32


@pytest.mark.parametrize("version", ["1", "6", "11", "12"])
async def test_what_the_request_overrides_wins(scene: Scene, version: str) -> None:
    """initial_state takes the place of the preset's events, name and topic come after it, levels are laid over."""
    room_id = await scene.services.create(
        ALICE,
        RoomRequest(
            ROOM_VERSIONS[version],
            "private_chat",
            name="asked for",
            initial_state=[
                {"type": "m.room.name", "content": {"name": "initial"}},
                {"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}},
                {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "public"}},
                {"type": "m.room.guest_access", "state_key": "elsewhere", "content": {}},
            ],
            power_levels={"events_default": 7, "events": {"m.room.name": 1}, "unknown": {"kept": True}},
        ),
    )
    types = await types_of(scene, room_id)
    assert types[3:] == [
        ("m.room.guest_access", ""),
        ("m.room.name", ""),
        ("m.room.history_visibility", ""),
        ("m.room.join_rules", ""),
        ("m.room.guest_access", "elsewhere"),
        ("m.room.name", ""),
    ]
    state = {key: event.content for key, event in (await scene.state(room_id)).items()}
    assert state[("m.room.name", "")] == {"name": "asked for"}
    assert state[("m.room.history_visibility", "")] == {"history_visibility": "joined"}
    assert state[("m.room.join_rules", "")] == {"join_rule": "public"}
    levels = state[("m.room.power_levels", "")]
    assert levels["events_default"] == 7 and levels["events"] == {"m.room.name": 1}
    assert levels["unknown"] == {"kept": True} and levels["ban"] == 50
    assert not (await scene.row(room_id)).open_history
    await check(scene, room_id)


async def test_creators_of_version_12_stand_above_the_levels(scene: Scene) -> None:
    """Whoever creates is named by no level, also if the request names them; both lists of creators are joined."""
    room_id = await scene.services.create(
        ALICE,
        RoomRequest(
            ROOM_VERSIONS["12"],
            "trusted_private_chat",
            invite=[BOB, CAROL],
            creation_content={"additional_creators": [EVE, BOB]},
            power_levels={"users": {ALICE: 100, BOB: 100, "@friend:test.example": 60}},
        ),
    )
    state = await scene.state(room_id)
    assert state[("m.room.create", "")].content["additional_creators"] == [EVE, BOB, CAROL]
    assert state[("m.room.power_levels", "")].content["users"] == {"@friend:test.example": 60}
    await scene.services.membership.join(BOB, room_id)
    await scene.put(BOB, room_id, "m.room.tombstone", {"body": "moved", "replacement_room": "!x"})
    await check(scene, room_id)


INVALID: dict[str, tuple[str, dict[str, Any]]] = {
    "creator too weak for the name": ("11", {"power_levels": {"users": {ALICE: 10}}, "name": "x"}),
    "creator not in the levels": ("11", {"power_levels": {"users": {}}}),
    "levels of another type": ("11", {"power_levels": {"ban": "fifty"}}),
    "levels of another type in v12": ("12", {"power_levels": {"users": [ALICE]}}),
    "additional creators that are none": ("12", {"creation_content": {"additional_creators": ["bob"]}}),
    "additional creators that are no list": ("12", {"creation_content": {"additional_creators": BOB}}),
    "the same in a trusted chat": (
        "12",
        {"creation_content": {"additional_creators": BOB}, "preset": "trusted_private_chat"},
    ),
    "a second create event": ("12", {"initial_state": [{"type": "m.room.create", "content": {}}]}),
    "a member who cannot be": (
        "12",
        {"initial_state": [{"type": "m.room.member", "state_key": BOB, "content": {"membership": "join"}}]},
    ),
    "an invite of the creator": ("12", {"invite": [ALICE]}),
    "an invite of nobody": ("12", {"invite": ["bob"]}),
    "too many invites": ("12", {"invite": [f"@u{n}:{SERVER_NAME}" for n in range(MAX_INVITES + 1)]}),
    "a strange alias": ("12", {"alias_localpart": "a\0b"}),
    "an alias with a colon": ("12", {"alias_localpart": "a:b"}),
    "floats where there are none": ("6", {"initial_state": [{"type": "x", "content": {"a": 1.5}}]}),
    "a type that is too long": ("12", {"initial_state": [{"type": "x" * 256, "content": {}}]}),
    "content that is too large": ("12", {"initial_state": [{"type": "x", "content": {"a": "x" * 70_000}}]}),
}


@pytest.mark.parametrize("case", INVALID)
async def test_invalid_request_is_refused_and_leaves_nothing(scene: Scene, case: str) -> None:
    """Whatever is wrong is a client's fault (400, or 413 by size), and no row of the room stays behind."""
    version, fields = INVALID[case]
    fields = {"preset": "private_chat", **fields}
    before = await everything(scene)
    with pytest.raises(RequestError) as raised:
        await scene.services.create(ALICE, RoomRequest(ROOM_VERSIONS[version], **fields))
    assert raised.value.__class__.__name__ in ("BadRequest", "TooLarge"), raised.value
    assert await everything(scene) == before


async def test_state_that_the_levels_forbid_is_named_as_such(scene: Scene) -> None:
    """errcode M_INVALID_ROOM_STATE: the creator gave away the power that the name needs."""
    levels = {"users": {ALICE: 10}}
    with pytest.raises(BadRequest) as raised:
        await scene.services.create(
            ALICE, RoomRequest(ROOM_VERSIONS["11"], "private_chat", name="x", power_levels=levels)
        )
    assert raised.value.errcode == "M_INVALID_ROOM_STATE"


async def test_alias_that_is_taken_rolls_everything_back(scene: Scene) -> None:
    """M_ROOM_IN_USE (400), nothing is written, and the alias still leads to the first room."""
    first = await scene.room("12", alias_localpart="pub")
    before = await everything(scene)
    published = len(scene.published)
    with pytest.raises(BadRequest) as raised:
        await scene.room("12", alias_localpart="pub", name="second")
    assert raised.value.errcode == "M_ROOM_IN_USE"
    assert await everything(scene) == before
    assert len(scene.published) == published
    assert (await scene.services.aliases.resolve(f"#pub:{SERVER_NAME}")).room_id == first


async def test_names_of_the_profile_go_into_the_members(scene: Scene) -> None:
    """The creator's and the invited people's names and avatars, as far as we hold them."""
    user = f"@named:{SERVER_NAME}"
    await scene.database.write(lambda store: store.profiles.set(user, "displayname", '"Named \\u0000"'))
    await scene.database.write(lambda store: store.profiles.set(user, "avatar_url", '"mxc://test.example/a"'))
    profile = {"displayname": "Named \0", "avatar_url": "mxc://test.example/a"}
    own = await scene.room("12", creator=user)
    other = await scene.room("12", preset="private_chat", invite=[user], is_direct=True)
    assert (await scene.state(own))[("m.room.member", user)].content == {"membership": "join", **profile}
    assert (await scene.state(other))[("m.room.member", user)].content == {
        "membership": "invite",
        "is_direct": True,
        **profile,
    }
    await check(scene, own)


async def everything(scene: Scene) -> dict[str, int]:
    """How many rows the tables hold that a new room writes to."""
    tables = "rooms events state_groups current_state state_changes memberships aliases count_exceptions state_merges"
    return {table: (await scene.sql(f"SELECT count(*) FROM {table}"))[0][0] for table in tables.split()}
