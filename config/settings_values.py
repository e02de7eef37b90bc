"""The kinds of values that settings take: each says in words what it takes, and reads it from a node of YAML.

Nodes instead of ready values, so that a text is what was written (a password of digits, a version 1.10) and every
complaint knows its line. Not here: which settings there are (settings.py), and where they come from
(settings_sources.py).
https://yaml.org/spec/1.1/
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import urlsplit

import yaml

from federation.names import split_name
from homeserver.domain.errors import BadRequest
from homeserver.domain.identifiers import is_key_id, is_server_name
from homeserver.domain.server_keys import ServerKey
from homeserver.domain.signing import read_verify_key
from homeserver.domain.versions import ROOM_VERSIONS

T = TypeVar("T")
Network = IPv4Network | IPv6Network

LOOPBACK: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))

_WHOLE = re.compile(r"[+-]?[0-9]{1,15}")
_DECIMAL = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{1,15})?")
_TURN_URI = re.compile(r"turns?:[^\s?#/@]{1,255}(\?transport=(udp|tcp))?")
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{1,64}")  # "m.login.registration_token" gives this grammar
_DNS_PORT = 53
_FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class WrongValue(ValueError):
    """A value that a setting cannot have. `reason` is for the reader of the file; empty: what the kind takes says all.

    `node` is the part of the value that is to blame.
    """

    def __init__(self, node: yaml.Node, reason: str = "") -> None:
        super().__init__(reason)
        self.node = node
        self.reason = reason


@dataclass(frozen=True)
class Kind(Generic[T]):
    """`takes` completes "it takes ...". `read` gets a node and the folder that relative paths begin at.

    `plain`: in a variable of the environment or a flag the text stands for itself and is not read as YAML.
    """

    takes: str
    read: Callable[[yaml.Node, Path], T]
    plain: bool = False


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener waits: an IP address or a name of this machine, and a port (0: any that is free)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


def is_nothing(node: yaml.Node) -> bool:
    """Whether the value was left empty, or is `null`."""
    return bool(node.tag == "tag:yaml.org,2002:null")


def shown(node: yaml.Node) -> str:
    """The value as a complaint repeats it."""
    if isinstance(node, yaml.ScalarNode):
        return "nothing" if is_nothing(node) else repr(node.value if len(node.value) < 80 else node.value[:77] + "...")
    return "a list" if isinstance(node, yaml.SequenceNode) else "a section with keys of its own"


def scalar(node: yaml.Node) -> str:
    """The text of a single value, as it was written."""
    if not isinstance(node, yaml.ScalarNode) or is_nothing(node):
        raise WrongValue(node)
    text: str = node.value
    return text


def single(takes: str, parse: Callable[[str], T | None]) -> Kind[T]:
    """A kind of single value: `parse` returns None for what it does not take."""

    def read(node: yaml.Node, _base: Path) -> T:
        value = parse(scalar(node))
        if value is None:
            raise WrongValue(node)
        return value

    return Kind(takes, read, plain=True)


def optional(kind: Kind[T]) -> Kind[T | None]:
    """The kind, or nothing (an empty value, `null`)."""

    def read(node: yaml.Node, base: Path) -> T | None:
        return None if is_nothing(node) else kind.read(node, base)

    return Kind(f"{kind.takes}, or nothing", read, kind.plain)


def list_of(kind: Kind[T]) -> Kind[tuple[T, ...]]:
    """A list; one single value counts as a list of one."""

    def read(node: yaml.Node, base: Path) -> tuple[T, ...]:
        if isinstance(node, yaml.ScalarNode):
            return (kind.read(node, base),)
        if not isinstance(node, yaml.SequenceNode):
            raise WrongValue(node)
        values = []
        for item in node.value:
            try:
                values.append(kind.read(item, base))
            except WrongValue as wrong:
                raise WrongValue(item, wrong.reason or f"{shown(item)} in the list is not {kind.takes}") from None
        return tuple(values)

    return Kind(f"a list; each item {kind.takes}", read)


def whole(least: int, most: int) -> Kind[int]:
    """A whole number in a range."""

    def parse(text: str) -> int | None:
        text = text.replace("_", "")
        return int(text) if _WHOLE.fullmatch(text) and least <= int(text) <= most else None

    return single(f"a whole number from {least} to {most}", parse)


def decimal(least: float, most: float) -> Kind[float]:
    """A number in a range."""

    def parse(text: str) -> float | None:
        return float(text) if _DECIMAL.fullmatch(text) and least <= float(text) <= most else None

    return single(f"a number from {least:g} to {most:g}", parse)


def choice(*names: str) -> Kind[str]:
    """One of a few words."""
    return single("one of " + ", ".join(names), lambda text: text if text in names else None)


def _dns_server(text: str) -> Address | None:
    try:
        return Address(str(ip_address(text.strip("[]"))), _DNS_PORT)
    except ValueError:
        address = _address(text)
    try:
        return None if address is None or not address.port else Address(str(ip_address(address.host)), address.port)
    except ValueError:
        return None


def _server_pattern(text: str) -> str | None:
    host = text.removeprefix("*.")
    return text.lower() if is_server_name(host) and split_name(host)[1] is None else None


def _base_url(text: str) -> str | None:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    right = parts.scheme in ("https", "http") and host and not parts.query and not parts.fragment and not parts.username
    return text.rstrip("/") if right else None


def _address(text: str) -> Address | None:
    host, colon, port = text.rpartition(":")
    if not colon or not _WHOLE.fullmatch(port) or not 0 <= int(port) <= 65535:
        return None
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    if not is_server_name(f"[{host}]" if bracketed else host) or (":" in host) != bracketed:
        return None
    return Address(host.lower(), int(port))


def _networks(text: str) -> tuple[Network, ...] | None:
    if text == "loopback":
        return LOOPBACK
    try:
        return (ip_network(text),)
    except ValueError:
        return None


def _read_networks(node: yaml.Node, base: Path) -> tuple[Network, ...]:
    groups = list_of(_NETWORK).read(node, base)
    return tuple(dict.fromkeys(network for group in groups for network in group))


def _old_key(text: str) -> ServerKey | None:
    words = text.split()
    if len(words) != 3 or not is_key_id(words[0]) or not re.fullmatch("[0-9]{1,15}", words[2]):
        return None
    try:
        return ServerKey(words[0], bytes(read_verify_key(words[0], words[1])), 0, int(words[2]))
    except BadRequest:
        return None


def _read_path(node: yaml.Node, base: Path) -> Path:
    text = scalar(node)
    if not text or "\0" in text:
        raise WrongValue(node)
    try:
        return base / Path(text).expanduser()
    except RuntimeError:
        raise WrongValue(node, f"{text!r} names a home directory that is not there") from None


def _read_overrides(node: yaml.Node, _base: Path) -> dict[str, dict[str, float] | None]:
    if not isinstance(node, yaml.MappingNode):
        raise WrongValue(node)
    rows: dict[str, dict[str, float] | None] = {}
    for name, row in node.value:
        if is_nothing(row):
            rows[scalar(name)] = None
            continue
        if not isinstance(row, yaml.MappingNode):
            raise WrongValue(row, f"{shown(row)} for {scalar(name)} is not {{per_second: NUMBER, burst: NUMBER}}")
        rows[scalar(name)] = {scalar(key): _rate(value) for key, value in row.value}
    return rows


def _rate(node: yaml.Node) -> float:
    text = scalar(node)
    if not _DECIMAL.fullmatch(text):
        raise WrongValue(node, f"{shown(node)} is not a number")
    return float(text)


_NETWORK = single("`loopback` or a network such as 10.0.0.0/8 or fd00::/8", _networks)

TEXT = single("a text that is not empty", lambda text: text or None)
FLAG = single("true or false", lambda text: _FLAGS.get(text.lower()))
PATH: Kind[Path] = Kind("a path", _read_path, plain=True)
ADDRESS = single("an address with a port, such as 127.0.0.1:8008, [::1]:8008 or localhost:8008", _address)
BASE_URL = single("a URL such as https://chat.example.org, without query", _base_url)
SERVER_NAME = single(
    "a server name in lower case, such as example.org, chat or example.org:8448",
    lambda text: text if is_server_name(text) and text == text.lower() else None,
)
SERVER_PATTERN = single(
    "a host such as example.org, or *.example.org for all below it, without a port", _server_pattern
)
DNS_SERVER = single("an IP address, with or without a port, such as 10.0.0.53 or 127.0.0.1:5353", _dns_server)
DATABASE_URL = single(
    "a URL such as postgresql://user:password@host/database",
    lambda text: text if text.startswith("postgresql://") else None,
)
TURN_URI = single(
    "a URI such as turn:turn.example.org:3478?transport=udp or turns:turn.example.org",
    lambda text: text if _TURN_URI.fullmatch(text) else None,
)
ROOM_VERSION = choice(*ROOM_VERSIONS)
REGISTRATION_TOKEN = single(
    "1 to 64 characters of A-Z a-z 0-9 . _ ~ -", lambda text: text if _TOKEN.fullmatch(text) else None
)
NETWORKS: Kind[tuple[Network, ...]] = Kind(f"a list; each item {_NETWORK.takes}", _read_networks)
OLD_KEY = single(
    "a text `ed25519:VERSION PUBLIC_KEY EXPIRED`: the public key in base64, and since when it is not used, in ms",
    _old_key,
)
OVERRIDES: Kind[dict[str, dict[str, float] | None]] = Kind(
    "rows such as `messages: {per_second: 10, burst: 50}`, or `messages: null` for no limit", _read_overrides
)
