"""A certificate authority of the tests, and the certificates that it issues for names and IP addresses.

    authority = CertificateAuthority.make(tmp_path)
    certificate, key = authority.issue("one.test", "127.0.0.1")

Servers are given the two files; callers trust `authority.ca_file`. What another authority issued is not trusted.
"""

import itertools
import ssl
from collections.abc import Iterator
from pathlib import Path

import trustme


class CertificateAuthority:
    """Its own certificate is in `ca_file` (PEM), all that it issues in the same folder."""

    def __init__(self, folder: Path, authority: trustme.CA) -> None:
        self._folder = folder
        self._authority = authority
        self._numbers: Iterator[int] = itertools.count(1)
        self.ca_file = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca_file))

    @classmethod
    def make(cls, folder: Path) -> "CertificateAuthority":
        """A new one, which has nothing to do with any other. The folder is made if it is not there."""
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder, trustme.CA())

    def issue(self, *names_or_ips: str) -> tuple[Path, Path]:
        """A certificate for all these names and addresses (`::1` without brackets): its chain and its key, in PEM."""
        issued = self._authority.issue_cert(*names_or_ips)
        stem = f"server-{next(self._numbers)}"
        chain, key = self._folder / f"{stem}.pem", self._folder / f"{stem}.key"
        chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        return chain, key

    def server_context(self, *names_or_ips: str) -> ssl.SSLContext:
        """What a server within this process listens with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(*names_or_ips))
        return context
