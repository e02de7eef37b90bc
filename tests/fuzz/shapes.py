"""Values that fit a schema of the facts, values that nearly fit, and values that fit nothing.

The notation is that of `scripts/spec-facts`. What a string may say comes from the name of its field: a vocabulary
gives words that mean something to the server.
"""

import json
import random
from collections.abc import Callable, Mapping
from typing import Any

# Deeper than this a value is as small as it may be: definitions may contain themselves.
DEEP = 6
Word = Callable[[str], str]


class Shapes:
    """`word` gives a meaningful string for the name of a field, or for a sigil (@ ! # $)."""

    def __init__(self, definitions: Mapping[str, Any], word: Word, dice: random.Random) -> None:
        self._definitions = definitions
        self._word = word
        self._dice = dice

    def valid(self, schema: Any, name: str = "", depth: int = 0) -> Any:
        """A value that `schema` allows, as far as the facts say."""
        if isinstance(schema, str):
            if schema.startswith("#"):
                return self.valid(self._definitions[schema[1:]], name, depth + 1)
            return self._of_type(self._dice.choice(schema.split("|")), name, depth)
        if "enum" in schema:
            return self._dice.choice(schema["enum"])
        if "anyOf" in schema:
            return self.valid(self._dice.choice(schema["anyOf"]), name, depth + 1)
        whole: Any = None
        for part in schema.get("allOf", ()):
            value = self.valid(part, name, depth + 1)
            whole = {**whole, **value} if isinstance(whole, dict) and isinstance(value, dict) else value
        rest = {key: value for key, value in schema.items() if key != "allOf"}
        if not rest:
            return whole
        value = self._by_keys(rest, name, depth)
        return {**whole, **value} if isinstance(whole, dict) and isinstance(value, dict) else value

    def _by_keys(self, schema: Mapping[str, Any], name: str, depth: int) -> Any:
        if "items" in schema or schema.get("type") == "array" or "minItems" in schema:
            count = 1 if depth > DEEP else self._dice.randint(schema.get("minItems", 0), schema.get("minItems", 0) + 2)
            return [self.valid(schema.get("items", "any"), name, depth + 1) for _ in range(count)]
        if "pattern" in schema:
            return self._word(schema["pattern"][0].lstrip("^\\")[:1])
        if "type" in schema and not schema.keys() & {"required", "optional", "values", "patterns"}:
            return self.valid(schema["type"], name, depth)
        fields = {key: self.valid(field, key, depth + 1) for key, field in schema.get("required", {}).items()}
        for key, field in schema.get("optional", {}).items():
            if depth <= DEEP and self._dice.random() < 0.4:
                fields[key] = self.valid(field, key, depth + 1)
        if "values" in schema and depth <= DEEP:
            for _ in range(self._dice.randint(0, 2)):
                fields[self._word(name)] = self.valid(schema["values"], name, depth + 1)
        if len(fields) < schema.get("minFields", 0):
            fields[self._word(name)] = self._word(name)
        return fields

    def _of_type(self, kind: str, name: str, depth: int) -> Any:
        dice = self._dice
        if kind == "string":
            return self._word(name)
        if kind == "integer":
            return dice.choice((0, 1, 2, 10, 50, 100, 30_000, 2**31, 2**53 - 1, -1))
        if kind == "number":
            return dice.choice((0, 1, 0.5, 100))
        if kind == "boolean":
            return dice.random() < 0.5
        if kind in ("null", "never"):
            return None
        if kind == "array":
            return [] if depth > DEEP else [self._word(name) for _ in range(dice.randint(0, 2))]
        if kind == "object":
            return {} if depth > DEEP else {self._word(name): self._word(name) for _ in range(dice.randint(0, 2))}
        return anything(dice)


SCALARS: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 100, 2**31, 2**53 - 1, 2**53, 2**63, -(2**63), 2**70, 10**400, 0.5, -0.0, 1e300,
    "", "0", "true", "join", "*", "**?*", "[", "a" * 256, "a" * 70_000, "\x00", "a\x00b", "\ud800", "\U0001f600", "é",
    "@", "!", "#", "$", "@a:b", "!a:b", "#a:b", "$a", "@alice", "@:", "!:", "\r\n", "../..", "%00", "{}",
    "m.room.member",
    "1", "6", "12", "v13", "m.login.password", "-9223372036854775809", "' OR 1=1 --", "\\", '"', "\x7f", "\u202e",
)  # fmt: skip
KEYS = ("", "type", "content", "room", "users", "a\x00", "\ud800", "__proto__", "m.federate", "events", "é", "a" * 300)


def anything(dice: random.Random, depth: int = 0) -> Any:
    """Any JSON value, and some that Python writes and JSON knows not."""
    kind = dice.random()
    if kind < 0.02:
        return nested(dice)
    if kind < 0.7 or depth > 3:
        return dice.choice(SCALARS)
    if kind < 0.85:
        return [anything(dice, depth + 1) for _ in range(dice.randint(0, 3))]
    return {dice.choice(KEYS): anything(dice, depth + 1) for _ in range(dice.randint(0, 3))}


def nested(dice: random.Random) -> Any:
    """Lists and objects in each other."""
    value: Any = None
    for _ in range(dice.choice((10, 60, 300, 700))):
        value = [value] if dice.random() < 0.5 else {"a": value}
    return value


def misspelt(value: Any, dice: random.Random) -> bytes:
    """The JSON of `value`, written as nobody should: with a key twice, cut off, with bytes that are no text."""
    written = json.dumps(value).encode()
    place = dice.randrange(len(written))
    kind = dice.choice(("twice", "twice", "cut", "byte", "escape", "more", "numbers"))
    if kind == "twice" and isinstance(value, dict) and value:
        again = json.dumps({dice.choice(sorted(value)): anything(dice)}).encode()
        return written[:-1] + b"," + again[1:]
    if kind == "cut":
        return written[:place]
    if kind == "byte":
        return written[:place] + bytes([dice.randrange(128, 256)]) + written[place + 1 :]
    if kind == "escape":
        return written.replace(b'"', b'"\\ud83d', 1) if dice.random() < 0.5 else written.replace(b'"', b'"\\u0000', 1)
    if kind == "numbers":
        return written.replace(b"1", b"1e999").replace(b"0", b"0.0")
    return written + dice.choice((b"{}", b"\x00", b" " * 5_000, b"\xef\xbb\xbf"))


def spoiled(value: Any, dice: random.Random) -> Any:
    """`value` with one thing in it changed, taken away or added."""
    if isinstance(value, dict) and value and dice.random() < 0.9:
        key = dice.choice(sorted(value))
        changed = dict(value)
        what = dice.random()
        if what < 0.6:
            changed[key] = spoiled(value[key], dice)
        elif what < 0.8:
            del changed[key]
        else:
            changed[dice.choice(KEYS)] = anything(dice)
        return changed
    if isinstance(value, list) and value and dice.random() < 0.8:
        items = list(value)
        index = dice.randrange(len(items))
        if dice.random() < 0.7:
            items[index] = spoiled(items[index], dice)
        else:
            items *= dice.choice((0, 2, 200))
        return items
    if isinstance(value, str) and value and dice.random() < 0.4:
        index = dice.randrange(len(value))
        return value[:index] + dice.choice(("", "\x00", ":", "é", "\ud800", value)) + value[index + 1 :]
    return anything(dice)
