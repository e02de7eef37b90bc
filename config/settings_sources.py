"""Reads the settings: flags over environment (`PARLEY_...`) over file, and all that is wrong at once.

A complaint names the key, the line or variable it came from, and what would be right. Not here: the keys themselves
(settings.py), and whether their values fit together and this machine (settings_checks.py).
"""

import difflib
import re
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml

from config.settings import Key, Settings
from config.settings_checks import Problem, SettingsError, check_for_tests, check_together, for_tests
from config.settings_values import WrongValue, is_nothing, shown

T = TypeVar("T")

# The flags that stand for a key. `--listen` and `--for-tests` are more than that.
FLAGS = {"server_name": "server_name", "data": "data_directory", "log_level": "log.level"}

# Variables that are no settings: our own, those of the test suite, and those that Kubernetes and Docker set in every
# container beside a service called "parley".
_OTHER_VARIABLES = re.compile(r"PARLEY_(CONFIG$|TEST_|SERVICE_|PORT($|_))")


@dataclass(frozen=True, slots=True)
class Given:
    """A value as it was found: where, and the folder at which a relative path in it begins."""

    node: yaml.Node
    origin: str
    line: int | None
    base: Path

    def problem(self, key: str, message: str) -> Problem:
        return Problem(key, self.line, message, self.origin)


@dataclass(frozen=True, slots=True)
class Part:
    """One field of the tree: a key, a section, or a list of sections."""

    name: str
    key: Key | None
    section: type[Any] | None
    optional: bool
    listed: bool
    default: Any  # MISSING: the key is required


def parts_of(tree: type[Any]) -> Iterator[Part]:
    """The fields of a class of the tree."""
    for field in fields(tree):
        key = next((item for item in getattr(field.type, "__metadata__", ()) if isinstance(item, Key)), None)
        section = None
        if key is None:
            kinds = (field.type, *get_args(field.type))
            section = next(kind for kind in kinds if isinstance(kind, type) and is_dataclass(kind))
        listed = getattr(field.type, "__origin__", None) is tuple and key is None
        yield Part(field.name, key, section, type(None) in get_args(field.type), listed, _default(field))


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def keys_of(tree: type[Any] = Settings, prefix: str = "") -> Iterator[tuple[str, Part]]:
    """Every key with its full name, in the order of the page: `log.level`, `listeners[].tls.key`."""
    for part in parts_of(tree):
        if part.section is None:
            yield prefix + part.name, part
        else:
            yield from keys_of(part.section, f"{prefix}{part.name}[]." if part.listed else f"{prefix}{part.name}.")


def variable_of(key: str) -> str:
    """The variable of the environment that stands for a key."""
    return "PARLEY_" + key.replace(".", "_").upper()


def variables() -> dict[str, tuple[str, Part]]:
    """The variables of the environment, and the key of each. A list of sections is one value, written as YAML."""
    found = {variable_of(name): (name, part) for name, part in keys_of() if "[]" not in name}
    found |= {variable_of(part.name): (part.name, part) for part in parts_of(Settings) if part.listed}
    return found


def load_settings(
    flags: Namespace, environment: Mapping[str, str], file_text: str | None = None, file_name: str = ""
) -> Settings:
    """The settings, or SettingsError with every problem. Relative paths in the file begin at the file's folder."""
    source = Sources()
    if file_text is not None:
        source.read_file(file_text, file_name)
    source.read_environment(environment)
    source.read_flags(flags)
    settings = source.build(Settings)
    if settings is not None and not source.problems:
        if getattr(flags, "for_tests", False):
            settings = for_tests(settings)
            source.problems += check_for_tests(settings)
        source.problems += check_together(settings)
    if settings is None or source.problems:
        raise SettingsError([source.located(problem) for problem in source.problems])
    return settings


class Sources:
    """Collects values by key, the later over the earlier, and the problems on the way."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._given: dict[str, Given] = {}

    def located(self, problem: Problem) -> Problem:
        """A problem of the settings together, with the place of the key it is about."""
        given = self._given.get(problem.key)
        return problem if problem.origin or given is None else given.problem(problem.key, problem.message)

    def read_file(self, text: str, name: str) -> None:
        node = _compose("", text, name)
        if isinstance(node, Problem):
            self.problems.append(node)
        elif node is not None:
            self._collect(Settings, "", Given(node, name, node.start_mark.line + 1, Path(name).parent))

    def read_environment(self, environment: Mapping[str, str]) -> None:
        known = variables()
        for variable in sorted(name for name in environment if name.startswith("PARLEY_")):
            if variable in known:
                key, part = known[variable]
                self._read_text(key, part, environment[variable], variable)
            elif not _OTHER_VARIABLES.match(variable):
                message = f"there is no such setting{_similar(variable, known)}"
                self.problems.append(Problem(variable, None, message, "environment"))

    def read_flags(self, flags: Namespace) -> None:
        parts = dict(keys_of())
        for flag, key in FLAGS.items():
            text = getattr(flags, flag, None)
            if text is not None:
                self._read_text(key, parts[key], str(text), "--" + flag.replace("_", "-"))
        addresses = getattr(flags, "listen", None)
        if addresses:
            items = [_mapping({"address": address}) for address in addresses]
            self._put("listeners", Given(yaml.SequenceNode("tag:yaml.org,2002:seq", items), "--listen", None, Path()))

    def build(self, tree: type[T], prefix: str = "") -> T | None:
        """The class of the tree with what was given; None if something that it needs is missing."""
        values: dict[str, Any] = {}
        whole = True
        for part in parts_of(tree):
            name = prefix + part.name
            given = self._given.get(name)
            if part.listed and part.section is not None:
                value = self._build_list(part.section, name, given) if given is not None else part.default
            elif part.section is not None:
                absent = part.optional and not any(key.startswith(f"{name}.") for key in self._given)
                value = part.default if absent else self.build(part.section, f"{name}.")
                whole &= absent or value is not None
            elif given is not None and part.key is not None:
                value = self._read(name, part.key, given, part.default)
            elif part.default is MISSING:
                above = self._given.get(prefix.rstrip("."))
                problem = Problem(name, above.line if above else None, "is missing", above.origin if above else "")
                self.problems.append(problem)
                value = MISSING
            else:
                value = part.default
            whole &= value is not MISSING
            values[part.name] = value
        return tree(**values) if whole else None

    def _build_list(self, section: type[Any], name: str, given: Given) -> tuple[Any, ...]:
        if not isinstance(given.node, yaml.SequenceNode):
            message = f"{shown(given.node)} is not a list; write one section for each, beginning with `-`"
            self.problems.append(given.problem(name, message))
            return ()
        items = []
        for index, node in enumerate(given.node.value):
            place = f"{name}[{index}]"
            line = None if given.line is None or not node.start_mark else node.start_mark.line + 1
            self._put(place, Given(node, given.origin, line, given.base))
            self._collect(section, f"{place}.", self._given[place])
            items.append(self.build(section, f"{place}."))
        return tuple(item for item in items if item is not None)

    def _read(self, name: str, key: Key, given: Given, default: Any) -> Any:
        try:
            return key.kind.read(given.node, given.base)
        except WrongValue as wrong:
            line = given.line
            if line is not None and wrong.node.start_mark is not None:
                line = wrong.node.start_mark.line + 1
            reason = wrong.reason or f"{shown(given.node)} is no value for it"
            self.problems.append(Problem(name, line, f"{reason}; it takes {key.kind.takes}", given.origin))
            return default

    def _read_text(self, key: str, part: Part, text: str, origin: str) -> None:
        """A value from the environment or a flag: plain text, or YAML for what is more than a word."""
        plain = part.key is not None and part.key.kind.plain
        node = _text(text) if plain else _compose(key, text, origin)
        if isinstance(node, Problem):
            self.problems.append(replace(node, line=None))
        else:
            self._put(key, Given(node or yaml.ScalarNode("tag:yaml.org,2002:null", ""), origin, None, Path()))

    def _put(self, key: str, given: Given) -> None:
        self._given[key] = given

    def _collect(self, tree: type[Any], prefix: str, given: Given) -> None:
        """Takes apart a section, down to the keys. An empty section is one in which everything is left out."""
        node = given.node
        if is_nothing(node):
            return
        name = prefix.rstrip(".")
        if not isinstance(node, yaml.MappingNode):
            self.problems.append(given.problem(name, f"{shown(node)} is not a section with keys of its own"))
            return
        parts = {part.name: part for part in parts_of(tree)}
        seen: dict[str, int] = {}
        for key_node, value in node.value:
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
            line = None if given.line is None or not key_node.start_mark else key_node.start_mark.line + 1
            here = Given(value, given.origin, line, given.base)
            part = parts.get(key)
            if part is None:
                known = [f"{prefix}{name}" for name in parts] if prefix else [*(name for name, _ in keys_of()), *parts]
                hint = _similar(key, known) or f"; there are: {', '.join(parts)}"
                self.problems.append(here.problem(prefix + key, f"there is no such key{hint}"))
            elif key in seen:
                self.problems.append(here.problem(prefix + key, f"is given twice; the first is in line {seen[key]}"))
            elif part.section is not None and not part.listed:
                self._put(prefix + key, here)
                self._collect(part.section, f"{prefix}{key}.", here)
            else:
                self._put(prefix + key, here)
            seen.setdefault(key, line or 0)


def _mapping(values: Mapping[str, str]) -> yaml.MappingNode:
    pairs = [(_text(key), _text(value)) for key, value in values.items()]
    return yaml.MappingNode("tag:yaml.org,2002:map", pairs)


def _text(value: str) -> yaml.ScalarNode:
    return yaml.ScalarNode("tag:yaml.org,2002:str", value)


def _similar(name: str, known: Iterable[str]) -> str:
    """The key that the reader may have meant, by its full name or the last part of it."""
    names = {key.lower(): key for key in known}
    names = {key.rpartition(".")[2]: full for key, full in names.items()} | names
    close = difflib.get_close_matches(name.lower(), names, 1, 0.7)
    return f"; did you mean {names[close[0]]}?" if close else ""


def _compose(key: str, text: str, origin: str) -> yaml.Node | Problem | None:
    """The text as YAML; None if there is nothing in it but comments."""
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        return Problem(key, line, f"this is not YAML: {error.reason}", origin)
    except yaml.MarkedYAMLError as error:
        mark_line = error.problem_mark.line + 1 if error.problem_mark is not None else None
        return Problem(key, mark_line, f"this is not YAML: {error.problem}", origin)
    return node
