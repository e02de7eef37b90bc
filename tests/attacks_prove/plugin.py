"""A plugin of pytest: switches one defence off before anything is imported, and writes down what came of each test.

Servers that a test starts as processes of their own have it off too (tests/builders/weakened.py).

PARLEY_PROVE_OFF names the defence, empty: none. PARLEY_PROVE_OUTCOMES is the file for what came of it.
"""

import json
import os
from pathlib import Path

import pytest

from tests.attacks_prove.table import TABLE

# Seconds that a test waits for what does not happen without the defence.
PATIENCE = 3.0

outcomes: dict[str, bool] = {}


def turn_off(defence: str) -> None:
    next(row.switch for row in TABLE if row.switch.defence == defence).off()
    from tests.builders import process  # not before the switch is turned
    from tests.http import driver

    driver.PATIENCE = PATIENCE
    process.BEFORE = ("-m", "tests.builders.weakened", defence)


if os.environ.get("PARLEY_PROVE_OFF"):
    turn_off(os.environ["PARLEY_PROVE_OFF"])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    outcomes[report.nodeid] = outcomes.get(report.nodeid, True) and not report.failed
    # Each time anew: a test that never ends must not take the others' outcomes with it.
    Path(os.environ["PARLEY_PROVE_OUTCOMES"]).write_text(json.dumps(outcomes))
