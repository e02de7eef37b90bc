"""Who may see an event of the past. What a viewer may see now of a room's state is another question.
https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility
"""

from typing import Final

from homeserver.domain.event import Event

DEFAULT_VISIBILITY: Final = "shared"
_VISIBILITIES = ("world_readable", "shared", "invited", "joined")


def history_visibility(event: Event | None) -> str:
    """The visibility that an `m.room.history_visibility` event sets, or the default if there is none.

    "If no history_visibility is set, or if the value is not understood, the visibility is assumed to be shared."
    """
    value = None if event is None else event.content.get("history_visibility")
    return value if isinstance(value, str) and value in _VISIBILITIES else DEFAULT_VISIBILITY


def can_see(
    visibility: str,
    membership: str | None,
    joined_later: bool,
    *,
    visibility_after: str | None = None,
    membership_after: str | None = None,
) -> bool:
    """Whether a viewer may see an event.

    `visibility` and `membership` (None for somebody never mentioned) are those of the state before the event, and
    `joined_later` tells whether the viewer has joined at any point after it. If the event itself sets the history
    visibility, or the viewer's own membership, `visibility_after` or `membership_after` is what it sets: seeing it
    by the state before or by the state after is enough.
    """
    visibilities = (visibility,) if visibility_after is None else (visibility, visibility_after)
    memberships = (membership,) if membership_after is None else (membership, membership_after)
    return any(_is_visible(one, other, joined_later) for one in visibilities for other in memberships)


def _is_visible(visibility: str, membership: str | None, joined_later: bool) -> bool:
    # 1 and 2
    if visibility == "world_readable" or membership == "join":
        return True
    # 4
    if visibility == "invited":
        return membership == "invite"
    # 3, and 5 for "joined"
    return visibility != "joined" and joined_later
