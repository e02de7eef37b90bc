"""Every test of a named attack is in the table of tests/attacks_prove, with a defence that is there."""

import ast
import re
from pathlib import Path

import pytest

from tests.attacks_prove.switches import find
from tests.attacks_prove.table import TABLE

TESTS = Path(__file__).parents[1]


def attack_tests() -> set[str]:
    """The node ids, without parameters, of all tests that are named after an attack."""
    return {
        f"{path.relative_to(TESTS.parent)}::{node.name}"
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_attack_")
    }


def test_the_table_lists_every_attack_test() -> None:
    """What `make attacks-prove` does not know is not proven; what is not there proves nothing."""
    assert attack_tests() == {row.test for row in TABLE}


def test_names_and_numbers_agree() -> None:
    """`test_attack_37_...` stands in a row of attack 37."""
    wrong = [row.test for row in TABLE if not re.search(rf"::test_attack_{row.attack:02}_", row.test)]
    assert not wrong


@pytest.mark.parametrize("defence", sorted({row.switch.defence for row in TABLE}))
def test_the_defences_are_there(defence: str) -> None:
    """A defence that was renamed would be switched off in vain."""
    find(defence)
    assert len({row.switch for row in TABLE if row.switch.defence == defence}) == 1
