"""The documentation is whole, and true as far as a test can tell."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("homeserver", "federation", "clients", "web", "config")
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def code_in(page: Path) -> Iterator[str]:
    """What a page shows as code: blocks, and words between backticks."""
    text = page.read_text()
    yield from re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    yield from re.findall(r"^    (.*)$", text, re.MULTILINE)
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def test_every_module_says_what_it_is() -> None:
    """A reader who opens a file learns first what it is for. An empty `__init__.py` is only a folder."""
    silent = [
        path.relative_to(ROOT)
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        if (path.name != "__init__.py" or path.read_text().strip())
        and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not silent


def test_every_route_is_documented() -> None:
    """docs/reference/routes.md is what the script makes of the routes; the remedy is to run it."""
    command = [sys.executable, str(ROOT / "scripts" / "routes-reference"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pages
def test_links_lead_somewhere(page: Path) -> None:
    """Relative links name files that exist, and headings that are there."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, heading = target.partition("#")
        other = (page.parent / name).resolve() if name else page
        assert other.exists(), f"{target} does not exist"
        if heading:
            assert heading in headings(other), f"{target} has no such heading"


def headings(page: Path) -> set[str]:
    """As GitHub writes them in a link."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pages
def test_files_that_are_named_exist(page: Path) -> None:
    """A path of ours between backticks is a file or a folder of the checkout."""
    for code in code_in(page):
        for path in re.findall(rf"(?<![\w/.-])((?:{'|'.join(FOLDERS)}|tests|scripts|docs)/[\w./-]*\w)", code):
            assert (ROOT / path).exists(), f"{path} does not exist"


@pages
def test_make_targets_that_are_named_exist(page: Path) -> None:
    """`make this` works."""
    named = {target for code in code_in(page) for target in re.findall(r"\bmake ([a-z][a-z-]*)", code)}
    assert named <= TARGETS


def test_what_the_makefile_calls_exists() -> None:
    """Its targets are scripts and modules of this checkout, and `make help` names each."""
    for script in re.findall(r"(scripts/[\w-]+)", MAKEFILE):
        assert (ROOT / script).stat().st_mode & 0o100, f"{script} cannot be run"
    for module in re.findall(r"-m (tests\.[\w.]+)", MAKEFILE):
        path = ROOT / module.replace(".", "/")
        assert (path / "__main__.py").exists() or path.with_suffix(".py").exists(), f"{module} does not exist"
    described = set(re.findall(r"^([a-z][a-z-]*):.*## ", MAKEFILE, re.MULTILINE))
    assert described == TARGETS
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony is not None and set(phony[1].split()) == TARGETS


@pytest.mark.parametrize(
    "spike", sorted((ROOT / "docs" / "decisions" / "spikes").glob("*.py")), ids=lambda path: path.stem
)
def test_spikes_of_decisions_can_be_started(spike: Path) -> None:
    """What a spike imports is still there, so that its figures can be taken again."""
    importlib.import_module(f"docs.decisions.spikes.{spike.stem}")
