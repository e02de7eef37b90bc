"""`parley register-user`: makes an account on the running server, by the shared secret.

It speaks HTTP to the server's own listener and touches neither database nor files but the secret. The exchange is the
one that provisioning tools know: GET gives a nonce, POST carries the account and an HMAC-SHA1 over it.
"""

import argparse
import getpass
import hashlib
import hmac
import json
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from config.commands.arguments import add_place_arguments, settings_of
from config.data_directory import find_registration_secret
from config.settings import Listener, Settings, Tls
from homeserver.domain.errors import ParleyError

_PATH = "/_synapse/admin/v1/register"
_TIMEOUT_SECONDS = 60
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class RegistrationError(ParleyError):
    """The account was not made; the message says why."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_place_arguments(parser)
    parser.add_argument("user", metavar="USER", help="the local part of the new user's id: alice for @alice:NAME")
    parser.add_argument("--admin", action="store_true", help="the user may administer the server")
    parser.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    parser.add_argument("--url", help="where the server answers (default: its first listener that serves clients)")


def execute(flags: argparse.Namespace, environment: Mapping[str, str]) -> int:
    settings = settings_of(flags, environment)
    listener = _client_listener(settings)
    url = flags.url.rstrip("/") if flags.url else _url_of(listener)
    secret = settings.registration.shared_secret or find_registration_secret(settings.data_directory)
    if secret is None:
        raise RegistrationError(
            f"There is no secret in {settings.data_directory.resolve()}, where a running Parley puts one, and none "
            "in the settings. Name the server's data directory (--data) or its settings (--config)."
        )
    password = _password(flags.password_stdin)
    context = None if flags.url or listener.tls is None else _context_for(listener.tls)
    answer = register(url + _PATH, secret, flags.user, password, flags.admin, context)
    print(f"Registered {answer.get('user_id', flags.user)}{' (admin)' if flags.admin else ''}.")
    return 0


def register(
    url: str, secret: str, user: str, password: str, admin: bool, context: ssl.SSLContext | None = None
) -> dict[str, Any]:
    """Makes the account and returns the server's answer; raises RegistrationError."""
    nonce = str(_call(url, None, context).get("nonce", ""))
    parts = (nonce, user, password, "admin" if admin else "notadmin")
    mac = hmac.new(secret.encode(), b"\0".join(part.encode() for part in parts), hashlib.sha1).hexdigest()
    body = {"nonce": nonce, "username": user, "password": password, "admin": admin, "mac": mac}
    return _call(url, body, context)


def _call(url: str, body: dict[str, Any] | None, context: ssl.SSLContext | None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    # Never through a proxy of the environment: it would see the password.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=_TIMEOUT_SECONDS) as response:
            answer = json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            raise RegistrationError(f"The server refuses: {_error_text(error)}") from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise RegistrationError(
            f"No answer from {url} ({reason}). Is Parley running there? Else give --url."
        ) from error
    except ValueError as error:
        raise RegistrationError(f"{url} does not answer as Parley does.") from error
    if not isinstance(answer, dict):
        raise RegistrationError(f"{url} does not answer as Parley does.")
    return answer


def _error_text(error: urllib.error.HTTPError) -> str:
    try:
        content = json.loads(error.read(65536))
        return f"{content['error']} ({content['errcode']})"
    except (ValueError, KeyError, TypeError):
        return f"HTTP status {error.code}"


def _client_listener(settings: Settings) -> Listener:
    """A listener for clients, rather one without TLS."""
    listeners = [listener for listener in settings.listeners if "client" in listener.serves]
    return min(listeners, key=lambda listener: listener.tls is not None)


def _url_of(listener: Listener) -> str:
    if not listener.address.port:
        raise RegistrationError(
            "The listener has port 0, so its port is only known when Parley runs: give it as --url."
        )
    host = _ANY_ADDRESS.get(listener.address.host, listener.address.host)
    host = f"[{host}]" if ":" in host else host
    return f"{'http' if listener.tls is None else 'https'}://{host}:{listener.address.port}"


def _context_for(tls: Tls) -> ssl.SSLContext:
    """Trusts the listener's own certificate and nothing else: the address that is called stands in no certificate."""
    try:
        context = ssl.create_default_context(cafile=str(tls.certificate))
    except OSError as error:
        raise RegistrationError(f"{tls.certificate} cannot be read: {error}") from error
    context.check_hostname = False
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    return context


def _password(from_input: bool) -> str:
    if from_input:
        password = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") != password:
            raise RegistrationError("The two passwords differ.")
    else:
        raise RegistrationError(
            "There is no terminal to ask for a password: give it on standard input, --password-stdin."
        )
    if not password:
        raise RegistrationError("The password is empty.")
    return password
