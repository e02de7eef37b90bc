"""All stories. Each is told with either server as the host, in rooms of each version."""

from collections.abc import Awaitable, Callable, Mapping

from tests.interop.synapse import stories_history as history
from tests.interop.synapse import stories_members as members
from tests.interop.synapse import stories_talk as talking
from tests.interop.synapse.people import Meeting, Servers

VERSIONS = ("10", "11", "12")
HOSTS = ("parley", "synapse")

Story = Callable[[Meeting], Awaitable[None]]
STORIES: Mapping[str, Story] = {
    story.__name__: story
    for story in (
        talking.talk,
        talking.signs_of_life,
        talking.powers,
        talking.crosstalk,
        members.going,
        members.invites,
        members.knocks,
        members.restricted,
        members.finding,
        members.shut_out,
        members.upgrade,
        history.backfill,
        history.hidden,
        history.coming_back,
        history.going_and_coming,
        history.outage,
        history.outage_of_host,
        history.fork,
        history.fork_of_powers,
        history.fork_at_random,
        history.killed,
    )
}
# The first room versions in which they can be told.
SINCE = {"knocks": 7, "restricted": 8}


def can_be_told(name: str, version: str) -> bool:
    """Whether rooms of the version have what the story is about."""
    return int(version) >= SINCE.get(name, 1)


def meeting(servers: Servers, host: str, version: str, seed: int = 0) -> Meeting:
    """`host`: one of HOSTS."""
    sides = (servers.parley, servers.synapse)
    first, second = sides if host == "parley" else reversed(sides)
    return Meeting(servers, first, second, version, seed)
