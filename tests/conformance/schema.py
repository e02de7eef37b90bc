"""The notation of the facts as checks: a schema becomes a tree of small objects that list what is wrong with a value.

It knows nothing of endpoints or events (facts.py does), and nothing of JSON Schema: scripts/spec-facts, whose docstring
defines the notation, has reduced that to what stands here.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

# From the root of the document to a value: field names and array indices.
Path = tuple[str | int, ...]


def is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": is_integer,
    "number": lambda value: is_integer(value) or isinstance(value, float),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}
NAMES: Mapping[type, str] = {
    dict: "object",
    list: "array",
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    type(None): "null",
}
IMPLIED: Mapping[str, frozenset[str]] = {
    "object": frozenset({"required", "optional", "patterns", "values", "keys", "minFields", "maxFields"}),
    "array": frozenset({"items", "minItems", "maxItems"}),
    "string": frozenset({"pattern", "maxLength"}),
}
KNOWN = frozenset({"type", "enum", "anyOf", "allOf"}).union(*IMPLIED.values())


def tell(path: Path, problem: str) -> str:
    return f"{'/'.join(map(str, path)) or '<root>'}: {problem}"


class Rule(Protocol):
    """One demand on a value."""

    def look(self, value: Any, path: Path, found: list[str]) -> None: ...


class Check:
    """All that a schema demands. A value that is of the wrong type is not looked into."""

    def __init__(self) -> None:
        self.types: tuple[Callable[[Any], bool], ...] | None = None
        self.expected = "any"
        self.rules: list[Rule] = []

    def look(self, value: Any, path: Path, found: list[str]) -> None:
        if self.types is not None and not any(fits(value) for fits in self.types):
            found.append(tell(path, f"{self.expected} is expected, not {NAMES.get(type(value), type(value).__name__)}"))
            return
        for rule in self.rules:
            rule.look(value, path, found)

    def problems(self, value: Any) -> list[str]:
        found: list[str] = []
        self.look(value, (), found)
        return found


class Schemas:
    """Makes checks of schemas; `definitions` are what "#name" means. A definition may contain itself."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self._checks: dict[str, Check] = {}

    def check(self, schema: Any) -> Check:
        if isinstance(schema, str) and schema.startswith("#"):
            name = schema[1:]
            if name not in self._checks:
                self._checks[name] = Check()  # first, so that a recursive definition finds it
                self._fill(self._checks[name], self._definitions[name])
            return self._checks[name]
        made = Check()
        self._fill(made, schema)
        return made

    def _fill(self, made: Check, schema: Any) -> None:
        if isinstance(schema, str):
            self._set_type(made, schema)
            return
        if unknown := schema.keys() - KNOWN:
            raise ValueError(f"not in the notation of the facts: {sorted(unknown)}")
        kinds = [kind for kind, keys in IMPLIED.items() if keys & schema.keys()]
        if "type" in schema or kinds:
            self._set_type(made, schema.get("type", "|".join(kinds)))
        if "enum" in schema:
            made.rules.append(Enum(schema["enum"]))
        for part in schema.get("allOf", ()):
            made.rules.append(self.check(part))
        if "anyOf" in schema:
            made.rules.append(AnyOf([self.check(part) for part in schema["anyOf"]]))
        if "object" in kinds:
            made.rules.append(self._fields(schema))
        if "array" in kinds:
            items = self.check(schema["items"]) if "items" in schema else None
            made.rules.append(Items(items, schema.get("minItems", 0), schema.get("maxItems")))
        if "string" in kinds:
            made.rules.append(Text(schema.get("pattern", ()), schema.get("maxLength")))

    def _set_type(self, made: Check, words: str) -> None:
        made.expected = words
        if words.startswith("#"):
            made.rules.append(self.check(words))
        elif words != "any":
            made.types = () if words == "never" else tuple(TYPES[word] for word in words.split("|"))

    def _fields(self, schema: Mapping[str, Any]) -> "Fields":
        named = {**schema.get("optional", {}), **schema.get("required", {})}
        return Fields(
            required=tuple(schema.get("required", ())),
            named={name: self.check(field) for name, field in named.items()},
            patterns=[(re.compile(p), self.check(field)) for p, field in schema.get("patterns", {}).items()],
            further=self.check(schema["values"]) if "values" in schema else None,
            keys=self.check(schema["keys"]) if "keys" in schema else None,
            count=(schema.get("minFields", 0), schema.get("maxFields")),
        )


class Fields:
    """The fields of an object."""

    def __init__(
        self,
        required: Sequence[str],
        named: Mapping[str, Check],
        patterns: Sequence[tuple[re.Pattern[str], Check]],
        further: Check | None,
        keys: Check | None,
        count: tuple[int, int | None],
    ) -> None:
        self._required = required
        self._named = named
        self._patterns = patterns
        self._further = further
        self._keys = keys
        self._least, self._most = count

    def look(self, value: Any, path: Path, found: list[str]) -> None:
        if not isinstance(value, dict):
            return
        for name in self._required:
            if name not in value:
                found.append(tell((*path, name), "is required"))
        if len(value) < self._least or (self._most is not None and len(value) > self._most):
            found.append(tell(path, f"{len(value)} fields are too many or too few"))
        for name, field in value.items():
            if self._keys is not None:
                self._keys.look(name, (*path, name), found)
            checks = [check for pattern, check in self._patterns if pattern.search(name)]
            if name in self._named:
                checks.append(self._named[name])
            elif not checks and self._further is not None:
                checks.append(self._further)
            for check in checks:
                check.look(field, (*path, name), found)


class Items:
    """The items of an array."""

    def __init__(self, item: Check | None, least: int, most: int | None) -> None:
        self._item = item
        self._least = least
        self._most = most

    def look(self, value: Any, path: Path, found: list[str]) -> None:
        if not isinstance(value, list):
            return
        if len(value) < self._least or (self._most is not None and len(value) > self._most):
            found.append(tell(path, f"{len(value)} items are too many or too few"))
        if self._item is not None:
            for index, item in enumerate(value):
                self._item.look(item, (*path, index), found)


class Text:
    """The form of a string."""

    def __init__(self, patterns: Sequence[str], most: int | None) -> None:
        self._patterns = [re.compile(pattern) for pattern in patterns]
        self._most = most

    def look(self, value: Any, path: Path, found: list[str]) -> None:
        if not isinstance(value, str):
            return
        for pattern in self._patterns:
            if not pattern.search(value):
                found.append(tell(path, f"{value[:80]!r} does not match {pattern.pattern}"))
        if self._most is not None and len(value) > self._most:
            found.append(tell(path, f"{len(value)} characters are too many"))


class Enum:
    """One of some values; True is not 1."""

    def __init__(self, values: Sequence[Any]) -> None:
        self._values = values

    def look(self, value: Any, path: Path, found: list[str]) -> None:
        if not any(value == allowed and type(value) is type(allowed) for allowed in self._values):
            found.append(tell(path, f"{str(value)[:80]!r} is not one of {', '.join(map(repr, self._values))}"))


class AnyOf:
    """At least one of several schemas."""

    def __init__(self, choices: Sequence[Check]) -> None:
        self._choices = choices

    def look(self, value: Any, path: Path, found: list[str]) -> None:
        failures = []
        for choice in self._choices:
            problems: list[str] = []
            choice.look(value, path, problems)
            if not problems:
                return
            failures.append("; ".join(problems[:3]))
        found.append(tell(path, f"none of the forms fits: {' | '.join(failures)}"))
