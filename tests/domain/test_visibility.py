"""Who may see an event, by history visibility and membership."""

import pytest

from homeserver.domain.versions import room_version
from homeserver.domain.visibility import can_see, history_visibility
from tests.domain.room_builder import ALICE, make_event


@pytest.mark.parametrize(
    ("visibility", "membership", "joined_later", "seen"),
    [
        ("world_readable", None, False, True),
        ("world_readable", "ban", False, True),
        ("shared", None, False, False),
        ("shared", None, True, True),
        ("shared", "invite", False, False),
        ("shared", "join", False, True),
        ("invited", None, True, False),
        ("invited", "invite", False, True),
        ("invited", "join", False, True),
        ("invited", "leave", True, False),
        ("joined", "invite", True, False),
        ("joined", "join", False, True),
        ("joined", None, True, False),
        ("joined", "knock", True, False),
    ],
)
def test_ordinary_events(visibility: str, membership: str | None, joined_later: bool, seen: bool) -> None:
    """The spec's five rules, one by one."""
    assert can_see(visibility, membership, joined_later) is seen


def test_an_event_that_changes_the_visibility() -> None:
    """It is seen if the visibility before or after lets it be seen."""
    assert can_see("world_readable", None, False, visibility_after="joined")
    assert can_see("joined", None, False, visibility_after="world_readable")
    assert not can_see("joined", None, False, visibility_after="shared")
    assert can_see("joined", None, True, visibility_after="shared")


def test_the_own_member_event() -> None:
    """Users see how they came and how they went."""
    assert can_see("joined", None, False, membership_after="join")
    assert can_see("joined", "join", False, membership_after="ban")
    assert can_see("invited", "leave", False, membership_after="invite")
    assert not can_see("joined", "invite", False, membership_after="leave")


@pytest.mark.parametrize(
    ("value", "visibility"), [("joined", "joined"), ("secret", "shared"), (5, "shared"), (None, "shared")]
)
def test_reading_the_visibility(value: object, visibility: str) -> None:
    """What is not understood is shared, and so is nothing."""
    content = {"history_visibility": value}
    event = make_event(room_version("11"), "$v", ALICE, "m.room.history_visibility", content, "")
    assert history_visibility(event) == visibility
    assert history_visibility(None) == "shared"
