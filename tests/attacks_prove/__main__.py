"""`python -m tests.attacks_prove [NUMBER ...]`: runs every attack test with its defence on, which must pass, and once
more with it switched off, where it must fail. With numbers: only these attacks. Exit status 1 if any row is not proven.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.attacks_prove.table import TABLE, Row

ROOT = Path(__file__).parents[2]
# For all tests with their defences on, and for those of one defence with it off.
ON_SECONDS, OFF_SECONDS = 1800, 600


def run(tests: Sequence[str], off: str, seconds: float) -> Mapping[str, bool]:
    """Whether each case passed, by node id. What hangs is not among them, and has not passed."""
    with tempfile.TemporaryDirectory(prefix="parley-prove-") as directory:
        outcomes = Path(directory) / "outcomes.json"
        variables = os.environ | {"PARLEY_PROVE_OFF": off, "PARLEY_PROVE_OUTCOMES": str(outcomes)}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.attacks_prove.plugin", "-p", "no:cacheprovider"]
        with (Path(directory) / "output").open("wb") as output:
            process = subprocess.Popen([*command, *tests], cwd=ROOT, env=variables, stdout=output, stderr=output)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if not outcomes.exists():
            say((Path(directory) / "output").read_text()[-4000:])
            return {}
        found: dict[str, bool] = json.loads(outcomes.read_text())
        return found


def verdict(row: Row, on: Mapping[str, bool], off: Mapping[str, bool]) -> tuple[bool, str]:
    """Whether the row is proven, and what to say of it."""
    cases = [case for case in on if row.is_of(case)]
    if not cases:
        return False, "there is no such test"
    failed = [case for case in cases if not on[case]]
    if failed:
        return False, f"fails with the defence on: {failed[0]}"
    fallen = sum(not off.get(case, False) for case in cases)
    if not off:
        return False, "was not run without the defence"
    if not fallen:
        return False, "passes without the defence too"
    return True, f"{fallen} of {len(cases)} cases fail without it"


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.attacks_prove", description=__doc__)
    parser.add_argument("attacks", type=int, nargs="*", help="numbers of attacks; all unless given")
    wanted = parser.parse_args().attacks
    rows = [row for row in TABLE if not wanted or row.attack in wanted]
    on = run(sorted({row.test for row in rows}), "", ON_SECONDS)
    say(f"{len(on)} cases with every defence on, {sum(on.values())} passed")
    proven = True
    for defence in dict.fromkeys(row.switch.defence for row in rows):
        group = [row for row in rows if row.switch.defence == defence]
        tests = [case for case in on if any(row.is_of(case) for row in group)]
        off = run(tests, defence, OFF_SECONDS) if tests else {}
        say(f"\n{defence} {group[0].switch.how}")
        for row in group:
            good, what = verdict(row, on, off)
            proven &= good
            say(f"  {row.attack:3} {'proven' if good else 'NOT PROVEN':10} {row.test.partition('::')[2]}: {what}")
    return 0 if proven and rows else 1


if __name__ == "__main__":
    sys.exit(main())
