"""Our pure functions give the same answers as Synapse's, or we can say why not.

Needs the Synapse venv (`scripts/synapse-venv`); without it these tests fail. `make differential` runs far more cases.
"""

from collections import Counter
from pathlib import Path

import pytest

from homeserver.domain.versions import ROOM_VERSIONS, room_version
from tests.differential.generator import room
from tests.differential.known import explanation
from tests.differential.oracle import OracleFailed, find_venv
from tests.differential.run import compare_versions

CASES = 300


@pytest.fixture(scope="module")
def venv() -> Path:
    return find_venv()


def test_every_disagreement_with_synapse_is_explained(venv: Path) -> None:
    """300 generated cases per room version; each answer is Synapse's, or stands in known.py."""
    counts: Counter[str] = Counter()
    for version, tally, differences in compare_versions(venv, list(ROOM_VERSIONS.values()), CASES, seed=1):
        assert tally.cases >= CASES, f"room version {version.identifier} was asked too little"
        unexplained = [difference for difference in differences if explanation(difference) is None]
        assert not unexplained, "\n".join(difference.describe() for difference in unexplained[:5])
        counts += tally.answers
    judged = counts["judgement allow"] + counts["judgement deny"]
    assert 0.25 < counts["judgement allow"] / judged < 0.75, "one of the two outcomes is hardly tried"
    assert counts["resolution with a conflict"] > 0.7 * counts["resolution answered"], "too few forks"


def test_a_missing_oracle_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without Synapse nothing was compared, so that must not look like success."""
    monkeypatch.setenv("PARLEY_SYNAPSE_VENV", str(tmp_path))
    with pytest.raises(OracleFailed):
        find_venv()


def test_a_seed_names_a_room() -> None:
    """A disagreement can be looked at again, because the same seed makes the same room."""
    version = room_version("11")
    assert room(version, "7").wire() == room(version, "7").wire()
    assert room(version, "7").wire() != room(version, "8").wire()
