"""The scenarios in the order in which they are played."""

from tests.benchmarks.scenario import Scenario
from tests.benchmarks.scenarios import (
    create_room,
    crowd,
    delivery_long_poll,
    delivery_websocket,
    idle,
    initial_sync,
    join_large,
    members_large,
    messages_page,
    register_login,
    send_large_room,
    send_rate,
    send_sequential,
    send_together,
    sync_gap,
    sync_idle,
)

SCENARIOS: tuple[Scenario, ...] = (
    idle.SCENARIO,
    send_sequential.SCENARIO,
    send_together.ROOMS,
    send_together.ONE_ROOM,
    send_large_room.SCENARIO,
    delivery_long_poll.SCENARIO,
    delivery_websocket.SCENARIO,
    sync_idle.SCENARIO,
    initial_sync.SCENARIO,
    sync_gap.SCENARIO,
    messages_page.SCENARIO,
    members_large.SCENARIO,
    create_room.SCENARIO,
    join_large.SCENARIO,
    send_rate.SCENARIO,
    register_login.SCENARIO,
    crowd.SCENARIO,
)
