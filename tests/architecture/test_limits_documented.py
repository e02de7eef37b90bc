"""Every rate limit is documented with what it counts by and its figures, and every other name that a 429 may bear."""

import ast
import re
from pathlib import Path

from clients.limits import LIMITS, MAX_ENTRIES
from homeserver.services.accounts.user_limits import MAX_USERS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "limits.md").read_text()
# Given to what raises it, which has two of them.
OF_PLACES = {"federation_unproven", "federation_large"}


def test_the_table_is_the_table() -> None:
    """Row by row and in its order: name, scope, rate, burst, and a word on what for."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([\d.]+) \| (\d+) \| (.+) \|$", PAGE, re.MULTILINE)
    documented = [(name, scope, float(rate), int(burst)) for name, scope, rate, burst, _ in rows]
    assert documented == [(row.name, row.scope, row.per_second, row.burst) for row in LIMITS]


def test_other_limits_are_named() -> None:
    """Whatever else in the code says that there were too many requests stands on the page too."""
    raised = {
        node.args[2].value
        for folder in ("clients", "federation", "homeserver")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "LimitExceeded"
        if len(node.args) == 3 and isinstance(node.args[2], ast.Constant)
    }
    assert raised | OF_PLACES == set(re.findall(r"^\| `(\w+)` \| [^|]+ \|$", PAGE, re.MULTILINE))


def test_bounds_are_told() -> None:
    """The figures in the text are those of the code."""
    assert f"at most {MAX_ENTRIES:,} subjects" in PAGE
    assert f"At most {MAX_USERS:,} users" in PAGE
