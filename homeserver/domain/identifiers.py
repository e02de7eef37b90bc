"""The grammar of identifiers: server names, user ids, room ids, aliases, event ids, key ids.

Each `is_` function takes any JSON value and answers; none looks anything up. Lengths are counted in bytes of UTF-8.
https://spec.matrix.org/v1.19/appendices/#identifier-grammar
"""

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import TypeGuard

from homeserver.domain.errors import BadRequest

MAX_IDENTIFIER_BYTES = 255
_MAX_PORT = 65535

_SERVER_NAME = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]{2,45})\]|(?P<host>[0-9A-Za-z.-]{1,255}))(?::(?P<port>[0-9]{1,5}))?"
)
_FOUR_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+){3}")
_NEW_LOCALPART = re.compile(r"[a-z0-9._=/+-]+")
_REFERENCE_HASH = re.compile(r"[A-Za-z0-9_-]{43}")
_OPAQUE_ID = re.compile(r"[0-9A-Za-z._~-]{1,255}")
_KEY_ID = re.compile(r"[a-z0-9_]+:[A-Za-z0-9_]+")


def fits(text: str, limit: int = MAX_IDENTIFIER_BYTES) -> bool:
    """Whether `text` is legal Unicode without NUL, at most `limit` bytes of UTF-8.

    NOTSPEC: the spec forbids NUL only in user ids, room ids and aliases. No server that keeps its events in PostgreSQL
    can store one in any text column, so we refuse it in every identifying field.
    """
    if len(text) > limit or "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        return len(text.encode()) <= limit
    except UnicodeEncodeError:  # a lone surrogate
        return False


def is_server_name(obj: object) -> TypeGuard[str]:
    """Whether `obj` is a host with an optional port: `example.org`, `chat:8448`, `1.2.3.4`, `[::1]:8448`.

    The grammar is narrowed by its own advice: labels are not empty (so `..` is no name, and no folder either), four
    numbers are an IPv4 address, a port is one that exists.
    """
    return isinstance(obj, str) and _is_server_name(obj)


@lru_cache(maxsize=4096)
def _is_server_name(text: str) -> bool:
    match = _SERVER_NAME.fullmatch(text)
    if match is None or len(text) > MAX_IDENTIFIER_BYTES:
        return False
    if match["port"] is not None and int(match["port"]) > _MAX_PORT:
        return False
    try:
        if match["ipv6"] is not None:
            IPv6Address(match["ipv6"])
        elif _FOUR_NUMBERS.fullmatch(match["host"]):
            IPv4Address(match["host"])
        else:
            return all(match["host"].split("."))
    except AddressValueError:
        return False
    return True


def _has_domain(obj: object, sigil: str) -> TypeGuard[str]:
    """Whether `obj` is `&localpart:domain`. The localpart is any text without `:` and NUL, also the empty one."""
    if not isinstance(obj, str) or not obj.startswith(sigil) or not fits(obj):
        return False
    _, colon, server = obj.partition(":")
    return bool(colon) and _is_server_name(server)


def is_user_id(obj: object) -> TypeGuard[str]:
    """Whether `obj` is a user id, new or historical: "servers MUST accept user IDs with localparts consisting of any
    legal non-surrogate Unicode code points except for `:` and `NUL`"."""
    return _has_domain(obj, "@")


def parse_user_id(text: str) -> tuple[str, str]:
    """The localpart and the server name of a user id; raises BadRequest if it is none."""
    if not is_user_id(text):
        raise BadRequest(f"{text!r} is not a user id")
    localpart, _, server = text[1:].partition(":")
    return localpart, server


def is_new_localpart(text: str) -> bool:
    """Whether a new account may have this localpart (the whole id must also fit; `is_user_id` checks that)."""
    return _NEW_LOCALPART.fullmatch(text) is not None


def is_room_id(obj: object) -> TypeGuard[str]:
    """Whether `obj` is a room id: `!opaque:domain`, or from room version 12 on `!` and the hash of the create event."""
    if isinstance(obj, str) and obj.startswith("!") and _REFERENCE_HASH.fullmatch(obj, 1):
        return True
    return _has_domain(obj, "!")


def is_room_alias(obj: object) -> TypeGuard[str]:
    return _has_domain(obj, "#")


def is_event_id(obj: object) -> TypeGuard[str]:
    """Whether `obj` may be the id of an event of some room version; what follows the sigil is opaque."""
    return isinstance(obj, str) and len(obj) > 1 and obj.startswith("$") and fits(obj)


def is_opaque_id(obj: object) -> TypeGuard[str]:
    """Whether `obj` follows the Opaque Identifier Grammar (transaction ids, device ids that we make ...)."""
    return isinstance(obj, str) and _OPAQUE_ID.fullmatch(obj) is not None


def is_key_id(obj: object) -> TypeGuard[str]:
    """Whether `obj` is the id of a server's signing key, `algorithm:version`, as `ed25519:a_1`."""
    return isinstance(obj, str) and _KEY_ID.fullmatch(obj) is not None and fits(obj)


def domain_of(identifier: str) -> str:
    """What follows the first colon of an identifier; raises BadRequest if it has none (as room ids of version 12)."""
    _, colon, domain = identifier.partition(":")
    if not colon:
        raise BadRequest(f"{identifier!r} names no server")
    return domain
