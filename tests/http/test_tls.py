"""Certificates from disk."""

import ssl
from pathlib import Path

import pytest
import trustme

from homeserver.http.answers import Answer
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.http.tls import Certificate
from tests.http.driver import Line, Starter


async def nothing(request: Request) -> Answer:
    return Answer()


class Files:
    """A certificate authority that writes to disk, and a client that trusts it."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self.chain, self.key = folder / "chain.pem", folder / "key.pem"
        self.client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._authority.configure_trust(self.client)

    def issue(self, organisation: str) -> None:
        issued = self._authority.issue_cert("localhost", organization_name=organisation)
        self.chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        self.key.write_bytes(issued.private_key_pem.bytes())


@pytest.fixture
def files(tmp_path: Path) -> Files:
    files = Files(tmp_path)
    files.issue("first")
    return files


def organisation(line: Line) -> str:
    certificate = line.writer.get_extra_info("ssl_object").getpeercert()
    subject = {name: value for part in certificate["subject"] for name, value in part}
    return str(subject["organizationName"])


async def test_a_renewed_certificate_is_used_without_a_restart(start: Starter, files: Files) -> None:
    """New connections see it; the open one goes on."""
    certificate = Certificate(files.chain, files.key)
    server = await start([Route("GET", "/", nothing)], tls=certificate.context)
    before = await Line.to(server, files.client)
    assert (await before.ask("GET", "/")).status == 200
    files.issue("second")
    certificate.reload()
    after = await Line.to(server, files.client)
    assert [organisation(line) for line in (before, after)] == ["first", "second"]
    for line in (before, after):
        assert (await line.ask("GET", "/")).status == 200
        line.close()


async def test_files_that_do_not_fit_leave_the_former_in_use(start: Starter, files: Files) -> None:
    """Whoever renews writes two files, one after the other: between them the pair is wrong."""
    certificate = Certificate(files.chain, files.key)
    server = await start([Route("GET", "/", nothing)], tls=certificate.context)
    former = files.key.read_bytes()
    files.issue("second")
    files.key.write_bytes(former)
    with pytest.raises(ssl.SSLError):
        certificate.reload()
    line = await Line.to(server, files.client)
    assert organisation(line) == "first"
    line.close()


def test_missing_files_are_told(files: Files, tmp_path: Path) -> None:
    """OSError, for whoever reads the settings."""
    with pytest.raises(OSError, match="No such file"):
        Certificate(tmp_path / "missing.pem", files.key)


async def test_old_versions_of_tls_are_refused(start: Starter, files: Files) -> None:
    """1.2 is the oldest."""
    server = await start([Route("GET", "/", nothing)], tls=Certificate(files.chain, files.key).context)
    assert Certificate(files.chain, files.key).context.minimum_version == ssl.TLSVersion.TLSv1_2
    files.client.maximum_version = ssl.TLSVersion.TLSv1_2
    line = await Line.to(server, files.client)
    assert (await line.ask("GET", "/")).status == 200
    line.close()
