"""What settings must fulfil together, and `--for-tests`, which sets several at once.

Single values are checked where they are read (settings_values.py).
"""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace

from clients.limits import LIMITS, overridden
from config.settings import Settings
from config.settings_values import LOOPBACK
from homeserver.domain.errors import ParleyError
from homeserver.http.outbound.trust import trust

# The PostgreSQL in the data directory allows 40; superusers keep three, long reads have two, and a backup or a psql
# wants one too.
_EMBEDDED_CONNECTIONS = 34


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong: with which key, in which line of what (a file, a variable, a flag); and what is right."""

    key: str
    line: int | None
    message: str
    origin: str = ""

    def __str__(self) -> str:
        place = self.origin if self.line is None else f"{self.origin}:{self.line}"
        return ": ".join(text for text in (place, self.key, self.message) if text)


class SettingsError(ParleyError):
    """The settings cannot be used; `problems` holds everything that is wrong with them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = list(problems)


def for_tests(settings: Settings) -> Settings:
    """What `--for-tests` sets: exactly these six things, each also a setting of its own."""
    allowed = dict.fromkeys((*settings.network.allow_private, *LOOPBACK))
    return replace(
        settings,
        registration=replace(settings.registration, policy="open+guests", allow_unverified_open=True),
        limits=replace(settings.limits, enabled=False),
        passwords=replace(settings.passwords, time_cost=1, memory_kib=8),
        network=replace(settings.network, allow_private=tuple(allowed)),
    )


def check_for_tests(settings: Settings) -> list[Problem]:
    """A server without any defence is for this machine only."""
    return [
        Problem(f"listeners[{index}].address", None, f"--for-tests listens on loopback only, not on {listener.address}")
        for index, listener in enumerate(settings.listeners)
        if not listener.address.is_loopback
    ]


def check_together(settings: Settings) -> list[Problem]:
    """Contradictions between settings."""
    return [
        *_check_listeners(settings),
        *_check_database(settings),
        *_check_accounts(settings),
        *_check_voip(settings),
    ]


def _check_listeners(settings: Settings) -> list[Problem]:
    problems = []
    if not any("client" in listener.serves for listener in settings.listeners):
        problems.append(Problem("listeners", None, "none of them serves `client`, so nobody could log in"))
    seen = set()
    for index, listener in enumerate(settings.listeners):
        key = f"listeners[{index}]"
        if listener.address.port and listener.address in seen:
            problems.append(Problem(f"{key}.address", None, f"another listener already waits at {listener.address}"))
        seen.add(listener.address)
        if not listener.serves:
            problems.append(Problem(f"{key}.resources", None, "serves nothing: name one, or leave the key out"))
    return problems


def _check_database(settings: Settings) -> list[Problem]:
    database = settings.database
    if database.url is not None:
        if database.user_account is None:
            return []
        message = "is only for the PostgreSQL in the data directory; with database.url leave it out"
        return [Problem("database.user_account", None, message)]
    connections = database.write_connections + database.read_connections
    if connections <= _EMBEDDED_CONNECTIONS:
        return []
    message = (
        f"all pools together have {connections} connections, and the PostgreSQL in the data directory has room for "
        f"{_EMBEDDED_CONNECTIONS}: lower them, or use a database of your own (database.url)"
    )
    return [Problem("database.read_connections", None, message)]


def _check_accounts(settings: Settings) -> list[Problem]:
    problems = []
    registration = settings.registration
    if registration.for_members == "open" and not registration.allow_unverified_open:
        message = (
            "`open` lets anybody make accounts, without any check, and spammers look for such servers. If you mean it, "
            "set registration.allow_unverified_open to true as well; else use `token`"
        )
        problems.append(Problem("registration.policy", None, message))
    if registration.for_members == "token" and not registration.tokens:
        message = "`token` needs at least one token in registration.tokens"
        problems.append(Problem("registration.policy", None, message))
    try:
        overridden(LIMITS, settings.limits.overrides)
    except ValueError as error:
        message = f"{error}; the rows are: {', '.join(limit.name for limit in LIMITS)}"
        problems.append(Problem("limits.overrides", None, message))
    return problems


def _check_voip(settings: Settings) -> list[Problem]:
    if settings.voip.turn_uris and settings.voip.turn_secret is None:
        return [Problem("voip.turn_secret", None, "voip.turn_uris needs the secret that the TURN server shares")]
    return []


def check_files(settings: Settings) -> list[Problem]:
    """Whether the files that settings name are there and can be used, on this machine and by this account."""
    problems = []
    for index, listener in enumerate(settings.listeners):
        if listener.tls is None:
            continue
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
                listener.tls.certificate, listener.tls.key, password=""
            )
        except (OSError, ValueError) as error:
            files = f"{listener.tls.certificate} and {listener.tls.key}"
            problems.append(Problem(f"listeners[{index}].tls", None, f"{files} cannot be used together: {error}"))
    if settings.federation.ca_file is not None:
        try:
            trust(settings.federation.ca_file)
        except OSError as error:
            message = f"{settings.federation.ca_file} is no list of authorities in PEM: {error}"
            problems.append(Problem("federation.ca_file", None, message))
    return problems
