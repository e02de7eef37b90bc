"""Canonical JSON, with python-canonicaljson as the oracle, and the parsing of what attackers send."""

import json
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from canonicaljson import encode_canonical_json
from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.domain.canonical import (
    MAX_DEPTH,
    MAX_ENVELOPE_DEPTH,
    MAX_INTEGER,
    canonical_json,
    check_strict,
    checked_json,
    parse_json,
)
from homeserver.domain.errors import BadRequest

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text(encoding="utf-8"))["canonical_json"]


def json_values(numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    scalars = st.none() | st.booleans() | numbers | st.text()
    return st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=25)


strict_values = json_values(st.integers(-MAX_INTEGER, MAX_INTEGER))
lenient_values = json_values(st.integers() | st.floats(allow_nan=False, allow_infinity=False))


def nested(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


@pytest.mark.parametrize("vector", VECTORS[:-1], ids=lambda vector: vector["canonical"][:40])
def test_vectors_of_the_appendix(vector: dict[str, str]) -> None:
    """The examples of the spec."""
    assert canonical_json(parse_json(vector["input_text"].encode(), strict=True)).decode() == vector["canonical"]


def test_the_vector_with_an_exponent_is_written_as_the_network_writes_it() -> None:
    """`1e10` is refused where JSON is strict; in old rooms it prints as Python's json does (COMPAT)."""
    vector = VECTORS[-1]
    assert vector["canonical"] == '{"a":0,"b":10000000000}'
    assert canonical_json(parse_json(vector["input_text"].encode(), strict=False)) == b'{"a":0,"b":10000000000.0}'
    with pytest.raises(BadRequest):
        parse_json(vector["input_text"].encode(), strict=True)


@given(strict_values)
def test_strict_values_equal_the_oracle(value: Any) -> None:
    """What is strictly legal has the same bytes as canonicaljson makes, by every way to write it."""
    expected = encode_canonical_json(value)
    check_strict(value)
    assert canonical_json(value) == canonical_json(value, checked=True) == checked_json(value, strict=True) == expected
    assert parse_json(expected, strict=True) == value


@given(lenient_values)
def test_lenient_values_equal_the_oracle(value: Any) -> None:
    """Old rooms hold floats and integers of any size; each digit counts."""
    expected = encode_canonical_json(value)
    assert canonical_json(value) == checked_json(value, strict=False) == expected
    assert encode_canonical_json(parse_json(expected, strict=False)) == expected


@pytest.mark.parametrize("number", [1e-7, 1e-5, 1e16, -0.0, 5e-324, 2**63, 2**64, -(2**63) - 1, 10**400, 1.5])
def test_numbers_that_orjson_writes_otherwise(number: float) -> None:
    """At the root and inside, Python's notation is the one that was hashed."""
    for value in (number, [number], {"a": {"b": number}}):
        assert canonical_json(value) == encode_canonical_json(value)


def test_frozen_views_and_tuples_are_written_as_objects_and_arrays() -> None:
    """An event that somebody froze has the same bytes, with and without floats."""
    frozen = MappingProxyType({"b": (1, MappingProxyType({"c": 2})), "a": MappingProxyType({})})
    assert canonical_json(frozen) == b'{"a":{},"b":[1,{"c":2}]}'
    assert checked_json(frozen, strict=True) == b'{"a":{},"b":[1,{"c":2}]}'
    assert canonical_json(MappingProxyType({"a": (1e-7,)})) == b'{"a":[1e-07]}'


@pytest.mark.parametrize(
    "value", [float("nan"), [float("inf")], {1, 2}, {"a": b"x"}, "\ud800", {"\udfff": 1}, nested(5000)]
)
def test_what_has_no_canonical_json_is_refused(value: Any) -> None:
    """Never another error than BadRequest, never a RecursionError."""
    for write in (canonical_json, check_strict, lambda json_value: checked_json(json_value, strict=False)):
        with pytest.raises(BadRequest) as refusal:
            write(value)
        assert refusal.value.errcode == "M_BAD_JSON"


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        [0.5],
        {"a": {"b": [1e10]}},
        MAX_INTEGER + 1,
        [-MAX_INTEGER - 1],
        {"a": 2**64},
        {1: 2},
        ["\ud800"],
        {"\ud800": 1},
        nested(MAX_DEPTH + 1),
        object(),
        (0.5,),
    ],
)
def test_strict_refuses(value: Any) -> None:
    """Floats, integers beyond 2^53-1, lone surrogates, other keys than strings, too many levels."""
    with pytest.raises(BadRequest) as refusal:
        check_strict(value)
    assert refusal.value.errcode == "M_BAD_JSON"


def test_strict_accepts_the_limits() -> None:
    """The largest integers and the deepest nesting that are legal."""
    check_strict([MAX_INTEGER, -MAX_INTEGER, True, None, "\0"])
    check_strict(nested(MAX_DEPTH))


@pytest.mark.parametrize("value", [nested(MAX_DEPTH + 1), [float("inf")]])
def test_even_lenient_events_have_limits(value: Any) -> None:
    """In old rooms too an event is bounded in depth and has canonical JSON."""
    with pytest.raises(BadRequest):
        checked_json(value, strict=False)


NOT_JSON = [
    b"",
    b" ",
    b"{",
    b"{}x",
    b"nul",
    b"'a'",
    b'{"a":1,}',
    b"01",
    b"\xff",
    b'"\xed\xa0\x80"',
    b'"\x00"',
    b"\xef\xbb\xbf{}",
]
ATTACKS = {
    "10k arrays": b"[" * 10_000 + b"]" * 10_000,
    "10k objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "deep around a long number": b"[" * 100_000 + b"1" * 20 + b"]" * 100_000,
    "lone high surrogate": rb'{"a":"\ud800"}',
    "lone low surrogate beside a long number": rb'["\udc00",123456789012345678901]',
    "raw NUL": b'{"a":"\x00"}',
    "NaN": b'{"a":NaN}',
    "NaN beside a long number": b"[NaN,123456789012345678901]",
    "Infinity": b"-Infinity",
    "1e400": b"[1e400]",
    "1e400 beside a long number": b"[1e400,123456789012345678901]",
    "integer of 10k digits": b"[" + b"9" * 10_000 + b"]",
    "2 MB of escapes": b'"' + b'\\"' * 1_000_000,
}


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("body", NOT_JSON + list(ATTACKS.values()), ids=[*map(repr, NOT_JSON), *ATTACKS])
def test_attack_04_what_is_no_json(body: bytes, strict: bool) -> None:
    """`parse_json` refuses malformed and malicious bodies with M_NOT_JSON."""
    with pytest.raises(BadRequest) as refusal:
        parse_json(body, strict)
    assert refusal.value.errcode == "M_NOT_JSON"


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":1}',
        b'{"a":{"b":":","b":"\\":"}}',
        b'{ "a" : 1 , "\\u0061" : 2 }',
        b'{"a":1,"a":12345678901234567890123}',
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b"{" + b",".join(b'"%d":1' % number for number in range(250_001)) + b"}",
    ],
    ids=["twice", "twice inside", "twice by an escape", "twice beside a long number", "101 levels", "250,001 keys"],
)
def test_attack_04_json_that_we_refuse(body: bytes) -> None:
    """`parse_json` refuses duplicate keys, deep nesting and too many values with M_BAD_JSON."""
    with pytest.raises(BadRequest) as refusal:
        parse_json(body, strict=False)
    assert refusal.value.errcode == "M_BAD_JSON"


@pytest.mark.parametrize("body", [b"[1.0]", b"[1e2]", b"[9007199254740992]", b"[123456789012345678901]", b'{"a":-0.0}'])
def test_attack_04_numbers_that_only_old_rooms_allow(body: bytes) -> None:
    """Lenient parsing takes them, strict parsing answers M_BAD_JSON."""
    parse_json(body, strict=False)
    with pytest.raises(BadRequest) as refusal:
        parse_json(body, strict=True)
    assert refusal.value.errcode == "M_BAD_JSON"


@pytest.mark.parametrize("number", [2**63, 2**64, -(2**63) - 1, 10**30 + 1, 10**400 + 7])
def test_integers_keep_every_digit(number: int) -> None:
    """orjson alone would silently make floats of them."""
    value = {"a": number, "b": 'é " : \\', "c": [1.5, -0.0]}
    assert parse_json(json.dumps(value).encode(), strict=False) == value


def test_legal_bodies_are_not_mistaken_for_attacks() -> None:
    """Colons, quotes, commas and long numbers within strings are only text; NUL may be escaped."""
    value = {'k":': ':"', "\\": "{,:}[", "19 digits": "1234567890123456789", "nul": "\0", "float": 0.25}
    assert parse_json(json.dumps(value).encode(), strict=False) == value
    assert parse_json(rb'"\ud83d\ude00"', strict=True) == "\N{GRINNING FACE}"


def test_a_transaction_may_be_deeper_than_an_event() -> None:
    """A body that holds events of others does not fail because one of them is too deep."""
    body = json.dumps({"pdus": [nested(300)]}).encode()
    assert parse_json(body, strict=False, max_depth=MAX_ENVELOPE_DEPTH)
    with pytest.raises(BadRequest):
        parse_json(body, strict=False)
    with pytest.raises(BadRequest):
        parse_json(b"[1,2,3]", strict=False, max_values=2)


@settings(max_examples=300)
@given(st.binary(max_size=40) | st.text(' []{}":,\\u0d8ae1.+-n', max_size=30).map(str.encode), st.booleans())
def test_any_bytes_are_parsed_or_refused(body: bytes, strict: bool) -> None:
    """Whatever comes, the answer is a value or BadRequest; and a value is what the standard library reads."""
    try:
        value = parse_json(body, strict)
    except BadRequest:
        return
    assert json.dumps(value) == json.dumps(json.loads(body))
