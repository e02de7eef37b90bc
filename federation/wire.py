"""X-Matrix: how a server proves that a request is its own.

The sender signs an object of method, target, origin, destination and content, and puts the signature into the header
`Authorization: X-Matrix origin="...",destination="...",key="ed25519:...",sig="..."`. Pure: whose key it is, and whether
the signature is right, is found out elsewhere (`authentication`, `calls`).

We write the header in the narrow form that every server reads, and read it in the wide one: any order and case of
names, spaces around commas, tokens without quotes (with colons, slashes and equals signs too), escapes, parameters that
nobody knows. COMPAT: the parameter is called `sig` by every server; the spec's list says `signature`, so we take both.
https://spec.matrix.org/v1.19/server-server-api/#request-authentication
"""

import re
from dataclasses import dataclass

from signedjson.types import SigningKey

from homeserver.domain.canonical import canonical_json
from homeserver.domain.errors import Unauthenticated
from homeserver.domain.identifiers import is_key_id, is_server_name
from homeserver.domain.signing import key_id_of, sign_bytes

SCHEME = "X-Matrix"
_MAX_HEADER = 4096
_SCHEME = re.compile(r"x-matrix +", re.IGNORECASE)
# One parameter and what separates it from the next. Each part ends where the other begins: linear on any input.
_PARAMETER = re.compile(
    r"[ \t]*+(?:([!#$%&'*+.^_`|~0-9A-Za-z-]++)[ \t]*+=[ \t]*+"
    r'(?:"((?:[^"\\]|\\.)*+)"|([^",\\ \t]++))[ \t]*+)?+(?:,|\Z)'
)
_ESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Authorization:
    """What the header says. `destination` is None where an old server leaves it out."""

    origin: str
    destination: str | None
    key_id: str
    signature: str


def signed_json(method: str, uri: str, origin: str, destination: str, content: bytes | None) -> bytes:
    """What is signed: canonical JSON. `uri` is the target with its query, from `/_matrix` on; `content` the canonical
    JSON of the body, or None if there is no body."""
    rest = canonical_json({"destination": destination, "method": method, "origin": origin, "uri": uri}, checked=True)
    # `content` is the first of the keys in order; large bodies are encoded once.
    return rest if content is None else b'{"content":' + content + b"," + rest[1:]


def sign_request(
    method: str, uri: str, origin: str, destination: str, content: bytes | None, key: SigningKey
) -> Authorization:
    """Our signature on a request of ours."""
    signature = sign_bytes(key, signed_json(method, uri, origin, destination, content))
    return Authorization(origin, destination, key_id_of(key), signature)


def write_authorization(said: Authorization) -> str:
    """The value of the header. "The sender should only include one space after `X-Matrix`, only use lower-case names,
    avoid using backslashes in parameter values, and avoid including whitespace around the commas"."""
    destination = "" if said.destination is None else f',destination="{said.destination}"'
    return f'{SCHEME} origin="{said.origin}"{destination},key="{said.key_id}",sig="{said.signature}"'


def read_authorization(header: str) -> Authorization:
    """What the value of a header says. Raises Unauthenticated (M_UNAUTHORIZED) if it is not X-Matrix, or not whole."""
    found = _parameters(header)
    origin, destination = found.get("origin"), found.get("destination")
    key_id, signature = found.get("key"), found.get("sig", found.get("signature"))
    if not is_server_name(origin):
        raise _refused("`origin` is not a server name")
    if destination is not None and not is_server_name(destination):
        raise _refused("`destination` is not a server name")
    if not is_key_id(key_id):
        raise _refused("`key` is not the id of a key")
    if not signature:
        raise _refused("`sig` is missing")
    return Authorization(origin, destination, key_id, signature)


def _parameters(header: str) -> dict[str, str]:
    scheme = _SCHEME.match(header)
    if scheme is None or len(header) > _MAX_HEADER:
        raise _refused("the scheme is not X-Matrix, or the header is too long")
    found: dict[str, str] = {}
    place = scheme.end()
    while place < len(header):
        parameter = _PARAMETER.match(header, place)
        if parameter is None:
            raise _refused("a parameter is not name=value")
        place = parameter.end()
        name, quoted, plain = parameter.groups()
        if name is None:  # nothing between two commas
            continue
        if name.lower() in found:
            raise _refused(f"`{name.lower()}` is given twice")
        found[name.lower()] = plain if quoted is None else _ESCAPE.sub(r"\1", quoted)
    return found


def _refused(why: str) -> Unauthenticated:
    return Unauthenticated(f"The Authorization header is no signature of a server: {why}", "M_UNAUTHORIZED")
