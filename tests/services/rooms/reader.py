"""What somebody may read of a room, by the domain's rules on a replayed room."""

from homeserver.domain.event import Event, StateMap
from homeserver.domain.visibility import can_see, history_visibility
from tests.services.rooms.replay import Replay

MEMBER, VISIBILITY = "m.room.member", "m.room.history_visibility"


def expected_view(replay: Replay, user_id: str, forgotten: bool = False) -> set[str] | None:
    """What the user may read of the replayed room; None if not even the room."""

    def event_at(state: StateMap, *key: str) -> Event | None:
        return replay.events[state[key[0], key[1]]] if (key[0], key[1]) in state else None

    def membership(state: StateMap) -> str | None:
        event = event_at(state, MEMBER, user_id)
        return None if event is None else event.content["membership"]

    now, timeline = replay.current, [event_id for event_id, _ in replay.snapshots]
    standing = [membership(state) for _, state in replay.snapshots]
    joined = standing[-1] == "join"
    was_joined = "join" in standing and standing[-1] in ("leave", "ban") and not forgotten
    open_now = history_visibility(event_at(now, VISIBILITY, "")) == "world_readable"
    if not (joined or was_joined or open_now):
        return None
    end = len(timeline)
    if was_joined:
        end = max(n for n, one in enumerate(standing) if one == "join") + 2
    seen = set()
    for number, event_id in enumerate(timeline[:end]):
        event, before = replay.events[event_id], replay.before[event_id]
        after = event.content if event.is_state else {}
        if can_see(
            history_visibility(event_at(before, VISIBILITY, "")),
            membership(before),
            joined or "join" in standing[number:],
            visibility_after=after.get("history_visibility") if event.type == VISIBILITY else None,
            membership_after=after["membership"] if (event.type, event.state_key) == (MEMBER, user_id) else None,
        ):
            seen.add(event_id)
    return seen
