"""What no file of the product may hold."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path
    for folder in ("homeserver", "federation", "clients", "web", "config")
    for path in (ROOT / folder).rglob("*.py")
)
VAGUE = re.compile(r"(?:handler|processor|engine|manager|component|util)s?$", re.IGNORECASE)


def lines_with(pattern: str) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in FILES
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if re.search(pattern, line)
    ]


def test_nothing_is_left_for_later() -> None:
    """What is not done is an issue, or is not there."""
    assert not lines_with(r"\b(?:TODO|FIXME|XXX|HACK)\b")


def test_no_check_is_switched_off_without_a_reason() -> None:
    """`type: ignore` and `noqa` name the rule, and then say why."""
    switched = lines_with(r"#\s*(?:type:\s*ignore|noqa)")
    reasoned = re.compile(r"#\s*(?:type: ignore\[[\w, -]+\]|noqa: [A-Z]+\d+(?:, ?[A-Z]+\d+)*)(?:\s+#|\s+-)\s+\w+")
    assert not [line for line in switched if not reasoned.search(line)]


def test_packages_are_only_folders() -> None:
    """An `__init__.py` holds a docstring or nothing, so that to import a module imports nothing else."""
    full = []
    for path in FILES:
        if path.name == "__init__.py":
            body = ast.parse(path.read_text()).body
            if body and not (len(body) == 1 and isinstance(body[0], ast.Expr)):
                full.append(str(path.relative_to(ROOT)))
    assert not full


def test_names_say_what_a_thing_is() -> None:
    """Modules and classes are named after the spec or after what they do; these words fit everything."""
    vague = []
    for path in FILES:
        names = [
            path.stem,
            *(node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)),
        ]
        vague += [f"{path.relative_to(ROOT)}: {name}" for name in names if VAGUE.search(name)]
    assert not vague


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.parent.name != "versions"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_functions_can_be_read_at_once(path: Path) -> None:
    """Under 60 lines each, docstring included; migrations aside, which are lists."""
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno >= 60
    ]
    assert not long


def test_the_domain_waits_for_nothing() -> None:
    """It is values in and values out: nothing in it awaits, reads or prints."""
    impure = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in FILES
        if path.is_relative_to(ROOT / "homeserver" / "domain")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.AsyncFunctionDef | ast.Await)
        or (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("open", "print", "input")
        )
    ]
    assert not impure
