"""X-Matrix: the header, and what is signed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.wire import Authorization, read_authorization, sign_request, signed_json, write_authorization
from homeserver.domain.canonical import canonical_json
from homeserver.domain.errors import Unauthenticated
from homeserver.domain.hashing import encode_base64
from homeserver.domain.signing import generate_key, read_verify_key, verify_json

KEY = generate_key(b"k" * 32, "a_1")
VERIFY_KEY = read_verify_key("ed25519:a_1", encode_base64(KEY.verify_key.encode()))
SAID = Authorization("one.test", "two.test:8448", "ed25519:a_1", "c2ln/A+b=")


def test_what_we_write() -> None:
    """The narrow form of the spec's example."""
    assert write_authorization(SAID) == (
        'X-Matrix origin="one.test",destination="two.test:8448",key="ed25519:a_1",sig="c2ln/A+b="'
    )
    assert read_authorization(write_authorization(SAID)) == SAID


@pytest.mark.parametrize(
    "header",
    [
        'x-matrix   SIG="c2ln/A+b=",Key="ed25519:a_1" ,\t destination="two.test:8448", ORIGIN="one.test"',
        "X-Matrix origin=one.test,destination=two.test:8448,key=ed25519:a_1,sig=c2ln/A+b=",
        'X-Matrix origin="o\\ne.test",destination="two.test\\:8448",key="ed25519:a_1",sig="c2ln/A+b="',
        'X-Matrix ,,origin="one.test",destination="two.test:8448",key="ed25519:a_1",signature="c2ln/A+b=",',
        'X-Matrix next="a, \\"b\\" c=d",origin = one.test , destination="two.test:8448",key=ed25519:a_1,sig=c2ln/A+b=',
    ],
)
def test_what_others_write(header: str) -> None:
    """Any order, any case, tokens without quotes, escapes, empty elements, parameters of tomorrow."""
    assert read_authorization(header) == SAID


def test_without_destination() -> None:
    """As old servers write it."""
    assert read_authorization("X-Matrix origin=one.test,key=ed25519:a_1,sig=x").destination is None
    assert "destination" not in write_authorization(Authorization("one.test", None, "ed25519:a_1", "x"))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "X-Matrix",
        "X-Matrix ",
        "Bearer abc",
        "X-Matrixorigin=one.test,key=ed25519:a_1,sig=x",
        "X-Matrix origin=one.test,key=ed25519:a_1",
        "X-Matrix origin=one.test,key=ed25519:a_1,sig=",
        'X-Matrix origin=one.test,key=ed25519:a_1,sig=""',
        "X-Matrix key=ed25519:a_1,sig=x",
        "X-Matrix origin=one.test,sig=x",
        "X-Matrix origin=..,key=ed25519:a_1,sig=x",
        "X-Matrix origin=one.test,destination=,key=ed25519:a_1,sig=x",
        "X-Matrix origin=one.test,destination=a b,key=ed25519:a_1,sig=x",
        "X-Matrix origin=one.test,key=nonsense,sig=x",
        "X-Matrix origin=one.test,origin=one.test,key=ed25519:a_1,sig=x",
        'X-Matrix origin="one.test,key="ed25519:a_1",sig=x',
        'X-Matrix origin="one.test"x,key="ed25519:a_1",sig=x',
        'X-Matrix origin="one.test',
        "X-Matrix origin one.test key ed25519:a_1 sig x",
        "X-Matrix origin=one.test,key=ed25519:a_1,sig=" + "x" * 5000,
    ],
)
def test_what_is_no_signature(header: str) -> None:
    """401, whatever it is."""
    with pytest.raises(Unauthenticated) as refused:
        read_authorization(header)
    assert refused.value.errcode == "M_UNAUTHORIZED"


@given(st.text(max_size=300))
def test_no_header_is_too_strange(text: str) -> None:
    """It is read or refused."""
    for header in (text, "X-Matrix " + text, f'X-Matrix origin="{text}",key=ed25519:a_1,sig=x'):
        try:
            said = read_authorization(header)
        except Unauthenticated:
            continue
        assert said.signature


def test_long_headers_are_read_in_linear_time() -> None:
    """What is made to be tried in many ways is refused like any other."""
    for piece in ('\\"', " ", "a=", ",", "\t,", "a=b ", '="'):
        with pytest.raises(Unauthenticated):
            read_authorization("X-Matrix " + piece * (4000 // len(piece)))


@given(st.none() | st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5)))
def test_what_is_signed(content: dict[str, object] | None) -> None:
    """The canonical JSON of the object that the spec shows, with content only if there is a body."""
    uri = "/_matrix/federation/v1/send/1?a=%20"
    body = None if content is None else canonical_json(content)
    whole = {"method": "PUT", "uri": uri, "origin": "one.test", "destination": "two.test"}
    if content is not None:
        whole["content"] = content  # type: ignore[assignment] # of the JSON object
    assert signed_json("PUT", uri, "one.test", "two.test", body) == canonical_json(whole)
    said = sign_request("PUT", uri, "one.test", "two.test", body, KEY)
    assert (said.origin, said.destination, said.key_id) == ("one.test", "two.test", "ed25519:a_1")
    signed = {**json.loads(canonical_json(whole)), "signatures": {"one.test": {"ed25519:a_1": said.signature}}}
    assert verify_json(signed, "one.test", VERIFY_KEY, "ed25519:a_1")
