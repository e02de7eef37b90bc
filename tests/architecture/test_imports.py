"""Who may import whom, and what a package of Parley brings with it."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distributions, packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = ("homeserver", "federation", "clients", "web", "config")
CONTRACTS = {contract["name"]: contract for contract in PROJECT["tool"]["importlinter"]["contracts"]}


def modules(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def imported(module: Path) -> set[str]:
    """The top-level names that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            found.add(node.module)
    return {name.partition(".")[0] for name in found}


def test_the_contracts_are_kept() -> None:
    """Layers, doors, circles, the pure domain, SQL and web frameworks: as pyproject.toml declares them."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_no_contract_looks_away() -> None:
    """An import that is ignored is an import that is allowed."""
    assert not [name for name, contract in CONTRACTS.items() if any(key.startswith("ignore") for key in contract)]


def test_the_autobahn_contract_names_every_module_of_clients_but_live() -> None:
    """It lists modules, so a new one would escape it."""
    contract = CONTRACTS["autobahn only in clients.live"]
    named = {name for name in contract["source_modules"] if name.startswith("clients.")}
    there = {
        f"clients.{path.stem}"
        for path in (ROOT / "clients").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert named == there - {"clients.__init__", "clients.live"}


def test_the_sql_contract_names_every_part_of_the_house_but_storage() -> None:
    """The same of homeserver: a new folder may not speak SQL unseen."""
    named = set(CONTRACTS["SQL only in storage"]["source_modules"])
    there = {f"homeserver.{path.stem}" for path in (ROOT / "homeserver").iterdir() if not path.name.startswith("_")}
    assert there - named == {"homeserver.storage", "homeserver.domain"}, "the domain has a stricter contract of its own"


def test_no_dependency_ships_a_name_of_ours() -> None:
    """`config` and `web` are names that others might take too: then one of us would import the other's."""
    takers = {
        f"{distribution.name}: {file}"
        for distribution in distributions()
        if canonicalize_name(distribution.name) != "parley"
        for file in distribution.files or ()
        if file.parts[0].removesuffix(".py") in FOLDERS
    }
    assert not takers


def test_the_wheel_holds_the_five_folders_and_no_tests() -> None:
    """What is installed is the product."""
    assert set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == set(FOLDERS)
    assert "tests" not in set().union(*(imported(module) for module in modules(*FOLDERS)))


def test_every_package_that_is_imported_is_a_dependency() -> None:
    """What comes only with another package may go away with it."""
    declared = {canonicalize_name(Requirement(line).name) for line in PROJECT["project"]["dependencies"]}
    providers = packages_distributions()
    missing = {
        f"{module.relative_to(ROOT)}: {name}"
        for module in modules(*FOLDERS)
        for name in imported(module) - set(sys.stdlib_module_names) - set(FOLDERS)
        if not {canonicalize_name(provider) for provider in providers.get(name, ())} & declared
    }
    assert not missing
