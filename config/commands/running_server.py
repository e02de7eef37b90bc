"""The running server, as the commands that the operator types beside it reach it: over HTTP, by the shared secret.

They touch neither database nor files but the secret. The exchange is the one that provisioning tools know: GET gives a
nonce, POST carries what is wanted and an HMAC-SHA1 over it.
"""

import argparse
import hashlib
import hmac
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from config.commands.arguments import add_place_arguments, settings_of
from config.data_directory import find_registration_secret
from config.settings import Listener, Settings, Tls
from homeserver.domain.errors import ParleyError

_TIMEOUT_SECONDS = 60
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class CommandError(ParleyError):
    """The server did not do it; the message says why."""


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    add_place_arguments(parser)
    parser.add_argument("--url", help="where the server answers (default: its first listener that serves clients)")


class RunningServer:
    def __init__(self, url: str, secret: str, context: ssl.SSLContext | None = None) -> None:
        self._url = url
        self._secret = secret
        self._context = context

    def exchange(self, path: str, parts: tuple[str, ...], body: Mapping[str, Any]) -> dict[str, Any]:
        """Sends `body`, with the proof that covers `parts`, and returns the answer. Raises CommandError."""
        url = self._url + path
        nonce = str(self._call(url, None).get("nonce", ""))
        signed = b"\0".join(part.encode() for part in (nonce, *parts))
        mac = hmac.new(self._secret.encode(), signed, hashlib.sha1).hexdigest()
        return self._call(url, {**body, "nonce": nonce, "mac": mac})

    def _call(self, url: str, body: dict[str, Any] | None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
        # Never through a proxy of the environment: it would see the password.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._context)
        )
        try:
            with opener.open(request, timeout=_TIMEOUT_SECONDS) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                raise CommandError(f"The server refuses: {_error_text(error)}") from error
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise CommandError(f"No answer from {url} ({reason}). Is Parley running there? Else give --url.") from error
        except ValueError as error:
            raise CommandError(f"{url} does not answer as Parley does.") from error
        if not isinstance(answer, dict):
            raise CommandError(f"{url} does not answer as Parley does.")
        return answer


def find_server(flags: argparse.Namespace, environment: Mapping[str, str]) -> RunningServer:
    """The server that the settings describe, or `--url` names. Raises CommandError, SettingsError."""
    settings = settings_of(flags, environment)
    listener = _client_listener(settings)
    url = flags.url.rstrip("/") if flags.url else _url_of(listener)
    secret = settings.registration.shared_secret or find_registration_secret(settings.data_directory)
    if secret is None:
        raise CommandError(
            f"There is no secret in {settings.data_directory.resolve()}, where a running Parley puts one, and none "
            "in the settings. Name the server's data directory (--data) or its settings (--config)."
        )
    return RunningServer(url, secret, None if flags.url or listener.tls is None else _context_for(listener.tls))


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
        raise CommandError("The listener has port 0, so its port is only known when Parley runs: give it as --url.")
    host = _ANY_ADDRESS.get(listener.address.host, listener.address.host)
    host = f"[{host}]" if ":" in host else host
    return f"{'http' if listener.tls is None else 'https'}://{host}:{listener.address.port}"


def _context_for(tls: Tls) -> ssl.SSLContext:
    """Trusts the listener's own certificate and nothing else: the address that is called stands in no certificate."""
    try:
        context = ssl.create_default_context(cafile=str(tls.certificate))
    except OSError as error:
        raise CommandError(f"{tls.certificate} cannot be read: {error}") from error
    context.check_hostname = False
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    return context
