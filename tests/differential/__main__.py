"""`python -m tests.differential --cases 10000 [--versions 1,2,12] [--seed 0]`: our rules against Synapse's.

Ends with status 1 if a disagreement is found that `known.py` does not explain.
"""

import argparse
import sys
import time
from collections import Counter

from homeserver.domain.versions import ROOM_VERSIONS, RoomVersion
from tests.differential.compare import Difference, Tally
from tests.differential.known import explanation
from tests.differential.oracle import find_venv
from tests.differential.run import compare_versions


def main() -> int:
    """Run the comparison and print its report."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="cases per room version")
    parser.add_argument("--versions", default=",".join(ROOM_VERSIONS), help="room versions, with commas between")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=3, help="how many unexplained disagreements to print per kind")
    parser.add_argument("--show-known", default="", help="print the disagreements of this name too")
    arguments = parser.parse_args()
    versions = [ROOM_VERSIONS[name] for name in arguments.versions.split(",")]
    started = time.monotonic()
    report = Report(arguments.show, arguments.show_known)
    for version, tally, differences in compare_versions(find_venv(), versions, arguments.cases, arguments.seed):
        report.add(version, tally, differences)
    report.end(time.monotonic() - started)
    return 1 if report.unexplained else 0


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Report:
    """What is printed, a block per room version and a sum."""

    def __init__(self, show: int, show_known: str) -> None:
        self.show = show
        self.show_known = show_known
        self.unexplained: Counter[str] = Counter()
        self.explained: Counter[str] = Counter()
        self.cases = 0

    def add(self, version: RoomVersion, tally: Tally, differences: list[Difference]) -> None:
        self.cases += tally.cases
        say(f"room version {version.identifier}: {tally.cases} cases, {len(differences)} disagreements")
        counts = ", ".join(f"{name} {count}" for name, count in sorted(tally.answers.items()))
        say(f"  {counts}")
        explained: Counter[str] = Counter()
        for difference in differences:
            known = explanation(difference)
            if known is not None:
                explained[known] += 1
                if known != self.show_known:
                    continue
            else:
                self.unexplained[difference.kind] += 1
            if self.unexplained[difference.kind] <= self.show:
                say(difference.describe())
        for name, count in explained.items():
            say(f"  known: {name} {count}")
        self.explained += explained

    def end(self, seconds: float) -> None:
        say(f"{self.cases} cases in {seconds:.0f} s; explained {sum(self.explained.values())}: {dict(self.explained)}")
        say(f"unexplained {sum(self.unexplained.values())}: {dict(self.unexplained)}")


if __name__ == "__main__":
    sys.exit(main())
