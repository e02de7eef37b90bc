"""JSON that others wrote, and canonical JSON, the one byte string of a value that is hashed and signed.

`parse_json` reads untrusted bytes, `canonical_json` writes a value, `checked_json` writes it only if it is legal in an
event, `check_strict` tells whether it is strictly legal (room versions 6 and later demand it). What we decided where
the spec leaves room, or where the parsers surprise:

- orjson reads an integer beyond 64 bits as a float, silently. Events of room versions 1 to 5 may hold such integers
  and their hashes cover every digit, so a body with a float and with 19 digits in a row is read again by the
  standard library.
- A number beyond the range of a double, an integer of more than 1,000 digits, NaN and Infinity are not JSON to us.
- Duplicate keys are refused: readers disagree on which one counts, and so would servers.
- Lone surrogates are refused; the escape of NUL in a string is legal, as the canonical grammar has it.
- Depth and number of values are bounded. The bound on depth of a whole body is the caller's choice: a transaction
  must not fail because one of its events is too deep, so it is read with `MAX_ENVELOPE_DEPTH`, and `MAX_DEPTH`
  applies to each event (`checked_json`).
- Floats in old rooms are printed as Python's json does, because their hashes were made so. COMPAT: the appendix
  shows `1e10` as `10000000000`; the servers of the network print `10000000000.0`.

https://spec.matrix.org/v1.19/appendices/#canonical-json
"""

import json
import math
import re
from types import MappingProxyType
from typing import Any, NoReturn

import orjson

from homeserver.domain.errors import BadRequest

MAX_INTEGER = 2**53 - 1
# Objects and arrays inside each other, in one event or one body of a client.
MAX_DEPTH = 100
# The same for a body that holds events of others; below what orjson and Python's recursion limit can carry.
MAX_ENVELOPE_DEPTH = 500
# Members of all objects and arrays of a body, by default; never more than commas in it.
MAX_VALUES = 250_000
_MAX_DIGITS = 1_000
# More levels than orjson writes.
_ORJSON_DEPTH = 255

# What we take for JSON objects and arrays: what parsers make, tuples, and a frozen view of a dict.
JSON_OBJECTS = (dict, MappingProxyType)
_JSON_ARRAYS = (list, tuple)

# A string of a JSON text. The end is optional, so that a match never fails once begun: linear on any input.
_STRING = re.compile(rb'"[^"\\]*+(?:\\(?s:.)[^"\\]*+)*+"?+')
_MANY_DIGITS = re.compile(rb"[0-9]{19}")


def _bad_json(message: str) -> BadRequest:
    return BadRequest(message, "M_BAD_JSON")


def _survey(value: object, max_depth: int) -> tuple[int, bool]:
    """How many keys the objects in `value` have together, and whether a float is in it; raises BadRequest if it is
    nested deeper than `max_depth` levels. Goes level by level, so no depth can exhaust the stack."""
    keys, floats = 0, False
    level: list[Any] = [[value]]
    for _ in range(max_depth + 1):
        deeper: list[Any] = []
        for container in level:
            if isinstance(container, JSON_OBJECTS):
                keys += len(container)
                members = container.values()
            else:
                members = container
            for member in members:
                kind = type(member)
                if kind is str or kind is int or kind is bool or member is None:
                    continue
                if kind is dict or kind is list or isinstance(member, JSON_OBJECTS + _JSON_ARRAYS):
                    deeper.append(member)
                elif isinstance(member, float):
                    floats = True
        if not deeper:
            return keys, floats
        level = deeper
    raise _bad_json(f"The JSON is nested deeper than {max_depth} levels")


def parse_json(body: bytes, strict: bool, *, max_depth: int = MAX_DEPTH, max_values: int = MAX_VALUES) -> Any:
    """The value of a JSON text from outside, in time and memory bounded by its length.

    Raises BadRequest: M_NOT_JSON if it is none, M_BAD_JSON if it is JSON that we refuse. With `strict` the value is
    also checked by `check_strict`; without, floats and integers of any size pass, as in events of old rooms.
    """
    if body.count(b",") >= max_values:
        raise _bad_json(f"The JSON has more than {max_values} values")
    value = _parse(body)
    keys, floats = _survey(value, max_depth)
    if floats and _MANY_DIGITS.search(body):
        value = _parse_exactly(body)
    # Every key has its colon; what colons there are besides stand in strings.
    if keys != body.count(b":") and keys != _STRING.sub(b"", body).count(b":"):
        raise _bad_json("An object has a key twice")
    if strict:
        check_strict(value)
    return value


def _parse(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if _MANY_DIGITS.search(body):  # perhaps it is only an integer beyond the range of a double
            return _parse_exactly(body)
        raise BadRequest("The body is not JSON", "M_NOT_JSON") from error


def _parse_exactly(body: bytes) -> Any:
    """As `_parse`, but integers keep all their digits."""
    try:
        value = json.loads(body.decode(), parse_int=_integer, parse_float=_double, parse_constant=_refuse_constant)
        # The standard library lets the escape of a lone surrogate pass.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body is not JSON", "M_NOT_JSON") from error
    return value


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"an integer of {len(text)} digits")
    return int(text)


def _double(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number beyond the range of a double")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _plain(value: object) -> object:
    """What orjson and json write for a type that they do not know."""
    if isinstance(value, MappingProxyType):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not a JSON type")


_EXACT = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True, default=_plain)


def canonical_json(value: object, *, checked: bool = False) -> bytes:
    """The canonical JSON of `value`; raises BadRequest (M_BAD_JSON) if it has none.

    `checked` says that the value has passed `check_strict`, so that no float is looked for. The order is by code
    point either way: that of UTF-8 bytes (orjson) is the same.
    """
    try:
        encoded = orjson.dumps(value, default=_plain, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # an integer beyond 64 bits, more than 254 levels, or no JSON at all
        return _exact_json(value)
    if checked or not _survey(value, _ORJSON_DEPTH)[1]:
        return encoded
    return _exact_json(value)


def _exact_json(value: object) -> bytes:
    """What orjson cannot write, or writes otherwise than Python does (small floats, NaN)."""
    try:
        return _EXACT.encode(value).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise _bad_json(f"The value has no canonical JSON: {error}") from error


def checked_json(value: object, strict: bool) -> bytes:
    """The canonical JSON of an event, or of a part of one; raises BadRequest (M_BAD_JSON) unless it is legal.

    In every room it must have canonical JSON and no more than `MAX_DEPTH` levels. Where `strict`, integers are within
    -(2^53-1) and 2^53-1 and floats are not allowed.
    """
    _, floats = _survey(value, MAX_DEPTH)
    if not strict:
        return _exact_json(value) if floats else canonical_json(value, checked=True)
    if floats:
        raise _bad_json("A number is not an integer")
    try:
        return orjson.dumps(value, default=_plain, option=orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER)
    except TypeError as error:
        raise _bad_json(f"The value has no canonical JSON: {error}") from error


def check_strict(value: object) -> None:
    """Raises BadRequest unless `value` is strictly legal canonical JSON: "This translates to a 400 `M_BAD_JSON` error
    on most endpoints, or discarding of events over federation"."""
    checked_json(value, strict=True)
