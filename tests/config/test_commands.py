"""The command `parley`, as an operator types it: what it prints, and how it ends."""

import hashlib
import hmac
import io
import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from config.main import main

ROOT = Path(__file__).parents[2]
SECRET = "a shared secret"


class Registrations:
    """A server that knows only the shared-secret registration, and checks it."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.accounts: list[dict[str, Any]] = []
        outer = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer(200, {"nonce": "n0nce"})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                kind = "admin" if body["admin"] else "notadmin"
                signed = "\0".join([body["nonce"], body["username"], body["password"], kind]).encode()
                if body["mac"] != hmac.new(SECRET.encode(), signed, hashlib.sha1).hexdigest():
                    self.answer(403, {"errcode": "M_FORBIDDEN", "error": "HMAC incorrect"})
                elif body["username"] == "taken":
                    self.answer(400, {"errcode": "M_USER_IN_USE", "error": "Taken"})
                elif body["username"] == "broken":
                    self.answer(502, "no JSON for you")
                else:
                    outer.accounts.append(body)
                    self.answer(200, {"user_id": f"@{body['username']}:localhost", "access_token": "t"})

            def answer(self, status: int, content: Any) -> None:
                assert self.path == "/_synapse/admin/v1/register"
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Answers)
        if context is not None:
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.address = f"127.0.0.1:{self.http.server_port}"


@contextmanager
def serving(server: Registrations) -> Iterator[Registrations]:
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        thread.join()
        server.http.server_close()


@pytest.fixture
def registrations() -> Iterator[Registrations]:
    with serving(Registrations()) as server:
        yield server


@pytest.fixture
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password on standard input."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse\n"))


def register(server: Registrations, *arguments: str, secret: str | None = SECRET) -> int:
    environment = {} if secret is None else {"PARLEY_REGISTRATION_SHARED_SECRET": secret}
    return main(["register-user", "--listen", server.address, "--password-stdin", *arguments], environment)


def test_config_check_of_the_sample(capsys: pytest.CaptureFixture[str]) -> None:
    """Right settings are summed up, and the status is 0."""
    sample = str(ROOT / "config" / "sample.yaml")
    assert main(["config", "check", "--config", sample], {}) == 0
    output = capsys.readouterr().out
    assert f"The settings are right ({sample})" in output
    assert "http://127.0.0.1:8008 for client, federation, metrics, web" in output


def test_config_check_of_a_wrong_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong settings are listed with their lines on standard error, and the status is 2."""
    file = tmp_path / "parley.yaml"
    file.write_text("log:\n  level: loud\nlisteners: [{address: 'h:1', tls: {certificate: none, key: none}}]\n")
    assert main(["config", "check"], {"PARLEY_CONFIG": str(file)}) == 2
    assert f"{file}:2: log.level: 'loud' is no value for it" in capsys.readouterr().err
    file.write_text("listeners: [{address: 'h:1', tls: {certificate: none, key: none}}]\n")
    for command in (["config", "check"], ["run"]):
        assert main([*command, "--config", str(file)], {}) == 2
        assert f"listeners[0].tls: {tmp_path}/none" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "why"), [(None, "cannot be read: No such file"), (b"\xff", "is not a text in UTF-8")]
)
def test_file_that_cannot_be_read(
    tmp_path: Path, content: bytes | None, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is not there is not the same as no file."""
    file = tmp_path / "parley.yaml"
    if content is not None:
        file.write_bytes(content)
    assert main(["config", "check", "--config", str(file)], {}) == 2
    assert f"{file}: {why}" in capsys.readouterr().err


def test_run_refuses_to_be_a_test_server_for_others(capsys: pytest.CaptureFixture[str]) -> None:
    """`--for-tests` on a public address ends before anything is started."""
    assert main(["run", "--for-tests", "--listen", "0.0.0.0:8008"], {}) == 2
    assert "--for-tests listens on loopback only, not on 0.0.0.0:8008" in capsys.readouterr().err


@pytest.mark.usefixtures("password")
def test_register_user(registrations: Registrations, capsys: pytest.CaptureFixture[str]) -> None:
    """The account arrives with its password, proven by the secret, and the id is printed."""
    assert register(registrations, "alice") == 0
    assert capsys.readouterr().out == "Registered @alice:localhost.\n"
    account = registrations.accounts[0]
    assert (account["username"], account["password"], account["admin"]) == ("alice", "correct horse", False)


@pytest.mark.usefixtures("password")
def test_register_admin_at_another_url(registrations: Registrations, capsys: pytest.CaptureFixture[str]) -> None:
    """`--admin` is part of what is signed; `--url` says where the server is."""
    environment = {"PARLEY_REGISTRATION_SHARED_SECRET": SECRET}
    flags = ["--password-stdin", "--admin", "--url", f"http://{registrations.address}/"]
    assert main(["register-user", "root", *flags], environment) == 0
    assert capsys.readouterr().out == "Registered @root:localhost (admin).\n"
    assert registrations.accounts[0]["admin"] is True


@pytest.mark.usefixtures("password")
def test_register_with_the_secret_of_the_data_directory(registrations: Registrations, tmp_path: Path) -> None:
    """Without a secret in the settings, the one that the server made is taken."""
    (tmp_path / "registration.secret").write_text(SECRET + "\n")
    assert register(registrations, "alice", "--data", str(tmp_path), secret=None) == 0


@pytest.mark.usefixtures("password")
def test_register_over_tls(tmp_path: Path) -> None:
    """A TLS listener is trusted by its own certificate, whatever name is in it."""
    certificate = trustme.CA().issue_cert("chat.example.org")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    (tmp_path / "chain.pem").write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    with serving(Registrations(context)) as server:
        (tmp_path / "parley.yaml").write_text(
            f"listeners: [{{address: '{server.address}', tls: {{certificate: chain.pem, key: key.pem}}}}]\n"
            f"registration: {{shared_secret: {SECRET}}}\n"
        )
        assert main(["register-user", "alice", "--password-stdin", "--config", str(tmp_path / "parley.yaml")], {}) == 0
        assert [account["username"] for account in server.accounts] == ["alice"]


@pytest.mark.usefixtures("password")
@pytest.mark.parametrize(
    ("user", "secret", "why"),
    [
        ("taken", SECRET, "parley: The server refuses: Taken (M_USER_IN_USE)"),
        ("alice", "wrong", "parley: The server refuses: HMAC incorrect (M_FORBIDDEN)"),
        ("broken", SECRET, "parley: The server refuses: HTTP status 502"),
    ],
)
def test_refused_registration(
    registrations: Registrations, user: str, secret: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server's reason is printed, and the status is 1."""
    assert register(registrations, user, secret=secret) == 1
    assert capsys.readouterr().err.strip() == why
    assert registrations.accounts == []


@pytest.mark.usefixtures("password")
def test_registration_without_a_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody listens, no secret, an unknown port: each says what to do."""
    server = Registrations()
    server.http.server_close()
    assert register(server, "alice") == 1
    assert "Is Parley running there?" in capsys.readouterr().err
    assert register(server, "alice", "--data", str(tmp_path), secret=None) == 1
    assert f"There is no secret in {tmp_path}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert main(["register-user", "alice", "--listen", "127.0.0.1:0"], {}) == 1
    assert "give it as --url" in capsys.readouterr().err


@pytest.mark.parametrize(("flags", "why"), [(["--password-stdin"], "is empty"), ([], "There is no terminal")])
def test_registration_without_a_password(
    flags: list[str], why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty password is refused, and one is never asked of a program."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    assert main(["register-user", "alice", *flags], {"PARLEY_REGISTRATION_SHARED_SECRET": SECRET}) == 1
    assert why in capsys.readouterr().err


def test_as_a_process() -> None:
    """The command starts without the server's own modules, so that it is quick."""
    code = (
        "import sys; from config.main import main; status = main(['config', 'check'], {}); "
        "sys.exit(status or any(name in sys.modules for name in ('aiohttp', 'sqlalchemy', 'twisted', 'psycopg2')))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("The settings are right (no file: defaults and environment).")
