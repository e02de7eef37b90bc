"""All settings of Parley, as a tree of frozen values: each with its default, what it takes and what it means.

The reference (docs/reference/settings.md) and the reading of file, environment and flags (settings_sources.py) are made
from this page. Values go from here into constructors one by one; nobody but `config` gets the tree itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from config.settings_values import (
    ADDRESS,
    BASE_URL,
    DATABASE_URL,
    DNS_SERVER,
    FLAG,
    NETWORKS,
    OLD_KEY,
    OVERRIDES,
    PATH,
    REGISTRATION_TOKEN,
    ROOM_VERSION,
    SERVER_NAME,
    SERVER_PATTERN,
    TEXT,
    TURN_URI,
    Address,
    Kind,
    Network,
    choice,
    decimal,
    list_of,
    optional,
    whole,
)
from homeserver.domain.server_keys import ServerKey
from homeserver.domain.versions import DEFAULT_ROOM_VERSION

RESOURCES = ("client", "federation", "web", "metrics")


@dataclass(frozen=True, slots=True)
class Key:
    """What a setting takes and means. A field of the tree without one is a section, or a list of sections."""

    kind: Kind[Any]
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """The files with which a listener speaks TLS. Without them it speaks plain HTTP, for a reverse proxy."""

    certificate: Annotated[Path, Key(PATH, "PEM file: the certificate, then those that lead to its authority.")]
    key: Annotated[Path, Key(PATH, "PEM file with the private key.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Where to wait for connections, and for what; a list."""

    address: Annotated[Address, Key(ADDRESS, "Where to wait. Port 0: any that is free; the log tells which.")]
    tls: Tls | None = None
    resources: Annotated[
        tuple[str, ...] | None,
        Key(
            optional(list_of(choice(*RESOURCES))),
            "What to serve: `client` (apps), `federation` (other servers), `web` (pages), `metrics` (Prometheus; it "
            "asks for no password, so it is not for strangers). Left out: client, federation and web, on loopback also "
            "metrics.",
        ),
    ] = None

    @property
    def serves(self) -> frozenset[str]:
        """The resources of this listener."""
        if self.resources is not None:
            return frozenset(self.resources)
        return frozenset(RESOURCES if self.address.is_loopback else RESOURCES[:3])


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """The database."""

    url: Annotated[
        str | None,
        Key(
            optional(DATABASE_URL),
            "A PostgreSQL server of your own (15 or newer; the database in UTF-8). Left out, Parley runs one inside "
            "the data directory.",
        ),
    ] = field(default=None, repr=False)
    user_account: Annotated[
        str | None,
        Key(
            optional(TEXT),
            "Only when root starts Parley: the account that runs the PostgreSQL inside the data directory, which "
            "refuses to be root. Left out: the owner of the database or of the data directory, else `parley`, else "
            "`nobody`.",
        ),
    ] = None
    write_connections: Annotated[int, Key(whole(1, 64), "Connections for writes.")] = 4
    read_connections: Annotated[int, Key(whole(1, 64), "Connections for short reads.")] = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomSettings:
    """Rooms."""

    default_version: Annotated[
        str, Key(ROOM_VERSION, "The room version of rooms whose creator does not ask for another.")
    ] = DEFAULT_ROOM_VERSION.identifier


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceSettings:
    """Who is online."""

    enabled: Annotated[
        bool,
        Key(
            FLAG,
            "Tell people who share a room which of them are online, idle or away, here and on other servers. It is "
            "told in rooms of at most 200 members, and to about 1,000 people at most, those of the smallest rooms "
            "first. Without it, nobody is ever seen online.",
        ),
    ] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationSettings:
    """New accounts."""

    policy: Annotated[
        str,
        Key(
            choice("closed", "token", "open", "closed+guests", "token+guests", "open+guests"),
            "Who may make an account: nobody by themselves (`closed`), whoever has one of the tokens (`token`), or "
            "everybody (`open`). `parley register-user` works with each. With `+guests` everybody may also be a guest, "
            "without a name or a password: guests read rooms that are open to the world, and join those that admit "
            "guests, of other servers too. Guests who are here stay when that is switched off.",
        ),
    ] = "closed"
    allow_unverified_open: Annotated[
        bool,
        Key(
            FLAG,
            "Has to be true as well for the policy `open`: without any check, strangers will come to send spam from "
            "your server.",
        ),
    ] = False
    tokens: Annotated[
        tuple[str, ...], Key(list_of(REGISTRATION_TOKEN), "The tokens that the policy `token` accepts.")
    ] = field(default=(), repr=False)
    shared_secret: Annotated[
        str | None,
        Key(
            optional(TEXT),
            "Whoever knows it can make accounts, also of admins (`parley register-user`, provisioning tools). Left "
            "out, one is made in the file `registration.secret` of the data directory.",
        ),
    ] = field(default=None, repr=False)

    @property
    def for_members(self) -> str:
        """The policy for accounts with a password: closed, token or open."""
        return self.policy.removesuffix("+guests")

    @property
    def allows_guests(self) -> bool:
        return self.policy.endswith("+guests")


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordSettings:
    """What a password hash costs (argon2id). Higher is safer if the database is stolen, and slower to log in."""

    time_cost: Annotated[int, Key(whole(1, 100), "Passes over the memory.")] = 2
    memory_kib: Annotated[int, Key(whole(8, 4_194_304), "Memory of one hash, in KiB.")] = 19_456
    queue: Annotated[
        int, Key(whole(1, 10_000), "Hashes that may wait for one of the two threads; beyond them the answer is 429.")
    ] = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """How often clients may do what."""

    enabled: Annotated[bool, Key(FLAG, "Rate limits for clients.")] = True
    overrides: Annotated[
        Mapping[str, Mapping[str, float] | None],
        Key(
            OVERRIDES,
            "Single rows of the table of limits that shall differ. The answer 429 names the row in `io.parley.limit`.",
        ),
    ] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """What connections may cost."""

    trusted_proxies: Annotated[
        tuple[Network, ...], Key(NETWORKS, "Reverse proxies that are believed when they say `X-Forwarded-For`.")
    ] = ()
    max_connections: Annotated[int, Key(whole(10, 1_000_000), "Open connections of one listener.")] = 12_000
    max_connections_per_address: Annotated[
        int, Key(whole(1, 1_000_000), "Open connections of one IPv4 address or IPv6 /64, trusted proxies aside.")
    ] = 1_000
    websocket_origins: Annotated[
        tuple[str, ...],
        Key(
            list_of(BASE_URL),
            "The web pages that may open a WebSocket, such as https://chat.example.org; all of them unless some are "
            "named. Programs that are no browser always may.",
        ),
    ] = ()
    drain_seconds: Annotated[
        float, Key(decimal(0, 600), "How long requests under way may take to finish when Parley stops.")
    ] = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """Where Parley may connect to."""

    allow_private: Annotated[
        tuple[Network, ...],
        Key(
            NETWORKS,
            "Private networks that Parley may call when others tell it an address (federation, link previews, pushes). "
            "All others are refused, so that strangers cannot reach into your network.",
        ),
    ] = ()
    dns_servers: Annotated[
        tuple[Address, ...],
        Key(
            list_of(DNS_SERVER),
            "Who is asked for the addresses of other servers. Left out: whoever this machine asks. If you name some, "
            "the machine's hosts file does not count.",
        ),
    ] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FederationSettings:
    """Other servers. Without any setting here, Parley talks to all that it can reach and whose certificates hold."""

    enabled: Annotated[bool, Key(FLAG, "Talk to other servers at all.")] = True
    allow_servers: Annotated[
        tuple[str, ...],
        Key(
            list_of(SERVER_PATTERN),
            "If it names any: only these servers are called and answered. `*.example.org` is every host below it; "
            "ports do not matter.",
        ),
    ] = ()
    deny_servers: Annotated[
        tuple[str, ...], Key(list_of(SERVER_PATTERN), "Servers that are neither called nor answered.")
    ] = ()
    notaries: Annotated[
        tuple[str, ...],
        Key(
            list_of(SERVER_NAME),
            "Servers that are asked for the keys of a server that does not answer itself. They must vouch for these "
            "keys truly.",
        ),
    ] = ()
    old_signing_keys: Annotated[
        tuple[ServerKey, ...],
        Key(
            list_of(OLD_KEY),
            "Keys with which this server signed before it had the one in `signing.key`, as `/_matrix/key/v2/server` "
            "showed them then, so that others can still check its old events.",
        ),
    ] = ()
    ca_file: Annotated[
        Path | None,
        Key(
            optional(PATH),
            "PEM file with the authorities whose certificates count, for networks with an authority of their own. "
            "Left out: those of the operating system.",
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VoipSettings:
    """Calls: the TURN server (such as coturn) through which they find a way where there is no direct one."""

    turn_uris: Annotated[
        tuple[str, ...],
        Key(list_of(TURN_URI), "Where it is, one URI for each way to reach it. Left out: clients are told of none."),
    ] = ()
    turn_secret: Annotated[
        str | None,
        Key(optional(TEXT), "The secret that it shares with Parley (coturn: `use-auth-secret`, `static-auth-secret`)."),
    ] = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSettings:
    """Figures for Prometheus."""

    enabled: Annotated[bool, Key(FLAG, "Serve `/metrics` on the listeners with the resource `metrics`.")] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """Logs, which go to standard error."""

    level: Annotated[str, Key(choice("debug", "info", "warning", "error"), "From which level on to log.")] = "info"
    format: Annotated[str, Key(choice("text", "json"), "Lines for people, or JSON for programs.")] = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that an operator decides. Without a file it serves `localhost` to this machine."""

    server_name: Annotated[
        str, Key(SERVER_NAME, "The name in the ids of your users and rooms (`@user:NAME`). It can never be changed.")
    ] = "localhost"
    public_base_url: Annotated[
        str | None, Key(optional(BASE_URL), "Where apps reach this server; `/.well-known/matrix/client` tells them.")
    ] = None
    data_directory: Annotated[
        Path, Key(PATH, "Where everything is kept: database, signing key, media. Back it up as a whole.")
    ] = Path("parley-data")
    listeners: tuple[Listener, ...] = (Listener(address=Address("127.0.0.1", 8008)),)
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    rooms: RoomSettings = field(default_factory=RoomSettings)
    presence: PresenceSettings = field(default_factory=PresenceSettings)
    registration: RegistrationSettings = field(default_factory=RegistrationSettings)
    passwords: PasswordSettings = field(default_factory=PasswordSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    federation: FederationSettings = field(default_factory=FederationSettings)
    voip: VoipSettings = field(default_factory=VoipSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    log: LogSettings = field(default_factory=LogSettings)
