"""What an operator types beside a running server: `parley register-user` and `parley config check`.

https://element-hq.github.io/synapse/latest/admin_api/register_api.html
"""

import asyncio
import hashlib
import hmac
import sys
from pathlib import Path

from tests.builders.process import ROOT, ServerProcess, environment
from tests.conformance.client import MatrixClient

PATH = "/_synapse/admin/v1/register"
PASSWORD = "a password typed by an operator"


async def parley(*arguments: str, typed: str = "") -> tuple[int, str, str]:
    """Runs the command: its exit status, standard output, and standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "config.main", *arguments),
        cwd=ROOT,
        env=environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate(typed.encode())
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def register_user(server: ServerProcess, *arguments: str) -> tuple[int, str, str]:
    """With the secret of the server's data directory, and the password on standard input."""
    where = ("--data", str(server.data), "--listen", f"127.0.0.1:{server.port}")
    return await parley("register-user", *where, "--password-stdin", *arguments, typed=PASSWORD + "\n")


async def test_an_account_made_by_the_operator(server: ServerProcess) -> None:
    """Its owner logs in with the password; the same name again is refused with the server's reason."""
    assert await register_user(server, "olga") == (0, "Registered @olga:localhost.\n", "")
    async with MatrixClient(server.url) as olga:
        await olga.login("olga", PASSWORD)
        assert (await olga.call("GET", "/_matrix/client/v3/account/whoami"))["user_id"] == "@olga:localhost"
    status, output, errors = await register_user(server, "olga")
    assert (status, output) == (1, "")
    assert errors.startswith("parley: The server refuses:")
    assert "M_USER_IN_USE" in errors


async def test_an_admin_made_by_the_operator(server: ServerProcess) -> None:
    """The command says that it made one."""
    assert await register_user(server, "ada", "--admin") == (0, "Registered @ada:localhost (admin).\n", "")


async def test_a_command_that_reaches_nobody(server: ServerProcess, tmp_path: Path) -> None:
    """Without the secret, or with a wrong address, it says what to do."""
    status, _, errors = await parley("register-user", "--data", str(tmp_path), "--password-stdin", "eve", typed="x\n")
    assert status == 1
    assert f"There is no secret in {tmp_path}" in errors
    status, _, errors = await register_user(server, "--url", "http://127.0.0.1:1", "eve")
    assert status == 1
    assert "Is Parley running there?" in errors


async def test_the_protocol_by_hand(server: ServerProcess) -> None:
    """GET a nonce, POST the account with its HMAC-SHA1: once per nonce, and never with a wrong one."""
    secret = (server.data / "registration.secret").read_text().strip()
    async with MatrixClient(server.url) as client:
        nonce = (await client.call("GET", PATH, token=""))["nonce"]
        account = {"nonce": nonce, "username": "hand", "password": PASSWORD, "admin": False}
        wrong = account | {"mac": mac("not the secret", nonce, "hand", PASSWORD)}
        assert (await client.call("POST", PATH, wrong, token="", expect=403))["errcode"] == "M_FORBIDDEN"
        nonce = (await client.call("GET", PATH, token=""))["nonce"]
        right = account | {"nonce": nonce, "mac": mac(secret, nonce, "hand", PASSWORD)}
        made = await client.call("POST", PATH, right, token="")
        assert (made["user_id"], made["home_server"]) == ("@hand:localhost", "localhost")
        client.token = made["access_token"]
        whoami = await client.call("GET", "/_matrix/client/v3/account/whoami")
        assert whoami["device_id"] == made["device_id"]
        again = right | {"username": "hand2", "mac": mac(secret, nonce, "hand2", PASSWORD)}
        await client.call("POST", PATH, again, token="", expect=400)


def mac(secret: str, nonce: str, name: str, password: str) -> str:
    signed = "\0".join([nonce, name, password, "notadmin"]).encode()
    return hmac.new(secret.encode(), signed, hashlib.sha1).hexdigest()


async def test_settings_that_are_right(tmp_path: Path) -> None:
    """`parley config check` repeats what it understood."""
    settings = tmp_path / "parley.yaml"
    settings.write_text("server_name: chat.example\nlisteners:\n  - address: 127.0.0.1:8448\n")
    status, output, errors = await parley("config", "check", "--config", str(settings))
    assert (status, errors) == (0, "")
    assert "server name: chat.example" in output
    assert "http://127.0.0.1:8448" in output


async def test_settings_that_are_wrong(tmp_path: Path) -> None:
    """It names the file, the line, the key, and what would be right."""
    settings = tmp_path / "parley.yaml"
    settings.write_text("server_name: chat.example\nlog:\n  levle: info\n")
    status, output, errors = await parley("config", "check", "--config", str(settings))
    assert (status, output) == (2, "")
    assert f"{settings}:3: log.levle:" in errors
    assert "level" in errors.replace("levle", "")
    assert "Traceback" not in errors
