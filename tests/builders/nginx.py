"""nginx in front of a server, set as the documentation says.

The blocks come from the pages themselves; only addresses and certificates are put in.
"""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trustme

from tests.builders.process import ROOT, free_port
from tests.builders.waiting import until

HOWTO = ROOT / "docs" / "howto" / "reverse-proxy.md"
WEBSOCKET = ROOT / "docs" / "reference" / "websocket.md"


def block(page: Path) -> str:
    """The one block of nginx on a page."""
    (found,) = re.findall(r"^```nginx\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return str(found)


def prepare(directory: Path, port: int, backend: int, authority: trustme.CA) -> list[str]:
    """Writes its settings, and gives the command that runs it."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    assert program is not None, "this test needs nginx (Debian: apt-get install nginx-light)"
    directory.mkdir()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    certificate.private_key_pem.write_to_path(directory / "privkey.pem")
    (directory / "fullchain.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    server = block(HOWTO).rstrip().removesuffix("}") + block(WEBSOCKET) + "}\n"
    server = server.replace("127.0.0.1:8008", f"127.0.0.1:{backend}").replace("listen 443", f"listen 127.0.0.1:{port}")
    server = re.sub(r"/etc/letsencrypt/live/[\w.]+/", f"{directory}/", server)
    temporary = "".join(
        f"{name}_temp_path {directory}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (directory / "nginx.conf").write_text(
        "daemon off;\nmaster_process off;\n"
        f"pid {directory}/nginx.pid;\nerror_log {directory}/error.log;\n"
        "events { worker_connections 1024; }\n"
        f"http {{\naccess_log {directory}/access.log;\n{temporary}{server}}}\n"
    )
    return [program, "-p", str(directory), "-c", f"{directory}/nginx.conf", "-e", f"{directory}/error.log"]


@asynccontextmanager
async def running_nginx(directory: Path, backend: int, authority: trustme.CA) -> AsyncIterator[str]:
    """Its address; it passes everything on to the port `backend` of this machine."""
    port = free_port()
    command = prepare(directory, port, backend, authority)
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL)
    pid_file, log = directory / "nginx.pid", directory / "error.log"
    try:
        await until(lambda: pid_file.exists() or process.returncode is not None, what="nginx starts")
        assert process.returncode is None, log.read_text()
        yield f"https://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
