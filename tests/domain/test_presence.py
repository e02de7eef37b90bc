"""What a user is, out of devices and time.

https://spec.matrix.org/v1.19/client-server-api/#presence
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.domain.errors import BadRequest
from homeserver.domain.presence import (
    ABSENT_MS,
    IDLE_MS,
    NOBODY,
    OFFLINE,
    ONLINE,
    PRESENCES,
    RETURN_MS,
    SILENT_MS,
    UNAVAILABLE,
    Device,
    Devices,
    Hearsay,
    PresenceState,
    content_of,
    read_update,
)

NOW = 1_700_000_000_000


def sync(devices: Devices, device_id: str, asked: str, now: int) -> None:
    """A sync that is answered at once."""
    device = devices.connect(device_id, asked, now)
    if device is not None:
        devices.disconnect(device, now)


def test_a_user_is_online_while_syncing_and_offline_after() -> None:
    """As long as a sync is under way, and for a while after the last one."""
    devices = Devices()
    assert devices.at(NOW) == NOBODY
    device = devices.connect("D", ONLINE, NOW)
    assert device is not None
    assert devices.at(NOW + IDLE_MS - 1) == PresenceState(ONLINE, True)
    ended = NOW + ABSENT_MS * 3
    devices.disconnect(device, ended)
    assert devices.at(ended + ABSENT_MS - 1).presence == ONLINE
    assert devices.at(ended + ABSENT_MS) == NOBODY


def test_polling_is_no_activity() -> None:
    """Whoever only syncs becomes unavailable, and online again by doing something."""
    devices = Devices()
    for minute in range(10):
        sync(devices, "D", ONLINE, NOW + minute * 25_000)
        held = devices.connect("D", ONLINE, NOW + minute * 25_000)
    assert held is not None
    assert devices.at(NOW + IDLE_MS - 1) == PresenceState(ONLINE, True)
    assert devices.at(NOW + IDLE_MS) == PresenceState(UNAVAILABLE)
    devices.act(NOW + IDLE_MS + 5)
    assert devices.at(NOW + IDLE_MS + 5) == PresenceState(ONLINE, True)


def test_the_most_present_device_counts() -> None:
    """One idle, one online; then only the idle one is left, then none."""
    devices = Devices()
    sync(devices, "PHONE", UNAVAILABLE, NOW)
    assert devices.at(NOW).presence == UNAVAILABLE
    sync(devices, "LAPTOP", ONLINE, NOW)
    assert devices.at(NOW).presence == ONLINE
    sync(devices, "PHONE", UNAVAILABLE, NOW + 20_000)
    assert devices.at(NOW + ABSENT_MS).presence == UNAVAILABLE
    assert devices.at(NOW + 20_000 + ABSENT_MS).presence == OFFLINE


def test_a_sync_that_asks_for_offline_changes_nothing() -> None:
    """It neither brings anybody online nor takes away what was set; what was set holds while it syncs."""
    devices = Devices()
    assert devices.connect("D", OFFLINE, NOW) is None
    assert devices.at(NOW) == NOBODY
    devices.declare("D", ONLINE, NOW)
    later = NOW + ABSENT_MS - 1
    sync(devices, "D", OFFLINE, later)
    assert devices.at(later + ABSENT_MS - 1).presence == ONLINE
    assert devices.at(later + ABSENT_MS).presence == OFFLINE


def test_what_was_set_outlives_the_next_sync() -> None:
    """Polling on as before does not undo it, asking for something else does."""
    devices = Devices()
    sync(devices, "D", ONLINE, NOW)
    for wish in (UNAVAILABLE, OFFLINE):
        devices.declare("D", wish, NOW + 1)
        sync(devices, "D", ONLINE, NOW + 2)
        assert devices.at(NOW + 2).presence == wish
    sync(devices, "D", UNAVAILABLE, NOW + 3)
    assert devices.at(NOW + 3).presence == UNAVAILABLE
    sync(devices, "D", ONLINE, NOW + 4)
    assert devices.at(NOW + 4).presence == ONLINE


def test_activity_ends_idleness_but_not_invisibility() -> None:
    """ "Any activity ... will cause the server to automatically set their presence to online"; whoever set offline
    shows nothing, not even that they were active."""
    devices = Devices()
    devices.declare("D", UNAVAILABLE, NOW)
    devices.act(NOW + 1)
    assert (devices.at(NOW + 1).presence, devices.last_active) == (ONLINE, NOW + 1)
    devices.declare("D", OFFLINE, NOW + 2)
    devices.act(NOW + 3)
    assert (devices.at(NOW + 3).presence, devices.last_active) == (OFFLINE, NOW + 2)


def test_after_a_restart_there_is_time_to_come_back() -> None:
    """More than after a sync: everybody comes back at once."""
    devices = Devices(NOW - 10 * IDLE_MS, "busy")
    devices.restore(ONLINE, NOW)
    assert devices.at(NOW) == PresenceState(ONLINE, True, "busy")
    assert devices.at(NOW + RETURN_MS - 1) == PresenceState(ONLINE, True, "busy")
    assert devices.at(NOW + RETURN_MS) == PresenceState(OFFLINE, False, "busy")


_steps = st.lists(
    st.tuples(
        st.sampled_from(["sync", "hold", "end", "declare", "act"]),
        st.sampled_from(["A", "B"]),
        st.sampled_from(PRESENCES),
        st.integers(0, IDLE_MS),
    ),
    max_size=12,
)


@given(_steps)
def test_nothing_changes_by_itself_before_the_time_that_is_told(steps: list[tuple[str, str, str, int]]) -> None:
    """Whoever looks again when told so misses no change; and it ends, once nobody syncs."""
    devices, now, held = Devices(), NOW, list[Device]()
    for verb, device_id, presence, pause in steps:
        now += pause
        if verb in ("sync", "hold"):
            device = devices.connect(device_id, presence, now)
            if device is not None:
                held.append(device)
        if verb in ("sync", "end") and held:
            devices.disconnect(held.pop(), now)
        if verb == "declare":
            devices.declare(device_id, presence, now)
        if verb == "act":
            devices.act(now)
        state, again = devices.at(now), devices.look_again(now)
        if again is None:
            assert state.presence == OFFLINE
        else:
            assert now < again <= now + ABSENT_MS
            assert devices.at(again - 1) == state
    while held:
        devices.disconnect(held.pop(), now)
    for _ in range(20):
        state, again = devices.at(now), devices.look_again(now)
        if again is None:
            assert state.presence == OFFLINE
            return
        now = again
    raise AssertionError("it does not end")


@given(_steps)
def test_whoever_goes_on_is_seen_as_if_they_connected(steps: list[tuple[str, str, str, int]]) -> None:
    """A sync that is known to change nothing does change nothing, whatever happened since the one before."""
    known, asked_anew, now = Devices(), Devices(), NOW
    last: dict[str, Device] = {}
    for verb, device_id, presence, pause in steps:
        now += pause
        if verb in ("sync", "hold"):
            before = last.get(device_id)
            goes_on = before is not None and before.goes_on(presence, now)
            device = before if goes_on else known.connect(device_id, presence, now)
            other = asked_anew.connect(device_id, presence, now)
            assert (device is None) == (other is None)
            if device is not None and other is not None:
                last[device_id] = device
                if verb == "sync":
                    known.disconnect(device, now)
                    asked_anew.disconnect(other, now)
        if verb == "declare":
            known.declare(device_id, presence, now)
            asked_anew.declare(device_id, presence, now)
        if verb == "act":
            known.act(now)
            asked_anew.act(now)
        assert known.at(now) == asked_anew.at(now)
        assert known.look_again(now) == asked_anew.look_again(now)


# --- other servers ------------------------------------------------------------------------------------------------


def test_hearsay_is_believed_for_a_while() -> None:
    """A server that falls silent leaves nobody online for ever."""
    heard = Hearsay(PresenceState(ONLINE, True), NOW - 5, NOW)
    assert heard.at(NOW + SILENT_MS - 1).presence == ONLINE
    assert heard.look_again(NOW) == NOW + SILENT_MS
    assert heard.at(NOW + SILENT_MS) == NOBODY
    assert heard.look_again(NOW + SILENT_MS) is None


@pytest.mark.parametrize(
    ("update", "state", "last_active"),
    [
        ({"presence": "online"}, PresenceState(ONLINE), 0),
        ({"presence": "online", "currently_active": True, "last_active_ago": 5}, PresenceState(ONLINE, True), NOW - 5),
        ({"presence": "offline", "currently_active": True}, PresenceState(OFFLINE), 0),
        ({"presence": "unavailable", "status_msg": "out", "x": 1}, PresenceState(UNAVAILABLE, False, "out"), 0),
        ({"presence": "online", "status_msg": "a\0b", "last_active_ago": -1}, PresenceState(ONLINE), 0),
        ({"presence": "online", "status_msg": "a" * 2_000, "last_active_ago": 10**30}, PresenceState(ONLINE), 0),
        ({"presence": "online", "status_msg": 1, "last_active_ago": True}, PresenceState(ONLINE), 0),
        ({"presence": "online", "currently_active": 1, "last_active_ago": 1.5}, PresenceState(ONLINE), 0),
    ],
)
def test_what_other_servers_say(update: dict[str, Any], state: PresenceState, last_active: int) -> None:
    """What cannot be used is left out, and takes nothing from the rest."""
    assert read_update(update, NOW) == Hearsay(state, last_active, NOW)


@pytest.mark.parametrize("presence", [None, "", "busy", 1, ["online"], {"online": 1}])
def test_what_says_no_presence(presence: object) -> None:
    with pytest.raises(BadRequest):
        read_update({"presence": presence}, NOW)


def test_content_tells_when_somebody_was_active() -> None:
    """If that is known; and never from the future."""
    assert content_of(NOBODY, 0, NOW) == {"presence": "offline", "currently_active": False}
    assert content_of(PresenceState(ONLINE, True, "hi"), NOW - 7, NOW) == {
        "presence": "online",
        "currently_active": True,
        "last_active_ago": 7,
        "status_msg": "hi",
    }
    assert content_of(NOBODY, NOW + 7, NOW)["last_active_ago"] == 0
