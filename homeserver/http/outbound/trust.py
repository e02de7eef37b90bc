"""Whose certificates count when Parley calls somebody: TLS as a client."""

import ssl
from pathlib import Path


def trust(ca_file: Path | None = None) -> ssl.SSLContext:
    """Believes the authorities in `ca_file` (PEM), or else those of the operating system. Raises OSError if the file
    cannot be read, or holds none (ssl.SSLError is one)."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
