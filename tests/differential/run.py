"""The whole comparison: so many cases of each room version, through one oracle."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from homeserver.domain.versions import RoomVersion
from tests.differential.cases import Room
from tests.differential.compare import Difference, Tally, differences
from tests.differential.generator import rooms
from tests.differential.oracle import answers


def compare_versions(
    venv: Path, versions: Sequence[RoomVersion], cases: int, seed: int
) -> Iterator[tuple[RoomVersion, Tally, list[Difference]]]:
    """At least `cases` cases of each version: what was compared, and where the sides disagree."""
    tally, found, current = Tally(), list[Difference](), versions[0]
    for room, answer in answers(venv, _all_rooms(versions, cases, seed)):
        if room.version is not current:
            yield current, tally, found
            tally, found, current = Tally(), [], room.version
        found.extend(differences(room, answer, tally))
    yield current, tally, found


def _all_rooms(versions: Sequence[RoomVersion], cases: int, seed: int) -> Iterator[Room]:
    for version in versions:
        made = 0
        for room in rooms(version, seed):
            yield room
            made += room.cases
            if made >= cases:
                break
