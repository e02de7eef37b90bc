"""What is read of a template that another server gives."""

from typing import Any

import pytest

from federation.joining.template import read_template
from homeserver.domain.errors import RemoteUnreachable

ROOM, USER = "!r:there.test", "@bob:here.test"


def answer(version: str, references: list[Any]) -> dict[str, Any]:
    event = {
        "type": "m.room.member",
        "room_id": ROOM,
        "sender": USER,
        "state_key": USER,
        "content": {"membership": "join"},
        "depth": 7,
        "prev_events": references,
        "auth_events": references,
    }
    return {"room_version": version, "event": event}


@pytest.mark.parametrize(
    ("hashes", "read"),
    [({"sha256": "AAECAw"}, b"\x00\x01\x02\x03"), ({}, None), ({"md5": "AAECAw"}, None)],
)
def test_a_reference_of_the_first_versions_may_lack_its_hash(hashes: dict[str, str], read: bytes | None) -> None:
    """Synapse tells none; whoever checks an event looks at the id alone."""
    template = read_template(answer("1", [["$e:there.test", hashes]]), ROOM, USER, "join")
    assert template.prev_events == template.auth_events == [("$e:there.test", read)]


@pytest.mark.parametrize(
    ("version", "reference"),
    [
        ("1", "$e:there.test"),
        ("1", ["$e:there.test"]),
        ("1", ["$e:there.test", None]),
        ("1", ["$e:there.test", {"sha256": 5}]),
        ("1", ["$e:there.test", {"sha256": "no base64"}]),
        ("1", ["e", {}]),
        ("12", ["$e", {}]),
        ("12", 5),
    ],
)
def test_what_is_no_reference_is_not_signed(version: str, reference: object) -> None:
    """Each is refused as the fault of the other server."""
    with pytest.raises(RemoteUnreachable):
        read_template(answer(version, [reference]), ROOM, USER, "join")
